-- Ends every script of ALTER EXTENSION alerting UPDATE.

SELECT alerting.update_tables();

-- A function whose arguments or result changed was dropped and made anew. Granted here, its grants would
-- count as the extension's own, and no dump would hold them.
DO $do$
DECLARE
  lost text;
BEGIN
  SELECT pg_catalog.string_agg(g.item OPERATOR(pg_catalog.->>) 'statement', ' ') INTO lost
    FROM pg_catalog.jsonb_array_elements(pg_catalog.current_setting('alerting_update.grants')::pg_catalog.jsonb) AS g(item)
   WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.oid OPERATOR(pg_catalog.=) (g.item OPERATOR(pg_catalog.->>) 'function')::pg_catalog.oid);
  IF lost IS NOT NULL THEN
    RAISE WARNING 'alerting: some functions were made anew and nobody but their owner may execute them'
      USING HINT = pg_catalog.format('Grant again what is still wanted: %s', lost);
  END IF;
END
$do$;

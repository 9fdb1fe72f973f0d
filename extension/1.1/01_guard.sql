-- Functions of the extension run inside this schema and adopt tables that lie in it, so it must be
-- nobody's who could put something of their own there.
DO $do$
DECLARE
  schema_owner regrole;
BEGIN
  SELECT n.nspowner::pg_catalog.regrole INTO schema_owner
    FROM pg_catalog.pg_namespace n
    JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
   WHERE n.nspname OPERATOR(pg_catalog.=) 'alerting' AND NOT r.rolsuper
     AND n.nspowner OPERATOR(pg_catalog.<>) CURRENT_USER::pg_catalog.regrole::pg_catalog.oid;
  IF FOUND THEN
    RAISE EXCEPTION 'schema "alerting" belongs to role %, who could change what the extension runs', schema_owner
      USING ERRCODE = 'insufficient_privilege',
            HINT = 'Drop the schema, or give it to a superuser: ALTER SCHEMA alerting OWNER TO CURRENT_USER.';
  END IF;
END
$do$;

-- Begins every script of ALTER EXTENSION alerting UPDATE. Such a script is this file, what is particular
-- to the step (A--B.sql), the parts of the extension's script but for those named *_once.sql, and
-- end.sql.
\echo Use "ALTER EXTENSION alerting UPDATE" to load this file. \quit

CREATE OR REPLACE FUNCTION alerting.exclude_workers() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_exclude_workers';

SELECT alerting.exclude_workers();

-- What is granted on functions, for end.sql.
SELECT pg_catalog.set_config('alerting_update.grants', COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
         'function', p.oid, 'statement', pg_catalog.format('GRANT EXECUTE ON FUNCTION alerting.%I(%s) TO %s%s;',
           p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid),
           CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::pg_catalog.text END,
           CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END))), '[]')::pg_catalog.text, true)
  FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) a
 WHERE p.pronamespace OPERATOR(pg_catalog.=) 'alerting'::pg_catalog.regnamespace AND a.grantee OPERATOR(pg_catalog.<>) p.proowner;

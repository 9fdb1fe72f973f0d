-- Nothing for PUBLIC; docs/security.md lists what to grant to whom. What an update finds keeps what was
-- granted since: PostgreSQL notes in pg_init_privs which functions have been here before.
DO $do$
DECLARE
  fresh record;
BEGIN
  FOR fresh IN
    SELECT p.oid::pg_catalog.regprocedure AS signature
      FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid
     WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype OPERATOR(pg_catalog.=) 'e'
       AND d.refobjid OPERATOR(pg_catalog.=) (SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'alerting')
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_init_privs i
                        WHERE i.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
                          AND i.objoid OPERATOR(pg_catalog.=) p.oid AND i.privtype OPERATOR(pg_catalog.=) 'e')
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', fresh.signature);
  END LOOP;
END
$do$;

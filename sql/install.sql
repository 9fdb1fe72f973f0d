-- CREATE EXTENSION: in an empty database, beside the usual tables, beside others, and after a DROP.
\set SHOW_CONTEXT never
CREATE EXTENSION alerting;
-- Functions only; nothing for PUBLIC; everything is documented.
SELECT count(*) AS tables FROM pg_class WHERE relnamespace = 'alerting'::regnamespace;
SELECT p.oid::regprocedure AS for_public FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
 WHERE p.pronamespace = 'alerting'::regnamespace AND g.grantee = 0;
SELECT n.nspname AS for_public FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) g
 WHERE n.nspname = 'alerting' AND g.grantee = 0;
SELECT p.oid::regprocedure AS undocumented FROM pg_proc p
 WHERE p.pronamespace = 'alerting'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL;
-- Every function pins its search_path, unless its body is resolved already or it is the library's.
SELECT p.oid::regprocedure AS unpinned FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
 WHERE p.pronamespace = 'alerting'::regnamespace AND l.lanname <> 'c' AND p.prosqlbody IS NULL
   AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false);
-- And what a backslash means in it.
SELECT p.oid::regprocedure AS unpinned FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
 WHERE p.pronamespace = 'alerting'::regnamespace AND l.lanname <> 'c' AND position(chr(92) IN p.prosrc) > 0
   AND NOT coalesce('standard_conforming_strings=on' = ANY (p.proconfig), false);
DROP EXTENSION alerting;

-- Exactly one match each, in any schema and spelling.
CREATE SCHEMA app;
CREATE TABLE app."Organization" (id uuid PRIMARY KEY, name text);
CREATE TABLE app."Container" (id uuid PRIMARY KEY, "organizationId" uuid REFERENCES app."Organization", name text);
CREATE TABLE app."ContainerMetric" ("containerId" uuid, "timestamp" timestamp(3), "cpuPercent" float8, "memoryUsage" bigint, "memoryLimit" bigint, status text,
  PRIMARY KEY ("containerId", "timestamp"));
CREATE EXTENSION alerting;
SELECT organizations, containers, organization, organization_is_column, name, organization_name, container_key, container_key_kind, organization_key FROM alerting.host_binding;
SELECT metrics, container, at, cpu, memory, memory_used, memory_limit, running, restarts, max_age, stale_after, level FROM alerting.metric_source;
-- The tables are no members of the extension; they, their columns and views are documented.
SELECT d.objid::regclass AS member FROM pg_depend d WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_class'::regclass
   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'alerting');
SELECT c.oid::regclass AS undocumented, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.relnamespace = 'alerting'::regnamespace AND c.relkind IN ('r', 'v')
   AND (obj_description(c.oid, 'pg_class') IS NULL OR c.relkind = 'r' AND col_description(c.oid, a.attnum) IS NULL);
SELECT c.oid::regclass AS for_public FROM pg_class c, aclexplode(c.relacl) g WHERE c.relnamespace = 'alerting'::regnamespace AND g.grantee = 0;
-- Keys of the host's own type, foreign keys to the host's tables.
SELECT c.conrelid::regclass AS referring, c.confrelid::regclass AS referred, pg_get_constraintdef(c.oid) AS definition
  FROM pg_constraint c WHERE c.connamespace = 'alerting'::regnamespace AND c.contype = 'f' ORDER BY 1, 2;
SELECT a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
 WHERE (a.attrelid, a.attname) IN (('alerting.alert_rule'::regclass, 'organization_id'), ('alerting.webhook'::regclass, 'organization_id'), ('alerting.alert'::regclass, 'container_id'))
 ORDER BY 1, 2;

-- DROP EXTENSION takes functions, triggers and defaults, and keeps rules and history.
INSERT INTO app."Organization" VALUES ('00000000-0000-4000-8000-000000000001', 'Initech');
INSERT INTO app."Container" VALUES ('00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-000000000001', 'web');
INSERT INTO alerting.alert_rule (id, organization_id, name, condition) VALUES ('r1', '00000000-0000-4000-8000-000000000001', 'down', 'CONTAINER_DOWN');
INSERT INTO alerting.alert (id, rule_id, container_id, status, started_at, fired_at, resolved_at)
VALUES ('a1', 'r1', '00000000-0000-4000-8000-00000000000a', 'RESOLVED', '2026-03-02 10:00Z', '2026-03-02 10:00Z', '2026-03-02 10:05Z');
\set VERBOSITY terse
DROP EXTENSION alerting;
\set VERBOSITY default
SET client_min_messages = warning;
DROP EXTENSION alerting CASCADE;
RESET client_min_messages;
SELECT id, status FROM alerting.alert;
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE NOT tgisinternal;
-- CREATE EXTENSION adopts what is there.
CREATE EXTENSION alerting;
SELECT id, status FROM alerting.alert;
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2;
SELECT alerting.repair();
SELECT d.objid::regclass AS member FROM pg_depend d WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_class'::regclass
   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'alerting');
INSERT INTO alerting.alert_rule (organization_id, name, condition) VALUES ('00000000-0000-4000-8000-000000000001', 'down too', 'CONTAINER_DOWN')
RETURNING id <> '' AS has_id, no_data;
SET client_min_messages = warning;
DROP EXTENSION alerting CASCADE;
DROP SCHEMA alerting, app CASCADE;
RESET client_min_messages;

-- The organization lies behind another table: the NOTICE holds the whole call.
CREATE TABLE organizations (id int PRIMARY KEY);
CREATE TABLE hosts (id int PRIMARY KEY, owner_id int REFERENCES organizations);
CREATE TABLE containers (id int PRIMARY KEY, host_id int REFERENCES hosts);
CREATE EXTENSION alerting;
SELECT alerting.attach('public.organizations', 'public.containers', organization => '(SELECT h.owner_id FROM public.hosts h WHERE h.id = c.host_id)');
SET client_min_messages = warning;
DROP EXTENSION alerting CASCADE;
DROP SCHEMA alerting CASCADE;
RESET client_min_messages;

-- Two tables of one name are none.
CREATE SCHEMA other;
CREATE TABLE other.container (id int PRIMARY KEY);
CREATE EXTENSION alerting;
DROP EXTENSION alerting;
DROP TABLE containers, hosts, organizations;
-- What the hint says can be called, whichever of the two was found.
CREATE EXTENSION alerting;
DROP EXTENSION alerting;
DROP SCHEMA other CASCADE;
DROP SCHEMA alerting;

-- Metrics may be unlogged, the others not.
CREATE TABLE organizations (id int PRIMARY KEY);
CREATE TABLE containers (id int PRIMARY KEY, organization_id int REFERENCES organizations);
CREATE UNLOGGED TABLE container (id int PRIMARY KEY);
CREATE UNLOGGED TABLE container_metrics (container_id int, at timestamptz, cpu_percent real, PRIMARY KEY (container_id, at));
CREATE EXTENSION alerting;
SET client_min_messages = warning;
DROP EXTENSION alerting CASCADE;
DROP SCHEMA alerting CASCADE;
DROP TABLE container_metrics, container, containers, organizations;
RESET client_min_messages;

-- Everything names the schema.
CREATE EXTENSION alerting;
ALTER SCHEMA alerting RENAME TO monitoring;
ALTER EXTENSION alerting SET SCHEMA public;
CREATE SCHEMA monitoring;
ALTER SCHEMA monitoring RENAME TO monitors;
ALTER SCHEMA alerting OWNER TO CURRENT_USER;
DROP SCHEMA monitors;
DROP EXTENSION alerting;
DROP SCHEMA alerting;

-- A schema that somebody else owns could hold anything.
CREATE ROLE regress_alerting_stranger;
CREATE SCHEMA alerting AUTHORIZATION regress_alerting_stranger;
CREATE EXTENSION alerting;
DROP SCHEMA alerting;
DROP ROLE regress_alerting_stranger;

-- Who may do what: the application's roles need nothing, nobody gains a right.
\set SHOW_CONTEXT never
CREATE ROLE regress_alerting_owner;
CREATE ROLE regress_alerting_agent;
CREATE ROLE regress_alerting_reader;
CREATE SCHEMA app AUTHORIZATION regress_alerting_owner;
GRANT USAGE ON SCHEMA app TO PUBLIC;
SET ROLE regress_alerting_owner;
CREATE TABLE app.organizations (id int PRIMARY KEY, name text);
CREATE TABLE app.containers (id int PRIMARY KEY, organization_id int NOT NULL REFERENCES app.organizations ON DELETE CASCADE, name text);
CREATE TABLE app.readings (container_id int NOT NULL REFERENCES app.containers ON DELETE CASCADE, at timestamptz NOT NULL, cpu_percent float8, PRIMARY KEY (container_id, at));
CREATE TABLE app.other_readings (container_id int NOT NULL, at timestamptz NOT NULL, cpu_percent float8, PRIMARY KEY (container_id, at));
INSERT INTO app.organizations VALUES (1, 'Initech');
INSERT INTO app.containers VALUES (10, 1, 'web'), (11, 1, 'db');
RESET ROLE;

-- Only a superuser makes the extension.
DO $$BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO regress_alerting_owner', current_database()); END$$;
SET ROLE regress_alerting_owner;
CREATE EXTENSION alerting;
RESET ROLE;
SET client_min_messages = error;
CREATE EXTENSION alerting;
RESET client_min_messages;
SELECT alerting.attach_metrics('app.readings');

-- Strangers reach nothing.
SET ROLE regress_alerting_agent;
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80);
SELECT secret FROM alerting.webhook;
RESET ROLE;
-- Without USAGE of the schema and with it: functions and tables are each closed.
GRANT USAGE ON SCHEMA alerting TO regress_alerting_agent;
SET ROLE regress_alerting_agent;
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80);
SELECT alerting.attach('app.organizations', 'app.containers');
SELECT alerting.stop();
SELECT secret FROM alerting.webhook;
INSERT INTO alerting.alert (id, rule_id, container_id, status, started_at, fired_at) VALUES ('x', 'x', 10, 'FIRING', now(), now());
RESET ROLE;
REVOKE USAGE ON SCHEMA alerting FROM regress_alerting_agent;

-- A role that may write the host's tables and nothing else, with objects of its own in the way.
CREATE SCHEMA trap AUTHORIZATION regress_alerting_agent;
GRANT INSERT ON app.readings TO regress_alerting_agent;
GRANT SELECT, UPDATE, DELETE ON app.containers TO regress_alerting_agent;
SET ROLE regress_alerting_agent;
CREATE TABLE trap.sprung (who name);
CREATE FUNCTION trap.spring(int, int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN INSERT INTO trap.sprung VALUES (current_user); RETURN true; END';
CREATE FUNCTION trap.spring(text, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN INSERT INTO trap.sprung VALUES (current_user); RETURN true; END';
CREATE OPERATOR trap.= (LEFTARG = int, RIGHTARG = int, FUNCTION = trap.spring);
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.spring);
CREATE FUNCTION trap.now() RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN INSERT INTO trap.sprung VALUES (current_user); RETURN NULL; END';
CREATE TABLE trap.delivery (id text);
RESET ROLE;
BEGIN;
INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold) VALUES ('r1', 1, 'cpu', 'CPU_USAGE', 80);
INSERT INTO alerting.webhook (id, organization_id, url, is_active) VALUES ('w1', 1, 'https://example.com/', false);
INSERT INTO alerting.alert (id, rule_id, container_id, status, started_at, fired_at) VALUES ('a1', 'r1', 10, 'FIRING', now(), now());
INSERT INTO alerting.delivery (webhook_id, alert_id, event, payload) VALUES ('w1', 'a1', 'alert.firing', '{"data": {"container": {"name": "web"}}}');
SET LOCAL ROLE regress_alerting_agent;
SET LOCAL search_path = trap, pg_catalog;
INSERT INTO app.readings VALUES (10, '2026-03-02 10:00Z', 95);
UPDATE app.containers SET organization_id = 1, id = 12 WHERE id OPERATOR(pg_catalog.=) 11;
DELETE FROM app.containers WHERE id OPERATOR(pg_catalog.=) 10;
SELECT count(*) AS sprung FROM trap.sprung;
RESET ROLE;
RESET search_path;
SELECT event, payload #>> '{data,alert,resolveReason}' AS reason FROM alerting.delivery ORDER BY seq;
ROLLBACK;

-- Binding needs ownership of the table bound. An administrator need not be a superuser.
GRANT USAGE ON SCHEMA alerting TO regress_alerting_owner, regress_alerting_agent;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA alerting TO regress_alerting_owner, regress_alerting_agent;
GRANT SELECT, INSERT, UPDATE, DELETE ON alerting.metric_source, alerting.host_binding TO regress_alerting_owner, regress_alerting_agent;
SET ROLE regress_alerting_agent;
SELECT alerting.attach_metrics('app.other_readings');
SELECT alerting.detach_metrics('app.readings');
SELECT alerting.attach('app.organizations', 'app.containers');
RESET ROLE;
SET ROLE regress_alerting_owner;
SELECT alerting.attach_metrics('app.other_readings');
SELECT alerting.detach_metrics('app.other_readings');
RESET ROLE;

-- Who may write rules and nothing else is told what is wrong with one.
BEGIN;
GRANT USAGE ON SCHEMA alerting TO regress_alerting_agent;
GRANT INSERT ON alerting.alert_rule TO regress_alerting_agent;
SET LOCAL ROLE regress_alerting_agent;
INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold) VALUES ('r1', 1, 'cpu', 'DISK_USAGE', 80);
ROLLBACK;

-- A reader sees alerts and webhooks, no secret, and only what its policies show.
GRANT USAGE ON SCHEMA alerting TO regress_alerting_reader;
GRANT SELECT ON alerting.alert, alerting.alert_rule, alerting.host_binding, alerting.active_alert, alerting.webhook_public, app.containers TO regress_alerting_reader;
GRANT SELECT (id, organization_id, url, is_active, retry_schedule, disabled_reason, rate_limit, max_concurrent, probe_at, created_at, updated_at) ON alerting.webhook TO regress_alerting_reader;
GRANT EXECUTE ON FUNCTION alerting.container_name(text) TO regress_alerting_reader;
BEGIN;
INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold) VALUES ('r1', 1, 'cpu', 'CPU_USAGE', 80);
INSERT INTO alerting.webhook (id, organization_id, url, secret, headers, is_active) VALUES ('w1', 1, 'https://example.com/hidden?path', 'hidden', '{"Authorization": "hidden"}', false);
INSERT INTO alerting.alert (id, rule_id, container_id, status, started_at, fired_at) VALUES ('a1', 'r1', 10, 'FIRING', now(), now());
SET LOCAL ROLE regress_alerting_reader;
SELECT rule_name, container_name FROM alerting.active_alert;
SELECT id, origin FROM alerting.webhook_public;
SAVEPOINT s;
SELECT secret FROM alerting.webhook;
ROLLBACK TO s;
SELECT headers FROM alerting.webhook;
ROLLBACK TO s;
SELECT * FROM alerting.webhook;
ROLLBACK TO s;
RESET ROLE;
ALTER TABLE alerting.alert ENABLE ROW LEVEL SECURITY;
SET LOCAL ROLE regress_alerting_reader;
SELECT count(*) FROM alerting.active_alert;
ROLLBACK;

-- The first attach makes tables whose triggers the workers run: the extension's owner owns them.
SET client_min_messages = warning;
DROP EXTENSION alerting CASCADE;
DROP SCHEMA alerting CASCADE;
ALTER TABLE app.containers RENAME TO boxes;
CREATE EXTENSION alerting;
RESET client_min_messages;
GRANT USAGE, CREATE ON SCHEMA alerting TO regress_alerting_owner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA alerting TO regress_alerting_owner;
SET ROLE regress_alerting_owner;
SELECT alerting.attach('app.organizations', 'app.boxes');
-- Nor is a table adopted that somebody made before.
CREATE TABLE alerting.alert (id text);
RESET ROLE;
SELECT alerting.attach('app.organizations', 'app.boxes');
ALTER TABLE alerting.alert ADD CONSTRAINT alert_status_is_known CHECK (true);
SELECT alerting.attach('app.organizations', 'app.boxes');

SET client_min_messages = warning;
DROP EXTENSION alerting CASCADE;
DROP SCHEMA alerting, app, trap CASCADE;
DO $$BEGIN EXECUTE format('REVOKE CREATE ON DATABASE %I FROM regress_alerting_owner', current_database()); END$$;
DROP ROLE regress_alerting_owner, regress_alerting_agent, regress_alerting_reader;

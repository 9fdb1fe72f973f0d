-- Rules, alerts, webhooks and deliveries as tables: defaults, constraints, what a deletion tells.
-- Everything that the workers could act on stays in transactions that roll back.
\set SHOW_CONTEXT never
CREATE TABLE organizations (id int PRIMARY KEY, name text);
CREATE TABLE containers (id int PRIMARY KEY, organization_id int NOT NULL REFERENCES organizations ON DELETE CASCADE, name text);
INSERT INTO organizations VALUES (1, 'Initech'), (2, 'Hooli');
INSERT INTO containers VALUES (10, 1, 'web'), (11, 1, 'db'), (20, 2, 'web');
CREATE EXTENSION alerting;

BEGIN;
-- Defaults by condition.
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80, 5) <> '' AS made;
SELECT alerting.create_rule('1', 'memory', 'MEMORY_USAGE', threshold => 90.5) <> '' AS made;
SELECT alerting.create_rule(organization => 2, name => 'down', condition => 'CONTAINER_DOWN', duration => 3) <> '' AS made;
SELECT alerting.create_rule(2, 'loop', 'RESTART_LOOP', duration => 10, no_data => 'resolve', enabled => false) <> '' AS made;
INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold, duration, updated_at)
VALUES ('clh3x', 1, 'by a client', 'CONTAINER_DOWN', 0, 3, '2026-03-02 10:00Z');
SELECT organization_id, name, condition, threshold, duration, no_data, enabled FROM alerting.alert_rule ORDER BY name;
-- updated_at follows, unless the client says what it is.
UPDATE alerting.alert_rule SET threshold = 1 WHERE id = 'clh3x' RETURNING updated_at = now() AS touched;
UPDATE alerting.alert_rule SET updated_at = '2026-03-02 11:00Z' WHERE id = 'clh3x' RETURNING updated_at = '2026-03-02 11:00Z' AS kept;
ROLLBACK;

-- Payloads.
SET TimeZone = 'Asia/Tokyo';
SELECT jsonb_pretty(alerting.firing_payload('a1', 'r1', E'Größe "80 %" \\ 🚨', 'CPU_USAGE', 80, 5, '10', 'web', '1', 'Initech',
  '2026-03-02 10:00:00Z', '2026-03-02 10:05:00.25Z', 97.25));
SELECT jsonb_pretty(alerting.resolved_payload(alerting.firing_payload('a1', 'r1', 'gone', 'CONTAINER_DOWN', NULL, 0, '10', NULL, '1', NULL,
  '2026-03-02 10:00:00Z', '2026-03-02 10:00:00Z', 'NaN'), '2026-03-02 10:07:00Z', 'CONTAINER_DELETED'));
SELECT alerting.condition_summary(c.condition, c.threshold, c.duration, c.value)
  FROM (VALUES ('CPU_USAGE', 80::float8, 0, NULL::float8), ('MEMORY_USAGE', 90.5, 3, 99.96), ('CONTAINER_DOWN', 0, 3, NULL), ('RESTART_LOOP', 3, 10, 4)) AS c(condition, threshold, duration, value);
RESET TimeZone;

-- What a deleted alert tells: a FIRING one ends for whoever was told of it.
CREATE PROCEDURE incident() LANGUAGE sql AS $$
  INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold) VALUES ('r1', 1, 'cpu', 'CPU_USAGE', 80), ('r2', 1, 'down', 'CONTAINER_DOWN', NULL);
  INSERT INTO alerting.webhook (id, organization_id, url, is_active) VALUES ('w1', 1, 'https://example.com/1', false), ('w2', 1, 'https://example.com/2', false), ('w3', 1, 'https://example.com/3', false);
  INSERT INTO alerting.alert (id, rule_id, container_id, status, started_at, fired_at, resolved_at) VALUES
    ('a1', 'r1', 10, 'FIRING', '2026-03-02 10:00Z', '2026-03-02 10:00Z', NULL), ('a2', 'r2', 11, 'FIRING', '2026-03-02 10:00Z', '2026-03-02 10:00Z', NULL),
    ('a3', 'r1', 10, 'RESOLVED', '2026-03-02 09:00Z', '2026-03-02 09:00Z', '2026-03-02 09:05Z');
  INSERT INTO alerting.delivery (id, webhook_id, alert_id, event, payload)
    SELECT a.id || w.id, w.id, a.id, 'alert.firing', alerting.firing_payload(a.id, r.id, r.name, r.condition, r.threshold, r.duration, c.id::text, c.name, '1', 'Initech', a.started_at, a.fired_at, a.value)
      FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id JOIN containers c ON c.id = a.container_id, alerting.webhook w WHERE w.id < 'w3' ORDER BY 1;
$$;
CREATE VIEW told AS SELECT d.webhook_id, d.alert_id, d.event, d.status, d.payload #>> '{data,alert,status}' AS alert, d.payload #>> '{data,alert,resolveReason}' AS reason,
    d.payload #>> '{data,container,name}' AS container, (d.payload #>> '{data,alert,resolvedAt}')::timestamptz = date_trunc('milliseconds', now()) AS now
  FROM alerting.delivery d WHERE d.event = 'alert.resolved';
BEGIN; CALL incident(); DELETE FROM containers WHERE id = 10; SELECT * FROM told ORDER BY 1, 2; ROLLBACK;
BEGIN; CALL incident(); DELETE FROM alerting.alert_rule WHERE id = 'r2'; SELECT * FROM told ORDER BY 1, 2; ROLLBACK;
BEGIN; CALL incident(); DELETE FROM alerting.alert; SELECT * FROM told ORDER BY 1, 2; ROLLBACK;
BEGIN; CALL incident(); TRUNCATE containers CASCADE; SELECT * FROM told ORDER BY 1, 2; ROLLBACK;
-- A webhook deleted before in the same transaction or statement gets nothing and makes nothing fail.
BEGIN; CALL incident(); DELETE FROM alerting.webhook WHERE id = 'w1'; DELETE FROM containers WHERE id = 10; SELECT * FROM told ORDER BY 1, 2; ROLLBACK;
BEGIN; CALL incident(); WITH gone AS (DELETE FROM alerting.webhook WHERE id = 'w1') DELETE FROM containers WHERE id = 10; SELECT * FROM told ORDER BY 1, 2; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK;
BEGIN; CALL incident(); DELETE FROM organizations WHERE id = 1; SELECT count(*) AS deliveries FROM alerting.delivery; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK;
BEGIN; CALL incident(); TRUNCATE organizations CASCADE; SELECT count(*) AS deliveries FROM alerting.delivery; ROLLBACK;
-- A container's key may change.
BEGIN; CALL incident(); UPDATE containers SET id = 12 WHERE id = 10; SELECT id, container_id FROM alerting.alert ORDER BY 1; ROLLBACK;

-- One FIRING row for each pair, and times that fit the status.
\set VERBOSITY terse
BEGIN; CALL incident(); INSERT INTO alerting.alert (rule_id, container_id, status, started_at, fired_at) VALUES ('r1', 10, 'FIRING', now(), now()); ROLLBACK;
BEGIN; CALL incident(); UPDATE alerting.alert SET resolved_at = now() WHERE id = 'a1'; ROLLBACK;
BEGIN; CALL incident(); UPDATE alerting.alert SET status = 'PENDING' WHERE id = 'a1'; ROLLBACK;
BEGIN; CALL incident(); UPDATE alerting.delivery SET event = 'alert.forgotten' WHERE webhook_id = 'w1'; ROLLBACK;
\set VERBOSITY default

-- Views.
BEGIN;
CALL incident();
SELECT id, organization_id, rule_id, rule_name, condition, threshold, duration, container_id, container_name, since = started_at AS since FROM alerting.active_alert ORDER BY id;
UPDATE alerting.webhook SET secret = 'not shown', disabled_reason = 'gone' WHERE id = 'w1';
SELECT id, organization_id, origin, is_active, disabled_reason FROM alerting.webhook_public ORDER BY id;
UPDATE alerting.webhook SET is_active = true WHERE id = 'w1';
SELECT is_active, disabled_reason, updated_at = now() AS touched FROM alerting.webhook WHERE id = 'w1';
ROLLBACK;

SET client_min_messages = warning;
DROP VIEW told;
DROP PROCEDURE incident;
DROP EXTENSION alerting CASCADE;
DROP SCHEMA alerting CASCADE;
DROP TABLE containers, organizations;

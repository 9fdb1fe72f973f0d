-- preview(): what a rule would have raised over stored metrics.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE EXTENSION alerting;
CREATE TABLE orgs (id int PRIMARY KEY, name text);
CREATE TABLE boxes (id int PRIMARY KEY, org int REFERENCES orgs, name text);
CREATE TABLE usage (box int, at timestamptz, cpu float8, mem_used bigint);
CREATE TABLE facts (box int, at timestamp, up boolean, restarts int, mem_limit bigint);
CREATE INDEX ON usage (box, at);
CREATE INDEX ON facts (box, at);
INSERT INTO orgs VALUES (1, 'one'), (2, 'two'), (3, 'empty');
INSERT INTO boxes VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, 'c');
SELECT alerting.attach('orgs', 'boxes', 'org');

-- Nothing is attached, or nothing that carries the metric.
SET client_min_messages = notice;
SELECT * FROM alerting.preview(1, 'CPU_USAGE', 80, 0, '2020-01-01');
SELECT alerting.attach_metrics('usage', container => 'box', at => 'at', cpu => 'cpu', memory_used => 'mem_used', max_age => NULL);
SELECT * FROM alerting.preview(1, 'CONTAINER_DOWN', NULL, 0, '2020-01-01');
SELECT * FROM alerting.preview(1, 'RESTART_LOOP', 3, 10, '2020-01-01');
SET client_min_messages = warning;
SELECT alerting.attach_metrics('facts', container => 'box', at => 'at', running => 'up', restarts => 'restarts', memory_limit => 'mem_limit', max_age => NULL);

-- A day of samples, from both tables; rows lie in no order.
INSERT INTO usage SELECT b, '2020-01-01Z'::timestamptz + t * interval '1 minute', c, m FROM (VALUES
  (1, 0, 70, 10), (1, 1, 85, 10), (1, 2, 95.5, 10), (1, 3, 90, 10), (1, 4, 80, 10),             -- above for 2 minutes
  (1, 10, 85, 10), (1, 12, 85, 10), (1, 18, 85, 10), (1, 19, 85, 10),                           -- a gap above stale_after begins anew
  (2, 0, 99, 50), (2, 3, 'NaN', 90), (2, 4, 98, 90), (2, 5, NULL, 90), (2, 30, 97, 50),         -- no reading is not "below"
  (3, 0, 100, 99)) AS v(b, t, c, m) ORDER BY md5(v::text);
INSERT INTO facts SELECT b, '2020-01-01'::timestamp + t * interval '1 minute', u, r, l FROM (VALUES
  (1, 0, true, 1, 100), (1, 2, false, 1, NULL), (1, 9, true, 5, NULL), (1, 10, true, 6, NULL), (1, 30, false, 0, NULL),
  (2, 0, true, 7, NULL), (2, 4, true, 7, 100), (2, 9, true, 2, 0), (2, 10, true, 2, 400), (2, 31, true, 3, 100), (3, 0, false, 0, 100)) AS v(b, t, u, r, l) ORDER BY md5(v::text);

SELECT * FROM alerting.preview(1, 'CPU_USAGE', 80, 2, '2020-01-01') ORDER BY started_at, container_id;
SELECT * FROM alerting.preview('1', 'CPU_USAGE', 95, 0, '2020-01-01') ORDER BY started_at, container_id;
-- Used and limit come from different tables; no limit is no reading.
SELECT * FROM alerting.preview(1, 'MEMORY_USAGE', 80, 0, '2020-01-01') ORDER BY started_at, container_id;
-- Deadlines count at their own time, before what comes later, and at the end up to now.
SELECT * FROM alerting.preview(1, 'CONTAINER_DOWN', NULL, 5, '2020-01-01') ORDER BY started_at, container_id;
SELECT * FROM alerting.preview(1, 'CONTAINER_DOWN', NULL, 5, '2020-01-01', '2020-01-01 00:34:59Z') ORDER BY started_at, container_id;
-- A counter that falls was reset; the window's end resolves.
SELECT * FROM alerting.preview(1, 'RESTART_LOOP', 3, 10, '2020-01-01') ORDER BY started_at, container_id;
SELECT * FROM alerting.preview(1, 'RESTART_LOOP', NULL, 10, '2020-01-01', '2020-01-01 00:12Z') ORDER BY started_at, container_id;
-- Both ends of the range belong to it; rows before it are not read.
SELECT * FROM alerting.preview(1, 'CPU_USAGE', 80, 0, '2020-01-01 00:02Z', '2020-01-01 00:04Z') ORDER BY started_at, container_id;
SELECT * FROM alerting.preview(1, 'CPU_USAGE', 80, 0, '2020-01-01 00:02Z', '2020-01-01 00:03:59Z') ORDER BY started_at, container_id;
SELECT count(*) FROM alerting.preview(1, 'CPU_USAGE', 80, 2, '-infinity', 'infinity');
SELECT count(*) FROM alerting.preview(1, 'CPU_USAGE', 80, 2, '2021-01-01');
SELECT count(*) FROM alerting.preview(3, 'CPU_USAGE', 80, 2, '2020-01-01');

-- A stored rule, also while it is disabled; silence is not judged.
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80, 2, 'fire', enabled => false) AS cpu \gset
SELECT * FROM alerting.preview(:'cpu', '2020-01-01') ORDER BY started_at, container_id;
SELECT * FROM alerting.preview(rule_id => :'cpu', since => '2020-01-01', until => '2020-01-01 00:02Z');

-- The evaluator comes to the same when the rows arrive. (By the clock nothing more happens to so
-- old rows, so the range ends with them.)
SELECT alerting.create_rule(1, 'cpu 80 2', 'CPU_USAGE', 80, 2) AS r1, alerting.create_rule(1, 'mem', 'MEMORY_USAGE', 80, 0) AS r2,
       alerting.create_rule(1, 'down', 'CONTAINER_DOWN', NULL, 5, 'keep') AS r3, alerting.create_rule(1, 'loop', 'RESTART_LOOP', 3, 10) AS r4 \gset
INSERT INTO boxes SELECT id + 20, org, name FROM boxes;
SELECT alerting.flush();
DO $$
DECLARE
  minute timestamptz;
BEGIN
  FOR minute IN SELECT DISTINCT at FROM (SELECT at FROM usage UNION ALL SELECT at AT TIME ZONE 'UTC' FROM facts) t ORDER BY 1 LOOP
    INSERT INTO usage SELECT box + 20, at, cpu, mem_used FROM usage WHERE at = minute AND box < 20;
    INSERT INTO facts SELECT box + 20, at, up, restarts, mem_limit FROM facts WHERE at AT TIME ZONE 'UTC' = minute AND box < 20;
    COMMIT;
  END LOOP;
END
$$;
SELECT alerting.flush();
CREATE VIEW previewed AS
  SELECT r.name, p.container_id::int, p.status, p.started_at, p.fired_at, p.resolved_at, p.value
    FROM alerting.alert_rule r, alerting.preview(r.id, '2020-01-01', (SELECT max(at) FROM usage)) p WHERE r.enabled AND p.container_id::int > 20;
CREATE VIEW raised AS
  SELECT r.name, a.container_id, a.status, a.started_at, a.fired_at, a.resolved_at, a.value
    FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id WHERE a.container_id > 20;
SELECT count(*), count(*) FILTER (WHERE status = 'FIRING') AS firing FROM previewed;
TABLE previewed EXCEPT TABLE raised;
TABLE raised EXCEPT TABLE previewed;
-- It writes nothing.
BEGIN READ ONLY;
SELECT count(*) FROM alerting.preview(1, 'CPU_USAGE', 80, 2, '2020-01-01', '2020-01-01 00:30Z');
COMMIT;

-- Rows on which an expression fails are left out and told; the others count, also around them.
CREATE TABLE texts (box int, at timestamptz, cpu text);
CREATE INDEX ON texts (box, at);
INSERT INTO texts SELECT 2, '2020-06-01Z'::timestamptz + t * interval '1 minute', CASE t % 5000 WHEN 77 THEN 'n/a' ELSE (t % 2 * 100)::text END FROM generate_series(0, 12000) t;
SELECT alerting.attach_metrics('texts', container => 'box', at => 'at', cpu => 'cpu::float8', max_age => NULL);
SELECT count(*), sum(peak), min(started_at), max(resolved_at) FROM alerting.preview(1, 'CPU_USAGE', 80, 0, '2020-06-01', '2020-06-30');
SELECT count(*) FROM alerting.preview(1, 'CPU_USAGE', 80, 0, '2020-06-01', '2020-06-01 01:00Z');
SELECT alerting.detach_metrics('texts');

-- What it refuses.
SELECT * FROM alerting.preview('nobody', '2020-01-01');
SELECT * FROM alerting.preview(NULL, '2020-01-01');
SELECT * FROM alerting.preview(:'cpu', NULL);
SELECT * FROM alerting.preview(:'cpu', '2020-01-02', '2020-01-02');
SELECT * FROM alerting.preview(9, 'CPU_USAGE', 80, 0, '2020-01-01');
SELECT * FROM alerting.preview('x', 'CPU_USAGE', 80, 0, '2020-01-01');
SELECT * FROM alerting.preview(1, 'DISK_USAGE', 80, 0, '2020-01-01');
SELECT * FROM alerting.preview(1, NULL, 80, 0, '2020-01-01');
SELECT * FROM alerting.preview(1, 'CPU_USAGE', NULL, 0, '2020-01-01');
SELECT * FROM alerting.preview(1, 'MEMORY_USAGE', 'NaN', 0, '2020-01-01');
SELECT * FROM alerting.preview(1, 'CPU_USAGE', 80, -1, '2020-01-01');
SELECT * FROM alerting.preview(1, 'RESTART_LOOP', 3, 0, '2020-01-01');
SELECT * FROM alerting.preview(1, 'RESTART_LOOP', -1, 10, '2020-01-01');

-- It reads what the tables' owner may read, so EXECUTE is for those who may see it.
CREATE ROLE regress_alerting_reader;
GRANT USAGE ON SCHEMA alerting TO regress_alerting_reader;
SET ROLE regress_alerting_reader;
SELECT * FROM alerting.preview(1, 'CPU_USAGE', 80, 0, '2020-01-01');
RESET ROLE;
GRANT EXECUTE ON FUNCTION alerting.preview(bigint, text, float8, int, timestamptz, timestamptz) TO regress_alerting_reader;
SET ROLE regress_alerting_reader;
SELECT count(*) FROM alerting.preview(1, 'CPU_USAGE', 80, 2, '2020-01-01', '2020-02-01');
SELECT count(*) FROM usage;
RESET ROLE;

-- It can be cancelled.
INSERT INTO boxes VALUES (10, 2, 'many');
SELECT alerting.detach_metrics('usage');
INSERT INTO usage SELECT 10, '2020-01-02Z'::timestamptz + i * interval '1 second', 50 FROM generate_series(1, 300000) i;
SELECT alerting.attach_metrics('usage', container => 'box', at => 'at', cpu => 'cpu + 0 * (SELECT count(*) FROM generate_series(1, 100 + m.box))', max_age => NULL);
SET statement_timeout = '200ms';
SELECT * FROM alerting.preview(2, 'CPU_USAGE', 80, 0, '2020-01-01');
RESET statement_timeout;

-- The host has changed the table since.
ALTER TABLE usage RENAME cpu TO cpu_percent;
SELECT * FROM alerting.preview(2, 'CPU_USAGE', 80, 0, '2020-01-01');

DROP VIEW previewed, raised;
DROP EXTENSION alerting CASCADE;
DROP SCHEMA alerting CASCADE;
DROP TABLE usage, facts, texts, boxes, orgs;
DROP ROLE regress_alerting_reader;

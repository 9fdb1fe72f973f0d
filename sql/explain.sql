-- explain(): why a rule does or does not fire on a container.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE EXTENSION alerting;
CREATE TABLE orgs (id uuid PRIMARY KEY, name text);
CREATE TABLE boxes (id bigint PRIMARY KEY, org uuid REFERENCES orgs, name text);
CREATE TABLE usage (box bigint, at timestamptz, cpu float8, mem float8);
CREATE TABLE facts (box bigint, at timestamptz, up boolean, restarts int);
CREATE INDEX ON usage (box, at);
CREATE INDEX ON facts (box, at);
INSERT INTO orgs VALUES ('00000000-0000-0000-0000-00000000000a', 'one'), ('00000000-0000-0000-0000-00000000000b', 'two');
INSERT INTO boxes SELECT i, '00000000-0000-0000-0000-00000000000a', 'box ' || i FROM generate_series(1, 9) i;
INSERT INTO boxes VALUES (20, '00000000-0000-0000-0000-00000000000b', 'elsewhere'), (21, NULL, 'nowhere');
SELECT * FROM alerting.explain('cpu', 1);
SELECT alerting.attach('orgs', 'boxes', 'org');
INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold, duration, no_data)
  SELECT v.id, '00000000-0000-0000-0000-00000000000a', v.id, v.condition, v.threshold, v.duration, v.no_data
    FROM (VALUES ('cpu', 'CPU_USAGE', 80, 5, NULL), ('cpu at once', 'CPU_USAGE', 80.5, 0, NULL), ('mem', 'MEMORY_USAGE', 90, 1, 'resolve'),
      ('down', 'CONTAINER_DOWN', NULL, 10, NULL), ('down at once', 'CONTAINER_DOWN', NULL, 0, 'keep'), ('loop', 'RESTART_LOOP', 3, 10, 'fire')) AS v(id, condition, threshold, duration, no_data);
-- One row as the test shows it. Times of so old rows are behind the wall clock, which each answer says.
CREATE FUNCTION why(rule text, box bigint, OUT state text, OUT since time, OUT fired_at time, OUT last_at time, OUT last_value float8,
  OUT breaching boolean, OUT fires_at time, OUT resolves_at time, OUT silent boolean, OUT explanation text) LANGUAGE sql AS $$
  SELECT e.state, e.since::time, e.fired_at::time, e.last_at::time, e.last_value, e.breaching, e.fires_at::time, e.resolves_at::time, e.silent,
         replace(e.explanation, '. But: these are the samples'' own times, which are behind the wall clock', ' (old)')
    FROM alerting.explain(rule, box) e $$;
\pset expanded on
\pset format unaligned

-- Nothing is attached, then nothing was read.
SELECT alerting.flush();
SELECT * FROM why('cpu', 1);
SELECT * FROM why('down', 1);
SELECT alerting.attach_metrics('usage', container => 'box', at => 'at', cpu => 'cpu', memory => '', max_age => NULL);
SELECT alerting.flush();
SELECT * FROM why('cpu', 1);
SELECT * FROM why('mem', 1);
SELECT alerting.attach_metrics('usage', container => 'box', at => 'at', cpu => 'cpu', memory => 'mem', max_age => NULL);
SELECT alerting.attach_metrics('facts', container => 'box', at => 'at', running => 'up', restarts => 'restarts', max_age => NULL);
SELECT alerting.flush();

-- cpu: OK, PENDING, FIRING.
INSERT INTO usage VALUES (1, '2020-01-01 10:00Z', 79.96, 10);
SELECT alerting.flush();
SELECT * FROM why('cpu', 1);
SELECT * FROM why('cpu at once', 1);
SELECT * FROM why('mem', 1);
SELECT * FROM why('down', 1);
SELECT * FROM why('down at once', 1);
SELECT * FROM why('loop', 1);
INSERT INTO usage VALUES (1, '2020-01-01 10:01Z', 95.2, 95), (1, '2020-01-01 10:04Z', 99, 96);
SELECT alerting.flush();
SELECT * FROM why('cpu', 1);
SELECT * FROM why('cpu at once', 1);
SELECT * FROM why('mem', 1);
INSERT INTO usage VALUES (1, '2020-01-01 10:06Z', 95.2, 'NaN');
SELECT alerting.flush();
SELECT * FROM why('cpu', 1);

-- down: running, not running, FIRING; by the clock.
INSERT INTO facts VALUES (2, '2020-01-01 10:00Z', true, 0);
SELECT alerting.flush();
SELECT * FROM why('down', 2);
SELECT * FROM why('down at once', 2);
INSERT INTO facts VALUES (2, '2020-01-01 10:05Z', false, 0);
SELECT alerting.flush();
SELECT * FROM why('down', 2);
SELECT * FROM why('down at once', 2);

-- loop
SELECT * FROM why('loop', 2);
INSERT INTO facts VALUES (3, '2020-01-01 10:00Z', true, 0), (3, '2020-01-01 10:01Z', true, 1), (3, '2020-01-01 10:02Z', true, 4);
SELECT alerting.flush();
SELECT * FROM why('loop', 3);

-- Silence, measured on arrival.
SELECT alerting.attach_metrics('usage', container => 'box', at => 'at', cpu => 'cpu', memory => 'mem', max_age => NULL, stale_after => '1 second');
SELECT alerting.attach_metrics('facts', container => 'box', at => 'at', running => 'up', restarts => 'restarts', max_age => NULL, stale_after => '1 second');
SELECT alerting.flush();
INSERT INTO usage VALUES (4, '2020-01-01 10:00Z', 90, 95), (4, '2020-01-01 10:01Z', 90, 95);
INSERT INTO facts VALUES (5, '2020-01-01 10:00Z', true, 0);
SELECT alerting.flush();
DO $$
BEGIN
  FOR i IN 1 .. 600 LOOP
    EXIT WHEN (SELECT count(*) FROM alerting.alert WHERE (rule_id, container_id, status) IN (('down', 5, 'FIRING'), ('loop', 5, 'FIRING'), ('down', 4, 'FIRING'))) = 3;
    PERFORM pg_sleep(0.1);
  END LOOP;
END
$$;
SELECT alerting.flush();
SELECT * FROM why('cpu', 4);
SELECT * FROM why('mem', 4);
SELECT * FROM why('down', 4);
SELECT * FROM why('down', 5);
SELECT * FROM why('down at once', 5);
SELECT * FROM why('loop', 5);

-- Switched off, elsewhere.
UPDATE alerting.alert_rule SET enabled = false WHERE id = 'cpu';
SELECT alerting.flush();
SELECT * FROM why('cpu', 1);
UPDATE alerting.alert_rule SET enabled = true WHERE id = 'cpu';
SELECT alerting.flush();
SELECT * FROM why('cpu', 20);
SELECT * FROM why('cpu', 21);

-- History is not judged.
SELECT alerting.attach_metrics('usage', container => 'box', at => 'at', cpu => 'cpu', memory => 'mem', max_age => '1 hour');
SELECT alerting.flush();
INSERT INTO usage VALUES (6, '2020-01-01 10:00Z', 90, 95);
SELECT alerting.flush();
SELECT * FROM why('cpu', 6);
SELECT alerting.attach_metrics('usage', container => 'box', at => 'at', cpu => 'cpu', memory => 'mem', max_age => NULL, stale_after => '5 minutes');

-- Without the evaluator: the rows since what it saved are read, and it is said.
INSERT INTO usage VALUES (8, '2020-01-01 10:00Z', 90, 10);
SELECT alerting.flush();
SELECT alerting.stop();
INSERT INTO usage VALUES (1, '2020-01-01 10:07Z', 20, 10), (7, '2020-01-01 10:00Z', 100, 10);
SELECT * FROM why('cpu', 1);
SELECT * FROM why('cpu at once', 1);
SELECT * FROM why('cpu at once', 7);
-- Also a correction, and a row with a time too far ahead: it counts from when it is read, once, whatever else it tells.
UPDATE usage SET cpu = 99 WHERE box = 8;
INSERT INTO usage VALUES (9, now() + interval '1 day', 95, 10);
SELECT state, last_value FROM why('cpu at once', 8);
SELECT state, last_at <= clock_timestamp() AS has_been FROM alerting.explain('cpu at once', 9);
SELECT alerting.start();
SELECT alerting.flush();
SELECT * FROM why('cpu', 1);
SELECT * FROM why('cpu at once', 7);
SELECT now() AS judged \gset
SELECT state, last_at < :'judged' AS is_as_judged FROM alerting.explain('cpu at once', 9);
INSERT INTO usage VALUES (9, now(), 5, 10);
SELECT alerting.flush();
SELECT state, last_value FROM why('cpu at once', 9);

-- What it refuses.
SELECT * FROM alerting.explain('nothing', 1);
SELECT * FROM alerting.explain('cpu', 99);
SELECT * FROM alerting.explain('cpu', 'x');
SELECT * FROM alerting.explain(NULL, 1);
SELECT * FROM alerting.explain('cpu', NULL::text);
SELECT state FROM alerting.explain('cpu', '1');
CREATE ROLE regress_alerting_reader;
GRANT USAGE ON SCHEMA alerting TO regress_alerting_reader;
SET ROLE regress_alerting_reader;
SELECT * FROM alerting.explain('cpu', 1);
RESET ROLE;

DROP FUNCTION why;
DROP EXTENSION alerting CASCADE;
DROP SCHEMA alerting CASCADE;
DROP TABLE usage, facts, boxes, orgs;
DROP ROLE regress_alerting_reader;

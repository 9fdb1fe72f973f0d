-- Bad input gets an error that says what is wrong and what to do.
\set SHOW_CONTEXT never
CREATE EXTENSION alerting;
CREATE TABLE orgs (id int PRIMARY KEY, name text);
CREATE TABLE boxes (id int PRIMARY KEY, org_id int REFERENCES orgs, name text, flags boolean, tags text[]);
CREATE TABLE readings (box_id int REFERENCES boxes, at timestamptz, cpu float8, up text, ts bigint, note text, PRIMARY KEY (box_id, at));
INSERT INTO orgs VALUES (1, 'one');

-- Before attach.
SELECT state FROM alerting.status();
SELECT alerting.attach_metrics('readings');
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80);
SELECT alerting.create_webhook(1, 'https://example.com/');
SELECT alerting.detach();
SELECT alerting.detach_metrics('readings');

-- attach: tables.
SELECT alerting.attach('nowhere', 'boxes');
SELECT alerting.attach('orgs', NULL);
SELECT alerting.attach('orgs', 1::oid::regclass);
CREATE VIEW a_view AS SELECT * FROM boxes;
SELECT alerting.attach('orgs', 'a_view');
CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM boxes;
SELECT alerting.attach('orgs', 'a_matview');
CREATE FOREIGN DATA WRAPPER regress_alerting_fdw;
CREATE SERVER regress_alerting_server FOREIGN DATA WRAPPER regress_alerting_fdw;
CREATE FOREIGN TABLE a_foreign_table (id int, org_id int) SERVER regress_alerting_server;
SELECT alerting.attach('orgs', 'a_foreign_table');
SELECT alerting.attach('orgs', 'orgs_pkey');

SELECT alerting.attach('orgs', 'pg_catalog.pg_class');
CREATE TEMP TABLE a_temp_table (id int PRIMARY KEY, org_id int);
SELECT alerting.attach('orgs', 'a_temp_table');
CREATE UNLOGGED TABLE an_unlogged_table (id int PRIMARY KEY, org_id int);
SELECT alerting.attach('orgs', 'an_unlogged_table');
SELECT alerting.attach('boxes', 'boxes');
-- attach: keys.
SELECT alerting.attach('orgs', 'readings');
CREATE TABLE no_key (id int, org_id int);
SELECT alerting.attach('orgs', 'no_key');
CREATE TABLE of_two (a int, b text, org_id int, PRIMARY KEY (a, b));
SELECT alerting.attach('orgs', 'of_two');
CREATE TABLE two_keys (a int NOT NULL UNIQUE, b int NOT NULL UNIQUE, org_id int);
SELECT alerting.attach('orgs', 'two_keys');
CREATE TABLE odd_key (id float8 PRIMARY KEY, org_id int);
SELECT alerting.attach('orgs', 'odd_key');
-- attach: the organization.
CREATE TABLE lonely (id int PRIMARY KEY, name text);
SELECT alerting.attach('orgs', 'lonely');
SELECT alerting.attach('boxes', 'orgs');
SELECT alerting.attach('orgs', 'boxes', organization => 'ord_id');
SELECT alerting.attach('orgs', 'boxes', organization => 'name');
SELECT alerting.attach('orgs', 'boxes', organization => 'flags');
SELECT alerting.attach('orgs', 'boxes', organization => '(SELECT o.id FROM orgs o WHERE');
SELECT alerting.attach('orgs', 'boxes', organization => '');
SELECT alerting.attach('orgs', 'boxes', organization => 'org_id) FROM boxes c; DROP TABLE orgs; SELECT (1');
SELECT alerting.attach('orgs', 'boxes', organization => 'org_id), (id');
SELECT alerting.attach('orgs', 'boxes', organization => '1) UNION SELECT (2');
SELECT alerting.attach('orgs', 'boxes', organization => '(SELECT o.id FROM missing o)');
SELECT alerting.attach('orgs', 'boxes', organization => '(SELECT o.id FROM orgs o WHERE o.id = c.org_id FOR UPDATE)');
SELECT alerting.attach('orgs', 'boxes', organization => '$1');
SELECT alerting.attach('orgs', 'boxes', name => 'nome');
SELECT alerting.attach('orgs', 'boxes', name => 'upper(name)');
-- Nothing was made on the way.
SELECT count(*) FROM pg_class WHERE relnamespace = 'alerting'::regnamespace;

SELECT alerting.attach('orgs', 'boxes');
-- attach_metrics.
SELECT alerting.attach_metrics('missing');
SELECT alerting.attach_metrics(NULL);
SELECT alerting.attach_metrics('a_view');
SELECT alerting.attach_metrics('alerting.alert');
SELECT alerting.attach_metrics('lonely', at => 'now()');
SELECT alerting.attach_metrics('readings', container => '');
SELECT alerting.attach_metrics('readings', at => '');
SELECT alerting.attach_metrics('boxes');
SELECT alerting.detach_metrics('boxes');
SELECT alerting.detach_metrics(NULL);
SELECT alerting.attach_metrics('readings', container => 'container');
SELECT alerting.attach_metrics('readings', container => 'note');
SELECT alerting.attach_metrics('readings', at => 'note');
SELECT alerting.attach_metrics('readings', at => 'ts');
SELECT alerting.attach_metrics('readings', at => 'ts', at_unit => 'minutes');
SELECT alerting.attach_metrics('readings', at => 'at', at_unit => 's');
SELECT alerting.attach_metrics('readings', at_unit => 's');
SELECT alerting.attach_metrics('readings', cpu => '');
SELECT alerting.attach_metrics('readings', cpu => 'cpu_percent');
SELECT alerting.attach_metrics('readings', cpu => 'm.cpu + k.cpu');
SELECT alerting.attach_metrics('readings', cpu => 'up = ''up''');
SELECT alerting.attach_metrics('readings', cpu => 'avg(cpu)');
SELECT alerting.attach_metrics('readings', cpu => 'cpu - lag(cpu) OVER (ORDER BY at)');
SELECT alerting.attach_metrics('readings', cpu => 'generate_series(1, 3)');
SELECT alerting.attach_metrics('readings', cpu => 'random()');
SELECT alerting.attach_metrics('readings', cpu => '(SELECT max(cpu * random()) FROM readings)');
SELECT alerting.attach_metrics('readings', cpu => 'cpu / ''x''');
SELECT alerting.attach_metrics('readings', running => 'up');
SELECT alerting.attach_metrics('readings', running => 'cpu > 0', max_age => '0');
SELECT alerting.attach_metrics('readings', stale_after => '-1 minute');
SELECT alerting.attach_metrics('readings', stale_after => NULL);
SELECT alerting.attach_metrics('readings', time_zone => 'Mars/Olympus');
SELECT alerting.attach_metrics('readings', time_zone => NULL);
SELECT alerting.attach_metrics('readings', level => 'page');
SELECT alerting.detach_metrics('readings');
SELECT count(*) FROM alerting.metric_source;
-- Half of a reading: the other may come from another table.
BEGIN;
SELECT alerting.attach_metrics('readings', cpu => '', memory_used => 'cpu');
SELECT alerting.attach_metrics('readings', cpu => '', memory_limit => 'cpu');
SELECT alerting.attach_metrics('readings', cpu => '', memory_used => 'cpu', memory_limit => '8');
ROLLBACK;

-- Rules.
SELECT alerting.create_rule(NULL, 'cpu', 'CPU_USAGE', 80);
SELECT alerting.create_rule('one', 'cpu', 'CPU_USAGE', 80);
SELECT alerting.create_webhook('one', 'https://example.com/');
SELECT alerting.create_webhook(2, 'https://example.com/');
SELECT alerting.import_prometheus_rule('one', 'up == 0');
\set VERBOSITY terse
SELECT alerting.create_rule(2, 'cpu', 'CPU_USAGE', 80);
SELECT alerting.create_rule(1, 'cpu', 'DISK_USAGE', 80);
SELECT alerting.create_rule(1, 'cpu', NULL, 80);
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE');
SELECT alerting.create_rule(1, 'cpu', 'MEMORY_USAGE', 'NaN');
SELECT alerting.create_rule(1, 'cpu', 'MEMORY_USAGE', 'Infinity');
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80, -1);
SELECT alerting.create_rule(1, ' ', 'CPU_USAGE', 80);
SELECT alerting.create_rule(1, NULL, 'CPU_USAGE', 80);
SELECT alerting.create_rule(1, 'loop', 'RESTART_LOOP', 3);
SELECT alerting.create_rule(1, 'loop', 'RESTART_LOOP', -1, 5);
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80, no_data => 'maybe');
INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold) VALUES ('', 1, 'cpu', 'CPU_USAGE', 80);
\set VERBOSITY default
-- Accepted, but odd.
SELECT t.condition, t.threshold, o.* FROM (VALUES ('CPU_USAGE', 0.8::float8), ('CPU_USAGE', 1), ('MEMORY_USAGE', 0.05), ('MEMORY_USAGE', 100),
    ('MEMORY_USAGE', 536870912), ('CPU_USAGE', 0), ('CPU_USAGE', 1.5), ('CPU_USAGE', 350), ('MEMORY_USAGE', 99.9), ('RESTART_LOOP', 1), ('CONTAINER_DOWN', NULL)) AS t(condition, threshold),
  alerting.odd_threshold(t.condition, t.threshold) o;
BEGIN;
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 0.8) <> '' AS made;
ROLLBACK;
-- And what to do; a detail shows the row, whose id differs each time.
CREATE FUNCTION advice(arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE state text; hint text;
BEGIN
  EXECUTE format('SELECT alerting.create_rule(%s)', arguments);
  RETURN 'made';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, hint = PG_EXCEPTION_HINT;
  RETURN concat_ws(' ', state, hint);
END $$;
ALTER TABLE alerting.alert_rule ADD CONSTRAINT of_the_user CHECK (name <> 'bad');
SELECT a.arguments, advice(a.arguments) FROM unnest(ARRAY[$$2, 'cpu', 'CPU_USAGE', 80$$, $$1, 'cpu', 'cpu_usage', 80$$, $$1, 'cpu', 'CPU_USAGE'$$,
  $$1, 'cpu', 'CPU_USAGE', 'NaN'$$, $$1, 'cpu', 'CPU_USAGE', 80, -1$$, $$1, '', 'CPU_USAGE', 80$$, $$1, 'loop', 'RESTART_LOOP', 3$$,
  $$1, 'loop', 'RESTART_LOOP', -1, 5$$, $$1, 'loop', 'RESTART_LOOP', 'NaN', 5$$, $$1, 'down', 'CONTAINER_DOWN', 'Infinity'$$, $$1, 'cpu', 'CPU_USAGE', 80, no_data => 'maybe'$$, $$1, 'bad', 'CPU_USAGE', 80$$]) AS a(arguments);
DROP FUNCTION advice(text);
-- The same for whoever writes the table. No trigger sees what is replicated: the constraint does.
CREATE FUNCTION refusal(statement text, OUT said text, OUT hint text) LANGUAGE plpgsql AS $$
DECLARE state text; violated text; of_table text;
BEGIN
  EXECUTE statement;
  said := 'accepted';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT, violated = CONSTRAINT_NAME, of_table = TABLE_NAME;
  said := concat_ws(' ', state, of_table, violated, replace(said, 'new row for relation "alert_rule" violates check constraint "' || violated || '"', '...'));
END $$;
BEGIN;
INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold, duration) VALUES ('good', 1, 'cpu', 'CPU_USAGE', -5, 0);
SELECT r.* FROM unnest(ARRAY[$$'DISK''S', 80, 0, NULL, 'cpu'$$, $$'CPU_USAGE', NULL, 0, NULL, 'cpu'$$, $$'CPU_USAGE', '-Infinity', 0, NULL, 'cpu'$$,
  $$'CONTAINER_DOWN', 'NaN', 0, NULL, 'cpu'$$, $$'CPU_USAGE', 80, -1, NULL, 'cpu'$$, $$'CPU_USAGE', 80, 0, '', 'cpu'$$, $$'CPU_USAGE', 80, 0, NULL, ' '$$,
  $$'RESTART_LOOP', NULL, 0, NULL, 'cpu'$$, $$'RESTART_LOOP', -1, 5, NULL, 'cpu'$$, $$'nonsense', 'NaN', -1, 'x', ''$$, $$NULL, 80, -1, NULL, 'cpu'$$,
  $$NULL, 80, 0, NULL, 'cpu'$$]) AS v(given),
  refusal(format('INSERT INTO alerting.alert_rule (organization_id, condition, threshold, duration, no_data, name) VALUES (1, %s)', v.given)) r;
SELECT r.* FROM unnest(ARRAY[$$condition = 'RESTART_LOOP'$$, $$condition = 'RESTART_LOOP', duration = 5$$, $$condition = 'cpu'$$, $$threshold = NULL$$, $$id = ''$$,
  $$name = ''$$, $$no_data = 'never'$$, $$duration = -2$$, $$name = NULL, threshold = 'NaN'$$, $$enabled = NULL$$, $$duration = NULL$$, $$threshold = 90$$]) AS v(given),
  refusal(format('UPDATE alerting.alert_rule SET %s WHERE id = %L', v.given, 'good')) r;
-- What a user's trigger makes of a rule counts, also one that comes after ours.
CREATE FUNCTION usual_threshold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.threshold := coalesce(NEW.threshold, 80); RETURN NEW; END $$;
CREATE TRIGGER usual_threshold BEFORE INSERT ON alerting.alert_rule FOR EACH ROW EXECUTE FUNCTION usual_threshold();
SELECT r.* FROM unnest(ARRAY[$$'CPU_USAGE', NULL$$, $$'CPU', NULL$$]) AS v(given),
  refusal(format('INSERT INTO alerting.alert_rule (organization_id, name, condition, threshold) VALUES (1, ''cpu'', %s)', v.given)) r;
SET LOCAL session_replication_role = replica;
SELECT r.* FROM refusal($$UPDATE alerting.alert_rule SET condition = 'cpu' WHERE id = 'good'$$) r;
ROLLBACK;
DROP FUNCTION refusal(text);

-- Errors leave nothing behind in the session's memory.
CREATE FUNCTION refuse(times int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..times LOOP
    BEGIN
      INSERT INTO alerting.webhook (organization_id, url) VALUES (1, 'nowhere');
    EXCEPTION WHEN OTHERS THEN
      NULL;
    END;
  END LOOP;
  RETURN (SELECT sum(used_bytes) FROM pg_backend_memory_contexts WHERE name IN ('TopMemoryContext', 'ErrorContext', 'alerting error'));
END $$;
SELECT refuse(1) AS before \gset
SELECT refuse(500) - :before < 50000 AS nothing_left;
DROP FUNCTION refuse(int);

-- A capture trigger that somebody made by hand is refused each time that it fires.
CREATE TABLE by_hand (a int);
CREATE TRIGGER capture AFTER INSERT ON by_hand REFERENCING NEW TABLE AS alerting_new FOR EACH STATEMENT EXECUTE FUNCTION alerting.capture('1', '2');
INSERT INTO by_hand VALUES (1);
INSERT INTO by_hand VALUES (1);
DROP TABLE by_hand;

-- A row that cannot be read is left out, also where an error of the user's own is to end the session.
SET client_min_messages = error;
SELECT count(*) > 0 AS attached FROM alerting.attach_metrics('readings', cpu => '100 / (100 / m.cpu)');
INSERT INTO boxes VALUES (1, 1);
SET exit_on_error = on;
INSERT INTO readings VALUES (1, now(), 0);
SELECT count(*) AS rows, current_setting('exit_on_error') AS exit_on_error FROM readings;
RESET exit_on_error;

SET client_min_messages = warning;
DROP EXTENSION alerting CASCADE;
DROP SCHEMA alerting CASCADE;
DROP TABLE readings, boxes, orgs, lonely, no_key, of_two, two_keys, odd_key, an_unlogged_table CASCADE;
DROP FOREIGN DATA WRAPPER regress_alerting_fdw CASCADE;

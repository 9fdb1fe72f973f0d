-- Measurements of a stretch of time, the last of which is still open: a range, arrays, a composite type, hstore; keys are addresses.
--@ schema
CREATE EXTENSION hstore;
CREATE TYPE usage AS (used_kib bigint, limit_mib int);
CREATE TABLE orgs (id smallint PRIMARY KEY, name name);
CREATE TABLE containers (id inet PRIMARY KEY, org_id smallint REFERENCES orgs, name name);
CREATE TABLE measurements (container inet REFERENCES containers, during tstzrange, tags hstore, vals real[], mem usage, EXCLUDE USING gist (container inet_ops WITH =, during WITH &&));
CREATE INDEX ON measurements (upper(during));
GRANT SELECT, INSERT, UPDATE ON measurements TO app;
INSERT INTO orgs VALUES (1, 'Initech');
INSERT INTO containers VALUES ('10.0.0.1', 1, 'a'), ('fe80::1/64', 1, 'b');
--@ attach
SELECT alerting.attach('orgs', 'containers');
SELECT alerting.attach_metrics('measurements', at => 'upper(during)', cpu => '100 * vals[1] / vals[2]', memory_used => '(mem).used_kib * 1024', memory_limit => '(m.mem).limit_mib * 1048576.0',
  running => $$tags -> 'state' = 'running'$$, restarts => $$(tags -> 'restarts')::int$$, max_age => NULL);
SELECT alerting.create_rule(1, r.name, r.condition, r.threshold, r.duration) FROM (VALUES
  ('cpu', 'CPU_USAGE', 80, 1), ('down', 'CONTAINER_DOWN', NULL, 0), ('loop', 'RESTART_LOOP', 2, 10), ('memory', 'MEMORY_USAGE', 80, 0)) AS r(name, condition, threshold, duration);
--@ mapping
measurements container: container
measurements at: upper(m.during)
measurements cpu: (((100)::double precision * m.vals[1]) / m.vals[2])
measurements memory_used: ((m.mem).used_kib * 1024)
measurements memory_limit: (((m.mem).limit_mib)::numeric * 1048576.0)
measurements running: ((m.tags OPERATOR(public.->) 'state'::text) = 'running'::text)
measurements restarts: ((m.tags OPERATOR(public.->) 'restarts'::text))::integer
--@ app
INSERT INTO measurements VALUES ('10.0.0.1', '[2026-03-02 09:59Z,2026-03-02 10:00Z)', 'state=>running,restarts=>0', '{1.8,2}', (900, 1)),
  ('fe80::1/64', '[2026-03-02 09:59Z,2026-03-02 10:00Z)', 'state=>exited', '{}', NULL);
INSERT INTO measurements VALUES ('10.0.0.1', '[2026-03-02 10:00Z,2026-03-02 10:01Z)', 'state=>running,restarts=>3', '{1.8,2}', (100, 1)),
  ('fe80::1/64', '[2026-03-02 10:00Z,)', 'state=>running', '{NaN,1}', ROW(NULL, NULL)), ('10.0.0.1', 'empty', '', '{0,2}', (100, 1));
UPDATE measurements SET during = tstzrange(lower(during), '2026-03-02 10:03Z'), vals = '{0.5,1}' WHERE container = 'fe80::1/64' AND upper_inf(during);
--@ alerts
cpu a FIRING 10:00:00 10:01:00
down b RESOLVED 10:00:00 10:00:00 10:03:00 RECOVERED
loop a FIRING 10:01:00 10:01:00
memory a RESOLVED 10:00:00 10:00:00 10:01:00 RECOVERED

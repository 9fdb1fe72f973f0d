-- Readings as name and value: the name is an enum, ids are domains over uuid, containers have a composite
-- primary key (and an id of their own), rows are partitioned by hash.
--@ schema
CREATE DOMAIN container_ref AS uuid CHECK (VALUE IS NOT NULL);
CREATE TYPE metric_name AS ENUM ('cpu.usage', 'mem.used', 'mem.limit', 'state.running', 'restarts');
CREATE TABLE organizations (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, slug text UNIQUE);
CREATE TABLE containers (org_id bigint REFERENCES organizations, id container_ref NOT NULL UNIQUE, display_name text, PRIMARY KEY (org_id, id));
CREATE TABLE samples (container container_ref, metric metric_name, value double precision, recorded_at timestamptz,
  PRIMARY KEY (container, metric, recorded_at)) PARTITION BY HASH (container);
CREATE TABLE samples_0 PARTITION OF samples FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE samples_1 PARTITION OF samples FOR VALUES WITH (MODULUS 2, REMAINDER 1);
GRANT INSERT ON samples TO app;
INSERT INTO organizations (slug) VALUES ('soylent');
INSERT INTO containers VALUES (1, '018f0000-0000-7000-8000-00000000000a', 'green'), (1, '018f0000-0000-7000-8000-00000000000b', 'red');
--@ attach
SELECT alerting.attach_metrics('samples', max_age => NULL,
  cpu => $$CASE metric WHEN 'cpu.usage' THEN value END$$,
  memory_used => $$CASE metric WHEN 'mem.used' THEN value END$$, memory_limit => $$CASE metric WHEN 'mem.limit' THEN value END$$,
  running => $$CASE metric WHEN 'state.running' THEN value <> 0 END$$, restarts => $$CASE metric WHEN 'restarts' THEN value END$$);
SELECT alerting.create_rule(1, r.name, r.condition, r.threshold, r.duration) FROM (VALUES
  ('cpu', 'CPU_USAGE', 90, 1), ('down', 'CONTAINER_DOWN', NULL, 1), ('loop', 'RESTART_LOOP', 2, 10), ('memory', 'MEMORY_USAGE', 80, 0)) AS r(name, condition, threshold, duration);
--@ mapping
samples container: container
samples at: recorded_at
samples cpu: CASE m.metric WHEN 'cpu.usage'::public.metric_name THEN m.value ELSE NULL::double precision END
samples memory_used: CASE m.metric WHEN 'mem.used'::public.metric_name THEN m.value ELSE NULL::double precision END
samples memory_limit: CASE m.metric WHEN 'mem.limit'::public.metric_name THEN m.value ELSE NULL::double precision END
samples running: CASE m.metric WHEN 'state.running'::public.metric_name THEN (m.value <> (0)::double precision) ELSE NULL::boolean END
samples restarts: CASE m.metric WHEN 'restarts'::public.metric_name THEN m.value ELSE NULL::double precision END
--@ app
INSERT INTO samples SELECT ('018f0000-0000-7000-8000-00000000000' || c)::uuid, m::metric_name, v, '2026-03-02 10:00Z'::timestamptz + n * interval '1 minute' FROM (VALUES
  ('a', 'cpu.usage', '{95,95,95,5}'::float8[]), ('a', 'mem.limit', '{100}'), ('a', 'mem.used', '{50,90,90,90}'), ('a', 'restarts', '{0,0,3,3}'),
  ('b', 'cpu.usage', '{95,5,95,5}'), ('b', 'state.running', '{1,0,0,1}')) AS x(c, m, vs), unnest(vs) WITH ORDINALITY AS u(v, ordinal), LATERAL (SELECT ordinal - 1 AS n) o
  ORDER BY n;
--@ app
INSERT INTO samples (container, metric, value, recorded_at) VALUES ('018f0000-0000-7000-8000-00000000000a', 'mem.used', 10, '2026-03-02 10:04Z');
--@ alerts
cpu green RESOLVED 10:00:00 10:01:00 10:03:00 RECOVERED
down red RESOLVED 10:01:00 10:02:00 10:03:00 RECOVERED
loop green FIRING 10:02:00 10:02:00
memory green RESOLVED 10:01:00 10:01:00 10:04:00 RECOVERED

-- A mirror of Nomad in a schema of its own: a namespace's key is its name, an allocation's name is generated, times are
-- nanoseconds since 1970, figures lie deep in jsonb, a status is a text with a CHECK.
--@ schema
CREATE SCHEMA nomad;
CREATE TABLE nomad.namespaces (name text PRIMARY KEY, description text);
CREATE TABLE nomad.allocations (id uuid PRIMARY KEY, namespace text NOT NULL REFERENCES nomad.namespaces ON UPDATE CASCADE, job_id text, task_group text,
  name text GENERATED ALWAYS AS (job_id || '.' || task_group) STORED,
  client_status text CHECK (client_status IN ('pending', 'running', 'complete', 'failed', 'lost')), modify_time bigint, restarts int DEFAULT 0);
CREATE TABLE nomad.alloc_stats (alloc_id uuid REFERENCES nomad.allocations ON DELETE CASCADE, "Timestamp" bigint, stats jsonb, PRIMARY KEY (alloc_id, "Timestamp"));
GRANT USAGE ON SCHEMA nomad TO app;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA nomad TO app;
INSERT INTO nomad.namespaces VALUES ('default'), ('batch');
INSERT INTO nomad.allocations VALUES ('00000000-0000-4000-8000-000000000001', 'default', 'web', 'front', DEFAULT, 'running', 1772445000000000000),
  ('00000000-0000-4000-8000-000000000002', 'batch', 'etl', 'load', DEFAULT, 'running', 1772445000000000000);
--@ attach
SELECT alerting.attach('nomad.namespaces', 'nomad.allocations');
SELECT alerting.attach_metrics('nomad.alloc_stats', at => '"Timestamp" / 1e9', at_unit => 's', cpu => $$(stats #>> '{ResourceUsage,CpuStats,Percent}')::float8$$,
  memory => $$100 * (stats #>> '{ResourceUsage,MemoryStats,RSS}')::float8 / nullif((stats #>> '{Limit}')::float8, 0)$$, max_age => NULL);
SELECT alerting.attach_metrics('nomad.allocations', at => 'modify_time / 1e9', at_unit => 's', running => $$client_status = 'running'$$, max_age => NULL);
SELECT alerting.create_rule('default', 'cpu', 'CPU_USAGE', 80, 0), alerting.create_rule('default', 'down', 'CONTAINER_DOWN', duration => 1),
       alerting.create_rule('default', 'restarts', 'RESTART_LOOP', 2, 10), alerting.create_rule('batch', 'memory', 'MEMORY_USAGE', 80, 0);
--@ mapping
nomad.alloc_stats container: alloc_id
nomad.alloc_stats at: ((m."Timestamp")::numeric / '1000000000'::numeric)
nomad.alloc_stats at_unit: s
nomad.alloc_stats cpu: ((m.stats #>> '{ResourceUsage,CpuStats,Percent}'::text[]))::double precision
nomad.alloc_stats memory: (((100)::double precision * ((m.stats #>> '{ResourceUsage,MemoryStats,RSS}'::text[]))::double precision) / NULLIF(((m.stats #>> '{Limit}'::text[]))::double precision, (0)::double precision))
nomad.allocations container: id
nomad.allocations at: ((m.modify_time)::numeric / '1000000000'::numeric)
nomad.allocations at_unit: s
nomad.allocations running: (m.client_status = 'running'::text)
nomad.allocations restarts: restarts
--@ app
INSERT INTO nomad.alloc_stats SELECT a.id, 1772445600000000000 + g * 60000000000, jsonb_build_object('Limit', 1000, 'ResourceUsage',
    jsonb_build_object('CpuStats', jsonb_build_object('Percent', CASE g WHEN 2 THEN 10.0 ELSE 99.5 END), 'MemoryStats', jsonb_build_object('RSS', 700 + 50 * g)))
  FROM nomad.allocations a, generate_series(0, 3) g ORDER BY g;
UPDATE nomad.allocations SET restarts = 1, modify_time = 1772445660000000000 WHERE job_id = 'web';
UPDATE nomad.allocations SET restarts = 2, modify_time = 1772445720000000000 WHERE job_id = 'web';
UPDATE nomad.allocations SET restarts = 3, client_status = 'failed', modify_time = 1772445780000000000 WHERE job_id = 'web';
UPDATE nomad.allocations SET client_status = 'lost', modify_time = 1772445840000000001 WHERE job_id = 'web';
--@ alerts
cpu web.fron FIRING 10:03:00 10:03:00
cpu web.fron RESOLVED 10:00:00 10:00:00 10:02:00 RECOVERED
down web.fron FIRING 10:03:00 10:04:00
memory etl.load FIRING 10:03:00 10:03:00
restarts web.fron FIRING 10:03:00 10:03:00

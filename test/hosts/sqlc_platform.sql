-- sqlc_platform: multi-tenant platform of a Go service with hand-written SQL: uuid keys, samples partitioned by day, midnight inside.
--
-- Use:     psql -v part=schema -f sqlc_platform.sql, CREATE EXTENSION alerting, psql -f sqlc_platform.attach.sql, psql -v part=data -f sqlc_platform.sql
-- Times are fixed and in the past: max_age => NULL, and silence of a container means nothing: no_data 'keep'.
--
-- Where things are
--   organizations   tenants (id uuid)
--   containers      workloads (id uuid); organization through the project: workloads.project_id -> projects.tenant_id
--   metrics         workload_samples, PARTITION BY RANGE (sampled_at), one partition a day, primary key (workload_id, sampled_at);
--                   one INSERT ... SELECT FROM unnest(arrays) ON CONFLICT DO NOTHING per minute
--   quirks          tomorrow's partition is created while data flow; the loader of workload etl writes straight INTO the
--                   partition, not the parent; an old partition is detached at the end; state is an enum; "no memory limit" is
--                   the kernel's 9223372036854771712, or 0
-- Mapping
--   container       workload_id
--   time            sampled_at (timestamptz)
--   cpu percent     100 * cpu_cores / cpu_quota_cores
--   memory percent  100.0 * mem_bytes / mem_limit_bytes  (limit 0 = no reading)
--   running         state = 'running'
--   restart count   restarts (bigint counter)
--
-- Conventions of the expected alerts
--   CPU_USAGE breaches strictly above the threshold, CONTAINER_DOWN when not running. An alert fires on the first breaching
--   sample at least `duration` minutes after the first one of its unbroken run; started_at = that first sample; resolved_at =
--   the first later sample that does not breach. Rows written straight into a partition are samples like any other.
--   RESTART_LOOP breaches when the restarts gained in (t - duration, t] are more than the threshold, a fall of the counter
--   being a reset (the gain is then the new value); it fires at once, started_at = that sample.
--
-- Expected alerts (UTC, 2026-03-05 / 06). Rules of tenant stark:
--   R1 CPU_USAGE      threshold 90 duration 5
--   R2 RESTART_LOOP   threshold 3  duration 5
--   R3 CONTAINER_DOWN              duration 10
--   R4 MEMORY_USAGE   threshold 90 duration 1
--   rule  container  status    started_at      (fires)         resolved_at
--   R1    gateway    RESOLVED  03-05 23:55:00  (03-06 00:00:00) 03-06 00:10:00   across the partition border
--   R1    etl        RESOLVED  03-06 00:02:00  (03-06 00:07:00) 03-06 00:15:00   written straight into the partition
--   R2    ledger     RESOLVED  03-06 00:00:00  (03-06 00:00:00) 03-06 00:05:00   counter 40 -> 42 -> 44 -> 46
--   R3    billing    FIRING    03-06 00:12:00  (03-06 00:22:00) -
--   nothing else: no memory figure has a usable limit; gateway of tenant oscorp has no rule; repeated rows are conflicts.
\set QUIET on
\if :{?part}
\else
  \set part all
\endif
SELECT :'part' IN ('all', 'schema') AS do_schema, :'part' IN ('all', 'data') AS do_data \gset
\if :do_schema
CREATE TYPE workload_state AS ENUM ('pending', 'running', 'stopped', 'crashed');
CREATE TABLE tenants (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9-]+$'), created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE projects (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE, name text NOT NULL, UNIQUE (tenant_id, name));
CREATE TABLE workloads (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE, name text NOT NULL, image text NOT NULL, UNIQUE (project_id, name));
CREATE TABLE workload_samples (
  workload_id uuid NOT NULL REFERENCES workloads ON DELETE CASCADE, sampled_at timestamptz NOT NULL, cpu_cores double precision NOT NULL, cpu_quota_cores double precision NOT NULL,
  mem_bytes bigint NOT NULL, mem_limit_bytes bigint NOT NULL, state workload_state NOT NULL, restarts bigint NOT NULL DEFAULT 0, PRIMARY KEY (workload_id, sampled_at)
) PARTITION BY RANGE (sampled_at);
CREATE TABLE workload_samples_20260304 PARTITION OF workload_samples FOR VALUES FROM ('2026-03-04 00:00Z') TO ('2026-03-05 00:00Z');
CREATE TABLE workload_samples_20260305 PARTITION OF workload_samples FOR VALUES FROM ('2026-03-05 00:00Z') TO ('2026-03-06 00:00Z');

INSERT INTO tenants (id, slug) VALUES ('5f0c1b5e-0000-4000-8000-00000000aa01', 'stark'), ('5f0c1b5e-0000-4000-8000-00000000aa02', 'oscorp');
INSERT INTO projects (id, tenant_id, name) VALUES ('5f0c1b5e-0000-4000-8000-00000000bb01', '5f0c1b5e-0000-4000-8000-00000000aa01', 'payments'), ('5f0c1b5e-0000-4000-8000-00000000bb02', '5f0c1b5e-0000-4000-8000-00000000aa02', 'lab');
INSERT INTO workloads (id, project_id, name, image) VALUES
  ('5f0c1b5e-0000-4000-8000-00000000cc01', '5f0c1b5e-0000-4000-8000-00000000bb01', 'gateway', 'gw:9'), ('5f0c1b5e-0000-4000-8000-00000000cc02', '5f0c1b5e-0000-4000-8000-00000000bb01', 'etl', 'etl:2'),
  ('5f0c1b5e-0000-4000-8000-00000000cc03', '5f0c1b5e-0000-4000-8000-00000000bb01', 'ledger', 'ledger:4'), ('5f0c1b5e-0000-4000-8000-00000000cc04', '5f0c1b5e-0000-4000-8000-00000000bb01', 'billing', 'billing:1'),
  ('5f0c1b5e-0000-4000-8000-00000000cc05', '5f0c1b5e-0000-4000-8000-00000000bb02', 'gateway', 'gw:8');
\endif
\if :do_data
WITH tick AS (SELECT g, timestamptz '2026-03-05 23:30:00Z' + g * interval '1 minute' AS at FROM generate_series(0, 60) g),
s AS (
  SELECT g, at, ('5f0c1b5e-0000-4000-8000-00000000cc0' || n)::uuid AS w, n,
         CASE WHEN n = 1 AND g BETWEEN 25 AND 39 THEN 1.82 + (g % 5) * 0.02 WHEN n = 2 AND g BETWEEN 32 AND 44 THEN 1.94 WHEN n = 5 THEN 2 ELSE 0.4 + (g % 7) * 0.1 END AS cpu, 2 AS quota,
         8000000000 + g AS mem, CASE WHEN n % 2 = 0 THEN 0 ELSE 9223372036854771712 END AS lim,
         CASE WHEN n = 4 AND g >= 42 THEN 'crashed' WHEN n = 5 AND g >= 10 THEN 'stopped' ELSE 'running' END AS st,
         CASE WHEN n <> 3 THEN 1 WHEN g < 29 THEN 40 WHEN g = 29 THEN 42 WHEN g = 30 THEN 44 ELSE 46 END AS rs
    FROM tick CROSS JOIN generate_series(1, 5) n),
script AS (
  SELECT g, CASE WHEN direct THEN 2 ELSE 1 END AS ord, format(
           'INSERT INTO %s (workload_id, sampled_at, cpu_cores, cpu_quota_cores, mem_bytes, mem_limit_bytes, state, restarts) '
           'SELECT * FROM unnest(%L::uuid[], %L::timestamptz[], %L::float8[], %L::float8[], %L::int8[], %L::int8[], %L::workload_state[], %L::int8[]) ON CONFLICT DO NOTHING',
           CASE WHEN direct THEN 'workload_samples_20260306' ELSE 'workload_samples' END,
           array_agg(w ORDER BY n), array_agg(at ORDER BY n), array_agg(cpu ORDER BY n), array_agg(quota ORDER BY n), array_agg(mem ORDER BY n), array_agg(lim ORDER BY n), array_agg(st ORDER BY n), array_agg(rs ORDER BY n)) AS stmt
    FROM (SELECT *, n = 2 AND g >= 30 AS direct FROM s) x GROUP BY g, direct
  UNION ALL SELECT 20, 0, 'CREATE TABLE workload_samples_20260306 PARTITION OF workload_samples FOR VALUES FROM (''2026-03-06 00:00Z'') TO (''2026-03-07 00:00Z'')'
  UNION ALL SELECT 55, 0, 'ALTER TABLE workload_samples DETACH PARTITION workload_samples_20260304'
  UNION ALL   -- the collector retries the tick of 00:08 as a whole
  SELECT 38, 3, format('INSERT INTO workload_samples (workload_id, sampled_at, cpu_cores, cpu_quota_cores, mem_bytes, mem_limit_bytes, state, restarts) SELECT * FROM unnest(%L::uuid[], %L::timestamptz[], %L::float8[], %L::float8[], %L::int8[], %L::int8[], %L::workload_state[], %L::int8[]) ON CONFLICT DO NOTHING',
           array_agg(w ORDER BY n), array_agg(at ORDER BY n), array_agg(cpu ORDER BY n), array_agg(quota ORDER BY n), array_agg(mem ORDER BY n), array_agg(lim ORDER BY n), array_agg(st ORDER BY n), array_agg(rs ORDER BY n)) FROM s WHERE g = 38 AND n <> 2)
SELECT stmt FROM script ORDER BY g, ord \gexec
\endif

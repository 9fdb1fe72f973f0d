-- An Elixir service with Ecto: binary ids, naive times in inserted_at, citext, domains, a generated column, and
-- samples partitioned by day with a default partition, which come and go while samples flow.
--@ schema
CREATE EXTENSION citext;
CREATE DOMAIN percent AS double precision CHECK (VALUE >= 0);
CREATE DOMAIN public_id AS citext;
CREATE TABLE accounts (id uuid PRIMARY KEY, name citext NOT NULL, inserted_at timestamp(0) NOT NULL DEFAULT now(), updated_at timestamp(0) NOT NULL DEFAULT now());
CREATE TABLE machines (id uuid PRIMARY KEY, account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE, name citext NOT NULL, inserted_at timestamp(0) NOT NULL DEFAULT now());
CREATE TABLE machine_samples (machine_id uuid NOT NULL, inserted_at timestamp(6) NOT NULL, cpu_percent percent, mem_used_mb integer NOT NULL, mem_limit_mb integer NOT NULL,
  mem_percent percent GENERATED ALWAYS AS (100.0 * mem_used_mb / nullif(mem_limit_mb, 0)) STORED, status citext, PRIMARY KEY (machine_id, inserted_at)) PARTITION BY RANGE (inserted_at);
CREATE TABLE machine_samples_0302 PARTITION OF machine_samples FOR VALUES FROM ('2026-03-02') TO ('2026-03-03');
CREATE TABLE machine_samples_rest PARTITION OF machine_samples DEFAULT;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO app;
INSERT INTO accounts VALUES ('00000000-0000-4000-8000-0000000000a1', 'Umbrella');
INSERT INTO machines VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-0000000000a1', 'Hive');
--@ attach
SELECT alerting.attach('accounts', 'machines');
SELECT alerting.attach_metrics('machine_samples', max_age => NULL);
SELECT alerting.create_rule('00000000-0000-4000-8000-0000000000a1'::uuid, r.name, r.condition, r.threshold, r.duration) FROM (VALUES
  ('cpu', 'CPU_USAGE', 90, 1), ('down', 'CONTAINER_DOWN', NULL, 0), ('memory', 'MEMORY_USAGE', 80, 0)) AS r(name, condition, threshold, duration);
--@ mapping
machine_samples container: machine_id
machine_samples at: inserted_at
machine_samples cpu: cpu_percent
machine_samples memory: mem_percent
machine_samples running: (lower((m.status)::text) = 'running'::text)
--@ app
-- A session's own zone doesn't matter to a naive time.
SET timezone = 'America/New_York';
INSERT INTO machine_samples (machine_id, inserted_at, cpu_percent, mem_used_mb, mem_limit_mb, status) VALUES ('00000000-0000-4000-8000-000000000001', '2026-03-02 23:58:00', 95, 10, 100, 'RUNNING');
INSERT INTO machine_samples (machine_id, inserted_at, cpu_percent, mem_used_mb, mem_limit_mb, status) VALUES ('00000000-0000-4000-8000-000000000001', '2026-03-02 23:59:00', 96, 90, 100, 'running')
  ON CONFLICT (machine_id, inserted_at) DO UPDATE SET cpu_percent = excluded.cpu_percent;
-- The same row again, corrected.
INSERT INTO machine_samples (machine_id, inserted_at, cpu_percent, mem_used_mb, mem_limit_mb, status) VALUES ('00000000-0000-4000-8000-000000000001', '2026-03-02 23:59:00', 96, 95, 100, 'Dead')
  ON CONFLICT (machine_id, inserted_at) DO UPDATE SET mem_used_mb = excluded.mem_used_mb, status = excluded.status;
-- The next day lies in the default partition.
INSERT INTO machine_samples (machine_id, inserted_at, cpu_percent, mem_used_mb, mem_limit_mb, status) VALUES ('00000000-0000-4000-8000-000000000001', '2026-03-03 00:00:00', 97, 10, 100, 'Dead');
--@ admin
BEGIN;
ALTER TABLE machine_samples DETACH PARTITION machine_samples_rest;
CREATE TABLE machine_samples_0303 (LIKE machine_samples INCLUDING ALL);
INSERT INTO machine_samples_0303 (machine_id, inserted_at, cpu_percent, mem_used_mb, mem_limit_mb, status) SELECT machine_id, inserted_at, cpu_percent, mem_used_mb, mem_limit_mb, status FROM machine_samples_rest;
DROP TABLE machine_samples_rest;
ALTER TABLE machine_samples ATTACH PARTITION machine_samples_0303 FOR VALUES FROM ('2026-03-03') TO ('2026-03-04');
ALTER TABLE machine_samples DETACH PARTITION machine_samples_0302;
GRANT INSERT ON machine_samples_0303 TO app;
COMMIT;
--@ app
COPY machine_samples_0303 (machine_id, inserted_at, cpu_percent, mem_used_mb, mem_limit_mb, status) FROM stdin;
00000000-0000-4000-8000-000000000001	2026-03-03 00:01:00	5	10	100	running
\.
--@ alerts
cpu Hive RESOLVED 23:58:00 23:59:00 00:01:00 RECOVERED
down Hive RESOLVED 23:59:00 23:59:00 00:01:00 RECOVERED
memory Hive RESOLVED 23:59:00 23:59:00 00:00:00 RECOVERED

-- Buckets of a minute that upserts raise while they last, partitioned by day with a default partition; a percentage that is a
-- domain, memory a composite type with a generated column beside it; containers have a key of two columns.
--@ schema
CREATE DOMAIN percent AS numeric(5,2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE memory AS (used bigint, total bigint);
CREATE TABLE accounts (account_no bigint PRIMARY KEY, display_name text);
CREATE TABLE containers (account_no bigint NOT NULL REFERENCES accounts, container_no int NOT NULL, name text, PRIMARY KEY (account_no, container_no));
CREATE TABLE metrics (account_no bigint NOT NULL, container_no int NOT NULL, bucket timestamptz NOT NULL, width interval NOT NULL DEFAULT '1 min', cpu percent, mem memory, n int DEFAULT 1,
  mem_pct numeric GENERATED ALWAYS AS (100.0 * (mem).used / nullif((mem).total, 0)) STORED,
  PRIMARY KEY (account_no, container_no, bucket), FOREIGN KEY (account_no, container_no) REFERENCES containers) PARTITION BY RANGE (bucket);
CREATE INDEX ON metrics (bucket);
CREATE TABLE metrics_default PARTITION OF metrics DEFAULT;
CREATE TABLE metrics_20260303 PARTITION OF metrics FOR VALUES FROM ('2026-03-03 00:00Z') TO ('2026-03-04 00:00Z');
GRANT SELECT, INSERT, UPDATE ON metrics TO app;
INSERT INTO accounts VALUES (1, 'Initech');
INSERT INTO containers VALUES (1, 1, 'web'), (1, 2, 'db');
--@ attach
ALTER TABLE public.containers ADD alerting_key text GENERATED ALWAYS AS (account_no || '/' || container_no) STORED UNIQUE NOT NULL;
SELECT alerting.attach('accounts', 'containers');
SELECT alerting.attach_metrics('metrics', max_age => NULL);
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80), alerting.create_rule(1, 'memory', 'MEMORY_USAGE', 80);
--@ mapping
metrics container: (SELECT k.alerting_key FROM public.containers k WHERE ((k.account_no = m.account_no) AND (k.container_no = m.container_no)))
metrics at: bucket
metrics cpu: cpu
metrics memory: mem_pct
--@ app
INSERT INTO metrics (account_no, container_no, bucket, cpu, mem) VALUES (1, 1, '2026-03-02 23:58Z', 50, (5, 10)), (1, 2, '2026-03-02 23:58Z', 90, (9, 0));
INSERT INTO metrics (account_no, container_no, bucket, cpu, mem) VALUES (1, 1, '2026-03-02 23:58Z', 90, (9, 10))
  ON CONFLICT (account_no, container_no, bucket) DO UPDATE SET cpu = greatest(metrics.cpu, excluded.cpu), mem = excluded.mem, n = metrics.n + 1;
INSERT INTO metrics (account_no, container_no, bucket, cpu, mem) VALUES (1, 1, '2026-03-03 00:00Z', 20, (8, 10)), (1, 2, '2026-03-03 00:00Z', 80.01, NULL)
  ON CONFLICT (account_no, container_no, bucket) DO UPDATE SET cpu = greatest(metrics.cpu, excluded.cpu), mem = excluded.mem, n = metrics.n + 1;
--@ alerts
cpu db FIRING 23:58:00 23:58:00
cpu web RESOLVED 23:58:00 23:58:00 00:00:00 RECOVERED
memory web RESOLVED 23:58:00 23:58:00 00:00:00 RECOVERED

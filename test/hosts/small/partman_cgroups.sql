-- An agent that copies what cgroups count and may do nothing but INSERT: CPU in microseconds since the container began, of the cores
-- that the container's row tells, as the limit of its memory. Days are partitions with BRIN alone, which the tables' owner makes, fills
-- and drops as pg_partman does, without any right on alerting.
--@ schema
CREATE ROLE usage_owner;
CREATE SCHEMA usage AUTHORIZATION usage_owner;
SET ROLE usage_owner;
CREATE TABLE usage.customers (id smallint PRIMARY KEY, company_name text);
CREATE TABLE usage.containers (id uuid PRIMARY KEY, customer_id smallint REFERENCES usage.customers, label text, cpus numeric, memory_max bigint);
CREATE TABLE usage.samples (container_id uuid NOT NULL, sampled_at timestamptz NOT NULL, cpu_usec bigint, memory_current bigint, running boolean, restarts int) PARTITION BY RANGE (sampled_at);
CREATE INDEX ON usage.samples USING brin (sampled_at);
CREATE TABLE usage.samples_default PARTITION OF usage.samples DEFAULT;
CREATE TABLE usage.samples_p20260301 PARTITION OF usage.samples FOR VALUES FROM ('2026-03-01Z') TO ('2026-03-02Z');
GRANT USAGE ON SCHEMA usage TO app;
GRANT INSERT ON usage.samples TO app;
INSERT INTO usage.customers VALUES (1, 'Initrode');
INSERT INTO usage.containers VALUES ('00000000-0000-4000-8000-000000000001', 1, 'web', 2, 1000), ('00000000-0000-4000-8000-000000000002', 1, 'db', 1, 4000);
--@ attach
SELECT alerting.attach('usage.customers', 'usage.containers');
SELECT alerting.attach_metrics('usage.samples', container => 'container_id', max_age => NULL,
  cpu => $$(SELECT CASE WHEN m.cpu_usec >= p.cpu_usec THEN 100 * (m.cpu_usec - p.cpu_usec) / 1e6 / extract(epoch FROM m.sampled_at - p.sampled_at)::float8 / (SELECT c.cpus FROM usage.containers c WHERE c.id = m.container_id) END
    FROM usage.samples p WHERE p.container_id = m.container_id AND p.sampled_at < m.sampled_at ORDER BY p.sampled_at DESC LIMIT 1)$$,
  memory_used => 'memory_current', memory_limit => '(SELECT c.memory_max FROM usage.containers c WHERE c.id = m.container_id)');
SELECT alerting.create_rule(1, r.name, r.condition, r.threshold, r.duration) FROM (VALUES
  ('cpu', 'CPU_USAGE', 80, 1), ('down', 'CONTAINER_DOWN', NULL, 0), ('loop', 'RESTART_LOOP', 1, 5), ('memory', 'MEMORY_USAGE', 80, 0)) AS r(name, condition, threshold, duration);
--@ mapping
usage.samples container: container_id
usage.samples at: sampled_at
usage.samples cpu: (SELECT CASE WHEN (m.cpu_usec >= p.cpu_usec) THEN ((((((100 * (m.cpu_usec - p.cpu_usec)))::numeric / '1000000'::numeric))::double precision / (EXTRACT(epoch FROM (m.sampled_at - p.sampled_at)))::double precision) / ((SELECT c.cpus FROM usage.containers c WHERE (c.id = m.container_id)))::double precision) ELSE NULL::double precision END AS "case" FROM usage.samples p WHERE ((p.container_id = m.container_id) AND (p.sampled_at < m.sampled_at)) ORDER BY p.sampled_at DESC LIMIT 1)
usage.samples memory_used: memory_current
usage.samples memory_limit: (SELECT c.memory_max FROM usage.containers c WHERE (c.id = m.container_id))
usage.samples running: running
usage.samples restarts: restarts
--@ app
-- Of two cores: 90, 85 and 95 % over three minutes to midnight, in one COPY; the other container uses half of its only one.
COPY usage.samples FROM stdin;
00000000-0000-4000-8000-000000000001	2026-03-01 23:56:00Z	1000000000	700	t	0
00000000-0000-4000-8000-000000000002	2026-03-01 23:56:00Z	5000000	3300	t	7
00000000-0000-4000-8000-000000000001	2026-03-01 23:57:00Z	1108000000	810	t	0
00000000-0000-4000-8000-000000000002	2026-03-01 23:57:00Z	35000000	3200	t	7
00000000-0000-4000-8000-000000000001	2026-03-01 23:58:00Z	1210000000	790	t	0
00000000-0000-4000-8000-000000000001	2026-03-01 23:59:00Z	1324000000	790	t	0
\.
--@ admin
-- The next day, whose first rows are in the default partition.
SET ROLE usage_owner;
INSERT INTO usage.samples VALUES ('00000000-0000-4000-8000-000000000001', '2026-03-02 00:00Z', 1450000000, 790, true, 0), ('00000000-0000-4000-8000-000000000002', '2026-03-02 00:00Z', 1000000, 3100, true, 8);
BEGIN;
CREATE TABLE usage.samples_p20260302 (LIKE usage.samples INCLUDING DEFAULTS INCLUDING INDEXES);
WITH moved AS (DELETE FROM usage.samples_default WHERE sampled_at >= '2026-03-02Z' AND sampled_at < '2026-03-03Z' RETURNING *)
INSERT INTO usage.samples_p20260302 SELECT * FROM moved;
ALTER TABLE usage.samples ATTACH PARTITION usage.samples_p20260302 FOR VALUES FROM ('2026-03-02Z') TO ('2026-03-03Z');
COMMIT;
CREATE TABLE usage.samples_p20260303 PARTITION OF usage.samples FOR VALUES FROM ('2026-03-03Z') TO ('2026-03-04Z');
--@ app
-- A counter that began anew says nothing of the minute; then 20 %.
COPY usage.samples FROM stdin;
00000000-0000-4000-8000-000000000001	2026-03-02 00:01:00Z	2000000	100	f	1
00000000-0000-4000-8000-000000000002	2026-03-02 00:01:00Z	31000000	3100	f	9
00000000-0000-4000-8000-000000000001	2026-03-02 00:02:00Z	26000000	100	t	2
\.
--@ admin
SET ROLE usage_owner;
ALTER TABLE usage.samples DETACH PARTITION usage.samples_p20260301;
DROP TABLE usage.samples_p20260301;
--@ app
COPY usage.samples FROM stdin;
00000000-0000-4000-8000-000000000002	2026-03-02 00:02:00Z	32000000	3300	t	9
\.
--@ alerts
cpu web RESOLVED 23:57:00 23:58:00 00:02:00 RECOVERED
down db RESOLVED 00:01:00 00:01:00 00:02:00 RECOVERED
down web RESOLVED 00:01:00 00:01:00 00:02:00 RECOVERED
loop db FIRING 00:01:00 00:01:00
loop web FIRING 00:02:00 00:02:00
memory db FIRING 00:02:00 00:02:00
memory db RESOLVED 23:56:00 23:56:00 23:57:00 RECOVERED
memory web RESOLVED 23:57:00 23:57:00 23:58:00 RECOVERED

-- A warehouse that loads by table: rows are copied into a table of their own, which becomes a partition of the metrics,
-- and leaves again as a whole. No statement of the metrics table ever sees most rows.
--@ schema
CREATE TABLE organizations (id uuid PRIMARY KEY, name text);
CREATE TABLE containers (id uuid PRIMARY KEY, organization_id uuid NOT NULL REFERENCES organizations, name text);
CREATE TABLE metrics (container_id uuid NOT NULL, taken bigint NOT NULL, nanocores bigint, limit_nanocores bigint, health text,
  PRIMARY KEY (container_id, taken)) PARTITION BY RANGE (taken);
CREATE TABLE metrics_1000 PARTITION OF metrics FOR VALUES FROM (1772445600000) TO (1772445720000) PARTITION BY HASH (container_id);
CREATE TABLE metrics_1000_0 PARTITION OF metrics_1000 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE metrics_1000_1 PARTITION OF metrics_1000 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE load_1002 (LIKE metrics INCLUDING ALL);
CREATE TABLE load_1004 (LIKE metrics INCLUDING ALL);
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO app;
INSERT INTO organizations VALUES ('00000000-0000-4000-8000-0000000000a1', 'Tyrell');
INSERT INTO containers VALUES ('00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-0000000000a1', 'roy'), ('00000000-0000-4000-8000-00000000000b', '00000000-0000-4000-8000-0000000000a1', 'pris');
--@ attach
SELECT alerting.attach_metrics('metrics', at => 'taken', at_unit => 'ms', cpu => '100.0 * nanocores / nullif(limit_nanocores, 0)',
  running => $$health IS DISTINCT FROM 'unhealthy'$$, max_age => NULL);
SELECT alerting.create_rule('00000000-0000-4000-8000-0000000000a1'::uuid, r.name, r.condition, r.threshold, r.duration) FROM (VALUES
  ('cpu', 'CPU_USAGE', 90, 1), ('unhealthy', 'CONTAINER_DOWN', NULL, 0)) AS r(name, condition, threshold, duration);
--@ mapping
metrics container: container_id
metrics at: taken
metrics at_unit: ms
metrics cpu: ((100.0 * (m.nanocores)::numeric) / (NULLIF(m.limit_nanocores, 0))::numeric)
metrics running: (m.health IS DISTINCT FROM 'unhealthy'::text)
--@ app
-- 1772445600 is 2026-03-02 10:00:00Z.
INSERT INTO metrics VALUES ('00000000-0000-4000-8000-00000000000a', 1772445660000, 1950000000, 2000000000, 'healthy');
COPY load_1002 FROM stdin;
00000000-0000-4000-8000-00000000000a	1772445720000	1950000000	2000000000	healthy
00000000-0000-4000-8000-00000000000b	1772445720000	10000000	2000000000	unhealthy
00000000-0000-4000-8000-00000000000b	1772445780000	1990000000	2000000000	\N
\.
COPY load_1004 FROM stdin;
00000000-0000-4000-8000-00000000000b	1772445840000	1990000000	2000000000	starting
\.
--@ admin
ALTER TABLE metrics ATTACH PARTITION load_1002 FOR VALUES FROM (1772445720000) TO (1772445840000);
--@ app
INSERT INTO load_1002 VALUES ('00000000-0000-4000-8000-00000000000a', 1772445780000, 5, 2000000000, 'healthy');
--@ admin
-- What the same transaction inserts is newer than what it attaches, and counts after it.
BEGIN;
CREATE TABLE metrics_1006 PARTITION OF metrics FOR VALUES FROM (1772445960000) TO (1772446080000);
INSERT INTO metrics VALUES ('00000000-0000-4000-8000-00000000000b', 1772445960000, 5, 2000000000, 'unhealthy');
ALTER TABLE metrics ATTACH PARTITION load_1004 FOR VALUES FROM (1772445840000) TO (1772445960000);
ALTER TABLE metrics DETACH PARTITION metrics_1000;
COMMIT;
--@ alerts
cpu pris RESOLVED 10:03:00 10:04:00 10:06:00 RECOVERED
cpu roy RESOLVED 10:01:00 10:02:00 10:03:00 RECOVERED
unhealthy pris FIRING 10:06:00 10:06:00
unhealthy pris RESOLVED 10:02:00 10:02:00 10:03:00 RECOVERED

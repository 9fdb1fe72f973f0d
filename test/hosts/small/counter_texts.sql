-- What cAdvisor says: CPU as a counter of nanoseconds of four cores that begins anew with the container, times as texts with nine
-- digits in the primary key, "no limit" as the largest of 64 bits in the containers' row; and machines between.
--@ schema
CREATE TABLE organizations (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
CREATE TABLE machines (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations, num_cores int NOT NULL);
CREATE TABLE containers (name text PRIMARY KEY, machine_id bigint REFERENCES machines, memory_limit numeric(20));
CREATE TABLE container_stats (container_name text NOT NULL REFERENCES containers, "timestamp" text NOT NULL, cpu_usage_total numeric(20) NOT NULL, memory_usage numeric(20), memory_working_set numeric(20),
  PRIMARY KEY (container_name, "timestamp"));
GRANT INSERT ON container_stats TO app;
INSERT INTO organizations (name) VALUES ('Acme');
INSERT INTO machines (organization_id, num_cores) VALUES (1, 4);
INSERT INTO containers VALUES ('/docker/c0ffee', 1, 1000000), ('/docker/decade', 1, 18446744073709551615);
--@ attach
SELECT alerting.attach('organizations', 'containers', organization => '(SELECT h.organization_id FROM public.machines h WHERE h.id = c.machine_id)');
SELECT alerting.attach_metrics('container_stats', at => '"timestamp"::timestamptz', max_age => NULL,
  cpu => $$(SELECT CASE WHEN m.cpu_usage_total >= p.cpu_usage_total THEN 100 * (m.cpu_usage_total - p.cpu_usage_total) / extract(epoch FROM m."timestamp"::timestamptz - p."timestamp"::timestamptz)::float8 / 1e9 / 4 END
    FROM container_stats p WHERE p.container_name = m.container_name AND p."timestamp" < m."timestamp" ORDER BY p."timestamp" DESC LIMIT 1)$$,
  memory_used => 'memory_working_set', memory_limit => '(SELECT nullif(c.memory_limit, 18446744073709551615) FROM containers c WHERE c.name = m.container_name)');
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80, 1, 'keep'), alerting.create_rule(1, 'memory', 'MEMORY_USAGE', 80, 0, 'keep');
--@ mapping
container_stats container: container_name
container_stats at: (m."timestamp")::timestamp with time zone
container_stats cpu: (SELECT CASE WHEN (m.cpu_usage_total >= p.cpu_usage_total) THEN ((((((100)::numeric * (m.cpu_usage_total - p.cpu_usage_total)))::double precision / (EXTRACT(epoch FROM ((m."timestamp")::timestamp with time zone - (p."timestamp")::timestamp with time zone)))::double precision) / ('1000000000'::numeric)::double precision) / (4)::double precision) ELSE NULL::double precision END AS "case" FROM public.container_stats p WHERE ((p.container_name = m.container_name) AND (p."timestamp" < m."timestamp")) ORDER BY p."timestamp" DESC LIMIT 1)
container_stats memory_used: memory_working_set
container_stats memory_limit: (SELECT NULLIF(c.memory_limit, '18446744073709551615'::numeric) AS "nullif" FROM public.containers c WHERE (c.name = m.container_name))
--@ app
-- 240e9 ns a minute are 100 % of four cores.
INSERT INTO container_stats VALUES ('/docker/c0ffee', '2026-03-02T10:00:00.000000001Z', 1000000000000, 0, 900000), ('/docker/decade', '2026-03-02T10:00:00.000000002Z', 18446744073709, 0, 18446744073709551614);
INSERT INTO container_stats VALUES ('/docker/c0ffee', '2026-03-02T10:01:00.000000001Z', 1240000000000, 0, 800000), ('/docker/decade', '2026-03-02T10:01:00.000000002Z', 18686744073709, 0, 5);
--@ app
-- One begins anew, which ends nothing; the other goes on.
INSERT INTO container_stats VALUES ('/docker/c0ffee', '2026-03-02T10:02:00.000000001Z', 5, 0, 800000), ('/docker/decade', '2026-03-02T10:02:00.000000002Z', 18926744073709, 0, 5);
INSERT INTO container_stats VALUES ('/docker/c0ffee', '2026-03-02T10:03:00.000000001Z', 204000000005, 0, 800001), ('/docker/decade', '2026-03-02T10:03:00.000000002Z', 19118744073709, 0, 5);
--@ alerts
cpu /docker/ FIRING 10:01:00 10:03:00
cpu /docker/ RESOLVED 10:01:00 10:02:00 10:03:00 RECOVERED
memory /docker/ FIRING 10:03:00 10:03:00
memory /docker/ RESOLVED 10:00:00 10:00:00 10:01:00 RECOVERED

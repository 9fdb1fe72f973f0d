-- What a controller mirrors of Kubernetes: keys are the uids of the API, the tenant lies three tables away, figures are
-- quantities ("1800m", "400Mi") over a window, the phase is an enum that is updated in place.
--@ schema
CREATE TYPE pod_phase AS ENUM ('Pending', 'Running', 'Succeeded', 'Failed', 'Unknown');
CREATE TABLE tenants (id int PRIMARY KEY, name text);
CREATE TABLE clusters (uid text PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants);
CREATE TABLE namespaces (uid text PRIMARY KEY, cluster_uid text NOT NULL REFERENCES clusters, name text);
CREATE TABLE nodes (name text PRIMARY KEY, cluster_uid text NOT NULL REFERENCES clusters);
CREATE TABLE pods (uid text PRIMARY KEY, namespace_uid text NOT NULL REFERENCES namespaces, node_name text REFERENCES nodes, name text,
  phase pod_phase, cpu_limit text, deletion_timestamp timestamptz, updated_at timestamptz NOT NULL);
CREATE TABLE pod_metrics (pod_uid text REFERENCES pods ON DELETE CASCADE, "timestamp" timestamptz, "window" interval, cpu text, memory text,
  PRIMARY KEY (pod_uid, "timestamp"));
CREATE FUNCTION quantity(text) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT substring($1 FROM '^[0-9.]+')::numeric * CASE substring($1 FROM '[A-Za-z]+$') WHEN 'n' THEN 1e-9 WHEN 'u' THEN 1e-6 WHEN 'm' THEN 1e-3
    WHEN 'Ki' THEN 1024 WHEN 'Mi' THEN 1048576 WHEN 'Gi' THEN 1073741824 ELSE 1 END $$;
GRANT SELECT, INSERT, UPDATE ON pods, pod_metrics TO app;
INSERT INTO tenants VALUES (1, 'Initech');
INSERT INTO clusters VALUES ('9f1c', 1);
INSERT INTO namespaces VALUES ('77aa', '9f1c', 'default');
INSERT INTO nodes VALUES ('n1', '9f1c');
INSERT INTO pods VALUES ('0a31-web', '77aa', 'n1', 'web', 'Running', '2', NULL, '2026-03-02 09:59Z'), ('0a32-job', '77aa', 'n1', 'job', 'Running', '500m', NULL, '2026-03-02 09:59Z');
--@ attach
SELECT alerting.attach('tenants', 'pods', organization => $$CASE WHEN deletion_timestamp IS NULL THEN
  (SELECT cl.tenant_id FROM namespaces n JOIN clusters cl ON cl.uid = n.cluster_uid WHERE n.uid = c.namespace_uid) END$$);
SELECT alerting.attach_metrics('pods', max_age => NULL);
SELECT alerting.attach_metrics('pod_metrics', cpu => '100 * quantity(cpu) / (SELECT quantity(p.cpu_limit) FROM pods p WHERE p.uid = m.pod_uid)',
  memory_used => 'quantity(memory)', memory_limit => $$quantity('512Mi')$$, max_age => NULL);
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80, 1), alerting.create_rule(1, 'down', 'CONTAINER_DOWN', duration => 0), alerting.create_rule(1, 'memory', 'MEMORY_USAGE', 90, 0);
--@ mapping
pod_metrics container: pod_uid
pod_metrics at: "timestamp"
pod_metrics cpu: (((100)::numeric * public.quantity(m.cpu)) / (SELECT public.quantity(p.cpu_limit) AS quantity FROM public.pods p WHERE (p.uid = m.pod_uid)))
pod_metrics memory_used: public.quantity(m.memory)
pod_metrics memory_limit: public.quantity('512Mi'::text)
pods container: uid
pods at: updated_at
pods running: (m.phase = 'Running'::public.pod_phase)
--@ app
INSERT INTO pod_metrics VALUES ('0a31-web', '2026-03-02 10:00Z', '30s', '1800m', '400Mi'), ('0a32-job', '2026-03-02 10:00Z', '30s', '450000000n', '1Gi'),
  ('0a31-web', '2026-03-02 10:01Z', '30s', '1.7', '500Mi'), ('0a32-job', '2026-03-02 10:01Z', '30s', '0', '1Ki'),
  ('0a31-web', '2026-03-02 10:02Z', '30s', '12n', '482344960');
UPDATE pods SET phase = 'Failed', updated_at = '2026-03-02 10:01:30Z' WHERE name = 'web';
UPDATE pods SET phase = 'Running', updated_at = '2026-03-02 10:03Z' WHERE name = 'web';
UPDATE pods SET phase = 'Succeeded', updated_at = '2026-03-02 10:04Z' WHERE name = 'job';
--@ alerts
cpu web RESOLVED 10:00:00 10:01:00 10:02:00 RECOVERED
down job FIRING 10:04:00 10:04:00
down web RESOLVED 10:01:30 10:01:30 10:03:00 RECOVERED
memory job RESOLVED 10:00:00 10:00:00 10:01:00 RECOVERED
memory web RESOLVED 10:01:00 10:01:00 10:02:00 RECOVERED

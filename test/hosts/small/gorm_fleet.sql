-- A Go service with GORM: uuid keys, soft deletion (deleted_at), times as epoch milliseconds. The service's
-- role owns nothing. A workload that is softly deleted belongs to no organization any more.
--@ schema
CREATE TABLE organizations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamptz, updated_at timestamptz, deleted_at timestamptz, name text);
CREATE INDEX idx_organizations_deleted_at ON organizations (deleted_at);
CREATE TABLE workloads (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
  org_id uuid CONSTRAINT fk_organizations_workloads REFERENCES organizations, title text);
CREATE TABLE workload_metrics (id bigserial PRIMARY KEY, workload_id uuid, ts_ms bigint, cpu_pct numeric, mem_rss_bytes bigint, mem_limit_bytes bigint,
  is_running smallint, restart_count bigint);
CREATE INDEX idx_workload_metrics ON workload_metrics (workload_id, ts_ms);
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app;
INSERT INTO organizations (id, name) VALUES ('00000000-0000-4000-8000-0000000000a1', 'Tyrell');
INSERT INTO workloads (id, org_id, title) VALUES
  ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-0000000000a1', 'api'),
  ('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-0000000000a1', 'worker');
--@ attach
SELECT alerting.attach('organizations', 'workloads', organization => 'CASE WHEN deleted_at IS NULL THEN org_id END');
SELECT alerting.attach_metrics('workload_metrics', max_age => NULL);
SELECT alerting.create_rule(o.id, r.name, r.condition, r.threshold, 1) FROM organizations o, (VALUES
  ('cpu', 'CPU_USAGE', 90), ('down', 'CONTAINER_DOWN', NULL), ('memory', 'MEMORY_USAGE', 80)) AS r(name, condition, threshold);
--@ mapping
workload_metrics container: workload_id
workload_metrics at: ts_ms
workload_metrics at_unit: ms
workload_metrics cpu: cpu_pct
workload_metrics memory_used: mem_rss_bytes
workload_metrics memory_limit: mem_limit_bytes
workload_metrics running: (m.is_running <> 0)
workload_metrics restarts: restart_count
--@ app
-- 1772445600 is 2026-03-02 10:00:00Z. GORM prepares its statements, and nests transactions by savepoints.
PREPARE batch AS INSERT INTO workload_metrics (workload_id, ts_ms, cpu_pct, mem_rss_bytes, mem_limit_bytes, is_running, restart_count)
  VALUES ($1, $2, $3, $4, $5, $6, $7), ($8, $9, $10, $11, $12, $13, $14) RETURNING id;
EXECUTE batch('00000000-0000-4000-8000-000000000001', 1772445600000, 95.5, 100, 1000, 1, 0, '00000000-0000-4000-8000-000000000002', 1772445600000, 1, 850, 1000, 1, 0);
EXECUTE batch('00000000-0000-4000-8000-000000000001', 1772445660000, 99, 100, 1000, 1, 0, '00000000-0000-4000-8000-000000000002', 1772445660000, 1, 850, 1000, 0, 0);
BEGIN;
SAVEPOINT sp1;
EXECUTE batch('00000000-0000-4000-8000-000000000001', 1772445720000, 1, 100, 1000, 1, 0, '00000000-0000-4000-8000-000000000002', 1772445720000, 1, 1, 1000, 1, 0);
ROLLBACK TO sp1;
EXECUTE batch('00000000-0000-4000-8000-000000000001', 1772445720000, 91, 100, 1000, 1, 0, '00000000-0000-4000-8000-000000000002', 1772445720000, 1, 800, 1000, 0, 0);
COMMIT;
--@ app
UPDATE workloads SET deleted_at = '2026-03-02 10:02:30Z', updated_at = now() WHERE title = 'worker';
--@ alerts
cpu api FIRING 10:00:00 10:01:00
down worker RESOLVED 10:01:00 10:02:00 CONTAINER_MOVED
memory worker RESOLVED 10:00:00 10:01:00 10:02:00 RECOVERED

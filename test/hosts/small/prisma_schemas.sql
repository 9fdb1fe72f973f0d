-- A TypeScript service with Prisma over two schemas, whose models are mapped to other names (@@map, @map), enums too: keys are
-- called ..._pk and ..._fk, a container's organization is two tables away, its state and restarts lie in its row, which is deleted softly.
--@ schema
CREATE SCHEMA core;
CREATE SCHEMA telemetry;
CREATE TYPE core.container_status AS ENUM ('created', 'running', 'stopped');
CREATE TABLE core.tbl_organisation (organisation_pk text PRIMARY KEY, legal_name text NOT NULL, deleted_at timestamp(3));
CREATE TABLE core.tbl_project (project_pk uuid PRIMARY KEY, organisation_fk text NOT NULL REFERENCES core.tbl_organisation ON DELETE RESTRICT ON UPDATE CASCADE);
CREATE TABLE core.tbl_environment (environment_pk bigserial PRIMARY KEY, project_fk uuid NOT NULL REFERENCES core.tbl_project ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE core.tbl_container (container_pk bigserial PRIMARY KEY, environment_fk bigint NOT NULL REFERENCES core.tbl_environment ON DELETE CASCADE ON UPDATE CASCADE, display_name text NOT NULL,
  status core.container_status NOT NULL DEFAULT 'created', restart_count integer NOT NULL DEFAULT 0, status_changed_at timestamp(3) NOT NULL, deleted_at timestamp(3));
CREATE TABLE telemetry.tbl_container_sample (sample_pk bigserial PRIMARY KEY, container_fk bigint NOT NULL REFERENCES core.tbl_container ON DELETE CASCADE ON UPDATE CASCADE,
  taken_at timestamp(3) NOT NULL, cpu_pct decimal(5,2), mem_used_bytes bigint, mem_limit_bytes bigint);
CREATE UNIQUE INDEX tbl_container_sample_key ON telemetry.tbl_container_sample (container_fk, taken_at);
GRANT USAGE ON SCHEMA core, telemetry TO app;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA core, telemetry TO app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA core, telemetry TO app;
INSERT INTO core.tbl_organisation VALUES ('org_1', 'Initech'), ('org_2', 'Hooli');
INSERT INTO core.tbl_project VALUES ('00000000-0000-7000-8000-000000000001', 'org_1'), ('00000000-0000-7000-8000-000000000002', 'org_2');
INSERT INTO core.tbl_environment (project_fk) VALUES ('00000000-0000-7000-8000-000000000001'), ('00000000-0000-7000-8000-000000000002');
INSERT INTO core.tbl_container (environment_fk, display_name, status, status_changed_at) VALUES (1, 'web', 'running', '2026-03-02 09:00'), (2, 'db', 'running', '2026-03-02 09:00'), (1, 'job', 'running', '2026-03-02 09:00');
--@ attach
SELECT alerting.attach('core.tbl_organisation', 'core.tbl_container', organization =>
  '(SELECT p.organisation_fk FROM core.tbl_environment e JOIN core.tbl_project p ON p.project_pk = e.project_fk WHERE e.environment_pk = c.environment_fk AND c.deleted_at IS NULL)');
SELECT alerting.attach_metrics('telemetry.tbl_container_sample', max_age => NULL);
SELECT alerting.attach_metrics('core.tbl_container', at => 'status_changed_at', max_age => NULL, stale_after => '10 years');
SELECT alerting.create_rule(o, r.name || right(o, 1), r.condition, r.threshold, r.duration) FROM unnest(ARRAY['org_1', 'org_2']) o, (VALUES
  ('cpu', 'CPU_USAGE', 80, 1), ('down', 'CONTAINER_DOWN', NULL, 0), ('loop', 'RESTART_LOOP', 2, 10), ('memory', 'MEMORY_USAGE', 80, 0)) AS r(name, condition, threshold, duration);
--@ mapping
core.tbl_container container: container_pk
core.tbl_container at: status_changed_at
core.tbl_container running: (m.status = 'running'::core.container_status)
core.tbl_container restarts: restart_count
telemetry.tbl_container_sample container: container_fk
telemetry.tbl_container_sample at: taken_at
telemetry.tbl_container_sample cpu: cpu_pct
telemetry.tbl_container_sample memory_used: mem_used_bytes
telemetry.tbl_container_sample memory_limit: mem_limit_bytes
--@ app
INSERT INTO telemetry.tbl_container_sample (container_fk, taken_at, cpu_pct, mem_used_bytes, mem_limit_bytes) VALUES (1, '2026-03-02 10:00:00.000', 90.5, 9, 10), (2, '2026-03-02 10:00', 10, 9, 10) ON CONFLICT DO NOTHING;
INSERT INTO telemetry.tbl_container_sample (container_fk, taken_at, cpu_pct, mem_used_bytes, mem_limit_bytes) VALUES (1, '2026-03-02 10:01:00.000', 80.01, 8, 10), (2, '2026-03-02 10:01', 10, 9, 10),
  (1, '2026-03-02 10:00', 5, 1, 10) ON CONFLICT DO NOTHING;
UPDATE core.tbl_container SET status = 'stopped', status_changed_at = '2026-03-02 10:01:30' WHERE container_pk = 3;
UPDATE core.tbl_container SET status = 'running', restart_count = 3, status_changed_at = '2026-03-02 10:02:30' WHERE container_pk = 3;
--@ app
UPDATE core.tbl_container SET deleted_at = '2026-03-02 10:03' WHERE container_pk = 2;
INSERT INTO telemetry.tbl_container_sample (container_fk, taken_at, cpu_pct, mem_used_bytes, mem_limit_bytes) VALUES (1, '2026-03-02 10:02', 90, 8, 10), (2, '2026-03-02 10:02', 99, 9, 10);
--@ alerts
cpu1 web FIRING 10:00:00 10:01:00
down1 job RESOLVED 10:01:30 10:01:30 10:02:30 RECOVERED
loop1 job FIRING 10:02:30 10:02:30
memory1 web RESOLVED 10:00:00 10:00:00 10:01:00 RECOVERED
memory2 db RESOLVED 10:00:00 10:00:00 CONTAINER_MOVED

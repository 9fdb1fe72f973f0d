-- Three schemas; a key of citext that each writes as it likes; one row per container, which upserts and MERGE keep the latest
-- in a table that is not logged; percentages that are shares of 1, a flag that is a smallint; containers are deleted softly.
--@ schema
CREATE EXTENSION citext;
CREATE SCHEMA tenancy;
CREATE SCHEMA runtime;
CREATE SCHEMA telemetry;
GRANT USAGE ON SCHEMA tenancy, runtime, telemetry TO app;
CREATE TABLE tenancy.organizations (slug citext PRIMARY KEY, title text);
CREATE TABLE runtime.containers (id uuid PRIMARY KEY, org citext NOT NULL REFERENCES tenancy.organizations ON UPDATE CASCADE, name text, deleted_at timestamptz);
CREATE UNLOGGED TABLE telemetry.latest_metrics (container_id uuid PRIMARY KEY REFERENCES runtime.containers ON DELETE CASCADE,
  cpu_percent numeric(5,4), mem_percent numeric(5,4), is_up smallint, seen_at timestamptz NOT NULL);
GRANT SELECT, INSERT, UPDATE ON runtime.containers, telemetry.latest_metrics TO app;
INSERT INTO tenancy.organizations VALUES ('initech', 'Initech');
INSERT INTO runtime.containers VALUES ('01890a5d-ac96-774b-bcce-b302099a8057', 'INITECH', 'web'), ('01890a5d-ac96-7ab2-80e2-4536629c90de', 'Initech', 'old');
--@ attach
SELECT alerting.attach('tenancy.organizations', 'runtime.containers', organization => 'CASE WHEN deleted_at IS NULL THEN org END');
SELECT alerting.attach_metrics('telemetry.latest_metrics', cpu => '100 * cpu_percent', memory => '100 * mem_percent', max_age => NULL);
SELECT alerting.create_rule('Initech', 'cpu', 'CPU_USAGE', 80), alerting.create_rule('initech', 'down', 'CONTAINER_DOWN', duration => 0), alerting.create_rule('INITECH', 'memory', 'MEMORY_USAGE', 80);
--@ mapping
telemetry.latest_metrics container: container_id
telemetry.latest_metrics at: seen_at
telemetry.latest_metrics cpu: ((100)::numeric * m.cpu_percent)
telemetry.latest_metrics memory: ((100)::numeric * m.mem_percent)
telemetry.latest_metrics running: (m.is_up <> 0)
--@ app
INSERT INTO telemetry.latest_metrics VALUES ('01890a5d-ac96-774b-bcce-b302099a8057', 0.97, 0.8, 1, '2026-03-02 10:00Z'), ('01890a5d-ac96-7ab2-80e2-4536629c90de', 0.9, 0.1, 1, '2026-03-02 10:00Z')
  ON CONFLICT (container_id) DO UPDATE SET cpu_percent = excluded.cpu_percent, mem_percent = excluded.mem_percent, is_up = excluded.is_up, seen_at = excluded.seen_at;
INSERT INTO telemetry.latest_metrics VALUES ('01890a5d-ac96-774b-bcce-b302099a8057', 0.5, 0.81, 1, '2026-03-02 10:01Z')
  ON CONFLICT (container_id) DO UPDATE SET cpu_percent = excluded.cpu_percent, mem_percent = excluded.mem_percent, is_up = excluded.is_up, seen_at = excluded.seen_at;
--@ app
UPDATE runtime.containers SET deleted_at = now() WHERE name = 'old';
MERGE INTO telemetry.latest_metrics l USING (VALUES ('01890a5d-ac96-774b-bcce-b302099a8057'::uuid, 0.5, 0.2, 0::smallint, timestamptz '2026-03-02 10:02Z')) v (id, cpu, mem, up, at)
  ON l.container_id = v.id WHEN MATCHED THEN UPDATE SET cpu_percent = v.cpu, mem_percent = v.mem, is_up = v.up, seen_at = v.at;
--@ alerts
cpu old RESOLVED 10:00:00 10:00:00 CONTAINER_MOVED
cpu web RESOLVED 10:00:00 10:00:00 10:01:00 RECOVERED
down web FIRING 10:02:00 10:02:00
memory web RESOLVED 10:01:00 10:01:00 10:02:00 RECOVERED

-- PostGraphile: schemas app_public and app_private, writes by a function alone. Containers are partitioned by hash; what was told
-- last of each by the list of phases, so that a container whose phase changes has its row moved into another partition, whose columns
-- have another order.
--@ schema
CREATE SCHEMA app_public;
CREATE SCHEMA app_private;
CREATE TYPE app_public.container_phase AS ENUM ('CREATED', 'RUNNING', 'PAUSED', 'EXITED');
CREATE TABLE app_public.organizations (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE app_public.containers (id uuid PRIMARY KEY, organization_id uuid NOT NULL REFERENCES app_public.organizations, name text) PARTITION BY HASH (id);
CREATE TABLE app_public.containers_0 PARTITION OF app_public.containers FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app_public.containers_1 (name text, former int, organization_id uuid NOT NULL, id uuid NOT NULL);
ALTER TABLE app_public.containers_1 DROP COLUMN former;
ALTER TABLE app_public.containers ATTACH PARTITION app_public.containers_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE app_private.container_states (container_id uuid NOT NULL REFERENCES app_public.containers ON DELETE CASCADE, phase app_public.container_phase NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(), cpu_percent numeric(6,2), restart_count int DEFAULT 0, PRIMARY KEY (container_id, phase)) PARTITION BY LIST (phase);
CREATE TABLE app_private.states_running PARTITION OF app_private.container_states FOR VALUES IN ('RUNNING');
CREATE TABLE app_private.states_else (restart_count int DEFAULT 0, cpu_percent numeric(6,2), former text, phase app_public.container_phase NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(), container_id uuid NOT NULL);
ALTER TABLE app_private.states_else DROP COLUMN former;
ALTER TABLE app_private.container_states ATTACH PARTITION app_private.states_else DEFAULT;
CREATE FUNCTION app_public.report(container uuid, container_phase app_public.container_phase, cpu numeric, restarts int, at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = app_private, pg_temp AS $$
BEGIN
  UPDATE container_states SET phase = container_phase, cpu_percent = cpu, restart_count = restarts, updated_at = at WHERE container_id = container;
  IF NOT FOUND THEN
    INSERT INTO container_states VALUES (container, container_phase, at, cpu, restarts);
  END IF;
END $$;
GRANT USAGE ON SCHEMA app_public TO app;
INSERT INTO app_public.organizations VALUES ('0190f000-0000-7000-8000-0000000000a1', 'Initech');
INSERT INTO app_public.containers SELECT ('0190f000-0000-7000-8000-00000000000' || n)::uuid, '0190f000-0000-7000-8000-0000000000a1', 'c' || n FROM generate_series(1, 4) n;
--@ attach
SELECT alerting.attach_metrics('app_private.container_states', max_age => NULL);
SELECT alerting.create_rule('0190f000-0000-7000-8000-0000000000a1'::uuid, r.name, r.condition, r.threshold, r.duration) FROM (VALUES
  ('cpu', 'CPU_USAGE', 80, 1), ('down', 'CONTAINER_DOWN', NULL, 0), ('loop', 'RESTART_LOOP', 2, 10)) AS r(name, condition, threshold, duration);
--@ mapping
app_private.container_states container: container_id
app_private.container_states at: updated_at
app_private.container_states cpu: cpu_percent
app_private.container_states running: (m.phase = 'RUNNING'::app_public.container_phase)
app_private.container_states restarts: restart_count
--@ app
SELECT app_public.report(('0190f000-0000-7000-8000-00000000000' || n)::uuid, 'RUNNING', 90, 0, '2026-03-02 10:00Z') FROM generate_series(1, 4) n;
SELECT app_public.report('0190f000-0000-7000-8000-000000000001', 'RUNNING', 91, 0, '2026-03-02 10:01Z');
SELECT app_public.report('0190f000-0000-7000-8000-000000000002', 'EXITED', 95, 1, '2026-03-02 10:01Z');
SELECT app_public.report('0190f000-0000-7000-8000-000000000003', 'EXITED', 5, 1, '2026-03-02 10:01Z');
SELECT app_public.report('0190f000-0000-7000-8000-000000000003', 'RUNNING', 5, 3, '2026-03-02 10:02Z');
--@ admin
MERGE INTO app_private.container_states s USING (VALUES ('0190f000-0000-7000-8000-000000000004'::uuid, timestamptz '2026-03-02 10:02Z')) v(container, at) ON s.container_id = v.container
  WHEN MATCHED AND s.updated_at < v.at THEN UPDATE SET phase = 'PAUSED', updated_at = v.at, cpu_percent = 80.01;
--@ alerts
cpu c1 FIRING 10:00:00 10:01:00
cpu c2 FIRING 10:00:00 10:01:00
cpu c4 FIRING 10:00:00 10:02:00
down c2 FIRING 10:01:00 10:01:00
down c3 RESOLVED 10:01:00 10:01:00 10:02:00 RECOVERED
down c4 FIRING 10:02:00 10:02:00
loop c3 FIRING 10:02:00 10:02:00

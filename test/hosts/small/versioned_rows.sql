-- Temporal tables: each row says from when until when it held. The application writes a view, whose INSTEAD OF trigger closes the
-- row that holds and opens the next one; a workload's tenant is what its open version says.
--@ schema
CREATE TABLE tenants (id int PRIMARY KEY, title text);
CREATE TABLE workloads (id int PRIMARY KEY);
CREATE TABLE workload_versions (workload_id int REFERENCES workloads, tenant_id int REFERENCES tenants, title text, valid tstzrange NOT NULL DEFAULT tstzrange(now(), NULL));
CREATE TABLE readings (workload_id int REFERENCES workloads, valid tstzrange, cpu_percent float8, state text);
CREATE INDEX ON readings (lower(valid));
CREATE VIEW current_readings AS SELECT workload_id, lower(valid) AS since, cpu_percent, state FROM readings WHERE upper_inf(valid);
CREATE FUNCTION put() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE readings SET valid = tstzrange(lower(valid), NEW.since) WHERE workload_id = NEW.workload_id AND upper_inf(valid);
  INSERT INTO readings VALUES (NEW.workload_id, tstzrange(NEW.since, NULL), NEW.cpu_percent, NEW.state);
  RETURN NEW;
END $$;
CREATE TRIGGER put INSTEAD OF INSERT OR UPDATE ON current_readings FOR EACH ROW EXECUTE FUNCTION put();
GRANT SELECT, INSERT, UPDATE ON readings, current_readings TO app;
INSERT INTO tenants VALUES (1, 'one'), (2, 'two');
INSERT INTO workloads VALUES (1), (2);
INSERT INTO workload_versions VALUES (1, 1, 'w', tstzrange(NULL, '2026-01-01Z')), (1, 2, 'w', tstzrange('2026-01-01Z', NULL)), (2, 1, 'v', tstzrange(NULL, NULL));
--@ attach
SELECT alerting.attach('tenants', 'workloads', organization => '(SELECT v.tenant_id FROM workload_versions v WHERE v.workload_id = c.id AND upper_inf(v.valid))');
SELECT alerting.attach_metrics('readings', at => 'lower(valid)', max_age => NULL);
SELECT alerting.create_rule(o, r.name || o, r.condition, r.threshold, r.duration) FROM unnest(ARRAY[1, 2]) o, (VALUES ('cpu', 'CPU_USAGE', 80, 1), ('down', 'CONTAINER_DOWN', NULL, 0)) AS r(name, condition, threshold, duration);
--@ mapping
readings container: workload_id
readings at: lower(m.valid)
readings cpu: cpu_percent
readings running: (lower(m.state) = 'running'::text)
--@ app
INSERT INTO current_readings VALUES (1, '2026-03-02 10:00Z', 90, 'running'), (2, '2026-03-02 10:00Z', 90, 'exited');
UPDATE current_readings SET since = '2026-03-02 10:01Z', cpu_percent = 91, state = 'running';
UPDATE current_readings SET since = '2026-03-02 10:02Z', cpu_percent = 1 WHERE workload_id = 2;
--@ alerts
cpu1 RESOLVED 10:00:00 10:01:00 10:02:00 RECOVERED
cpu2 FIRING 10:00:00 10:01:00
down1 RESOLVED 10:00:00 10:00:00 10:01:00 RECOVERED

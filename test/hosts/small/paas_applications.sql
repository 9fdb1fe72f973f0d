-- Applications of environments of projects of teams, deleted softly; their state, in two words, and restarts are written in place, by a
-- queue worker whose session is in Tokyo, to the second. What they use is told as `docker stats` prints it, of the application's uuid,
-- to which no foreign key refers. Each mapping is what the hints say, or the binding page.
--@ schema
CREATE TABLE teams (id bigserial PRIMARY KEY, name varchar(255) NOT NULL);
CREATE TABLE projects (id bigserial PRIMARY KEY, team_id bigint NOT NULL REFERENCES teams);
CREATE TABLE environments (id bigserial PRIMARY KEY, project_id bigint NOT NULL REFERENCES projects);
CREATE TABLE applications (id bigserial PRIMARY KEY, uuid varchar(255) NOT NULL UNIQUE, name varchar(255) NOT NULL, environment_id bigint NOT NULL REFERENCES environments,
  status varchar(255) NOT NULL DEFAULT 'exited', restart_count int NOT NULL DEFAULT 0, created_at timestamp(0), updated_at timestamp(0), deleted_at timestamp(0));
CREATE TABLE application_usages (id bigserial PRIMARY KEY, application_uuid varchar(255) NOT NULL, cpu varchar(255), memory varchar(255), created_at timestamp(0), updated_at timestamp(0));
CREATE INDEX ON application_usages (created_at);
CREATE FUNCTION mebibytes(text) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT substring($1 FROM '^[0-9.]+')::numeric * CASE substring($1 FROM '[A-Za-z]+$') WHEN 'GiB' THEN 1024 WHEN 'MiB' THEN 1 END $$;
GRANT SELECT, UPDATE ON applications TO app;
GRANT INSERT ON application_usages TO app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app;
INSERT INTO teams (name) VALUES ('Root Team'), ('Other');
INSERT INTO projects (team_id) VALUES (1), (2);
INSERT INTO environments (project_id) VALUES (1), (2);
INSERT INTO applications (uuid, name, environment_id) VALUES ('vgkk0c4', 'web', 1), ('wokc8s8', 'db', 1), ('zs0wk0k', 'other', 2), ('deadbee', 'old', 1);
--@ attach
SELECT alerting.attach('teams', 'applications', organization => '(SELECT i.team_id FROM public.environments h JOIN public.projects i ON i.id = h.project_id WHERE h.id = c.environment_id AND c.deleted_at IS NULL)');
SELECT alerting.attach_metrics('applications', running => $$status LIKE 'running%'$$, max_age => NULL);
SELECT alerting.attach_metrics('application_usages', container => '(SELECT k.id FROM public.applications k WHERE k.uuid = m.application_uuid)', cpu => $$substring(cpu FROM '^[0-9.]+(?=%$)')::float8$$,
  memory_used => $$mebibytes(split_part(memory, ' / ', 1))$$, memory_limit => $$mebibytes(split_part(memory, ' / ', 2))$$, max_age => NULL);
SELECT alerting.create_rule(1, r.name, r.condition, r.threshold, r.duration, 'keep') FROM (VALUES
  ('cpu', 'CPU_USAGE', 80, 1), ('down', 'CONTAINER_DOWN', NULL, 1), ('loop', 'RESTART_LOOP', 2, 10), ('memory', 'MEMORY_USAGE', 80, 0)) AS r(name, condition, threshold, duration);
--@ mapping
application_usages container: (SELECT k.id FROM public.applications k WHERE ((k.uuid)::text = (m.application_uuid)::text))
application_usages at: created_at
application_usages cpu: ("substring"((m.cpu)::text, '^[0-9.]+(?=%$)'::text))::double precision
application_usages memory_used: public.mebibytes(split_part((m.memory)::text, ' / '::text, 1))
application_usages memory_limit: public.mebibytes(split_part((m.memory)::text, ' / '::text, 2))
applications container: id
applications at: updated_at
applications running: ((m.status)::text ~~ 'running%'::text)
applications restarts: restart_count
--@ app
SET timezone = 'Asia/Tokyo';
UPDATE applications SET status = 'running:healthy', updated_at = '2026-03-02 10:00:00';
INSERT INTO application_usages (application_uuid, cpu, memory, created_at, updated_at) VALUES ('vgkk0c4', '97.25%', '900MiB / 1GiB', '2026-03-02 10:00:00', now()), ('wokc8s8', '80.00%', '400MiB / 512MiB', '2026-03-02 10:00:00', now()),
  ('zs0wk0k', '99.99%', '1GiB / 1GiB', '2026-03-02 10:00:00', now()), ('deadbee', '99.99%', '1MiB / 512MiB', '2026-03-02 10:00:00', now()), ('unknown', '99.99%', '1GiB / 1GiB', '2026-03-02 10:00:00', now());
--@ app
-- One is deleted before its breach has lasted; another one's words change, and it runs all the same.
UPDATE applications SET deleted_at = '2026-03-02 10:00:30', updated_at = '2026-03-02 10:00:30' WHERE name = 'old';
UPDATE applications SET status = CASE name WHEN 'db' THEN 'exited:unhealthy' ELSE 'running:unknown' END, restart_count = CASE name WHEN 'web' THEN 2 ELSE 0 END, updated_at = '2026-03-02 10:01:00' WHERE deleted_at IS NULL;
INSERT INTO application_usages (application_uuid, cpu, memory, created_at, updated_at) VALUES ('vgkk0c4', '--', '-- / --', '2026-03-02 10:01:00', now()), ('deadbee', '99.99%', '1MiB / 512MiB', '2026-03-02 10:01:00', now());
--@ app
UPDATE applications SET status = CASE name WHEN 'db' THEN 'restarting:unhealthy' ELSE 'running (healthy)' END, restart_count = CASE name WHEN 'web' THEN 3 ELSE 0 END, updated_at = '2026-03-02 10:02:00' WHERE deleted_at IS NULL;
INSERT INTO application_usages (application_uuid, cpu, memory, created_at, updated_at) VALUES ('vgkk0c4', '81.00%', '500MiB / 1GiB', '2026-03-02 10:02:00', now()), ('wokc8s8', '80.00%', '420MiB / 512MiB', '2026-03-02 10:02:00', now());
--@ app
UPDATE applications SET status = 'running:healthy', restart_count = CASE name WHEN 'db' THEN 1 ELSE 3 END, updated_at = '2026-03-02 10:03:00' WHERE deleted_at IS NULL;
INSERT INTO application_usages (application_uuid, cpu, memory, created_at, updated_at) VALUES ('vgkk0c4', '79.00%', '500MiB / 1GiB', '2026-03-02 10:03:00', now());
--@ alerts
cpu web RESOLVED 10:00:00 10:02:00 10:03:00 RECOVERED
down db RESOLVED 10:01:00 10:02:00 10:03:00 RECOVERED
loop web FIRING 10:02:00 10:02:00
memory db FIRING 10:02:00 10:02:00
memory web RESOLVED 10:00:00 10:00:00 10:02:00 RECOVERED

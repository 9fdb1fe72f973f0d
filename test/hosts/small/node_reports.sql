-- Agents report a node at a time: a header that says when, and rows beneath it for its containers, which know them by a short id
-- that is unique on the node alone. CPU time is a counter, which starts anew with the container; the limits stand in the table of containers.
--@ schema
CREATE TABLE users (id serial PRIMARY KEY, email text UNIQUE NOT NULL, username text);
CREATE TABLE nodes (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users, name varchar(100));
CREATE TABLE containers (id bigserial PRIMARY KEY, node_id integer NOT NULL REFERENCES nodes ON DELETE CASCADE, short_id varchar(12) NOT NULL, name text, memory_limit bigint, UNIQUE (node_id, short_id));
CREATE TABLE node_reports (id bigserial PRIMARY KEY, node_id integer NOT NULL REFERENCES nodes ON DELETE CASCADE, reported_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE node_report_containers (report_id bigint NOT NULL REFERENCES node_reports ON DELETE CASCADE, short_id varchar(12) NOT NULL, cpu_seconds double precision, memory bigint, status varchar(64),
  PRIMARY KEY (report_id, short_id));
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app;
INSERT INTO users (email) VALUES ('a@example.com');
INSERT INTO nodes (user_id, name) VALUES (1, 'n1'), (1, 'n2');
INSERT INTO containers (node_id, short_id, name, memory_limit) VALUES (1, 'aaaaaaaaaaaa', 'web', 100), (2, 'aaaaaaaaaaaa', 'twin', 1000), (2, 'bbbbbbbbbbbb', 'db', 100);
--@ attach
SELECT alerting.attach('users', 'containers', organization => '(SELECT h.user_id FROM nodes h WHERE h.id = c.node_id)');
SELECT alerting.attach_metrics('node_report_containers', max_age => NULL,
  container => '(SELECT c.id FROM node_reports r JOIN containers c USING (node_id) WHERE r.id = m.report_id AND c.short_id = m.short_id)',
  at => '(SELECT r.reported_at FROM node_reports r WHERE r.id = m.report_id)',
  cpu => $$(SELECT CASE WHEN m.cpu_seconds >= p.cpu_seconds THEN 100 * (m.cpu_seconds - p.cpu_seconds) / extract(epoch FROM r.reported_at - q.reported_at)::float8 END
              FROM node_reports r JOIN node_reports q ON q.node_id = r.node_id AND q.reported_at < r.reported_at JOIN node_report_containers p ON p.report_id = q.id AND p.short_id = m.short_id
             WHERE r.id = m.report_id ORDER BY q.reported_at DESC LIMIT 1)$$,
  memory_used => 'memory',
  memory_limit => '(SELECT c.memory_limit FROM node_reports r JOIN containers c USING (node_id) WHERE r.id = m.report_id AND c.short_id = m.short_id)',
  running => $$status LIKE 'Up %' AND status NOT LIKE '%(unhealthy)'$$);
SELECT alerting.create_rule(1, r.name, r.condition, r.threshold, r.duration) FROM (VALUES
  ('cpu', 'CPU_USAGE', 80, 1), ('down', 'CONTAINER_DOWN', NULL, 1), ('memory', 'MEMORY_USAGE', 90, 0)) AS r(name, condition, threshold, duration);
--@ mapping
node_report_containers container: (SELECT c.id FROM (public.node_reports r JOIN public.containers c USING (node_id)) WHERE ((r.id = m.report_id) AND ((c.short_id)::text = (m.short_id)::text)))
node_report_containers at: (SELECT r.reported_at FROM public.node_reports r WHERE (r.id = m.report_id))
node_report_containers cpu: (SELECT CASE WHEN (m.cpu_seconds >= p.cpu_seconds) THEN (((100)::double precision * (m.cpu_seconds - p.cpu_seconds)) / (EXTRACT(epoch FROM (r.reported_at - q.reported_at)))::double precision) ELSE NULL::double precision END AS "case" FROM ((public.node_reports r JOIN public.node_reports q ON (((q.node_id = r.node_id) AND (q.reported_at < r.reported_at)))) JOIN public.node_report_containers p ON (((p.report_id = q.id) AND ((p.short_id)::text = (m.short_id)::text)))) WHERE (r.id = m.report_id) ORDER BY q.reported_at DESC LIMIT 1)
node_report_containers memory_used: memory
node_report_containers memory_limit: (SELECT c.memory_limit FROM (public.node_reports r JOIN public.containers c USING (node_id)) WHERE ((r.id = m.report_id) AND ((c.short_id)::text = (m.short_id)::text)))
node_report_containers running: (((m.status)::text ~~ 'Up %'::text) AND ((m.status)::text !~~ '%(unhealthy)'::text))
--@ app
BEGIN;
INSERT INTO node_reports (node_id, reported_at) VALUES (1, '2026-03-02 10:00Z'), (2, '2026-03-02 10:00Z');
INSERT INTO node_report_containers VALUES (1, 'aaaaaaaaaaaa', 1000, 91, 'Up 3 hours'), (2, 'aaaaaaaaaaaa', 0, 91, 'Up 3 hours (healthy)'), (2, 'bbbbbbbbbbbb', 5, 1, 'Up 2 minutes (unhealthy)') RETURNING *;
COMMIT;
-- Reports of half an hour that were kept back come in one statement each.
BEGIN;
INSERT INTO node_reports (node_id, reported_at) SELECT 2, '2026-03-02 10:00Z'::timestamptz + n * interval '1 minute' FROM generate_series(1, 4) n;
SAVEPOINT s;
INSERT INTO node_report_containers VALUES (3, 'aaaaaaaaaaaa', 999, 91, 'Dead');
ROLLBACK TO s;
INSERT INTO node_report_containers VALUES (3, 'aaaaaaaaaaaa', 30, 91, 'Up 3 hours'), (3, 'bbbbbbbbbbbb', 65, 1, 'Exited (137) 2 seconds ago'), (4, 'aaaaaaaaaaaa', 84, 91, 'Up 3 hours'),
  (4, 'bbbbbbbbbbbb', 125, 1, 'Exited (137) About a minute ago'), (5, 'aaaaaaaaaaaa', 138, 91, 'Up 3 hours'), (5, 'bbbbbbbbbbbb', 6, 1, 'Up 1 second (health: starting)'), (6, 'bbbbbbbbbbbb', 7, 1, 'Up 2 minutes');
COMMIT;
INSERT INTO node_reports (node_id, reported_at) VALUES (1, '2026-03-02 10:01Z');
--@ admin
UPDATE containers SET memory_limit = 10000 WHERE name = 'web';
--@ app
INSERT INTO node_report_containers VALUES (7, 'aaaaaaaaaaaa', 1059, 91, 'Up 3 hours'), (7, 'cccccccccccc', 1, 1, 'Up 1 second');
--@ alerts
cpu db RESOLVED 10:01:00 10:02:00 10:04:00 RECOVERED
cpu twin FIRING 10:02:00 10:03:00
down db RESOLVED 10:00:00 10:01:00 10:03:00 RECOVERED
memory web RESOLVED 10:00:00 10:00:00 10:01:00 RECOVERED

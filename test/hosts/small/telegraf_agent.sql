-- A metrics agent that makes its tables by itself: a table for each measurement, tags in columns or in a table beside it, a row
-- for each CPU and one for all, naive times; columns come while it writes, and a table is put aside for one of its name.
-- There is no table of containers: one is made, which the agent's rows fill.
--@ schema
CREATE TABLE docker_container_cpu ("time" timestamp, host text, container_name text, cpu text, usage_total numeric, usage_percent double precision, container_id text);
CREATE TABLE docker_container_mem ("time" timestamp, tags jsonb, fields jsonb);
CREATE TABLE docker_container_status_tag (tag_id bigint PRIMARY KEY, container_name text, container_status text);
CREATE TABLE docker_container_status ("time" timestamp, tag_id bigint, restart_count bigint, uptime_ns bigint);
CREATE INDEX ON docker_container_cpu (container_name, "time");
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO app;
CREATE TABLE everybody (id int PRIMARY KEY, name text);
INSERT INTO everybody VALUES (1, 'Acme');
CREATE TABLE watched_containers (name text PRIMARY KEY, owner_id int NOT NULL DEFAULT 1 REFERENCES everybody);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO watched_containers (name) SELECT DISTINCT n.container_name FROM new_rows n WHERE n.container_name IS NOT NULL ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER INSERT ON docker_container_cpu REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION watch();
--@ attach
SELECT alerting.attach('everybody', 'watched_containers');
SELECT alerting.attach_metrics('docker_container_cpu', cpu => $$CASE cpu WHEN 'cpu-total' THEN usage_percent END$$, max_age => NULL);
SELECT alerting.attach_metrics('docker_container_mem', container => $$tags ->> 'container_name'$$, memory => $$(fields ->> 'usage_percent')::float8$$, max_age => NULL);
SELECT alerting.attach_metrics('docker_container_status', max_age => NULL,
  container => '(SELECT t.container_name FROM docker_container_status_tag t WHERE t.tag_id = m.tag_id)',
  running => $$(SELECT t.container_status = 'running' FROM docker_container_status_tag t WHERE t.tag_id = m.tag_id)$$);
SELECT alerting.create_rule(1, r.name, r.condition, r.threshold, r.duration) FROM (VALUES
  ('cpu', 'CPU_USAGE', 90, 1), ('down', 'CONTAINER_DOWN', NULL, 0), ('loop', 'RESTART_LOOP', 2, 10), ('memory', 'MEMORY_USAGE', 90, 0)) AS r(name, condition, threshold, duration);
--@ mapping
docker_container_cpu container: container_name
docker_container_cpu at: "time"
docker_container_cpu cpu: CASE m.cpu WHEN 'cpu-total'::text THEN m.usage_percent ELSE NULL::double precision END
docker_container_mem container: (m.tags ->> 'container_name'::text)
docker_container_mem at: "time"
docker_container_mem memory: ((m.fields ->> 'usage_percent'::text))::double precision
docker_container_status container: (SELECT t.container_name FROM public.docker_container_status_tag t WHERE (t.tag_id = m.tag_id))
docker_container_status at: "time"
docker_container_status running: (SELECT (t.container_status = 'running'::text) FROM public.docker_container_status_tag t WHERE (t.tag_id = m.tag_id))
docker_container_status restarts: restart_count
--@ app
SET search_path = '';
BEGIN;
COPY public.docker_container_cpu ("time", host, container_name, cpu, usage_total, usage_percent, container_id) FROM stdin;
2026-03-02 10:00:00	h1	web	cpu-total	18446744073709551615	95	c0ffee
2026-03-02 10:00:00	h1	web	cpu0	1	190	c0ffee
2026-03-02 10:00:00	h1	db	cpu-total	1	12	decade
2026-03-02 10:00:00	h1	db	cpu0	1	95	decade
2026-03-02 10:01:00	h1	web	cpu0	1	1	c0ffee
2026-03-02 10:01:00	h1	web	cpu-total	1	95	c0ffee
2026-03-02 10:01:00	h1	db	cpu-total	1	12	decade
\.
COMMIT;
INSERT INTO public.docker_container_mem SELECT '2026-03-02 10:01', jsonb_build_object('container_name', n, 'host', 'h1'), jsonb_build_object('usage_percent', p, 'limit', 1) FROM (VALUES ('web', 90), ('db', 90.5), (NULL, 99)) AS v(n, p);
INSERT INTO public.docker_container_status_tag VALUES (-7, 'db', 'running'), (8, 'db', 'exited') ON CONFLICT DO NOTHING;
INSERT INTO public.docker_container_status VALUES ('2026-03-02 10:00', -7, 7, 1), ('2026-03-02 10:01', 8, 8, 0), ('2026-03-02 10:02', -7, 10, 1);
--@ admin
ALTER TABLE docker_container_status ADD COLUMN IF NOT EXISTS oomkilled boolean;
BEGIN;
ALTER TABLE docker_container_cpu RENAME TO docker_container_cpu_9f86d0;
CREATE TABLE docker_container_cpu (LIKE docker_container_cpu_9f86d0 INCLUDING ALL, throttled bigint);
CREATE TRIGGER watch AFTER INSERT ON docker_container_cpu REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION watch();
GRANT INSERT ON docker_container_cpu TO app;
SELECT alerting.attach_metrics('docker_container_cpu', cpu => $$CASE cpu WHEN 'cpu-total' THEN usage_percent END$$, max_age => NULL);
SELECT alerting.detach_metrics('docker_container_cpu_9f86d0');
COMMIT;
--@ app
INSERT INTO docker_container_cpu ("time", container_name, cpu, usage_percent, throttled) VALUES ('2026-03-02 10:02', 'web', 'cpu-total', 3, 0), ('2026-03-02 10:02', 'new', 'cpu-total', 99, 0);
INSERT INTO docker_container_cpu ("time", container_name, cpu, usage_percent, throttled) VALUES ('2026-03-02 10:03', 'new', 'cpu0', 1, 0), ('2026-03-02 10:03', 'new', 'cpu-total', 99, 0);
INSERT INTO docker_container_status VALUES ('2026-03-02 10:03', -7, 0, 1, false);
--@ alerts
cpu new FIRING 10:02:00 10:03:00
cpu web RESOLVED 10:00:00 10:01:00 10:02:00 RECOVERED
down db RESOLVED 10:01:00 10:01:00 10:02:00 RECOVERED
loop db FIRING 10:02:00 10:02:00
memory db FIRING 10:01:00 10:01:00

-- What Docker's daemon tells as events, to the nanosecond, and nothing else says whether a container runs; most events are about other
-- things. Restarts are counted by a trigger, since rows go after a while. CPU and memory are the texts of `docker stats`, in json of
-- a machine that knows twelve digits of a container's id.
--@ schema
CREATE TABLE accounts (id uuid PRIMARY KEY, label text);
CREATE TABLE machines (id serial PRIMARY KEY, account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE);
CREATE TABLE containers (id bigserial PRIMARY KEY, machine_id int REFERENCES machines ON DELETE CASCADE, docker_id varchar(64) UNIQUE, names text[], name text GENERATED ALWAYS AS (ltrim(names[1], '/')) STORED);
CREATE INDEX ON containers (docker_id varchar_pattern_ops);
CREATE TABLE events (id bigserial PRIMARY KEY, docker_id varchar(64) REFERENCES containers (docker_id), action text, time_nano bigint, attributes jsonb, starts int);
CREATE INDEX ON events (docker_id, time_nano);
CREATE INDEX ON events ((time_nano / 1e9));
CREATE FUNCTION count_starts() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  NEW.starts := (NEW.action = 'start')::int + coalesce((SELECT e.starts FROM events e WHERE e.docker_id = NEW.docker_id ORDER BY e.time_nano DESC LIMIT 1), 0);
  RETURN NEW;
END $$;
CREATE TRIGGER count_starts BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION count_starts();
CREATE TABLE raw_stats (id bigserial PRIMARY KEY, machine_id int REFERENCES machines, collected_at timestamptz DEFAULT now(), payload json NOT NULL);
CREATE INDEX ON raw_stats (collected_at);
CREATE FUNCTION docker_bytes(text) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT substring($1 FROM '^[0-9.]+')::numeric * CASE substring($1 FROM '[A-Za-z]+$') WHEN 'KiB' THEN 1024 WHEN 'MiB' THEN 1048576 WHEN 'GiB' THEN 1073741824 ELSE 1 END $$;
GRANT INSERT ON events, raw_stats TO app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app;
INSERT INTO accounts VALUES ('00000000-0000-4000-8000-0000000000a1', 'Vandelay');
INSERT INTO machines (account_id) VALUES ('00000000-0000-4000-8000-0000000000a1'), ('00000000-0000-4000-8000-0000000000a1');
INSERT INTO containers (machine_id, docker_id, names) VALUES (1, repeat('c0ffee123456', 5) || '0000', '{/web}'), (2, repeat('c0ffee123457', 5) || '0000', '{/web}'), (2, repeat('decade000000', 5) || '0000', '{/db,/alias}');
--@ attach
SELECT alerting.attach('accounts', 'containers', organization => '(SELECT h.account_id FROM machines h WHERE h.id = c.machine_id)');
SELECT alerting.attach_metrics('events', at => 'time_nano / 1e9', at_unit => 's', running => $$CASE action WHEN 'start' THEN true WHEN 'die' THEN false END$$, restarts => $$CASE action WHEN 'start' THEN starts END$$, max_age => NULL, stale_after => '10 years');
SELECT alerting.attach_metrics('raw_stats', container => $$(SELECT c.id FROM containers c WHERE c.docker_id LIKE (m.payload ->> 'ID') || '%' AND c.machine_id = m.machine_id)$$,
  cpu => $$substring(payload ->> 'CPUPerc' FROM '^[0-9.]+(?=%$)')::float8$$,
  memory_used => $$docker_bytes(split_part(payload ->> 'MemUsage', ' / ', 1))$$, memory_limit => $$docker_bytes(split_part(payload ->> 'MemUsage', ' / ', 2))$$, max_age => NULL);
SELECT alerting.create_rule('00000000-0000-4000-8000-0000000000a1'::uuid, r.name, r.condition, r.threshold, r.duration) FROM (VALUES
  ('cpu', 'CPU_USAGE', 80, 0), ('down', 'CONTAINER_DOWN', NULL, 1), ('loop', 'RESTART_LOOP', 2, 10), ('memory', 'MEMORY_USAGE', 80, 1)) AS r(name, condition, threshold, duration);
--@ mapping
events container: (SELECT k.id FROM public.containers k WHERE ((k.docker_id)::text = (m.docker_id)::text))
events at: ((m.time_nano)::numeric / '1000000000'::numeric)
events at_unit: s
events running: CASE m.action WHEN 'start'::text THEN true WHEN 'die'::text THEN false ELSE NULL::boolean END
events restarts: CASE m.action WHEN 'start'::text THEN m.starts ELSE NULL::integer END
raw_stats container: (SELECT c.id FROM public.containers c WHERE (((c.docker_id)::text ~~ ((m.payload ->> 'ID'::text) || '%'::text)) AND (c.machine_id = m.machine_id)))
raw_stats at: collected_at
raw_stats cpu: ("substring"((m.payload ->> 'CPUPerc'::text), '^[0-9.]+(?=%$)'::text))::double precision
raw_stats memory_used: public.docker_bytes(split_part((m.payload ->> 'MemUsage'::text), ' / '::text, 1))
raw_stats memory_limit: public.docker_bytes(split_part((m.payload ->> 'MemUsage'::text), ' / '::text, 2))
--@ app
INSERT INTO raw_stats (machine_id, collected_at, payload) VALUES
  (1, '2026-03-02 10:00:01Z', '{"ID": "c0ffee123456", "CPUPerc": "99.90%", "MemUsage": "1.7GiB / 2GiB"}'), (2, '2026-03-02 10:00:01Z', '{"ID": "c0ffee123457", "CPUPerc": "0.10%", "MemUsage": "300.5MiB / 1GiB"}'),
  (1, '2026-03-02 10:01:01Z', '{"ID": "c0ffee123456", "CPUPerc": "--", "MemUsage": "-- / --"}'), (1, '2026-03-02 10:01:01Z', '{"ID": "c0ffee123457", "CPUPerc": "100.00%", "MemUsage": "1GiB / 1GiB"}'),
  (1, '2026-03-02 10:02:01Z', '{"ID": "c0ffee123456", "CPUPerc": "80.00%", "MemUsage": "1741.1MiB / 2GiB"}'), (2, '2026-03-02 10:02:01Z', '{"ID": "decade000000", "CPUPerc": "200.00%", "MemUsage": "100KiB / 0B"}');
INSERT INTO events (docker_id, action, time_nano, attributes) VALUES
  (repeat('c0ffee123456', 5) || '0000', 'create', 1772445600000000001, '{}'), (repeat('c0ffee123456', 5) || '0000', 'start', 1772445601000000001, '{}'), (repeat('decade000000', 5) || '0000', 'start', 1772445601000000001, '{}');
INSERT INTO events (docker_id, action, time_nano, attributes)
  SELECT repeat('c0ffee123456', 5) || '0000', a, 1772445601000000001 + 1000000000 * (60 * n + o)::bigint, '{}' FROM generate_series(1, 3) n, (VALUES ('exec_create: sh', 0), ('die', 1), ('start', 30)) AS e(a, o) ORDER BY n, o;
--@ app
-- Down from 10:05:01 until after another thing was told; rows of before are deleted, what they counted is not lost.
INSERT INTO events (docker_id, action, time_nano, attributes) VALUES (repeat('decade000000', 5) || '0000', 'die', 1772445901000000000, '{"exitCode": "137"}');
--@ admin
DELETE FROM events WHERE time_nano < 1772445700000000000;
--@ app
INSERT INTO events (docker_id, action, time_nano, attributes) VALUES (repeat('decade000000', 5) || '0000', 'exec_die', 1772445991000000000, '{}'), (repeat('decade000000', 5) || '0000', 'start', 1772445992000000000, '{}'),
  (repeat('c0ffee123456', 5) || '0000', 'start', 1772446381000000000, '{}');
--@ alerts
cpu db FIRING 10:02:01 10:02:01
cpu web RESOLVED 10:00:01 10:00:01 10:02:01 RECOVERED
down db RESOLVED 10:05:01 10:06:01 10:06:32 RECOVERED
loop web RESOLVED 10:03:31 10:03:31 10:11:31 RECOVERED
memory web FIRING 10:00:01 10:02:01

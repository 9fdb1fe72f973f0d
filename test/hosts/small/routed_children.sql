-- From the times before declarative partitions: a trigger routes each row into the child table of its day, makes that when it is
-- missing, and attaches it.
--@ schema
CREATE TABLE customers (id serial PRIMARY KEY, name text);
CREATE TABLE servers (id serial PRIMARY KEY, customer_id int REFERENCES customers, name text);
CREATE TABLE stats (server_id int, at timestamp, cpu_percent real, mem_used bigint, mem_limit bigint);
CREATE FUNCTION route() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  child text := 'stats_' || to_char(NEW.at, 'YYYYMMDD');
BEGIN
  IF to_regclass(child) IS NULL THEN
    EXECUTE format('CREATE TABLE %I (PRIMARY KEY (server_id, at)) INHERITS (stats)', child);
    PERFORM alerting.attach_metrics(child::regclass, max_age => NULL);
  END IF;
  EXECUTE format('INSERT INTO %I SELECT ($1).*', child) USING NEW;
  RETURN NULL;
END $$;
CREATE TRIGGER route BEFORE INSERT ON stats FOR EACH ROW EXECUTE FUNCTION route();
GRANT INSERT ON stats TO app;
INSERT INTO customers (name) VALUES ('Initech');
INSERT INTO servers (customer_id, name) VALUES (1, 'a'), (1, 'b');
--@ attach
SELECT alerting.attach('customers', 'servers');
SELECT alerting.create_rule(1, r.name, r.condition, r.threshold, r.duration) FROM (VALUES ('cpu', 'CPU_USAGE', 80, 1), ('memory', 'MEMORY_USAGE', 80, 0)) AS r(name, condition, threshold, duration);
--@ app
INSERT INTO stats VALUES (1, '2026-03-02 23:59', 90, 1, 10), (2, '2026-03-02 23:59', 90, 9, 10), (1, '2026-03-03 00:00', 95, 9, 10), (2, '2026-03-03 00:00', 5, 9, 10);
INSERT INTO stats VALUES (1, '2026-03-03 00:01', 90, 1, 10);
--@ mapping
stats_20260302 container: server_id
stats_20260302 at: at
stats_20260302 cpu: cpu_percent
stats_20260302 memory_used: mem_used
stats_20260302 memory_limit: mem_limit
stats_20260303 container: server_id
stats_20260303 at: at
stats_20260303 cpu: cpu_percent
stats_20260303 memory_used: mem_used
stats_20260303 memory_limit: mem_limit
--@ alerts
cpu a FIRING 23:59:00 00:00:00
memory a RESOLVED 00:00:00 00:00:00 00:01:00 RECOVERED
memory b FIRING 23:59:00 23:59:00

-- A schema for each tenant, with the same tables and the same numbers in it: a table of all containers beside them, which triggers keep,
-- and the metrics of each schema attached under keys that say whose they are. A tenant comes while samples flow, and one leaves.
--@ schema
CREATE TABLE tenants (schema_name text PRIMARY KEY, title text);
CREATE TABLE all_containers (key text PRIMARY KEY, tenant text NOT NULL REFERENCES tenants ON DELETE CASCADE, name text);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF TG_OP IN ('UPDATE', 'DELETE') THEN
    DELETE FROM all_containers WHERE key = TG_TABLE_SCHEMA || '/' || OLD.id AND (TG_OP = 'DELETE' OR NEW.id <> OLD.id);
  END IF;
  IF TG_OP IN ('INSERT', 'UPDATE') THEN
    INSERT INTO all_containers VALUES (TG_TABLE_SCHEMA || '/' || NEW.id, TG_TABLE_SCHEMA, NEW.name) ON CONFLICT (key) DO UPDATE SET name = excluded.name;
  END IF;
  RETURN NULL;
END $$;
CREATE PROCEDURE add_tenant(name text, title text) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO tenants VALUES (name, title);
  EXECUTE format('CREATE SCHEMA %I', name);
  EXECUTE format('CREATE TABLE %I.containers (id serial PRIMARY KEY, name text)', name);
  EXECUTE format('CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON %I.containers FOR EACH ROW EXECUTE FUNCTION watch()', name);
  EXECUTE format('CREATE TABLE %1$I.metrics (container_id int REFERENCES %1$I.containers, at timestamptz, cpu real, up boolean, PRIMARY KEY (container_id, at))', name);
  EXECUTE format('CREATE INDEX ON %I.metrics (at)', name);
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO app', name);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO app', name);
  EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO app', name);
END $$;
CALL add_tenant('acme', 'Acme');
CALL add_tenant('o''neil', 'O''Neil & Co');
INSERT INTO acme.containers (name) VALUES ('web'), ('db');
INSERT INTO "o'neil".containers (name) VALUES ('web');
--@ attach
SELECT alerting.attach('tenants', 'all_containers');
SELECT alerting.attach_metrics(format('%I.metrics', schema_name)::regclass, container => format('%L || m.container_id', schema_name || '/'), max_age => NULL) FROM tenants ORDER BY 1;
SELECT alerting.create_rule(schema_name, 'cpu of ' || title, 'CPU_USAGE', 80), alerting.create_rule(schema_name, 'down of ' || title, 'CONTAINER_DOWN') FROM tenants;
--@ mapping
"o'neil".metrics container: ('o''neil/'::text || m.container_id)
"o'neil".metrics at: at
"o'neil".metrics cpu: cpu
"o'neil".metrics running: up
acme.metrics container: ('acme/'::text || m.container_id)
acme.metrics at: at
acme.metrics cpu: cpu
acme.metrics running: up
--@ app
INSERT INTO acme.metrics VALUES (1, '2026-03-02 10:00Z', 95, true), (2, '2026-03-02 10:00Z', 15, false);
INSERT INTO "o'neil".metrics VALUES (1, '2026-03-02 10:01Z', 85, true), (1, '2026-03-02 10:02Z', 5, true);
--@ admin
CALL add_tenant('globex', 'Globex');
SELECT alerting.attach_metrics('globex.metrics', container => $$'globex/' || m.container_id$$, max_age => NULL);
SELECT alerting.create_rule('globex', 'cpu of Globex', 'CPU_USAGE', 80);
--@ app
INSERT INTO globex.containers (name) VALUES ('proxy');
INSERT INTO globex.metrics VALUES (1, '2026-03-02 10:03Z', 99, true);
UPDATE acme.containers SET name = 'web-2' WHERE id = 1;
--@ admin
SET client_min_messages = error;
DROP SCHEMA "o'neil" CASCADE;
DELETE FROM tenants WHERE schema_name = 'o''neil';
DELETE FROM alerting.metric_source s WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = s.metrics);
--@ app
INSERT INTO acme.metrics VALUES (1, '2026-03-02 10:04Z', 15, true), (2, '2026-03-02 10:04Z', 15, true);
--@ alerts
cpu of Acme web-2 RESOLVED 10:00:00 10:00:00 10:04:00 RECOVERED
cpu of Globex proxy FIRING 10:03:00 10:03:00
down of Acme db RESOLVED 10:00:00 10:00:00 10:04:00 RECOVERED

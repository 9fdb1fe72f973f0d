-- One row of usage for each site, made once and upserted from then on, by made_by, created_at and updated_at; what a
-- site may use stands in its own row; whose it is leads over two tables without foreign keys.
--@ schema
CREATE TABLE agencies (id bigserial PRIMARY KEY, name varchar(255));
CREATE TABLE clients (id bigserial PRIMARY KEY, agency_id bigint NOT NULL, name varchar(255));
CREATE TABLE stages (id bigserial PRIMARY KEY, client_id bigint NOT NULL, name varchar(255));
CREATE TABLE sites (id bigserial PRIMARY KEY, stage_id bigint NOT NULL, name varchar(255), cpu numeric(4,1) NOT NULL DEFAULT 2, memory int NOT NULL DEFAULT 512,
  "latestCpuPercent" real, status varchar(255), restart_count int NOT NULL DEFAULT 0, created_at timestamp(0), updated_at timestamp(0));
CREATE TABLE site_usage (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), site_id bigint NOT NULL UNIQUE, ram_used_mb real NOT NULL, ram_total_mb real NOT NULL,
  last_probe timestamptz, created_at timestamptz NOT NULL DEFAULT '2026-03-02 09:00Z', updated_at timestamptz NOT NULL);
GRANT SELECT, INSERT, UPDATE ON sites, site_usage TO app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app;
INSERT INTO agencies (name) VALUES ('Northwind'), ('Contoso');
INSERT INTO clients (agency_id, name) VALUES (2, 'shop'), (1, 'blog');
INSERT INTO stages (client_id, name) VALUES (1, 'production'), (2, 'production');
INSERT INTO sites (stage_id, name, status, updated_at) VALUES (1, 'shop', 'running:healthy', '2026-03-02 10:00'), (2, 'blog', 'running:healthy', '2026-03-02 10:00');
--@ attach
DO $$
DECLARE
  advice text;
BEGIN
  PERFORM alerting.attach('agencies', 'sites');
EXCEPTION WHEN invalid_parameter_value THEN
  -- What the hint says is done.
  GET STACKED DIAGNOSTICS advice = PG_EXCEPTION_HINT;
  EXECUTE substring(advice FROM 'SELECT .*');
END $$;
SELECT alerting.attach_metrics('site_usage', max_age => NULL);
SELECT alerting.attach_metrics('sites', running => $$status LIKE 'running%'$$, max_age => NULL);
SELECT alerting.create_rule(o, r.name, r.condition, r.threshold, r.duration) FROM unnest('{1,2}'::bigint[]) o,
  (VALUES ('cpu', 'CPU_USAGE', 80, 0), ('down', 'CONTAINER_DOWN', NULL, 1), ('loop', 'RESTART_LOOP', 2, 10), ('memory', 'MEMORY_USAGE', 80, 1)) AS r(name, condition, threshold, duration);
--@ mapping
site_usage container: site_id
site_usage at: updated_at
site_usage memory_used: ram_used_mb
site_usage memory_limit: ram_total_mb
sites container: id
sites at: updated_at
sites cpu: "latestCpuPercent"
sites running: ((m.status)::text ~~ 'running%'::text)
sites restarts: restart_count
--@ app
INSERT INTO site_usage (site_id, ram_used_mb, ram_total_mb, updated_at) VALUES (1, 100, 512, '2026-03-02 10:00Z'), (2, 500, 512, '2026-03-02 10:00Z');
UPDATE sites SET "latestCpuPercent" = 10, updated_at = '2026-03-02 10:00:30';
--@ app
INSERT INTO site_usage (site_id, ram_used_mb, ram_total_mb, updated_at) VALUES (1, 480, 512, '2026-03-02 10:01Z'), (2, 500, 512, '2026-03-02 10:01Z')
  ON CONFLICT (site_id) DO UPDATE SET ram_used_mb = EXCLUDED.ram_used_mb, updated_at = EXCLUDED.updated_at;
UPDATE sites SET "latestCpuPercent" = 97, status = 'exited', updated_at = '2026-03-02 10:01:30' WHERE name = 'blog';
--@ app
INSERT INTO site_usage (site_id, ram_used_mb, ram_total_mb, updated_at) VALUES (1, 480, 512, '2026-03-02 10:02Z'), (2, 20, 512, '2026-03-02 10:02Z')
  ON CONFLICT (site_id) DO UPDATE SET ram_used_mb = EXCLUDED.ram_used_mb, updated_at = EXCLUDED.updated_at;
UPDATE sites SET restart_count = 3, updated_at = '2026-03-02 10:02:30';
--@ alerts
cpu blog FIRING 10:01:30 10:01:30
down blog FIRING 10:01:30 10:02:30
loop blog FIRING 10:02:30 10:02:30
loop shop FIRING 10:02:30 10:02:30
memory blog RESOLVED 10:00:00 10:01:00 10:02:00 RECOVERED
memory shop FIRING 10:01:00 10:02:00

-- A Supabase project: row security everywhere, also forced upon the tables' owner, and a session that says by a
-- setting who it is. A container belongs to a project, that to a workspace, and that to an organization.
--@ schema
CREATE SCHEMA auth;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT (current_setting('request.jwt.claims', true)::jsonb ->> 'sub')::uuid $$;
GRANT USAGE ON SCHEMA auth TO app;
CREATE ROLE supabase_owner;
GRANT CREATE, USAGE ON SCHEMA public TO supabase_owner;
GRANT USAGE ON SCHEMA auth TO supabase_owner;
SET ROLE supabase_owner;
CREATE TABLE organizations (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, slug text UNIQUE NOT NULL);
CREATE TABLE memberships (organization_id bigint REFERENCES organizations, user_id uuid, PRIMARY KEY (organization_id, user_id));
CREATE TABLE workspaces (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations);
CREATE TABLE projects (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), workspace_id bigint NOT NULL REFERENCES workspaces);
CREATE TABLE containers (id uuid PRIMARY KEY, project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE, display_name text);
CREATE TABLE metrics (container_id uuid NOT NULL REFERENCES containers ON DELETE CASCADE, inserted_at timestamptz NOT NULL DEFAULT now(),
  payload jsonb NOT NULL, status text GENERATED ALWAYS AS (payload ->> 'status') STORED);
CREATE INDEX ON metrics (container_id, inserted_at);
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['organizations', 'memberships', 'workspaces', 'projects', 'containers', 'metrics'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO app', t);
    EXECUTE format('CREATE POLICY seeding ON %I TO supabase_owner USING (current_setting(''app.seeding'', true) = ''on'')', t);
  END LOOP;
END $$;
CREATE POLICY members ON memberships TO app USING (user_id = auth.uid());
CREATE POLICY members ON workspaces TO app USING (organization_id IN (SELECT organization_id FROM memberships));
CREATE POLICY members ON projects TO app USING (workspace_id IN (SELECT id FROM workspaces));
CREATE POLICY members ON containers TO app USING (project_id IN (SELECT id FROM projects));
CREATE POLICY members ON metrics TO app USING (container_id IN (SELECT id FROM containers));
SET app.seeding = 'on';
INSERT INTO organizations (slug) VALUES ('initech'), ('hooli');
INSERT INTO memberships VALUES (1, '00000000-0000-4000-8000-0000000000ff');
INSERT INTO workspaces (organization_id) VALUES (1), (2);
INSERT INTO projects VALUES ('00000000-0000-4000-8000-0000000000b1', 1), ('00000000-0000-4000-8000-0000000000b2', 2);
INSERT INTO containers VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-0000000000b1', 'edge'),
  ('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-0000000000b2', 'other');
--@ attach
SELECT alerting.attach('organizations', 'containers',
  organization => '(SELECT w.organization_id FROM projects p JOIN workspaces w ON w.id = p.workspace_id WHERE p.id = c.project_id)');
SELECT alerting.attach_metrics('metrics', cpu => '(payload #>> ''{cpu,percent}'')::float8',
  memory => '100 * (payload #>> ''{memory,used}'')::numeric / nullif((payload #>> ''{memory,limit}'')::numeric, 0)', max_age => NULL);
SELECT alerting.create_rule(o, r.name, r.condition, r.threshold, 1) FROM unnest(ARRAY[1, 2]) o, (VALUES
  ('cpu', 'CPU_USAGE', 90), ('down', 'CONTAINER_DOWN', NULL), ('memory', 'MEMORY_USAGE', 80)) AS r(name, condition, threshold);
--@ mapping
metrics container: container_id
metrics at: inserted_at
metrics cpu: ((m.payload #>> '{cpu,percent}'::text[]))::double precision
metrics memory: (((100)::numeric * ((m.payload #>> '{memory,used}'::text[]))::numeric) / NULLIF(((m.payload #>> '{memory,limit}'::text[]))::numeric, (0)::numeric))
metrics running: (lower(m.status) = 'running'::text)
--@ app
SET request.jwt.claims = '{"sub": "00000000-0000-4000-8000-0000000000ff"}';
INSERT INTO metrics (container_id, inserted_at, payload) VALUES
  ('00000000-0000-4000-8000-000000000001', '2026-03-02 10:00Z', '{"cpu": {"percent": 95}, "memory": {"used": 9, "limit": 10}, "status": "running"}'),
  ('00000000-0000-4000-8000-000000000001', '2026-03-02 10:01Z', '{"cpu": {"percent": "96.5"}, "memory": {"used": 9, "limit": 10}, "status": "running"}');
-- One row is no JSON that the mapping can read: it is skipped, the others count.
INSERT INTO metrics (container_id, inserted_at, payload) VALUES
  ('00000000-0000-4000-8000-000000000001', '2026-03-02 10:02Z', '{"cpu": {"percent": "n/a"}, "memory": {"used": 1, "limit": 10}, "status": "exited"}'),
  ('00000000-0000-4000-8000-000000000001', '2026-03-02 10:03Z', '{"memory": {"used": 1, "limit": 0}, "status": "Exited"}'),
  ('00000000-0000-4000-8000-000000000001', '2026-03-02 10:04Z', '{"memory": {"used": 1, "limit": 10}, "status": "exited"}');
--@ alerts
cpu edge FIRING 10:00:00 10:01:00
down edge FIRING 10:03:00 10:04:00
memory edge RESOLVED 10:00:00 10:01:00 10:04:00 RECOVERED

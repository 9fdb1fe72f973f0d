-- A host application's database, as it might be before anybody thought of alerts.
CREATE TABLE organizations (
  id uuid PRIMARY KEY,
  name text NOT NULL
);
CREATE TABLE hosts (
  id int PRIMARY KEY,
  name text NOT NULL,
  organization_id uuid NOT NULL REFERENCES organizations
);
-- Each host's agent keeps the state up to date in place.
CREATE TABLE containers (
  id text PRIMARY KEY,
  name text NOT NULL,
  host_id int NOT NULL REFERENCES hosts,
  status text NOT NULL DEFAULT 'created',
  restart_count int NOT NULL DEFAULT 0,
  last_seen_at timestamptz
);
-- And adds a row per container and report.
CREATE TABLE container_metrics (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  container_id text NOT NULL REFERENCES containers ON DELETE CASCADE,
  sampled_at timestamptz NOT NULL,
  cpu_percent double precision,
  memory_bytes bigint,
  memory_limit_bytes bigint
);
CREATE INDEX ON container_metrics (container_id, sampled_at);

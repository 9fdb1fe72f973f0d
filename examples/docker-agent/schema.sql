-- Tables for agent.py, alerting on them, and a role for it.
CREATE TABLE organizations (id text PRIMARY KEY, name text NOT NULL);
CREATE TABLE containers (id text PRIMARY KEY, organization_id text NOT NULL REFERENCES organizations ON DELETE CASCADE, name text NOT NULL);
CREATE TABLE container_metrics (
  container_id text NOT NULL REFERENCES containers ON DELETE CASCADE, at timestamptz NOT NULL,
  cpu_percent double precision, memory_used bigint, memory_limit bigint, running boolean NOT NULL, restart_count int NOT NULL,
  PRIMARY KEY (container_id, at));
INSERT INTO organizations VALUES ('acme', 'Acme');

CREATE EXTENSION alerting;
SELECT alerting.create_rule('acme', 'CPU above 90 %', 'CPU_USAGE', threshold => 90, duration => 5);
SELECT alerting.create_rule('acme', 'Memory above 90 %', 'MEMORY_USAGE', threshold => 90, duration => 5);
SELECT alerting.create_rule('acme', 'Down', 'CONTAINER_DOWN', duration => 1);
SELECT alerting.create_rule('acme', 'Restarts', 'RESTART_LOOP', threshold => 3, duration => 10);

CREATE ROLE agent LOGIN;
GRANT TEMPORARY ON DATABASE :"DBNAME" TO agent;
GRANT SELECT, INSERT, UPDATE (name) ON containers TO agent;
GRANT INSERT ON container_metrics TO agent;

-- A dashboard for Docker Swarm by Sequelize: quoted names in the plural, tasks of services of teams, keys of char(25), tasks without
-- a name, and what the engine says of CPU: nanoseconds since the container began.
--@ schema
CREATE TYPE "enum_Tasks_state" AS ENUM ('new', 'pending', 'assigned', 'running', 'complete', 'failed', 'shutdown');
CREATE TABLE "Teams" (id serial PRIMARY KEY, name varchar(255) NOT NULL, "createdAt" timestamptz NOT NULL DEFAULT now(), "updatedAt" timestamptz NOT NULL DEFAULT now());
CREATE TABLE "Services" (id char(25) PRIMARY KEY, "TeamId" int REFERENCES "Teams" ON DELETE SET NULL ON UPDATE CASCADE, name varchar(255),
  "createdAt" timestamptz NOT NULL DEFAULT now(), "updatedAt" timestamptz NOT NULL DEFAULT now());
CREATE TABLE "Tasks" (id char(25) PRIMARY KEY, "ServiceId" char(25) REFERENCES "Services" ON DELETE CASCADE, slot int, state "enum_Tasks_state",
  "desiredState" "enum_Tasks_state", "createdAt" timestamptz NOT NULL DEFAULT now(), "updatedAt" timestamptz NOT NULL);
CREATE TABLE "TaskStats" (id bigserial PRIMARY KEY, "TaskId" char(25) REFERENCES "Tasks" ON DELETE CASCADE, "cpuUsageTotal" bigint, "onlineCpus" int,
  "memUsage" bigint, "memLimit" bigint, "readAt" timestamptz NOT NULL, "createdAt" timestamptz NOT NULL DEFAULT now(), "updatedAt" timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON "TaskStats" ("TaskId", "readAt");
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app;
INSERT INTO "Teams" (name) VALUES ('Initech');
INSERT INTO "Services" VALUES ('s9k2', 1, 'web');
INSERT INTO "Tasks" VALUES ('t7x1', 's9k2', 1, 'running', 'running', '2026-03-02 09:00Z', '2026-03-02 09:00Z');
--@ attach
SELECT alerting.attach('"Teams"', '"Tasks"', organization => '(SELECT h."TeamId" FROM public."Services" h WHERE h.id = c."ServiceId")');
SELECT alerting.attach_metrics('"Tasks"', max_age => NULL);
SELECT alerting.attach_metrics('"TaskStats"', max_age => NULL, cpu => $$(SELECT CASE WHEN m."cpuUsageTotal" >= p."cpuUsageTotal"
  THEN 100 * (m."cpuUsageTotal" - p."cpuUsageTotal") / 1e9 / m."onlineCpus" / extract(epoch FROM m."readAt" - p."readAt")::float8 END
  FROM "TaskStats" p WHERE p."TaskId" = m."TaskId" AND p."readAt" < m."readAt" ORDER BY p."readAt" DESC LIMIT 1)$$);
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80, 0), alerting.create_rule(1, 'down', 'CONTAINER_DOWN', duration => 0), alerting.create_rule(1, 'memory', 'MEMORY_USAGE', 80, 1);
--@ mapping
"TaskStats" container: "TaskId"
"TaskStats" at: "readAt"
"TaskStats" cpu: (SELECT CASE WHEN (m."cpuUsageTotal" >= p."cpuUsageTotal") THEN ((((((100 * (m."cpuUsageTotal" - p."cpuUsageTotal")))::numeric / '1000000000'::numeric) / (m."onlineCpus")::numeric))::double precision / (EXTRACT(epoch FROM (m."readAt" - p."readAt")))::double precision) ELSE NULL::double precision END AS "case" FROM public."TaskStats" p WHERE ((p."TaskId" = m."TaskId") AND (p."readAt" < m."readAt")) ORDER BY p."readAt" DESC LIMIT 1)
"TaskStats" memory_used: "memUsage"
"TaskStats" memory_limit: "memLimit"
"Tasks" container: id
"Tasks" at: "updatedAt"
"Tasks" running: (m.state = 'running'::public."enum_Tasks_state")
--@ app
-- Of two cores: 95 % over the second minute, what nobody knows when the counter begins anew, 85 %, then 10 %.
INSERT INTO "TaskStats" ("TaskId", "cpuUsageTotal", "onlineCpus", "memUsage", "memLimit", "readAt") VALUES ('t7x1', 500000000000, 2, 90, 100, '2026-03-02 10:00Z');
INSERT INTO "TaskStats" ("TaskId", "cpuUsageTotal", "onlineCpus", "memUsage", "memLimit", "readAt") VALUES ('t7x1', 614000000000, 2, 90, 100, '2026-03-02 10:01Z');
INSERT INTO "TaskStats" ("TaskId", "cpuUsageTotal", "onlineCpus", "memUsage", "memLimit", "readAt") VALUES ('t7x1', 1000000000, 2, 10, 100, '2026-03-02 10:02Z');
INSERT INTO "TaskStats" ("TaskId", "cpuUsageTotal", "onlineCpus", "memUsage", "memLimit", "readAt") VALUES ('t7x1', 103000000000, 2, 10, 100, '2026-03-02 10:03Z');
INSERT INTO "TaskStats" ("TaskId", "cpuUsageTotal", "onlineCpus", "memUsage", "memLimit", "readAt") VALUES ('t7x1', 115000000000, 2, 10, 0, '2026-03-02 10:04Z');
UPDATE "Tasks" SET state = 'failed', "updatedAt" = '2026-03-02 10:04:10Z' WHERE id = 't7x1';
--@ alerts
cpu RESOLVED 10:01:00 10:01:00 10:04:00 RECOVERED
down FIRING 10:04:10 10:04:10
memory RESOLVED 10:00:00 10:01:00 10:02:00 RECOVERED

-- A Node.js service with TypeORM: camelCase, one table that keeps a container's latest reading (upsert, MERGE), and a
-- history filled by COPY. CPU in millicores of a limit, memory as Kubernetes writes it ('512Mi').
--@ schema
CREATE FUNCTION quantity(text) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT substring($1 FROM '^[0-9.]+')::numeric * CASE substring($1 FROM '[A-Za-z]+$') WHEN 'Ki' THEN 1024 WHEN 'Mi' THEN 1048576 WHEN 'Gi' THEN 1073741824 ELSE 1 END $$;
CREATE TABLE organization (id smallserial PRIMARY KEY, name character varying NOT NULL);
CREATE TABLE pod (id character(36) PRIMARY KEY, "organizationId" smallint NOT NULL REFERENCES organization, "podName" character varying NOT NULL);
CREATE TABLE "podLatest" ("podId" character(36) PRIMARY KEY REFERENCES pod ON DELETE CASCADE, "sampledAt" timestamp with time zone NOT NULL, usage jsonb NOT NULL DEFAULT '{}', phase character varying, restarts integer);
CREATE UNLOGGED TABLE "podHistory" ("podId" character(36) NOT NULL, "sampledAt" timestamp with time zone NOT NULL, "cpuMillicores" numeric, "memoryUsage" text, "memoryLimit" text);
CREATE INDEX ON "podHistory" ("podId", "sampledAt");
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app;
INSERT INTO organization (name) VALUES ('Cyberdyne');
INSERT INTO pod VALUES ('00000000-0000-4000-8000-000000000001', 1, 'skynet'), ('short', 1, 'short');
--@ attach
SELECT alerting.attach('organization', 'pod', name => '"podName"');
SELECT alerting.attach_metrics('"podLatest"', max_age => NULL);
SELECT alerting.attach_metrics('"podHistory"', cpu => '"cpuMillicores" / 20', memory_used => 'quantity("memoryUsage")', memory_limit => 'quantity("memoryLimit")', max_age => NULL);
SELECT alerting.create_rule(1, r.name, r.condition, r.threshold, r.duration) FROM (VALUES
  ('cpu', 'CPU_USAGE', 90, 1), ('down', 'CONTAINER_DOWN', NULL, 1), ('loop', 'RESTART_LOOP', NULL, 5), ('memory', 'MEMORY_USAGE', 80, 0)) AS r(name, condition, threshold, duration);
--@ mapping
"podHistory" container: "podId"
"podHistory" at: "sampledAt"
"podHistory" cpu: (m."cpuMillicores" / (20)::numeric)
"podHistory" memory_used: public.quantity(m."memoryUsage")
"podHistory" memory_limit: public.quantity(m."memoryLimit")
"podLatest" container: "podId"
"podLatest" at: "sampledAt"
"podLatest" running: (lower((m.phase)::text) = 'running'::text)
"podLatest" restarts: restarts
--@ app
INSERT INTO "podLatest" VALUES ('00000000-0000-4000-8000-000000000001', '2026-03-02 10:00Z', '{}', 'Running', 1), ('short', '2026-03-02 10:00Z', '{}', 'Running', 0);
INSERT INTO "podLatest" VALUES ('00000000-0000-4000-8000-000000000001', '2026-03-02 10:01Z', '{}', 'CrashLoopBackOff', 3)
  ON CONFLICT ("podId") DO UPDATE SET "sampledAt" = excluded."sampledAt", phase = excluded.phase, restarts = excluded.restarts;
MERGE INTO "podLatest" l USING (VALUES ('00000000-0000-4000-8000-000000000001', '2026-03-02 10:02Z'::timestamptz, 'CrashLoopBackOff', 5), ('short', '2026-03-02 10:02Z', 'Pending', 0)) s(id, at, phase, restarts)
  ON l."podId" = s.id WHEN MATCHED THEN UPDATE SET "sampledAt" = s.at, phase = s.phase, restarts = s.restarts
  WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.at, '{}', s.phase, s.restarts);
COPY "podHistory" ("podId", "sampledAt", "cpuMillicores", "memoryUsage", "memoryLimit") FROM stdin;
00000000-0000-4000-8000-000000000001	2026-03-02 10:00:00+00	1900	900Mi	1Gi
00000000-0000-4000-8000-000000000001	2026-03-02 10:01:00+00	1810	921600Ki	1Gi
short	2026-03-02 10:01:00+00	2000	\N	1Gi
short	2026-03-02 10:02:00+00	1800	1Ki	1Ki
\.
UPDATE "podLatest" SET "sampledAt" = '2026-03-02 10:03Z', phase = 'Running';
--@ alerts
cpu skynet FIRING 10:00:00 10:01:00
down skynet RESOLVED 10:01:00 10:02:00 10:03:00 RECOVERED
loop skynet FIRING 10:02:00 10:02:00
memory short FIRING 10:02:00 10:02:00
memory skynet FIRING 10:00:00 10:00:00

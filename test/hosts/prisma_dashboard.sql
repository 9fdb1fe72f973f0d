-- prisma_dashboard: container dashboard whose tables a TypeScript ORM (Prisma style) created.
--
-- Use:     psql -v part=schema -f prisma_dashboard.sql, CREATE EXTENSION alerting, psql -f prisma_dashboard.attach.sql, psql -v part=data -f prisma_dashboard.sql
--          (part=data sends what the application sends, in its order, one transaction per statement, in well under 5 s)
-- Times are fixed and in the past: max_age => NULL, and silence of a container means nothing: no_data 'keep'.
--
-- Where things are
--   organizations   "Organization" (id text, uuid as text made by the client)
--   containers      "Container" (id text); its organization is reached through the host:
--                   "Container"."hostId" -> "Host"."id", "Host"."organizationId" -> "Organization"."id"
--   metrics         "ContainerMetric", one wide row per sample, one multi-row INSERT ... ON CONFLICT DO NOTHING per minute
--   quirks          all names need quotes; ids and "updatedAt" have no database default; every timestamp is
--                   timestamp(3) WITHOUT time zone and means UTC; the agent sends metrics of RUNNING containers only;
--                   state and restart count live on "Container", and the inventory sync (every 2 minutes) rewrites
--                   every container's row, "updatedAt" included, whether or not something changed;
--                   a container that `compose up` recreates is DELETEd (its metrics go by cascade) and INSERTed with a new id
-- Mapping
--   container       "ContainerMetric"."containerId"
--   time            "ContainerMetric"."timestamp" AT TIME ZONE 'UTC'
--   cpu percent     "cpuPercent" (100 = one core, may exceed 100)
--   memory percent  100.0 * "memoryBytes" / "Host"."memoryTotalBytes" (the host's memory; there is no per-container limit)
--   running         "Container"."state" = 'running' (not in the metrics)
--   restart count   "Container"."restartCount" (not in the metrics)
--
-- Conventions of the expected alerts
--   CPU_USAGE / MEMORY_USAGE: a sample breaches when strictly above the threshold. An alert fires on the first breaching
--   sample at least `duration` minutes after the first sample of its unbroken breaching run; started_at = that first sample
--   (fires = the sample it fires on); resolved_at = the first later sample that does not breach.
--   CONTAINER_DOWN: the same over what the inventory sync says of "state" (threshold unused).
--
-- Expected alerts (UTC, 2026-03-02). Rules:
--   R1 acme   CPU_USAGE      threshold 80 duration 5
--   R2 acme   MEMORY_USAGE   threshold 90 duration 3
--   R3 globex CONTAINER_DOWN               duration 2
--   rule  container                  status    started_at  (fires)    resolved_at
--   R1    api                        RESOLVED  10:10:00    (10:15:00) 10:18:00
--   R1    api                        RESOLVED  10:40:00    (10:45:00) 10:48:00   second incident of the same pair
--   R1    queue (first id, ...0101)  FIRING    10:30:00    (10:35:00) -          its container is deleted at 10:38:00 while the
--                                    alert fires: receivers must get one end event for it (10:38:00), nothing may stay firing
--   R1    queue (second id, ...0102) FIRING    10:38:00    (10:43:00) -          still firing at the end
--   R2    db                         FIRING    10:25:00    (10:28:00) -          still firing at the end
--   R3    cron                       RESOLVED  10:30:00    (10:32:00) 10:42:00   visible only as UPDATEs of "Container"
--   nothing else: worker is above 80 for 3 minutes only, then at exactly 80; web (globex) is at 140 but R1 is acme's.
\set QUIET on
\if :{?part}
\else
  \set part all
\endif
SELECT :'part' IN ('all', 'schema') AS do_schema, :'part' IN ('all', 'data') AS do_data \gset
\if :do_schema
CREATE TYPE "HostStatus" AS ENUM ('ONLINE', 'OFFLINE');
CREATE TABLE "Organization" (
  "id" TEXT NOT NULL, "name" TEXT NOT NULL, "slug" TEXT NOT NULL,
  "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL,
  CONSTRAINT "Organization_pkey" PRIMARY KEY ("id"));
CREATE UNIQUE INDEX "Organization_slug_key" ON "Organization"("slug");
CREATE TABLE "Host" (
  "id" TEXT NOT NULL, "organizationId" TEXT NOT NULL, "name" TEXT NOT NULL, "cpuCount" INTEGER, "memoryTotalBytes" BIGINT,
  "status" "HostStatus" NOT NULL DEFAULT 'OFFLINE', "lastSeen" TIMESTAMP(3), "updatedAt" TIMESTAMP(3) NOT NULL,
  CONSTRAINT "Host_pkey" PRIMARY KEY ("id"));
ALTER TABLE "Host" ADD CONSTRAINT "Host_organizationId_fkey" FOREIGN KEY ("organizationId")
  REFERENCES "Organization"("id") ON DELETE CASCADE ON UPDATE CASCADE;
CREATE TABLE "Container" (
  "id" TEXT NOT NULL, "dockerId" TEXT NOT NULL, "hostId" TEXT NOT NULL, "name" TEXT NOT NULL, "image" TEXT NOT NULL,
  "state" TEXT NOT NULL, "status" TEXT NOT NULL, "restartCount" INTEGER NOT NULL DEFAULT 0, "labels" JSONB NOT NULL DEFAULT '{}',
  "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL,
  CONSTRAINT "Container_pkey" PRIMARY KEY ("id"));
CREATE UNIQUE INDEX "Container_hostId_dockerId_key" ON "Container"("hostId", "dockerId");
ALTER TABLE "Container" ADD CONSTRAINT "Container_hostId_fkey" FOREIGN KEY ("hostId")
  REFERENCES "Host"("id") ON DELETE CASCADE ON UPDATE CASCADE;
CREATE TABLE "ContainerMetric" (
  "id" TEXT NOT NULL, "containerId" TEXT NOT NULL, "timestamp" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "cpuPercent" DOUBLE PRECISION NOT NULL, "memoryBytes" BIGINT NOT NULL, "netRxBytes" BIGINT NOT NULL, "netTxBytes" BIGINT NOT NULL,
  CONSTRAINT "ContainerMetric_pkey" PRIMARY KEY ("id"));
CREATE INDEX "ContainerMetric_containerId_timestamp_idx" ON "ContainerMetric"("containerId", "timestamp" DESC);
ALTER TABLE "ContainerMetric" ADD CONSTRAINT "ContainerMetric_containerId_fkey" FOREIGN KEY ("containerId")
  REFERENCES "Container"("id") ON DELETE CASCADE ON UPDATE CASCADE;
CREATE TABLE "_prisma_migrations" (id VARCHAR(36) PRIMARY KEY, migration_name VARCHAR(255) NOT NULL, finished_at TIMESTAMPTZ);

INSERT INTO "Organization"("id", "name", "slug", "updatedAt") VALUES
  ('7c0c2a52-0c4e-4a60-9d55-000000000001', 'Acme "Ops" GmbH', 'acme', '2026-03-01 09:00'),
  ('7c0c2a52-0c4e-4a60-9d55-000000000002', 'Globex Ünïon', 'globex', '2026-03-01 09:00');
INSERT INTO "Host"("id", "organizationId", "name", "cpuCount", "memoryTotalBytes", "status", "updatedAt") VALUES
  ('1f9d3b0e-6a1d-4a5e-8a41-00000000000a', '7c0c2a52-0c4e-4a60-9d55-000000000001', 'ams-1', 4, 8589934592, 'ONLINE', '2026-03-02 09:59'),
  ('1f9d3b0e-6a1d-4a5e-8a41-00000000000b', '7c0c2a52-0c4e-4a60-9d55-000000000001', 'ams-2', 8, 17179869184, 'ONLINE', '2026-03-02 09:59'),
  ('1f9d3b0e-6a1d-4a5e-8a41-00000000000c', '7c0c2a52-0c4e-4a60-9d55-000000000002', 'fra-1', 4, 8589934592, 'ONLINE', '2026-03-02 09:59');
INSERT INTO "Container"("id", "dockerId", "hostId", "name", "image", "state", "status", "updatedAt") VALUES
  ('c0ffee00-0000-4000-8000-000000000001', '3f1aa0c1', '1f9d3b0e-6a1d-4a5e-8a41-00000000000a', 'api', 'acme/api:12', 'running', 'Up 2 days', '2026-03-02 09:58'),
  ('c0ffee00-0000-4000-8000-000000000002', '3f1aa0c2', '1f9d3b0e-6a1d-4a5e-8a41-00000000000a', 'worker', 'acme/worker:12', 'running', 'Up 2 days', '2026-03-02 09:58'),
  ('c0ffee00-0000-4000-8000-000000000003', '3f1aa0c3', '1f9d3b0e-6a1d-4a5e-8a41-00000000000b', 'db', 'postgres:15', 'running', 'Up 9 days', '2026-03-02 09:58'),
  ('c0ffee00-0000-4000-8000-000000000101', '3f1aa0c4', '1f9d3b0e-6a1d-4a5e-8a41-00000000000b', 'queue', 'acme/queue:11', 'running', 'Up 9 days', '2026-03-02 09:58'),
  ('c0ffee00-0000-4000-8000-000000000004', '3f1aa0c5', '1f9d3b0e-6a1d-4a5e-8a41-00000000000c', 'web', 'globex/web:3', 'running', 'Up 4 hours', '2026-03-02 09:58'),
  ('c0ffee00-0000-4000-8000-000000000005', '3f1aa0c6', '1f9d3b0e-6a1d-4a5e-8a41-00000000000c', 'cron', 'globex/cron:3', 'running', 'Up 4 hours', '2026-03-02 09:58');
\endif
\if :do_data
WITH tick AS (SELECT g, timestamp '2026-03-02 10:00' + g * interval '1 minute' AS at FROM generate_series(0, 59) g),
c(id, name, lo, hi) AS (VALUES
  ('c0ffee00-0000-4000-8000-000000000001', 'api', 0, 59), ('c0ffee00-0000-4000-8000-000000000002', 'worker', 0, 59),
  ('c0ffee00-0000-4000-8000-000000000003', 'db', 0, 59), ('c0ffee00-0000-4000-8000-000000000101', 'queue', 0, 37),
  ('c0ffee00-0000-4000-8000-000000000102', 'queue', 38, 59), ('c0ffee00-0000-4000-8000-000000000004', 'web', 0, 59),
  ('c0ffee00-0000-4000-8000-000000000005', 'cron', 0, 59)),
s AS (
  SELECT g, at, id, name,
         CASE WHEN name = 'api' AND (g BETWEEN 10 AND 17 OR g BETWEEN 40 AND 47) THEN 95.25 + g % 3
              WHEN name = 'worker' AND g BETWEEN 20 AND 23 THEN 96.5
              WHEN name = 'worker' AND g BETWEEN 30 AND 45 THEN 80
              WHEN name = 'queue' AND g >= 30 THEN 97
              WHEN name = 'web' AND g BETWEEN 5 AND 12 THEN 140
              ELSE 12.5 + (g * 7) % 11 END AS cpu,
         CASE WHEN name = 'db' AND g >= 25 THEN 15977278341 + g * 1024
              WHEN name = 'db' THEN 9663676416
              ELSE 734003200 + g * 4096 END AS mem
    FROM tick CROSS JOIN c WHERE g BETWEEN lo AND hi AND NOT (name = 'cron' AND g BETWEEN 30 AND 41)),
script AS (
  SELECT at, 2 AS ord, format(
           'INSERT INTO "ContainerMetric"("id","containerId","timestamp","cpuPercent","memoryBytes","netRxBytes","netTxBytes") VALUES %s ON CONFLICT DO NOTHING',
           string_agg(format('(%L,%L,%L,%s,%s,%s,%s)', 'c' || substr(md5(id || g), 1, 24), id, at, cpu, mem, g * 1500, g * 900), ',' ORDER BY id)) AS stmt
    FROM s GROUP BY at
  UNION ALL   -- the inventory sync: every row rewritten, changed or not
  SELECT at, 1, format(
           'UPDATE "Container" SET "state" = CASE WHEN "name" = ''cron'' AND %s THEN ''exited'' ELSE ''running'' END, '
           '"status" = CASE WHEN "name" = ''cron'' AND %s THEN ''Exited (137) some minutes ago'' ELSE ''Up'' END, "updatedAt" = %L',
           (g BETWEEN 30 AND 41)::text, (g BETWEEN 30 AND 41)::text, at)
    FROM tick WHERE g % 2 = 0
  UNION ALL   -- compose up recreates queue
  SELECT at, 0, 'BEGIN; DELETE FROM "Container" WHERE "dockerId" = ''3f1aa0c4''; '
           'INSERT INTO "Container"("id","dockerId","hostId","name","image","state","status","updatedAt") VALUES '
           '(''c0ffee00-0000-4000-8000-000000000102'', ''3f1aa0d4'', ''1f9d3b0e-6a1d-4a5e-8a41-00000000000b'', ''queue'', ''acme/queue:12'', ''running'', ''Up'', ''2026-03-02 10:38''); COMMIT'
    FROM tick WHERE g = 38)
SELECT stmt FROM script ORDER BY at, ord \gexec
\endif

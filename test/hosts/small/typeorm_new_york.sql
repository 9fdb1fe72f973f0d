-- TypeORM over a database that lives in New York and writes naive times of there, also over the night when clocks are set forward;
-- its migrations make an enum anew under its old name, drop a column to give it another type, and widen another one while samples flow.
--@ schema
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''America/New_York''', current_database()); END $$;
CREATE EXTENSION "uuid-ossp";
CREATE TYPE "container_status_enum" AS ENUM ('created', 'running', 'exited');
CREATE TABLE "organization" ("id" uuid NOT NULL DEFAULT uuid_generate_v4(), "name" character varying(120) NOT NULL, "createdAt" TIMESTAMP NOT NULL DEFAULT now(), CONSTRAINT "PK_472c1f99" PRIMARY KEY ("id"));
CREATE TABLE "container" ("id" uuid NOT NULL DEFAULT uuid_generate_v4(), "name" character varying NOT NULL, "organizationId" uuid, "deletedAt" TIMESTAMP, CONSTRAINT "PK_74656f79" PRIMARY KEY ("id"),
  CONSTRAINT "FK_a1" FOREIGN KEY ("organizationId") REFERENCES "organization" ("id") ON DELETE CASCADE);
CREATE TABLE "container_metric" ("id" uuid NOT NULL DEFAULT uuid_generate_v4(), "cpuPercent" double precision NOT NULL, "memoryUsage" integer, "memoryLimit" integer, "status" "container_status_enum" NOT NULL DEFAULT 'created',
  "createdAt" TIMESTAMP NOT NULL DEFAULT now(), "containerId" uuid, CONSTRAINT "PK_98f1" PRIMARY KEY ("id"), CONSTRAINT "FK_b2" FOREIGN KEY ("containerId") REFERENCES "container" ("id") ON DELETE CASCADE);
CREATE INDEX "IDX_c3" ON "container_metric" ("containerId", "createdAt");
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO app;
INSERT INTO "organization" ("id", "name") VALUES ('00000000-0000-4000-8000-0000000000a1', 'Stark');
INSERT INTO "container" ("id", "name", "organizationId") VALUES ('00000000-0000-4000-8000-000000000001', 'web', '00000000-0000-4000-8000-0000000000a1'), ('00000000-0000-4000-8000-000000000002', 'db', '00000000-0000-4000-8000-0000000000a1');
--@ attach
SELECT alerting.attach('organization', 'container', organization => 'CASE WHEN "deletedAt" IS NULL THEN "organizationId" END');
SELECT alerting.attach_metrics('container_metric', max_age => NULL, time_zone => 'America/New_York');
SELECT alerting.create_rule('00000000-0000-4000-8000-0000000000a1'::uuid, r.name, r.condition, r.threshold, r.duration) FROM (VALUES
  ('cpu', 'CPU_USAGE', 80, 2), ('down', 'CONTAINER_DOWN', NULL, 0), ('memory', 'MEMORY_USAGE', 80, 0)) AS r(name, condition, threshold, duration);
--@ mapping
container_metric container: "containerId"
container_metric at: "createdAt"
container_metric cpu: "cpuPercent"
container_metric memory_used: "memoryUsage"
container_metric memory_limit: "memoryLimit"
container_metric running: (m.status = 'running'::public.container_status_enum)
--@ app
-- 01:59 is 06:59 UTC, and the minute after that is 03:00.
INSERT INTO "container_metric" ("id", "cpuPercent", "memoryUsage", "memoryLimit", "status", "createdAt", "containerId") VALUES
  (DEFAULT, 90, 81, 100, 'running', '2026-03-08 01:58:00', '00000000-0000-4000-8000-000000000001'), (DEFAULT, 5, NULL, NULL, 'running', '2026-03-08 01:58:00', '00000000-0000-4000-8000-000000000002') RETURNING "id", "createdAt";
INSERT INTO "container_metric" ("id", "cpuPercent", "memoryUsage", "memoryLimit", "status", "createdAt", "containerId") VALUES
  (DEFAULT, 90, 80, 100, 'running', '2026-03-08 01:59:00', '00000000-0000-4000-8000-000000000001') RETURNING "id", "createdAt";
--@ admin
BEGIN;
ALTER TYPE "container_status_enum" RENAME TO "container_status_enum_old";
CREATE TYPE "container_status_enum" AS ENUM ('created', 'paused', 'running', 'exited');
ALTER TABLE "container_metric" ALTER COLUMN "status" DROP DEFAULT;
ALTER TABLE "container_metric" ALTER COLUMN "status" TYPE "container_status_enum" USING "status"::"text"::"container_status_enum";
ALTER TABLE "container_metric" ALTER COLUMN "status" SET DEFAULT 'created';
DROP TYPE "container_status_enum_old";
ALTER TABLE "container_metric" DROP COLUMN "memoryUsage";
ALTER TABLE "container_metric" ADD "memoryUsage" bigint;
ALTER TABLE "container_metric" ALTER COLUMN "memoryLimit" TYPE bigint;
ALTER TABLE "container" ADD "region" character varying;
ALTER TABLE "container" ALTER COLUMN "name" TYPE text;
COMMIT;
--@ app
INSERT INTO "container_metric" ("id", "cpuPercent", "memoryUsage", "memoryLimit", "status", "createdAt", "containerId") VALUES
  (DEFAULT, 90, 8100000000, 10000000000, 'running', '2026-03-08 03:00:00', '00000000-0000-4000-8000-000000000001'), (DEFAULT, 5, 1, 10, 'paused', '2026-03-08 03:00:00', '00000000-0000-4000-8000-000000000002') RETURNING "id", "createdAt";
--@ app
-- Once that it is down has been judged: a row of a container that has left is nobody's.
UPDATE "container" SET "deletedAt" = now() WHERE "id" = '00000000-0000-4000-8000-000000000002';
INSERT INTO "container_metric" ("id", "cpuPercent", "memoryUsage", "memoryLimit", "status", "createdAt", "containerId") VALUES
  (DEFAULT, 9, 1, 10000000000, 'exited', '2026-03-08 03:01:00', '00000000-0000-4000-8000-000000000001') RETURNING "id", "createdAt";
--@ alerts
cpu web RESOLVED 06:58:00 07:00:00 07:01:00 RECOVERED
down db RESOLVED 07:00:00 07:00:00 CONTAINER_MOVED
down web FIRING 07:01:00 07:01:00
memory web RESOLVED 06:58:00 06:58:00 06:59:00 RECOVERED
memory web RESOLVED 07:00:00 07:00:00 07:01:00 RECOVERED

-- attach, attach_metrics and their undoing: columns, expressions, guesses, repetition.
\set SHOW_CONTEXT never
CREATE EXTENSION alerting;
CREATE SCHEMA app;
SET search_path = app;
CREATE TABLE "Organization" (id text PRIMARY KEY, name text);
CREATE TABLE "Host" (id text PRIMARY KEY, "organizationId" text NOT NULL REFERENCES "Organization", "memoryTotalBytes" bigint);
CREATE TABLE "Container" (id text PRIMARY KEY, "hostId" text NOT NULL REFERENCES "Host", name text, state text, "restartCount" int, labels json, "updatedAt" timestamp(3));
CREATE TABLE "ContainerMetric" ("containerId" text NOT NULL REFERENCES "Container" ON DELETE CASCADE, "timestamp" timestamp(3) NOT NULL,
  "cpuPercent" float8, "memoryUsage" bigint, "memoryLimit" bigint, payload jsonb, ts bigint, PRIMARY KEY ("containerId", "timestamp"));

SELECT alerting.attach(organizations => '"Organization"', containers => '"Container"',
       organization => '(SELECT h."organizationId" FROM "Host" h WHERE h.id = c."hostId")');
-- Names are resolved now, so that they mean the same under any search_path.
SELECT organization, organization_is_column FROM alerting.host_binding;
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = '"Container"'::regclass AND NOT tgisinternal ORDER BY 1;
-- Again: the same, something else, and the same as before by default.
SELECT alerting.attach(organizations => '"Organization"', containers => '"Container"',
       organization => '(SELECT h."organizationId" FROM "Host" h WHERE h.id = c."hostId")');
SELECT alerting.attach('"Organization"', '"Container"');
SELECT alerting.attach('"Organization"', '"Container"', organization => '"hostId"', name => 'state');
SELECT alerting.attach('"Organization"', '"Container"', organization => 'hostId');
SELECT alerting.attach('"Organization"', '"Container"', organization => 'c."hostId"');
-- A trigger that somebody dropped comes back.
DROP TRIGGER alerting_container_updated ON "Container";
SELECT alerting.attach('"Organization"', '"Container"', organization => 'hostId');
-- A type without equality in the expression.
SELECT alerting.attach('"Organization"', '"Container"', organization => 'labels ->> ''org''');
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'alerting_container_updated';

SELECT alerting.attach_metrics('"ContainerMetric"', container => '"containerId"', at => '"timestamp"',
       cpu => '"cpuPercent"', memory => '100.0 * "memoryUsage" / nullif("memoryLimit", 0)');
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = '"ContainerMetric"'::regclass AND tgname LIKE 'alerting%' ORDER BY 1;
SELECT alerting.attach_metrics('"ContainerMetric"', container => 'containerId', at => 'timestamp',
       cpu => 'm."cpuPercent"', memory => '100.0 * "memoryUsage" / nullif("memoryLimit", 0)');
-- NULL is a value of max_age; what is left out is guessed; '' is not.
SELECT alerting.attach_metrics('"ContainerMetric"', max_age => NULL, stale_after => '2 minutes', time_zone => 'Europe/Berlin');
SELECT alerting.attach_metrics('"ContainerMetric"', memory_used => '', max_age => NULL, stale_after => '2 minutes', time_zone => 'Europe/Berlin');
-- A table updated in place, which is the containers table at the same time.
SELECT alerting.attach_metrics('"Container"', container => 'id', at => '"updatedAt"',
       running => 'state = ''running''', restarts => '"restartCount"');
SELECT alerting.attach_metrics('"Container"');
-- Numbers as time, JSON, lookups, comments, row triggers.
SELECT alerting.attach_metrics('"ContainerMetric"', at => 'ts', at_unit => 'ms', cpu => '(payload ->> ''cpu'')::float8 -- percent',
       memory_used => 'payload -> ''mem''', memory_limit => '(SELECT h."memoryTotalBytes" FROM "Host" h JOIN "Container" k ON k."hostId" = h.id WHERE k.id = m."containerId")',
       level => 'row');
SELECT tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = '"ContainerMetric"'::regclass AND tgname LIKE 'alerting%' ORDER BY 1;

-- Partitioned: row triggers, on the partitions of today and of tomorrow.
CREATE TABLE samples (container_id text, at timestamptz, cpu numeric, up boolean, restarts bigint) PARTITION BY RANGE (at);
CREATE TABLE samples_1 PARTITION OF samples FOR VALUES FROM ('2026-03-01') TO ('2026-03-02');
SELECT alerting.attach_metrics('samples');
CREATE TABLE samples_2 PARTITION OF samples FOR VALUES FROM ('2026-03-02') TO ('2026-03-03');
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgname LIKE 'alerting_capture%' AND tgrelid::regclass::text LIKE 'samples%' ORDER BY 1;
INSERT INTO samples VALUES ('c1', '2026-03-01 12:00Z', 5, true, 0), ('c1', '2026-03-02 12:00Z', 5, true, 0);
SELECT alerting.detach_metrics('samples');
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'alerting_capture%' AND tgrelid::regclass::text LIKE 'samples%';

-- Other key types; a unique column serves where there is no primary key.
RESET search_path;
SELECT alerting.detach();
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgrelid::regclass::text NOT LIKE 'alerting.%' AND NOT tgisinternal;
CREATE TABLE tenants (tenant smallint NOT NULL UNIQUE, title text);
CREATE TABLE boxes (box char(8) PRIMARY KEY, tenant smallint REFERENCES tenants (tenant), display_name varchar(40));
CREATE TABLE readings (box char(8), recorded_at timestamptz, is_running boolean, mem_used bigint, mem_limit bigint);
CREATE INDEX ON readings (box, recorded_at);
SELECT alerting.attach('tenants', 'boxes');
SELECT alerting.attach_metrics('readings', container => 'box');
SELECT a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
 WHERE (a.attrelid, a.attname) IN (('alerting.alert_rule'::regclass, 'organization_id'), ('alerting.webhook'::regclass, 'organization_id'), ('alerting.alert'::regclass, 'container_id'))
 ORDER BY 1, 2;
-- Rules that would be lost keep the binding where it is.
INSERT INTO tenants VALUES (1, 'one');
SELECT alerting.create_rule(1, 'down', 'CONTAINER_DOWN') <> '' AS made;
SELECT alerting.attach('app."Organization"', 'app."Container"', organization => 'hostId');
SELECT organizations, containers FROM alerting.host_binding;
-- A wider key is followed.
SELECT alerting.detach();
ALTER TABLE tenants ALTER COLUMN tenant TYPE bigint;
SELECT alerting.attach('tenants', 'boxes');
SELECT organization_id, name, pg_typeof(organization_id) FROM alerting.alert_rule;
-- A metrics table that is gone.
SELECT alerting.attach_metrics('readings', container => 'box');
DROP TABLE readings;
SELECT alerting.attach('tenants', 'boxes');
SELECT alerting.detach_metrics(metrics) LIKE 'detached metrics %' AS detached FROM alerting.metric_source;
-- A copy of the database says so, loudly.
UPDATE alerting.host_binding SET alert_oid = 1;
SELECT alerting.attach('tenants', 'boxes');

-- Keys of a domain: our columns have the type beneath, whose checks are nobody's code.
SELECT alerting.detach();
DELETE FROM alerting.alert_rule;
CREATE DOMAIN slug AS varchar(20) CHECK (VALUE ~ '^[a-z]+$');
CREATE DOMAIN tenant_slug AS slug;
CREATE TABLE slug_tenants (slug tenant_slug PRIMARY KEY);
CREATE TABLE slug_boxes (id uuid PRIMARY KEY, tenant slug REFERENCES slug_tenants);
CREATE TABLE slug_readings (id bigserial PRIMARY KEY, box text, at date, cpu real);
SELECT alerting.attach('slug_tenants', 'slug_boxes');
SELECT a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
 WHERE (a.attrelid, a.attname) IN (('alerting.alert_rule'::regclass, 'organization_id'), ('alerting.webhook'::regclass, 'organization_id'), ('alerting.alert'::regclass, 'container_id'))
 ORDER BY 1, 2;
SELECT alerting.attach_metrics('slug_readings', container => 'box::uuid', at => 'at');

-- The host's tables go and come again: the binding follows by another attach.
SET client_min_messages = warning;
DROP TABLE slug_tenants, slug_boxes CASCADE;
RESET client_min_messages;
SELECT alerting.attach('tenants', 'boxes');
SELECT alerting.repair();

SET client_min_messages = warning;
DROP EXTENSION alerting CASCADE;
DROP SCHEMA alerting, app CASCADE;
DROP TABLE boxes, tenants, slug_readings;
DROP DOMAIN tenant_slug, slug;

-- rails_jsonb: platform with ActiveRecord tables, one JSONB document per service and sample.
--
-- Use:     psql -v part=schema -f rails_jsonb.sql, CREATE EXTENSION alerting, psql -f rails_jsonb.attach.sql, psql -v part=data -f rails_jsonb.sql
-- Times are fixed and in the past: max_age => NULL, and silence of a container means nothing: no_data 'keep'.
--
-- Where things are
--   organizations   accounts (id bigint)
--   containers      services (id bigint); organization through the cluster: services.cluster_id -> clusters.account_id
--   metrics         metrics (id bigint, service_id, metadata jsonb), one multi-row INSERT per tick of 30 s (insert_all)
--   quirks          the sample's time is metadata->>'sampled_at' (ISO 8601, Z); created_at (timestamp(6) without time zone, UTC)
--                   is when it was stored, up to 40 s later. Some documents are heartbeats without figures ({}), some figures
--                   are null or come as strings, a limit may be null, 0 or absent.
-- Mapping
--   container       metrics.service_id
--   time            (metadata->>'sampled_at')::timestamptz
--   cpu percent     100.0 * metadata->'cpu'->>'usage_millicores' / metadata->'cpu'->>'limit_millicores'
--   memory percent  100.0 * metadata->'memory'->>'usage_bytes' / metadata->'memory'->>'limit_bytes'
--   running         metadata->>'phase' = 'Running'     (CrashLoopBackOff, Error, ... = not running)
--   restart count   metadata->>'restarts' (counter; starts again from 0 when the pod is replaced)
--
-- Conventions of the expected alerts
--   No figure, no usable limit (null, 0, absent) or a figure that is no finite number: no reading; it starts, extends, breaks
--   and resolves nothing, and never makes the INSERT fail.
--   CPU_USAGE / MEMORY_USAGE breach strictly above the threshold; CONTAINER_DOWN breaches when not running. An alert fires on
--   the first breaching sample at least `duration` minutes after the first one of its unbroken run; started_at = that first
--   sample; resolved_at = the first later reading that does not breach.
--   RESTART_LOOP breaches when the restarts gained in (t - duration, t] are more than the threshold, a fall of the counter
--   being a reset (the gain is then the new value); it fires at once, started_at = that sample.
--
-- Expected alerts (UTC, 2026-03-03). Rules of account 1 (Initech):
--   R1 RESTART_LOOP   threshold 3  duration 10
--   R2 CONTAINER_DOWN              duration 3
--   R3 MEMORY_USAGE   threshold 90 duration 5
--   rule  container  status    started_at  (fires)    resolved_at
--   R1    web        RESOLVED  08:11:00    (08:11:00) 08:21:00   the counter's reset at 08:20:00 does not end it
--   R2    web        RESOLVED  08:10:30    (08:13:30) 08:15:00
--   R3    sidekiq    RESOLVED  08:05:00    (08:10:00) 08:16:30   four heartbeats without figures lie inside the run
--   nothing else: clockwork has no usable limit; blog (account 2) is down all the time, but no rule of account 2 exists.
\set QUIET on
\if :{?part}
\else
  \set part all
\endif
SELECT :'part' IN ('all', 'schema') AS do_schema, :'part' IN ('all', 'data') AS do_data \gset
\if :do_schema
CREATE TABLE schema_migrations (version character varying NOT NULL PRIMARY KEY);
CREATE TABLE accounts (
  id bigserial PRIMARY KEY, name character varying NOT NULL, slug character varying NOT NULL,
  created_at timestamp(6) without time zone NOT NULL, updated_at timestamp(6) without time zone NOT NULL);
CREATE UNIQUE INDEX index_accounts_on_slug ON accounts (slug);
CREATE TABLE clusters (
  id bigserial PRIMARY KEY, account_id bigint NOT NULL CONSTRAINT fk_rails_clusters_account REFERENCES accounts (id),
  name character varying NOT NULL, status integer DEFAULT 0 NOT NULL, options jsonb DEFAULT '{}' NOT NULL,
  created_at timestamp(6) without time zone NOT NULL, updated_at timestamp(6) without time zone NOT NULL);
CREATE INDEX index_clusters_on_account_id ON clusters (account_id);
CREATE TABLE services (
  id bigserial PRIMARY KEY, cluster_id bigint NOT NULL CONSTRAINT fk_rails_services_cluster REFERENCES clusters (id),
  name character varying NOT NULL, service_type integer DEFAULT 0 NOT NULL, status integer DEFAULT 0, replicas integer DEFAULT 1,
  created_at timestamp(6) without time zone NOT NULL, updated_at timestamp(6) without time zone NOT NULL);
CREATE INDEX index_services_on_cluster_id ON services (cluster_id);
CREATE TABLE metrics (
  id bigserial PRIMARY KEY, service_id bigint NOT NULL CONSTRAINT fk_rails_metrics_service REFERENCES services (id),
  metadata jsonb DEFAULT '{}' NOT NULL, tags character varying[] DEFAULT '{}' NOT NULL,
  created_at timestamp(6) without time zone NOT NULL, updated_at timestamp(6) without time zone NOT NULL);
CREATE INDEX index_metrics_on_service_id_and_created_at ON metrics (service_id, created_at);

INSERT INTO accounts (id, name, slug, created_at, updated_at) VALUES (1, 'Initech', 'initech', '2026-01-01', '2026-01-01'), (2, 'Hooli', 'hooli', '2026-01-01', '2026-01-01');
INSERT INTO clusters (id, account_id, name, created_at, updated_at) VALUES (11, 1, 'prod', '2026-01-01', '2026-01-01'), (12, 2, 'prod', '2026-01-01', '2026-01-01');
INSERT INTO services (id, cluster_id, name, created_at, updated_at) VALUES
  (101, 11, 'web', '2026-01-01', '2026-01-01'), (102, 11, 'sidekiq', '2026-01-01', '2026-01-01'),
  (103, 11, 'clockwork', '2026-01-01', '2026-01-01'), (201, 12, 'blog', '2026-01-01', '2026-01-01');
SELECT setval('accounts_id_seq', 2), setval('clusters_id_seq', 12), setval('services_id_seq', 201) \g (format=unaligned tuples_only=on) /dev/null
\endif
\if :do_data
WITH tick AS (SELECT g, timestamptz '2026-03-03 08:00:00Z' + g * interval '30 seconds' AS at FROM generate_series(0, 80) g),
doc AS (
  SELECT g, at, 101 AS service_id, jsonb_build_object('sampled_at', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           'cpu', jsonb_build_object('usage_millicores', 180 + g % 40, 'limit_millicores', 1000),
           'memory', jsonb_build_object('usage_bytes', 268435456, 'limit_bytes', 536870912),
           'phase', CASE WHEN g BETWEEN 21 AND 29 THEN 'CrashLoopBackOff' ELSE 'Running' END,
           'restarts', CASE WHEN g < 21 THEN 7 WHEN g = 21 THEN 9 WHEN g = 22 THEN 11 WHEN g < 40 THEN 13 ELSE 0 END) AS body FROM tick
  UNION ALL
  SELECT g, at, 102, CASE WHEN g BETWEEN 16 AND 19 THEN jsonb_build_object('sampled_at', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
         ELSE jsonb_build_object('sampled_at', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           'cpu', jsonb_build_object('usage_millicores', CASE WHEN g % 9 = 0 THEN 'null'::jsonb ELSE '350'::jsonb END, 'limit_millicores', 1000),
           'memory', jsonb_build_object('usage_bytes', to_jsonb(CASE WHEN g BETWEEN 10 AND 32 THEN 988000000 + g * 1000 ELSE 300000000 END), 'limit_bytes', 1073741824),
           'phase', 'Running', 'restarts', 2) END FROM tick
  UNION ALL   -- no usable limit; numbers as strings; "NaN"
  SELECT g, at, 103, jsonb_build_object('sampled_at', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           'cpu', jsonb_build_object('usage_millicores', CASE g % 3 WHEN 0 THEN '"NaN"'::jsonb WHEN 1 THEN '"940"'::jsonb ELSE '940'::jsonb END),
           'memory', CASE g % 3 WHEN 0 THEN jsonb_build_object('usage_bytes', 7e9, 'limit_bytes', 0) WHEN 1 THEN jsonb_build_object('usage_bytes', 7e9, 'limit_bytes', NULL)
                                ELSE jsonb_build_object('usage_bytes', 7e9) END,
           'phase', 'Running', 'restarts', to_jsonb((g / 60)::text)) FROM tick
  UNION ALL
  SELECT g, at, 201, jsonb_build_object('sampled_at', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'phase', 'Error', 'restarts', g * 3) FROM tick)
SELECT format('INSERT INTO metrics (service_id, metadata, tags, created_at, updated_at) VALUES %s',
              string_agg(format('(%s, %L, %L, %L, %L)', service_id, body, '{namespace:prod}', c, c), ', ' ORDER BY service_id))
  FROM doc, LATERAL (SELECT (at AT TIME ZONE 'UTC') + (3 + g % 38) * interval '1 second' AS c) x GROUP BY g ORDER BY g \gexec
\endif

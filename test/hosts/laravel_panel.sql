-- laravel_panel: server panel with Laravel tables whose naive timestamps are UTC, read and written by sessions in Europe/Berlin,
-- across the night daylight saving time begins (2026-03-29, 02:00 -> 03:00 local time, 01:00 UTC).
--
-- Use:     psql -v part=schema -f laravel_panel.sql, CREATE EXTENSION alerting, psql -f laravel_panel.attach.sql, psql -v part=data -f laravel_panel.sql
-- Times are fixed and in the past: max_age => NULL, and silence of a container means nothing: no_data 'keep'.
--
-- Where things are
--   organizations   teams (id bigint)
--   containers      docker_containers (id bigint); organization through the server: docker_containers.server_id -> servers.team_id
--   metrics         container_stats (id bigint), one row per sample, single-row INSERTs, now and then an upsert
--                   (ON CONFLICT (docker_container_id, recorded_at) DO UPDATE) that corrects the sample just sent
--   quirks          recorded_at is timestamp(0) WITHOUT time zone and means UTC, while the session's TimeZone is Europe/Berlin;
--                   read as local time, 02:00-02:59 does not exist and 03:00 falls on the instant of 02:00
-- Mapping
--   container       docker_container_id
--   time            recorded_at AT TIME ZONE 'UTC'
--   cpu percent     cpu_percentage (numeric(5,2), 100 = one core)
--   memory percent  memory_percentage (numeric(5,2))
--   running         state = 'running'
--   restart count   restarts
--
-- Conventions of the expected alerts
--   CPU_USAGE / MEMORY_USAGE breach strictly above the threshold, CONTAINER_DOWN when not running. An alert fires on the first
--   breaching sample at least `duration` minutes after the first one of its unbroken run; started_at = that first sample;
--   resolved_at = the first later sample that does not breach. An upsert that corrects a sample replaces it.
--
-- Expected alerts (UTC, 2026-03-29). Rules of team Cyberdyne:
--   R1 CPU_USAGE      threshold 90 duration 15
--   R2 MEMORY_USAGE   threshold 90 duration 5
--   R3 CONTAINER_DOWN              duration 5
--   rule  container  status    started_at  (fires)    resolved_at
--   R1    nginx      RESOLVED  01:52:00    (02:07:00) 02:13:00
--   R1    php-fpm    FIRING    03:00:00    (03:15:00) -          still firing at the end (03:20:00)
--   R2    mysql      RESOLVED  00:40:00    (00:45:00) 00:59:00
--   R3    php-fpm    RESOLVED  01:10:00    (01:15:00) 01:21:00
--   nothing else: from 02:20 to 02:26 mysql's samples first say 99.90 % and are each corrected to 41.00 % before the next one.
--   (With R2 at duration 0 the wrong samples may fire; with 5 they must not.)
\set QUIET on
\if :{?part}
\else
  \set part all
\endif
SELECT :'part' IN ('all', 'schema') AS do_schema, :'part' IN ('all', 'data') AS do_data \gset
SET TIME ZONE 'Europe/Berlin';
\if :do_schema
CREATE TABLE migrations (id serial PRIMARY KEY, migration varchar(255) NOT NULL, batch integer NOT NULL);
CREATE TABLE teams (id bigserial PRIMARY KEY, name varchar(255) NOT NULL, personal_team boolean NOT NULL DEFAULT false, created_at timestamp(0), updated_at timestamp(0));
CREATE TABLE servers (
  id bigserial PRIMARY KEY, uuid varchar(255) NOT NULL CONSTRAINT servers_uuid_unique UNIQUE, name varchar(255) NOT NULL,
  team_id bigint NOT NULL CONSTRAINT servers_team_id_foreign REFERENCES teams (id) ON DELETE CASCADE, deleted_at timestamp(0), created_at timestamp(0), updated_at timestamp(0));
CREATE TABLE docker_containers (
  id bigserial PRIMARY KEY, server_id bigint NOT NULL CONSTRAINT docker_containers_server_id_foreign REFERENCES servers (id) ON DELETE CASCADE,
  container_id varchar(64) NOT NULL, name varchar(255) NOT NULL, image varchar(255) NOT NULL, deleted_at timestamp(0), created_at timestamp(0), updated_at timestamp(0),
  CONSTRAINT docker_containers_server_id_container_id_unique UNIQUE (server_id, container_id));
CREATE TABLE container_stats (
  id bigserial PRIMARY KEY, docker_container_id bigint NOT NULL CONSTRAINT container_stats_docker_container_id_foreign REFERENCES docker_containers (id) ON DELETE CASCADE,
  cpu_percentage numeric(5, 2) NOT NULL DEFAULT 0, memory_used_mb integer NOT NULL DEFAULT 0, memory_limit_mb integer NOT NULL DEFAULT 0, memory_percentage numeric(5, 2) NOT NULL DEFAULT 0,
  state varchar(20) NOT NULL CHECK (state::text = ANY (ARRAY['created', 'running', 'paused', 'restarting', 'exited', 'dead']::text[])), restarts integer NOT NULL DEFAULT 0,
  recorded_at timestamp(0) NOT NULL DEFAULT CURRENT_TIMESTAMP, CONSTRAINT container_stats_docker_container_id_recorded_at_unique UNIQUE (docker_container_id, recorded_at));

INSERT INTO teams (id, name) VALUES (1, 'Cyberdyne'), (2, 'Tyrell');
INSERT INTO servers (id, uuid, name, team_id) VALUES (1, 'wc4ko8ks', 'web-1', 1), (2, 'm0s8ggow', 'web-9', 2);
INSERT INTO docker_containers (id, server_id, container_id, name, image) VALUES
  (1, 1, 'aa01', 'nginx', 'nginx:1.27'), (2, 1, 'aa02', 'php-fpm', 'php:8.3-fpm'), (3, 1, 'aa03', 'mysql', 'mysql:8.4');
SELECT setval('teams_id_seq', 2), setval('servers_id_seq', 2), setval('docker_containers_id_seq', 3) \g (format=unaligned tuples_only=on) /dev/null
\endif
\if :do_data
WITH tick AS (SELECT g, timestamp '2026-03-29 00:30' + g * interval '1 minute' AS at FROM generate_series(0, 170) g),
s AS (
  SELECT at, 1 AS c, CASE WHEN at::time BETWEEN '01:52' AND '02:12' THEN 92.5 ELSE 22.25 END AS cpu, 512 AS used, 2048 AS lim, 25.00 AS pct, 'running' AS st FROM tick
  UNION ALL SELECT at, 2, CASE WHEN at::time >= '03:00' THEN 195.4 WHEN at::time BETWEEN '01:10' AND '01:20' THEN 0 ELSE 31 END, 300, 0, 0, CASE WHEN at::time BETWEEN '01:10' AND '01:20' THEN 'exited' ELSE 'running' END FROM tick
  UNION ALL SELECT at, 3, 12, 1946, 2048, CASE WHEN at::time BETWEEN '00:40' AND '00:58' THEN 95.02 WHEN at::time BETWEEN '02:20' AND '02:26' THEN 99.90 ELSE 41.00 END, 'running' FROM tick),
script AS (
  SELECT at, c, 0 AS ord, format('INSERT INTO container_stats (docker_container_id, cpu_percentage, memory_used_mb, memory_limit_mb, memory_percentage, state, restarts, recorded_at) VALUES (%s, %s, %s, %s, %s, %L, 0, %L)', c, cpu, used, lim, pct, st, at) AS stmt FROM s
  UNION ALL
  SELECT at, c, 1, format('INSERT INTO container_stats (docker_container_id, cpu_percentage, memory_used_mb, memory_limit_mb, memory_percentage, state, restarts, recorded_at) VALUES (%s, %s, 840, %s, 41.00, %L, 0, %L) '
         'ON CONFLICT (docker_container_id, recorded_at) DO UPDATE SET memory_used_mb = excluded.memory_used_mb, memory_percentage = excluded.memory_percentage', c, cpu, lim, st, at)
    FROM s WHERE c = 3 AND at::time BETWEEN '02:20' AND '02:26')
SELECT stmt FROM script ORDER BY at, c, ord \gexec
\endif
RESET TIME ZONE;

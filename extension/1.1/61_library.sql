-- What the library offers to users.

CREATE OR REPLACE FUNCTION alerting.flush(timeout interval DEFAULT '10 seconds', deliveries boolean DEFAULT false) RETURNS boolean
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_flush'
SET search_path = pg_catalog, pg_temp;

CREATE OR REPLACE FUNCTION alerting.status(
  OUT state text, OUT evaluator_pid int, OUT sender_pid int, OUT held boolean,
  OUT queue_bytes bigint, OUT queue_size bigint, OUT replay_pending boolean, OUT lag interval,
  OUT containers bigint, OUT samples bigint, OUT late bigint, OUT backfill bigint, OUT skipped bigint, OUT unknown bigint,
  OUT transitions bigint, OUT deliveries bigint, OUT failed_attempts bigint, OUT replays bigint,
  OUT problem text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_status'
SET search_path = pg_catalog, pg_temp;

CREATE OR REPLACE FUNCTION alerting.start() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_start'
SET search_path = pg_catalog, pg_temp;

CREATE OR REPLACE FUNCTION alerting.stop() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_stop'
SET search_path = pg_catalog, pg_temp;

CREATE OR REPLACE FUNCTION alerting.resume() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_resume'
SET search_path = pg_catalog, pg_temp;

CREATE OR REPLACE FUNCTION alerting.test_webhook(id text,
  OUT delivered boolean, OUT status_code int, OUT error text, OUT duration_ms int, OUT response text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_test_webhook';

CREATE OR REPLACE FUNCTION alerting.generate_secret() RETURNS text
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_generate_secret';

CREATE OR REPLACE FUNCTION alerting.webhook_signature(secret text, id text, at timestamptz, body text) RETURNS text
LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'alerting_webhook_signature';

CREATE OR REPLACE FUNCTION alerting.redeliver(id text) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_redeliver';

CREATE OR REPLACE FUNCTION alerting.redeliver_failed(webhook text DEFAULT NULL, since timestamptz DEFAULT NULL,
  until timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_redeliver_failed';

-- One row for each alert that the rule would have raised.
CREATE OR REPLACE FUNCTION alerting.preview(rule_id text, since timestamptz, until timestamptz DEFAULT now(),
  OUT container_id text, OUT status text, OUT started_at timestamptz, OUT fired_at timestamptz,
  OUT resolved_at timestamptz, OUT value float8, OUT peak float8) RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_preview_rule'
SET search_path = pg_catalog, pg_temp;

CREATE OR REPLACE FUNCTION alerting.preview(organization text, condition text, threshold float8, duration int,
  since timestamptz, until timestamptz DEFAULT now(),
  OUT container_id text, OUT status text, OUT started_at timestamptz, OUT fired_at timestamptz,
  OUT resolved_at timestamptz, OUT value float8, OUT peak float8) RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_preview'
SET search_path = pg_catalog, pg_temp;

CREATE OR REPLACE FUNCTION alerting.explain(rule_id text, container text,
  OUT state text, OUT since timestamptz, OUT fired_at timestamptz, OUT last_at timestamptz, OUT last_value float8,
  OUT breaching boolean, OUT fires_at timestamptz, OUT resolves_at timestamptz, OUT silent boolean, OUT explanation text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_explain'
SET search_path = pg_catalog, pg_temp;

-- Keys of the other kinds, so that nobody has to write a cast: the library takes a key's text.
CREATE OR REPLACE FUNCTION alerting.preview(organization bigint, condition text, threshold float8, duration int,
  since timestamptz, until timestamptz DEFAULT now(),
  OUT container_id text, OUT status text, OUT started_at timestamptz, OUT fired_at timestamptz,
  OUT resolved_at timestamptz, OUT value float8, OUT peak float8) RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_preview'
SET search_path = pg_catalog, pg_temp;

CREATE OR REPLACE FUNCTION alerting.preview(organization uuid, condition text, threshold float8, duration int,
  since timestamptz, until timestamptz DEFAULT now(),
  OUT container_id text, OUT status text, OUT started_at timestamptz, OUT fired_at timestamptz,
  OUT resolved_at timestamptz, OUT value float8, OUT peak float8) RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_preview'
SET search_path = pg_catalog, pg_temp;

CREATE OR REPLACE FUNCTION alerting.explain(rule_id text, container bigint,
  OUT state text, OUT since timestamptz, OUT fired_at timestamptz, OUT last_at timestamptz, OUT last_value float8,
  OUT breaching boolean, OUT fires_at timestamptz, OUT resolves_at timestamptz, OUT silent boolean, OUT explanation text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_explain'
SET search_path = pg_catalog, pg_temp;

CREATE OR REPLACE FUNCTION alerting.explain(rule_id text, container uuid,
  OUT state text, OUT since timestamptz, OUT fired_at timestamptz, OUT last_at timestamptz, OUT last_value float8,
  OUT breaching boolean, OUT fires_at timestamptz, OUT resolves_at timestamptz, OUT silent boolean, OUT explanation text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_explain'
SET search_path = pg_catalog, pg_temp;

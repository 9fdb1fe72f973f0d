-- What the library offers to users.

CREATE FUNCTION alerting.flush(timeout interval DEFAULT '10 seconds', deliveries boolean DEFAULT false) RETURNS boolean
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_flush';

CREATE FUNCTION alerting.status(OUT name text, OUT value text) RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_status';

CREATE FUNCTION alerting.start() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_start';

CREATE FUNCTION alerting.stop() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_stop';

CREATE FUNCTION alerting.resume() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_resume';

CREATE FUNCTION alerting.test_webhook(id text,
  OUT delivered boolean, OUT status_code int, OUT error text, OUT duration_ms int, OUT response text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_test_webhook';

CREATE FUNCTION alerting.redeliver(id text) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_redeliver';

CREATE FUNCTION alerting.preview(rule_id text, since timestamptz, until timestamptz DEFAULT now(),
  OUT container_id text, OUT status text, OUT started_at timestamptz, OUT fired_at timestamptz,
  OUT resolved_at timestamptz, OUT value float8, OUT resolve_reason text) RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_preview_rule';

CREATE FUNCTION alerting.preview(organization text, condition text, threshold float8, duration int,
  since timestamptz, until timestamptz DEFAULT now(),
  OUT container_id text, OUT status text, OUT started_at timestamptz, OUT fired_at timestamptz,
  OUT resolved_at timestamptz, OUT value float8, OUT resolve_reason text) RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_preview';

CREATE FUNCTION alerting.explain(rule_id text, container text) RETURNS text
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_explain';

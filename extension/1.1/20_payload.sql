-- What a webhook receives. In C, as the evaluator renders it.

CREATE OR REPLACE FUNCTION alerting.rfc3339(moment timestamptz) RETURNS text
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'alerting_rfc3339';

-- "CPU usage 97.2 % is above 80 %": the line a person reads first.
CREATE OR REPLACE FUNCTION alerting.condition_summary(
  condition text, threshold float8, duration int, value float8) RETURNS text
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'alerting_condition_summary';

CREATE OR REPLACE FUNCTION alerting.firing_payload(
  alert_id text, rule_id text, rule_name text, condition text, threshold float8, duration int,
  container_id text, container_name text, organization_id text, organization_name text,
  started_at timestamptz, fired_at timestamptz, value float8) RETURNS jsonb
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'alerting_firing_payload';

-- The end of an incident, told with the words of its beginning: who got no FIRING gets no RESOLVED.
CREATE OR REPLACE FUNCTION alerting.resolved_payload(
  firing jsonb, resolved_at timestamptz, reason text) RETURNS jsonb
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'alerting_resolved_payload';

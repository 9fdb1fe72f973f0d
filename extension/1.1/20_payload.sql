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
LANGUAGE sql STABLE PARALLEL SAFE
RETURN firing || jsonb_build_object(
  'type', 'alert.resolved',
  'timestamp', alerting.rfc3339(resolved_at),
  'data', coalesce(firing -> 'data', '{}') || jsonb_build_object(
    'alert', coalesce(firing -> 'data' -> 'alert', '{}') || jsonb_build_object(
      'status', 'RESOLVED', 'resolvedAt', alerting.rfc3339(resolved_at), 'resolveReason', reason),
    'summary', coalesce(firing #>> '{data,container,name}', firing #>> '{data,container,id}') || ': resolved, '
      || CASE reason
           WHEN 'RECOVERED' THEN 'recovered'
           WHEN 'NO_DATA' THEN 'no data any more'
           WHEN 'RULE_DISABLED' THEN 'its rule was disabled'
           WHEN 'RULE_CHANGED' THEN 'its rule was changed'
           WHEN 'RULE_DELETED' THEN 'its rule was deleted'
           WHEN 'CONTAINER_MOVED' THEN 'the container moved to another organization'
           WHEN 'CONTAINER_DELETED' THEN 'the container was deleted'
           WHEN 'ALERT_DELETED' THEN 'the alert was deleted'
           ELSE coalesce(lower(reason), 'for no known reason') END
      || coalesce(' (' || (firing #>> '{data,rule,name}') || ')', '')));

-- What a webhook receives. SQL-standard bodies: every name is resolved here, once and for all.

CREATE OR REPLACE FUNCTION alerting.rfc3339(moment timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN pg_catalog.to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

-- "CPU usage 97.2 % is above 80 %": the line a person reads first.
CREATE OR REPLACE FUNCTION alerting.condition_summary(
  condition text, threshold float8, duration int, value float8) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE condition
  WHEN 'CPU_USAGE' THEN 'CPU usage' || coalesce(' ' || round(value::numeric, 1) || ' %', '')
       || ' is above ' || threshold || ' %' || CASE WHEN duration > 0 THEN ' for ' || duration || ' min' ELSE '' END
  WHEN 'MEMORY_USAGE' THEN 'memory usage' || coalesce(' ' || round(value::numeric, 1) || ' %', '')
       || ' is above ' || threshold || ' %' || CASE WHEN duration > 0 THEN ' for ' || duration || ' min' ELSE '' END
  WHEN 'CONTAINER_DOWN' THEN 'container is down' || CASE WHEN duration > 0 THEN ' for ' || duration || ' min' ELSE '' END
  WHEN 'RESTART_LOOP' THEN coalesce(round(value::numeric, 1) ::float8 || ' ', '') || 'restarts in ' || duration || ' min'
  ELSE condition END;

CREATE OR REPLACE FUNCTION alerting.firing_payload(
  alert_id text, rule_id text, rule_name text, condition text, threshold float8, duration int,
  container_id text, container_name text, organization_id text, organization_name text,
  started_at timestamptz, fired_at timestamptz, value float8) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_object(
  'type', 'alert.firing',
  'timestamp', alerting.rfc3339(fired_at),
  'data', jsonb_build_object(
    'alert', jsonb_build_object(
      'id', alert_id, 'ruleId', rule_id, 'containerId', container_id, 'status', 'FIRING',
      'startedAt', alerting.rfc3339(started_at), 'firedAt', alerting.rfc3339(fired_at), 'resolvedAt', NULL,
      -- JSON knows neither NaN nor Infinity.
      'value', CASE WHEN value > '-Infinity' AND value < 'Infinity' THEN value END, 'resolveReason', NULL),
    'rule', jsonb_build_object(
      'id', rule_id, 'name', rule_name, 'condition', condition, 'threshold', threshold, 'duration', duration),
    'container', jsonb_build_object('id', container_id, 'name', container_name),
    'organization', jsonb_build_object('id', organization_id, 'name', organization_name),
    'summary', coalesce(container_name, container_id) || ': ' || alerting.condition_summary(condition, threshold,
       duration, CASE WHEN value > '-Infinity' AND value < 'Infinity' THEN value END)));

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

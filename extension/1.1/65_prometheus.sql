-- import_prometheus_rule(): alerting rules of Prometheus whose shape has a meaning here. Whatever has
-- none is an error that says so; nothing is guessed that would change what a rule means.

-- A duration such as 5m or 1h30m, in minutes.
CREATE OR REPLACE FUNCTION alerting.prometheus_minutes(what text, duration text) RETURNS int
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  seconds numeric;
BEGIN
  IF duration !~ '^([0-9]+(ms|s|m|h|d|w|y))+$' AND duration <> '0' THEN
    RAISE EXCEPTION '% is no duration of Prometheus: %', what, duration
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Durations are written like 5m, 1h30m or 1d.';
  END IF;
  SELECT coalesce(sum(p[1]::numeric * CASE p[2] WHEN 'ms' THEN 0.001 WHEN 's' THEN 1 WHEN 'm' THEN 60 WHEN 'h' THEN 3600
                                      WHEN 'd' THEN 86400 WHEN 'w' THEN 604800 ELSE 31536000 END), 0)
    INTO seconds FROM regexp_matches(duration, '([0-9]+)(ms|[smhdwy])', 'g') AS p;
  IF seconds > 2000000000 THEN
    RAISE EXCEPTION '% is %, which is too long', what, duration USING ERRCODE = 'invalid_parameter_value', HINT = 'Give 60 years at most.';
  ELSIF seconds % 60 <> 0 THEN
    RAISE EXCEPTION '% is %, but rules here count whole minutes', what, duration
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Round it to minutes, for example 1m or 2m.';
  END IF;
  RETURN seconds / 60;
END
$function$;

-- The fields alert, expr and for of one rule: JSON, the lines of YAML that rule files hold, or the
-- expression alone.
CREATE OR REPLACE FUNCTION alerting.prometheus_fields(rule text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
DECLARE
  result jsonb := '{}';
  line text;
  field text[];
  open_key text;   -- whose value goes on in the next lines, which are indented more
  open_indent int;
BEGIN
  IF rule IS NULL THEN
    RETURN result;
  ELSIF rule ~ '^\s*\{\s*"' THEN
    RETURN rule::jsonb;
  ELSIF rule !~ '(^|\n)\s*(-\s+)?(alert|expr)\s*:' THEN
    RETURN jsonb_build_object('expr', rule);
  END IF;
  FOREACH line IN ARRAY string_to_array(replace(rule, E'\r', ''), E'\n') LOOP
    CONTINUE WHEN line ~ '^\s*(#.*)?$';
    field := regexp_match(line, '^(\s*(?:-\s+)?)([A-Za-z_]+)\s*:(?:\s+(.*?))?\s*$');
    IF open_key IS NOT NULL AND length(substring(line FROM '^\s*')) > open_indent THEN
      result := jsonb_set(result, ARRAY[open_key], to_jsonb(concat_ws(' ', nullif(result ->> open_key, ''), btrim(line))));
      CONTINUE;
    END IF;
    open_key := NULL;
    IF field IS NULL THEN
      RAISE EXCEPTION 'cannot read this line of the rule: %', btrim(line)
        USING ERRCODE = 'invalid_text_representation', HINT = 'Give one rule as a rule file holds it (alert, expr, for), as JSON, or its expression alone.';
    ELSIF result ? field[2] THEN
      RAISE EXCEPTION 'the text has more than one "%"', field[2]
        USING ERRCODE = 'invalid_text_representation', HINT = 'Import one rule at a time.';
    END IF;
    open_key := field[2];
    open_indent := length(field[1]);
    result := result || jsonb_build_object(field[2],
      CASE WHEN field[3] IS NULL OR field[3] ~ '^[|>][+-]?$' THEN ''
           -- Comments end plain values; quotes are YAML's.
           WHEN field[3] ~ '^''.*''$' THEN replace(substr(field[3], 2, length(field[3]) - 2), '''''', '''')
           WHEN field[3] ~ '^".*"$' THEN replace(replace(substr(field[3], 2, length(field[3]) - 2), '\"', '"'), '\\', '\')
           ELSE regexp_replace(field[3], '\s+#.*$', '') END);
  END LOOP;
  RETURN result;
END
$function$;

-- What an expression means here.
CREATE OR REPLACE FUNCTION alerting.prometheus_meaning(expression text, OUT condition text, OUT threshold float8, OUT minutes int)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
DECLARE
  shapes CONSTANT text := 'Known are: CPU or memory in percent > number; increase(restarts[10m]) > number; up == 0; absent(metric).';
  expr text := btrim(regexp_replace(expression, '\s+', ' ', 'g'));
  -- Matchers that leave nothing out but what is no container.
  bare text := regexp_replace(regexp_replace(expr, '(name|image|container|container_name|pod) ?!= ?"(POD)?" ?,? ?', '', 'g'), '\{ ?\}', '', 'g');
  parts text[];
BEGIN
  IF bare ~ '[{}]' THEN
    RAISE EXCEPTION 'the expression selects by labels: %', substring(bare FROM '\{[^}]*\}?')
      USING ERRCODE = 'feature_not_supported', DETAIL = 'A rule is for all containers of an organization.',
            HINT = 'Leave the labels out, or make it another organization''s rule.';
  ELSIF bare ~* '\y(and|or|unless|offset|ignoring|on|group_left|group_right|bool|predict_linear|histogram_quantile|quantile)\y' THEN
    RAISE EXCEPTION 'the expression is of no shape that can be imported: %', expr USING ERRCODE = 'feature_not_supported', HINT = shapes;
  END IF;

  IF bare ~ '^(up|[a-z_:]*(running|container_up)) ?== ?0$' OR bare ~ '^absent(_over_time)? ?\( ?[A-Za-z_:]+ ?(\[[0-9a-z]+\])? ?\)( ?== ?1)?$' THEN
    condition := 'CONTAINER_DOWN';
    RETURN;
  END IF;

  parts := regexp_match(bare, '^(?:increase|changes) ?\( ?([A-Za-z_:]*(?:restart|start_time)[A-Za-z_:]*) ?\[([0-9a-z]+)\] ?\) ?(>=?) ?([0-9]+)$');
  IF parts IS NOT NULL THEN
    condition := 'RESTART_LOOP';
    minutes := alerting.prometheus_minutes('the window', parts[2]);
    -- Restarts are counted, so "at least 3" is "more than 2".
    threshold := parts[4]::float8 - CASE parts[3] WHEN '>=' THEN 1 ELSE 0 END;
    IF threshold < 0 OR minutes = 0 THEN
      RAISE EXCEPTION 'the expression always holds, or never: %', expr USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN;
  END IF;

  parts := regexp_match(bare, '^(.*[a-z)\]0-9]) ?> ?([0-9]+(?:\.[0-9]+)?)$');
  IF parts IS NULL OR (parts[1] ~* 'cpu') = (parts[1] ~* 'mem') OR parts[1] ~ '[<>=]' THEN
    RAISE EXCEPTION 'the expression is of no shape that can be imported: %', expr USING ERRCODE = 'feature_not_supported', HINT = shapes;
  END IF;
  condition := CASE WHEN parts[1] ~* 'cpu' THEN 'CPU_USAGE' ELSE 'MEMORY_USAGE' END;
  threshold := parts[2];
  IF threshold <= 1 OR (condition = 'MEMORY_USAGE' AND threshold > 100) THEN
    RAISE EXCEPTION 'threshold % is no percentage', parts[2]
      USING ERRCODE = 'invalid_parameter_value', DETAIL = format('The expression is: %s', expr),
            HINT = 'Write both sides in percent, for example: 100 * used / limit > 80';
  END IF;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.import_prometheus_rule(organization text, rule text, name text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  fields jsonb := alerting.prometheus_fields(rule);
  meaning record;
  held int;
BEGIN
  IF coalesce(fields ->> 'expr', '') = '' THEN  -- also of NULL
    RAISE EXCEPTION 'the rule has no expression' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Give one rule as a rule file holds it (alert, expr, for), as JSON, or its expression alone.';
  END IF;
  meaning := alerting.prometheus_meaning(fields ->> 'expr');
  held := alerting.prometheus_minutes('"for"', coalesce(nullif(fields ->> 'for', ''), '0'));
  IF meaning.condition = 'RESTART_LOOP' AND held > 0 THEN
    RAISE EXCEPTION 'a rule about restarts has a window, but no "for"'
      USING ERRCODE = 'feature_not_supported', HINT = 'Leave "for" out: it fires as soon as there were so many restarts in the window.';
  END IF;
  PERFORM alerting.require_organization(organization);
  RAISE NOTICE 'alerting: imported as: %',
    CASE meaning.condition
      WHEN 'RESTART_LOOP' THEN format('more than %s restarts within %s min', meaning.threshold, meaning.minutes)
      ELSE alerting.condition_summary(meaning.condition, meaning.threshold, held, NULL)
           || CASE meaning.condition WHEN 'CPU_USAGE' THEN '; what attach_metrics() maps as cpu is judged'
                                     WHEN 'MEMORY_USAGE' THEN '; what attach_metrics() maps as memory is judged'
                                     ELSE ', or silent for longer than its metrics'' stale_after' END END;
  RETURN alerting.create_rule(organization, coalesce(name, nullif(fields ->> 'alert', ''), fields ->> 'expr'), meaning.condition,
                              meaning.threshold, coalesce(meaning.minutes, held));
END
$function$;

-- Keys of the other kinds.
CREATE OR REPLACE FUNCTION alerting.import_prometheus_rule(organization bigint, rule text, name text DEFAULT NULL) RETURNS text
LANGUAGE sql VOLATILE
RETURN alerting.import_prometheus_rule(organization::text, rule, name);

CREATE OR REPLACE FUNCTION alerting.import_prometheus_rule(organization uuid, rule text, name text DEFAULT NULL) RETURNS text
LANGUAGE sql VOLATILE
RETURN alerting.import_prometheus_rule(organization::text, rule, name);

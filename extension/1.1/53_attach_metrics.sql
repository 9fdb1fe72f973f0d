-- Binding metrics tables.

-- For hints: whether the caller may know and there is none.
CREATE OR REPLACE FUNCTION alerting.has_no_rules() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF has_table_privilege('alerting.alert_rule', 'SELECT') THEN
    RETURN NOT EXISTS (SELECT FROM alerting.alert_rule);
  END IF;
  RETURN false;
END
$function$;

-- A rule about something that this source maps.
CREATE OR REPLACE FUNCTION alerting.example_rule(source int) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format('Make one, for an organization''s key: SELECT alerting.create_rule(..., %s);',
           CASE WHEN s.cpu IS NOT NULL THEN '''CPU above 80 %'', ''CPU_USAGE'', threshold => 80, duration => 5'
                WHEN s.memory IS NOT NULL OR s.memory_used IS NOT NULL THEN '''Memory above 80 %'', ''MEMORY_USAGE'', threshold => 80, duration => 5'
                WHEN s.running IS NULL THEN '''More than 3 restarts in 10 minutes'', ''RESTART_LOOP'', threshold => 3, duration => 10'
                ELSE '''Down'', ''CONTAINER_DOWN'', duration => 1' END)
    FROM alerting.metric_source s WHERE s.id = source;
$function$;

-- The call that attaches a source as it is attached, to be said again or changed; for the table called `metrics`. In the
-- place of a column that is lost it has what is guessed now.
CREATE OR REPLACE FUNCTION alerting.attach_call(source int, metrics text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format('SELECT alerting.attach_metrics(%L, %s);', $2, string_agg(format('%s => %s', g.name, g.value), ', ' ORDER BY g.position))
    FROM alerting.metric_source s
    CROSS JOIN LATERAL (SELECT jsonb_strip_nulls(to_jsonb(s))) AS said(mapping)
    CROSS JOIN LATERAL (SELECT said.mapping - ARRAY(SELECT e.key FROM jsonb_each_text(said.mapping) e
                                                     WHERE e.key IN ('container', 'at', 'cpu', 'memory', 'memory_used', 'memory_limit', 'running', 'restarts')
                                                       AND alerting.is_lost_column(s.metrics, e.value))) AS held(mapping)
    CROSS JOIN LATERAL (SELECT alerting.guess_row(s.metrics, held.mapping, s.at_unit) || alerting.guess_readings(s.metrics, held.mapping)) AS guess(mapping)
    CROSS JOIN LATERAL (
      SELECT m.position, m.name, CASE WHEN held.mapping ? m.name THEN quote_literal(held.mapping ->> m.name)
                                      WHEN said.mapping ? m.name THEN quote_literal(coalesce(guess.mapping ->> m.name, '...'))
                                      WHEN guess.mapping ? m.name THEN quote_literal('') END
        FROM unnest(ARRAY['container', 'at', 'at_unit', 'cpu', 'memory', 'memory_used', 'memory_limit', 'running', 'restarts'])
             WITH ORDINALITY AS m(name, position)
      UNION ALL
      VALUES (10, 'max_age', CASE WHEN s.max_age IS NULL THEN 'NULL' WHEN s.max_age <> '1 hour' THEN quote_literal(s.max_age) END),
             (11, 'stale_after', CASE WHEN s.stale_after <> '5 minutes' THEN quote_literal(s.stale_after) END),
             (12, 'time_zone', CASE WHEN s.time_zone <> 'UTC' THEN quote_literal(s.time_zone) END)) AS g(position, name, value)
   WHERE s.id = $1 AND g.value IS NOT NULL;
$function$;

-- `given`: the mappings by name, as attach_metrics takes them.
CREATE OR REPLACE FUNCTION alerting.bind_metrics(metrics_table regclass, given jsonb, max_age interval, stale_after interval,
  time_zone text, at_unit text, level text, path text)
RETURNS SETOF text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $function$
#variable_conflict use_variable
DECLARE
  readings CONSTANT text[] := ARRAY['cpu', 'memory', 'memory_used', 'memory_limit', 'running', 'restarts'];
  guessed jsonb;
  mapping jsonb;
  wanted jsonb;
  before jsonb;
  reading text;
  source int;
  repaired int;
  differences text[];
  tried record;
  told record;
BEGIN
  PERFORM alerting.lock_binding();
  PERFORM alerting.require_binding();
  PERFORM alerting.check_table(metrics_table, 'metrics', false);
  PERFORM alerting.check_source_options(max_age, stale_after, time_zone, at_unit, level);
  IF '' IN (given ->> 'container', given ->> 'at') THEN
    RAISE EXCEPTION 'container and at must not be empty'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave them out to have them guessed.';
  END IF;
  guessed := alerting.guess_row(metrics_table, given, at_unit) || alerting.guess_readings(metrics_table, given);
  mapping := guessed || jsonb_strip_nulls(given);
  at_unit := coalesce(at_unit, alerting.guess_unit(metrics_table, mapping ->> 'at'));
  IF mapping ->> 'container' IS NULL THEN
    RAISE EXCEPTION 'cannot tell which container a row of table % is about', metrics_table
      USING ERRCODE = 'invalid_parameter_value',
            DETAIL = (SELECT coalesce((SELECT format('Its column %s has type %s, but the key of %s has type %s.', f.column_name, f.type, b.containers, f.key_type)
                                         FROM alerting.misfit(metrics_table, 'm', b.containers) f WHERE f.column_name IS NOT NULL),
                                      (SELECT format('Its column %s may hold what %s calls so, or its key %s.', a.quoted, b.containers, b.container_key)
                                         FROM (SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = metrics_table AND attnum > 0 AND NOT attisdropped
                                                 AND alerting.is_called_after(alerting.plain_name(attname), 'm', b.containers)) AS a(quoted)
                                        WHERE alerting.namesake(a.quoted, metrics_table, b.containers) IS NOT NULL LIMIT 1),
                                      format('It has not exactly one foreign key to %s, and no column with a usual name, such as container_id.', b.containers))
                        FROM alerting.host_binding b),
            HINT = format('Say it: container => %s.', coalesce(
              quote_literal((SELECT coalesce(alerting.suggest_way(metrics_table, 'm', b.containers), alerting.suggest_lookup(metrics_table, 'm', b.containers))
                               FROM alerting.host_binding b)),
              'a column''s name, or an SQL expression over m, the metric''s row'));
  ELSIF mapping ->> 'at' IS NULL THEN
    RAISE EXCEPTION 'cannot tell the time of a row of table %', metrics_table
      USING ERRCODE = 'invalid_parameter_value',
            DETAIL = CASE WHEN alerting.is_updated_in_place(metrics_table, mapping ->> 'container')
                          THEN 'It has one row for each container, and no column of a timestamp type that usually changes with it, such as updated_at or last_seen.'
                          ELSE 'It has no column of a timestamp type with a usual name, such as at, time or created_at.' END,
            HINT = coalesce('If it is column ' || alerting.guess_at(metrics_table, mapping ->> 'container', true) || ', say what that counts since 1970: at_unit => ''s'', ''ms'' or ''us''.',
                            (SELECT format('If it is column %s, which counts nanoseconds: at => %L, at_unit => ''s''.', n.name, n.name || ' / 1e9')
                               FROM alerting.guess_nanoseconds(metrics_table) AS n(name) WHERE n.name IS NOT NULL),
                            (SELECT format('If %s say it together: at => %L, and time_zone => ''...'' where that is not UTC.', replace(d.expression, ' + ', ' and '), d.expression)
                               FROM alerting.guess_day_and_time(metrics_table) AS d(expression) WHERE d.expression IS NOT NULL),
                            (SELECT format('If it is column %s, cast it: at => %L.', c.name, c.name || '::timestamptz')
                               FROM alerting.guess_text_time(metrics_table) AS c(name) WHERE c.name IS NOT NULL),
                            format('Say it: at => a column''s name%s, or an SQL expression over m, the metric''s row (numbers need at_unit, too).',
                                   ' (one of ' || alerting.time_columns(metrics_table) || '?)'));
  END IF;

  wanted := jsonb_build_object('metrics', metrics_table,
    'container', (SELECT k.sql FROM alerting.host_binding b, alerting.key_of(b.containers, 'containers') h,
                    alerting.key_mapping(metrics_table, 'm', 'container', mapping ->> 'container', h.type, path) k),
    'at', alerting.time_mapping(metrics_table, mapping ->> 'at', at_unit, path),
    'max_age', max_age, 'stale_after', stale_after, 'time_zone', time_zone, 'at_unit', at_unit,
    'level', coalesce(level, alerting.default_level(metrics_table)));
  FOREACH reading IN ARRAY readings LOOP
    wanted := wanted || jsonb_build_object(reading, CASE WHEN mapping ->> reading <> ''
                THEN alerting.reading_mapping(metrics_table, reading, mapping ->> reading, path) END);
  END LOOP;
  IF NOT jsonb_strip_nulls(wanted) ?| readings THEN
    RAISE EXCEPTION 'no metric of table % is mapped', metrics_table
      USING ERRCODE = 'invalid_parameter_value',
            DETAIL = 'It has no column with a usual name, such as cpu_percent, memory_percent, running or restart_count'
                     || coalesce(', but some that look like metrics: ' || alerting.unmapped_metrics(metrics_table, mapping), '') || '.',
            HINT = 'Map at least one: cpu, memory, memory_used and memory_limit, running, or restarts'
                   || coalesce('; by an expression where it is no plain column: ' || alerting.example_mapping(metrics_table), '') || '.';
  END IF;

  -- Tables that are gone do not come back; what took their place may be this one.
  RETURN QUERY DELETE FROM alerting.metric_source s WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = s.metrics)
    RETURNING format('forgot the metrics table with OID %s, which is gone', s.metrics::oid);
  SELECT to_jsonb(s), s.id INTO before, source FROM alerting.metric_source s WHERE s.metrics = metrics_table;
  IF before IS NULL OR (before - '{id,created_at,updated_at}'::text[]) <> wanted THEN
    INSERT INTO alerting.metric_source AS s (metrics, container, at, cpu, memory, memory_used, memory_limit, running, restarts,
        max_age, stale_after, time_zone, at_unit, level)
      VALUES (metrics_table, wanted ->> 'container', wanted ->> 'at', wanted ->> 'cpu', wanted ->> 'memory', wanted ->> 'memory_used',
        wanted ->> 'memory_limit', wanted ->> 'running', wanted ->> 'restarts', max_age, stale_after, time_zone, at_unit, wanted ->> 'level')
      ON CONFLICT ON CONSTRAINT metric_source_metrics_key DO UPDATE
      SET container = excluded.container, at = excluded.at, cpu = excluded.cpu, memory = excluded.memory,
          memory_used = excluded.memory_used, memory_limit = excluded.memory_limit, running = excluded.running,
          restarts = excluded.restarts, max_age = excluded.max_age, stale_after = excluded.stale_after,
          time_zone = excluded.time_zone, at_unit = excluded.at_unit, level = excluded.level, updated_at = now()
      RETURNING s.id INTO source;
  END IF;
  repaired := alerting.watch_metrics(source)::int + alerting.open_partitions();

  differences := ARRAY(SELECT alerting.changes(before, wanted, ARRAY['container', 'at'] || readings
                                               || ARRAY['max_age', 'stale_after', 'time_zone', 'at_unit', 'level']));
  IF before IS NULL THEN
    RETURN NEXT format('attached metrics %s', metrics_table);
    RETURN QUERY SELECT format('%s: %s', w.name, wanted ->> w.name)
                   FROM unnest(ARRAY['container', 'at', 'at_unit'] || readings || 'level'::text) WITH ORDINALITY AS w(name, position)
                  WHERE wanted ->> w.name IS NOT NULL ORDER BY w.position;
  ELSIF cardinality(differences) > 0 THEN
    RETURN NEXT format('changed metrics %s', metrics_table);
    RETURN QUERY SELECT unnest(differences);
  ELSE
    RETURN NEXT format('already attached metrics %s, %s', metrics_table,
                       CASE WHEN repaired > 0 THEN 'its triggers repaired' ELSE 'nothing changed' END);
  END IF;
  IF guessed <> '{}' AND (before IS NULL OR cardinality(differences) > 0) THEN
    RAISE NOTICE 'guessed for %: %', metrics_table,
      (SELECT string_agg(format('%s => %s', g.name, wanted ->> g.name), ', ' ORDER BY g.position)
         FROM unnest(ARRAY['container', 'at'] || readings) WITH ORDINALITY AS g(name, position) WHERE guessed ? g.name);
  END IF;
  IF before IS NULL AND alerting.has_no_rules() THEN
    RAISE NOTICE 'there are no rules yet' USING HINT = alerting.example_rule(source);
  END IF;
  IF before IS NULL OR cardinality(differences) > 0 THEN
    PERFORM alerting.warn_of_children(metrics_table);
    tried := alerting.try_source(source);
    IF tried.state IS NOT NULL THEN
      RAISE WARNING 'the mapping of table % fails on % rows: %', metrics_table, CASE WHEN tried.state LIKE '42%' THEN 'all' ELSE 'some' END, tried.problem
        USING DETAIL = 'Rows that it fails on are not judged.', HINT = alerting.mapping_advice(metrics_table, tried.state);
    END IF;
    FOR told IN SELECT n.line, n.hint FROM alerting.notices_of(source, mapping, tried) n LOOP
      RAISE NOTICE '%', told.line USING HINT = told.hint;
    END LOOP;
  END IF;
  PERFORM alerting.warn_of_missing_index(metrics_table, wanted ->> 'container', wanted ->> 'at');
END
$function$;

CREATE OR REPLACE FUNCTION alerting.attach_metrics(metrics regclass, container text DEFAULT NULL, at text DEFAULT NULL, cpu text DEFAULT NULL,
  memory text DEFAULT NULL, memory_used text DEFAULT NULL, memory_limit text DEFAULT NULL, running text DEFAULT NULL,
  restarts text DEFAULT NULL, max_age interval DEFAULT '1 hour', stale_after interval DEFAULT '5 minutes',
  time_zone text DEFAULT 'UTC', at_unit text DEFAULT NULL, level text DEFAULT NULL)
RETURNS SETOF text LANGUAGE sql VOLATILE
BEGIN ATOMIC
  -- The one statement that runs under the caller's search_path: it says where the mappings' names are looked up.
  SELECT alerting.bind_metrics(metrics,
    pg_catalog.jsonb_build_object('container', container, 'at', at, 'cpu', cpu, 'memory', memory, 'memory_used', memory_used,
      'memory_limit', memory_limit, 'running', running, 'restarts', restarts),
    max_age, stale_after, time_zone, at_unit, level, pg_catalog.current_setting('search_path'));
END;

CREATE OR REPLACE FUNCTION alerting.detach_metrics(metrics regclass) RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
  source ALIAS FOR $1;
BEGIN
  PERFORM alerting.require_binding();
  PERFORM FROM alerting.metric_source s WHERE s.metrics = source;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'table % is not attached', coalesce(source::text, 'NULL')
      USING ERRCODE = 'undefined_object', HINT = 'alerting.metric_source lists the metrics tables.';
  END IF;
  -- The table may be gone already; then its triggers are, too.
  IF EXISTS (SELECT FROM pg_class c WHERE c.oid = source) THEN
    IF NOT pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = source), 'USAGE') THEN
      RAISE EXCEPTION 'must be owner of table %', source
        USING ERRCODE = 'insufficient_privilege', HINT = 'Detaching a table drops its triggers, which only its owner may do.';
    END IF;
    PERFORM alerting.remove_trigger(source, t.name)
       FROM unnest(ARRAY['alerting_capture', 'alerting_capture_insert', 'alerting_capture_update']) AS t(name);
  END IF;
  RETURN QUERY DELETE FROM alerting.metric_source s WHERE s.metrics = source RETURNING format('detached metrics %s', source);
END
$function$;

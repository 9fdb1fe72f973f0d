-- What attach_metrics guesses and checks.

CREATE OR REPLACE FUNCTION alerting.check_source_options(max_age interval, stale_after interval, time_zone text, at_unit text, level text)
RETURNS void LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF max_age <= interval '0' THEN
    RAISE EXCEPTION 'max_age must be positive, not %', max_age
      USING ERRCODE = 'invalid_parameter_value', HINT = 'NULL means no limit.';
  ELSIF stale_after IS NULL OR stale_after <= interval '0' THEN
    RAISE EXCEPTION 'stale_after must be positive, not %', coalesce(stale_after::text, 'NULL')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'It is how long a container may be silent; give a long time to expect nothing.';
  ELSIF at_unit IS NOT NULL AND at_unit NOT IN ('s', 'ms', 'us') THEN
    RAISE EXCEPTION 'at_unit must be ''s'', ''ms'' or ''us'', not %', quote_literal(at_unit)
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Bring other units to seconds: nanoseconds by at => ''... / 1e9'', at_unit => ''s''.';
  ELSIF level IS NOT NULL AND level NOT IN ('row', 'statement') THEN
    RAISE EXCEPTION 'level must be ''row'' or ''statement'', not %', quote_literal(level) USING ERRCODE = 'invalid_parameter_value';
  ELSIF time_zone IS NULL THEN
    RAISE EXCEPTION 'time_zone must not be NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'It says how a timestamp without time zone is read; leave it out for UTC.';
  END IF;
  PERFORM timestamp '2000-01-01' AT TIME ZONE time_zone;  -- an unknown zone is an error that says so
END
$function$;

-- Guesses for the readings that are not mapped; '' in `given` means that one is not wanted.
CREATE OR REPLACE FUNCTION alerting.guess_readings(metrics regclass, given jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  result jsonb := '{}';
  used text;
  memory_limit text;
BEGIN
  IF given ->> 'cpu' IS NULL THEN
    result := result || jsonb_build_object('cpu', alerting.guess_percent(metrics, 'cpu'));
  END IF;
  IF num_nonnulls(given ->> 'memory', given ->> 'memory_used', given ->> 'memory_limit') = 0 THEN
    result := result || jsonb_build_object('memory', alerting.guess_percent(metrics, 'memory'));
  END IF;
  -- Use without limit says nothing, nor does a limit without use.
  IF coalesce(given ->> 'memory', result ->> 'memory') IS NULL THEN
    SELECT coalesce(given ->> 'memory_used', g.used), coalesce(given ->> 'memory_limit', g.memory_limit)
      INTO used, memory_limit FROM alerting.guess_memory(metrics) g;
    IF used <> '' AND memory_limit <> '' THEN
      result := result || CASE WHEN given ->> 'memory_used' IS NULL THEN jsonb_build_object('memory_used', used) ELSE '{}' END
                       || CASE WHEN given ->> 'memory_limit' IS NULL THEN jsonb_build_object('memory_limit', memory_limit) ELSE '{}' END;
    END IF;
  END IF;
  IF given ->> 'running' IS NULL THEN
    result := result || jsonb_build_object('running', alerting.guess_running(metrics));
  END IF;
  IF given ->> 'restarts' IS NULL THEN
    result := result || jsonb_build_object('restarts', alerting.guess_column(metrics, ARRAY['restartcount', 'restarts', 'restartscount',
      'restartstotal', 'restarttotal', 'restartcounter', 'containerrestarts', 'containerrestartcount'], 'N'));
  END IF;
  RETURN jsonb_strip_nulls(result);
END
$function$;

-- Another unique column than its key that `target` has by the name of a column of `rel`, quoted: the column may mean either.
CREATE OR REPLACE FUNCTION alerting.namesake(quoted_column text, rel regclass, target regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT quote_ident(there.attname)
    FROM pg_attribute here JOIN pg_attribute there ON there.attrelid = $3 AND alerting.plain_name(there.attname) = alerting.plain_name(here.attname)
    JOIN pg_type own ON own.oid = here.atttypid JOIN pg_type its ON its.oid = there.atttypid AND its.typcategory = own.typcategory
   WHERE here.attrelid = $2 AND here.attnum > 0 AND quote_ident(here.attname) = $1 AND $2 <> $3
     AND there.attnum <> alerting.key_column($3) AND alerting.fits_key(there.atttypid, here.atttypid)
     AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = $3 AND i.indisunique AND i.indnkeyatts = 1 AND i.indkey[0] = there.attnum AND i.indpred IS NULL);
$function$;

-- Guesses for the container and the time of a row.
CREATE OR REPLACE FUNCTION alerting.guess_row(metrics regclass, given jsonb, at_unit text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  host record;
  referring text[];
  key text;
  plain_column text;
  result jsonb := '{}';
BEGIN
  SELECT b.containers, b.container_key, alerting.row_name(b.containers) AS name INTO host FROM alerting.host_binding b;
  IF given ->> 'container' IS NULL THEN
    key := alerting.plain_name(trim(BOTH '"' FROM host.container_key));
    referring := CASE WHEN metrics = host.containers THEN ARRAY[host.container_key]
                      ELSE alerting.referring_columns(metrics, host.containers) END;
    plain_column := alerting.guess_key(metrics,
                      -- A key that is no mere id is what the rows tell: container_name where that is containers.name.
                      CASE WHEN key <> 'id' THEN ARRAY[host.name || key, 'container' || key] ELSE '{}' END
                      || CASE WHEN key NOT IN ('id', 'name', 'key', 'code') THEN ARRAY[key] ELSE '{}' END
                      || ARRAY['containerid', host.name || 'id', 'containeruuid', host.name || 'uuid', 'dockercontainerid', 'container', host.name],
                      host.containers);
    result := jsonb_build_object('container', CASE WHEN cardinality(referring) = 1 THEN referring[1]
                ELSE coalesce(alerting.referring_expression(metrics, 'm', host.containers),
                              alerting.generated_expression(metrics, host.containers),
                              CASE WHEN alerting.namesake(plain_column, metrics, host.containers) IS NULL
                                     -- Where it has been said, a call that is made again has it still.
                                     OR EXISTS (SELECT FROM alerting.metric_source s WHERE s.metrics = guess_row.metrics AND s.container = plain_column)
                                   THEN plain_column END) END);
  END IF;
  IF given ->> 'at' IS NULL THEN
    result := result || jsonb_build_object('at', alerting.guess_at(metrics, coalesce(given ->> 'container', result ->> 'container'), at_unit IS NOT NULL));
  END IF;
  RETURN jsonb_strip_nulls(result);
END
$function$;

-- For hints: how the table might say a metric where no plain column does; NULL where nothing suggests itself.
CREATE OR REPLACE FUNCTION alerting.example_mapping(metrics regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  WITH field AS (
    SELECT a.attnum, quote_ident(a.attname) AS quoted, alerting.plain_name(a.attname) AS name, t.typcategory AS category, t.typname
      FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped)
  SELECT coalesce(
    (SELECT format('cpu => $$substring(%s FROM ''^[0-9.]+'')::float8$$', f.quoted) FROM field f WHERE f.category = 'S' AND f.name ~ 'cpu' ORDER BY f.attnum LIMIT 1),
    (SELECT format('cpu => $$CASE %s WHEN %s THEN %s%s END$$', n.quoted, CASE n.category WHEN 'N' THEN '1' ELSE '''cpu''' END, v.quoted,
                   CASE v.category WHEN 'S' THEN '::float8' ELSE '' END)
       FROM field n, field v
      WHERE n.category IN ('N', 'S', 'E') AND n.name ~ '^(metric|item|series|sensor)?(name|key|kind|type)$|^(metric|item|series|sensor|key)(id)?$'
        AND v.category IN ('N', 'S') AND v.name ~ '^(metric|dbl|double|num|numeric|float)?(value|reading|v)$'
      ORDER BY v.category, n.attnum, v.attnum LIMIT 1),
    (SELECT format('cpu => $$(%s ->> ''cpu'')::float8$$', f.quoted) FROM field f WHERE f.typname IN ('json', 'jsonb') ORDER BY f.attnum LIMIT 1));
$function$;

-- The stored form of a mapping that gives a figure or a flag. Capture casts a figure to double precision.
CREATE OR REPLACE FUNCTION alerting.reading_mapping(rel regclass, what text, expression text, path text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  described record;
BEGIN
  SELECT * INTO described FROM alerting.describe_mapping(rel, 'm', what, expression, 'double precision', path);
  IF what = 'running' AND described.type <> 'boolean'::regtype THEN
    RAISE EXCEPTION 'mapping "running" of table % has type %, but must be boolean', rel, described.type
      USING ERRCODE = 'datatype_mismatch', DETAIL = format('The mapping is: %s', expression),
            HINT = 'Write an expression that is true while the container runs, for example: state = ''running''';
  ELSIF what <> 'running' AND NOT described.castable THEN
    RAISE EXCEPTION 'mapping "%" of table % has type %, which is no number', what, rel, described.type
      USING ERRCODE = 'datatype_mismatch', DETAIL = format('The mapping is: %s', expression),
            HINT = CASE WHEN described.type = 'money'::regtype THEN format('Cast it: %s => %L', what, format('(%s)::numeric', expression))
                        ELSE 'Name a numeric column, or write an expression that gives a number.' END;
  END IF;
  RETURN described.sql;
END
$function$;

-- The stored form of the mapping that gives a row's time.
CREATE OR REPLACE FUNCTION alerting.time_mapping(rel regclass, expression text, at_unit text, path text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  described record;
  is_number boolean;
BEGIN
  SELECT * INTO described FROM alerting.describe_mapping(rel, 'm', 'at', expression, NULL, path);
  described.type := alerting.base_type(described.type);
  is_number := described.type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'float4'::regtype, 'float8'::regtype, 'numeric'::regtype);
  IF is_number AND at_unit IS NULL THEN
    RAISE EXCEPTION 'mapping "at" of table % has type %: a number of what?', rel, described.type
      USING ERRCODE = 'invalid_parameter_value', DETAIL = format('The mapping is: %s', expression),
            HINT = 'Say what it counts since 1970: at_unit => ''s'', ''ms'' or ''us''.';
  ELSIF at_unit IS NOT NULL AND NOT is_number THEN
    RAISE EXCEPTION 'at_unit is for numbers, but mapping "at" of table % has type %', rel, described.type
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave at_unit out.';
  ELSIF NOT is_number AND described.type NOT IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype) THEN
    RAISE EXCEPTION 'mapping "at" of table % has type %, which is no time', rel, described.type
      USING ERRCODE = 'datatype_mismatch', DETAIL = format('The mapping is: %s', expression),
            HINT = 'Name a column of a timestamp type, or cast it, for example: (...)::timestamptz';
  END IF;
  RETURN described.sql;
END
$function$;

-- 'row' where a statement trigger would miss rows: rows written straight into a partition, rows that
-- logical replication applies, and chunks of a hypertable.
CREATE OR REPLACE FUNCTION alerting.default_level(metrics regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT CASE WHEN alerting.is_hypertable(metrics) OR alerting.is_subscribed(metrics) OR c.relkind = 'p' OR c.relispartition
              THEN 'row' ELSE 'statement' END
    FROM pg_class c WHERE c.oid = metrics;
$function$;

-- Those of a source's two that are plain columns, quoted.
CREATE OR REPLACE FUNCTION alerting.plain_columns(metrics regclass, mappings text[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT ARRAY(SELECT m.mapping FROM unnest(mappings) WITH ORDINALITY AS m(mapping, position)
                WHERE m.mapping IN (SELECT quote_ident(a.attname) FROM pg_attribute a
                                     WHERE a.attrelid = metrics AND a.attnum > 0 AND NOT a.attisdropped)
                ORDER BY m.position);
$function$;

-- A mapping as an index's definition would write it, whatever its brackets: to be compared only.
CREATE OR REPLACE FUNCTION alerting.bare_expression(expression text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
  SELECT regexp_replace($1, '\mm\.|[() ]', '', 'g');
$function$;

-- Whether an index has nothing beside its first column but what a row is called (key, metric_name): few rows of each container.
CREATE OR REPLACE FUNCTION alerting.is_row_of_each(index regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
  SELECT NOT EXISTS (
    SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_index i ON i.indexrelid = a.attrelid
     WHERE a.attrelid = $1 AND a.attnum BETWEEN 2 AND i.indnkeyatts
       AND (t.typcategory NOT IN ('S', 'E') OR alerting.plain_name(a.attname) !~ '(key|name|kind|type|metric|item|label)$'));
$function$;

-- Whether an index finds a container's newest rows, or the newest of all.
CREATE OR REPLACE FUNCTION alerting.has_replay_index(metrics regclass, container text, at text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT EXISTS (
    SELECT FROM pg_index i
     WHERE i.indrelid = metrics AND i.indisvalid AND i.indpred IS NULL
       AND (pg_get_indexdef(i.indexrelid, 1, true) = at
            OR i.indkey[0] = 0 AND alerting.bare_expression(pg_get_indexdef(i.indexrelid, 1, false)) = alerting.bare_expression(at)
            OR (pg_get_indexdef(i.indexrelid, 1, true) = container
                AND (i.indisunique AND alerting.is_row_of_each(i.indexrelid)
                     OR at <> ALL (alerting.plain_columns(metrics, ARRAY[container, at]))
                     OR at IN (SELECT pg_get_indexdef(i.indexrelid, k, true) FROM generate_series(2, i.indnkeyatts) k)))));
$function$;

CREATE OR REPLACE FUNCTION alerting.suggested_index(metrics regclass, container text, at text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
  SELECT CASE WHEN c.columns = '{}' AND at ~ '\mSELECT\M'
              THEN 'No index serves a time that is looked up elsewhere: consider a column that says it, or the time at which the row was written.'
              -- Every cast to that type depends on the session's time zone.
              WHEN c.columns = '{}' AND at ~ '::timestamp with time zone'
              THEN 'No index holds a time that is cast: consider a column of that type, which a trigger may set.'
              WHEN c.columns = '{}'
              THEN format('Consider an index on that expression, if it is immutable: CREATE INDEX %sON %s ((%s));',
                          CASE WHEN r.relkind = 'p' THEN '' ELSE 'CONCURRENTLY ' END, metrics, regexp_replace(at, '\mm\.', '', 'g'))
              -- PostgreSQL makes none CONCURRENTLY on a partitioned table.
              ELSE format('Consider CREATE INDEX %sON %s (%s);', CASE WHEN r.relkind = 'p' THEN '' ELSE 'CONCURRENTLY ' END,
                          metrics, array_to_string(c.columns, ', ')) END
    FROM pg_class r, alerting.plain_columns(metrics, ARRAY[container, at]) AS c(columns) WHERE r.oid = metrics;
$function$;

-- The tables that inherit from this one and are not attached, NULL when there are none.
CREATE OR REPLACE FUNCTION alerting.unseen_children(metrics regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
  SELECT string_agg(i.inhrelid::regclass::text, ', ' ORDER BY i.inhrelid)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent
   WHERE c.oid = $1 AND c.relkind = 'r' AND NOT EXISTS (
         SELECT FROM pg_trigger t WHERE t.tgrelid = i.inhrelid AND t.tgname LIKE 'alerting\_capture%')
     AND i.inhrelid::regclass::text NOT LIKE '\_timescaledb\_internal.%';
$function$;

-- Rows that no trigger of this table sees.
CREATE OR REPLACE FUNCTION alerting.warn_of_children(metrics regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  children CONSTANT text := alerting.unseen_children(metrics);
BEGIN
  IF children IS NOT NULL THEN
    RAISE WARNING 'rows that are written into the tables that inherit from % are not seen: %', metrics, children
      USING DETAIL = 'Triggers of a table do not fire for its child tables, also where a trigger routes the rows there.',
            HINT = 'Attach each child table, too, and each new one when it is created; or partition the table declaratively.';
  END IF;
END
$function$;

-- The columns that look like a metric which is not mapped; NULL for none. What a container may use at most is none: of the
-- containers' own row its limits, of any cores; but of readings a fraction of cores is what is used.
CREATE OR REPLACE FUNCTION alerting.unmapped_metrics(metrics regclass, mapping jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
  SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid, LATERAL (SELECT alerting.plain_name(a.attname) AS name) n
   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
     AND (n.name !~ 'cpus?(cores?|counts?)$|^v?cpus$'
          OR n.name = 'cpus' AND alerting.is_fraction($1, quote_ident(a.attname)) AND $1 <> (SELECT b.containers FROM alerting.host_binding b))
     AND NOT (n.name ~ '(limits?|requests?|quota|shares)$' AND $1 = (SELECT b.containers FROM alerting.host_binding b))
     AND (t.typcategory = 'N' AND (n.name ~ 'cpu' AND NOT $2 ? 'cpu'
                                   OR n.name ~ '^(container|current|latest|last|avg|average|used|total)?(mem|ram)' AND NOT $2 ?| ARRAY['memory', 'memory_used']
                                   OR n.name ~ 'restart' AND NOT $2 ? 'restarts')
          OR t.typcategory IN ('S', 'E', 'N') AND n.name ~ '^(container|power|lifecycle|current)?(state|status)$|^phase$' AND NOT $2 ? 'running'
          OR t.typcategory IN ('N', 'B') AND n.name ~ '^(is)?(running|up|alive|online|healthy)$' AND NOT $2 ? 'running');
$function$;

-- What newcomers would else miss in silence: columns that look like a metric which is not mapped, half of a reading, a time
-- that no column says, silence that means nothing, what never runs, and shares of 1. Of what was said not to be wanted ('' in `mapping`) nothing is told.
CREATE OR REPLACE FUNCTION alerting.notices_of(source int, mapping jsonb, tried record) RETURNS TABLE (line text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  s record;
  unused text;
  other_half text;
BEGIN
  SELECT * INTO s FROM alerting.metric_source m WHERE m.id = source;
  unused := alerting.unmapped_metrics(s.metrics, mapping);
  IF unused IS NOT NULL THEN
    line := format('columns of %s that look like metrics, but are not mapped: %s', s.metrics, unused);
    hint := 'Map what you need: cpu and memory are percentages, for example cpu => ''100 * cpu_ratio''; restarts is a counter, running a condition: running => $$status = ''up''$$.';
    RETURN NEXT;
  END IF;
  -- The other half may be another table's.
  SELECT CASE WHEN count(m.memory_limit) = 0 THEN 'memory_limit' ELSE 'memory_used' END INTO other_half
    FROM alerting.metric_source m HAVING (count(m.memory_used) = 0) <> (count(m.memory_limit) = 0);
  IF other_half IS NOT NULL AND mapping ?| ARRAY['memory_used', 'memory_limit'] AND coalesce(mapping ->> 'memory', '') = ''
     AND NOT mapping ? other_half THEN
    line := format('memory of %s gives no reading: %s is mapped by no table', s.metrics, other_half);
    hint := 'Map memory_used and memory_limit, in one unit, or memory, a percentage.';
    RETURN NEXT;
  END IF;
  IF (SELECT d.columns = '{}' FROM alerting.describe_mapping(s.metrics, 'm', 'at', s.at, NULL, 'pg_catalog') d) THEN
    line := format('the time of a row of table %s is that at which it is read: %s names none of its columns', s.metrics, s.at);
    hint := 'After a restart its rows are read again, and count as new. Give a column that says when a row was written, such as one of DEFAULT now().';
    RETURN NEXT;
  END IF;
  -- Of the containers' own row a time at which it was seen comes again and again; one at which it was changed may not.
  IF s.running IS NOT NULL AND num_nonnulls(s.cpu, s.memory, s.memory_used, s.memory_limit) = 0 AND s.stale_after = interval '5 minutes'
     AND (CASE WHEN s.metrics = (SELECT b.containers FROM alerting.host_binding b) THEN alerting.plain_name(s.at) ~ 'updat|modif|chang' ELSE s.restarts IS NULL END) THEN
    line := format('a container of which table %s tells nothing for 5 minutes is silent, and CONTAINER_DOWN fires', s.metrics);
    hint := 'Where rows come, or change, only when a state does, say so: stale_after => ''10 years''.';
    RETURN NEXT;
  END IF;
  IF s.running IS NOT NULL AND tried.runs IS FALSE THEN
    line := format('running of table %s is true of none of the %s rows that were tried: their containers count as down', s.metrics, tried.rows);
    hint := 'If some of them run, say how their rows say it, for example: running => $$status LIKE ''Up %''$$.';
    RETURN NEXT;
  END IF;
  RETURN QUERY SELECT format('%s of table %s is taken for a percentage, but %s', o.reading, s.metrics, o.problem), o.hint
                 FROM alerting.shares_of_one(source, tried) o;
END
$function$;

-- Replay after a restart reads what is newer than each container's last judged sample.
CREATE OR REPLACE FUNCTION alerting.warn_of_missing_index(metrics regclass, container text, at text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF metrics = (SELECT b.containers FROM alerting.host_binding b) OR alerting.has_replay_index(metrics, container, at) THEN
    RETURN;
  END IF;
  RAISE WARNING 'table % has no index that finds a container''s newest rows', metrics
    USING DETAIL = 'After a restart the rows since the last judged ones are read again; without an index the whole table is read.',
          HINT = alerting.suggested_index(metrics, container, at);
END
$function$;

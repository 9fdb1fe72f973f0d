-- Binding to the usual tables at CREATE EXTENSION.

-- The host's tables with one of these names: those that are permanent ('p'), also those that are unlogged ('pu').
CREATE OR REPLACE FUNCTION alerting.find_tables(names text[], persistence text) RETURNS regclass[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(array_agg(c.oid::regclass ORDER BY c.oid), '{}')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p') AND position(c.relpersistence::text IN $2) > 0 AND NOT c.relispartition
     AND n.nspname !~ '^pg_' AND n.nspname !~ '^_timescaledb_' AND n.nspname NOT IN ('information_schema', 'alerting')
     AND alerting.plain_name(c.relname) = ANY ($1);
$function$;

-- Says at CREATE EXTENSION what was done or is to be done. PostgreSQL raises client_min_messages to
-- warning for every extension script; only who asked for errors alone wants silence.
CREATE OR REPLACE FUNCTION alerting.tell(line text, hint text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  level text := current_setting('client_min_messages');
BEGIN
  IF level IN ('error', 'fatal', 'panic') THEN
    RETURN;
  END IF;
  PERFORM set_config('client_min_messages', 'notice', true);
  IF coalesce(hint, '') = '' THEN
    RAISE NOTICE 'alerting: %', line;
  ELSE
    RAISE NOTICE 'alerting: %', line USING HINT = hint;
  END IF;
  PERFORM set_config('client_min_messages', level, true);
END
$function$;

-- The metrics tables that belong to the bound containers.
CREATE OR REPLACE FUNCTION alerting.find_metrics_tables() RETURNS regclass[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(array_agg(t.rel ORDER BY t.rel), '{}')
    FROM (SELECT unnest(alerting.find_tables(ARRAY['containermetric', 'containermetrics', 'containerstat', 'containerstats',
                   'containersample', 'containersamples', 'containerusage', 'containermetricsample', 'containermetricsamples'], 'pu')) AS rel
          UNION
          SELECT m.rel FROM unnest(alerting.find_tables(ARRAY['metric', 'metrics', 'sample', 'samples', 'stat', 'stats', 'measurement', 'measurements'], 'pu')) AS m(rel),
                 alerting.host_binding b
           WHERE cardinality(alerting.referring_columns(m.rel, b.containers)) = 1
              OR alerting.referring_expression(m.rel, 'm', b.containers) IS NOT NULL) t;
$function$;

CREATE OR REPLACE FUNCTION alerting.bind_host() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  organizations regclass[];
  containers regclass[];
  found_metrics regclass[];
  metrics regclass;
  host record;
  line text;
  problem text;
  advice text;
  several text := '';
BEGIN
  IF to_regclass('alerting.host_binding') IS NOT NULL THEN
    SELECT b.organizations, b.containers INTO host FROM alerting.host_binding b;
    IF FOUND THEN
      -- Adopted as it was left; a table that is gone is told, never an error.
      PERFORM alerting.create_tables(host.organizations, host.containers);
      PERFORM alerting.tell(format('adopted the rules and history of organizations %s and containers %s, repaired %s parts',
                                   host.organizations, host.containers, alerting.repair()));
      -- Says to the binding's trigger that there is work again.
      UPDATE alerting.host_binding SET updated_at = updated_at WHERE false;
      PERFORM alerting.warn_of_copy();
      RETURN;
    END IF;
  END IF;

  organizations := alerting.find_tables(ARRAY['organization', 'organizations', 'organisation', 'organisations'], 'p');
  containers := alerting.find_tables(ARRAY['container', 'containers'], 'p');
  IF cardinality(organizations) <> 1 OR cardinality(containers) <> 1 THEN
    IF cardinality(organizations) > 1 OR cardinality(containers) > 1 THEN
      several := format(': cannot choose among %s', array_to_string(
        CASE WHEN cardinality(organizations) > 1 THEN organizations ELSE '{}' END
        || CASE WHEN cardinality(containers) > 1 THEN containers ELSE '{}' END, ', '));
    END IF;
    PERFORM alerting.tell('installed, not bound to any tables yet' || several, format('Bind it to yours: SELECT alerting.attach(%s, %s);',
      CASE WHEN cardinality(organizations) = 1 THEN quote_literal(organizations[1]) ELSE 'organizations => ''...''' END,
      'containers => ' || CASE WHEN cardinality(containers) = 1 THEN quote_literal(containers[1]) ELSE '''...''' END));
    RETURN;
  END IF;

  BEGIN
    FOR line IN SELECT alerting.bind_tables(organizations[1], containers[1], NULL, NULL, 'pg_catalog') LOOP
      PERFORM alerting.tell(line) WHERE line NOT LIKE 'no metrics yet%';
    END LOOP;
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
    PERFORM alerting.tell(format('installed, not bound to tables %s and %s: %s', organizations[1], containers[1], problem), advice);
    RETURN;
  END;

  found_metrics := alerting.find_metrics_tables();
  metrics := CASE WHEN cardinality(found_metrics) = 1 THEN found_metrics[1] END;
  BEGIN
    IF metrics IS NOT NULL THEN
      FOR line IN SELECT alerting.bind_metrics(metrics, '{}', '1 hour', '5 minutes', 'UTC', NULL, NULL, 'pg_catalog') LOOP
        PERFORM alerting.tell(line);
      END LOOP;
      PERFORM alerting.tell(n.line, n.hint)
         FROM alerting.metric_source s, LATERAL alerting.notices_of(s.id, jsonb_strip_nulls(to_jsonb(s)), alerting.try_source(s.id)) n;
      PERFORM alerting.tell('there are no rules yet', alerting.example_rule(s.id))
         FROM alerting.metric_source s WHERE alerting.has_no_rules();
      RETURN;
    END IF;
    problem := CASE WHEN found_metrics = '{}' THEN 'found no metrics table' ELSE 'cannot choose metrics among ' || array_to_string(found_metrics, ', ') END;
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
    problem := format('did not attach metrics %s: %s', metrics, problem);
  END;
  PERFORM alerting.tell(problem, CASE WHEN metrics IS NULL THEN 'Attach yours: SELECT alerting.attach_metrics(''...'');'
                                      ELSE format('Attach it: SELECT alerting.attach_metrics(%L, ...); %s', metrics, advice) END);
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
  RAISE WARNING 'alerting: installed, but its tables are not ready: %', problem
    USING HINT = 'Call alerting.attach(...) when this is solved. ' || advice;
END
$function$;

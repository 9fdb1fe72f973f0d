-- Rules and webhooks by function; plain INSERTs do as well.

-- Without its length: a cast to varchar(4) would make another key of one that is too long.
CREATE OR REPLACE FUNCTION alerting.organization_type() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format_type(a.atttypid, -1) FROM pg_attribute a
   WHERE a.attrelid = 'alerting.alert_rule'::regclass AND a.attname = 'organization_id';
$function$;

CREATE OR REPLACE FUNCTION alerting.organization_advice() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format('Give the key of a row of table %s.', b.organizations) FROM alerting.host_binding b;
$function$;

CREATE OR REPLACE FUNCTION alerting.require_organization(organization text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  PERFORM alerting.require_binding();
  IF organization IS NULL THEN
    RAISE EXCEPTION 'organization must not be NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = alerting.organization_advice();
  END IF;
  -- Here and below a text becomes a key by the type's input function: a cast may be that of the type's
  -- owner, and would run with the caller's rights.
  BEGIN
    EXECUTE format('SELECT (SELECT r.key FROM jsonb_to_record(jsonb_build_object(''key'', $1)) AS r (key %s))', alerting.organization_type()) USING organization;
  EXCEPTION WHEN data_exception THEN
    RAISE EXCEPTION '%', SQLERRM USING ERRCODE = SQLSTATE, HINT = alerting.organization_advice();
  END;
END
$function$;

-- For hints: how many rules and webhooks an organization has, 2 for more; NULL where the caller may not know.
CREATE OR REPLACE FUNCTION alerting.count_of(organization text, OUT rules bigint, OUT webhooks bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  counting CONSTANT text := 'SELECT count(*) FROM (SELECT FROM alerting.%1$I t WHERE t.organization_id %2$s (SELECT r.key FROM jsonb_to_record(jsonb_build_object(''key'', $1)) AS r (key %3$s)) LIMIT 2) few';
BEGIN
  IF has_column_privilege('alerting.alert_rule', 'organization_id', 'SELECT') AND has_column_privilege('alerting.webhook', 'organization_id', 'SELECT') THEN
    EXECUTE format(counting, 'alert_rule', alerting.key_equality('alert_rule', 'organization_id'), alerting.organization_type()) INTO rules USING organization;
    EXECUTE format(counting, 'webhook', alerting.key_equality('webhook', 'organization_id'), alerting.organization_type()) INTO webhooks USING organization;
  END IF;
END
$function$;

-- What is odd about a threshold that is accepted, NULL for nothing: readings are percentages.
CREATE OR REPLACE FUNCTION alerting.odd_threshold(condition text, threshold float8, OUT problem text, OUT hint text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF condition IN ('CPU_USAGE', 'MEMORY_USAGE') AND threshold > 0 AND threshold <= 1 THEN
    problem := format('threshold %s is a percentage: the rule breaches above %1$s %%', threshold);
    hint := format('If that was meant as a share of 1, the threshold is %s.', 100 * threshold);
  ELSIF condition = 'MEMORY_USAGE' AND threshold >= 100 THEN
    problem := format('threshold %s is a percentage, and memory is never above 100 %%', threshold);
    hint := 'Give a percentage of the limit, such as 90.';
  END IF;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.create_rule(organization text, name text, condition text, threshold float8 DEFAULT NULL,
  duration int DEFAULT 0, no_data text DEFAULT NULL, enabled boolean DEFAULT true) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  new_id text;
  problem text;
  details text;
  violated text;
  odd record;
BEGIN
  PERFORM alerting.require_organization(organization);
  BEGIN
    EXECUTE format('INSERT INTO alerting.alert_rule (organization_id, name, condition, threshold, duration, no_data, enabled)
                    VALUES ((SELECT r.key FROM jsonb_to_record(jsonb_build_object(''key'', $1)) AS r (key %s)), $2, $3, $4, $5, $6, $7) RETURNING id', alerting.organization_type())
      INTO new_id USING organization, name, condition, threshold, duration, no_data, enabled;
  EXCEPTION WHEN foreign_key_violation THEN
    GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, details = PG_EXCEPTION_DETAIL, violated = CONSTRAINT_NAME;
    IF violated <> 'alert_rule_organization_id_fkey' THEN
      RAISE;
    END IF;
    RAISE EXCEPTION '%', problem
      USING ERRCODE = SQLSTATE, SCHEMA = 'alerting', TABLE = 'alert_rule', CONSTRAINT = violated, DETAIL = details,
            HINT = alerting.organization_advice();
  END;
  odd := alerting.odd_threshold(condition, threshold);
  IF odd.problem IS NOT NULL THEN
    RAISE NOTICE '%', odd.problem USING HINT = odd.hint;
  END IF;
  IF (SELECT c.rules = 1 AND c.webhooks = 0 FROM alerting.count_of(organization) c) THEN
    RAISE NOTICE 'nobody is told of the alerts of organization % yet', organization
      USING HINT = format('SELECT alerting.create_webhook(%L, ''https://...'', secret => alerting.generate_secret());', organization);
  END IF;
  RETURN new_id;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.create_webhook(organization text, url text, secret text DEFAULT NULL,
  retry_schedule interval[] DEFAULT NULL, is_active boolean DEFAULT true, headers jsonb DEFAULT NULL, rate_limit int DEFAULT NULL,
  max_concurrent int DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  new_id text;
  problem text;
  details text;
  violated text;
BEGIN
  PERFORM alerting.require_organization(organization);
  BEGIN
    EXECUTE format('INSERT INTO alerting.webhook (organization_id, url, secret, retry_schedule, is_active, headers, rate_limit, max_concurrent)
                    VALUES ((SELECT r.key FROM jsonb_to_record(jsonb_build_object(''key'', $1)) AS r (key %s)), $2, $3, $4, $5, $6, $7, $8) RETURNING id', alerting.organization_type())
      INTO new_id USING organization, url, secret, retry_schedule, is_active, headers, rate_limit, max_concurrent;
  EXCEPTION WHEN foreign_key_violation THEN
    GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, details = PG_EXCEPTION_DETAIL, violated = CONSTRAINT_NAME;
    IF violated <> 'webhook_organization_id_fkey' THEN
      RAISE;
    END IF;
    RAISE EXCEPTION '%', problem
      USING ERRCODE = SQLSTATE, SCHEMA = 'alerting', TABLE = 'webhook', CONSTRAINT = violated, DETAIL = details,
            HINT = alerting.organization_advice();
  END;
  IF (SELECT c.webhooks = 1 FROM alerting.count_of(organization) c) THEN
    RAISE NOTICE 'this is the first webhook of organization %', organization
      USING HINT = 'Try it, with the id that is returned: SELECT * FROM alerting.test_webhook(id);';
  END IF;
  RETURN new_id;
END
$function$;

-- Keys of the other kinds, so that nobody has to write a cast.
CREATE OR REPLACE FUNCTION alerting.create_rule(organization bigint, name text, condition text, threshold float8 DEFAULT NULL,
  duration int DEFAULT 0, no_data text DEFAULT NULL, enabled boolean DEFAULT true) RETURNS text
LANGUAGE sql VOLATILE
RETURN alerting.create_rule(organization::text, name, condition, threshold, duration, no_data, enabled);

CREATE OR REPLACE FUNCTION alerting.create_rule(organization uuid, name text, condition text, threshold float8 DEFAULT NULL,
  duration int DEFAULT 0, no_data text DEFAULT NULL, enabled boolean DEFAULT true) RETURNS text
LANGUAGE sql VOLATILE
RETURN alerting.create_rule(organization::text, name, condition, threshold, duration, no_data, enabled);

CREATE OR REPLACE FUNCTION alerting.create_webhook(organization bigint, url text, secret text DEFAULT NULL,
  retry_schedule interval[] DEFAULT NULL, is_active boolean DEFAULT true, headers jsonb DEFAULT NULL, rate_limit int DEFAULT NULL,
  max_concurrent int DEFAULT NULL) RETURNS text
LANGUAGE sql VOLATILE
RETURN alerting.create_webhook(organization::text, url, secret, retry_schedule, is_active, headers, rate_limit, max_concurrent);

CREATE OR REPLACE FUNCTION alerting.create_webhook(organization uuid, url text, secret text DEFAULT NULL,
  retry_schedule interval[] DEFAULT NULL, is_active boolean DEFAULT true, headers jsonb DEFAULT NULL, rate_limit int DEFAULT NULL,
  max_concurrent int DEFAULT NULL) RETURNS text
LANGUAGE sql VOLATILE
RETURN alerting.create_webhook(organization::text, url, secret, retry_schedule, is_active, headers, rate_limit, max_concurrent);

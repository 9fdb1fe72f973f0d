-- Rules and webhooks by function; plain INSERTs do as well.

CREATE OR REPLACE FUNCTION alerting.require_organization(organization text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  PERFORM alerting.require_binding();
  IF organization IS NULL THEN
    RAISE EXCEPTION 'organization must not be NULL'
      USING ERRCODE = 'null_value_not_allowed',
            HINT = format('Give the key of a row of table %s, as text.', (SELECT b.organizations FROM alerting.host_binding b));
  END IF;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.organization_type() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
   WHERE a.attrelid = 'alerting.alert_rule'::regclass AND a.attname = 'organization_id';
$function$;

-- For hints: how many rules and webhooks an organization has; NULL where the caller may not know.
CREATE OR REPLACE FUNCTION alerting.count_of(organization text, OUT rules bigint, OUT webhooks bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF has_column_privilege('alerting.alert_rule', 'organization_id', 'SELECT') AND has_column_privilege('alerting.webhook', 'organization_id', 'SELECT') THEN
    SELECT count(*) INTO rules FROM alerting.alert_rule r WHERE r.organization_id::text = organization;
    SELECT count(*) INTO webhooks FROM alerting.webhook w WHERE w.organization_id::text = organization;
  END IF;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.create_rule(organization text, name text, condition text, threshold float8 DEFAULT NULL,
  duration int DEFAULT 0, no_data text DEFAULT NULL, enabled boolean DEFAULT true) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  new_id text;
BEGIN
  PERFORM alerting.require_organization(organization);
  EXECUTE format('INSERT INTO alerting.alert_rule (organization_id, name, condition, threshold, duration, no_data, enabled)
                  VALUES ($1::%s, $2, $3, $4, $5, $6, $7) RETURNING id', alerting.organization_type())
    INTO new_id USING organization, name, condition, threshold, duration, no_data, enabled;
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
BEGIN
  PERFORM alerting.require_organization(organization);
  EXECUTE format('INSERT INTO alerting.webhook (organization_id, url, secret, retry_schedule, is_active, headers, rate_limit, max_concurrent)
                  VALUES ($1::%s, $2, $3, $4, $5, $6, $7, $8) RETURNING id', alerting.organization_type())
    INTO new_id USING organization, url, secret, retry_schedule, is_active, headers, rate_limit, max_concurrent;
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

-- Binding the organizations and containers tables.

-- The stored form of a mapping that gives a key. Its type must be of the key's kind (numbers and
-- uuids also make a text key); everything else is probably a mistake. A key of an unusual type is of
-- that very type, for what is no such key must not get further than to the row that says it.
CREATE OR REPLACE FUNCTION alerting.key_mapping(rel regclass, alias text, what text, expression text, key_type regtype, path text,
  OUT sql text, OUT is_column boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  described record;
BEGIN
  SELECT * INTO described FROM alerting.describe_mapping(rel, alias, what, expression, NULL, path);
  IF NOT alerting.fits_key(described.type, key_type) THEN
    RAISE EXCEPTION 'mapping "%" of table % has type %, but the key has type %', what, rel, described.type, key_type
      USING ERRCODE = 'datatype_mismatch', DETAIL = format('The mapping is: %s', expression),
            HINT = format('Name the column or expression that holds the key, or cast it: (...)::%s', key_type);
  END IF;
  IF alerting.usual_key_kind(key_type) IS NULL AND alerting.base_type(described.type) <> alerting.base_type(key_type) THEN
    SELECT * INTO described FROM alerting.describe_mapping(rel, alias, what, format('(%s)::%s', expression, alerting.base_type(key_type)), NULL, path);
  END IF;
  sql := described.sql;
  is_column := described.is_column;
END
$function$;

-- One attach at a time.
CREATE OR REPLACE FUNCTION alerting.lock_binding() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT pg_advisory_xact_lock(hashtextextended('alerting.attach', 0));
$function$;

-- Lines that say what differs between two rows of a binding table, given as JSON.
CREATE OR REPLACE FUNCTION alerting.changes(before jsonb, after jsonb, names text[]) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format('%s: %s, was %s', n.name, coalesce($2 ->> n.name, 'none'), coalesce($1 ->> n.name, 'none'))
    FROM unnest($3) WITH ORDINALITY AS n(name, position)
   WHERE ($1 ->> n.name) IS DISTINCT FROM ($2 ->> n.name) ORDER BY n.position;
$function$;

-- Refuses tables that only have our names, before the first ones are made: a migration whose models were
-- copied makes such, without what keeps rules and alerts right.
CREATE OR REPLACE FUNCTION alerting.check_own_tables() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  others CONSTANT text := (
    SELECT string_agg(t.rel::text, ', ' ORDER BY t.rel::text)
      FROM (SELECT to_regclass('alerting.' || o.name) AS rel, o.marker
              FROM (VALUES ('alert_rule', 'alert_rule_condition_is_known'), ('alert', 'alert_status_is_known'), ('delivery', 'delivery_status_is_known')) AS o(name, marker)) t
     WHERE t.rel IS NOT NULL AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = t.rel AND k.conname = t.marker));
BEGIN
  IF others IS NOT NULL AND to_regclass('alerting.host_binding') IS NULL THEN
    RAISE EXCEPTION 'schema alerting has tables that alerting did not make: %', others
      USING ERRCODE = 'duplicate_table',
            HINT = 'If a migration made them of the models for your ORM, drop them, and tell it that they are not its own; if they are something else, move them to another schema.';
  END IF;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.bind_tables(host_organizations regclass, host_containers regclass, organization_mapping text, name_mapping text, path text)
RETURNS SETOF text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $function$
DECLARE
  organization_key record;
  container_key record;
  mapping record;
  name_column text;
  host_name text;
  guessed text;
  repaired int;
  former regclass;
  is_copy boolean;
  before jsonb;
  after jsonb;
  differences text[];
  tried record;
BEGIN
  PERFORM alerting.lock_binding();
  PERFORM alerting.check_table(host_organizations, 'organizations', true), alerting.check_table(host_containers, 'containers', true);
  organization_key := alerting.key_of(host_organizations, 'organizations');
  container_key := alerting.key_of(host_containers, 'containers');
  IF host_organizations = host_containers THEN
    RAISE EXCEPTION 'organizations and containers are the same table %', host_containers
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Name the table of the tenants and the table of the containers.';
  END IF;
  IF to_regclass('alerting.host_binding') IS NULL
     AND NOT pg_has_role(current_user, (SELECT e.extowner FROM pg_extension e WHERE e.extname = 'alerting'), 'USAGE') THEN
    RAISE EXCEPTION 'only the owner of extension "alerting" can attach the first tables'
      USING ERRCODE = 'insufficient_privilege', DETAIL = 'The first call creates the tables of alerting.';
  END IF;

  IF organization_mapping IS NULL THEN
    guessed := alerting.guess_organization(host_organizations, host_containers);
    IF guessed IS NULL AND to_regclass('alerting.host_binding') IS NOT NULL THEN
      guessed := (SELECT b.organization FROM alerting.host_binding b
                   WHERE b.organizations = host_organizations AND b.containers = host_containers);
    END IF;
    IF guessed IS NULL THEN
      RAISE EXCEPTION 'cannot tell which organization a row of table % belongs to', host_containers
        USING ERRCODE = 'invalid_parameter_value',
              DETAIL = coalesce((SELECT format('Its column %s has type %s, but the key of %s has type %s.', f.column_name, f.type, host_organizations, f.key_type)
                                   FROM alerting.misfit(host_containers, 'c', host_organizations) f WHERE f.column_name IS NOT NULL),
                                format('It has no foreign key to %s and no column with a usual name, such as organization_id.', host_organizations)),
              HINT = CASE WHEN cardinality(alerting.referring_columns(host_organizations, host_containers)) > 0
                          THEN format('Are they the other way round? SELECT alerting.attach(organizations => %L, containers => %L);', host_containers, host_organizations)
                          ELSE format('Say it: SELECT alerting.attach(%L, %L, organization => %L);', host_organizations, host_containers,
                                      coalesce(alerting.suggest_organization(host_organizations, host_containers),
                                               'a column''s name, or an SQL expression over c, the container''s row')) END;
    END IF;
  END IF;
  mapping := alerting.key_mapping(host_containers, 'c', 'organization', coalesce(organization_mapping, guessed), organization_key.type, path);

  IF name_mapping IS NULL THEN
    name_column := alerting.guess_column(host_containers, ARRAY['name', 'containername', 'displayname', alerting.row_name(host_containers) || 'name', 'appname', 'servicename', 'instancename', 'podname', 'taskname', 'vmname', 'machinename', 'workloadname',
                                                                'title', 'hostname', 'fqdn', 'label', 'slug']);
  ELSE
    name_column := (SELECT d.sql FROM alerting.describe_mapping(host_containers, 'c', 'name', name_mapping, NULL, path) d WHERE d.is_column);
    IF name_column IS NULL THEN
      RAISE EXCEPTION 'name must be a column of table %, not an expression', host_containers
        USING ERRCODE = 'invalid_parameter_value', DETAIL = format('The mapping is: %s', name_mapping),
              HINT = format('A generated column will do: ALTER TABLE %s ADD alerting_name text GENERATED ALWAYS AS (%s) STORED;', host_containers, name_mapping);
    END IF;
  END IF;
  host_name := alerting.guess_column(host_organizations, ARRAY['name', 'organizationname', 'displayname', alerting.row_name(host_organizations) || 'name', 'companyname', 'legalname', 'title', 'label', 'slug']);

  PERFORM alerting.check_own_tables();
  former := (SELECT c.confrelid FROM pg_constraint c WHERE c.conrelid = to_regclass('alerting.alert') AND c.conname = 'alert_container_id_fkey');
  PERFORM alerting.create_tables(host_organizations, host_containers);
  SELECT to_jsonb(b)
         || CASE WHEN o.oid IS NULL THEN jsonb_build_object('organizations', 'a table that is gone') ELSE '{}' END
         || CASE WHEN c.oid IS NULL THEN jsonb_build_object('containers', 'a table that is gone') ELSE '{}' END
    INTO before
    FROM alerting.host_binding b LEFT JOIN pg_class o ON o.oid = b.organizations LEFT JOIN pg_class c ON c.oid = b.containers;
  IF before IS NULL OR (before - '{id,database_oid,alert_oid,system_id,written_by,layout,created_at,updated_at}'::text[]) IS DISTINCT FROM
     jsonb_build_object('organizations', host_organizations, 'containers', host_containers, 'organization', mapping.sql,
       'organization_is_column', mapping.is_column, 'name', name_column, 'organization_name', host_name,
       'container_key', container_key.column_name, 'container_key_kind', container_key.kind,
       'organization_key', organization_key.column_name) THEN
    repaired := alerting.repair();
    is_copy := alerting.is_copy();
    -- After a detach() another containers table is about others, though keys may be the same.
    IF before IS NULL AND former IS DISTINCT FROM host_containers THEN
      DELETE FROM alerting.series_state;
    END IF;
    IF before IS NOT NULL AND (before ->> 'containers') <> host_containers::text THEN
      PERFORM alerting.unwatch_containers();
    END IF;
    INSERT INTO alerting.host_binding AS b (organizations, containers, organization, organization_is_column, name, organization_name,
        container_key, container_key_kind, organization_key, database_oid, alert_oid)
      VALUES (host_organizations, host_containers, mapping.sql, mapping.is_column, name_column, host_name,
        container_key.column_name, container_key.kind, organization_key.column_name,
        (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()), 'alerting.alert'::regclass)
      ON CONFLICT ON CONSTRAINT host_binding_pkey DO UPDATE
      SET organizations = excluded.organizations, containers = excluded.containers, organization = excluded.organization,
          organization_is_column = excluded.organization_is_column, name = excluded.name,
          organization_name = excluded.organization_name, container_key = excluded.container_key,
          container_key_kind = excluded.container_key_kind, organization_key = excluded.organization_key, updated_at = now();
    IF NOT is_copy THEN
      PERFORM alerting.seal_binding();
    END IF;
    PERFORM alerting.watch_containers(true);
  END IF;
  repaired := coalesce(repaired, 0) + alerting.repair();
  SELECT to_jsonb(b) INTO after FROM alerting.host_binding b;

  IF guessed IS NOT NULL AND (before IS NULL OR (before ->> 'organization') <> mapping.sql) THEN
    RAISE NOTICE 'organization of a container: % (guessed)', mapping.sql;
  END IF;
  IF NOT mapping.is_column AND (before IS NULL OR (before ->> 'organization') <> mapping.sql) THEN
    tried := alerting.try_organization();
    IF tried.state IS NOT NULL THEN
      RAISE WARNING 'the organization of no container of table % can be told: %', host_containers, tried.problem
        USING HINT = alerting.mapping_advice(host_containers, tried.state);
    ELSIF tried.failing > 0 THEN
      RAISE WARNING 'the organization of % of the containers of table % cannot be told', tried.failing, host_containers
        USING DETAIL = 'Its expression fails on their rows. They belong to no organization.',
              HINT = 'Let the expression be NULL there; where it finds several rows, let it choose one, by LIMIT 1.';
    END IF;
  END IF;
  IF before IS NULL THEN
    RETURN NEXT format('bound to organizations %s and containers %s', host_organizations, host_containers);
    RETURN NEXT format('organization of a container: %s', mapping.sql);
    RETURN NEXT format('name of a container: %s', coalesce(name_column, 'none'));
  ELSE
    differences := ARRAY(SELECT alerting.changes(before, after, ARRAY['organizations', 'containers', 'organization', 'name',
                                                 'organization_name', 'container_key', 'organization_key']));
    IF cardinality(differences) > 0 THEN
      RETURN NEXT format('changed the binding to organizations %s and containers %s', host_organizations, host_containers);
      RETURN QUERY SELECT unnest(differences);
      RETURN QUERY SELECT format('attached for the former containers: %s; call attach_metrics or detach_metrics for each', string_agg(m.metrics::text, ', ' ORDER BY m.id))
                     FROM alerting.metric_source m
                    WHERE (before ->> 'containers') NOT IN (host_containers::text, 'a table that is gone') HAVING count(*) > 0;
    ELSIF repaired > 0 THEN
      RETURN NEXT format('bound to organizations %s and containers %s as before, repaired %s missing parts', host_organizations, host_containers, repaired);
    ELSE
      RETURN NEXT format('already bound to organizations %s and containers %s, nothing changed', host_organizations, host_containers);
    END IF;
  END IF;
  IF NOT EXISTS (SELECT FROM alerting.metric_source) THEN
    RETURN NEXT 'no metrics yet: call alerting.attach_metrics';
  END IF;
  PERFORM alerting.warn_of_heirs(host_organizations), alerting.warn_of_heirs(host_containers);
  PERFORM alerting.warn_of_copy();
END
$function$;

-- The tables that inherit from this one, whose rows no foreign key to it finds; NULL when there are none.
CREATE OR REPLACE FUNCTION alerting.heirs(rel regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT string_agg(i.inhrelid::regclass::text, ', ' ORDER BY i.inhrelid)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent WHERE c.oid = $1 AND c.relkind = 'r';
$function$;

CREATE OR REPLACE FUNCTION alerting.warn_of_heirs(rel regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF alerting.heirs(rel) IS NOT NULL THEN
    RAISE WARNING 'rows of the tables that inherit from % do not count: %', rel, alerting.heirs(rel)
      USING DETAIL = 'Rules and alerts refer to rows by foreign keys, which find none of a table''s children.',
            HINT = 'Attach a table that has them all, which a trigger on each keeps: docs/binding.md.';
  END IF;
END
$function$;

-- Whether this database is another than the one where the binding was recorded: other OIDs, or another
-- system identifier and a row that was not written by the transaction recorded in it (pg_upgrade changes
-- the one and keeps the other).
CREATE OR REPLACE FUNCTION alerting.is_copy() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  RETURN EXISTS (SELECT FROM alerting.host_binding b
                  WHERE b.alert_oid <> 'alerting.alert'::regclass::oid
                     OR b.database_oid <> (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                     OR (b.system_id <> (SELECT c.system_identifier FROM pg_control_system() c)
                         AND b.written_by IS DISTINCT FROM b.xmin::text::bigint));
END
$function$;

-- Records that this database is the one that sends.
CREATE OR REPLACE FUNCTION alerting.seal_binding() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  UPDATE alerting.host_binding
     SET database_oid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()),
         alert_oid = 'alerting.alert'::regclass, system_id = (SELECT c.system_identifier FROM pg_control_system() c);
  -- The same transaction, or savepoint, writes the row again and so stays its writer.
  UPDATE alerting.host_binding b SET written_by = b.xmin::text::bigint;
END
$function$;

-- A restored copy of a database holds its deliveries; whoever works on it should know.
CREATE OR REPLACE FUNCTION alerting.warn_of_copy() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF alerting.is_copy() THEN
    RAISE WARNING 'this database is a copy of another one: alerts are evaluated, but no webhook is sent'
      USING HINT = 'Call alerting.resume() to send from here, too.';
  END IF;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.attach(organizations regclass, containers regclass, organization text DEFAULT NULL, name text DEFAULT NULL)
RETURNS SETOF text LANGUAGE sql VOLATILE
BEGIN ATOMIC
  -- The one statement that runs under the caller's search_path: it says where the mapping's names are looked up.
  SELECT alerting.bind_tables(organizations, containers, organization, name, pg_catalog.current_setting('search_path'));
END;

CREATE OR REPLACE FUNCTION alerting.unwatch_containers() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $function$
  SELECT alerting.remove_trigger(t.tgrelid, t.tgname)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
   WHERE NOT t.tgisinternal AND t.tgparentid = 0
     AND t.tgname IN ('alerting_container_deleted', 'alerting_container_updated', 'alerting_container_truncated');
$function$;

CREATE OR REPLACE FUNCTION alerting.detach() RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  source regclass;
BEGIN
  PERFORM alerting.require_binding();
  FOR source IN SELECT s.metrics FROM alerting.metric_source s ORDER BY s.id LOOP
    RETURN QUERY SELECT alerting.detach_metrics(source);
  END LOOP;
  PERFORM alerting.unwatch_containers();
  RETURN QUERY DELETE FROM alerting.host_binding b
    RETURNING format('detached from organizations %s and containers %s; rules, webhooks and history are kept', b.organizations, b.containers);
END
$function$;

CREATE OR REPLACE FUNCTION alerting.require_binding() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF to_regclass('alerting.host_binding') IS NOT NULL THEN
    PERFORM FROM alerting.host_binding;
    IF FOUND THEN
      RETURN;
    END IF;
  END IF;
  RAISE EXCEPTION 'alerting is not attached to any tables'
    USING ERRCODE = 'object_not_in_prerequisite_state',
          HINT = 'Call alerting.attach(organizations => ''...'', containers => ''...'') first.';
END
$function$;

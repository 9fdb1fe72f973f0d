-- What DROP EXTENSION takes from the tables, and what brings it back.

-- DROP TRIGGER locks a partitioned table's partitions before the table itself: who reads it meanwhile,
-- as the evaluator may, locks them in the other order, which is a deadlock.
CREATE OR REPLACE FUNCTION alerting.drop_trigger(rel regclass, trigger_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', rel);
  EXECUTE format('DROP TRIGGER %I ON %s', trigger_name, rel);
END
$function$;

-- Creates a trigger unless it is there with these arguments and this function; `force` creates it
-- anyway. `always`: it fires for replicated changes too. Returns whether something was done.
CREATE OR REPLACE FUNCTION alerting.ensure_trigger(rel regclass, trigger_name text, event text, called text,
  arguments text[] DEFAULT '{}', always boolean DEFAULT false, force boolean DEFAULT false) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
DECLARE
  quoted text;
  stored bytea;
  present record;
BEGIN
  SELECT coalesce(string_agg(quote_literal(a.value), ', ' ORDER BY a.n), ''),
         coalesce(string_agg(convert_to(a.value, getdatabaseencoding()) || '\x00', ''::bytea ORDER BY a.n), '')
    INTO quoted, stored
    FROM unnest(arguments) WITH ORDINALITY AS a(value, n);
  SELECT t.oid, t.tgargs, t.tgenabled, p.proname INTO present
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
   WHERE t.tgrelid = rel AND t.tgname = trigger_name AND NOT t.tgisinternal;
  IF FOUND THEN
    IF NOT force AND present.tgargs = stored AND present.proname = called AND (present.tgenabled = 'A' OR NOT always) THEN
      RETURN false;
    END IF;
    PERFORM alerting.drop_trigger(rel, trigger_name);
  END IF;
  EXECUTE format('CREATE TRIGGER %I %s EXECUTE FUNCTION alerting.%I(%s)',
                 trigger_name, replace(event, '%table%', rel::text), called, quoted);
  IF always THEN
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', rel, trigger_name);
  END IF;
  RETURN true;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.remove_trigger(rel regclass, trigger_name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  -- A partition's copy of its parent's trigger stays as long as that.
  IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = rel AND t.tgname = trigger_name AND NOT t.tgisinternal
                   AND t.tgparentid = 0) THEN
    RETURN false;
  END IF;
  PERFORM alerting.drop_trigger(rel, trigger_name);
  RETURN true;
END
$function$;

-- Whether logical replication writes this table here: its apply worker fires ALWAYS row triggers only.
CREATE OR REPLACE FUNCTION alerting.is_subscribed(rel regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid = $1
                 OR s.srrelid IN (SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = $1));
$function$;

-- Whether TimescaleDB keeps this table in chunks.
CREATE OR REPLACE FUNCTION alerting.is_hypertable(rel regclass) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  result boolean := false;
BEGIN
  IF to_regclass('_timescaledb_catalog.hypertable') IS NOT NULL THEN
    EXECUTE 'SELECT EXISTS (SELECT FROM _timescaledb_catalog.hypertable h
               JOIN pg_class c ON c.relname = h.table_name JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = h.schema_name
              WHERE c.oid = $1)' INTO result USING rel;
  END IF;
  RETURN result;
END
$function$;

-- The triggers on the containers table: deleted and moved containers are told to the evaluator at once.
CREATE OR REPLACE FUNCTION alerting.watch_containers(force boolean) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  host record;
  arguments text[];
  deciding text[];
  always boolean;
  done boolean;
BEGIN
  SELECT b.* INTO host FROM alerting.host_binding b JOIN pg_class c ON c.oid = b.containers;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  arguments := ARRAY[host.container_key, host.container_key_kind];
  always := alerting.is_subscribed(host.containers);
  -- The columns that decide where a container belongs are arguments: a condition (WHEN) that named
  -- them would keep the host from altering their types and from dropping them.
  BEGIN
    SELECT array_agg(a.attname::text ORDER BY a.attnum) INTO deciding
      FROM pg_attribute a,
           alerting.describe_mapping(host.containers, 'c', 'organization', host.organization, NULL, 'pg_catalog') d
     WHERE a.attrelid = host.containers AND a.attnum > 0 AND NOT a.attisdropped
       AND quote_ident(a.attname) = ANY (host.container_key || d.columns);
  EXCEPTION WHEN syntax_error_or_access_rule_violation OR undefined_column OR undefined_table OR undefined_function THEN
    -- The host has changed the table; attach(), which is on its way here or has to be called, mends it.
    IF force THEN
      RAISE;
    END IF;
    RETURN false;
  END;
  done := alerting.ensure_trigger(host.containers, 'alerting_container_deleted',
            'AFTER DELETE ON %table% FOR EACH ROW', 'container_changed', arguments, always, force);
  done := alerting.ensure_trigger(host.containers, 'alerting_container_updated',
            'AFTER UPDATE ON %table% FOR EACH ROW', 'container_changed', arguments || deciding, always, force) OR done;
  RETURN alerting.ensure_trigger(host.containers, 'alerting_container_truncated',
            'AFTER TRUNCATE ON %table% FOR EACH STATEMENT', 'container_changed', arguments, false, force) OR done;
END
$function$;

-- The triggers of one metrics table, by its row in metric_source.
CREATE OR REPLACE FUNCTION alerting.watch_metrics(source int) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  s record;
  mapping text[];
  arguments text[];
  done boolean;
BEGIN
  SELECT m.* INTO s FROM alerting.metric_source m JOIN pg_class c ON c.oid = m.metrics WHERE m.id = source;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  mapping := ARRAY[s.id::text, (SELECT b.container_key_kind FROM alerting.host_binding b), s.container, s.at, s.time_zone,
    coalesce(s.at_unit, ''), coalesce(s.cpu, ''), coalesce(s.memory, ''), coalesce(s.memory_used, ''),
    coalesce(s.memory_limit, ''), coalesce(s.running, ''), coalesce(s.restarts, '')];
  -- A single one: every statement on the table copies each argument of each of its triggers.
  arguments := ARRAY[mapping::text];
  IF s.level = 'row' THEN
    done := alerting.remove_trigger(s.metrics, 'alerting_capture_insert');
    done := alerting.remove_trigger(s.metrics, 'alerting_capture_update') OR done;
    -- ALWAYS from the start, so that a subscription made later finds it right. Hypertables, which
    -- nothing can be replicated into, refuse it.
    RETURN alerting.ensure_trigger(s.metrics, 'alerting_capture',
             'AFTER INSERT OR UPDATE ON %table% FOR EACH ROW', 'capture', arguments, NOT alerting.is_hypertable(s.metrics)) OR done;
  END IF;
  done := alerting.remove_trigger(s.metrics, 'alerting_capture');
  done := alerting.ensure_trigger(s.metrics, 'alerting_capture_insert',
            'AFTER INSERT ON %table% REFERENCING NEW TABLE AS alerting_new FOR EACH STATEMENT', 'capture', arguments) OR done;
  RETURN alerting.ensure_trigger(s.metrics, 'alerting_capture_update',
            'AFTER UPDATE ON %table% REFERENCING NEW TABLE AS alerting_new FOR EACH STATEMENT', 'capture', arguments) OR done;
END
$function$;

-- Whose partitions cannot be made: PostgreSQL copies a partitioned table's row triggers to each new partition, TimescaleDB to each
-- chunk, and asks whether the table's owner may execute their function.
CREATE OR REPLACE FUNCTION alerting.shut_partitions() RETURNS TABLE (rel regclass, called regprocedure, owner name)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT t.tgrelid::regclass, t.tgfoid::regprocedure, r.rolname
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_roles r ON r.oid = c.relowner
   WHERE t.tgfoid IN ('alerting.capture()'::regprocedure, 'alerting.container_changed()'::regprocedure)
     AND t.tgparentid = 0 AND t.tgtype & 1 = 1 AND (c.relkind = 'p' OR alerting.is_hypertable(c.oid))
     AND NOT has_function_privilege(c.relowner, t.tgfoid, 'EXECUTE');
$function$;

-- Lets their owners make them. In a database that was restored, or whose tables have another owner since, the evaluator does
-- at its start: what is granted while CREATE EXTENSION runs is in no dump.
CREATE OR REPLACE FUNCTION alerting.open_partitions() RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  item record;
  done int := 0;
BEGIN
  FOR item IN SELECT DISTINCT s.called, s.owner FROM alerting.shut_partitions() s JOIN pg_proc p ON p.oid = s.called
               WHERE pg_has_role(current_user, p.proowner, 'USAGE') LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', item.called, item.owner);
    done := done + 1;
  END LOOP;
  RETURN done;
END
$function$;

-- Views over the tables. They name no column of the host's tables, so that the host's migrations may
-- change those freely. A new column of a view that is known goes to its end.
-- (OFFSET 0: attempts are found by their delivery, also without statistics. Otherwise each webhook's
-- would be picked from all that the table has.)

CREATE OR REPLACE FUNCTION alerting.view_queries(OUT name text, OUT query text) RETURNS SETOF record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
VALUES
('active_alert', $query$
    SELECT a.id, r.organization_id, a.rule_id, r.name AS rule_name, r.condition, r.threshold, r.duration,
           a.container_id, alerting.container_name(format('%s', a.container_id)) AS container_name,
           a.started_at AS since, a.started_at, a.fired_at, a.value
      FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id
     WHERE a.status = 'FIRING'$query$),
('webhook_public', $query$
    SELECT w.id, w.organization_id, substring(w.url FROM '^([A-Za-z]+://)') || substring(w.url FROM '^[A-Za-z]+://(?:[^/?#]*@)?([^/?#@]*)') AS origin,
           w.is_active, w.disabled_reason, w.retry_schedule, w.created_at, w.updated_at, w.rate_limit, w.max_concurrent
      FROM alerting.webhook w$query$),
('webhook_health', $query$
    SELECT w.id AS webhook_id, w.organization_id, w.is_active, w.disabled_reason,
           d.pending, d.oldest_pending_at,
           CASE WHEN d.pending > 0 THEN greatest(d.next_attempt_at, w.probe_at) END AS next_attempt_at, p.failed,
           t.last_success_at, f.last_failure_at, e.error AS last_failure, f.failures_in_a_row,
           t.attempts AS attempts_24h, t.success_ratio AS success_ratio_24h, t.p50_ms AS p50_ms_24h, t.p95_ms AS p95_ms_24h,
           CASE WHEN w.probe_at IS NULL THEN 'closed' WHEN w.probe_at > now() THEN 'open' ELSE 'half-open' END AS breaker, w.probe_at
      FROM alerting.webhook w
      CROSS JOIN LATERAL (
        SELECT count(*) AS pending, min(e.created_at) AS oldest_pending_at, min(e.next_attempt_at) AS next_attempt_at
          FROM alerting.delivery e WHERE e.webhook_id = w.id AND e.status = 'PENDING') d
      CROSS JOIN LATERAL (
        SELECT count(*) AS failed FROM alerting.delivery e WHERE e.webhook_id = w.id AND e.status = 'FAILED') p
      CROSS JOIN LATERAL (
        SELECT max(e.delivered_at) AS last_success_at, count(a.at) AS attempts,
               round(avg((a.error IS NULL)::int) FILTER (WHERE a.at IS NOT NULL), 4) AS success_ratio,
               percentile_disc(0.5) WITHIN GROUP (ORDER BY a.duration_ms) AS p50_ms,
               percentile_disc(0.95) WITHIN GROUP (ORDER BY a.duration_ms) AS p95_ms
          FROM alerting.delivery e
          -- What arrived was not tried after that.
          LEFT JOIN LATERAL (SELECT b.at, b.error, b.duration_ms FROM alerting.delivery_attempt b
                              WHERE b.delivery_id = e.id AND b.at > now() - interval '24 hours'
                                AND (e.delivered_at IS NULL OR e.delivered_at > now() - interval '24 hours') OFFSET 0) a ON true
         WHERE e.webhook_id = w.id) t
      CROSS JOIN LATERAL (
        SELECT max(a.at) AS last_failure_at, count(*) FILTER (WHERE a.at > coalesce(t.last_success_at, '-infinity')) AS failures_in_a_row
          FROM alerting.delivery e
          CROSS JOIN LATERAL (SELECT b.at FROM alerting.delivery_attempt b WHERE b.delivery_id = e.id AND b.error IS NOT NULL OFFSET 0) a
         WHERE e.webhook_id = w.id) f
      LEFT JOIN LATERAL (
        SELECT a.error FROM alerting.delivery e
          CROSS JOIN LATERAL (SELECT b.error FROM alerting.delivery_attempt b
                               WHERE b.delivery_id = e.id AND b.at = f.last_failure_at AND b.error IS NOT NULL OFFSET 0) a
         WHERE e.webhook_id = w.id AND f.last_failure_at IS NOT NULL LIMIT 1) e ON true$query$);
$function$;

-- The statements that grant again what was granted on alerting's views.
CREATE OR REPLACE FUNCTION alerting.view_grants() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(array_agg(format('GRANT %s ON %s TO %s%s', a.privilege_type, c.oid::regclass,
                          CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
                          CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)), '{}')
    FROM alerting.view_queries() v JOIN pg_class c ON c.oid = to_regclass(format('alerting.%I', v.name)), aclexplode(c.relacl) a
   WHERE a.grantee <> c.relowner;
$function$;

-- Creates the views that are missing; `renew`: gives the others their present definition, too. What
-- depends on a view stays, but for a view that lost a column, which is made anew.
CREATE OR REPLACE FUNCTION alerting.create_views(renew boolean) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $function$
DECLARE
  options CONSTANT text := 'WITH (security_invoker = true, security_barrier = true)';
  grants CONSTANT text[] := alerting.view_grants();
  statement text;
  done boolean := false;
  item record;
BEGIN
  FOR item IN SELECT format('alerting.%I', v.name) AS name, v.query, to_regclass(format('alerting.%I', v.name)) IS NOT NULL AS is_there
                FROM alerting.view_queries() v LOOP
    CONTINUE WHEN item.is_there AND NOT renew;
    BEGIN
      -- An extension's script may replace the extension's own objects only.
      IF item.is_there THEN
        EXECUTE format('ALTER EXTENSION alerting ADD VIEW %s', item.name);
      END IF;
      EXECUTE format('CREATE OR REPLACE VIEW %s %s AS %s', item.name, options, item.query);
      IF item.is_there THEN
        EXECUTE format('ALTER EXTENSION alerting DROP VIEW %s', item.name);
      END IF;
    EXCEPTION WHEN invalid_table_definition THEN
      EXECUTE format('DROP VIEW %s', item.name);
      EXECUTE format('CREATE VIEW %s %s AS %s', item.name, options, item.query);
      FOREACH statement IN ARRAY grants LOOP
        EXECUTE statement;
      END LOOP;
    END;
    done := true;
  END LOOP;
  RETURN done;
END
$function$;

-- The triggers of alerting's own tables.
CREATE OR REPLACE FUNCTION alerting.own_triggers() RETURNS TABLE (tab text, trigger_name text, event text, called text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
  VALUES
    ('host_binding', 'alerting_binding_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %table% FOR EACH STATEMENT', 'binding_changed'),
    ('host_binding', 'alerting_check_mapping', 'BEFORE INSERT OR UPDATE ON %table% FOR EACH ROW', 'check_mapping'),
    ('metric_source', 'alerting_check_mapping', 'BEFORE INSERT OR UPDATE ON %table% FOR EACH ROW', 'check_mapping'),
    ('metric_source', 'alerting_binding_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %table% FOR EACH STATEMENT', 'binding_changed'),
    ('alert_rule', 'alerting_rule_defaults', 'BEFORE INSERT OR UPDATE ON %table% FOR EACH ROW', 'rule_defaults'),
    ('alert_rule', 'alerting_rule_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %table% FOR EACH STATEMENT', 'rule_changed'),
    ('alert', 'alerting_alert_deleted', 'AFTER DELETE ON %table% FOR EACH ROW WHEN (OLD.status = ''FIRING'')', 'alert_deleted'),
    ('alert', 'alerting_alert_truncated', 'BEFORE TRUNCATE ON %table% FOR EACH STATEMENT', 'alert_truncated'),
    ('webhook', 'alerting_check_webhook', 'BEFORE INSERT OR UPDATE ON %table% FOR EACH ROW', 'check_webhook'),
    ('webhook', 'alerting_webhook_touched', 'BEFORE UPDATE ON %table% FOR EACH ROW', 'webhook_touched'),
    ('webhook', 'alerting_delivery_changed', 'AFTER INSERT OR UPDATE OR DELETE ON %table% FOR EACH STATEMENT', 'delivery_changed'),
    ('delivery', 'alerting_delivery_changed', 'AFTER INSERT OR UPDATE ON %table% FOR EACH STATEMENT', 'delivery_changed');
$function$;

-- Gives the tables and the host's tables whatever they lack: defaults, triggers, views. Returns how
-- many things were missing. Touches nothing when all is there.
CREATE OR REPLACE FUNCTION alerting.repair() RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off SET client_min_messages = warning AS $function$
DECLARE
  repaired int := 0;
  item record;
BEGIN
  FOR item IN
    SELECT t.name FROM (VALUES ('alert_rule'), ('alert'), ('webhook'), ('delivery')) AS t(name)
     WHERE NOT EXISTS (SELECT FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                        WHERE d.adrelid = format('alerting.%I', t.name)::regclass AND a.attname = 'id')
  LOOP
    EXECUTE format('ALTER TABLE alerting.%I ALTER COLUMN id SET DEFAULT alerting.cuid()', item.name);
    repaired := repaired + 1;
  END LOOP;

  FOR item IN
    SELECT format('alerting.%I', t.tab)::regclass AS rel, t.* FROM alerting.own_triggers() t
  LOOP
    repaired := repaired + alerting.ensure_trigger(item.rel, item.trigger_name, item.event, item.called)::int;
  END LOOP;

  repaired := repaired + alerting.create_views(false)::int;
  PERFORM alerting.comment_tables() WHERE obj_description('alerting.host_binding'::regclass, 'pg_class') IS NULL
                                       OR obj_description('alerting.active_alert'::regclass, 'pg_class') IS NULL;
  PERFORM alerting.disown_tables();
  repaired := repaired + alerting.watch_containers(false)::int;
  FOR item IN SELECT s.id FROM alerting.metric_source s ORDER BY s.id LOOP
    repaired := repaired + alerting.watch_metrics(item.id)::int;
  END LOOP;
  RETURN repaired + alerting.open_partitions();
END
$function$;

-- Inside CREATE EXTENSION every new object becomes a member of the extension; the tables must not.
-- Outside of it nothing is a member and nothing is done.
CREATE OR REPLACE FUNCTION alerting.disown_tables() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  item record;
BEGIN
  FOR item IN
    SELECT c.oid::regclass AS rel, c.relkind FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
     WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND c.relnamespace = 'alerting'::regnamespace
       AND d.refclassid = 'pg_extension'::regclass
       AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'alerting')
     ORDER BY c.oid
  LOOP
    EXECUTE format('ALTER EXTENSION alerting DROP %s %s',
                   CASE item.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, item.rel);
  END LOOP;
END
$function$;

-- Triggers on alerting's own tables.

-- Fills what a rule leaves to its condition, and keeps updated_at honest for clients that don't. Says of
-- a bad rule which value is wrong and what to do, whoever writes it: the table's CHECK constraints, in
-- whose order and under whose names this is, would tell no more than the name, and guard what no trigger
-- sees, or what a user's trigger makes of a rule after this one. No other function of ours is called:
-- who writes rules need not be allowed to execute any.
CREATE OR REPLACE FUNCTION alerting.rule_defaults() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  bad record;
BEGIN
  IF NEW.no_data IS NULL THEN
    NEW.no_data := CASE NEW.condition WHEN 'CONTAINER_DOWN' THEN 'fire' ELSE 'keep' END;
  END IF;
  IF NEW.threshold IS NULL AND NEW.condition = 'RESTART_LOOP' THEN
    NEW.threshold := 3;
  END IF;
  -- As PostgreSQL does, first what is NULL: of such a rule the rest may mean nothing.
  SELECT c.name, c.problem, c.hint INTO bad FROM (VALUES
      ('id', NEW.id IS NULL, NULL, 'Leave it out to have one made.'),
      ('organization_id', NEW.organization_id IS NULL, NULL, 'Give the key of the organization whose containers it is for.'),
      ('name', NEW.name IS NULL, NULL, 'Give it a name that tells people in a webhook what is wrong.'),
      ('condition', NEW.condition IS NULL, NULL, 'There are CPU_USAGE, MEMORY_USAGE, CONTAINER_DOWN and RESTART_LOOP.'),
      ('duration', NEW.duration IS NULL, NULL, 'Give minutes that a breach must last, or leave it out to fire at once.'),
      ('enabled', NEW.enabled IS NULL, NULL, 'Give true or false, or leave it out.'),
      ('condition_is_known', NEW.condition NOT IN ('CPU_USAGE', 'MEMORY_USAGE', 'CONTAINER_DOWN', 'RESTART_LOOP'),
       format('condition is %L', NEW.condition), 'There are CPU_USAGE, MEMORY_USAGE, CONTAINER_DOWN and RESTART_LOOP.'),
      ('duration_not_negative', NEW.duration < 0,
       format('duration is %s', NEW.duration), 'Give minutes that a breach must last, or 0 to fire at once.'),
      ('id_not_empty', NEW.id = '', 'id is empty', 'Leave it out to have one made.'),
      ('name_not_empty', btrim(NEW.name) = '', 'name is empty', 'Give it a name that tells people in a webhook what is wrong.'),
      ('no_data_is_known', NEW.no_data NOT IN ('keep', 'resolve', 'fire'),
       format('no_data is %L', NEW.no_data), 'Give keep, resolve or fire, or leave it out.'),
      ('restart_duration_required', NEW.condition = 'RESTART_LOOP' AND NEW.duration <= 0,
       format('duration is %s', NEW.duration), 'Give the window in which restarts are counted, in minutes, such as 10.'),
      ('restart_threshold_not_negative', NEW.condition = 'RESTART_LOOP' AND NEW.threshold < 0,
       format('threshold is %s', NEW.threshold), 'Give the number of restarts above which it breaches, 0 or more.'),
      ('threshold_is_finite', NOT (NEW.threshold > '-Infinity' AND NEW.threshold < 'Infinity'),
       format('threshold is %s', NEW.threshold),
       CASE NEW.condition WHEN 'CONTAINER_DOWN' THEN 'Leave it out: of CONTAINER_DOWN it means nothing.'
                          WHEN 'RESTART_LOOP' THEN 'Give the number of restarts above which it breaches, 0 or more.'
                          ELSE 'Give the percentage above which it breaches, such as 90.' END),
      ('threshold_required', NEW.condition IN ('CPU_USAGE', 'MEMORY_USAGE') AND NEW.threshold IS NULL,
       'threshold is null', 'Give the percentage above which it breaches, such as 90.')) AS c(name, is_violated, problem, hint)
   WHERE c.is_violated
     AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = TG_RELID AND t.tgname > TG_NAME AND t.tgtype & 3 = 3)  -- BEFORE, FOR EACH ROW
   LIMIT 1;
  IF FOUND AND bad.problem IS NULL THEN
    RAISE EXCEPTION 'null value in column "%" of relation "alert_rule" violates not-null constraint', bad.name
      USING ERRCODE = 'not_null_violation', SCHEMA = 'alerting', TABLE = 'alert_rule', COLUMN = bad.name, HINT = bad.hint;
  ELSIF FOUND THEN
    RAISE EXCEPTION 'new row for relation "alert_rule" violates check constraint "alert_rule_%": %', bad.name, bad.problem
      USING ERRCODE = 'check_violation', SCHEMA = 'alerting', TABLE = 'alert_rule', CONSTRAINT = 'alert_rule_' || bad.name, HINT = bad.hint;
  END IF;
  IF TG_OP = 'UPDATE' AND NEW.updated_at = OLD.updated_at THEN
    NEW.updated_at := now();
  END IF;
  RETURN NEW;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.webhook_touched() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  -- probe_at is the sender's note: no change of the webhook.
  IF NEW.updated_at = OLD.updated_at AND NEW.probe_at IS NOT DISTINCT FROM OLD.probe_at THEN
    NEW.updated_at := now();
  END IF;
  IF NEW.url <> OLD.url OR (NEW.is_active AND NOT OLD.is_active) THEN
    NEW.probe_at := NULL;
  END IF;
  IF NEW.is_active AND NOT OLD.is_active AND NEW.disabled_reason IS NOT DISTINCT FROM OLD.disabled_reason THEN
    NEW.disabled_reason := NULL;
  END IF;
  RETURN NEW;
END
$function$;

-- A mapping runs with the rights of its table's owner. Who may write mappings, without being that
-- owner, must not thereby become him: what attach() and attach_metrics() check holds for plain INSERTs.
CREATE OR REPLACE FUNCTION alerting.check_mapping() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  bound oid;
  tables oid[];
BEGIN
  IF (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
    RETURN NEW;
  ELSIF TG_TABLE_NAME = 'metric_source' THEN
    tables := ARRAY[NEW.metrics];
  ELSE
    tables := ARRAY[NEW.organizations, NEW.containers];
  END IF;
  FOREACH bound IN ARRAY tables LOOP
    -- An OID without a table may be somebody's next table.
    IF NOT coalesce((SELECT pg_has_role(current_user, c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = bound), false) THEN
      RAISE EXCEPTION 'must be owner of table %', bound::regclass
        USING ERRCODE = 'insufficient_privilege', DETAIL = 'Mappings run with the rights of the owner of the table they are about.';
    END IF;
  END LOOP;
  RETURN NEW;
END
$function$;

-- Tells the receivers of an alert's FIRING that it is over. Webhooks that are gone, also those that
-- this very transaction has deleted, get nothing: locking the row says so for certain, so that no
-- foreign key of a delivery can fail later. They are locked in order, and one by one: a plan that joins
-- them could read all webhooks for each alert.
-- (PL/pgSQL keeps its plan, which counts when a host with thousands of alerts is deleted.)
CREATE OR REPLACE FUNCTION alerting.enqueue_resolved(alert text, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  WITH told AS MATERIALIZED (
    SELECT d.webhook_id, d.seq, d.payload FROM alerting.delivery d WHERE d.alert_id = $1 AND d.event = 'alert.firing'),
  newest AS MATERIALIZED (
    SELECT DISTINCT ON (t.webhook_id) t.webhook_id, t.payload FROM told t ORDER BY t.webhook_id, t.seq DESC)
  INSERT INTO alerting.delivery (id, webhook_id, alert_id, event, payload)
  SELECT alerting.cuid(), n.webhook_id, $1, 'alert.resolved', alerting.resolved_payload(n.payload, now(), $2)
    FROM newest n
    CROSS JOIN LATERAL (SELECT FROM alerting.webhook w WHERE w.id = n.webhook_id FOR KEY SHARE) receiver;
END
$function$;

-- An alert that is FIRING goes (with its container, rule or organization, or by itself).
-- SECURITY DEFINER: whoever may delete a container deletes its alerts by cascade and has no right here;
-- reachable as a trigger only, on tables whose owner may execute it.
CREATE OR REPLACE FUNCTION alerting.alert_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  reason text;
  container CONSTANT text := alerting.key_text(OLD.container_id);
BEGIN
  -- Whoever may execute it could hang it on a table of his own.
  IF TG_RELID IS DISTINCT FROM to_regclass('alerting.alert') THEN
    RAISE EXCEPTION 'alerting.alert_deleted() is a trigger of alerting.alert alone' USING ERRCODE = 'trigger_protocol_violated';
  END IF;
  reason := CASE WHEN NOT alerting.container_exists(container) THEN 'CONTAINER_DELETED'
                 WHEN NOT EXISTS (SELECT FROM alerting.alert_rule r WHERE r.id = OLD.rule_id) THEN 'RULE_DELETED'
                 ELSE 'ALERT_DELETED' END;
  PERFORM alerting.enqueue_resolved(OLD.id, reason);
  PERFORM alerting.notify_transition('alert.resolved', OLD.id, OLD.rule_id, container);
  RETURN NULL;
END
$function$;

-- TRUNCATE (also by CASCADE from containers or rules) fires no row trigger.
CREATE OR REPLACE FUNCTION alerting.alert_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  -- Whoever may execute it could hang it on a table of his own.
  IF TG_RELID IS DISTINCT FROM to_regclass('alerting.alert') THEN
    RAISE EXCEPTION 'alerting.alert_truncated() is a trigger of alerting.alert alone' USING ERRCODE = 'trigger_protocol_violated';
  END IF;
  PERFORM alerting.enqueue_resolved(a.id, 'ALERT_DELETED'),
          alerting.notify_transition('alert.resolved', a.id, a.rule_id, alerting.key_text(a.container_id))
     FROM alerting.alert a WHERE a.status = 'FIRING';
  RETURN NULL;
END
$function$;

-- NOTIFY alerting, for live dashboards. A transaction that notifies cannot be prepared (two-phase
-- commit) and waits for others that do; the host's must not because of us: the evaluator notifies.
CREATE OR REPLACE FUNCTION alerting.notify_transition(event text, alert text, rule text, container text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  message text := jsonb_build_object('event', event, 'alertId', alert, 'ruleId', rule, 'containerId', container);
BEGIN
  -- What a message to the evaluator holds; ids are short unless a client is strange.
  PERFORM alerting.notify_at_commit(CASE WHEN octet_length(message) <= 1024 THEN message
                                         ELSE jsonb_build_object('event', event)::text END);
END
$function$;

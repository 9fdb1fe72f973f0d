-- How tables of an older version become those of this one: the same way for ALTER EXTENSION UPDATE, for
-- tables that DROP EXTENSION left, and for those of a dump, which come after CREATE EXTENSION and are
-- noticed by the evaluator when it starts.
--
-- The layout's number is the default of host_binding.layout: a dump carries it, detach() leaves it.

CREATE OR REPLACE FUNCTION alerting.table_names() RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT ARRAY['host_binding', 'metric_source', 'series_state', 'alert_rule', 'alert', 'webhook', 'delivery', 'delivery_attempt'];
$function$;

CREATE OR REPLACE FUNCTION alerting.count_tables() RETURNS int
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT count(*)::int FROM unnest(alerting.table_names()) AS t(name) WHERE to_regclass(format('alerting.%I', t.name)) IS NOT NULL;
$function$;

CREATE OR REPLACE FUNCTION alerting.newest_layout() RETURNS int
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT 2;
$function$;

-- The layout of the tables that are there.
CREATE OR REPLACE FUNCTION alerting.tables_layout() RETURNS int
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(max(pg_get_expr(d.adbin, d.adrelid)::int), 1)
    FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
   WHERE d.adrelid = to_regclass('alerting.host_binding') AND a.attname = 'layout';
$function$;

-- Locks alerting's tables until the transaction ends, all or none: whoever holds one of them and waits
-- for another is let through, so that no deadlock comes of it, and nobody else waits for long.
CREATE OR REPLACE FUNCTION alerting.lock_tables() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $function$
DECLARE
  tables text := (SELECT string_agg(format('alerting.%I', t.name), ', ') FROM unnest(alerting.table_names()) AS t(name)
                   WHERE to_regclass(format('alerting.%I', t.name)) IS NOT NULL);
  give_up CONSTANT timestamptz := clock_timestamp() + interval '1 minute';
BEGIN
  LOOP
    BEGIN
      EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', tables);
      RETURN;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
      IF clock_timestamp() > give_up THEN
        RAISE EXCEPTION 'could not lock alerting''s tables within a minute'
          USING ERRCODE = 'lock_not_available', DETAIL = SQLERRM,
                HINT = 'A transaction that has been using them is still open: end it (see pg_locks and pg_stat_activity), then try again.';
      END IF;
      PERFORM pg_sleep(0.1);
    END;
  END LOOP;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.ensure_constraint(table_name text, constraint_name text, definition text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_constraint c
                  WHERE c.conrelid = format('alerting.%I', table_name)::regclass AND c.conname = constraint_name) THEN
    EXECUTE format('ALTER TABLE alerting.%I ADD CONSTRAINT %I %s', table_name, constraint_name, definition);
  END IF;
END
$function$;

-- Whoever may read one column of a table may read these, which views have come to show: such a view
-- runs with its reader's rights.
CREATE OR REPLACE FUNCTION alerting.grant_like(table_name text, granted text, columns text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  reader record;
BEGIN
  FOR reader IN
    SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS name, a.is_grantable
      FROM pg_attribute c, aclexplode(c.attacl) a
     WHERE c.attrelid = format('alerting.%I', table_name)::regclass AND c.attname = granted AND a.privilege_type = 'SELECT'
  LOOP
    EXECUTE format('GRANT SELECT (%s) ON alerting.%I TO %s%s', (SELECT string_agg(quote_ident(n), ', ') FROM unnest(columns) AS n),
                   table_name, reader.name, CASE WHEN reader.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
  END LOOP;
END
$function$;

-- Brings the tables to this version's layout. A step may find its work done (a table made anew among
-- older ones passes through all steps): ADD COLUMN IF NOT EXISTS, ensure_constraint(), to_regclass().
-- `anew`: some table was just created. Returns whether there was something to do; repair() has to follow then.
CREATE OR REPLACE FUNCTION alerting.migrate_tables(anew boolean) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on SET client_min_messages = warning AS $function$
DECLARE
  newest CONSTANT int := alerting.newest_layout();
  present CONSTANT int := alerting.tables_layout();
  is_copy boolean;
BEGIN
  IF present > newest THEN
    RAISE EXCEPTION 'alerting''s tables have layout %, but this version of the extension knows layouts up to %', present, newest
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'They come from a newer version: install that one''s package, then ALTER EXTENSION alerting UPDATE.';
  ELSIF present = newest AND NOT anew THEN
    RETURN false;
  END IF;
  PERFORM alerting.lock_tables();

  -- Layout 2: version 1.1.
  ALTER TABLE alerting.host_binding
    ADD COLUMN IF NOT EXISTS system_id bigint,
    ADD COLUMN IF NOT EXISTS written_by bigint;
  ALTER TABLE alerting.webhook
    ADD COLUMN IF NOT EXISTS headers jsonb,
    ADD COLUMN IF NOT EXISTS rate_limit int,
    ADD COLUMN IF NOT EXISTS max_concurrent int,
    ADD COLUMN IF NOT EXISTS probe_at timestamptz;
  ALTER TABLE alerting.delivery_attempt
    ADD COLUMN IF NOT EXISTS dns_ms real,
    ADD COLUMN IF NOT EXISTS connect_ms real,
    ADD COLUMN IF NOT EXISTS tls_ms real,
    ADD COLUMN IF NOT EXISTS wait_ms real;
  -- Each alert compresses its container's state anew: lz4 takes a third of pglz's time and a third more room.
  IF (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
    ALTER TABLE alerting.series_state ALTER COLUMN state SET COMPRESSION lz4;
  END IF;
  -- A delivery is written twice, as pending and as settled: room for the second index entry spares
  -- most of the page splits.
  ALTER INDEX IF EXISTS alerting.delivery_pkey SET (fillfactor = 50);
  ALTER INDEX IF EXISTS alerting.delivery_alert_id_webhook_id_idx SET (fillfactor = 50);
  ALTER INDEX IF EXISTS alerting.delivery_webhook_id_seq_idx SET (fillfactor = 50);
  -- Retention walks the table and needs no index, which every delivery would pay for twice.
  DROP INDEX IF EXISTS alerting.delivery_created_at_idx;
  -- For webhook_health: what went well has no entry in them.
  CREATE INDEX IF NOT EXISTS delivery_failed_idx ON alerting.delivery (webhook_id) WHERE status = 'FAILED';
  CREATE INDEX IF NOT EXISTS delivery_attempt_failed_idx ON alerting.delivery_attempt (delivery_id, at) WHERE error IS NOT NULL;
  IF present < newest THEN
    PERFORM alerting.grant_like('webhook', 'is_active', ARRAY['rate_limit', 'max_concurrent', 'probe_at']);
  END IF;

  -- What repair() makes from the functions' present definitions.
  PERFORM alerting.drop_trigger(t.tgrelid, t.tgname)
     FROM pg_trigger t
    WHERE t.tgrelid IN (SELECT to_regclass(format('alerting.%I', n.name)) FROM unnest(alerting.table_names()) AS n(name))
      AND NOT t.tgisinternal AND t.tgname LIKE 'alerting\_%';
  IF present < newest THEN
    PERFORM alerting.create_views(true);
    COMMENT ON TABLE alerting.host_binding IS NULL;
  END IF;
  EXECUTE format('ALTER TABLE alerting.host_binding ALTER COLUMN layout SET DEFAULT %s', newest);
  is_copy := alerting.is_copy();
  UPDATE alerting.host_binding SET layout = newest;
  IF NOT is_copy THEN
    PERFORM alerting.seal_binding();
  END IF;
  RETURN true;
END
$function$;

-- Called by the evaluator, with the rights of the tables' owner, before it reads tables of another layout, and where the owners of
-- the host's tables lack a right that they need.
CREATE OR REPLACE FUNCTION alerting.adopt_layout() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF alerting.migrate_tables(false) THEN
    PERFORM alerting.repair();
  END IF;
  PERFORM alerting.open_partitions();
END
$function$;

-- What ALTER EXTENSION UPDATE does to the tables at its end. The host's tables may be gone by now.
CREATE OR REPLACE FUNCTION alerting.update_tables() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF to_regclass('alerting.host_binding') IS NOT NULL THEN
    PERFORM alerting.migrate_tables(false);
    PERFORM alerting.repair();
    -- Says to the binding's trigger that the workers have to start, or to start anew.
    UPDATE alerting.host_binding SET updated_at = updated_at WHERE false;
  END IF;
END
$function$;

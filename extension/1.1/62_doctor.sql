-- doctor(): one call that checks whatever commonly goes wrong. Each part below gives rows of doctor().
-- They run with the rights of the extension's owner, so that an operator who may call doctor() needs no
-- other; hence an expression of a mapping is evaluated by try_mapping() alone, as its table's owner.

CREATE OR REPLACE FUNCTION alerting.library_version() RETURNS text
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'alerting_library_version'
SET search_path = pg_catalog, pg_temp;

-- Waits for workers that are just starting, as they do when nothing is preloaded: this call starts them.
CREATE OR REPLACE FUNCTION alerting.settled_status() RETURNS record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  s record;
BEGIN
  FOR attempt IN 1 .. 50 LOOP
    SELECT * INTO s FROM alerting.status();
    EXIT WHEN s.state <> 'starting';
    PERFORM pg_sleep(0.1);
  END LOOP;
  RETURN s;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.doctor_versions()
RETURNS TABLE (topic text, object text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
DECLARE
  named CONSTANT text := '(^|[,/" ])alerting([," ]|\.so|$)';
  preloaded CONSTANT boolean := current_setting('shared_preload_libraries') ~ named;
  will_be boolean;
  installed text;
  available text;
  library text;
BEGIN
  IF NOT preloaded AND has_function_privilege('pg_show_all_file_settings()', 'EXECUTE') THEN
    SELECT f.setting ~ named INTO will_be FROM pg_file_settings f WHERE f.name = 'shared_preload_libraries' ORDER BY f.seqno DESC LIMIT 1;
  END IF;
  RETURN QUERY
    SELECT 'preload', NULL, CASE WHEN preloaded THEN 'ok' ELSE 'warning' END,
           CASE WHEN preloaded THEN 'The workers start with the server.'
                WHEN will_be THEN 'shared_preload_libraries names alerting, but the server has not been restarted since.'
                ELSE 'The library is not preloaded: after a restart of the server the workers wait for the first insert or call.' END,
           CASE WHEN will_be THEN 'Restart the server; a reload does not do.'
                WHEN NOT preloaded THEN 'Add alerting to shared_preload_libraries and restart the server.' END;

  SELECT e.extversion, a.default_version INTO installed, available
    FROM pg_extension e LEFT JOIN pg_available_extensions a ON a.name = e.extname WHERE e.extname = 'alerting';
  BEGIN
    library := alerting.library_version();
  EXCEPTION WHEN undefined_function THEN
    library := '1.0';  -- the last one without this function
  END;
  topic := 'version';
  IF installed = library AND available = library THEN
    status := 'ok';
    detail := format('Extension, library and files have version %s.', installed);
  ELSIF installed <> library THEN
    status := 'error';
    detail := format('The extension has version %s here, the loaded library %s: nothing is judged.', installed, library);
    hint := CASE WHEN available = library THEN 'ALTER EXTENSION alerting UPDATE;'
                 ELSE 'Restart the server, so that it loads the library that is installed; then ALTER EXTENSION alerting UPDATE;' END;
  ELSE
    status := 'warning';
    detail := format('Version %s is in use, but the files of version %s are installed.', installed, coalesce(available, 'none'));
    hint := 'Restart the server (where nothing is preloaded new sessions suffice), then ALTER EXTENSION alerting UPDATE;';
  END IF;
  RETURN NEXT;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.doctor_workers(s record)
RETURNS TABLE (topic text, object text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  missing text := concat_ws(' and ', CASE WHEN s.evaluator_pid IS NULL THEN 'the evaluator' END, CASE WHEN s.sender_pid IS NULL THEN 'the sender' END);
  slots int := current_setting('max_worker_processes')::int;
  used int;
BEGIN
  topic := 'workers';
  status := 'error';
  CASE s.state
    WHEN 'disabled' THEN
      detail := 'alerting.enabled is off: inserts are not captured, nothing is judged or sent.';
      hint := 'ALTER SYSTEM RESET alerting.enabled; SELECT pg_reload_conf();';
    WHEN 'stopped' THEN
      detail := 'Stopped by alerting.stop().';
      hint := 'SELECT alerting.start();';
    WHEN 'running', 'deliveries held' THEN
      status := 'ok';
      detail := 'Evaluator and sender run.';
    ELSE
      detail := format('Waiting for %s.', missing);
      hint := 'See the topics version and worker slots; the server''s log says what keeps the workers from starting.';
  END CASE;
  RETURN NEXT;

  IF s.problem IS NOT NULL THEN
    detail := format('The last step of a worker failed: %s', s.problem);
    hint := 'It is tried again until it succeeds; the server''s log says more.';
    status := 'error';
    RETURN NEXT;
  END IF;

  IF EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid IN (s.evaluator_pid, s.sender_pid) AND a.wait_event = 'SyncRep') THEN
    detail := 'A worker waits for a synchronous standby to confirm what it has committed.';
    hint := 'Does the standby that synchronous_standby_names asks for run? See pg_stat_replication. With synchronous_commit = local nobody waits for it.';
    status := 'warning';
    RETURN NEXT;
  END IF;

  -- Whatever is no client and no process that the server starts by itself takes a slot.
  SELECT count(*) INTO used FROM pg_stat_activity a
   WHERE a.backend_type NOT IN ('client backend', 'autovacuum launcher', 'autovacuum worker', 'startup', 'checkpointer', 'background writer',
           'walwriter', 'walsender', 'walreceiver', 'walsummarizer', 'archiver', 'slotsync worker', 'io worker', 'logger', 'standalone backend');
  topic := 'worker slots';
  detail := format('%s of the server''s %s background worker slots are taken (max_worker_processes).', used, slots);
  status := CASE WHEN used < slots THEN 'ok' WHEN missing <> '' THEN 'error' ELSE 'warning' END;
  hint := CASE WHEN used >= slots THEN 'Raise max_worker_processes and restart the server: one for the launcher, two for each database, and what else uses them.' END;
  RETURN NEXT;

  IF pg_notification_queue_usage() > 0.5 THEN
    topic := 'notifications';
    detail := format('The server''s queue of notifications is %s %% full: when it has no room, alerts and webhooks go on, but NOTIFY alerting tells nobody.',
      floor(pg_notification_queue_usage() * 100));
    status := 'warning';
    hint := 'A session that has executed LISTEN, in whatever database, stays in a transaction: end it. See pg_stat_activity.xact_start.';
    RETURN NEXT;
  END IF;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.doctor_samples(s record)
RETURNS TABLE (topic text, object text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  good boolean := true;
BEGIN
  topic := 'queue';
  detail := format('%s of %s wait, %s behind.', pg_size_pretty(s.queue_bytes), pg_size_pretty(s.queue_size), s.lag);
  status := 'ok';
  IF s.queue_bytes * 10 > s.queue_size * 8 AND s.queue_size > 0 THEN
    status := 'warning';
    hint := 'What has no room is read from the tables. If this lasts, raise alerting.queue_size.';
  ELSIF s.lag > interval '30 seconds' THEN
    status := 'warning';
    hint := 'The evaluator does not keep up, or waits: see topic workers and the server''s log.';
  ELSIF s.replay_pending THEN
    status := 'warning';
    detail := format('Rows that had no room in the queue are being read from their tables (%s times since the start).', s.replays);
    hint := 'A bulk load does this. If it happens all the time, raise alerting.queue_size.';
  ELSIF s.queue_size > 0 AND s.queue_size < pg_size_bytes(current_setting('alerting.queue_size')) THEN
    status := 'warning';
    detail := format('The queue has only %s of the %s that alerting.queue_size says: shared memory had no room for more, or the setting is newer.',
      pg_size_pretty(s.queue_size), current_setting('alerting.queue_size'));
    hint := 'Give the server more shared memory (/dev/shm; docker run --shm-size) or lower the setting; then SELECT alerting.stop(), alerting.start();';
  END IF;
  RETURN NEXT;

  topic := 'samples';
  status := 'warning';
  IF s.skipped > 0 THEN
    detail := format(CASE s.skipped WHEN 1 THEN '%s row' ELSE '%s rows' END || ' could not be read: no container, no time, or the mapping''s expression failed on them.', s.skipped);
    hint := 'Make the mapping accept every row: alerting.attach_metrics(...); the server''s log names the table, and what the mapping lacks.';
    good := false;
    RETURN NEXT;
  END IF;
  IF s.unknown > 0 THEN
    detail := format(CASE s.unknown WHEN 1 THEN '%s row was' ELSE '%s rows were' END || ' of containers that do not exist or belong to no organization.', s.unknown);
    hint := 'If these are your containers: check the mapping "container" and alerting.host_binding.organization.';
    good := false;
    RETURN NEXT;
  END IF;
  IF s.backfill * 2 > s.samples THEN
    detail := format('%s of %s rows were older than max_age when they came, and were not judged.', s.backfill, s.samples);
    hint := 'A load of history does this. Otherwise check the writers'' clocks, and time_zone and at_unit of alerting.attach_metrics().';
    good := false;
    RETURN NEXT;
  END IF;
  -- A few are late by themselves: those read from their table, and then met in the queue as well.
  IF s.late * 10 > s.samples AND s.late > 10 THEN
    detail := format('%s of %s rows were older than their container''s last one, and were not judged.', s.late, s.samples);
    hint := 'Let one writer bring a container''s rows in order of time.';
    good := false;
    RETURN NEXT;
  END IF;
  IF s.samples = 0 AND s.containers = 0 AND good THEN
    detail := 'No row of an attached metrics table has been seen yet.';
    hint := 'Do the writers insert into the tables that alerting.metric_source lists, in this database?';
    RETURN NEXT;
  ELSIF good THEN
    status := 'ok';
    detail := format('%s since the start, of %s containers; %s late, %s older than max_age.', s.samples, s.containers, s.late, s.backfill);
    hint := NULL;
    RETURN NEXT;
  END IF;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.doctor(
  OUT topic text, OUT object text, OUT status text, OUT detail text, OUT hint text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $function$
DECLARE
  s record;
  part text;
  bound boolean := false;
BEGIN
  RETURN QUERY SELECT * FROM alerting.doctor_versions();
  IF pg_is_in_recovery() THEN
    topic := 'workers';
    status := 'ok';
    detail := 'This is a standby: nothing runs here. The workers start when it is promoted.';
    RETURN NEXT;
    RETURN;
  END IF;

  IF to_regclass('alerting.host_binding') IS NOT NULL THEN
    SELECT EXISTS (SELECT FROM alerting.host_binding) INTO bound;
  END IF;
  IF NOT bound THEN
    topic := 'binding';
    status := 'error';
    detail := 'alerting is not attached to any tables.';
    hint := 'SELECT alerting.attach(organizations => ''...'', containers => ''...''); then SELECT alerting.attach_metrics(''...'');';
    RETURN NEXT;
    RETURN;
  END IF;
  BEGIN
    s := alerting.settled_status();
    RETURN QUERY SELECT * FROM alerting.doctor_workers(s);
    RETURN QUERY SELECT * FROM alerting.doctor_samples(s);
  EXCEPTION WHEN OTHERS THEN
    topic := 'workers';
    status := 'error';
    GET STACKED DIAGNOSTICS detail = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    RETURN NEXT;
  END;

  FOREACH part IN ARRAY ARRAY['doctor_own_tables', 'doctor_binding', 'doctor_metrics', 'doctor_tables', 'doctor_rules', 'doctor_webhooks', 'doctor_network'] LOOP
    BEGIN
      RETURN QUERY EXECUTE format('SELECT * FROM alerting.%I()', part);
    EXCEPTION WHEN OTHERS THEN
      topic := replace(part, 'doctor_', '');
      status := 'unknown';
      GET STACKED DIAGNOSTICS detail = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
      RETURN NEXT;
    END;
  END LOOP;
END
$function$;

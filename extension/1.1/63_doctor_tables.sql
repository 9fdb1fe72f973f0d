-- The parts of doctor() that look at the host's tables and at alerting's own.

-- What is wrong with a table's triggers, each with what mends it. `wanted`: their names; `always`: they
-- must fire for what replication applies, too.
CREATE OR REPLACE FUNCTION alerting.doctor_triggers(rel regclass, wanted text[], always boolean, remedy text)
RETURNS TABLE (topic text, object text, status text, detail text, hint text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT 'triggers', rel::text, CASE WHEN p.problem IS NULL THEN 'ok' ELSE 'error' END,
         coalesce(format('Trigger %I %s.', w.name, p.problem), format('Trigger %I is in place.', w.name)), p.hint
    FROM unnest(wanted) AS w(name)
    LEFT JOIN pg_trigger t ON t.tgrelid = rel AND t.tgname = w.name AND NOT t.tgisinternal,
    LATERAL (
      SELECT CASE WHEN t.oid IS NULL THEN 'is missing'
                  WHEN t.tgenabled = 'D' THEN 'is disabled'
                  WHEN t.tgenabled = 'R' THEN 'fires for replicated changes only'
                  WHEN always AND t.tgenabled <> 'A' THEN 'does not fire for what logical replication applies' END,
             CASE WHEN t.oid IS NULL THEN remedy
                  WHEN always AND t.tgenabled <> 'A' THEN format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I;', rel, w.name)
                  WHEN t.tgenabled NOT IN ('O', 'A') THEN format('ALTER TABLE %s ENABLE TRIGGER %I;', rel, w.name) END) AS p(problem, hint);
$function$;

CREATE OR REPLACE FUNCTION alerting.doctor_binding()
RETURNS TABLE (topic text, object text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  host record;
  held boolean := (SELECT s.held FROM alerting.status() s);
  waiting bigint := (SELECT count(*) FROM alerting.delivery d WHERE d.status = 'PENDING');
  tried record;
BEGIN
  SELECT b.*, o.oid IS NOT NULL AND c.oid IS NOT NULL AS is_there INTO host
    FROM alerting.host_binding b LEFT JOIN pg_class o ON o.oid = b.organizations LEFT JOIN pg_class c ON c.oid = b.containers;
  topic := 'binding';
  IF NOT host.is_there THEN
    status := 'error';
    detail := 'The table of organizations or of containers that alerting was attached to is gone.';
    hint := 'SELECT alerting.attach(organizations => ''...'', containers => ''...'');';
    RETURN NEXT;
    RETURN;
  END IF;
  object := host.containers::text;
  BEGIN
    PERFORM alerting.describe_mapping(host.containers, 'c', 'organization', host.organization, NULL, 'pg_catalog');
    status := 'ok';
    detail := format('Organizations in %s, containers in %s.', host.organizations, host.containers);
  EXCEPTION WHEN OTHERS THEN
    status := 'error';
    detail := SQLERRM;
    hint := format('SELECT alerting.attach(%L, %L, organization => ''...'');', host.organizations, host.containers);
  END;
  RETURN NEXT;
  IF status = 'ok' THEN
    tried := alerting.try_organization();
    RETURN QUERY SELECT 'binding', object, 'error', format('Whose its rows are cannot be told: %s.', tried.problem),
                        alerting.mapping_advice(host.containers, tried.state) WHERE tried.state IS NOT NULL;
    RETURN QUERY SELECT 'binding', object, 'warning', format('Whose they are cannot be told of %s of its rows: the organization''s expression fails on them.', tried.failing),
                        format('Let it be NULL there, or choose one by LIMIT 1 where it finds several: SELECT alerting.attach(%L, %L, organization => %L);',
                               host.organizations, host.containers, host.organization) WHERE tried.failing > 0;
  END IF;
  RETURN QUERY
    SELECT 'binding', r.host::text, 'warning', format('It has no column %s any more: alerts and webhooks show no names of its rows.', r.name),
           format('SELECT alerting.attach(%L, %L, organization => %L); guesses another; for containers name => says which.', host.organizations, host.containers, host.organization)
      FROM (VALUES (host.containers, host.name), (host.organizations, host.organization_name)) AS r(host, name)
     WHERE r.name IS NOT NULL AND r.name <> ALL (alerting.plain_columns(r.host, ARRAY[r.name]));
  RETURN QUERY
    SELECT 'binding', r.host::text, 'warning', format('Rows of the tables that inherit from it do not count: %s', alerting.heirs(r.host)),
           'Attach a table that has them all, which a trigger on each keeps: docs/binding.md.'
      FROM (VALUES (host.containers), (host.organizations)) AS r(host) WHERE alerting.heirs(r.host) IS NOT NULL;
  RETURN QUERY
    SELECT 'binding', format('alerting.%I', r.tab), 'error',
           format('Its foreign key to %s is gone, as DROP ... CASCADE takes it: the keys there may be others by now.', r.host),
           format('SELECT alerting.attach(%L, %L, organization => %L); with the keys as they are now.', host.organizations, host.containers, host.organization)
      FROM (VALUES ('alert', 'alert_container_id_fkey', host.containers), ('alert_rule', 'alert_rule_organization_id_fkey', host.organizations),
                   ('webhook', 'webhook_organization_id_fkey', host.organizations)) AS r(tab, name, host)
     WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = format('alerting.%I', r.tab)::regclass AND k.conname = r.name AND k.confrelid = r.host);

  RETURN QUERY SELECT * FROM alerting.doctor_triggers(host.containers,
      ARRAY['alerting_container_deleted', 'alerting_container_updated'], alerting.is_subscribed(host.containers),
      format('SELECT alerting.attach(%L, %L, organization => %L);', host.organizations, host.containers, host.organization)) t
    WHERE t.status <> 'ok';

  topic := 'copy';
  object := NULL;
  status := CASE WHEN held THEN 'error' ELSE 'ok' END;
  detail := CASE WHEN held THEN format('This database is a copy: it holds its webhooks, %s of them now.', waiting)
                 ELSE 'This database is the original: it sends its webhooks.' END;
  hint := CASE WHEN held THEN 'If it shall send: DELETE FROM alerting.delivery WHERE status = ''PENDING''; if those are old news, then SELECT alerting.resume();' END;
  RETURN NEXT;
END
$function$;

-- The newest row's time, of a source whose time is a plain column; `by_container`: of some containers. In C,
-- to ask with the table's owner's rights.
CREATE OR REPLACE FUNCTION alerting.newest_row_time(source int, by_container boolean) RETURNS timestamptz
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'alerting_newest_row_time'
SET search_path = pg_catalog, pg_temp;

-- The same, where it is cheap to find; NULL otherwise.
CREATE OR REPLACE FUNCTION alerting.newest_time(source int, OUT newest timestamptz, OUT is_known boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  m record;
BEGIN
  SELECT s.*, c.relkind = 'r' AND pg_relation_size(c.oid) < 8 * 2^20 AS is_small,
         alerting.is_ordered_by(s.metrics, s.at) AS by_time
    INTO m
    FROM alerting.metric_source s JOIN pg_class c ON c.oid = s.metrics
    JOIN pg_attribute a ON a.attrelid = c.oid AND quote_ident(a.attname) = s.at AND NOT a.attisdropped
   WHERE s.id = source AND alerting.base_type(a.atttypid) IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype, 'int2'::regtype, 'int4'::regtype,
                                          'int8'::regtype, 'float4'::regtype, 'float8'::regtype, 'numeric'::regtype);
  is_known := FOUND AND (m.by_time OR m.is_small OR alerting.has_replay_index(m.metrics, m.container, m.at));
  IF is_known THEN
    newest := alerting.newest_row_time(source, NOT m.by_time AND NOT m.is_small);
  END IF;
END
$function$;

-- A table beside `rel` that has all its columns and is not attached: what took its place, perhaps.
CREATE OR REPLACE FUNCTION alerting.lookalike(rel regclass) RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT c.oid::regclass
    FROM pg_class own JOIN pg_class c ON c.relnamespace = own.relnamespace
   WHERE own.oid = $1 AND c.oid <> $1 AND c.relkind IN ('r', 'p')
     AND NOT EXISTS (SELECT FROM alerting.metric_source s WHERE s.metrics = c.oid)
     AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
     AND NOT EXISTS (
           SELECT FROM pg_attribute a
            WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND NOT EXISTS (
                  SELECT FROM pg_attribute b WHERE b.attrelid = c.oid AND b.attname = a.attname AND b.atttypid = a.atttypid AND NOT b.attisdropped))
   ORDER BY c.oid DESC LIMIT 1;
$function$;

CREATE OR REPLACE FUNCTION alerting.doctor_time(source int, rel regclass, max_age interval)
RETURNS TABLE (topic text, object text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  advice CONSTANT text := 'Check the clocks of server and writers, and time_zone and at_unit of alerting.attach_metrics().';
  latest record;
  twin regclass;
BEGIN
  topic := 'time';
  object := rel::text;
  BEGIN
    latest := alerting.newest_time(source);
  EXCEPTION WHEN data_exception THEN  -- the largest of numbers may be NaN
    status := 'warning';
    detail := 'The largest time in it is none that PostgreSQL has: such rows are not judged.';
    hint := advice;
    RETURN NEXT;
    RETURN;
  END;
  IF NOT latest.is_known THEN
    status := 'unknown';
    detail := 'The newest row''s time is not looked up: no index finds it, or it is an expression.';
  ELSIF latest.newest IS NULL THEN
    status := 'ok';
    detail := 'There are no rows yet.';
  ELSIF latest.newest > clock_timestamp() + interval '5 minutes' THEN
    status := 'error';
    detail := format('Its newest row is of %s, which is in the future.', latest.newest);
    hint := advice;
  ELSIF latest.newest < clock_timestamp() - max_age THEN
    status := 'warning';
    detail := format('Its newest row is of %s: older than max_age (%s), such rows are not judged.', latest.newest, max_age);
    twin := alerting.lookalike(rel);
    hint := CASE WHEN twin IS NULL THEN 'Does the writer still run? ' || advice
                 ELSE 'Are its rows written into another table by now? ' || alerting.attach_call(source, twin::text) END;
  ELSE
    status := 'ok';
    detail := format('Its newest row is of %s.', latest.newest);
  END IF;
  RETURN NEXT;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.doctor_metrics()
RETURNS TABLE (topic text, object text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  m record;
  state text;
  waiting text;
  advice text;
  tried record;
BEGIN
  IF NOT EXISTS (SELECT FROM alerting.metric_source) THEN
    RETURN QUERY SELECT 'metrics', NULL, 'error', 'No metrics table is attached: nothing is judged.', 'SELECT alerting.attach_metrics(''...'');';
  END IF;
  FOR m IN SELECT s.*, c.relname IS NOT NULL AS is_there FROM alerting.metric_source s LEFT JOIN pg_class c ON c.oid = s.metrics ORDER BY s.id LOOP
    object := m.metrics::text;
    hint := NULL;
    topic := 'metrics';
    IF NOT m.is_there THEN
      RETURN QUERY SELECT 'metrics', object, 'error', 'A metrics table that was attached is gone.',
                          format('Attach what took its place: %s Or DELETE FROM alerting.metric_source WHERE id = %s;', alerting.attach_call(m.id, '...'), m.id);
      CONTINUE;
    END IF;
    BEGIN
      PERFORM alerting.describe_mapping(m.metrics, 'm', v.name, v.mapping, NULL, 'pg_catalog')
         FROM (VALUES ('container', m.container), ('at', m.at), ('cpu', m.cpu), ('memory', m.memory), ('memory_used', m.memory_used),
                      ('memory_limit', m.memory_limit), ('running', m.running), ('restarts', m.restarts)) AS v(name, mapping)
        WHERE v.mapping IS NOT NULL;
      PERFORM alerting.key_mapping(m.metrics, 'm', 'container', m.container, key.type, 'pg_catalog')
         FROM alerting.host_binding b JOIN pg_class c ON c.oid = b.containers, alerting.key_of(b.containers, 'containers') key;
      status := 'ok';
      detail := 'Its mapping is valid.';
    EXCEPTION WHEN OTHERS THEN
      status := 'error';
      detail := format('Its mapping does not fit any more: %s', SQLERRM);
      GET STACKED DIAGNOSTICS advice = PG_EXCEPTION_HINT;
      hint := CASE WHEN SQLSTATE = '42804'  -- its container is no key: the same call would fail
                   THEN format('%s: %s', advice, replace(alerting.attach_call(m.id, m.metrics::text), format('container => %L', m.container), 'container => ''...'''))
                   ELSE format('With the columns as they are now: %s', alerting.attach_call(m.id, m.metrics::text)) END;
    END;
    RETURN NEXT;

    RETURN QUERY SELECT * FROM alerting.doctor_triggers(m.metrics,
        CASE m.level WHEN 'row' THEN ARRAY['alerting_capture'] ELSE ARRAY['alerting_capture_insert', 'alerting_capture_update'] END,
        m.level = 'row' AND alerting.is_subscribed(m.metrics), 'SELECT alerting.repair();') t WHERE t.status <> 'ok';
    RETURN QUERY SELECT 'triggers', object, 'error', 'Logical replication fires no statement triggers: what it brings is not seen.',
                        format('SELECT alerting.attach_metrics(%L, level => ''row'');', m.metrics)
                  WHERE m.level = 'statement' AND alerting.is_subscribed(m.metrics);
    RETURN QUERY SELECT 'metrics', object, 'warning', format('Tables that inherit from it are not attached, their rows are not seen: %s', u.children),
                        'SELECT alerting.attach_metrics(''...''); for each.'
                   FROM (SELECT alerting.unseen_children(m.metrics) AS children) u WHERE u.children IS NOT NULL;
    RETURN QUERY SELECT 'index', object, 'warning', 'No index finds a container''s newest rows: after a restart the whole table is read.',
                        alerting.suggested_index(m.metrics, m.container, m.at)
                  WHERE m.metrics <> (SELECT b.containers FROM alerting.host_binding b)
                    AND NOT alerting.has_replay_index(m.metrics, m.container, m.at);
    SELECT string_agg(DISTINCT quote_literal(p.gid), ', ') INTO waiting
      FROM pg_prepared_xacts p
      JOIN pg_locks x ON x.locktype = 'transactionid' AND x.transactionid = p.transaction AND x.pid IS NULL
      JOIN pg_locks l ON l.virtualtransaction = x.virtualtransaction AND l.pid IS NULL AND l.relation = m.metrics AND l.mode = 'RowExclusiveLock'
     WHERE p.database = current_database();
    RETURN QUERY SELECT 'prepared transactions', object, 'warning', format('Its rows of prepared transaction %s are not judged until that ends.', waiting),
                        'COMMIT PREPARED or ROLLBACK PREPARED; one that was forgotten also holds up vacuum.' WHERE waiting IS NOT NULL;
    -- Which rows are whose nobody can say without the tables that are bound.
    IF status = 'ok' AND EXISTS (SELECT FROM alerting.host_binding b JOIN pg_class c ON c.oid = b.containers JOIN pg_class o ON o.oid = b.organizations) THEN
      tried := alerting.try_source(m.id);
      -- What a row says that fails is for those who may read it.
      RETURN QUERY SELECT 'metrics', object, CASE WHEN tried.state LIKE '42%' THEN 'error' ELSE 'warning' END,
                          CASE WHEN tried.state LIKE '42%' THEN format('Its mapping fails on every row: %s.', tried.problem)
                               ELSE format('Its mapping fails on rows that are there, which are not judged, with SQLSTATE %s.', tried.state) END,
                          alerting.mapping_advice(m.metrics, tried.state) WHERE tried.state IS NOT NULL;
      RETURN QUERY SELECT 'metrics', object, 'warning', format('Its %s is taken for a percentage, but %s.', o.reading, o.problem), o.hint
                     FROM alerting.shares_of_one(m.id, tried) o
                    WHERE EXISTS (SELECT FROM alerting.alert_rule r WHERE r.enabled AND r.condition = upper(o.reading) || '_USAGE' AND r.threshold > o.largest);
      -- A guess that the table's statistics, or its rows, speak against by now.
      state := alerting.guess_column(m.metrics, alerting.state_names(), 'S');
      IF state IS NOT NULL AND alerting.never_running(m.metrics, state, tried.runs IS FALSE) THEN
        RETURN QUERY SELECT 'metrics', object, 'warning', format('No value of %s that is known says ''running'': its containers count as down.', state),
                            format('Say when they run, for example running => $$%s = ''up''$$, instead of what is said in: %s', state, alerting.attach_call(m.id, object))
                       FROM alerting.describe_mapping(m.metrics, 'm', 'running', alerting.says_running(state), NULL, 'pg_catalog') d WHERE d.sql = m.running;
      ELSIF state IS NOT NULL AND alerting.runs_and_more(m.metrics, state) THEN
        RETURN QUERY SELECT 'metrics', object, 'warning', format('Some values of %s begin with ''running'' and say more: their containers count as down.', state),
                            format('If they run, running => $$lower(%s) LIKE ''running%%''$$, instead of what is said in: %s', state, alerting.attach_call(m.id, object))
                       FROM alerting.describe_mapping(m.metrics, 'm', 'running', alerting.says_running(state), NULL, 'pg_catalog') d WHERE d.sql = m.running;
      END IF;
      RETURN QUERY SELECT * FROM alerting.doctor_time(m.id, m.metrics, m.max_age);
    END IF;
  END LOOP;
END
$function$;

-- The keys and indexes of alerting's own tables that its statements rely on.
CREATE OR REPLACE FUNCTION alerting.own_keys() RETURNS TABLE (tab text, name text, definition text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
  VALUES
    ('host_binding', 'host_binding_pkey', 'PRIMARY KEY (id)'),
    ('metric_source', 'metric_source_pkey', 'PRIMARY KEY (id)'),
    ('metric_source', 'metric_source_metrics_key', 'UNIQUE (metrics)'),
    ('series_state', 'series_state_pkey', 'PRIMARY KEY (chunk)'),
    ('alert_rule', 'alert_rule_pkey', 'PRIMARY KEY (id)'),
    ('alert', 'alert_pkey', 'PRIMARY KEY (id)'),
    ('alert', 'alert_rule_id_fkey', 'FOREIGN KEY (rule_id) REFERENCES alerting.alert_rule (id) ON DELETE CASCADE ON UPDATE CASCADE'),
    ('webhook', 'webhook_pkey', 'PRIMARY KEY (id)'),
    ('delivery', 'delivery_pkey', 'PRIMARY KEY (id)'),
    ('delivery', 'delivery_webhook_id_fkey', 'FOREIGN KEY (webhook_id) REFERENCES alerting.webhook (id) ON DELETE CASCADE ON UPDATE CASCADE'),
    ('delivery_attempt', 'delivery_attempt_pkey', 'PRIMARY KEY (id)'),
    ('delivery_attempt', 'delivery_attempt_delivery_id_fkey',
     'FOREIGN KEY (delivery_id) REFERENCES alerting.delivery (id) ON DELETE CASCADE ON UPDATE CASCADE'),
    ('alert_rule', 'alert_rule_organization_id_idx', 'INDEX (organization_id)'),
    ('alert', 'alert_one_firing_key', 'UNIQUE INDEX (rule_id, container_id) WHERE status = ''FIRING'''),
    ('alert', 'alert_rule_id_fired_at_idx', 'INDEX (rule_id, fired_at)'),
    ('alert', 'alert_container_id_fired_at_idx', 'INDEX (container_id, fired_at)'),
    ('webhook', 'webhook_organization_id_idx', 'INDEX (organization_id)'),
    ('delivery', 'delivery_pending_idx', 'INDEX (webhook_id, next_attempt_at, seq) WHERE status = ''PENDING'''),
    ('delivery', 'delivery_alert_id_webhook_id_idx', 'INDEX (alert_id, webhook_id)'),
    ('delivery', 'delivery_webhook_id_seq_idx', 'INDEX (webhook_id, seq)'),
    ('delivery', 'delivery_failed_idx', 'INDEX (webhook_id) WHERE status = ''FAILED'''),
    ('delivery_attempt', 'delivery_attempt_delivery_id_idx', 'INDEX (delivery_id, at)'),
    ('delivery_attempt', 'delivery_attempt_failed_idx', 'INDEX (delivery_id, at) WHERE error IS NOT NULL');
$function$;

-- Whether all of alerting's own is there: tables, their keys and indexes, event triggers.
CREATE OR REPLACE FUNCTION alerting.doctor_own_tables()
RETURNS TABLE (topic text, object text, status text, detail text, hint text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT 'tables', format('alerting.%I', n.name), 'error', 'It is missing.',
         format('SELECT alerting.attach(%L, %L, organization => %L); makes it anew, without what it held. If it was only renamed or moved, give it its name back instead.', b.organizations, b.containers, b.organization)
    FROM unnest(alerting.table_names()) AS n(name), alerting.host_binding b WHERE to_regclass(format('alerting.%I', n.name)) IS NULL
  UNION ALL
  SELECT 'tables', 'alerting.alert', 'error',
         format('Its owner %I, as whom the workers read and write, has not the rights of %I, who owns %s.', a.owner, t.owner, string_agg(t.name, ', ' ORDER BY t.name)),
         format('ALTER TABLE alerting.alert OWNER TO %I; or give all of alerting''s tables another owner.', t.owner)
    FROM (SELECT c.relowner AS oid, pg_get_userbyid(c.relowner) AS owner FROM pg_class c WHERE c.oid = to_regclass('alerting.alert')) a
    JOIN (SELECT c.relowner AS oid, pg_get_userbyid(c.relowner) AS owner, c.oid::regclass::text AS name
            FROM unnest(alerting.table_names()) AS n(name) JOIN pg_class c ON c.oid = to_regclass(format('alerting.%I', n.name))) t
      ON NOT pg_has_role(a.oid, t.oid, 'USAGE')
   GROUP BY a.owner, t.owner
  UNION ALL
  SELECT 'keys', k.rel::text, CASE WHEN k.is_index AND NOT k.is_unique THEN 'warning' ELSE 'error' END,
         format('Its %s %I is %s.', CASE WHEN k.is_index THEN 'index' ELSE 'constraint' END, k.name,
                CASE WHEN k.is_index AND k.index IS NOT NULL THEN 'not valid' ELSE 'missing' END),
         CASE WHEN NOT k.is_index THEN format('ALTER TABLE %s ADD CONSTRAINT %I %s;', k.rel, k.name, k.definition)
              WHEN k.index IS NOT NULL THEN format('REINDEX INDEX CONCURRENTLY %s;', k.index)
              ELSE format('CREATE %sINDEX CONCURRENTLY %I ON %s %s;', CASE WHEN k.is_unique THEN 'UNIQUE ' END, k.name, k.rel, split_part(k.definition, 'INDEX ', 2)) END
    FROM (SELECT o.*, to_regclass(format('alerting.%I', o.tab)) AS rel, to_regclass(format('alerting.%I', o.name)) AS index,
                 o.definition ~ '^(UNIQUE )?INDEX ' AS is_index, o.definition ~ '^UNIQUE ' AS is_unique
            FROM alerting.own_keys() o) k
   WHERE k.rel IS NOT NULL
     AND CASE WHEN k.is_index THEN NOT EXISTS (SELECT FROM pg_index x WHERE x.indexrelid = k.index AND x.indrelid = k.rel AND x.indisvalid)
              ELSE NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = k.rel AND c.conname = k.name) END
  UNION ALL
  SELECT 'triggers', e.evtname::text, 'error',
         format('Event trigger %I %s.', e.evtname, CASE e.evtenabled WHEN 'D' THEN 'is disabled' ELSE 'fires for replicated changes only' END),
         format('ALTER EVENT TRIGGER %I ENABLE;', e.evtname)
    FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
   WHERE p.pronamespace = 'alerting'::regnamespace AND e.evtenabled NOT IN ('O', 'A');
$function$;

-- Vacuum and statistics, triggers and growth of alerting's tables and of the metrics.
CREATE OR REPLACE FUNCTION alerting.doctor_tables()
RETURNS TABLE (topic text, object text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  oldest timestamptz;
BEGIN
  RETURN QUERY SELECT 'triggers', t.object, t.status, t.detail, t.hint
    FROM (SELECT format('alerting.%I', o.tab)::regclass AS rel, array_agg(o.trigger_name) AS names FROM alerting.own_triggers() o GROUP BY 1) own,
         alerting.doctor_triggers(own.rel, own.names, false, 'SELECT alerting.repair();') t WHERE t.status <> 'ok';
  RETURN QUERY SELECT 'triggers', s.rel::text, 'error', format('Its owner %I cannot make partitions of it: PostgreSQL copies its triggers to them.', s.owner),
                      format('GRANT EXECUTE ON FUNCTION %s TO %I;', s.called, s.owner) FROM alerting.shut_partitions() s;

  topic := 'vacuum';
  IF NOT current_setting('autovacuum')::boolean OR NOT current_setting('track_counts')::boolean THEN
    status := 'warning';
    detail := 'autovacuum or track_counts is off: dead rows of the outbox and of alerts stay, and plans go by old statistics.';
    hint := 'Switch them on, or vacuum and analyze schema alerting yourself.';
    RETURN NEXT;
  END IF;
  RETURN QUERY
    SELECT 'vacuum', c.oid::regclass::text, 'warning',
           CASE WHEN off.value THEN 'autovacuum is off for this table.'
                WHEN st.last_analyze IS NULL AND st.last_autoanalyze IS NULL AND st.n_live_tup > 10000
                THEN format('It has about %s rows and was never analyzed.', st.n_live_tup)
                ELSE format('%s of its rows are dead, %s live.', st.n_dead_tup, st.n_live_tup) END,
           CASE WHEN off.value THEN format('ALTER TABLE %s RESET (autovacuum_enabled);', c.oid::regclass)
                ELSE format('VACUUM (ANALYZE) %s; an old transaction, a replication slot or a prepared transaction may hold it up.', c.oid::regclass) END
      FROM pg_class c LEFT JOIN pg_stat_all_tables st ON st.relid = c.oid,
           LATERAL (SELECT EXISTS (SELECT FROM unnest(c.reloptions) AS o(option) WHERE o.option ~ '^autovacuum_enabled=(false|off|no|0)')) AS off(value)
     WHERE c.relkind = 'r'
       AND (c.relnamespace = 'alerting'::regnamespace OR c.oid IN (SELECT s.metrics FROM alerting.metric_source s))
       AND (off.value OR (st.last_analyze IS NULL AND st.last_autoanalyze IS NULL AND st.n_live_tup > 10000)
            OR (c.relnamespace = 'alerting'::regnamespace AND st.n_dead_tup > 100000 AND st.n_dead_tup > st.n_live_tup))
     ORDER BY c.relname;

  -- By each webhook's first: the whole table may be large.
  SELECT min(d.created_at) INTO oldest
    FROM alerting.webhook w, LATERAL (SELECT e.created_at FROM alerting.delivery e WHERE e.webhook_id = w.id ORDER BY e.seq LIMIT 1) d;
  topic := 'retention';
  object := 'alerting.delivery';
  status := 'ok';
  hint := NULL;
  detail := format('%s, its oldest row is of %s; kept for %s.', pg_size_pretty(pg_total_relation_size('alerting.delivery')),
                   coalesce(oldest::text, 'no time'), current_setting('alerting.delivery_retention'));
  IF current_setting('alerting.delivery_retention') = '-1' AND oldest < now() - interval '90 days' THEN
    status := 'warning';
    detail := format('Delivered webhooks are kept for ever: %s since %s.', pg_size_pretty(pg_total_relation_size('alerting.delivery')), oldest);
    hint := 'Set alerting.delivery_retention, or delete what you do not need.';
  END IF;
  RETURN NEXT;
END
$function$;

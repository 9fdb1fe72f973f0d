-- alerting 1.0. The parts of this script, in the order of their names, are one file after the build.
\echo Use "CREATE EXTENSION alerting" to load this file. \quit

-- Functions of the extension run inside this schema and adopt tables that lie in it, so it must be
-- nobody's who could put something of their own there.
DO $do$
DECLARE
  schema_owner regrole;
BEGIN
  SELECT n.nspowner::pg_catalog.regrole INTO schema_owner
    FROM pg_catalog.pg_namespace n
    JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
   WHERE n.nspname OPERATOR(pg_catalog.=) 'alerting' AND NOT r.rolsuper
     AND n.nspowner OPERATOR(pg_catalog.<>) CURRENT_USER::pg_catalog.regrole::pg_catalog.oid;
  IF FOUND THEN
    RAISE EXCEPTION 'schema "alerting" belongs to role %, who could change what the extension runs', schema_owner
      USING ERRCODE = 'insufficient_privilege',
            HINT = 'Drop the schema, or give it to a superuser: ALTER SCHEMA alerting OWNER TO CURRENT_USER.';
  END IF;
END
$do$;

REVOKE ALL ON SCHEMA alerting FROM PUBLIC;
-- Entry points of the library that other parts of this script need.

CREATE FUNCTION alerting.cuid() RETURNS text
LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'alerting_cuid';

-- Says what a mapping means: the SQL to run for it (a quoted column, or the expression with every
-- name qualified, so that it means the same under any search_path), its type, the columns of `rel`
-- it reads, and whether it can be cast to `target`. Unqualified names are looked up along `path`.
CREATE FUNCTION alerting.describe_mapping(
  rel regclass, alias text, what text, expression text,
  target regtype DEFAULT NULL, path text DEFAULT NULL,
  OUT sql text, OUT is_column boolean, OUT type regtype, OUT columns text[], OUT castable boolean)
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'alerting_describe_mapping'
SET search_path = pg_catalog, pg_temp;

-- Trigger functions. They touch no table; a role that may write the table needs no right on them.
CREATE FUNCTION alerting.capture() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_capture';

CREATE FUNCTION alerting.container_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_container_changed';

CREATE FUNCTION alerting.rule_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_rule_changed';

CREATE FUNCTION alerting.binding_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_binding_changed';

CREATE FUNCTION alerting.delivery_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_delivery_changed';

CREATE FUNCTION alerting.check_webhook() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_check_webhook';

CREATE FUNCTION alerting.on_drop_extension() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_on_drop_extension';

CREATE EVENT TRIGGER alerting_drop_extension ON ddl_command_start
  WHEN TAG IN ('DROP EXTENSION') EXECUTE FUNCTION alerting.on_drop_extension();
-- What a webhook receives. SQL-standard bodies: every name is resolved here, once and for all.

CREATE FUNCTION alerting.rfc3339(moment timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN pg_catalog.to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

-- "CPU usage 97.2 % is above 80 %": the line a person reads first.
CREATE FUNCTION alerting.condition_summary(
  condition text, threshold float8, duration int, value float8) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE condition
  WHEN 'CPU_USAGE' THEN 'CPU usage' || coalesce(' ' || round(value::numeric, 1) || ' %', '')
       || ' is above ' || threshold || ' %' || CASE WHEN duration > 0 THEN ' for ' || duration || ' min' ELSE '' END
  WHEN 'MEMORY_USAGE' THEN 'memory usage' || coalesce(' ' || round(value::numeric, 1) || ' %', '')
       || ' is above ' || threshold || ' %' || CASE WHEN duration > 0 THEN ' for ' || duration || ' min' ELSE '' END
  WHEN 'CONTAINER_DOWN' THEN 'container is down' || CASE WHEN duration > 0 THEN ' for ' || duration || ' min' ELSE '' END
  WHEN 'RESTART_LOOP' THEN coalesce(round(value::numeric, 1) ::float8 || ' ', '') || 'restarts in ' || duration || ' min'
  ELSE condition END;

CREATE FUNCTION alerting.firing_payload(
  alert_id text, rule_id text, rule_name text, condition text, threshold float8, duration int,
  container_id text, container_name text, organization_id text, organization_name text,
  started_at timestamptz, fired_at timestamptz, value float8) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_object(
  'type', 'alert.firing',
  'timestamp', alerting.rfc3339(fired_at),
  'data', jsonb_build_object(
    'alert', jsonb_build_object(
      'id', alert_id, 'ruleId', rule_id, 'containerId', container_id, 'status', 'FIRING',
      'startedAt', alerting.rfc3339(started_at), 'firedAt', alerting.rfc3339(fired_at), 'resolvedAt', NULL,
      -- JSON knows neither NaN nor Infinity.
      'value', CASE WHEN value > '-Infinity' AND value < 'Infinity' THEN value END, 'resolveReason', NULL),
    'rule', jsonb_build_object(
      'id', rule_id, 'name', rule_name, 'condition', condition, 'threshold', threshold, 'duration', duration),
    'container', jsonb_build_object('id', container_id, 'name', container_name),
    'organization', jsonb_build_object('id', organization_id, 'name', organization_name),
    'summary', coalesce(container_name, container_id) || ': ' || alerting.condition_summary(condition, threshold,
       duration, CASE WHEN value > '-Infinity' AND value < 'Infinity' THEN value END)));

-- The end of an incident, told with the words of its beginning: who got no FIRING gets no RESOLVED.
CREATE FUNCTION alerting.resolved_payload(
  firing jsonb, resolved_at timestamptz, reason text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN firing || jsonb_build_object(
  'type', 'alert.resolved',
  'timestamp', alerting.rfc3339(resolved_at),
  'data', coalesce(firing -> 'data', '{}') || jsonb_build_object(
    'alert', coalesce(firing -> 'data' -> 'alert', '{}') || jsonb_build_object(
      'status', 'RESOLVED', 'resolvedAt', alerting.rfc3339(resolved_at), 'resolveReason', reason),
    'summary', coalesce(firing #>> '{data,container,name}', firing #>> '{data,container,id}') || ': resolved, '
      || CASE reason
           WHEN 'RECOVERED' THEN 'recovered'
           WHEN 'NO_DATA' THEN 'no data any more'
           WHEN 'RULE_DISABLED' THEN 'its rule was disabled'
           WHEN 'RULE_CHANGED' THEN 'its rule was changed'
           WHEN 'RULE_DELETED' THEN 'its rule was deleted'
           WHEN 'CONTAINER_MOVED' THEN 'the container moved to another organization'
           WHEN 'CONTAINER_DELETED' THEN 'the container was deleted'
           WHEN 'ALERT_DELETED' THEN 'the alert was deleted'
           ELSE coalesce(lower(reason), 'for no known reason') END
      || coalesce(' (' || (firing #>> '{data,rule,name}') || ')', '')));
-- Which tables can be bound, and by which key.

-- Ends with an error unless `rel` is a table that the current role owns and that may be bound.
-- `referenced`: foreign keys will point at it.
CREATE FUNCTION alerting.check_table(rel regclass, what text, referenced boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  table_row record;
BEGIN
  IF rel IS NULL THEN
    RAISE EXCEPTION '% must be a table, not NULL', what
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the table''s name, for example ''public.containers''.';
  END IF;
  SELECT c.relkind, c.relpersistence, c.relowner, n.nspname INTO table_row
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = rel;
  IF NOT FOUND THEN
    RAISE EXCEPTION '% must be a table: there is no relation with OID %', what, rel::oid
      USING ERRCODE = 'undefined_table';
  END IF;
  IF table_row.relkind NOT IN ('r', 'p') THEN
    RAISE EXCEPTION '% must be a table, but % is %', what, rel,
        CASE table_row.relkind WHEN 'v' THEN 'a view' WHEN 'm' THEN 'a materialized view' WHEN 'f' THEN 'a foreign table'
             WHEN 'S' THEN 'a sequence' WHEN 'c' THEN 'a composite type' WHEN 't' THEN 'a TOAST table' ELSE 'an index' END
      USING ERRCODE = 'wrong_object_type', HINT = 'Name the table that the rows are written to.';
  END IF;
  IF table_row.nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'alerting') THEN
    RAISE EXCEPTION '% cannot be %, a table of the system or of alerting itself', what, rel
      USING ERRCODE = 'wrong_object_type';
  END IF;
  IF table_row.relpersistence = 't' OR (referenced AND table_row.relpersistence <> 'p') THEN
    RAISE EXCEPTION '% cannot be %, % table', what, rel,
        CASE table_row.relpersistence WHEN 't' THEN 'a temporary' ELSE 'an unlogged' END
      USING ERRCODE = 'wrong_object_type',
            DETAIL = CASE WHEN referenced THEN 'Rules and alerts are permanent and refer to its rows by foreign keys.'
                          ELSE 'Other sessions cannot read it.' END;
  END IF;
  IF NOT pg_has_role(current_user, table_row.relowner, 'USAGE') THEN
    RAISE EXCEPTION 'must be owner of table %', rel
      USING ERRCODE = 'insufficient_privilege', HINT = 'Binding a table creates triggers on it, which only its owner may do.';
  END IF;
END
$function$;

-- How a key of this type is handled: 'text', 'uuid' or 'int8'; NULL when it is not supported.
CREATE FUNCTION alerting.key_kind(type regtype) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  WITH RECURSIVE base(type) AS (
    SELECT $1::oid UNION ALL SELECT t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.type AND t.typtype = 'd')
  SELECT max(CASE WHEN b.type IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype) THEN 'text'
                  WHEN b.type = 'uuid'::regtype THEN 'uuid'
                  WHEN b.type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'int8' END) FROM base b;
$function$;

-- A column's type as another column must be declared to hold the same values. Of a domain it is
-- the type beneath: a domain's checks would run with the rights of whoever writes the other column.
CREATE FUNCTION alerting.declaration_of(rel regclass, column_number int2) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  WITH RECURSIVE base(type, modifier, depth) AS (
    SELECT a.atttypid, a.atttypmod, 0 FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum = $2
    UNION ALL
    SELECT t.typbasetype, t.typtypmod, b.depth + 1 FROM base b JOIN pg_type t ON t.oid = b.type AND t.typtype = 'd')
  SELECT format_type(b.type, b.modifier)
         || CASE WHEN a.attcollation NOT IN (0, t.typcollation)
                 THEN format(' COLLATE %I.%I', n.nspname, l.collname) ELSE '' END
    FROM (SELECT * FROM base ORDER BY depth DESC LIMIT 1) b
    JOIN pg_type t ON t.oid = b.type
    JOIN pg_attribute a ON a.attrelid = $1 AND a.attnum = $2
    LEFT JOIN pg_collation l ON l.oid = a.attcollation
    LEFT JOIN pg_namespace n ON n.oid = l.collnamespace;
$function$;

-- The single column that identifies a row of `rel`: its primary key, else its only unique NOT NULL
-- column. `declaration` is the type as a referencing column must be declared.
CREATE FUNCTION alerting.key_of(rel regclass, what text,
  OUT column_name text, OUT type regtype, OUT declaration text, OUT kind text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  candidates int;
BEGIN
  SELECT count(*) OVER (PARTITION BY i.indisprimary), quote_ident(a.attname), a.atttypid,
         alerting.declaration_of(rel, a.attnum)
    INTO candidates, column_name, type, declaration
    FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
   WHERE i.indrelid = rel AND i.indisunique AND i.indnkeyatts = 1 AND i.indkey[0] > 0
     AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND a.attnotnull
   ORDER BY i.indisprimary DESC LIMIT 1;
  IF NOT FOUND OR candidates > 1 THEN
    RAISE EXCEPTION '% table % has no single-column key', what, rel
      USING ERRCODE = 'invalid_table_definition',
            DETAIL = CASE WHEN candidates > 1 THEN 'It has several unique columns and no primary key.'
                          ELSE 'Rules and alerts refer to its rows by a foreign key of one column.' END,
            HINT = 'Give the table a primary key, or a unique NOT NULL column, of one column.';
  END IF;
  kind := alerting.key_kind(type);
  IF kind IS NULL THEN
    RAISE EXCEPTION 'key column % of table % has type %, which is not supported', column_name, rel, type
      USING ERRCODE = 'feature_not_supported',
            DETAIL = 'Supported are text, varchar, char, uuid, smallint, integer and bigint, and domains over them.';
  END IF;
END
$function$;

-- Makes `table_name`.`column_name` refer to the host's key, in the key's own type.
CREATE FUNCTION alerting.refer(table_name text, column_name text, host regclass, host_column text, declaration text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $function$
DECLARE
  rel regclass := format('alerting.%I', table_name)::regclass;
  constraint_name text := format('%s_%s_fkey', table_name, column_name);
  own_number int2 := (SELECT a.attnum FROM pg_attribute a WHERE a.attrelid = rel AND a.attname = column_name);
  same_type boolean := declaration = alerting.declaration_of(rel, own_number);
  present pg_constraint;
BEGIN
  SELECT c.* INTO present FROM pg_constraint c
   WHERE c.conrelid = rel AND c.conname = constraint_name AND c.contype = 'f';
  IF FOUND AND same_type AND present.confrelid = host
     AND host_column = (SELECT quote_ident(a.attname) FROM pg_attribute a
                         WHERE a.attrelid = host AND a.attnum = present.confkey[1]) THEN
    RETURN;
  END IF;
  IF present.oid IS NOT NULL THEN
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', rel, constraint_name);
  END IF;
  BEGIN
    IF NOT same_type THEN
      DROP VIEW IF EXISTS alerting.active_alert, alerting.webhook_public, alerting.webhook_health;
      EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE %s USING %2$I::text::%3$s', rel, column_name, declaration);
    END IF;
    EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I FOREIGN KEY (%I) REFERENCES %s (%s) ON DELETE CASCADE ON UPDATE CASCADE',
                   rel, constraint_name, column_name, host, host_column);
  EXCEPTION WHEN foreign_key_violation OR data_exception THEN
    RAISE EXCEPTION 'table % holds rows that refer to rows which table % does not have', rel, host
      USING ERRCODE = 'foreign_key_violation', DETAIL = SQLERRM,
            HINT = 'Delete those rules, webhooks and alerts first, or attach the tables they belong to.';
  END;
END
$function$;
-- The tables. They are ordinary tables, no members of the extension: a dump carries them with their
-- foreign keys to the host's tables, and DROP EXTENSION keeps them. What depends on functions
-- of the extension (defaults, triggers, views) is added by repair(), which can add it again.

-- Creates the tables that do not exist yet (IF NOT EXISTS would be an error in an extension script,
-- where the table is no member) and points their foreign keys at the host's tables.
CREATE FUNCTION alerting.create_tables(organizations regclass, containers regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $function$
DECLARE
  organization_key record := alerting.key_of(organizations, 'organizations');
  container_key record := alerting.key_of(containers, 'containers');
  strange record;
BEGIN
  -- The workers write these tables and so run their triggers: nobody with fewer rights may own them.
  SELECT c.oid::regclass AS rel, c.relowner::regrole AS owner INTO strange
    FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
   WHERE c.relnamespace = 'alerting'::regnamespace AND NOT r.rolsuper
     AND c.relname IN ('host_binding', 'metric_source', 'series_state', 'alert_rule', 'alert', 'webhook', 'delivery', 'delivery_attempt')
     AND c.relowner <> (SELECT e.extowner FROM pg_extension e WHERE e.extname = 'alerting');
  IF FOUND THEN
    RAISE EXCEPTION 'table % belongs to role %, who does not own the extension', strange.rel, strange.owner
      USING ERRCODE = 'insufficient_privilege', HINT = 'Make the extension''s owner own it: ALTER TABLE ... OWNER TO ....';
  END IF;

  IF to_regclass('alerting.host_binding') IS NULL THEN
    CREATE TABLE alerting.host_binding (
      id boolean NOT NULL DEFAULT true CONSTRAINT host_binding_pkey PRIMARY KEY
        CONSTRAINT host_binding_is_single CHECK (id),
      organizations regclass NOT NULL,
      containers regclass NOT NULL,
      organization text NOT NULL,
      organization_is_column boolean NOT NULL,
      name text,
      organization_name text,
      container_key text NOT NULL,
      container_key_kind text NOT NULL
        CONSTRAINT host_binding_container_key_kind_is_known CHECK (container_key_kind IN ('text', 'uuid', 'int8')),
      organization_key text NOT NULL,
      database_oid oid NOT NULL,
      alert_oid oid NOT NULL,
      layout int NOT NULL DEFAULT 1,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now());
  END IF;

  IF to_regclass('alerting.metric_source') IS NULL THEN
    CREATE TABLE alerting.metric_source (
      id int GENERATED BY DEFAULT AS IDENTITY CONSTRAINT metric_source_pkey PRIMARY KEY,
      metrics regclass NOT NULL CONSTRAINT metric_source_metrics_key UNIQUE,
      container text NOT NULL,
      at text NOT NULL,
      cpu text,
      memory text,
      memory_used text,
      memory_limit text,
      running text,
      restarts text,
      max_age interval DEFAULT '1 hour'
        CONSTRAINT metric_source_max_age_is_positive CHECK (max_age > interval '0'),
      stale_after interval NOT NULL DEFAULT '5 minutes'
        CONSTRAINT metric_source_stale_after_is_positive CHECK (stale_after > interval '0'),
      time_zone text NOT NULL DEFAULT 'UTC',
      at_unit text CONSTRAINT metric_source_at_unit_is_known CHECK (at_unit IN ('s', 'ms', 'us')),
      level text NOT NULL CONSTRAINT metric_source_level_is_known CHECK (level IN ('row', 'statement')),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CONSTRAINT metric_source_maps_a_metric
        CHECK (num_nonnulls(cpu, memory, memory_used, memory_limit, running, restarts) > 0));
  END IF;

  IF to_regclass('alerting.series_state') IS NULL THEN
    CREATE TABLE alerting.series_state (
      chunk int NOT NULL CONSTRAINT series_state_pkey PRIMARY KEY,
      state bytea NOT NULL,
      saved_at timestamptz NOT NULL DEFAULT now());
  END IF;

  IF to_regclass('alerting.alert_rule') IS NULL THEN
    EXECUTE format($sql$
      CREATE TABLE alerting.alert_rule (
        id text NOT NULL CONSTRAINT alert_rule_pkey PRIMARY KEY
          CONSTRAINT alert_rule_id_not_empty CHECK (id <> ''),
        organization_id %s NOT NULL,
        name text NOT NULL CONSTRAINT alert_rule_name_not_empty CHECK (btrim(name) <> ''),
        condition text NOT NULL CONSTRAINT alert_rule_condition_is_known
          CHECK (condition IN ('CPU_USAGE', 'MEMORY_USAGE', 'CONTAINER_DOWN', 'RESTART_LOOP')),
        threshold double precision
          CONSTRAINT alert_rule_threshold_is_finite CHECK (threshold > '-Infinity' AND threshold < 'Infinity'),
        duration int NOT NULL DEFAULT 0 CONSTRAINT alert_rule_duration_not_negative CHECK (duration >= 0),
        no_data text CONSTRAINT alert_rule_no_data_is_known CHECK (no_data IN ('keep', 'resolve', 'fire')),
        enabled boolean NOT NULL DEFAULT true,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT alert_rule_threshold_required
          CHECK (condition NOT IN ('CPU_USAGE', 'MEMORY_USAGE') OR threshold IS NOT NULL),
        CONSTRAINT alert_rule_restart_threshold_not_negative CHECK (condition <> 'RESTART_LOOP' OR threshold >= 0),
        CONSTRAINT alert_rule_restart_duration_required CHECK (condition <> 'RESTART_LOOP' OR duration > 0))
      $sql$, organization_key.declaration);
    CREATE INDEX alert_rule_organization_id_idx ON alerting.alert_rule (organization_id);
  END IF;

  IF to_regclass('alerting.alert') IS NULL THEN
    EXECUTE format($sql$
      CREATE TABLE alerting.alert (
        id text NOT NULL CONSTRAINT alert_pkey PRIMARY KEY CONSTRAINT alert_id_not_empty CHECK (id <> ''),
        rule_id text NOT NULL CONSTRAINT alert_rule_id_fkey
          REFERENCES alerting.alert_rule ON DELETE CASCADE ON UPDATE CASCADE,
        container_id %s NOT NULL,
        status text NOT NULL CONSTRAINT alert_status_is_known CHECK (status IN ('FIRING', 'RESOLVED')),
        started_at timestamptz NOT NULL,
        fired_at timestamptz NOT NULL,
        resolved_at timestamptz,
        value double precision,
        resolve_reason text,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT alert_resolved_at_matches_status CHECK ((status = 'RESOLVED') = (resolved_at IS NOT NULL)))
      $sql$, container_key.declaration);
    CREATE UNIQUE INDEX alert_one_firing_key ON alerting.alert (rule_id, container_id) WHERE status = 'FIRING';
    CREATE INDEX alert_rule_id_fired_at_idx ON alerting.alert (rule_id, fired_at);
    CREATE INDEX alert_container_id_fired_at_idx ON alerting.alert (container_id, fired_at);
  END IF;

  -- No CHECK here: the message of a failed one shows the row, and the row holds the secret.
  IF to_regclass('alerting.webhook') IS NULL THEN
    EXECUTE format($sql$
      CREATE TABLE alerting.webhook (
        id text NOT NULL CONSTRAINT webhook_pkey PRIMARY KEY,
        organization_id %s NOT NULL,
        url text NOT NULL,
        secret text,
        is_active boolean NOT NULL DEFAULT true,
        retry_schedule interval[],
        disabled_reason text,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now())
      $sql$, organization_key.declaration);
    CREATE INDEX webhook_organization_id_idx ON alerting.webhook (organization_id);
  END IF;

  IF to_regclass('alerting.delivery') IS NULL THEN
    CREATE TABLE alerting.delivery (
      id text NOT NULL CONSTRAINT delivery_pkey PRIMARY KEY,
      seq bigint GENERATED BY DEFAULT AS IDENTITY,
      webhook_id text NOT NULL CONSTRAINT delivery_webhook_id_fkey
        REFERENCES alerting.webhook ON DELETE CASCADE ON UPDATE CASCADE,
      alert_id text,
      event text NOT NULL CONSTRAINT delivery_event_is_known CHECK (event IN ('alert.firing', 'alert.resolved', 'ping')),
      payload jsonb NOT NULL,
      status text NOT NULL DEFAULT 'PENDING'
        CONSTRAINT delivery_status_is_known CHECK (status IN ('PENDING', 'DELIVERED', 'FAILED')),
      attempts int NOT NULL DEFAULT 0,
      next_attempt_at timestamptz NOT NULL DEFAULT now(),
      delivered_at timestamptz,
      last_status int,
      last_error text,
      created_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX delivery_pending_idx
      ON alerting.delivery (webhook_id, next_attempt_at, seq) WHERE status = 'PENDING';
    CREATE INDEX delivery_alert_id_webhook_id_idx ON alerting.delivery (alert_id, webhook_id);
    CREATE INDEX delivery_webhook_id_seq_idx ON alerting.delivery (webhook_id, seq);
    CREATE INDEX delivery_created_at_idx ON alerting.delivery (created_at);
  END IF;

  IF to_regclass('alerting.delivery_attempt') IS NULL THEN
    CREATE TABLE alerting.delivery_attempt (
      id bigint GENERATED BY DEFAULT AS IDENTITY CONSTRAINT delivery_attempt_pkey PRIMARY KEY,
      delivery_id text NOT NULL CONSTRAINT delivery_attempt_delivery_id_fkey
        REFERENCES alerting.delivery ON DELETE CASCADE ON UPDATE CASCADE,
      at timestamptz NOT NULL DEFAULT now(),
      status_code int,
      error text,
      duration_ms int,
      response text);
    CREATE INDEX delivery_attempt_delivery_id_idx ON alerting.delivery_attempt (delivery_id, at);
  END IF;

  PERFORM alerting.refer('alert_rule', 'organization_id', organizations, organization_key.column_name, organization_key.declaration);
  PERFORM alerting.refer('webhook', 'organization_id', organizations, organization_key.column_name, organization_key.declaration);
  PERFORM alerting.refer('alert', 'container_id', containers, container_key.column_name, container_key.declaration);
END
$function$;
-- The tables' manual, to be read with \d+ in psql.
CREATE FUNCTION alerting.comment_tables() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  COMMENT ON TABLE alerting.host_binding IS 'The host''s tables that alerting is bound to: one row, written by alerting.attach()';
  COMMENT ON COLUMN alerting.host_binding.id IS 'Always true: there is one binding';
  COMMENT ON COLUMN alerting.host_binding.organizations IS 'Table of the organizations (tenants)';
  COMMENT ON COLUMN alerting.host_binding.containers IS 'Table of the containers';
  COMMENT ON COLUMN alerting.host_binding.organization IS 'A container''s organization: a quoted column of the containers table, or an SQL expression over its row c with all names qualified';
  COMMENT ON COLUMN alerting.host_binding.organization_is_column IS 'Whether organization is a plain column';
  COMMENT ON COLUMN alerting.host_binding.name IS 'Quoted column that names a container in alerts and webhooks, NULL for none';
  COMMENT ON COLUMN alerting.host_binding.organization_name IS 'Quoted column that names an organization in webhooks, NULL for none';
  COMMENT ON COLUMN alerting.host_binding.container_key IS 'Quoted key column of the containers table';
  COMMENT ON COLUMN alerting.host_binding.container_key_kind IS 'How keys of containers are handled: text, uuid or int8';
  COMMENT ON COLUMN alerting.host_binding.organization_key IS 'Quoted key column of the organizations table';
  COMMENT ON COLUMN alerting.host_binding.database_oid IS 'OID of the database that may send webhooks; a restored copy has another one and holds its deliveries until alerting.resume()';
  COMMENT ON COLUMN alerting.host_binding.alert_oid IS 'OID of table alert in the database that may send webhooks, see database_oid';
  COMMENT ON COLUMN alerting.host_binding.layout IS 'Version of the layout of alerting''s tables';
  COMMENT ON COLUMN alerting.host_binding.created_at IS 'When the tables were first attached';
  COMMENT ON COLUMN alerting.host_binding.updated_at IS 'When the binding was last changed';

  COMMENT ON TABLE alerting.metric_source IS 'The host''s metrics tables and how their rows are read, written by alerting.attach_metrics(). A mapping is a quoted column or an SQL expression over the metric''s row m; NULL: not mapped';
  COMMENT ON COLUMN alerting.metric_source.id IS 'Number of the source';
  COMMENT ON COLUMN alerting.metric_source.metrics IS 'The metrics table';
  COMMENT ON COLUMN alerting.metric_source.container IS 'Mapping: key of the container';
  COMMENT ON COLUMN alerting.metric_source.at IS 'Mapping: time of the sample';
  COMMENT ON COLUMN alerting.metric_source.cpu IS 'Mapping: CPU usage in percent';
  COMMENT ON COLUMN alerting.metric_source.memory IS 'Mapping: memory usage in percent';
  COMMENT ON COLUMN alerting.metric_source.memory_used IS 'Mapping: memory in use, in the unit of memory_limit';
  COMMENT ON COLUMN alerting.metric_source.memory_limit IS 'Mapping: limit of memory; 0, negative or absurdly large is no limit';
  COMMENT ON COLUMN alerting.metric_source.running IS 'Mapping: whether the container runs (boolean)';
  COMMENT ON COLUMN alerting.metric_source.restarts IS 'Mapping: counter of restarts; a fall is a reset';
  COMMENT ON COLUMN alerting.metric_source.max_age IS 'A sample older than this at its arrival is backfill and not evaluated; NULL: no limit';
  COMMENT ON COLUMN alerting.metric_source.stale_after IS 'A container silent for longer counts as without data, see alert_rule.no_data';
  COMMENT ON COLUMN alerting.metric_source.time_zone IS 'Time zone of a time given without one';
  COMMENT ON COLUMN alerting.metric_source.at_unit IS 'Unit of a time given as a number since 1970: s, ms or us';
  COMMENT ON COLUMN alerting.metric_source.level IS 'Capture triggers of the table: statement, or row (partitions, hypertables, logical replication)';
  COMMENT ON COLUMN alerting.metric_source.created_at IS 'When the table was first attached';
  COMMENT ON COLUMN alerting.metric_source.updated_at IS 'When its mapping was last changed';

  COMMENT ON TABLE alerting.series_state IS 'What the evaluator must remember over a restart, in its own format; nothing to read or write for anybody else';
  COMMENT ON COLUMN alerting.series_state.chunk IS 'Number of the chunk';
  COMMENT ON COLUMN alerting.series_state.state IS 'Last judged readings, pending runs and restart windows of the chunk''s containers';
  COMMENT ON COLUMN alerting.series_state.saved_at IS 'When the chunk was saved';

  COMMENT ON TABLE alerting.alert_rule IS 'What is watched for: one condition for all containers of one organization';
  COMMENT ON COLUMN alerting.alert_rule.id IS 'Any text; made by alerting.cuid() when left out';
  COMMENT ON COLUMN alerting.alert_rule.organization_id IS 'Organization whose containers are watched; its deletion deletes the rule';
  COMMENT ON COLUMN alerting.alert_rule.name IS 'Name for people, in alerts and webhooks';
  COMMENT ON COLUMN alerting.alert_rule.condition IS 'CPU_USAGE or MEMORY_USAGE (percent above threshold), CONTAINER_DOWN (not running), RESTART_LOOP (restarts in the last duration minutes above threshold)';
  COMMENT ON COLUMN alerting.alert_rule.threshold IS 'Breach strictly above: percent for CPU_USAGE and MEMORY_USAGE, restarts for RESTART_LOOP (3 when left out); unused by CONTAINER_DOWN';
  COMMENT ON COLUMN alerting.alert_rule.duration IS 'Minutes that a breach must persist before it fires, 0: at once; for RESTART_LOOP the window that restarts are counted in';
  COMMENT ON COLUMN alerting.alert_rule.no_data IS 'When a container is silent for longer than metric_source.stale_after: keep (an alert stays as it is), resolve, or fire; left out: fire for CONTAINER_DOWN, else keep';
  COMMENT ON COLUMN alerting.alert_rule.enabled IS 'A disabled rule is not evaluated; its alerts are resolved';
  COMMENT ON COLUMN alerting.alert_rule.created_at IS 'When the rule was made';
  COMMENT ON COLUMN alerting.alert_rule.updated_at IS 'When the rule was last changed; kept by a trigger';

  COMMENT ON TABLE alerting.alert IS 'One row for each incident of a rule and a container, written by the evaluator';
  COMMENT ON COLUMN alerting.alert.id IS 'Identity, also in webhooks';
  COMMENT ON COLUMN alerting.alert.rule_id IS 'Rule that was breached; its deletion deletes the alert';
  COMMENT ON COLUMN alerting.alert.container_id IS 'Container that breached it; its deletion deletes the alert';
  COMMENT ON COLUMN alerting.alert.status IS 'FIRING or RESOLVED; one FIRING row at most for each rule and container';
  COMMENT ON COLUMN alerting.alert.started_at IS 'Time of the first sample of the breach';
  COMMENT ON COLUMN alerting.alert.fired_at IS 'Time at which the breach had lasted for the rule''s duration';
  COMMENT ON COLUMN alerting.alert.resolved_at IS 'Time of the sample, or deadline, that ended it; NULL while FIRING';
  COMMENT ON COLUMN alerting.alert.value IS 'The reading at fired_at: percent, or restarts in the window; NULL when there is none';
  COMMENT ON COLUMN alerting.alert.resolve_reason IS 'RECOVERED, NO_DATA, RULE_DISABLED, RULE_CHANGED or CONTAINER_MOVED; NULL while FIRING. (CONTAINER_DELETED, RULE_DELETED and ALERT_DELETED are in webhooks only: the row is gone)';
  COMMENT ON COLUMN alerting.alert.created_at IS 'When the row was written';

  PERFORM alerting.comment_delivery_tables();
END
$function$;

CREATE FUNCTION alerting.comment_delivery_tables() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  COMMENT ON TABLE alerting.webhook IS 'Where an organization wants its alerts sent: a signed POST for each alert that fires or is resolved';
  COMMENT ON COLUMN alerting.webhook.id IS 'Any text; made by alerting.cuid() when left out';
  COMMENT ON COLUMN alerting.webhook.organization_id IS 'Organization whose alerts are sent; its deletion deletes the webhook';
  COMMENT ON COLUMN alerting.webhook.url IS 'https URL, or http to a network listed in setting alerting.allowed_networks; no userinfo. Checked by a trigger, and its addresses again at each connection';
  COMMENT ON COLUMN alerting.webhook.secret IS 'Key of the signature: whsec_ and base64, or any text; NULL: unsigned. Grant this column to nobody who only reads';
  COMMENT ON COLUMN alerting.webhook.is_active IS 'Whether anything is sent; what is pending waits while false';
  COMMENT ON COLUMN alerting.webhook.retry_schedule IS 'Pause before each retry of a failed delivery, instead of the default schedule; after the last one the delivery is FAILED';
  COMMENT ON COLUMN alerting.webhook.disabled_reason IS 'Why alerting switched is_active off (the receiver answered 410 Gone); cleared when it is switched on again';
  COMMENT ON COLUMN alerting.webhook.created_at IS 'When the webhook was made';
  COMMENT ON COLUMN alerting.webhook.updated_at IS 'When the webhook was last changed; kept by a trigger';

  COMMENT ON TABLE alerting.delivery IS 'Outbox: one row for each event and webhook, written with the alert''s change and sent at least once';
  COMMENT ON COLUMN alerting.delivery.id IS 'Header webhook-id, the same over all attempts';
  COMMENT ON COLUMN alerting.delivery.seq IS 'Order of the deliveries';
  COMMENT ON COLUMN alerting.delivery.webhook_id IS 'Webhook it goes to; its deletion deletes the delivery';
  COMMENT ON COLUMN alerting.delivery.alert_id IS 'Alert it is about, also when that is deleted; NULL for a ping';
  COMMENT ON COLUMN alerting.delivery.event IS 'alert.firing, alert.resolved or ping';
  COMMENT ON COLUMN alerting.delivery.payload IS 'Body, rendered once and never changed';
  COMMENT ON COLUMN alerting.delivery.status IS 'PENDING, DELIVERED, or FAILED (all retries used up; alerting.redeliver(id) sends it again)';
  COMMENT ON COLUMN alerting.delivery.attempts IS 'Attempts made';
  COMMENT ON COLUMN alerting.delivery.next_attempt_at IS 'Earliest time of the next attempt while PENDING';
  COMMENT ON COLUMN alerting.delivery.delivered_at IS 'When a 2xx answer came';
  COMMENT ON COLUMN alerting.delivery.last_status IS 'HTTP status of the last attempt, NULL when none came';
  COMMENT ON COLUMN alerting.delivery.last_error IS 'What failed at the last attempt';
  COMMENT ON COLUMN alerting.delivery.created_at IS 'When the event happened; delivered rows older than setting alerting.delivery_retention are removed, failed ones after four times as long';

  COMMENT ON TABLE alerting.delivery_attempt IS 'Log of every request: what to read when a webhook did not come';
  COMMENT ON COLUMN alerting.delivery_attempt.id IS 'Order of the attempts';
  COMMENT ON COLUMN alerting.delivery_attempt.delivery_id IS 'Delivery that was attempted';
  COMMENT ON COLUMN alerting.delivery_attempt.at IS 'When the attempt began';
  COMMENT ON COLUMN alerting.delivery_attempt.status_code IS 'HTTP status, NULL when none came';
  COMMENT ON COLUMN alerting.delivery_attempt.error IS 'What failed, NULL for a success';
  COMMENT ON COLUMN alerting.delivery_attempt.duration_ms IS 'Milliseconds from the start to the end of the attempt';
  COMMENT ON COLUMN alerting.delivery_attempt.response IS 'Start of the answer''s body';

  COMMENT ON VIEW alerting.active_alert IS 'Alerts that are FIRING, with rule and container; since is started_at. Runs with the reader''s rights, who also needs SELECT on the containers table and host_binding, and EXECUTE on alerting.container_name(text)';
  COMMENT ON COLUMN alerting.active_alert.rule_name IS 'Name of the rule';
  COMMENT ON COLUMN alerting.active_alert.container_name IS 'Name of the container, where attach was told or found a column for it';
  COMMENT ON COLUMN alerting.active_alert.since IS 'The same as started_at';
  COMMENT ON VIEW alerting.webhook_public IS 'Webhooks without secret, path and query of the URL. Runs with the reader''s rights: SELECT on the columns of webhook other than secret';
  COMMENT ON COLUMN alerting.webhook_public.origin IS 'Scheme, host and port of the URL';
  COMMENT ON VIEW alerting.webhook_health IS 'How each webhook fares. Runs with the reader''s rights: SELECT on delivery, delivery_attempt and the columns of webhook shown here';
  COMMENT ON COLUMN alerting.webhook_health.webhook_id IS 'webhook.id';
  COMMENT ON COLUMN alerting.webhook_health.pending IS 'Deliveries that wait';
  COMMENT ON COLUMN alerting.webhook_health.oldest_pending_at IS 'When the oldest of them was made';
  COMMENT ON COLUMN alerting.webhook_health.next_attempt_at IS 'When the next of them is due';
  COMMENT ON COLUMN alerting.webhook_health.failed IS 'Deliveries that were given up and are kept for redeliver() and redeliver_failed()';
  COMMENT ON COLUMN alerting.webhook_health.last_success_at IS 'When a delivery arrived last';
  COMMENT ON COLUMN alerting.webhook_health.last_failure_at IS 'When an attempt failed last';
  COMMENT ON COLUMN alerting.webhook_health.last_failure IS 'Why it failed';
  COMMENT ON COLUMN alerting.webhook_health.failures_in_a_row IS 'Attempts that failed since the last success; from 10 on the endpoint is only probed, with pauses from 10 seconds to 5 minutes';
  COMMENT ON COLUMN alerting.webhook_health.attempts_24h IS 'Attempts of the last 24 hours';
  COMMENT ON COLUMN alerting.webhook_health.success_ratio_24h IS 'Share of them that succeeded';
  COMMENT ON COLUMN alerting.webhook_health.p50_ms_24h IS 'Median of their milliseconds';
  COMMENT ON COLUMN alerting.webhook_health.p95_ms_24h IS '95th percentile of their milliseconds';
END
$function$;
-- Triggers on alerting's own tables.

-- Fills what a rule leaves to its condition, and keeps updated_at honest for clients that don't.
CREATE FUNCTION alerting.rule_defaults() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF NEW.no_data IS NULL THEN
    NEW.no_data := CASE NEW.condition WHEN 'CONTAINER_DOWN' THEN 'fire' ELSE 'keep' END;
  END IF;
  IF NEW.threshold IS NULL AND NEW.condition = 'RESTART_LOOP' THEN
    NEW.threshold := 3;
  END IF;
  IF TG_OP = 'UPDATE' AND NEW.updated_at = OLD.updated_at THEN
    NEW.updated_at := now();
  END IF;
  RETURN NEW;
END
$function$;

CREATE FUNCTION alerting.webhook_touched() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF NEW.updated_at = OLD.updated_at THEN
    NEW.updated_at := now();
  END IF;
  IF NEW.is_active AND NOT OLD.is_active AND NEW.disabled_reason IS NOT DISTINCT FROM OLD.disabled_reason THEN
    NEW.disabled_reason := NULL;
  END IF;
  RETURN NEW;
END
$function$;

-- Whether the container with this key is (still) there.
CREATE FUNCTION alerting.container_exists(container text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  host record;
  result boolean;
BEGIN
  SELECT b.containers, b.container_key, format_type(a.atttypid, a.atttypmod) AS type INTO host
    FROM alerting.host_binding b
    JOIN pg_attribute a ON a.attrelid = 'alerting.alert'::regclass AND a.attname = 'container_id'
    JOIN pg_class c ON c.oid = b.containers;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %s = $1::%s)', host.containers, host.container_key, host.type)
    INTO result USING container;
  RETURN result;
END
$function$;

-- Tells the receivers of an alert's FIRING that it is over. Webhooks that are gone, also those that
-- this very transaction has deleted, get nothing: locking the row says so for certain, so that no
-- foreign key of a delivery can fail later.
-- (PL/pgSQL keeps its plan, which counts when a host with thousands of alerts is deleted.)
CREATE FUNCTION alerting.enqueue_resolved(alert text, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  WITH receiver AS (
    SELECT w.id FROM alerting.webhook w
     WHERE w.id IN (SELECT d.webhook_id FROM alerting.delivery d WHERE d.alert_id = $1 AND d.event = 'alert.firing')
     ORDER BY w.id FOR KEY SHARE)
  INSERT INTO alerting.delivery (id, webhook_id, alert_id, event, payload)
  SELECT alerting.cuid(), f.webhook_id, $1, 'alert.resolved', alerting.resolved_payload(f.payload, now(), $2)
    FROM receiver r
    CROSS JOIN LATERAL (SELECT d.webhook_id, d.payload FROM alerting.delivery d
                         WHERE d.alert_id = $1 AND d.webhook_id = r.id AND d.event = 'alert.firing'
                         ORDER BY d.seq DESC LIMIT 1) f;
END
$function$;

-- An alert that is FIRING goes (with its container, rule or organization, or by itself).
-- SECURITY DEFINER: whoever may delete a container deletes its alerts by cascade and has no right here;
-- reachable as a trigger only, on tables whose owner may execute it.
CREATE FUNCTION alerting.alert_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  reason text;
BEGIN
  reason := CASE WHEN NOT alerting.container_exists(OLD.container_id::text) THEN 'CONTAINER_DELETED'
                 WHEN NOT EXISTS (SELECT FROM alerting.alert_rule r WHERE r.id = OLD.rule_id) THEN 'RULE_DELETED'
                 ELSE 'ALERT_DELETED' END;
  PERFORM alerting.enqueue_resolved(OLD.id, reason);
  PERFORM alerting.notify_transition('alert.resolved', OLD.id, OLD.rule_id, OLD.container_id::text);
  RETURN NULL;
END
$function$;

-- TRUNCATE (also by CASCADE from containers or rules) fires no row trigger.
CREATE FUNCTION alerting.alert_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  PERFORM alerting.enqueue_resolved(a.id, 'ALERT_DELETED'),
          alerting.notify_transition('alert.resolved', a.id, a.rule_id, a.container_id::text)
     FROM alerting.alert a WHERE a.status = 'FIRING';
  RETURN NULL;
END
$function$;

-- NOTIFY alerting, for live dashboards. A transaction that notified cannot be prepared (two-phase
-- commit), and the host's transaction must not fail because of us: where that is possible,
-- deletions are not notified.
CREATE FUNCTION alerting.notify_transition(event text, alert text, rule text, container text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  message text := jsonb_build_object('event', event, 'alertId', alert, 'ruleId', rule, 'containerId', container);
BEGIN
  IF current_setting('max_prepared_transactions') = '0' THEN
    -- 8000 bytes is NOTIFY's limit; ids are short unless a client is strange.
    PERFORM pg_notify('alerting', CASE WHEN octet_length(message) < 7900 THEN message
                                       ELSE jsonb_build_object('event', event)::text END);
  END IF;
END
$function$;
-- What DROP EXTENSION takes from the tables, and what brings it back.

-- DROP TRIGGER locks a partitioned table's partitions before the table itself: who reads it meanwhile,
-- as the evaluator may, locks them in the other order, which is a deadlock.
CREATE FUNCTION alerting.drop_trigger(rel regclass, trigger_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', rel);
  EXECUTE format('DROP TRIGGER %I ON %s', trigger_name, rel);
END
$function$;

-- Creates a trigger unless it is there with these arguments and this function; `force` creates it
-- anyway. `always`: it fires for replicated changes too. Returns whether something was done.
CREATE FUNCTION alerting.ensure_trigger(rel regclass, trigger_name text, event text, called text,
  arguments text[] DEFAULT '{}', always boolean DEFAULT false, force boolean DEFAULT false) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
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

CREATE FUNCTION alerting.remove_trigger(rel regclass, trigger_name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = rel AND t.tgname = trigger_name AND NOT t.tgisinternal) THEN
    RETURN false;
  END IF;
  PERFORM alerting.drop_trigger(rel, trigger_name);
  RETURN true;
END
$function$;

-- Whether logical replication writes this table here: its apply worker fires ALWAYS row triggers only.
CREATE FUNCTION alerting.is_subscribed(rel regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid = $1
                 OR s.srrelid IN (SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = $1));
$function$;

-- The triggers on the containers table: deleted and moved containers are told to the evaluator at once.
CREATE FUNCTION alerting.watch_containers(force boolean) RETURNS boolean
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
CREATE FUNCTION alerting.watch_metrics(source int) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  s record;
  arguments text[];
  done boolean;
BEGIN
  SELECT m.* INTO s FROM alerting.metric_source m JOIN pg_class c ON c.oid = m.metrics WHERE m.id = source;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  arguments := ARRAY[s.id::text, (SELECT b.container_key_kind FROM alerting.host_binding b), s.container, s.at, s.time_zone,
    coalesce(s.at_unit, ''), coalesce(s.cpu, ''), coalesce(s.memory, ''), coalesce(s.memory_used, ''),
    coalesce(s.memory_limit, ''), coalesce(s.running, ''), coalesce(s.restarts, '')];
  IF s.level = 'row' THEN
    done := alerting.remove_trigger(s.metrics, 'alerting_capture_insert');
    done := alerting.remove_trigger(s.metrics, 'alerting_capture_update') OR done;
    -- ALWAYS from the start, so that a subscription made later finds it right.
    RETURN alerting.ensure_trigger(s.metrics, 'alerting_capture',
             'AFTER INSERT OR UPDATE ON %table% FOR EACH ROW', 'capture', arguments, true) OR done;
  END IF;
  done := alerting.remove_trigger(s.metrics, 'alerting_capture');
  done := alerting.ensure_trigger(s.metrics, 'alerting_capture_insert',
            'AFTER INSERT ON %table% REFERENCING NEW TABLE AS alerting_new FOR EACH STATEMENT', 'capture', arguments) OR done;
  RETURN alerting.ensure_trigger(s.metrics, 'alerting_capture_update',
            'AFTER UPDATE ON %table% REFERENCING NEW TABLE AS alerting_new FOR EACH STATEMENT', 'capture', arguments) OR done;
END
$function$;

-- Views over the tables. They name no column of the host's tables, so that the host's migrations
-- may change those freely.
CREATE FUNCTION alerting.create_views() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF to_regclass('alerting.active_alert') IS NOT NULL AND to_regclass('alerting.webhook_public') IS NOT NULL
     AND to_regclass('alerting.webhook_health') IS NOT NULL THEN
    RETURN false;
  END IF;
  DROP VIEW IF EXISTS alerting.active_alert, alerting.webhook_public, alerting.webhook_health;
  CREATE VIEW alerting.active_alert WITH (security_invoker = true, security_barrier = true) AS
    SELECT a.id, r.organization_id, a.rule_id, r.name AS rule_name, r.condition, r.threshold, r.duration,
           a.container_id, alerting.container_name(a.container_id::text) AS container_name,
           a.started_at AS since, a.started_at, a.fired_at, a.value
      FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id
     WHERE a.status = 'FIRING';
  CREATE VIEW alerting.webhook_public WITH (security_invoker = true, security_barrier = true) AS
    SELECT w.id, w.organization_id, substring(w.url FROM '^([A-Za-z]+://)') || substring(w.url FROM '^[A-Za-z]+://(?:[^/?#]*@)?([^/?#@]*)') AS origin,
           w.is_active, w.disabled_reason, w.retry_schedule, w.created_at, w.updated_at
      FROM alerting.webhook w;
  CREATE VIEW alerting.webhook_health WITH (security_invoker = true, security_barrier = true) AS
    SELECT w.id AS webhook_id, w.organization_id, w.is_active, w.disabled_reason,
           d.pending, d.oldest_pending_at, d.next_attempt_at, d.failed,
           d.last_success_at, f.at AS last_failure_at, f.error AS last_failure,
           (SELECT count(*) FROM alerting.delivery_attempt a JOIN alerting.delivery e ON e.id = a.delivery_id
             WHERE e.webhook_id = w.id AND a.error IS NOT NULL AND a.at > coalesce(d.last_success_at, '-infinity')) AS failures_in_a_row,
           t.attempts AS attempts_24h, t.success_ratio AS success_ratio_24h, t.p50_ms AS p50_ms_24h, t.p95_ms AS p95_ms_24h
      FROM alerting.webhook w
      CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE e.status = 'PENDING') AS pending, min(e.created_at) FILTER (WHERE e.status = 'PENDING') AS oldest_pending_at,
               min(e.next_attempt_at) FILTER (WHERE e.status = 'PENDING') AS next_attempt_at,
               count(*) FILTER (WHERE e.status = 'FAILED') AS failed, max(e.delivered_at) AS last_success_at
          FROM alerting.delivery e WHERE e.webhook_id = w.id) d
      LEFT JOIN LATERAL (
        SELECT a.at, a.error FROM alerting.delivery_attempt a JOIN alerting.delivery e ON e.id = a.delivery_id
         WHERE e.webhook_id = w.id AND a.error IS NOT NULL ORDER BY a.at DESC LIMIT 1) f ON true
      CROSS JOIN LATERAL (
        SELECT count(*) AS attempts, round(avg((a.error IS NULL)::int), 4) AS success_ratio,
               percentile_disc(0.5) WITHIN GROUP (ORDER BY a.duration_ms) AS p50_ms,
               percentile_disc(0.95) WITHIN GROUP (ORDER BY a.duration_ms) AS p95_ms
          FROM alerting.delivery_attempt a JOIN alerting.delivery e ON e.id = a.delivery_id
         WHERE e.webhook_id = w.id AND a.at > now() - interval '24 hours') t;
  RETURN true;
END
$function$;

CREATE FUNCTION alerting.container_name(container text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  host record;
  result text;
BEGIN
  SELECT b.containers, b.container_key, b.name, format_type(a.atttypid, a.atttypmod) AS type INTO host
    FROM alerting.host_binding b
    JOIN pg_attribute a ON a.attrelid = 'alerting.alert'::regclass AND a.attname = 'container_id'
    JOIN pg_class c ON c.oid = b.containers;
  IF FOUND AND host.name IS NOT NULL THEN
    EXECUTE format('SELECT %s::text FROM %s WHERE %s = $1::%s', host.name, host.containers, host.container_key, host.type)
      INTO result USING container;
  END IF;
  RETURN result;
END
$function$;

-- Gives the tables and the host's tables whatever they lack: defaults, triggers, views. Returns how
-- many things were missing. Touches nothing when all is there.
CREATE FUNCTION alerting.repair() RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $function$
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
    SELECT format('alerting.%I', t.tab)::regclass AS rel, t.* FROM (VALUES
      ('host_binding', 'alerting_binding_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %table% FOR EACH STATEMENT', 'binding_changed'),
      ('metric_source', 'alerting_binding_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %table% FOR EACH STATEMENT', 'binding_changed'),
      ('alert_rule', 'alerting_rule_defaults', 'BEFORE INSERT OR UPDATE ON %table% FOR EACH ROW', 'rule_defaults'),
      ('alert_rule', 'alerting_rule_changed', 'AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %table% FOR EACH STATEMENT', 'rule_changed'),
      ('alert', 'alerting_alert_deleted', 'AFTER DELETE ON %table% FOR EACH ROW WHEN (OLD.status = ''FIRING'')', 'alert_deleted'),
      ('alert', 'alerting_alert_truncated', 'BEFORE TRUNCATE ON %table% FOR EACH STATEMENT', 'alert_truncated'),
      ('webhook', 'alerting_check_webhook', 'BEFORE INSERT OR UPDATE ON %table% FOR EACH ROW', 'check_webhook'),
      ('webhook', 'alerting_webhook_touched', 'BEFORE UPDATE ON %table% FOR EACH ROW', 'webhook_touched'),
      ('webhook', 'alerting_delivery_changed', 'AFTER INSERT OR UPDATE OR DELETE ON %table% FOR EACH STATEMENT', 'delivery_changed'),
      ('delivery', 'alerting_delivery_changed', 'AFTER INSERT OR UPDATE ON %table% FOR EACH STATEMENT', 'delivery_changed')
    ) AS t(tab, trigger_name, event, called)
  LOOP
    repaired := repaired + alerting.ensure_trigger(item.rel, item.trigger_name, item.event, item.called)::int;
  END LOOP;

  repaired := repaired + alerting.create_views()::int;
  PERFORM alerting.comment_tables() WHERE obj_description('alerting.host_binding'::regclass, 'pg_class') IS NULL
                                       OR obj_description('alerting.active_alert'::regclass, 'pg_class') IS NULL;
  PERFORM alerting.disown_tables();
  repaired := repaired + alerting.watch_containers(false)::int;
  FOR item IN SELECT s.id FROM alerting.metric_source s ORDER BY s.id LOOP
    repaired := repaired + alerting.watch_metrics(item.id)::int;
  END LOOP;
  RETURN repaired;
END
$function$;

-- Inside CREATE EXTENSION every new object becomes a member of the extension; the tables must not.
-- Outside of it nothing is a member and nothing is done.
CREATE FUNCTION alerting.disown_tables() RETURNS void
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
-- Finding tables and columns by the names people usually give them. Names are compared in lower
-- case and without underscores: cpu_percent, cpuPercent and "CPUPercent" are one.

CREATE FUNCTION alerting.plain_name(name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT lower(translate($1, '_- ', ''));
$function$;

-- The first of `names` that is a column of `rel` of one of the type categories (as in
-- pg_type.typcategory), quoted; NULL when there is none.
CREATE FUNCTION alerting.guess_column(rel regclass, names text[], categories text DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT quote_ident(a.attname)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
     AND alerting.plain_name(a.attname) = ANY ($2)
     AND ($3 IS NULL OR position(t.typcategory::text IN $3) > 0)
   ORDER BY array_position($2, alerting.plain_name(a.attname)), a.attnum LIMIT 1;
$function$;

-- The columns of `rel` that refer to `target` by a foreign key of one column, quoted.
CREATE FUNCTION alerting.referring_columns(rel regclass, target regclass) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(array_agg(DISTINCT quote_ident(a.attname)), '{}')
    FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
   WHERE c.contype = 'f' AND c.conrelid = $1 AND c.confrelid = $2 AND cardinality(c.conkey) = 1;
$function$;

-- The organization column of a containers table: its only foreign key to organizations, else by name.
CREATE FUNCTION alerting.guess_organization(organizations regclass, containers regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  referring text[] := alerting.referring_columns(containers, organizations);
BEGIN
  RETURN CASE WHEN cardinality(referring) = 1 THEN referring[1]
              ELSE alerting.guess_column(containers, ARRAY['organizationid', 'organisationid', 'orgid', 'organization', 'organisation']) END;
END
$function$;

-- A way from a container to its organization over one table between them, as an expression; NULL
-- unless foreign keys show exactly one.
CREATE FUNCTION alerting.suggest_organization(organizations regclass, containers regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT CASE WHEN count(*) = 1 THEN
           min(format('(SELECT h.%I FROM %s h WHERE h.%I = c.%I)', up.attname, first.confrelid::regclass, key.attname, down.attname)) END
    FROM pg_constraint first
    JOIN pg_constraint second ON second.conrelid = first.confrelid AND second.contype = 'f' AND cardinality(second.conkey) = 1
    JOIN pg_attribute down ON down.attrelid = first.conrelid AND down.attnum = first.conkey[1]
    JOIN pg_attribute key ON key.attrelid = first.confrelid AND key.attnum = first.confkey[1]
    JOIN pg_attribute up ON up.attrelid = second.conrelid AND up.attnum = second.conkey[1]
   WHERE first.contype = 'f' AND cardinality(first.conkey) = 1
     AND first.conrelid = $2 AND second.confrelid = $1 AND first.confrelid <> $2;
$function$;

-- The time column of a metrics table. Numbers are a time only when their unit is said.
CREATE FUNCTION alerting.guess_at(metrics regclass, numbers boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT alerting.guess_column($1, ARRAY['at', 'time', 'timestamp', 'ts', 'recordedat', 'sampledat', 'collectedat',
    'measuredat', 'capturedat', 'observedat', 'reportedat', 'lastseen', 'lastseenat']
    || CASE WHEN $1 = (SELECT b.containers::oid FROM alerting.host_binding b)
            THEN ARRAY['updatedat', 'createdat'] ELSE ARRAY['createdat', 'updatedat'] END,
    CASE WHEN $2 THEN 'N' ELSE 'D' END);
$function$;

-- Whether the container runs: a boolean column, else a state whose value 'running' says so.
CREATE FUNCTION alerting.guess_running(metrics regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  found_column text := alerting.guess_column(metrics, ARRAY['running', 'isrunning', 'up', 'isup', 'alive', 'isalive'], 'B');
  state record;
BEGIN
  IF found_column IS NOT NULL THEN
    RETURN found_column;
  END IF;
  found_column := alerting.guess_column(metrics, ARRAY['state', 'status', 'containerstate', 'containerstatus', 'phase'], 'SE');
  IF found_column IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT t.typtype, (SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = t.oid AND lower(e.enumlabel) = 'running') AS label
    INTO state
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = metrics AND a.attnum > 0 AND quote_ident(a.attname) = found_column;
  RETURN CASE WHEN state.typtype <> 'e' THEN format('lower(m.%s) = ''running''', found_column)
              WHEN state.label IS NOT NULL THEN format('m.%s = %L', found_column, state.label) END;
END
$function$;
-- Binding the organizations and containers tables.

-- The stored form of a mapping that gives a key. Its type must be of the key's kind (numbers and
-- uuids also make a text key); everything else is probably a mistake.
CREATE FUNCTION alerting.key_mapping(rel regclass, alias text, what text, expression text, key_type regtype, path text,
  OUT sql text, OUT is_column boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  wanted text := alerting.key_kind(key_type);
  described record;
  kind text;
BEGIN
  SELECT * INTO described FROM alerting.describe_mapping(rel, alias, what, expression, NULL, path);
  kind := alerting.key_kind(described.type);
  IF kind IS NULL OR (kind <> wanted AND wanted <> 'text') THEN
    RAISE EXCEPTION 'mapping "%" of table % has type %, but the key has type %', what, rel, described.type, key_type
      USING ERRCODE = 'datatype_mismatch', DETAIL = format('The mapping is: %s', expression),
            HINT = format('Name the column or expression that holds the key, or cast it: (...)::%s', key_type);
  END IF;
  sql := described.sql;
  is_column := described.is_column;
END
$function$;

-- One attach at a time.
CREATE FUNCTION alerting.lock_binding() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT pg_advisory_xact_lock(hashtextextended('alerting.attach', 0));
$function$;

-- Lines that say what differs between two rows of a binding table, given as JSON.
CREATE FUNCTION alerting.changes(before jsonb, after jsonb, names text[]) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format('%s: %s, was %s', n.name, coalesce($2 ->> n.name, 'none'), coalesce($1 ->> n.name, 'none'))
    FROM unnest($3) WITH ORDINALITY AS n(name, position)
   WHERE ($1 ->> n.name) IS DISTINCT FROM ($2 ->> n.name) ORDER BY n.position;
$function$;

CREATE FUNCTION alerting.bind_tables(host_organizations regclass, host_containers regclass, organization_mapping text, name_mapping text, path text)
RETURNS SETOF text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  organization_key record;
  container_key record;
  mapping record;
  name_column text;
  host_name text;
  guessed text;
  repaired int;
  before jsonb;
  after jsonb;
  differences text[];
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
              DETAIL = format('It has no foreign key to %s and no column with a usual name, such as organization_id.', host_organizations),
              HINT = format('Say it: alerting.attach(%L, %L, organization => %L)', host_organizations, host_containers,
                            coalesce(alerting.suggest_organization(host_organizations, host_containers),
                                     'a column''s name, or an SQL expression over c, the container''s row'));
    END IF;
  END IF;
  mapping := alerting.key_mapping(host_containers, 'c', 'organization', coalesce(organization_mapping, guessed), organization_key.type, path);

  IF name_mapping IS NULL THEN
    name_column := alerting.guess_column(host_containers, ARRAY['name', 'containername', 'displayname']);
  ELSE
    name_column := (SELECT d.sql FROM alerting.describe_mapping(host_containers, 'c', 'name', name_mapping, NULL, path) d WHERE d.is_column);
    IF name_column IS NULL THEN
      RAISE EXCEPTION 'name must be a column of table %, not an expression', host_containers
        USING ERRCODE = 'invalid_parameter_value', DETAIL = format('The mapping is: %s', name_mapping);
    END IF;
  END IF;
  host_name := alerting.guess_column(host_organizations, ARRAY['name', 'organizationname', 'displayname', 'title', 'slug']);

  PERFORM alerting.create_tables(host_organizations, host_containers);
  SELECT to_jsonb(b)
         || CASE WHEN o.oid IS NULL THEN jsonb_build_object('organizations', 'a table that is gone') ELSE '{}' END
         || CASE WHEN c.oid IS NULL THEN jsonb_build_object('containers', 'a table that is gone') ELSE '{}' END
    INTO before
    FROM alerting.host_binding b LEFT JOIN pg_class o ON o.oid = b.organizations LEFT JOIN pg_class c ON c.oid = b.containers;
  IF before IS NULL OR (before - '{id,database_oid,alert_oid,layout,created_at,updated_at}'::text[]) IS DISTINCT FROM
     jsonb_build_object('organizations', host_organizations, 'containers', host_containers, 'organization', mapping.sql,
       'organization_is_column', mapping.is_column, 'name', name_column, 'organization_name', host_name,
       'container_key', container_key.column_name, 'container_key_kind', container_key.kind,
       'organization_key', organization_key.column_name) THEN
    repaired := alerting.repair();
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
    PERFORM alerting.watch_containers(true);
  END IF;
  repaired := coalesce(repaired, 0) + alerting.repair();
  SELECT to_jsonb(b) INTO after FROM alerting.host_binding b;

  IF guessed IS NOT NULL AND (before IS NULL OR (before ->> 'organization') <> mapping.sql) THEN
    RAISE NOTICE 'organization of a container: % (guessed)', mapping.sql;
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
    ELSIF repaired > 0 THEN
      RETURN NEXT format('bound to organizations %s and containers %s as before, repaired %s missing parts', host_organizations, host_containers, repaired);
    ELSE
      RETURN NEXT format('already bound to organizations %s and containers %s, nothing changed', host_organizations, host_containers);
    END IF;
  END IF;
  IF NOT EXISTS (SELECT FROM alerting.metric_source) THEN
    RETURN NEXT 'no metrics yet: call alerting.attach_metrics';
  END IF;
  PERFORM alerting.warn_of_copy();
END
$function$;

-- A restored copy of a database holds its deliveries; whoever works on it should know.
CREATE FUNCTION alerting.warn_of_copy() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF EXISTS (SELECT FROM alerting.host_binding b
              WHERE b.alert_oid <> 'alerting.alert'::regclass::oid
                 OR b.database_oid <> (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) THEN
    RAISE WARNING 'this database is a copy of another one: alerts are evaluated, but no webhook is sent'
      USING HINT = 'Call alerting.resume() to send from here, too.';
  END IF;
END
$function$;

CREATE FUNCTION alerting.attach(organizations regclass, containers regclass, organization text DEFAULT NULL, name text DEFAULT NULL)
RETURNS SETOF text LANGUAGE sql VOLATILE
BEGIN ATOMIC
  -- The one statement that runs under the caller's search_path: it says where the mapping's names are looked up.
  SELECT alerting.bind_tables(organizations, containers, organization, name, pg_catalog.current_setting('search_path'));
END;

CREATE FUNCTION alerting.unwatch_containers() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $function$
  SELECT alerting.remove_trigger(t.tgrelid, t.tgname)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
   WHERE NOT t.tgisinternal AND t.tgparentid = 0
     AND t.tgname IN ('alerting_container_deleted', 'alerting_container_updated', 'alerting_container_truncated');
$function$;

CREATE FUNCTION alerting.detach() RETURNS SETOF text
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

CREATE FUNCTION alerting.require_binding() RETURNS void
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
-- What attach_metrics guesses and checks.

CREATE FUNCTION alerting.check_source_options(max_age interval, stale_after interval, time_zone text, at_unit text, level text)
RETURNS void LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF max_age <= interval '0' THEN
    RAISE EXCEPTION 'max_age must be positive, not %', max_age
      USING ERRCODE = 'invalid_parameter_value', HINT = 'NULL means no limit.';
  ELSIF stale_after IS NULL OR stale_after <= interval '0' THEN
    RAISE EXCEPTION 'stale_after must be positive, not %', coalesce(stale_after::text, 'NULL')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'It is how long a container may be silent; give a long time to expect nothing.';
  ELSIF at_unit IS NOT NULL AND at_unit NOT IN ('s', 'ms', 'us') THEN
    RAISE EXCEPTION 'at_unit must be ''s'', ''ms'' or ''us'', not %', quote_literal(at_unit) USING ERRCODE = 'invalid_parameter_value';
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
CREATE FUNCTION alerting.guess_readings(metrics regclass, given jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  result jsonb := '{}';
  used text;
  memory_limit text;
BEGIN
  IF given ->> 'cpu' IS NULL THEN
    result := result || jsonb_build_object('cpu', alerting.guess_column(metrics, ARRAY['cpupercent', 'cpupercentage', 'cpupct',
      'cpuusagepercent', 'cpuusagepercentage', 'cpuusage', 'cpuutilization', 'cpu'], 'N'));
  END IF;
  IF num_nonnulls(given ->> 'memory', given ->> 'memory_used', given ->> 'memory_limit') = 0 THEN
    result := result || jsonb_build_object('memory', alerting.guess_column(metrics, ARRAY['memorypercent', 'memorypercentage',
      'memorypct', 'mempercent', 'mempercentage', 'mempct', 'memoryusagepercent', 'memoryusagepercentage', 'memoryutilization'], 'N'));
  END IF;
  -- Use without limit says nothing, nor does a limit without use.
  IF coalesce(given ->> 'memory', result ->> 'memory') IS NULL THEN
    used := coalesce(given ->> 'memory_used', alerting.guess_column(metrics, ARRAY['memoryused', 'memoryusedbytes', 'memoryusage',
      'memoryusagebytes', 'memorybytes', 'memused', 'memusage', 'memusedbytes', 'memusagebytes', 'membytes'], 'N'));
    memory_limit := coalesce(given ->> 'memory_limit', alerting.guess_column(metrics, ARRAY['memorylimit', 'memorylimitbytes',
      'memlimit', 'memlimitbytes', 'memorytotal', 'memorytotalbytes', 'memtotal', 'memorymax', 'memorymaxbytes'], 'N'));
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

-- Guesses for the container and the time of a row.
CREATE FUNCTION alerting.guess_row(metrics regclass, given jsonb, at_unit text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  host record;
  referring text[];
  result jsonb := '{}';
BEGIN
  SELECT b.containers, b.container_key INTO host FROM alerting.host_binding b;
  IF given ->> 'container' IS NULL THEN
    referring := CASE WHEN metrics = host.containers THEN ARRAY[host.container_key]
                      ELSE alerting.referring_columns(metrics, host.containers) END;
    result := jsonb_build_object('container', CASE WHEN cardinality(referring) = 1 THEN referring[1]
                ELSE alerting.guess_column(metrics, ARRAY['containerid', 'dockercontainerid', 'container']) END);
  END IF;
  IF given ->> 'at' IS NULL THEN
    result := result || jsonb_build_object('at', alerting.guess_at(metrics, at_unit IS NOT NULL));
  END IF;
  RETURN jsonb_strip_nulls(result);
END
$function$;

-- The stored form of a mapping that gives a figure or a flag. Capture casts a figure to double precision.
CREATE FUNCTION alerting.reading_mapping(rel regclass, what text, expression text, path text) RETURNS text
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
            HINT = 'Name a numeric column, or write an expression that gives a number.';
  END IF;
  RETURN described.sql;
END
$function$;

-- The stored form of the mapping that gives a row's time.
CREATE FUNCTION alerting.time_mapping(rel regclass, expression text, at_unit text, path text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  described record;
  is_number boolean;
BEGIN
  SELECT * INTO described FROM alerting.describe_mapping(rel, 'm', 'at', expression, NULL, path);
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
CREATE FUNCTION alerting.default_level(metrics regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  is_hypertable boolean := false;
BEGIN
  IF to_regclass('_timescaledb_catalog.hypertable') IS NOT NULL THEN
    EXECUTE 'SELECT EXISTS (SELECT FROM _timescaledb_catalog.hypertable h
               JOIN pg_class c ON c.relname = h.table_name JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = h.schema_name
              WHERE c.oid = $1)' INTO is_hypertable USING metrics;
  END IF;
  RETURN CASE WHEN is_hypertable OR alerting.is_subscribed(metrics)
                   OR (SELECT c.relkind = 'p' OR c.relispartition FROM pg_class c WHERE c.oid = metrics)
              THEN 'row' ELSE 'statement' END;
END
$function$;

-- Replay after a restart reads what is newer than each container's last judged sample.
CREATE FUNCTION alerting.warn_of_missing_index(metrics regclass, container text, at text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  -- Those of the two that are plain columns.
  columns text[] := ARRAY(SELECT m.mapping FROM unnest(ARRAY[container, at]) WITH ORDINALITY AS m(mapping, position)
                           WHERE m.mapping IN (SELECT quote_ident(a.attname) FROM pg_attribute a WHERE a.attrelid = metrics) ORDER BY m.position);
BEGIN
  IF metrics = (SELECT b.containers FROM alerting.host_binding b) OR EXISTS (
       SELECT FROM pg_index i
        WHERE i.indrelid = metrics AND i.indisvalid AND i.indpred IS NULL
          AND (pg_get_indexdef(i.indexrelid, 1, true) = at
               OR (pg_get_indexdef(i.indexrelid, 1, true) = container
                   AND (at <> ALL (columns)
                        OR at IN (SELECT pg_get_indexdef(i.indexrelid, k, true) FROM generate_series(2, i.indnkeyatts) k))))) THEN
    RETURN;
  END IF;
  RAISE WARNING 'table % has no index that finds a container''s newest rows', metrics
    USING DETAIL = 'After a restart the rows since the last judged ones are read again; without an index the whole table is read.',
          HINT = CASE WHEN columns = '{}' THEN 'Consider an index on the columns that container and at are computed from.'
                      ELSE format('Consider CREATE INDEX CONCURRENTLY ON %s (%s);', metrics, array_to_string(columns, ', ')) END;
END
$function$;
-- Binding metrics tables.

-- `given`: the mappings by name, as attach_metrics takes them.
CREATE FUNCTION alerting.bind_metrics(metrics_table regclass, given jsonb, max_age interval, stale_after interval,
  time_zone text, at_unit text, level text, path text)
RETURNS SETOF text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
  readings CONSTANT text[] := ARRAY['cpu', 'memory', 'memory_used', 'memory_limit', 'running', 'restarts'];
  guessed jsonb;
  mapping jsonb;
  wanted jsonb;
  before jsonb;
  reading text;
  source int;
  repaired int;
  differences text[];
BEGIN
  PERFORM alerting.lock_binding();
  PERFORM alerting.require_binding();
  PERFORM alerting.check_table(metrics_table, 'metrics', false);
  PERFORM alerting.check_source_options(max_age, stale_after, time_zone, at_unit, level);
  IF '' IN (given ->> 'container', given ->> 'at') THEN
    RAISE EXCEPTION 'container and at must not be empty'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave them out to have them guessed.';
  END IF;
  guessed := alerting.guess_row(metrics_table, given, at_unit) || alerting.guess_readings(metrics_table, given);
  mapping := guessed || jsonb_strip_nulls(given);
  IF mapping ->> 'container' IS NULL THEN
    RAISE EXCEPTION 'cannot tell which container a row of table % is about', metrics_table
      USING ERRCODE = 'invalid_parameter_value',
            DETAIL = format('It has not exactly one foreign key to %s, and no column with a usual name, such as container_id.',
                            (SELECT b.containers FROM alerting.host_binding b)),
            HINT = 'Say it: container => a column''s name, or an SQL expression over m, the metric''s row.';
  ELSIF mapping ->> 'at' IS NULL THEN
    RAISE EXCEPTION 'cannot tell the time of a row of table %', metrics_table
      USING ERRCODE = 'invalid_parameter_value',
            DETAIL = 'It has no column of a timestamp type with a usual name, such as at, time or created_at.',
            HINT = 'Say it: at => a column''s name, or an SQL expression over m, the metric''s row (numbers need at_unit, too).';
  END IF;

  wanted := jsonb_build_object('metrics', metrics_table,
    'container', (SELECT k.sql FROM alerting.host_binding b, alerting.key_of(b.containers, 'containers') h,
                    alerting.key_mapping(metrics_table, 'm', 'container', mapping ->> 'container', h.type, path) k),
    'at', alerting.time_mapping(metrics_table, mapping ->> 'at', at_unit, path),
    'max_age', max_age, 'stale_after', stale_after, 'time_zone', time_zone, 'at_unit', at_unit,
    'level', coalesce(level, alerting.default_level(metrics_table)));
  FOREACH reading IN ARRAY readings LOOP
    wanted := wanted || jsonb_build_object(reading, CASE WHEN mapping ->> reading <> ''
                THEN alerting.reading_mapping(metrics_table, reading, mapping ->> reading, path) END);
  END LOOP;
  IF NOT jsonb_strip_nulls(wanted) ?| readings THEN
    RAISE EXCEPTION 'no metric of table % is mapped', metrics_table
      USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It has no column with a usual name, such as cpu_percent, memory_percent, running or restart_count.',
            HINT = 'Map at least one: cpu, memory, memory_used and memory_limit, running, or restarts.';
  END IF;

  SELECT to_jsonb(s), s.id INTO before, source FROM alerting.metric_source s WHERE s.metrics = metrics_table;
  IF before IS NULL OR (before - '{id,created_at,updated_at}'::text[]) <> wanted THEN
    INSERT INTO alerting.metric_source AS s (metrics, container, at, cpu, memory, memory_used, memory_limit, running, restarts,
        max_age, stale_after, time_zone, at_unit, level)
      VALUES (metrics_table, wanted ->> 'container', wanted ->> 'at', wanted ->> 'cpu', wanted ->> 'memory', wanted ->> 'memory_used',
        wanted ->> 'memory_limit', wanted ->> 'running', wanted ->> 'restarts', max_age, stale_after, time_zone, at_unit, wanted ->> 'level')
      ON CONFLICT ON CONSTRAINT metric_source_metrics_key DO UPDATE
      SET container = excluded.container, at = excluded.at, cpu = excluded.cpu, memory = excluded.memory,
          memory_used = excluded.memory_used, memory_limit = excluded.memory_limit, running = excluded.running,
          restarts = excluded.restarts, max_age = excluded.max_age, stale_after = excluded.stale_after,
          time_zone = excluded.time_zone, at_unit = excluded.at_unit, level = excluded.level, updated_at = now()
      RETURNING s.id INTO source;
  END IF;
  repaired := alerting.watch_metrics(source)::int;

  differences := ARRAY(SELECT alerting.changes(before, wanted, ARRAY['container', 'at'] || readings
                                               || ARRAY['max_age', 'stale_after', 'time_zone', 'at_unit', 'level']));
  IF before IS NULL THEN
    RETURN NEXT format('attached metrics %s', metrics_table);
    RETURN QUERY SELECT format('%s: %s', w.name, wanted ->> w.name)
                   FROM unnest(ARRAY['container', 'at'] || readings || 'level'::text) WITH ORDINALITY AS w(name, position)
                  WHERE wanted ->> w.name IS NOT NULL ORDER BY w.position;
  ELSIF cardinality(differences) > 0 THEN
    RETURN NEXT format('changed metrics %s', metrics_table);
    RETURN QUERY SELECT unnest(differences);
  ELSE
    RETURN NEXT format('already attached metrics %s, %s', metrics_table,
                       CASE WHEN repaired > 0 THEN 'its triggers repaired' ELSE 'nothing changed' END);
  END IF;
  IF guessed <> '{}' AND (before IS NULL OR cardinality(differences) > 0) THEN
    RAISE NOTICE 'guessed for %: %', metrics_table,
      (SELECT string_agg(format('%s => %s', g.name, wanted ->> g.name), ', ' ORDER BY g.position)
         FROM unnest(ARRAY['container', 'at'] || readings) WITH ORDINALITY AS g(name, position) WHERE guessed ? g.name);
  END IF;
  PERFORM alerting.warn_of_missing_index(metrics_table, wanted ->> 'container', wanted ->> 'at');
END
$function$;

CREATE FUNCTION alerting.attach_metrics(metrics regclass, container text DEFAULT NULL, at text DEFAULT NULL, cpu text DEFAULT NULL,
  memory text DEFAULT NULL, memory_used text DEFAULT NULL, memory_limit text DEFAULT NULL, running text DEFAULT NULL,
  restarts text DEFAULT NULL, max_age interval DEFAULT '1 hour', stale_after interval DEFAULT '5 minutes',
  time_zone text DEFAULT 'UTC', at_unit text DEFAULT NULL, level text DEFAULT NULL)
RETURNS SETOF text LANGUAGE sql VOLATILE
BEGIN ATOMIC
  -- The one statement that runs under the caller's search_path: it says where the mappings' names are looked up.
  SELECT alerting.bind_metrics(metrics,
    pg_catalog.jsonb_build_object('container', container, 'at', at, 'cpu', cpu, 'memory', memory, 'memory_used', memory_used,
      'memory_limit', memory_limit, 'running', running, 'restarts', restarts),
    max_age, stale_after, time_zone, at_unit, level, pg_catalog.current_setting('search_path'));
END;

CREATE FUNCTION alerting.detach_metrics(metrics regclass) RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
  source ALIAS FOR $1;
BEGIN
  PERFORM alerting.require_binding();
  PERFORM FROM alerting.metric_source s WHERE s.metrics = source;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'table % is not attached', coalesce(source::text, 'NULL')
      USING ERRCODE = 'undefined_object', HINT = 'alerting.metric_source lists the metrics tables.';
  END IF;
  -- The table may be gone already; then its triggers are, too.
  IF EXISTS (SELECT FROM pg_class c WHERE c.oid = source) THEN
    PERFORM alerting.check_table(source, 'metrics', false);
    PERFORM alerting.remove_trigger(source, t.name)
       FROM unnest(ARRAY['alerting_capture', 'alerting_capture_insert', 'alerting_capture_update']) AS t(name);
  END IF;
  RETURN QUERY DELETE FROM alerting.metric_source s WHERE s.metrics = source RETURNING format('detached metrics %s', source);
END
$function$;
-- Rules and webhooks by function; plain INSERTs do as well.

CREATE FUNCTION alerting.require_organization(organization text) RETURNS void
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

CREATE FUNCTION alerting.organization_type() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
   WHERE a.attrelid = 'alerting.alert_rule'::regclass AND a.attname = 'organization_id';
$function$;

CREATE FUNCTION alerting.create_rule(organization text, name text, condition text, threshold float8 DEFAULT NULL,
  duration int DEFAULT 0, no_data text DEFAULT NULL, enabled boolean DEFAULT true) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  new_id text;
BEGIN
  PERFORM alerting.require_organization(organization);
  EXECUTE format('INSERT INTO alerting.alert_rule (organization_id, name, condition, threshold, duration, no_data, enabled)
                  VALUES ($1::%s, $2, $3, $4, $5, $6, $7) RETURNING id', alerting.organization_type())
    INTO new_id USING organization, name, condition, threshold, duration, no_data, enabled;
  RETURN new_id;
END
$function$;

CREATE FUNCTION alerting.create_webhook(organization text, url text, secret text DEFAULT NULL,
  retry_schedule interval[] DEFAULT NULL, is_active boolean DEFAULT true) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  new_id text;
BEGIN
  PERFORM alerting.require_organization(organization);
  EXECUTE format('INSERT INTO alerting.webhook (organization_id, url, secret, retry_schedule, is_active)
                  VALUES ($1::%s, $2, $3, $4, $5) RETURNING id', alerting.organization_type())
    INTO new_id USING organization, url, secret, retry_schedule, is_active;
  RETURN new_id;
END
$function$;

-- Keys of the other kinds, so that nobody has to write a cast.
CREATE FUNCTION alerting.create_rule(organization bigint, name text, condition text, threshold float8 DEFAULT NULL,
  duration int DEFAULT 0, no_data text DEFAULT NULL, enabled boolean DEFAULT true) RETURNS text
LANGUAGE sql VOLATILE
RETURN alerting.create_rule(organization::text, name, condition, threshold, duration, no_data, enabled);

CREATE FUNCTION alerting.create_rule(organization uuid, name text, condition text, threshold float8 DEFAULT NULL,
  duration int DEFAULT 0, no_data text DEFAULT NULL, enabled boolean DEFAULT true) RETURNS text
LANGUAGE sql VOLATILE
RETURN alerting.create_rule(organization::text, name, condition, threshold, duration, no_data, enabled);

CREATE FUNCTION alerting.create_webhook(organization bigint, url text, secret text DEFAULT NULL,
  retry_schedule interval[] DEFAULT NULL, is_active boolean DEFAULT true) RETURNS text
LANGUAGE sql VOLATILE
RETURN alerting.create_webhook(organization::text, url, secret, retry_schedule, is_active);

CREATE FUNCTION alerting.create_webhook(organization uuid, url text, secret text DEFAULT NULL,
  retry_schedule interval[] DEFAULT NULL, is_active boolean DEFAULT true) RETURNS text
LANGUAGE sql VOLATILE
RETURN alerting.create_webhook(organization::text, url, secret, retry_schedule, is_active);
-- What the library offers to users.

CREATE FUNCTION alerting.flush(timeout interval DEFAULT '10 seconds', deliveries boolean DEFAULT false) RETURNS boolean
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_flush'
SET search_path = pg_catalog, pg_temp;

CREATE FUNCTION alerting.status(
  OUT state text, OUT evaluator_pid int, OUT sender_pid int, OUT held boolean,
  OUT queue_bytes bigint, OUT queue_size bigint, OUT replay_pending boolean, OUT lag interval,
  OUT containers bigint, OUT samples bigint, OUT late bigint, OUT backfill bigint, OUT skipped bigint, OUT unknown bigint,
  OUT transitions bigint, OUT deliveries bigint, OUT failed_attempts bigint, OUT replays bigint,
  OUT problem text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_status'
SET search_path = pg_catalog, pg_temp;

CREATE FUNCTION alerting.start() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_start'
SET search_path = pg_catalog, pg_temp;

CREATE FUNCTION alerting.stop() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_stop'
SET search_path = pg_catalog, pg_temp;

CREATE FUNCTION alerting.resume() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_resume'
SET search_path = pg_catalog, pg_temp;

CREATE FUNCTION alerting.test_webhook(id text,
  OUT delivered boolean, OUT status_code int, OUT error text, OUT duration_ms int, OUT response text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_test_webhook';

CREATE FUNCTION alerting.generate_secret() RETURNS text
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_generate_secret';

CREATE FUNCTION alerting.redeliver(id text) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_redeliver';

CREATE FUNCTION alerting.redeliver_failed(webhook text DEFAULT NULL, since timestamptz DEFAULT NULL,
  until timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_redeliver_failed';

-- One row for each alert that the rule would have raised.
CREATE FUNCTION alerting.preview(rule_id text, since timestamptz, until timestamptz DEFAULT now(),
  OUT container_id text, OUT status text, OUT started_at timestamptz, OUT fired_at timestamptz,
  OUT resolved_at timestamptz, OUT value float8, OUT peak float8) RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_preview_rule'
SET search_path = pg_catalog, pg_temp;

CREATE FUNCTION alerting.preview(organization text, condition text, threshold float8, duration int,
  since timestamptz, until timestamptz DEFAULT now(),
  OUT container_id text, OUT status text, OUT started_at timestamptz, OUT fired_at timestamptz,
  OUT resolved_at timestamptz, OUT value float8, OUT peak float8) RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_preview'
SET search_path = pg_catalog, pg_temp;

CREATE FUNCTION alerting.explain(rule_id text, container text,
  OUT state text, OUT since timestamptz, OUT fired_at timestamptz, OUT last_at timestamptz, OUT last_value float8,
  OUT breaching boolean, OUT fires_at timestamptz, OUT resolves_at timestamptz, OUT silent boolean, OUT explanation text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_explain'
SET search_path = pg_catalog, pg_temp;

-- Keys of the other kinds, so that nobody has to write a cast: the library takes a key's text.
CREATE FUNCTION alerting.preview(organization bigint, condition text, threshold float8, duration int,
  since timestamptz, until timestamptz DEFAULT now(),
  OUT container_id text, OUT status text, OUT started_at timestamptz, OUT fired_at timestamptz,
  OUT resolved_at timestamptz, OUT value float8, OUT peak float8) RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_preview'
SET search_path = pg_catalog, pg_temp;

CREATE FUNCTION alerting.preview(organization uuid, condition text, threshold float8, duration int,
  since timestamptz, until timestamptz DEFAULT now(),
  OUT container_id text, OUT status text, OUT started_at timestamptz, OUT fired_at timestamptz,
  OUT resolved_at timestamptz, OUT value float8, OUT peak float8) RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_preview'
SET search_path = pg_catalog, pg_temp;

CREATE FUNCTION alerting.explain(rule_id text, container bigint,
  OUT state text, OUT since timestamptz, OUT fired_at timestamptz, OUT last_at timestamptz, OUT last_value float8,
  OUT breaching boolean, OUT fires_at timestamptz, OUT resolves_at timestamptz, OUT silent boolean, OUT explanation text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_explain'
SET search_path = pg_catalog, pg_temp;

CREATE FUNCTION alerting.explain(rule_id text, container uuid,
  OUT state text, OUT since timestamptz, OUT fired_at timestamptz, OUT last_at timestamptz, OUT last_value float8,
  OUT breaching boolean, OUT fires_at timestamptz, OUT resolves_at timestamptz, OUT silent boolean, OUT explanation text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_explain'
SET search_path = pg_catalog, pg_temp;
-- Binding to the usual tables at CREATE EXTENSION.

-- The permanent tables of the host with one of these names.
CREATE FUNCTION alerting.find_tables(names text[]) RETURNS regclass[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(array_agg(c.oid::regclass ORDER BY c.oid), '{}')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
     AND n.nspname !~ '^pg_' AND n.nspname !~ '^_timescaledb_' AND n.nspname NOT IN ('information_schema', 'alerting')
     AND alerting.plain_name(c.relname) = ANY ($1);
$function$;

-- Says at CREATE EXTENSION what was done or is to be done. PostgreSQL raises client_min_messages to
-- warning for every extension script; only who asked for errors alone wants silence.
CREATE FUNCTION alerting.tell(line text, hint text DEFAULT NULL) RETURNS void
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

-- The metrics table that belongs to the bound containers, if exactly one looks like it.
CREATE FUNCTION alerting.find_metrics() RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT CASE WHEN count(*) = 1 THEN min(t.rel::oid::bigint)::oid::regclass END
    FROM (SELECT unnest(alerting.find_tables(ARRAY['containermetric', 'containermetrics', 'containerstat', 'containerstats',
                   'containersample', 'containersamples', 'containerusage', 'containermetricsample', 'containermetricsamples'])) AS rel
          UNION
          SELECT m.rel FROM unnest(alerting.find_tables(ARRAY['metric', 'metrics', 'sample', 'samples', 'stat', 'stats', 'measurement', 'measurements'])) AS m(rel),
                 alerting.host_binding b
           WHERE cardinality(alerting.referring_columns(m.rel, b.containers)) = 1) t;
$function$;

CREATE FUNCTION alerting.bind_host() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  organizations regclass[];
  containers regclass[];
  metrics regclass;
  host record;
  line text;
  problem text;
  advice text;
BEGIN
  IF to_regclass('alerting.host_binding') IS NOT NULL THEN
    SELECT b.organizations, b.containers INTO host FROM alerting.host_binding b;
    IF FOUND THEN
      -- Adopted as it was left; a table that is gone is told, never an error.
      PERFORM alerting.create_tables(host.organizations, host.containers);
      PERFORM alerting.tell(format('adopted the rules and history of organizations %s and containers %s, repaired %s parts',
                                   host.organizations, host.containers, alerting.repair()));
      -- Says to the binding's trigger that there is work again.
      UPDATE alerting.host_binding b SET updated_at = b.updated_at;
      PERFORM alerting.warn_of_copy();
      RETURN;
    END IF;
  END IF;

  organizations := alerting.find_tables(ARRAY['organization', 'organizations', 'organisation', 'organisations']);
  containers := alerting.find_tables(ARRAY['container', 'containers']);
  IF cardinality(organizations) <> 1 OR cardinality(containers) <> 1 THEN
    PERFORM alerting.tell('installed, not bound to any tables yet', format('Bind it to yours: SELECT alerting.attach(%s, %s);',
      CASE WHEN cardinality(organizations) = 1 THEN quote_literal(organizations[1]) ELSE 'organizations => ''...''' END,
      CASE WHEN cardinality(containers) = 1 THEN quote_literal(containers[1]) ELSE 'containers => ''...''' END));
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

  metrics := alerting.find_metrics();
  BEGIN
    IF metrics IS NOT NULL THEN
      FOR line IN SELECT alerting.bind_metrics(metrics, '{}', '1 hour', '5 minutes', 'UTC', NULL, NULL, 'pg_catalog') LOOP
        PERFORM alerting.tell(line);
      END LOOP;
      RETURN;
    END IF;
    problem := 'found no metrics table';
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT;
    problem := format('did not attach metrics %s: %s', metrics, problem);
  END;
  PERFORM alerting.tell(problem, format('Attach yours: SELECT alerting.attach_metrics(%s);', coalesce(quote_literal(metrics), '''...''')));
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
  RAISE WARNING 'alerting: installed, but its tables are not ready: %', problem
    USING HINT = 'Call alerting.attach(...) when this is solved. ' || advice;
END
$function$;
-- The functions' manual, to be read with \df+ in psql.

COMMENT ON FUNCTION alerting.attach(regclass, regclass, text, text) IS
'Binds alerting to the host''s tables, creating alerting''s own tables the first time. organizations, containers: tables with a key of one column (text, varchar, char, uuid, smallint, integer, bigint). organization: a containers column, or an SQL expression over its row c, that gives a container''s organization; guessed when left out. name: the column that names a container. Returns lines that say what is bound or what changed; calling it again changes nothing. Needs ownership of both tables';
COMMENT ON FUNCTION alerting.attach_metrics(regclass, text, text, text, text, text, text, text, text, interval, interval, text, text, text) IS
'Takes samples from a metrics table: every INSERT, COPY and UPDATE. Each mapping is a column or an SQL expression over one row m: container (its key), at (time of the sample), cpu and memory (percent), memory_used and memory_limit (same unit), running (boolean), restarts (a counter). What is left out is guessed from usual names, '''' maps nothing. max_age: older samples are not evaluated (NULL: no limit); stale_after: how long a container may be silent; time_zone: of times without one; at_unit: s, ms or us for times that are numbers; level: row or statement triggers. Returns lines that say what is attached or what changed. Needs ownership of the table';
COMMENT ON FUNCTION alerting.detach() IS
'Undoes attach and every attach_metrics: removes the triggers from the host''s tables and stops evaluation. Rules, webhooks, alerts and deliveries are kept, with their foreign keys. Returns lines that say what was detached';
COMMENT ON FUNCTION alerting.detach_metrics(regclass) IS
'Undoes attach_metrics for one table. Returns a line that says so; an error if the table is not attached';

COMMENT ON FUNCTION alerting.create_rule(text, text, text, float8, int, text, boolean) IS
'Makes a rule, as an INSERT into alerting.alert_rule does, and returns its id. organization: its key; condition: CPU_USAGE, MEMORY_USAGE, CONTAINER_DOWN or RESTART_LOOP; threshold: percent or restarts; duration: minutes; no_data: keep, resolve or fire';
COMMENT ON FUNCTION alerting.create_rule(bigint, text, text, float8, int, text, boolean) IS 'As create_rule(text, ...), for organizations with integer keys';
COMMENT ON FUNCTION alerting.create_rule(uuid, text, text, float8, int, text, boolean) IS 'As create_rule(text, ...), for organizations with uuid keys';
COMMENT ON FUNCTION alerting.create_webhook(text, text, text, interval[], boolean) IS
'Makes a webhook, as an INSERT into alerting.webhook does, and returns its id. organization: its key; url: https, or http to a network in alerting.allowed_networks; secret: signs the requests (whsec_ and base64, or any text); retry_schedule: pause before each retry';
COMMENT ON FUNCTION alerting.create_webhook(bigint, text, text, interval[], boolean) IS 'As create_webhook(text, ...), for organizations with integer keys';
COMMENT ON FUNCTION alerting.create_webhook(uuid, text, text, interval[], boolean) IS 'As create_webhook(text, ...), for organizations with uuid keys';

COMMENT ON FUNCTION alerting.flush(interval, boolean) IS
'Waits until everything that was committed before is evaluated and, with deliveries, every webhook of it is delivered or parked. True when done, false when the time ran out';
COMMENT ON FUNCTION alerting.status() IS
'Workers, queue, lag and counters of this database, in one row';
COMMENT ON FUNCTION alerting.start() IS 'Starts this database''s workers at commit, after stop() or a restart of the server';
COMMENT ON FUNCTION alerting.stop() IS 'Stops this database''s workers until start(): nothing is judged or sent meanwhile, and rows inserted meanwhile are read afterwards';
COMMENT ON FUNCTION alerting.resume() IS 'Lets a restored copy of a database send its webhooks: until then it holds them, so that a copy pages nobody';
COMMENT ON FUNCTION alerting.test_webhook(text) IS
'Sends a ping to a webhook by the way that real deliveries take, waits for the answer and shows it. id: webhook.id';
COMMENT ON FUNCTION alerting.generate_secret() IS
'A new secret for a webhook: whsec_ and 32 random bytes in base64. To replace one, let the webhook''s secret be the new and the old one, separated by a space, until the receiver knows the new one: requests bear both signatures';
COMMENT ON FUNCTION alerting.redeliver(text) IS
'Sends a delivery again, whatever its status; its retries start anew. id: delivery.id';
COMMENT ON FUNCTION alerting.redeliver_failed(text, timestamptz, timestamptz) IS
'Sends again the deliveries that were given up: all, or those of one webhook, made in [since, until). Returns how many. Runs with the rights of the tables'' owner';
COMMENT ON FUNCTION alerting.preview(text, timestamptz, timestamptz) IS
'The alerts that a rule would have raised over the metrics stored from since to until (both included), judged as the evaluator judges, as if each row had arrived at its own time; writes nothing. One row for each alert: status FIRING when it had not ended by until; value is the reading at fired_at, peak the highest while it lasted. History does not record when rows arrived nor who owned a container: no_data counts as keep (silence raises and ends nothing), containers count for the organization they belong to now, and restarts and runs from before since are not known. A disabled rule is previewed as if it were enabled. Reads the metrics with their tables'' owners'' rights: grant EXECUTE to those who may see them';
COMMENT ON FUNCTION alerting.preview(text, text, float8, int, timestamptz, timestamptz) IS
'As preview(text, ...), for a rule that does not exist yet. organization: its key; condition, threshold and duration as in alerting.alert_rule';
COMMENT ON FUNCTION alerting.preview(bigint, text, float8, int, timestamptz, timestamptz) IS 'As preview(text, text, ...), for organizations with integer keys';
COMMENT ON FUNCTION alerting.preview(uuid, text, float8, int, timestamptz, timestamptz) IS 'As preview(text, text, ...), for organizations with uuid keys';
COMMENT ON FUNCTION alerting.explain(text, text) IS
'Why a rule does or does not fire on a container now. state: OK, PENDING, FIRING, NO_DATA (its metric was never read), DISABLED, or NOT_APPLICABLE (another organization''s container). since: begin of the breach; last_at, last_value: last reading (percent, restarts in the window, or 1 for running and 0 for not); fires_at, resolves_at: earliest time at which it may fire, or at which the clock alone resolves it; silent: nothing came for longer than stale_after; explanation: all of it in words, and what holds it up. Times are the samples'' own. Rows that the evaluator has not saved yet count as if they had arrived at their own time. container: its key as text';
COMMENT ON FUNCTION alerting.explain(text, bigint) IS 'As explain(text, text), for containers with integer keys';
COMMENT ON FUNCTION alerting.explain(text, uuid) IS 'As explain(text, text), for containers with uuid keys';
COMMENT ON FUNCTION alerting.cuid() IS
'A new id: 25 characters, sortable by time. Default of the id columns; a role that inserts without an id needs EXECUTE';

COMMENT ON FUNCTION alerting.firing_payload(text, text, text, text, float8, int, text, text, text, text, timestamptz, timestamptz, float8) IS
'Body of the webhook of an alert that fires';
COMMENT ON FUNCTION alerting.resolved_payload(jsonb, timestamptz, text) IS
'Body of the webhook of an alert that ends, made of the body sent when it fired; reason as in alert.resolve_reason';
COMMENT ON FUNCTION alerting.condition_summary(text, float8, int, float8) IS 'One line for people that says what was breached';
COMMENT ON FUNCTION alerting.rfc3339(timestamptz) IS 'A time as RFC 3339 writes it, in UTC with milliseconds';
COMMENT ON FUNCTION alerting.container_name(text) IS 'Name of the container with this key, by the column given as name to attach; NULL when there is none';
COMMENT ON FUNCTION alerting.describe_mapping(regclass, text, text, text, regtype, text) IS
'What a mapping means: its SQL with every name qualified, its type, the columns it reads, and whether it can be cast to target. what names it in errors; path is the search_path to look names up in. Errors when it is no single expression over one row without side effects';
COMMENT ON FUNCTION alerting.repair() IS
'Gives alerting''s and the host''s tables what DROP EXTENSION took from them: defaults, triggers, views. Returns how many things were missing';
COMMENT ON FUNCTION alerting.bind_host() IS 'What CREATE EXTENSION does at its end: adopts existing tables of alerting, or binds to the usual tables of the host';

COMMENT ON FUNCTION alerting.capture() IS 'Trigger on metrics tables: takes the new rows'' samples and hands them over at COMMIT. Never fails the statement';
COMMENT ON FUNCTION alerting.container_changed() IS 'Trigger on the containers table: tells the evaluator of deleted and moved containers';
COMMENT ON FUNCTION alerting.rule_changed() IS 'Trigger on alert_rule: tells the evaluator';
COMMENT ON FUNCTION alerting.binding_changed() IS 'Trigger on host_binding and metric_source: starts the workers and tells them';
COMMENT ON FUNCTION alerting.delivery_changed() IS 'Trigger on delivery and webhook: wakes the sender';
COMMENT ON FUNCTION alerting.check_webhook() IS 'Trigger on webhook: refuses a bad URL, secret or retry schedule';
COMMENT ON FUNCTION alerting.alert_deleted() IS 'Trigger on alert: tells the receivers that a FIRING alert which is deleted is over';
COMMENT ON FUNCTION alerting.alert_truncated() IS 'Trigger on alert: the same for TRUNCATE';
COMMENT ON FUNCTION alerting.rule_defaults() IS 'Trigger on alert_rule: fills no_data, a restart threshold and updated_at';
COMMENT ON FUNCTION alerting.webhook_touched() IS 'Trigger on webhook: keeps updated_at, clears disabled_reason';
COMMENT ON FUNCTION alerting.on_drop_extension() IS 'Event trigger: tells the workers that the extension is dropped';
COMMENT ON EVENT TRIGGER alerting_drop_extension IS 'Tells the workers that the extension is dropped';
COMMENT ON SCHEMA alerting IS 'Rules, alerts, webhooks and deliveries of extension alerting, and its functions';

-- The rest take keys of other types, or are parts of attach, attach_metrics and detach.
DO $do$
DECLARE
  part record;
BEGIN
  FOR part IN
    SELECT p.oid::pg_catalog.regprocedure AS signature,
           EXISTS (SELECT FROM pg_catalog.pg_proc o
                    WHERE o.pronamespace OPERATOR(pg_catalog.=) p.pronamespace AND o.proname OPERATOR(pg_catalog.=) p.proname
                      AND o.oid OPERATOR(pg_catalog.<>) p.oid AND pg_catalog.obj_description(o.oid, 'pg_proc') IS NOT NULL) AS has_model
      FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid
     WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype OPERATOR(pg_catalog.=) 'e'
       AND d.refobjid OPERATOR(pg_catalog.=) (SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'alerting')
       AND pg_catalog.obj_description(p.oid, 'pg_proc') IS NULL
  LOOP
    EXECUTE pg_catalog.format('COMMENT ON FUNCTION %s IS %L', part.signature,
      CASE WHEN part.has_model THEN 'As the function of this name that takes a key as text'
           ELSE 'Internal: a part of alerting''s other functions' END);
  END LOOP;
END
$do$;
-- Nothing for PUBLIC; docs/security.md lists what to grant to whom.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA alerting FROM PUBLIC;

SELECT alerting.bind_host();

-- Prints docs/sql-reference.md from the catalog of a database with the extension, where what users
-- read is kept: in comments. scripts/sql-reference makes such a database and the file;
-- test/t/095_sql_reference.pl compares. Run by: psql -XAtq -f scripts/sql_reference.sql
\set ON_ERROR_STOP 1
LOAD 'alerting';
SET search_path = pg_catalog, pg_temp;
SET client_min_messages = warning;

CREATE FUNCTION pg_temp.short_type(type oid, modifier int DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT replace(replace(replace(format_type(type, modifier), 'timestamp with time zone', 'timestamptz'), 'double precision', 'float8'), 'integer', 'int') $$;

-- In a cell of a table.
CREATE FUNCTION pg_temp.cell(content text) RETURNS text LANGUAGE sql AS $$ SELECT replace(coalesce(content, ''), '|', '\|') $$;

CREATE TEMP VIEW argument AS
  SELECT p.oid, a.ordinal, a.name, coalesce(a.mode, 'i') AS mode, pg_temp.short_type(a.type) AS type,
         pg_get_function_arg_default(p.oid, a.ordinal::int) AS default_value
    FROM pg_proc p, ROWS FROM (unnest(p.proargnames), unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])), unnest(p.proargmodes))
      WITH ORDINALITY AS a(name, type, mode, ordinal)
   WHERE p.pronamespace = 'alerting'::regnamespace;

CREATE TEMP VIEW function AS
  SELECT p.oid, p.proname AS name, obj_description(p.oid, 'pg_proc') AS comment,
         (SELECT string_agg(a.name || ' ' || a.type || coalesce(' DEFAULT ' || regexp_replace(a.default_value, '::[a-z_ .]+(\[\])?$', ''), ''), ', ' ORDER BY a.ordinal)
            FROM argument a WHERE a.oid = p.oid AND a.mode <> 'o') AS arguments,
         (SELECT string_agg(a.name || ' ' || a.type, ', ' ORDER BY a.ordinal)
            FROM argument a WHERE a.oid = p.oid AND a.mode = 'o') AS columns,
         pg_temp.short_type(p.prorettype) AS result, p.proretset AS is_set
    FROM pg_proc p WHERE p.pronamespace = 'alerting'::regnamespace AND p.prokind = 'f';

-- What has no place here and is not internal is listed last.
CREATE TEMP TABLE section AS
  SELECT * FROM (VALUES
    (1, 'Binding', '{attach,attach_metrics,detach,detach_metrics}'::text[]),
    (2, 'Rules and webhooks', '{create_rule,import_prometheus_rule,create_webhook,generate_secret,test_webhook,redeliver,redeliver_failed}'),
    (3, 'Insight', '{preview,explain}'),
    (4, 'Workers', '{doctor,status,flush,start,stop,resume}')) AS v(number, title, names);

CREATE TEMP VIEW relation AS
  SELECT c.oid, t.name, t.place::int AS place
    FROM unnest('{alert_rule,alert,active_alert,webhook,webhook_public,webhook_health,delivery,delivery_attempt,metric_source,host_binding,series_state}'::text[])
      WITH ORDINALITY AS t(name, place)
    JOIN pg_class c ON c.relname = t.name AND c.relnamespace = 'alerting'::regnamespace;

-- A view's column means what the column of that name means in the table that it shows.
CREATE TEMP VIEW meaning AS
  SELECT r.oid, a.attnum, coalesce(col_description(r.oid, a.attnum),
           (SELECT col_description(o.attrelid, o.attnum)
              FROM (VALUES ('active_alert', 'alert', 1), ('active_alert', 'alert_rule', 2), ('webhook_public', 'webhook', 1), ('webhook_health', 'webhook', 1)) AS v(view, shown, priority)
              JOIN pg_attribute o ON o.attrelid = ('alerting.' || v.shown)::regclass AND o.attname = a.attname
             WHERE v.view = r.name ORDER BY v.priority LIMIT 1)) AS text
    FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped;

CREATE TEMP VIEW entry AS
  SELECT coalesce(s.number, CASE WHEN f.result IN ('trigger', 'event_trigger') THEN 6 ELSE 5 END) AS section,
         coalesce(s.title, CASE WHEN f.result IN ('trigger', 'event_trigger') THEN 'Triggers' ELSE 'Used by the others' END) AS title,
         coalesce(array_position(s.names, f.name::text), 0) AS place, f.*
    FROM function f LEFT JOIN section s ON f.name = ANY (s.names)
   WHERE f.comment NOT LIKE 'Internal: %';

CREATE TEMP VIEW line AS
  SELECT 1 AS part, section, place, name::text, 0 AS step, '' AS key,
         E'### ' || name || E'\n\n```\n'
         || string_agg('alerting.' || name || '(' || coalesce(arguments, '') || ')'
              || CASE WHEN columns IS NOT NULL THEN E'\n  -> ' || CASE WHEN is_set THEN 'rows' ELSE 'a row' END || ' (' || columns || ')'
                      WHEN result <> 'void' THEN ' -> ' || CASE WHEN is_set THEN 'rows of ' ELSE '' END || result ELSE '' END,
              E'\n' ORDER BY length(comment) DESC, oid)
         || E'\n```\n\n' || string_agg(CASE WHEN comment LIKE 'As %, for %keys' THEN NULL ELSE comment || '.' END, E'\n\n' ORDER BY length(comment) DESC, oid) || E'\n' AS text
    FROM entry WHERE section < 6 GROUP BY section, place, name
  UNION ALL
  SELECT DISTINCT 1, section, -1, '', 0, '', '## ' || title || E'\n' FROM entry
  UNION ALL
  SELECT 1, 6, 0, '', 0, '', E'Functions that alerting''s own triggers, and those that it puts on the host''s tables, call.\n\n| function | what it does |\n|---|---|'
  UNION ALL
  SELECT 1, 6, 1, name::text, 0, '', '| `' || name || '()` | ' || pg_temp.cell(comment) || ' |' FROM entry WHERE section = 6
  UNION ALL
  SELECT 2, 0, 0, '', 0, '', E'\n## Tables and views\n\nOrdinary tables in schema `alerting`, made by `attach`; they stay when the extension is dropped. Keys of\norganizations and containers have the types of the host''s keys: here text.\n'
  UNION ALL
  SELECT 2, 1, place, name, 1, '', E'### ' || name || E'\n\n' || obj_description(oid, 'pg_class') || E'.\n\n| column | type | meaning |\n|---|---|---|' FROM relation
  UNION ALL
  SELECT 2, 1, r.place, r.name, 2, to_char(a.attnum, '000'),
         '| `' || a.attname || '` | ' || pg_temp.short_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
         || coalesce(', default `' || regexp_replace(pg_get_expr(d.adbin, d.adrelid), '::[a-z_ .]+$', '') || '`', '')
         || ' | ' || pg_temp.cell(m.text) || ' |'
    FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid JOIN meaning m ON m.oid = r.oid AND m.attnum = a.attnum
    LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
  UNION ALL
  SELECT 2, 1, place, name, 3, '', '' FROM relation
  UNION ALL
  SELECT 3, 0, 0, '', 0, '', E'## Settings\n\n| setting | default | meaning | set by |\n|---|---|---|---|'
  UNION ALL
  SELECT 3, 1, 0, s.name, 0, '', '| `' || s.name || '` | `' || CASE WHEN s.boot_val = '' THEN ' ' ELSE s.boot_val || coalesce(' ' || CASE WHEN s.vartype = 'integer' THEN s.unit END, '') END || '` | '
         || pg_temp.cell(s.short_desc || coalesce(' ' || s.extra_desc, '')) || ' | '
         || CASE s.context WHEN 'sighup' THEN 'configuration file' WHEN 'superuser' THEN 'superuser' WHEN 'user' THEN 'anybody' WHEN 'postmaster' THEN 'start of the server' ELSE s.context END || ' |'
    FROM pg_settings s WHERE s.name LIKE 'alerting.%';

SELECT '# SQL reference' || E'\n\n'
  || 'Made from the catalog by `scripts/sql-reference`; in psql the same is under `\df+ alerting.*` and `\d+ alerting.*`.' || E'\n'
  || 'Arguments may be given by name. Nothing is granted to PUBLIC.' || E'\n';
SELECT text FROM line ORDER BY part, section, place, name, step, key;

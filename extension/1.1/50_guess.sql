-- Finding tables and columns by the names people usually give them. Names are compared in lower
-- case and without underscores: cpu_percent, cpuPercent and "CPUPercent" are one.

CREATE OR REPLACE FUNCTION alerting.plain_name(name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT lower(translate($1, '_- ', ''));
$function$;

-- The first of `names` that is a column of `rel` of one of the type categories (as in
-- pg_type.typcategory), quoted; NULL when there is none. A day or a time of day alone is no time.
CREATE OR REPLACE FUNCTION alerting.guess_column(rel regclass, names text[], categories text DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT quote_ident(a.attname)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
     AND alerting.plain_name(a.attname) = ANY ($2)
     AND ($3 IS NULL OR position(t.typcategory::text IN $3) > 0)
     AND (t.typcategory <> 'D' OR alerting.base_type(a.atttypid) IN ('timestamptz'::regtype, 'timestamp'::regtype))
   ORDER BY array_position($2, alerting.plain_name(a.attname)), a.attnum LIMIT 1;
$function$;

-- Whether a column of this type holds keys of `key_type`.
CREATE OR REPLACE FUNCTION alerting.fits_key(type regtype, key_type regtype) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(CASE WHEN k.wanted IS NOT NULL THEN k.kind = k.wanted OR (k.kind IS NOT NULL AND k.wanted = 'text')
                       WHEN alerting.base_type($1) = alerting.base_type($2) THEN true
                       ELSE k.kind IS NOT NULL END, false)
    FROM (SELECT alerting.usual_key_kind($1) AS kind, alerting.usual_key_kind($2) AS wanted) k;
$function$;

-- As guess_column(), of those that hold the key of `target`.
CREATE OR REPLACE FUNCTION alerting.guess_key(rel regclass, names text[], target regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT quote_ident(a.attname)
    FROM pg_attribute a JOIN pg_attribute key ON key.attrelid = $3 AND key.attnum = alerting.key_column($3)
   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
     AND alerting.plain_name(a.attname) = ANY ($2) AND alerting.fits_key(a.atttypid, key.atttypid)
   ORDER BY array_position($2, alerting.plain_name(a.attname)), a.attnum LIMIT 1;
$function$;

-- The number of the column that key_of() takes for the key of `rel`; NULL when there is none.
CREATE OR REPLACE FUNCTION alerting.key_column(rel regclass) RETURNS int2
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT i.indkey[0] FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
   WHERE i.indrelid = $1 AND i.indisunique AND i.indnkeyatts = 1 AND i.indkey[0] > 0
     AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND a.attnotnull
   ORDER BY alerting.key_kind(a.atttypid) IS NULL, i.indisprimary DESC LIMIT 1;
$function$;

-- The columns of `rel` that refer to the key of `target`, quoted: by a foreign key of one column, or in a
-- wider one (a tenant is often part of all keys) at its place.
CREATE OR REPLACE FUNCTION alerting.referring_columns(rel regclass, target regclass) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(array_agg(DISTINCT quote_ident(a.attname)), '{}')
    FROM pg_constraint c CROSS JOIN unnest(c.conkey, c.confkey) AS k(own, referred)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.own
   WHERE c.contype = 'f' AND c.conrelid = $1 AND c.confrelid = $2 AND k.referred = alerting.key_column($2);
$function$;

-- The key of the row of `target` that a row of `rel`, called `alias`, refers to by another unique column, or by several that
-- are unique together, as an expression; NULL unless exactly one foreign key does.
CREATE OR REPLACE FUNCTION alerting.referring_expression(rel regclass, alias text, target regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  WITH reference AS (
    SELECT cardinality(c.conkey) > 1 AS several,
           format('(SELECT k.%I FROM %s k WHERE %s)', key.attname, $3,
                  string_agg(format('k.%I = %s.%I', there.attname, $2, here.attname), ' AND ' ORDER BY pair.position)) AS expression
      FROM pg_constraint c CROSS JOIN unnest(c.conkey, c.confkey) WITH ORDINALITY AS pair(own, referred, position)
      JOIN pg_attribute here ON here.attrelid = c.conrelid AND here.attnum = pair.own
      JOIN pg_attribute there ON there.attrelid = c.confrelid AND there.attnum = pair.referred
      JOIN pg_attribute key ON key.attrelid = c.confrelid AND key.attnum = alerting.key_column($3)
     WHERE c.contype = 'f' AND c.conrelid = $1 AND c.confrelid = $3 AND key.attnum <> ALL (c.confkey)
     GROUP BY c.oid, key.attname)
  SELECT CASE WHEN count(*) = 1 THEN min(r.expression) END FROM reference r WHERE r.several = (SELECT bool_and(o.several) FROM reference o);
$function$;

-- How a row of `rel` says the key of the row of `target` that it is about where that key is generated: by the columns of which
-- it is, if `rel` has them all, and not the key. NULL otherwise.
CREATE OR REPLACE FUNCTION alerting.generated_expression(rel regclass, target regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT pg_get_expr(g.adbin, g.adrelid)
    FROM pg_attrdef g JOIN pg_attribute key ON key.attrelid = g.adrelid AND key.attnum = g.adnum AND key.attgenerated <> ''
   WHERE g.adrelid = $2 AND g.adnum = alerting.key_column($2) AND $1 <> $2
     AND NOT EXISTS (SELECT FROM pg_attribute own WHERE own.attrelid = $1 AND own.attname = key.attname AND NOT own.attisdropped)
     AND (SELECT bool_and(own.attnum IS NOT NULL)
            FROM pg_depend d JOIN pg_attribute part ON part.attrelid = d.refobjid AND part.attnum = d.refobjsubid
            LEFT JOIN pg_attribute own ON own.attrelid = $1 AND own.attname = part.attname AND own.atttypid = part.atttypid AND NOT own.attisdropped
           -- PostgreSQL 15 has the dependencies at the column, later ones at its expression.
           WHERE (d.classid, d.objid, d.objsubid) IN (('pg_class'::regclass, $2, key.attnum), ('pg_attrdef'::regclass, g.oid, 0))
             AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $2 AND d.refobjsubid NOT IN (0, key.attnum));
$function$;

-- What a row of `rel` is called in columns that refer to it or describe it: "pods" gives "pod".
CREATE OR REPLACE FUNCTION alerting.row_name(rel regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
  SELECT CASE WHEN n.name ~ 'ies$' THEN regexp_replace(n.name, 'ies$', 'y') WHEN n.name ~ '(x|ch|sh|ss)es$' THEN regexp_replace(n.name, 'es$', '') ELSE regexp_replace(n.name, '([^s])s$', '\1') END
    FROM (SELECT alerting.plain_name(c.relname) AS name FROM pg_class c WHERE c.oid = $1) n;
$function$;

-- The organization column of a containers table: its only foreign key to organizations, else by name.
CREATE OR REPLACE FUNCTION alerting.guess_organization(organizations regclass, containers regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  referring text[] := alerting.referring_columns(containers, organizations);
BEGIN
  RETURN CASE WHEN cardinality(referring) = 1 THEN referring[1]
              WHEN alerting.referring_expression(containers, 'c', organizations) IS NOT NULL
              THEN alerting.referring_expression(containers, 'c', organizations)
              ELSE alerting.guess_key(containers, ARRAY['organizationid', 'organisationid', 'orgid', 'organization', 'organisation',
                     alerting.row_name(organizations) || 'id', 'organizationuuid', alerting.row_name(organizations) || 'uuid', alerting.row_name(organizations)],
                     organizations) END;
END
$function$;

-- How a column's name ends that says its unit: s, ms, us or ns.
CREATE OR REPLACE FUNCTION alerting.unit_names(unit text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT CASE $1 WHEN 's' THEN 'sec|secs|seconds' WHEN 'ms' THEN 'ms|msec|milli|millis|milliseconds'
                 WHEN 'us' THEN 'us|usec|micro|micros|microseconds' ELSE 'ns|nsec|nano|nanos|nanosec|nanoseconds' END;
$function$;

-- Whether a column's name, as plain_name() gives it, is that of a time in this unit.
CREATE OR REPLACE FUNCTION alerting.is_time_in(name text, unit text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
  SELECT $1 ~ ('(at|on|time|timestamp|ts|tstamp|epoch|unix|utc|clock|seen|ping|heartbeat|checked|updated?)(' || alerting.unit_names($2) || ')$') AND $1 !~ 'status$';
$function$;

-- Whether a table has one row for each container, which is updated in place.
CREATE OR REPLACE FUNCTION alerting.is_updated_in_place(metrics regclass, container text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT $1 = (SELECT b.containers::oid FROM alerting.host_binding b)
      OR EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                  WHERE i.indrelid = $1 AND i.indisunique AND i.indnkeyatts = 1 AND i.indisvalid AND i.indpred IS NULL
                    AND $2 IN (a.attname, quote_ident(a.attname)));
$function$;

-- The time column of a metrics table. Numbers are a time only when their unit is said, by the caller or
-- by the column's name. A table of readings that has one timestamp alone means that. When a row was made
-- is no time of one that is updated in place.
CREATE OR REPLACE FUNCTION alerting.guess_at(metrics regclass, container text, numbers boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  WITH kind(in_place) AS (SELECT alerting.is_updated_in_place($1, $2)),
  names(list) AS (
    SELECT ARRAY['at', 'time', 'timestamp', 'ts', 'datetime', 'recordedat', 'sampledat', 'collectedat', 'measuredat', 'capturedat', 'observedat',
                 'reportedat', 'scrapedat', 'readat', 'sampletime', 'collectiontime', 'measurementtime', 'eventtime', 'lastseen', 'lastseenat', 'tstamp', 'clock']
           || CASE WHEN k.in_place
                   THEN ARRAY['updatedat', 'updatedon', 'lastupdate', 'lastupdated', 'lastupdatedat', 'lastheartbeat', 'lastheartbeatat', 'heartbeatat',
                              'lastping', 'lastpingat', 'pingat', 'lastchecked', 'lastcheckedat', 'checkedat', 'polledat', 'lastpolledat',
                              'updated', 'updatetime', 'updatedtime', 'updateddate', 'dateupdated', 'modified', 'modifiedat', 'modifiedon', 'datemodified',
                              'lastmodified', 'lastmodifiedat', 'lastmodifiedon', 'lastmodifieddate', 'modificationtime']
                   ELSE ARRAY['createdat', 'createdon', 'insertedat', 'created', 'createtime', 'createdtime', 'createddate', 'datecreated', 'creationtime',
                              'updatedat', 'updatedon', 'checkedat', 'polledat', 'heartbeatat', 'pingat'] END
      FROM kind k),
  suffixed(list) AS (
    SELECT array_agg(n.name || s.suffix ORDER BY n.position, s.position)
      FROM names, unnest(names.list || ARRAY['epoch', 'unix']) WITH ORDINALITY AS n(name, position),
           unnest(string_to_array(alerting.unit_names('ms') || '|' || alerting.unit_names('us') || '|' || alerting.unit_names('s'), '|'))
             WITH ORDINALITY AS s(suffix, position)),
  utc(list) AS (
    SELECT array_agg(n.name || s.suffix ORDER BY n.position, s.suffix)
      FROM names, unnest(names.list) WITH ORDINALITY AS n(name, position), unnest(ARRAY['', 'utc']) AS s(suffix))
  SELECT CASE WHEN $3 THEN alerting.guess_column($1, utc.list || suffixed.list || ARRAY['epoch', 'unix'], 'N')
              ELSE coalesce(alerting.guess_column($1, utc.list, 'D'), alerting.guess_column($1, suffixed.list, 'N'),
                            (SELECT CASE WHEN count(*) = 1 THEN min(quote_ident(a.attname)) END
                               FROM pg_attribute a
                              WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
                                AND alerting.base_type(a.atttypid) IN ('timestamptz'::regtype, 'timestamp'::regtype)
                                AND $1 <> (SELECT b.containers::oid FROM alerting.host_binding b))) END
    FROM utc, suffixed;
$function$;

-- The unit of a numeric time column, where its name says it: ts_ms, timestampMillis, epoch_seconds.
CREATE OR REPLACE FUNCTION alerting.guess_unit(metrics regclass, at text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT (SELECT u.unit FROM unnest(ARRAY['ms', 'us', 's']) AS u(unit) WHERE alerting.is_time_in(alerting.plain_name(a.attname), u.unit))
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND t.typcategory = 'N' AND $2 IN (a.attname, quote_ident(a.attname))
   ORDER BY (a.attname = $2) DESC LIMIT 1;
$function$;

-- Percentages. Where the name doesn't say so, an integer is no percentage but a counter or millicores;
-- what is called utilization is as often a share of 1. In the containers' own row cpu is what they may use.
CREATE OR REPLACE FUNCTION alerting.guess_percent(metrics regclass, thing text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(
    alerting.guess_column($1, ARRAY(
      SELECT w.name || x.name || m.middle || p.suffix
        FROM unnest(CASE $2 WHEN 'cpu' THEN ARRAY['cpu', 'containercpu'] ELSE ARRAY['memory', 'mem', 'ram', 'containermemory'] END) WITH ORDINALITY AS x(name, n)
       CROSS JOIN unnest(ARRAY['', 'usage', 'used', 'utilization', 'load']) WITH ORDINALITY AS m(middle, n)
       CROSS JOIN unnest(ARRAY['percent', 'percentage', 'pct', 'perc']) WITH ORDINALITY AS p(suffix, n)
       CROSS JOIN unnest(ARRAY['', 'current', 'latest', 'last', 'avg', 'average', 'mean']) WITH ORDINALITY AS w(name, n)
       WHERE $2 = 'cpu' OR m.middle <> 'load'
       ORDER BY w.n, x.n, m.n, p.n), 'N'),
    (SELECT quote_ident(a.attname) FROM pg_attribute a
      WHERE a.attrelid = $1 AND quote_ident(a.attname) = alerting.guess_column($1, ARRAY['cpuusage']
              || CASE WHEN $1 = (SELECT b.containers::oid FROM alerting.host_binding b) THEN '{}'::text[] ELSE ARRAY['cpu'] END, 'N')
        AND $2 = 'cpu' AND alerting.base_type(a.atttypid) IN ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype)));
$function$;

-- Whether a column, quoted, is a binary floating-point number.
CREATE OR REPLACE FUNCTION alerting.is_fraction(rel regclass, quoted_column text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = $1 AND quote_ident(a.attname) = $2
                    AND alerting.base_type(a.atttypid) IN ('real'::regtype, 'double precision'::regtype));
$function$;

-- What is used and its limit, in the same unit: bytes, unless the names of both say another one. A fraction
-- beside a whole number of bytes is as often a percentage.
CREATE OR REPLACE FUNCTION alerting.guess_memory(metrics regclass, OUT used text, OUT memory_limit text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  unit text;
BEGIN
  FOREACH unit IN ARRAY ARRAY['bytes', 'kb', 'kib', 'mb', 'mib', 'gb', 'gib'] LOOP
    used := alerting.guess_column(metrics, ARRAY(
      SELECT n.name || s.suffix
        FROM unnest(ARRAY['memoryused', 'memoryusage', 'memused', 'memusage', 'memory', 'mem', 'memoryworkingset', 'memworkingset', 'workingset', 'memorycurrent', 'memcurrent',
                          'memoryrss', 'memrss', 'rss', 'ramused', 'ramusage', 'usedmemory', 'usedram']) WITH ORDINALITY AS n(name, position)
       CROSS JOIN unnest(CASE unit WHEN 'bytes' THEN ARRAY['', unit] ELSE ARRAY[unit] END) WITH ORDINALITY AS s(suffix, position)
       WHERE s.suffix <> '' OR n.name NOT IN ('memory', 'mem')
       ORDER BY n.position, s.position), 'N');
    memory_limit := alerting.guess_column(metrics, ARRAY(
      SELECT n.name || s.suffix
        FROM unnest(ARRAY['memorylimit', 'memlimit', 'memorytotal', 'memtotal', 'memorymax', 'memmax', 'ramlimit', 'ramtotal', 'totalmemory', 'totalram']) WITH ORDINALITY AS n(name, position)
       CROSS JOIN unnest(CASE unit WHEN 'bytes' THEN ARRAY['', unit] ELSE ARRAY[unit] END) WITH ORDINALITY AS s(suffix, position)
       ORDER BY n.position, s.position), 'N');
    EXIT WHEN used IS NOT NULL AND memory_limit IS NOT NULL;
  END LOOP;
  IF unit = 'bytes' AND alerting.plain_name(used) !~ 'bytes"?$'
     AND alerting.is_fraction(metrics, used) AND NOT alerting.is_fraction(metrics, memory_limit) THEN
    used := NULL;
    memory_limit := NULL;
  END IF;
END
$function$;

-- Whether what is known of a text column's values speaks against 'running' among them: its CHECK constraints, else its
-- statistics, else `otherwise`. Nothing is read of the table, whose planning may run its owner's functions.
CREATE OR REPLACE FUNCTION alerting.never_running(rel regclass, quoted_column text, otherwise boolean DEFAULT false) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
  WITH allowed(says) AS (
    SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
     WHERE c.contype = 'c' AND c.conrelid = $1 AND quote_ident(a.attname) = $2 AND pg_get_constraintdef(c.oid) ~ $$= (ANY|')$$),
  seen(says) AS (
    SELECT concat_ws(' ', s.most_common_vals::text, s.histogram_bounds::text)
      FROM pg_stats s JOIN pg_class c ON c.relname = s.tablename JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname
     WHERE c.oid = $1 AND quote_ident(s.attname) = $2 AND num_nonnulls(s.most_common_vals, s.histogram_bounds) > 0)
  -- Letters are alike as in English: in Turkish I is no capital i.
  SELECT coalesce((SELECT NOT bool_or(a.says COLLATE "C" ~* $$[{,"']running[,"'}]$$) FROM allowed a),
                  (SELECT NOT bool_or(s.says COLLATE "C" ~* $$[{,"']running[,"'}]$$) FROM seen s), $3);
$function$;

-- Whether the statistics of a text column know of values that begin with 'running' and say more (running:healthy).
CREATE OR REPLACE FUNCTION alerting.runs_and_more(rel regclass, quoted_column text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
  SELECT EXISTS (
    SELECT FROM pg_stats s JOIN pg_class c ON c.relname = s.tablename JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname
     WHERE c.oid = $1 AND quote_ident(s.attname) = $2
       AND concat_ws(' ', s.most_common_vals::text, s.histogram_bounds::text) COLLATE "C" ~* $$[{,"']running[^a-z0-9,"'}]$$);
$function$;

CREATE OR REPLACE FUNCTION alerting.state_names() RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT ARRAY['state', 'status', 'containerstate', 'containerstatus', 'phase'];
$function$;

-- What is taken for running of a state that is text, also where the database's language has another small I.
CREATE OR REPLACE FUNCTION alerting.says_running(quoted_column text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
  SELECT format('lower(m.%s%s) = ''running''', $1, CASE WHEN lower('RUNNING') <> 'running' THEN ' COLLATE "C"' END);
$function$;

-- Whether the container runs: a boolean column, else a state whose value 'running' says so.
CREATE OR REPLACE FUNCTION alerting.guess_running(metrics regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  found_column text := alerting.guess_column(metrics, ARRAY['running', 'isrunning', 'up', 'isup', 'alive', 'isalive'], 'B');
  state record;
BEGIN
  IF found_column IS NOT NULL THEN
    RETURN found_column;
  END IF;
  found_column := alerting.guess_column(metrics, ARRAY['isrunning', 'isup', 'isalive'], 'N');
  IF found_column IS NOT NULL THEN
    RETURN format('m.%s <> 0', found_column);
  END IF;
  found_column := alerting.guess_column(metrics, alerting.state_names(), 'SE');
  IF found_column IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT t.typtype, (SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = t.oid AND lower(e.enumlabel) = 'running') AS label
    INTO state
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = metrics AND a.attnum > 0 AND quote_ident(a.attname) = found_column;
  RETURN CASE WHEN state.typtype <> 'e' AND (alerting.never_running(metrics, found_column) OR alerting.runs_and_more(metrics, found_column)) THEN NULL
              WHEN state.typtype <> 'e' THEN alerting.says_running(found_column)
              WHEN state.label IS NOT NULL THEN format('m.%s = %L', found_column, state.label) END;
END
$function$;

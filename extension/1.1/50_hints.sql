-- What the hints of attach() and attach_metrics() show where nothing can be guessed.

-- The columns beside `rel` that refer to other tables: by foreign keys of one column, or else, `named`, by what they are
-- called (host_id, beside a table hosts).
CREATE OR REPLACE FUNCTION alerting.references_beside(rel regclass)
RETURNS TABLE (own oid, referred oid, own_column name, referred_column name, named boolean, optional boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  WITH keyed AS (
    SELECT c.conrelid, c.confrelid, c.conkey, c.confkey FROM pg_constraint c
     WHERE c.contype = 'f' AND cardinality(c.conkey) = 1 AND c.conparentid = 0 AND 'alerting'::regnamespace NOT IN (
           SELECT t.relnamespace FROM pg_class t WHERE t.oid = c.conrelid)),
  beside AS (
    SELECT t.oid FROM pg_class t
     WHERE t.relnamespace = (SELECT r.relnamespace FROM pg_class r WHERE r.oid = $1) AND t.relkind IN ('r', 'p') AND NOT t.relispartition),
  called AS MATERIALIZED (SELECT b.oid, alerting.row_name(b.oid) || 'id' AS name FROM beside b)
  SELECT k.conrelid, k.confrelid, a.attname, b.attname, false, NOT a.attnotnull
    FROM keyed k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
    JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
  UNION ALL
  -- Of all columns there are: what plain_name() and key_column() say, without a call for each.
  SELECT a.attrelid, c.oid, a.attname, key.attname, true, NOT a.attnotnull
    FROM beside b JOIN pg_attribute a ON a.attrelid = b.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN called c ON c.name = lower(translate(a.attname, '_- ', '')) AND c.oid <> a.attrelid
    JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1
    JOIN pg_attribute key ON key.attrelid = c.oid AND key.attnum = i.indkey[0]
    JOIN pg_type own ON own.oid = a.atttypid JOIN pg_type its ON its.oid = key.atttypid AND its.typcategory = own.typcategory
   WHERE NOT EXISTS (SELECT FROM keyed k WHERE k.conrelid = a.attrelid AND k.conkey[1] = a.attnum);
$function$;

-- A way from a row of `rel`, called `alias`, to the one row of `target` that it belongs to, as an expression: over a table
-- that it refers to, else over one that refers to both, else over two, else over three. Of several that of columns which are
-- NOT NULL; NULL unless foreign keys, or else names, show exactly one. The longest ways only foreign keys show.
CREATE OR REPLACE FUNCTION alerting.suggest_way(rel regclass, alias text, target regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  WITH reference AS MATERIALIZED (SELECT * FROM alerting.references_beside($1)),
  way AS (
    SELECT 1 AS rank, (down.named OR up.named)::int AS doubt, down.optional OR up.optional AS optional,
           format('(SELECT h.%I FROM %s h WHERE h.%I = %s.%I)', up.own_column, up.own::regclass, down.referred_column, $2, down.own_column) AS expression
      FROM reference down JOIN reference up ON up.own = down.referred
     WHERE down.own = $1 AND up.referred = $3 AND down.referred <> $3
    UNION ALL
    SELECT 2, (down.named OR up.named)::int, down.optional OR up.optional,
           format('(SELECT h.%I FROM %s h WHERE h.%I = %s.%I ORDER BY 1 LIMIT 1)', up.own_column, up.own::regclass, down.own_column, $2, down.referred_column)
      FROM reference down JOIN reference up ON up.own = down.own
     WHERE down.referred = $1 AND up.referred = $3 AND down.own NOT IN ($1, $3)
    UNION ALL
    SELECT 3, (down.named OR between.named OR up.named)::int, down.optional OR between.optional OR up.optional,
           format('(SELECT i.%I FROM %s h JOIN %s i ON i.%I = h.%I WHERE h.%I = %s.%I)', up.own_column, between.own::regclass, up.own::regclass,
                  between.referred_column, between.own_column, down.referred_column, $2, down.own_column)
      FROM reference down JOIN reference between ON between.own = down.referred JOIN reference up ON up.own = between.referred
     WHERE down.own = $1 AND up.referred = $3 AND between.own NOT IN ($1, $3) AND up.own NOT IN ($1, $3, between.own)
    UNION ALL
    SELECT 4, 2, down.optional OR one.optional OR two.optional OR up.optional,
           format('(SELECT j.%I FROM %s h JOIN %s i ON i.%I = h.%I JOIN %s j ON j.%I = i.%I WHERE h.%I = %s.%I)', up.own_column, one.own::regclass,
                  two.own::regclass, one.referred_column, one.own_column, up.own::regclass, two.referred_column, two.own_column,
                  down.referred_column, $2, down.own_column)
      FROM reference down JOIN reference one ON one.own = down.referred JOIN reference two ON two.own = one.referred JOIN reference up ON up.own = two.referred
     WHERE down.own = $1 AND up.referred = $3 AND NOT (down.named OR one.named OR two.named OR up.named)
       AND one.own NOT IN ($1, $3) AND two.own NOT IN ($1, $3, one.own) AND up.own NOT IN ($1, $3, one.own, two.own))
  SELECT CASE WHEN count(*) = 1 THEN min(w.expression) END
    FROM way w WHERE (w.doubt, w.rank, w.optional) = (SELECT v.doubt, v.rank, v.optional FROM way v ORDER BY v.doubt, v.rank, v.optional LIMIT 1);
$function$;

-- Whether a column's name, as plain_name() gives it, is that of a row of `target`: container_id or pod_uuid, in a containers
-- table's row (`alias` c) organization_id. What follows is `beside`, where that is said.
CREATE OR REPLACE FUNCTION alerting.is_called_after(name text, alias text, target regclass, beside text DEFAULT NULL) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT EXISTS (
    SELECT FROM unnest(alerting.row_name($3) || CASE $2 WHEN 'm' THEN ARRAY['container', 'dockercontainer']
                                                     ELSE ARRAY['organization', 'organisation', 'org'] END) AS r(row_name),
                unnest(CASE WHEN $4 IS NULL THEN ARRAY['', 'id', 'uuid', 'guid', 'ref', 'key'] ELSE ARRAY[$4] END) AS s(suffix)
     WHERE r.row_name || s.suffix = $1);
$function$;

-- For hints: a column that is called after a row of `target`, and is of a type that does not hold its key; NULL for none.
CREATE OR REPLACE FUNCTION alerting.misfit(rel regclass, alias text, target regclass, OUT column_name text, OUT type regtype, OUT key_type regtype)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT quote_ident(a.attname), a.atttypid::regtype, key.atttypid::regtype
    FROM pg_attribute a JOIN pg_attribute key ON key.attrelid = $3 AND key.attnum = alerting.key_column($3)
   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND alerting.is_called_after(alerting.plain_name(a.attname), $2, $3)
     AND NOT alerting.fits_key(a.atttypid, key.atttypid)
   ORDER BY a.attnum LIMIT 1;
$function$;

-- The row that a row of `rel`, called `alias`, means by the columns of a unique index, as an expression; NULL unless it has them
-- all, by the same names or called after what they are of (container_name for containers.name).
CREATE OR REPLACE FUNCTION alerting.suggest_parts(rel regclass, alias text, index regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format('(SELECT k.%I FROM %s k WHERE %s%s)', key.attname, i.indrelid::regclass,
                string_agg('k.' || quote_ident(part.name) || ' = ' || $2 || '.' || quote_ident(part.own), ' AND ' ORDER BY part.position),
                ' AND ' || pg_get_expr(i.indpred, i.indrelid))
    FROM pg_index i JOIN pg_attribute key ON key.attrelid = i.indrelid AND key.attnum = alerting.key_column(i.indrelid)
    CROSS JOIN LATERAL (
      SELECT k.position, there.attname AS name,
             (SELECT here.attname
                FROM pg_attribute here JOIN pg_type own ON own.oid = here.atttypid
               CROSS JOIN LATERAL (SELECT alerting.plain_name(here.attname), alerting.plain_name(there.attname)) AS n(here, there)
               WHERE here.attrelid = $1 AND here.attnum > 0 AND NOT here.attisdropped
                 AND (own.oid = its.oid OR own.typcategory = its.typcategory AND own.typcategory IN ('N', 'S'))
                 AND (n.here = n.there AND n.there <> 'id' OR alerting.is_called_after(n.here, $2, i.indrelid, n.there))
               ORDER BY n.here = n.there AND n.there <> 'name' DESC, here.attnum LIMIT 1) AS own
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, position)
        LEFT JOIN pg_attribute there ON there.attrelid = i.indrelid AND there.attnum = k.number AND k.number > 0
        LEFT JOIN pg_type its ON its.oid = there.atttypid
       WHERE k.position <= i.indnkeyatts) AS part
   WHERE i.indexrelid = $3
   GROUP BY key.attname, i.indrelid, i.indpred
  HAVING count(part.own) = count(*) AND count(DISTINCT part.own) = count(*) AND bool_and(part.name <> key.attname);
$function$;

-- The row of `target` that a row of `rel`, called `alias`, means by a unique column to which no foreign key refers: one of the
-- same name (docker_id, say) or called after it (pod_uuid for pods.uuid), else by several that are unique together (namespace
-- and pod_name), maybe among some rows alone (those that are not deleted); else the only one of the type of what is called
-- container_id; else what is called so, cast. NULL unless there is exactly one.
CREATE OR REPLACE FUNCTION alerting.suggest_lookup(rel regclass, alias text, target regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  WITH misfit AS (SELECT f.* FROM alerting.misfit($1, $2, $3) f WHERE f.column_name IS NOT NULL),
  lookup AS (
    SELECT CASE WHEN n.here = n.there OR alerting.is_called_after(n.here, $2, $3, n.there) THEN 1 ELSE 3 END AS rank,
           format('(SELECT k.%I FROM %s k WHERE k.%I = %s.%I)', key.attname, $3, there.attname, $2, here.attname) AS expression
      FROM pg_attribute there
      JOIN pg_attribute here ON here.attrelid = $1 AND here.attnum > 0 AND NOT here.attisdropped
      CROSS JOIN LATERAL (SELECT alerting.plain_name(here.attname), alerting.plain_name(there.attname)) AS n(here, there)
      JOIN pg_type own ON own.oid = here.atttypid
      JOIN pg_type its ON its.oid = there.atttypid AND (its.oid = own.oid OR own.typcategory = its.typcategory AND own.typcategory IN ('N', 'S'))
      JOIN pg_attribute key ON key.attrelid = $3 AND key.attnum = alerting.key_column($3)
     WHERE there.attrelid = $3 AND there.attnum > 0 AND NOT there.attisdropped AND there.attnum <> key.attnum AND n.there <> 'id'
       AND (n.here = n.there OR alerting.is_called_after(n.here, $2, $3, n.there)
            OR quote_ident(here.attname) = (SELECT f.column_name FROM misfit f) AND n.there NOT IN ('name', 'title', 'slug', 'email'))
       AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = $3 AND i.indisunique AND i.indnkeyatts = 1 AND i.indkey[0] = there.attnum AND i.indpred IS NULL)
    UNION ALL
    SELECT 2, alerting.suggest_parts($1, $2, i.indexrelid) FROM pg_index i
     WHERE i.indrelid = $3 AND i.indisunique AND i.indisvalid AND i.indnkeyatts > 1 AND alerting.suggest_parts($1, $2, i.indexrelid) IS NOT NULL
    UNION ALL
    SELECT 4, format('%s::%s', f.column_name, f.key_type) FROM misfit f JOIN pg_type t ON t.oid = f.type
     WHERE t.typcategory = 'S' OR alerting.base_type(f.type) = 'numeric'::regtype AND alerting.base_type(f.key_type) IN ('int8'::regtype, 'int4'::regtype))
  SELECT CASE WHEN count(*) = 1 THEN min(l.expression) END FROM lookup l WHERE l.rank = (SELECT min(m.rank) FROM lookup m);
$function$;

CREATE OR REPLACE FUNCTION alerting.suggest_organization(organizations regclass, containers regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(alerting.suggest_way($2, 'c', $1), alerting.suggest_lookup($2, 'c', $1));
$function$;

-- For hints: the columns that are times; NULL for none.
CREATE OR REPLACE FUNCTION alerting.time_columns(rel regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
    FROM pg_attribute a
   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND alerting.base_type(a.atttypid) IN ('timestamptz'::regtype, 'timestamp'::regtype);
$function$;

-- For hints: a column whose name says that it counts nanoseconds since 1970.
CREATE OR REPLACE FUNCTION alerting.guess_nanoseconds(metrics regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT quote_ident(a.attname) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND t.typcategory = 'N'
     AND alerting.is_time_in(alerting.plain_name(a.attname), 'ns')
   ORDER BY a.attnum LIMIT 1;
$function$;

-- For hints: the day and the time of day of a row that says them apart; NULL unless there is one column of each.
CREATE OR REPLACE FUNCTION alerting.guess_day_and_time(metrics regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT CASE WHEN count(*) = 2 AND count(DISTINCT f.type) = 2 THEN string_agg(f.quoted, ' + ' ORDER BY f.type = 'date'::regtype DESC) END
    FROM (SELECT quote_ident(a.attname) AS quoted, alerting.base_type(a.atttypid) AS type
            FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped) f
   WHERE f.type IN ('date'::regtype, 'time'::regtype);
$function$;

-- For hints: a column of text that is called as a time; NULL for none.
CREATE OR REPLACE FUNCTION alerting.guess_text_time(metrics regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT alerting.guess_column($1, ARRAY['at', 'time', 'timestamp', 'ts', 'datetime', 'recordedat', 'sampledat', 'collectedat', 'measuredat', 'capturedat',
                                         'observedat', 'reportedat', 'scrapedat', 'checkedat', 'recordtime', 'sampletime', 'createdat', 'read', 'readat', 'date'], 'S');
$function$;

-- For hints: whether a mapping as it is stored is a plain column, and the table has none of that name any more.
CREATE OR REPLACE FUNCTION alerting.is_lost_column(rel regclass, mapping text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
  SELECT coalesce($2 ~ '^([[:alpha:]_][[:alnum:]_$]*|"([^"]|"")+")$', false) AND EXISTS (SELECT FROM pg_class c WHERE c.oid = $1)
     AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND quote_ident(a.attname) = $2);
$function$;

-- Finding tables and columns by the names people usually give them. Names are compared in lower
-- case and without underscores: cpu_percent, cpuPercent and "CPUPercent" are one.

CREATE OR REPLACE FUNCTION alerting.plain_name(name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT lower(translate($1, '_- ', ''));
$function$;

-- The first of `names` that is a column of `rel` of one of the type categories (as in
-- pg_type.typcategory), quoted; NULL when there is none.
CREATE OR REPLACE FUNCTION alerting.guess_column(rel regclass, names text[], categories text DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT quote_ident(a.attname)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
     AND alerting.plain_name(a.attname) = ANY ($2)
     AND ($3 IS NULL OR position(t.typcategory::text IN $3) > 0)
   ORDER BY array_position($2, alerting.plain_name(a.attname)), a.attnum LIMIT 1;
$function$;

-- The columns of `rel` that refer to `target` by a foreign key of one column, quoted.
CREATE OR REPLACE FUNCTION alerting.referring_columns(rel regclass, target regclass) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(array_agg(DISTINCT quote_ident(a.attname)), '{}')
    FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
   WHERE c.contype = 'f' AND c.conrelid = $1 AND c.confrelid = $2 AND cardinality(c.conkey) = 1;
$function$;

-- The organization column of a containers table: its only foreign key to organizations, else by name.
CREATE OR REPLACE FUNCTION alerting.guess_organization(organizations regclass, containers regclass) RETURNS text
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
CREATE OR REPLACE FUNCTION alerting.suggest_organization(organizations regclass, containers regclass) RETURNS text
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
CREATE OR REPLACE FUNCTION alerting.guess_at(metrics regclass, numbers boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT alerting.guess_column($1, ARRAY['at', 'time', 'timestamp', 'ts', 'recordedat', 'sampledat', 'collectedat',
    'measuredat', 'capturedat', 'observedat', 'reportedat', 'lastseen', 'lastseenat']
    || CASE WHEN $1 = (SELECT b.containers::oid FROM alerting.host_binding b)
            THEN ARRAY['updatedat', 'createdat'] ELSE ARRAY['createdat', 'updatedat'] END,
    CASE WHEN $2 THEN 'N' ELSE 'D' END);
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

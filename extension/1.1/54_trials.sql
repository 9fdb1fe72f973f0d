-- What a mapping makes of the rows that are there: what else would be found out late, or never.

-- Whether an index has the newest rows at its end.
CREATE OR REPLACE FUNCTION alerting.is_ordered_by(metrics regclass, at text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT EXISTS (SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am a ON a.oid = x.relam
                  WHERE i.indrelid = $1 AND i.indisvalid AND i.indpred IS NULL AND a.amname = 'btree'
                    AND pg_get_indexdef(i.indexrelid, 1, true) = $2);
$function$;

-- A mapping that asks other tables may have to search them for each row: one will do.
CREATE OR REPLACE FUNCTION alerting.try_source(source int, OUT rows bigint, OUT cpu float8, OUT memory float8, OUT runs boolean, OUT state text, OUT problem text)
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
  SELECT t.rows, t.cpu, t.memory, t.runs, t.state, t.problem
    FROM alerting.metric_source s, LATERAL alerting.try_mapping(s.id, alerting.is_ordered_by(s.metrics, s.at),
           CASE WHEN concat_ws(' ', s.container, s.at, s.cpu, s.memory, s.memory_used, s.memory_limit, s.running, s.restarts) ~ '\mSELECT\M'
                THEN 1 ELSE 1000 END) t
   WHERE s.id = $1;
$function$;

-- What to do about a mapping that fails so.
CREATE OR REPLACE FUNCTION alerting.mapping_advice(metrics regclass, state text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT CASE WHEN $2 = '42501'
              THEN format('It is evaluated with the rights of the table''s owner, %I: GRANT that role SELECT on the tables and EXECUTE on the functions that it needs.', r.rolname)
              WHEN $2 = '22P02' THEN 'Take of a text what is a number, for example cpu => $$substring(cpu FROM ''^[0-9.]+'')::float8$$.'
              ELSE 'Make it accept every row, for example with nullif() around a divisor.' END
    FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE c.oid = $1;
$function$;

-- Columns that are mapped as a percentage and are as likely a share of 1: by their type, which holds nothing else, or by the
-- largest reading of `tried`. Of one below 0.1 nothing is told: so much says any fleet that idles.
CREATE OR REPLACE FUNCTION alerting.shares_of_one(source int, tried record)
RETURNS TABLE (reading text, largest float8, problem text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
DECLARE
  share record;
  odd jsonb[] := '{}';
  mended text := (SELECT alerting.attach_call(s.id, s.metrics::text) FROM alerting.metric_source s WHERE s.id = source);
BEGIN
  FOR share IN
    SELECT r.reading, coalesce(r.largest, 0) AS largest, r.mapping,
           CASE WHEN narrow.digits <= 1 THEN format('its column %s is a %s, which holds no percentage of 10 or more', r.mapping, narrow.type)
                ELSE format('the largest value of its column %s in %s rows is %s', r.mapping, tried.rows, round(r.largest::numeric, 3)) END AS problem
      FROM alerting.metric_source s
      CROSS JOIN LATERAL (VALUES ('cpu', s.cpu, tried.cpu, 1.5), ('memory', s.memory, tried.memory, 1)) AS r(reading, mapping, largest, at_most)
      JOIN pg_attribute a ON a.attrelid = s.metrics AND a.attnum > 0 AND NOT a.attisdropped AND quote_ident(a.attname) = r.mapping
      CROSS JOIN LATERAL (
        SELECT d.type, substring(d.type FROM '^numeric\((\d+),')::int - substring(d.type FROM '^numeric\(\d+,(\d+)\)$')::int
          FROM alerting.declaration_of(s.metrics, a.attnum) AS d(type)) AS narrow(type, digits)
     WHERE s.id = source AND (narrow.digits <= 1 OR r.largest BETWEEN 0.1 AND r.at_most)
  LOOP
    -- The call says the whole mapping: it mends all at once.
    mended := replace(mended, format('%s => %L', share.reading, share.mapping), format('%s => %L', share.reading, '100 * ' || share.mapping));
    odd := odd || to_jsonb(share);
  END LOOP;
  RETURN QUERY SELECT o ->> 'reading', (o ->> 'largest')::float8, o ->> 'problem', 'If it is a share of 1: ' || mended FROM unnest(odd) AS o;
END
$function$;

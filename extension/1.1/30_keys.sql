-- Which tables can be bound, and by which key.

-- Ends with an error unless `rel` is a table that the current role owns and that may be bound.
-- `referenced`: foreign keys will point at it.
CREATE OR REPLACE FUNCTION alerting.check_table(rel regclass, what text, referenced boolean) RETURNS void
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
      USING ERRCODE = 'wrong_object_type',
            HINT = CASE table_row.relkind WHEN 'f' THEN 'Attach it where its rows are, in the database that it leads to: what comes over it counts there.'
                        ELSE 'Name the table that the rows are written to' || coalesce('; it reads ' || (
                          SELECT string_agg(DISTINCT c.oid::regclass::text, ', ')
                            FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
                            JOIN pg_class c ON c.oid = d.refobjid AND c.relkind IN ('r', 'p') WHERE r.ev_class = rel), '') || '.' END;
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

-- Of a domain the type beneath.
CREATE OR REPLACE FUNCTION alerting.base_type(type regtype) RETURNS regtype
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  WITH RECURSIVE base(type, depth) AS (
    SELECT $1::oid, 0
    UNION ALL
    SELECT t.typbasetype, b.depth + 1 FROM base b JOIN pg_type t ON t.oid = b.type AND t.typtype = 'd')
  SELECT b.type::regtype FROM base b ORDER BY b.depth DESC LIMIT 1;
$function$;

-- How a value of one of the usual types makes a key: 'text', 'uuid' or 'int8'; NULL for other types.
CREATE OR REPLACE FUNCTION alerting.usual_key_kind(type regtype) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT CASE WHEN b.type IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype) THEN 'text'
              WHEN b.type = 'uuid'::regtype THEN 'uuid'
              WHEN b.type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'int8' END
    FROM alerting.base_type($1) AS b(type);
$function$;

-- How a key of this type is handled; NULL when it is not supported. Other types than the usual ones are
-- handled as text and compared by their own operator: they need one, and a text that says the value whole.
CREATE OR REPLACE FUNCTION alerting.key_kind(type regtype) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(alerting.usual_key_kind(b.type), CASE
           WHEN b.type IN ('float4'::regtype, 'float8'::regtype, 'money'::regtype) THEN NULL
           WHEN t.typnamespace = 'pg_catalog'::regnamespace AND t.typname LIKE 'reg%' THEN NULL
           WHEN t.typtype IN ('b', 'e') AND t.typcategory IN ('S', 'N', 'U', 'E', 'I')
            AND (t.typtype = 'e' OR EXISTS (
                  SELECT FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod
                   WHERE m.amname = 'btree' AND o.opcdefault AND o.opcintype = b.type)) THEN 'text' END)
    FROM alerting.base_type($1) AS b(type) JOIN pg_type t ON t.oid = b.type;
$function$;

-- The operator by which a column that refers to the host's key is compared with it.
CREATE OR REPLACE FUNCTION alerting.key_equality(table_name text, column_name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(min(format('OPERATOR(%I.%s)', n.nspname, o.oprname)), '=')
    FROM pg_constraint c JOIN pg_operator o ON o.oid = c.conffeqop[1] JOIN pg_namespace n ON n.oid = o.oprnamespace
   WHERE c.conrelid = format('alerting.%I', $1)::regclass AND c.contype = 'f' AND c.conname = format('%s_%s_fkey', $1, $2);
$function$;

-- A key of alerting's own tables as text, by its type's output function (bpchar without its padding): a
-- cast may be that of the type's owner (CREATE CAST), who has fewer rights than who asks.
CREATE OR REPLACE FUNCTION alerting.key_text(key anyelement) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT CASE WHEN pg_typeof($1) = 'bpchar'::regtype THEN rtrim(format('%s', $1), ' ') ELSE format('%s', $1) END;
$function$;

-- A column's type as another column must be declared to hold the same values. Of a domain it is
-- the type beneath: a domain's checks would run with the rights of whoever writes the other column.
CREATE OR REPLACE FUNCTION alerting.declaration_of(rel regclass, column_number int2) RETURNS text
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
-- column, of a type that is supported. `declaration` is the type as a referencing column must be declared.
CREATE OR REPLACE FUNCTION alerting.key_of(rel regclass, what text,
  OUT column_name text, OUT type regtype, OUT declaration text, OUT kind text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  candidates int;
  primary_key text;
  is_generated boolean;
BEGIN
  SELECT count(*) OVER (PARTITION BY i.indisprimary, k.kind IS NULL), quote_ident(a.attname), a.atttypid,
         alerting.declaration_of(rel, a.attnum), k.kind
    INTO candidates, column_name, type, declaration, kind
    FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
   CROSS JOIN LATERAL alerting.key_kind(a.atttypid) AS k(kind)
   WHERE i.indrelid = rel AND i.indisunique AND i.indnkeyatts = 1 AND i.indkey[0] > 0
     AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND a.attnotnull
   ORDER BY k.kind IS NULL, i.indisprimary DESC LIMIT 1;
  IF NOT FOUND OR candidates > 1 THEN
    -- Of some types (enums, times) the words are not immutable, as a generated column has to be.
    SELECT string_agg(quote_ident(a.attname), ' || ''/'' || ' ORDER BY k.position), bool_and(f.provolatile = 'i')
      INTO primary_key, is_generated
      FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k(number, position)
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
      JOIN pg_type t ON t.oid = a.atttypid JOIN pg_proc f ON f.oid = t.typoutput
     WHERE i.indrelid = rel AND i.indisprimary AND k.position <= i.indnkeyatts;
    RAISE EXCEPTION '% table % has no single-column key', what, rel
      USING ERRCODE = 'invalid_table_definition',
            DETAIL = CASE WHEN candidates > 1 THEN 'It has several unique columns and no primary key.'
                          ELSE 'Rules and alerts refer to its rows by a foreign key of one column.' END,
            HINT = CASE WHEN primary_key IS NOT NULL AND (SELECT c.relkind FROM pg_class c WHERE c.oid = rel) = 'p'
                        -- A generated column cannot be what it is partitioned by, and no other one is unique across partitions.
                        THEN format('No other column of a partitioned table can be unique. Attach a table beside it that a trigger on %s fills, '
                                    'with a key made of its primary key: %s', rel, primary_key)
                        WHEN NOT is_generated
                        THEN format('Give the table one beside it: ALTER TABLE %s ADD alerting_key bigint GENERATED ALWAYS AS IDENTITY UNIQUE; '
                                    'rows that refer to it look it up by an expression.', rel)
                        WHEN primary_key IS NOT NULL
                        THEN format('One made of its primary key will do: ALTER TABLE %s ADD alerting_key text GENERATED ALWAYS AS (%s) '
                                    'STORED UNIQUE NOT NULL; rows that refer to it say it by such an expression, too.', rel, primary_key)
                        ELSE 'Give the table a primary key, or a unique NOT NULL column, of one column.' END;
  ELSIF kind IS NULL THEN
    RAISE EXCEPTION 'key column % of table % has type %, which is not supported', column_name, rel, type
      USING ERRCODE = 'feature_not_supported',
            DETAIL = 'Supported are the types of strings, uuids, enums, networks, bytea and exact numbers, and domains over them.',
            HINT = format('Give the table another key beside it: ALTER TABLE %s ADD alerting_key bigint GENERATED ALWAYS AS IDENTITY UNIQUE; '
                          'rows that refer to it look it up by an expression.', rel);
  END IF;
END
$function$;

-- The first of these keys that a host's table does not have. In C, to ask with the table's owner's rights.
CREATE OR REPLACE FUNCTION alerting.missing_key(host regclass, host_column text, keys text[]) RETURNS text
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'alerting_missing_key'
SET search_path = pg_catalog, pg_temp;

-- Makes `table_name`.`column_name` refer to the host's key, in the key's own type.
CREATE OR REPLACE FUNCTION alerting.refer(table_name text, column_name text, host regclass, host_column text, declaration text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $function$
DECLARE
  rel regclass := format('alerting.%I', table_name)::regclass;
  constraint_name text := format('%s_%s_fkey', table_name, column_name);
  own_number int2 := (SELECT a.attnum FROM pg_attribute a WHERE a.attrelid = rel AND a.attname = column_name);
  same_type boolean := declaration = alerting.declaration_of(rel, own_number);
  grants CONSTANT text[] := alerting.view_grants();
  -- What its owner left in it shall not run as us.
  owned_by_superuser boolean := (SELECT r.rolsuper FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE c.oid = host);
  statement text;
  missing text;
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
      IF EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = alerting.base_type(a.atttypid)
                  WHERE a.attrelid = host AND quote_ident(a.attname) = host_column AND t.typnamespace <> 'pg_catalog'::regnamespace) THEN
        -- By the type's input function: a cast may be that of the type's owner.
        EXECUTE format('CREATE TYPE alerting.read_key AS (key %s)', declaration);
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE %s USING (jsonb_populate_record(NULL::alerting.read_key, '
                       'jsonb_build_object(''key'', alerting.key_text(%2$I)))).key', rel, column_name, declaration);
        DROP TYPE alerting.read_key;
      ELSE
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE %s USING alerting.key_text(%2$I)::%3$s', rel, column_name, declaration);
      END IF;
      PERFORM alerting.create_views(false);
      FOREACH statement IN ARRAY grants LOOP
        EXECUTE statement;
      END LOOP;
    END IF;
    EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I FOREIGN KEY (%I) REFERENCES %s (%s) ON DELETE CASCADE ON UPDATE CASCADE%s',
                   rel, constraint_name, column_name, host, host_column, CASE WHEN owned_by_superuser THEN '' ELSE ' NOT VALID' END);
    IF NOT owned_by_superuser THEN
      EXECUTE format('SELECT alerting.missing_key($1, $2, ARRAY(SELECT DISTINCT alerting.key_text(t.%I) FROM %s t))', column_name, rel)
        INTO missing USING host, host_column;
      IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'table "%" violates foreign key constraint "%": there is no key %', table_name, constraint_name, missing
          USING ERRCODE = 'foreign_key_violation';
      END IF;
    END IF;
  EXCEPTION WHEN foreign_key_violation OR data_exception THEN
    RAISE EXCEPTION 'table % holds rows that refer to rows which table % does not have', rel, host
      USING ERRCODE = 'foreign_key_violation', DETAIL = SQLERRM,
            HINT = 'Delete those rules, webhooks and alerts first, or attach the tables they belong to.';
  END;
END
$function$;

-- Entry points of the library that other parts of this script need.

CREATE OR REPLACE FUNCTION alerting.cuid() RETURNS text
LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'alerting_cuid';

-- Says what a mapping means: the SQL to run for it (a quoted column, or the expression with every
-- name qualified, so that it means the same under any search_path), its type, the columns of `rel`
-- it reads, and whether it can be cast to `target`. Unqualified names are looked up along `path`.
CREATE OR REPLACE FUNCTION alerting.describe_mapping(
  rel regclass, alias text, what text, expression text,
  target regtype DEFAULT NULL, path text DEFAULT NULL,
  OUT sql text, OUT is_column boolean, OUT type regtype, OUT columns text[], OUT castable boolean)
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'alerting_describe_mapping'
SET search_path = pg_catalog, pg_temp
-- Read, and written, as it will be read again.
SET standard_conforming_strings = on SET DateStyle = 'ISO' SET IntervalStyle = 'postgres' SET extra_float_digits = 1 SET quote_all_identifiers = off;

-- Evaluates the mapping of a metric source, as its table's owner, on at most so many of the rows that are there, the newest
-- ones where an index on the time finds them: how many rows, the largest readings, whether any of them runs, and why it fails.
CREATE OR REPLACE FUNCTION alerting.try_mapping(source int, newest boolean, most int,
  OUT rows bigint, OUT cpu float8, OUT memory float8, OUT runs boolean, OUT state text, OUT problem text)
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'alerting_try_mapping'
SET search_path = pg_catalog, pg_temp;

-- Likewise of the containers' organization, where that is an expression: how many rows it fails on, or why on all.
CREATE OR REPLACE FUNCTION alerting.try_organization(OUT failing bigint, OUT state text, OUT problem text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_try_organization'
SET search_path = pg_catalog, pg_temp SET client_min_messages = error;

-- What triggers and views ask the containers table; in C, to ask with its owner's rights.
CREATE OR REPLACE FUNCTION alerting.container_exists(container text) RETURNS boolean
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'alerting_container_exists'
SET search_path = pg_catalog, pg_temp;

CREATE OR REPLACE FUNCTION alerting.container_name(container text) RETURNS text
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'alerting_container_name'
SET search_path = pg_catalog, pg_temp;

-- Waits until no worker's transaction is under way and keeps the workers out until this one ends.
CREATE OR REPLACE FUNCTION alerting.exclude_workers() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'alerting_exclude_workers';

-- NOTIFY alerting, once this transaction has committed, by the evaluator. One that is prepared instead notifies nobody.
CREATE OR REPLACE FUNCTION alerting.notify_at_commit(payload text) RETURNS void
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'alerting_notify_at_commit';

-- Trigger functions. They touch no table; a role that may write the table needs no right on them.
CREATE OR REPLACE FUNCTION alerting.capture() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_capture';

CREATE OR REPLACE FUNCTION alerting.container_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_container_changed';

CREATE OR REPLACE FUNCTION alerting.rule_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_rule_changed';

CREATE OR REPLACE FUNCTION alerting.binding_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_binding_changed';

CREATE OR REPLACE FUNCTION alerting.delivery_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_delivery_changed';

CREATE OR REPLACE FUNCTION alerting.check_webhook() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_check_webhook';

CREATE OR REPLACE FUNCTION alerting.on_drop_extension() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_on_drop_extension';

CREATE OR REPLACE FUNCTION alerting.on_alter_table() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_on_alter_table';

-- PostgreSQL lets the schema of an extension be renamed, be it relocatable or not.
CREATE OR REPLACE FUNCTION alerting.on_alter_schema() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  present text;
BEGIN
  SELECT n.nspname INTO present FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'alerting';
  IF present <> 'alerting' THEN
    RAISE EXCEPTION 'schema "alerting" cannot be renamed while extension alerting is installed'
      USING ERRCODE = 'feature_not_supported', DETAIL = 'The extension''s functions and workers name it.',
            HINT = 'To have its tables under another name, put views of them into a schema of your own.';
  END IF;
END
$function$;

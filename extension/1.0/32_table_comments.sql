-- The tables' manual.
CREATE FUNCTION alerting.comment_tables() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  COMMENT ON TABLE alerting.host_binding IS 'The host''s tables that alerting is bound to (one row), made by alerting.attach()';
END
$function$;

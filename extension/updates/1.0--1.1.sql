-- 1.0 to 1.1: what the parts, run again, do not do by themselves: functions that are gone or whose
-- arguments or result changed are dropped here. Columns and tables are steps of migrate_tables().

DROP FUNCTION alerting.create_views();
DROP FUNCTION alerting.create_webhook(bigint, text, text, interval[], boolean);
DROP FUNCTION alerting.create_webhook(uuid, text, text, interval[], boolean);
DROP FUNCTION alerting.create_webhook(text, text, text, interval[], boolean);
DROP FUNCTION alerting.find_metrics();
DROP FUNCTION alerting.find_tables(text[]);
DROP FUNCTION alerting.guess_at(regclass, boolean);

CREATE FUNCTION alerting.on_alter_table() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'alerting_on_alter_table';
CREATE EVENT TRIGGER alerting_partition_attached ON ddl_command_end
  WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION alerting.on_alter_table();

CREATE FUNCTION alerting.on_alter_schema() RETURNS event_trigger
LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER alerting_schema_altered ON ddl_command_end
  WHEN TAG IN ('ALTER SCHEMA') EXECUTE FUNCTION alerting.on_alter_schema();

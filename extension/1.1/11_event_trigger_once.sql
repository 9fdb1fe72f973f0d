CREATE EVENT TRIGGER alerting_drop_extension ON ddl_command_start
  WHEN TAG IN ('DROP EXTENSION') EXECUTE FUNCTION alerting.on_drop_extension();
CREATE EVENT TRIGGER alerting_partition_attached ON ddl_command_end
  WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION alerting.on_alter_table();
CREATE EVENT TRIGGER alerting_schema_altered ON ddl_command_end
  WHEN TAG IN ('ALTER SCHEMA') EXECUTE FUNCTION alerting.on_alter_schema();

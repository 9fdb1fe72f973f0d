CREATE EVENT TRIGGER alerting_drop_extension ON ddl_command_start
  WHEN TAG IN ('DROP EXTENSION') EXECUTE FUNCTION alerting.on_drop_extension();

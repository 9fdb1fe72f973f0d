-- 1.0 to 1.1: what the parts, run again, do not do by themselves: functions that are gone or whose
-- arguments or result changed are dropped here. Columns and tables are steps of migrate_tables().

DROP FUNCTION alerting.create_views();
DROP FUNCTION alerting.create_webhook(bigint, text, text, interval[], boolean);
DROP FUNCTION alerting.create_webhook(uuid, text, text, interval[], boolean);
DROP FUNCTION alerting.create_webhook(text, text, text, interval[], boolean);
DROP FUNCTION alerting.find_tables(text[]);

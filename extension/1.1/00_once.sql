-- The script of the extension: its parts in the order of their names. Those named *_once.sql belong to
-- CREATE EXTENSION alone; all others also run at ALTER EXTENSION UPDATE.
\echo Use "CREATE EXTENSION alerting" to load this file. \quit

REVOKE ALL ON SCHEMA alerting FROM PUBLIC;

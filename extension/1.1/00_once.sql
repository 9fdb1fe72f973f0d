-- The script of the extension: its parts in the order of their names. Those named *_once.sql belong to
-- CREATE EXTENSION alone; all others also run at ALTER EXTENSION UPDATE (CONTRIBUTING.md, "A version of
-- the extension"). By their tens:
--   0x  the guard               3x  keys and tables            6x  rules, preview, doctor(), Prometheus
--   1x  the library's           4x  the tables' triggers,      9x  binding at CREATE EXTENSION, comments on
--       functions for scripts       views, and their repair        functions, privileges
--   2x  payloads                5x  attach(), attach_metrics()
\echo Use "CREATE EXTENSION alerting" to load this file. \quit

REVOKE ALL ON SCHEMA alerting FROM PUBLIC;

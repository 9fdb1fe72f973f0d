-- Names that have to be quoted everywhere, some called as the mappings' own row; keys and names that are empty, padded, quoted, or
-- of 600 bytes; amounts that are money.
--@ schema
CREATE SCHEMA "Über.wach""ung";
SET search_path = "Über.wach""ung";
CREATE TABLE "group" ("primary" int PRIMARY KEY, "name" text);
CREATE TABLE "table" ("order" varchar(300) PRIMARY KEY, "user" int REFERENCES "group", "Имя" text, "label" text);
CREATE TABLE "select" ("order" varchar(300) REFERENCES "table", "from" timestamptz, "CPU %" numeric, "память" money, "предел" money, "limit" bool, "100" int, "$1" int, "m" int, "c" int, "o'neil\" text,
  PRIMARY KEY ("order", "from"));
GRANT USAGE ON SCHEMA "Über.wach""ung" TO app;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA "Über.wach""ung" TO app;
INSERT INTO "group" VALUES (1, 'Crème "brûlée" \ 株式会社');
INSERT INTO "table" VALUES (E'a"b\\c\n''\t', 1, '1容器', 'x'), ('', 1, '2', 'y'), (repeat('ü', 300), 1, repeat('3é', 500), 'z'), (' lead ', 1, '4 ', 'w'), ('NULL', 1, '5NULL', 'n');
--@ attach
SELECT alerting.attach('"Über.wach""ung"."group"', '"Über.wach""ung"."table"', name => '"Имя"');
SELECT alerting.attach_metrics('"Über.wach""ung"."select"', at => '"from"', cpu => '"CPU %"', memory_used => '"память"::numeric', memory_limit => 'm."предел"::numeric', running => '"limit"',
  restarts => 'm."100" + m."$1" + m.m + coalesce(m.c, 0) + length(m."o''neil\")', max_age => NULL);
SELECT alerting.create_rule(1, r.name, r.condition, r.threshold, r.duration) FROM (VALUES
  ('cpu', 'CPU_USAGE', 80, 1), ('down', 'CONTAINER_DOWN', NULL, 0), ('loop', 'RESTART_LOOP', 2, 10), ('memory', 'MEMORY_USAGE', 80, 0)) AS r(name, condition, threshold, duration);
--@ mapping
"Über.wach""ung"."select" container: "order"
"Über.wach""ung"."select" at: "from"
"Über.wach""ung"."select" cpu: "CPU %"
"Über.wach""ung"."select" memory_used: (m."память")::numeric
"Über.wach""ung"."select" memory_limit: (m."предел")::numeric
"Über.wach""ung"."select" running: "limit"
"Über.wach""ung"."select" restarts: ((((m."100" + m."$1") + m.m) + COALESCE(m.c, 0)) + length(m."o'neil\"))
--@ app
INSERT INTO "Über.wach""ung"."select" SELECT t."order", timestamptz '2026-03-02 10:00Z' + i * interval '1 min', 90 - i, 9, 10 + i * (ascii(t.label) - 120), t.label <> 'y' OR i > 0,
  0, CASE t.label WHEN 'z' THEN i * 3 ELSE 0 END, 0, NULL, '' FROM "Über.wach""ung"."table" t, generate_series(0, 1) i WHERE i = 0 OR t.label <> 'n' ORDER BY i;
--@ alerts
cpu 1容器 FIRING 10:00:00 10:01:00
cpu 2 FIRING 10:00:00 10:01:00
cpu 3é3é3é3é FIRING 10:00:00 10:01:00
cpu 4  FIRING 10:00:00 10:01:00
down 2 RESOLVED 10:00:00 10:00:00 10:01:00 RECOVERED
loop 3é3é3é3é FIRING 10:01:00 10:01:00
memory 1容器 FIRING 10:00:00 10:00:00
memory 2 FIRING 10:00:00 10:00:00
memory 3é3é3é3é RESOLVED 10:00:00 10:00:00 10:01:00 RECOVERED
memory 4  FIRING 10:00:00 10:00:00
memory 5NULL FIRING 10:00:00 10:00:00

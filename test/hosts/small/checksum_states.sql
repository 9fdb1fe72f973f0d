-- Keys are checksums (a domain over bytea), there is not one foreign key, the time is a domain over bigint that counts
-- milliseconds, one row for each node is upserted, flags are an enum of n and y; and LIKE is overloaded for all types.
--@ schema
CREATE DOMAIN checksum AS bytea CHECK (octet_length(VALUE) = 4);
CREATE DOMAIN moment AS bigint CHECK (VALUE >= 0);
CREATE DOMAIN small AS smallint CHECK (VALUE BETWEEN 0 AND 99);
CREATE TYPE flag AS ENUM ('n', 'y');
CREATE FUNCTION like_text(anynonarray, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1::text LIKE $2; END';
CREATE OPERATOR ~~ (LEFTARG = anynonarray, RIGHTARG = text, PROCEDURE = like_text);
CREATE TABLE realm (id checksum NOT NULL, name varchar(255) NOT NULL, CONSTRAINT pk_realm PRIMARY KEY (id));
CREATE TABLE node (id checksum NOT NULL, realm_id checksum NOT NULL, name varchar(255) NOT NULL, CONSTRAINT pk_node PRIMARY KEY (id));
CREATE TABLE node_condition (id checksum NOT NULL, node_id checksum NOT NULL, realm_id checksum NOT NULL, verdict small NOT NULL, reachable flag NOT NULL DEFAULT 'y',
  load_percent small, last_update moment NOT NULL, next_update moment NOT NULL, CONSTRAINT pk_node_condition PRIMARY KEY (id));
CREATE UNIQUE INDEX ON node_condition (node_id);
GRANT SELECT, INSERT, UPDATE ON node_condition TO app;
INSERT INTO realm VALUES ('\x0a0a0a0a', 'production');
INSERT INTO node VALUES ('\x00000001', '\x0a0a0a0a', 'atlas'), ('\x00000002', '\x0a0a0a0a', 'boreas');
--@ attach
SELECT alerting.attach('realm', 'node');
SELECT alerting.attach_metrics('node_condition', at => 'last_update', at_unit => 'ms', cpu => 'load_percent', running => $$verdict = 0 AND reachable = 'y'$$, max_age => NULL);
SELECT alerting.create_rule('\x0a0a0a0a', 'cpu', 'CPU_USAGE', 80, 1), alerting.create_rule('\x0a0a0a0a', 'down', 'CONTAINER_DOWN', duration => 1);
--@ mapping
node_condition container: node_id
node_condition at: last_update
node_condition at_unit: ms
node_condition cpu: load_percent
node_condition running: (((m.verdict)::smallint = 0) AND (m.reachable = 'y'::public.flag))
--@ app
INSERT INTO node_condition SELECT n, n, '\x0a0a0a0a', 0, 'y', 5, 1772445600000, 1772445660000 FROM unnest('{"\\x00000001", "\\x00000002"}'::bytea[]) n;
--@ app
INSERT INTO node_condition VALUES ('\x00000001', '\x00000001', '\x0a0a0a0a', 0, 'y', 95, 1772445660000, 0), ('\x00000002', '\x00000002', '\x0a0a0a0a', 1, 'y', 5, 1772445660000, 0)
  ON CONFLICT ON CONSTRAINT pk_node_condition DO UPDATE SET verdict = EXCLUDED.verdict, reachable = EXCLUDED.reachable, load_percent = EXCLUDED.load_percent, last_update = EXCLUDED.last_update;
--@ app
INSERT INTO node_condition VALUES ('\x00000001', '\x00000001', '\x0a0a0a0a', 0, 'y', 95, 1772445720000, 0), ('\x00000002', '\x00000002', '\x0a0a0a0a', 0, 'n', 5, 1772445720000, 0)
  ON CONFLICT ON CONSTRAINT pk_node_condition DO UPDATE SET verdict = EXCLUDED.verdict, reachable = EXCLUDED.reachable, load_percent = EXCLUDED.load_percent, last_update = EXCLUDED.last_update;
--@ app
INSERT INTO node_condition VALUES ('\x00000001', '\x00000001', '\x0a0a0a0a', 0, 'y', 12, 1772445780500, 0), ('\x00000002', '\x00000002', '\x0a0a0a0a', 0, 'n', 5, 1772445780500, 0)
  ON CONFLICT ON CONSTRAINT pk_node_condition DO UPDATE SET verdict = EXCLUDED.verdict, reachable = EXCLUDED.reachable, load_percent = EXCLUDED.load_percent, last_update = EXCLUDED.last_update;
--@ alerts
cpu atlas RESOLVED 10:01:00 10:02:00 10:03:00 RECOVERED
down boreas FIRING 10:01:00 10:02:00

-- A monitoring server's own tables: all readings of a kind in one table, by item, whose host and meaning stand in another one;
-- seconds and nanoseconds in two columns; hosts in several groups. Many rows an INSERT.
--@ schema
CREATE TABLE hstgrp (groupid bigint PRIMARY KEY, name varchar(255) NOT NULL DEFAULT '');
CREATE TABLE hosts (hostid bigint PRIMARY KEY, host varchar(128) NOT NULL DEFAULT '', name varchar(128) NOT NULL DEFAULT '', status integer NOT NULL DEFAULT 0);
CREATE TABLE hosts_groups (hostgroupid bigint PRIMARY KEY, hostid bigint NOT NULL REFERENCES hosts ON DELETE CASCADE, groupid bigint NOT NULL REFERENCES hstgrp ON DELETE CASCADE, UNIQUE (hostid, groupid));
CREATE TABLE items (itemid bigint PRIMARY KEY, hostid bigint NOT NULL REFERENCES hosts ON DELETE CASCADE, key_ varchar(2048) NOT NULL DEFAULT '');
CREATE TABLE history (itemid bigint NOT NULL, clock integer NOT NULL DEFAULT 0, value double precision NOT NULL DEFAULT 0, ns integer NOT NULL DEFAULT 0, PRIMARY KEY (itemid, clock, ns));
CREATE TABLE history_uint (itemid bigint NOT NULL, clock integer NOT NULL DEFAULT 0, value numeric(20) NOT NULL DEFAULT 0, ns integer NOT NULL DEFAULT 0, PRIMARY KEY (itemid, clock, ns));
CREATE INDEX ON history ((clock + ns / 1e9));
CREATE INDEX ON history_uint (clock);
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO app;
INSERT INTO hstgrp VALUES (2, 'Linux servers'), (4, 'Docker hosts');
INSERT INTO hosts VALUES (10084, 'web', 'Web', 0), (10085, 'db', 'Database', 0), (10086, 'off', 'Switched off', 1);
INSERT INTO hosts_groups VALUES (1, 10084, 4), (2, 10084, 2), (3, 10085, 2), (4, 10086, 2);
INSERT INTO items VALUES (1, 10084, 'system.cpu.util'), (2, 10084, 'vm.memory.utilization'), (3, 10084, 'agent.ping'), (4, 10084, 'net.if.in'),
  (5, 10085, 'system.cpu.util'), (6, 10085, 'docker.restarts'), (7, 10086, 'system.cpu.util');
--@ attach
SELECT alerting.attach('hstgrp', 'hosts', organization => '(SELECT h.groupid FROM hosts_groups h WHERE h.hostid = c.hostid AND c.status = 0 ORDER BY 1 LIMIT 1)');
SELECT alerting.attach_metrics('history', container => '(SELECT i.hostid FROM items i WHERE i.itemid = m.itemid)', at => 'clock + ns / 1e9', at_unit => 's',
  cpu => $$CASE (SELECT i.key_ FROM items i WHERE i.itemid = m.itemid) WHEN 'system.cpu.util' THEN value END$$,
  memory => $$CASE (SELECT i.key_ FROM items i WHERE i.itemid = m.itemid) WHEN 'vm.memory.utilization' THEN value END$$, max_age => NULL);
SELECT alerting.attach_metrics('history_uint', container => '(SELECT i.hostid FROM items i WHERE i.itemid = m.itemid)', at => 'clock', at_unit => 's',
  running => $$CASE (SELECT i.key_ FROM items i WHERE i.itemid = m.itemid) WHEN 'agent.ping' THEN value = 1 END$$,
  restarts => $$CASE (SELECT i.key_ FROM items i WHERE i.itemid = m.itemid) WHEN 'docker.restarts' THEN value END$$, max_age => NULL);
SELECT alerting.create_rule(2, r.name, r.condition, r.threshold, r.duration) FROM (VALUES
  ('cpu', 'CPU_USAGE', 90, 1), ('down', 'CONTAINER_DOWN', NULL, 1), ('loop', 'RESTART_LOOP', 2, 10), ('memory', 'MEMORY_USAGE', 80, 0)) AS r(name, condition, threshold, duration);
--@ mapping
history container: (SELECT i.hostid FROM public.items i WHERE (i.itemid = m.itemid))
history at: ((m.clock)::numeric + ((m.ns)::numeric / '1000000000'::numeric))
history at_unit: s
history cpu: CASE (SELECT i.key_ FROM public.items i WHERE (i.itemid = m.itemid)) WHEN 'system.cpu.util'::text THEN m.value ELSE NULL::double precision END
history memory: CASE (SELECT i.key_ FROM public.items i WHERE (i.itemid = m.itemid)) WHEN 'vm.memory.utilization'::text THEN m.value ELSE NULL::double precision END
history_uint container: (SELECT i.hostid FROM public.items i WHERE (i.itemid = m.itemid))
history_uint at: clock
history_uint at_unit: s
history_uint running: CASE (SELECT i.key_ FROM public.items i WHERE (i.itemid = m.itemid)) WHEN 'agent.ping'::text THEN (m.value = (1)::numeric) ELSE NULL::boolean END
history_uint restarts: CASE (SELECT i.key_ FROM public.items i WHERE (i.itemid = m.itemid)) WHEN 'docker.restarts'::text THEN m.value ELSE NULL::numeric END
--@ app
-- 1772445600 is 2026-03-02 10:00:00Z.
INSERT INTO history (itemid, clock, ns, value) VALUES (1, 1772445600, 500000000, 95), (2, 1772445600, 500000001, 80), (4, 1772445600, 0, 1e30), (5, 1772445600, 7, 95), (7, 1772445600, 0, 99), (99, 1772445600, 0, 99),
  (1, 1772445660, 499000000, 95), (2, 1772445660, 1, 81), (5, 1772445660, 8, 95);
INSERT INTO history_uint (itemid, clock, ns, value) VALUES (3, 1772445600, 1, 1), (4, 1772445600, 1, 18446744073709551615), (6, 1772445600, 1, 18446744073709551), (3, 1772445660, 1, 0), (6, 1772445660, 1, 2), (3, 1772445725, 1, 1);
--@ app
INSERT INTO history (itemid, clock, ns, value) VALUES (1, 1772445720, 500000000, 95), (2, 1772445720, 1, 5), (5, 1772445720, 1, 90), (1, 1772445780, 0, 2) ON CONFLICT DO NOTHING;
INSERT INTO history_uint (itemid, clock, ns, value) SELECT 6, 1772445660 + n, 0, 2 + n FROM generate_series(1, 1) n;
--@ alerts
cpu Database RESOLVED 10:00:00 10:01:00 10:02:00 RECOVERED
cpu Web RESOLVED 10:00:00 10:02:00 10:03:00 RECOVERED
down Web RESOLVED 10:01:00 10:02:00 10:02:05 RECOVERED
loop Database FIRING 10:01:01 10:01:01
memory Web RESOLVED 10:01:00 10:01:00 10:02:00 RECOVERED

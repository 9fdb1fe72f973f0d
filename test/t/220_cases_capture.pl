# Field cases 12 to 14: partitions, an application's role with no rights but INSERT, and every
# statement that writes rows.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('cases_capture', 'max_prepared_transactions = 5');
my $db;

sub begin_case { ($db) = @_; fixture($node, @_); return; }
sub run_sql { return $node->safe_psql($db, join '', @_); }

# Runs statements as a role; returns exit code and standard error.
sub as_role
{
	my ($role, @statements) = @_;
	my ($out, $err);
	my $code = $node->psql($db, join('', @statements), stdout => \$out, stderr => \$err,
		connstr => $node->connstr($db) . " user=$role", on_error_stop => 1);
	return ($code, $err, $out);
}

# 12. Metrics in a partitioned table
{
	begin_case('partitions', partition => q{PARTITION BY RANGE (at); CREATE TABLE metrics_02 PARTITION OF container_metrics
		FOR VALUES FROM ('2026-03-02Z') TO ('2026-03-03Z')});
	rule($node, $db, 1, 'CPU_USAGE', 80, 2);
	my $row = sub { my ($table, $container, $at, $cpu) = @_; return "INSERT INTO $table (container_id, at, cpu_percent) VALUES ($container, '2026-03-$at', $cpu);\n"; };
	run_sql(map { $row->('container_metrics', 10, "02 23:5${_}Z", 95) } 7 .. 9);
	is(alerts($node, $db, format => 'DD HH24:MI'), 'CPU_USAGE 10 FIRING 02 23:57 02 23:59', '12: through the parent');
	# Tomorrow's partition, one that existed before, one below another, and one with rows of its own to come.
	run_sql(q{CREATE TABLE metrics_03 PARTITION OF container_metrics FOR VALUES FROM ('2026-03-03Z') TO ('2026-03-04Z');
		CREATE TABLE metrics_04 (LIKE container_metrics INCLUDING ALL);
		ALTER TABLE container_metrics ATTACH PARTITION metrics_04 FOR VALUES FROM ('2026-03-04Z') TO ('2026-03-05Z');
		CREATE TABLE metrics_05 PARTITION OF container_metrics FOR VALUES FROM ('2026-03-05Z') TO ('2026-03-06Z') PARTITION BY HASH (container_id);
		CREATE TABLE metrics_05a PARTITION OF metrics_05 FOR VALUES WITH (MODULUS 1, REMAINDER 0);});
	run_sql($row->('container_metrics', 10, '03 00:00Z', 5), (map { $row->('metrics_03', 10, "03 00:0${_}Z", 95) } 1 .. 3),
		$row->('metrics_03', 10, '03 00:04Z', 5));
	is(alerts($node, $db, format => 'DD HH24:MI'), "CPU_USAGE 10 RESOLVED 02 23:57 02 23:59 03 00:00\nCPU_USAGE 10 RESOLVED 03 00:01 03 00:03 03 00:04",
		'12: straight into a new partition');
	run_sql(map { $row->($_->[0], 10, "$_->[1]Z", 95) } [ 'metrics_04', '04 00:00' ], [ 'container_metrics', '04 00:01' ], [ 'metrics_04', '04 00:02' ],
		[ 'metrics_05', '05 00:00' ], [ 'metrics_05a', '05 00:01' ], [ 'container_metrics', '05 00:02' ]);
	like(alerts($node, $db, format => 'DD HH24:MI'), qr/^CPU_USAGE 10 FIRING 04 00:00 04 00:02$/m, '12: into an attached one');
	# An update that moves a row to another partition brings a row there.
	run_sql(q{INSERT INTO container_metrics (container_id, at, cpu_percent) VALUES (11, '2026-03-02 12:00Z', 95);
		UPDATE container_metrics SET at = '2026-03-03 12:00Z' WHERE container_id = 11;}, $row->('container_metrics', 11, '03 12:02Z', 95));
	like(alerts($node, $db, format => 'DD HH24:MI'), qr/^CPU_USAGE 11 FIRING 03 12:00 03 12:02$/m, '12: by an update across partitions');
	# A partition that is detached is no source any more, and may be dropped.
	run_sql('ALTER TABLE container_metrics DETACH PARTITION metrics_05;', $row->('metrics_05', 10, '05 00:10Z', 5),
		'ALTER TABLE container_metrics DETACH PARTITION metrics_02; DROP TABLE metrics_05; DROP TABLE metrics_02;');
	like(alerts($node, $db, format => 'DD HH24:MI'), qr/^CPU_USAGE 10 FIRING 04 00:00 04 00:02$/m, '12: a detached one is no source');
	run_sql($row->('container_metrics', 10, '04 12:00Z', 5));
	like(alerts($node, $db, format => 'DD HH24:MI'), qr/^CPU_USAGE 10 RESOLVED 04 00:00 04 00:02 04 12:00$|^CPU_USAGE 10 FIRING 04 00:00 04 00:02$/m, '12: the others go on');
	run_sql($row->('container_metrics', 20, '04 12:00Z', 5), q{CREATE INDEX ON container_metrics (container_id, at); VACUUM container_metrics;
		ALTER TABLE container_metrics ADD COLUMN first text DEFAULT 'x', ADD COLUMN second int; ALTER TABLE container_metrics DROP COLUMN first;},
		(map { $row->('container_metrics', 11, "04 12:0${_}Z", $_) } 0 .. 2), (map { $row->('container_metrics', 11, "04 13:0${_}Z", 90) } 0 .. 2));
	like(alerts($node, $db, format => 'DD HH24:MI'), qr/^CPU_USAGE 11 RESOLVED 03 12:00 03 12:02 04 12:00\nCPU_USAGE 11 FIRING 04 13:00 04 13:02$/m,
		'12: columns of the table may come and go');
	# A mapped column that goes: rows are written all the same, with a warning, until the table is attached again.
	run_sql('ALTER TABLE container_metrics DROP COLUMN restart_count;');
	my ($out, $err);
	is($node->psql($db, $row->('metrics_04', 11, '04 14:00Z', 5), stdout => \$out, stderr => \$err), 0, '12: a stale mapping fails no INSERT');
	like($err, qr/WARNING:  alerting: the mapping of table "\w+" no longer fits it; its rows are not evaluated/, '12: it warns');
	run_sql(q{SELECT alerting.attach_metrics('container_metrics', restarts => '', max_age => NULL);}, $row->('metrics_04', 11, '04 14:01Z', 5));
	like(alerts($node, $db, format => 'DD HH24:MI'), qr/^CPU_USAGE 11 RESOLVED 04 13:00 04 13:02 04 14:0[01]$/m, '12: attached again it counts');
}

# 13. The application's role may insert metrics and nothing else
{
	begin_case('roles');
	rule($node, $db, 1, 'CPU_USAGE', 80, 0);
	webhook($node, $db, 1);
	run_sql(q{CREATE ROLE agent LOGIN; GRANT INSERT ON container_metrics TO agent; GRANT CREATE ON SCHEMA public TO agent;
		CREATE ROLE fleet LOGIN; GRANT INSERT, UPDATE, DELETE, SELECT ON containers TO fleet;});
	my ($code, $err) = as_role('agent', sample(10, '10:00', cpu => 95));
	is($code, 0, '13: the INSERT succeeds') or diag($err);
	is($err, '', '13: without a word');
	is(alerts($node, $db), 'CPU_USAGE 10 FIRING 10:00:00 10:00:00', '13: the alert appears');
	for my $statement ('SELECT secret FROM alerting.webhook', 'SELECT * FROM alerting.alert', 'DELETE FROM alerting.alert', 'TABLE alerting.delivery',
		q{INSERT INTO alerting.alert_rule (organization_id, name, condition, threshold) VALUES (1, 'x', 'CPU_USAGE', 1)},
		'SELECT alerting.stop()', 'SELECT alerting.status()', q{SELECT alerting.attach('organizations', 'containers')}, 'SELECT * FROM container_metrics',
		q{SELECT alerting.create_webhook(1, 'https://example.com/')}, 'CREATE TABLE alerting.mine ()',
		'CREATE TEMP TABLE t (id int); CREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION alerting.alert_deleted()')
	{
		my ($failed, $message) = as_role('agent', $statement);
		isnt($failed, 0, "13: agent may not $statement");
		like($message, qr/permission denied/, '13: for lack of rights');
	}

	# The mapping has an expression, a look-up in a table and an operator; agent makes objects of
	# the same names where they would be found first, and runs with a search_path of his own.
	run_sql(q{CREATE TABLE factor (f float8); INSERT INTO factor VALUES (100);
		SELECT alerting.attach_metrics('container_metrics', cpu => 'cpu_percent * (SELECT f FROM factor) / 100 + abs(0)', max_age => NULL)});
	run_sql('CREATE SCHEMA AUTHORIZATION agent;');
	($code, $err) = as_role('agent', q{
		CREATE TABLE factor (f float8);
		CREATE TABLE alert_rule (id text); CREATE TABLE containers (id int);
		CREATE FUNCTION trap(float8, float8) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped as %', current_user; END $$;
		CREATE OPERATOR * (LEFTARG = float8, RIGHTARG = float8, FUNCTION = trap);
		CREATE OPERATOR = (LEFTARG = float8, RIGHTARG = float8, FUNCTION = trap);
		CREATE FUNCTION abs(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped as %', current_user; END $$;
		CREATE FUNCTION count(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped as %', current_user; END $$;
		SET search_path = agent, public, pg_catalog;
		CREATE TEMP TABLE factor (f float8);
		CREATE TEMP TABLE alerting_new (f float8);} . sample(11, '10:00', cpu => 95));
	is($code, 0, '13: with traps laid the INSERT succeeds') or diag($err);
	is($err, '', '13: and falls into none');
	like(alerts($node, $db), qr/^CPU_USAGE 11 FIRING 10:00:00 10:00:00$/m, '13: and the alert appears');

	# Traps in the evaluator's way: defaults of the database and of roles.
	run_sql("ALTER DATABASE $db SET search_path = agent, public, pg_catalog; ALTER ROLE postgres IN DATABASE $db SET search_path = agent, public, pg_catalog;",
		'SELECT alerting.stop(); SELECT alerting.start();');
	as_role('agent', sample(10, '10:01', cpu => 5), sample(11, '10:01', cpu => 5));
	run_sql("ALTER DATABASE $db RESET search_path; ALTER ROLE postgres IN DATABASE $db RESET search_path;");
	is(alerts($node, $db) =~ s/ 10:01:00$//gmr, "CPU_USAGE 10 RESOLVED 10:00:00 10:00:00\nCPU_USAGE 11 RESOLVED 10:00:00 10:00:00", '13: the workers fall into none either');

	# A role that manages containers deletes one whose alert fires: it needs no right on alerts.
	as_role('agent', sample(10, '10:02', cpu => 95));
	flush_ok($node, $db);
	($code, $err) = as_role('fleet', 'DELETE FROM containers WHERE id = 10');
	is($code, 0, '13: a container may be deleted without rights on alerts') or diag($err);
	like(events($node, $db), qr/^resolved web\(10\) 10:02:00 \S+ CONTAINER_DELETED$/m, '13: and its incident ends');

	# The metrics table's owner need not be a superuser; an expression has his rights, not more.
	run_sql(q{CREATE ROLE owner LOGIN; GRANT ALL ON SCHEMA public TO owner; CREATE TABLE secret (s text); INSERT INTO secret VALUES ('95');
		SET ROLE owner; CREATE TABLE own_metrics (container_id int, at timestamptz, cpu float8); RESET ROLE; GRANT INSERT ON own_metrics TO agent;
		GRANT USAGE ON SCHEMA alerting TO owner; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA alerting TO owner; GRANT ALL ON ALL TABLES IN SCHEMA alerting TO owner;});
	run_sql(q{SELECT alerting.attach_metrics('own_metrics', cpu => 'cpu + (SELECT count(s) FROM secret)', max_age => NULL)});
	flush_ok($node, $db);
	($code, $err) = as_role('agent', q{INSERT INTO own_metrics VALUES (11, '2026-03-02 11:00Z', 95)});
	is($code, 0, '13: a mapping that its table\'s owner may not read fails no INSERT');
	like($err, qr/WARNING/, '13: it warns');
	unlike(alerts($node, $db), qr/11:00:00/, '13: and reads nothing');
}

# 14. COPY, ON CONFLICT, MERGE
{
	begin_case('statements', metrics => 'container_id int REFERENCES containers ON DELETE CASCADE, at timestamptz, cpu_percent float8, note text, UNIQUE (container_id, at)');
	rule($node, $db, 1, 'CPU_USAGE', 80, 2);
	my $at = sub { return "'2026-03-02 $_[0]Z'"; };
	my $update = 'ON CONFLICT (container_id, at) DO UPDATE SET cpu_percent = excluded.cpu_percent;';
	run_sql("COPY container_metrics (container_id, at, cpu_percent) FROM stdin;\n10\t2026-03-02 10:00Z\t95\n10\t2026-03-02 10:01Z\t95\n\\.\n",
		"INSERT INTO container_metrics VALUES (10, @{[ $at->('10:02') ]}, 95) $update");
	is(alerts($node, $db), 'CPU_USAGE 10 FIRING 10:00:00 10:02:00', '14: fires by COPY and upsert');
	run_sql("INSERT INTO container_metrics VALUES (10, @{[ $at->('10:02') ]}, 5) $update");
	is(alerts($node, $db), 'CPU_USAGE 10 RESOLVED 10:00:00 10:02:00 10:02:00', '14: resolves by the corrected sample');
	my $merge = sub { return qq{MERGE INTO container_metrics m USING (VALUES (10, $_[0]::timestamptz, $_[1]::float8)) v(c, a, p) ON m.container_id = v.c AND m.at = v.a
		WHEN MATCHED THEN UPDATE SET cpu_percent = v.p WHEN NOT MATCHED THEN INSERT VALUES (v.c, v.a, v.p);}; };
	run_sql($merge->($at->('10:03'), 95), $merge->($at->('10:04'), 95), $merge->($at->('10:05'), 95));
	like(alerts($node, $db), qr/^CPU_USAGE 10 FIRING 10:03:00 10:05:00$/m, '14: fires by MERGE that inserts');
	run_sql($merge->($at->('10:05'), 5));
	like(alerts($node, $db), qr/^CPU_USAGE 10 RESOLVED 10:03:00 10:05:00 10:05:00$/m, '14: resolves by MERGE that updates');
	# What is not written counts for nothing.
	run_sql("INSERT INTO container_metrics VALUES (10, @{[ $at->('10:05') ]}, 99) ON CONFLICT DO NOTHING;");
	is(run_sql(q{SELECT count(*) FROM alerting.alert WHERE status = 'FIRING'}), 0, '14: a conflict that does nothing does nothing');
	run_sql("UPDATE container_metrics SET note = 'seen';", "UPDATE container_metrics SET cpu_percent = 99 WHERE at < @{[ $at->('10:01') ]};");
	is(alerts($node, $db) =~ tr/\n//, 1, '14: nor do an update of other columns or of old rows');

	# Plain UPDATE of the newest row, insert by trigger, CTE, rule, prepared transaction, cursor, partition of statements in one transaction.
	run_sql('BEGIN;', (map { "INSERT INTO container_metrics VALUES (11, @{[ $at->(qq{11:0$_}) ]}, 5);" } 0 .. 2), 'UPDATE container_metrics SET cpu_percent = 95 WHERE container_id = 11;', 'COMMIT;');
	like(alerts($node, $db), qr/^CPU_USAGE 11 FIRING 11:00:00 11:02:00$/m, '14: the last form of rows of one transaction counts');
	run_sql(q{CREATE TABLE raw (c int, a timestamptz, p float8);
		CREATE FUNCTION forward() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO container_metrics VALUES (NEW.c, NEW.a, NEW.p); RETURN NULL; END $$;
		CREATE TRIGGER forward BEFORE INSERT ON raw FOR EACH ROW EXECUTE FUNCTION forward();}, "INSERT INTO raw VALUES (11, @{[ $at->('11:03') ]}, 5);");
	like(alerts($node, $db), qr/^CPU_USAGE 11 RESOLVED 11:00:00 11:02:00 11:03:00$/m, '14: by a trigger of another table');
	run_sql("WITH a AS (INSERT INTO container_metrics VALUES (11, @{[ $at->('11:10') ]}, 95) RETURNING *), b AS (INSERT INTO container_metrics SELECT 11, @{[ $at->('11:12') ]}, 95) SELECT * FROM a;");
	like(alerts($node, $db), qr/^CPU_USAGE 11 FIRING 11:10:00 11:12:00$/m, '14: by data-modifying WITH');
	run_sql("BEGIN; INSERT INTO container_metrics VALUES (11, @{[ $at->('11:13') ]}, 5); PREPARE TRANSACTION 'p';");
	like(alerts($node, $db), qr/^CPU_USAGE 11 FIRING 11:10:00 11:12:00$/m, '14: not before a prepared transaction is committed');
	run_sql(q{COMMIT PREPARED 'p';});
	like(alerts($node, $db), qr/^CPU_USAGE 11 RESOLVED 11:10:00 11:12:00 11:13:00$/m, '14: and when it is');

	# Rolled back, whole or in part, by hand, by an error or in a PL/pgSQL block.
	my $count = run_sql('SELECT samples FROM alerting.status()');
	run_sql('BEGIN;', "INSERT INTO container_metrics VALUES (11, @{[ $at->('12:00') ]}, 95);", 'ROLLBACK;',
		'BEGIN;', "INSERT INTO container_metrics VALUES (11, @{[ $at->('12:01') ]}, 5);", 'SAVEPOINT a;',
		"INSERT INTO container_metrics VALUES (11, @{[ $at->('12:02') ]}, 95);", 'SAVEPOINT b;', "INSERT INTO container_metrics VALUES (11, @{[ $at->('12:03') ]}, 95);", 'RELEASE b;',
		'ROLLBACK TO a;', "INSERT INTO container_metrics VALUES (11, @{[ $at->('12:04') ]}, 5);", 'COMMIT;',
		qq{DO \$\$ BEGIN BEGIN INSERT INTO container_metrics VALUES (11, @{[ $at->('12:05') ]}, 95); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END;
			INSERT INTO container_metrics VALUES (11, @{[ $at->('12:06') ]}, 95); END \$\$;});
	flush_ok($node, $db);
	is(run_sql("SELECT samples - $count FROM alerting.status()"), 3, '14: of what is rolled back nothing is seen');
	run_sql("INSERT INTO container_metrics VALUES (11, @{[ $at->('12:08') ]}, 95);");
	like(alerts($node, $db), qr/^CPU_USAGE 11 FIRING 12:06:00 12:08:00$/m, '14: and what is committed is');

	# Rows that are no sample: no container, unknown container, no time, infinite time. All are written.
	$count = run_sql('SELECT skipped, unknown FROM alerting.status()');
	my ($code, $out, $err) = $node->psql($db, q{ALTER TABLE container_metrics DROP CONSTRAINT container_metrics_container_id_fkey;
		INSERT INTO container_metrics VALUES (NULL, '2026-03-02Z', 95), (10, NULL, 95), (10, 'infinity', 95), (10, '-infinity', 95), (99, '2026-03-02Z', 95), (2147483647, '294276-12-31', 95), (10, '4713-01-01 BC', 1);});
	is($code, 0, '14: no row fails its INSERT');
	flush_ok($node, $db);
	is(run_sql('SELECT skipped, unknown FROM alerting.status()'), '4|2', "14: they are counted, after $count");
}

clean_log_ok($node, qr/permission denied|must be owner/);
$node->stop;
done_testing();

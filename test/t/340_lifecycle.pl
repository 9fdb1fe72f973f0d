# CREATE and DROP EXTENSION again and again under load, ordinary settings of the database, and the
# server's own shutdown.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

# A session of its own that is not bound by the settings of the database.
sub in_settings
{
	my ($node, $sql) = @_;
	local $ENV{PGOPTIONS} = '-c statement_timeout=0 -c lock_timeout=0 -c idle_session_timeout=0'
	  . ' -c default_transaction_read_only=off -c idle_in_transaction_session_timeout=0 -c role=none -c temp_file_limit=-1'
	  . ' -c search_path=public -c session_replication_role=origin -c DateStyle=ISO';
	return sql($node, 'postgres', $sql);
}

for my $preload (0, 1)
{
	my $how = $preload ? 'preloaded' : 'not preloaded';
	my $node = new_server("lifecycle$preload", preload => $preload);
	make_host($node, 'postgres');
	sql($node, 'postgres', "SELECT rule('cpu', 1, 'CPU_USAGE', 80); SELECT s(10, 1, 95)");
	flush($node, 'postgres');
	wait_for_workers($node, 'postgres');

	# DROP EXTENSION keeps rules and history, and stops the workers.
	my ($result, undef, $error) = $node->psql('postgres', 'DROP EXTENSION alerting');
	isnt($result, 0, "$how: DROP EXTENSION without CASCADE is refused");
	like($error, qr/other objects depend on it/, "$how: because of the triggers");
	sql($node, 'postgres', 'DROP EXTENSION alerting CASCADE');
	ok(wait_until(sub { worker_pid($node, 'evaluator', 'postgres') eq '' && worker_pid($node, 'sender', 'postgres') eq '' }),
		"$how: DROP EXTENSION stops the workers");
	sql($node, 'postgres', 'SELECT s(10, 2, 5), s(10, 3, 95), s(11, 3, 95)');
	is(alerts($node, 'postgres'), 'cpu 10 FIRING 1>1', "$how: rules and history are kept");

	# CREATE EXTENSION adopts them; what came meanwhile is judged.
	sql($node, 'postgres', 'CREATE EXTENSION alerting');
	flush($node, 'postgres', name => "$how: evaluated again");
	is(alerts($node, 'postgres'), "cpu 10 RESOLVED 1>1>2 RECOVERED\ncpu 10 FIRING 3>3\ncpu 11 FIRING 3>3",
		"$how: CREATE EXTENSION goes on where it was left");
	is(sql($node, 'postgres', "SELECT count(*) FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'e'"
		  . " WHERE c.relnamespace = 'alerting'::regnamespace"), 0, "$how: no table is a member of the extension");

	# Rules that are made in a transaction each are loaded together, by whoever comes to it. (A load reads
	# the table from end to end; what the evaluator counted before may be told only now.)
	my $loads = "SELECT pg_stat_force_next_flush(); SELECT seq_scan FROM pg_stat_all_tables WHERE relid = 'alerting.alert_rule'::regclass";
	my $before = sql($node, 'postgres', $loads) =~ s/^\s+//r;
	my $still = worker_pid($node, 'evaluator', 'postgres');
	kill 'STOP', $still;
	sql($node, 'postgres', join "\n", map { "SELECT rule('quiet$_', 2, 'CPU_USAGE', 99);" } 1 .. 200);
	kill 'CONT', $still;
	flush($node, 'postgres');
	sql($node, 'postgres', 'SELECT alerting.stop()');    # with its counts
	ok(wait_until(sub { worker_pid($node, 'evaluator', 'postgres') eq '' }), "$how: the evaluator has stopped");
	my $times = (sql($node, 'postgres', $loads) =~ s/^\s+//r) - $before;
	ok($times >= 1 && $times < 20, "$how: two hundred rules are loaded together") or diag("loaded $times times");
	sql($node, 'postgres', "SELECT alerting.start(); DELETE FROM alerting.alert_rule WHERE id LIKE 'quiet%'");

	# In a loop, while a client inserts. Each insert succeeds.
	my $script = "$PostgreSQL::Test::Utils::tmp_check/lifecycle.sql";
	unlink $script;
	append_to_file($script, "INSERT INTO container_metrics SELECT 12, clock_timestamp(), 5, 5, true, 0;\n");
	my ($out, $err) = ('', '');
	my $load = IPC::Run::start(
		[ 'pgbench', '-n', '-c', '2', '-T', '3600', '-f', $script, $node->connstr('postgres') ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(10 * $PostgreSQL::Test::Utils::timeout_default));
	for my $round (1 .. 8)
	{
		sql($node, 'postgres', 'DROP EXTENSION alerting CASCADE');
		sql($node, 'postgres', 'CREATE EXTENSION alerting');
		sql($node, 'postgres', "SELECT s(12, 20 + $round, 5)") if $round % 2;
	}
	flush($node, 'postgres', name => "$how: evaluated after eight rounds");
	is(alerts($node, 'postgres', "status = 'FIRING'"), "cpu 10 FIRING 3>3\ncpu 11 FIRING 3>3", "$how: nothing lost, nothing doubled");
	sql($node, 'postgres', "BEGIN; DROP EXTENSION alerting CASCADE; ROLLBACK");
	sql($node, 'postgres', 'SELECT s(11, 4, 5)');
	flush($node, 'postgres', name => "$how: evaluated after a DROP that was rolled back");
	is(alerts($node, 'postgres', 'container_id = 11'), 'cpu 11 RESOLVED 3>3>4 RECOVERED', "$how: as before");
	ok($load->pumpable, "$how: the client still inserts");
	$load->signal('INT');
	eval { $load->finish };
	unlike($err . slurp_file($node->logfile), qr/aborted|deadlock/, "$how: none of its inserts failed");

	# stop() and start().
	sql($node, 'postgres', 'SELECT alerting.stop()');
	is(worker_pid($node, $_, 'postgres'), '', "$how: stop() stops the $_") for qw(evaluator sender);
	is(sql($node, 'postgres', 'SELECT state FROM alerting.status()'), 'stopped', "$how: status() says so");
	sql($node, 'postgres', 'SELECT s(11, 6, 95)');
	is(worker_pid($node, 'evaluator', 'postgres'), '', "$how: an insert does not start them");
	sql($node, 'postgres', 'SELECT alerting.start()');
	flush($node, 'postgres', name => "$how: start() starts them");
	is(alerts($node, 'postgres', "container_id = 11 AND status = 'FIRING'"), 'cpu 11 FIRING 6>6', "$how: what came meanwhile is judged");

	# It is start() that ends a stop(), or DROP EXTENSION; a new binding does not.
	sql($node, 'postgres', "SELECT alerting.stop(); SELECT alerting.attach('organizations', 'containers', name => 'id');"
		  . " SELECT alerting.attach('organizations', 'containers')");
	is(sql($node, 'postgres', 'SELECT state FROM alerting.status()'), 'stopped', "$how: a new binding does not end a stop()");
	sql($node, 'postgres', 'DROP EXTENSION alerting CASCADE; BEGIN; CREATE EXTENSION alerting; SELECT alerting.stop(); COMMIT');
	is(sql($node, 'postgres', 'SELECT state FROM alerting.status()'), 'stopped', "$how: nor does the CREATE EXTENSION of its own transaction");
	sql($node, 'postgres', 'DROP EXTENSION alerting CASCADE; CREATE EXTENSION alerting');
	flush($node, 'postgres', name => "$how: DROP EXTENSION does");

	# alerting.enabled, by SIGHUP. (Rows inserted meanwhile are read at the next start.)
	$node->append_conf('postgresql.conf', 'alerting.enabled = off');
	$node->reload;
	ok(wait_until(sub { worker_pid($node, 'evaluator', 'postgres') eq '' && worker_pid($node, 'sender', 'postgres') eq '' }),
		"$how: switched off, the workers leave");
	is(sql($node, 'postgres', 'SELECT state FROM alerting.status()'), 'disabled', "$how: status() says so");
	sql($node, 'postgres', 'SELECT s(11, 7, 5)');
	$node->append_conf('postgresql.conf', 'alerting.enabled = on');
	$node->reload;
	ok(wait_until(sub { worker_pid($node, 'evaluator', 'postgres') ne '' && worker_pid($node, 'sender', 'postgres') ne '' }),
		"$how: switched on, they come back by themselves");
	flush($node, 'postgres');
	is(alerts($node, 'postgres', 'container_id = 11 AND started_at = at(6)'), 'cpu 11 RESOLVED 6>6>7 RECOVERED', "$how: nothing was lost");
	# A reload reaches one process after another: a transaction that began before it ends after the evaluator's start.
	$node->append_conf('postgresql.conf', 'alerting.enabled = off');
	$node->reload;
	ok(wait_until(sub { worker_pid($node, 'evaluator', 'postgres') eq '' }), "$how: switched off again");
	$node->append_conf('postgresql.conf', 'alerting.enabled = on');
	sql($node, 'postgres', "BEGIN; SELECT s(11, 8, 95); SELECT pg_reload_conf(); SELECT alerting.flush('60s'); COMMIT");
	flush($node, 'postgres');
	is(alerts($node, 'postgres', 'container_id = 11 AND started_at > at(7)'), 'cpu 11 FIRING 8>8', "$how: nor what a transaction still held that did not know");
	sql($node, 'postgres', 'SELECT s(11, 9, 5)');
	flush($node, 'postgres');
	my $evaluator = worker_pid($node, 'evaluator', 'postgres');
	$node->reload;
	flush($node, 'postgres');
	is(worker_pid($node, 'evaluator', 'postgres'), $evaluator, "$how: a reload disturbs nobody");

	# What administrators set for a database or for all roles.
	sql($node, 'postgres', <<'SQL');
DO $$ DECLARE line text; BEGIN
  FOREACH line IN ARRAY ARRAY['statement_timeout = 1', 'lock_timeout = 1', 'idle_in_transaction_session_timeout = 1',
      'idle_session_timeout = 10', 'default_transaction_read_only = on', 'default_transaction_isolation = serializable',
      'default_transaction_deferrable = on', 'session_replication_role = replica', 'row_security = off',
      'search_path = nowhere', 'role = pg_monitor', 'bytea_output = escape', 'DateStyle = ''German, DMY''',
      'IntervalStyle = iso_8601', 'timezone = ''Pacific/Apia''', 'extra_float_digits = -15', 'array_nulls = off',
      'standard_conforming_strings = off', 'quote_all_identifiers = on', 'check_function_bodies = off',
      'synchronous_commit = off', 'enable_indexscan = off', 'plan_cache_mode = force_generic_plan',
      'transform_null_equals = on', 'xmloption = document', 'exit_on_error = on', 'temp_file_limit = 0', 'work_mem = ''64kB''',
      'enable_nestloop = off', 'enable_sort = off'] LOOP
    EXECUTE 'ALTER DATABASE postgres SET ' || line;
  END LOOP;
END $$;
SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE backend_type IN ('alerting evaluator', 'alerting sender');
SQL
	in_settings($node, 'SELECT s(12, 35, 95)');
	is(in_settings($node, "SELECT alerting.flush('60s')"), 't', "$how: evaluated under strange settings");
	is(in_settings($node, "SELECT status || ' ' || minute(fired_at) FROM alerting.alert WHERE container_id = 12"),
		'', "$how: an older sample than the load's is late");
	# More containers at once than work_mem has room for.
	in_settings($node, "INSERT INTO containers SELECT n, 2, 'c' || n FROM generate_series(1000, 6999) n;"
		  . " INSERT INTO container_metrics SELECT n, now() + interval '1 minute', 5, 5, true, 0 FROM generate_series(1000, 6999) n");
	in_settings($node, "INSERT INTO container_metrics VALUES (12, now() + interval '1 minute', 95, 5, true, 0)");
	is(in_settings($node, "SELECT alerting.flush('60s')"), 't', "$how: evaluated under strange settings");
	is(in_settings($node, "SELECT status FROM alerting.alert WHERE container_id = 12"), 'FIRING',
		"$how: alerts are written under strange settings");
	in_settings($node, 'ALTER DATABASE postgres RESET ALL');

	# Each shutdown ends quickly, with open sessions too where the mode allows.
	for my $mode (qw(smart fast immediate))
	{
		wait_for_workers($node, 'postgres');
		sql($node, 'postgres', "INSERT INTO container_metrics SELECT 12, now() + interval '2 minutes', 5, 5, true, 0 FROM generate_series(1, 1000)");
		$node->stop($mode);
		$node->start;
		sql($node, 'postgres', "SELECT s(10, 3, 95)");
		flush($node, 'postgres');
	}
	is(alerts($node, 'postgres', "container_id = 10 AND status = 'FIRING'"), 'cpu 10 FIRING 3>3', "$how: the alert still fires");
	$node->stop('fast');
	unlike(slurp_file($node->logfile), qr/PANIC|signal 11|signal 6|TRAP/, "$how: nothing crashed");
}

done_testing();

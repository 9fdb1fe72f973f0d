# ALTER EXTENSION UPDATE from 1.0, a dump of 1.0 that is restored where this version is installed, and
# DROP and CREATE EXTENSION: each gives what a new installation gives, keeps what users granted and
# built upon it, loses no sample and no delivery, and waits for whoever is at work.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest ();
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $receiver = AlertingTest::start_receiver('update');
my $node = new_server('update', conf => "alerting.allowed_networks = '127.0.0.0/8'\n");
my $version = sql($node, 'postgres', q{SELECT default_version FROM pg_available_extensions WHERE name = 'alerting'});
my $folder = PostgreSQL::Test::Utils::tempdir();

# A new installation with some of everything: alerts, a pending run, counted restarts, a delivery that
# waits for its webhook.
make_host($node, 'postgres');
sql($node, 'postgres', 'CREATE DATABASE new TEMPLATE postgres');
sql($node, 'postgres', <<"SQL");
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('pending', 1, 'CPU_USAGE', 80, 30), rule('loop', 1, 'RESTART_LOOP', 3, 60);
SELECT s(10, n, 95, 5, true, n::int / 6) FROM generate_series(0, 20) n;
SELECT s(11, 1, 95), s(11, 2, 5);
SQL
flush($node, 'postgres');
my $alerts = alerts($node, 'postgres');
is($alerts, "cpu 10 FIRING 0>0\ncpu 11 RESOLVED 1>1>2 RECOVERED", 'alerts to begin with');
sql($node, 'postgres', 'SELECT alerting.stop()');    # its state is saved

# A database of 1.0 with these rows, which that version's workers would have written.
my @tables = qw(alert_rule alert series_state);
sub make_old
{
	my ($database) = @_;
	sql($node, 'postgres', "CREATE DATABASE $database TEMPLATE template0");
	make_host($node, $database, version => '1.0');
	sql($node, $database, 'TRUNCATE clock, alerting.series_state');
	for my $table ('public.clock', 'public.container_metrics', map { "alerting.$_" } @tables)
	{
		my $columns = sql($node, $database, "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
			  . " WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped");
		sql($node, 'postgres', "COPY (SELECT $columns FROM $table) TO '$folder/rows'");
		sql($node, $database, "COPY $table ($columns) FROM '$folder/rows'");
	}
	sql($node, $database, <<"SQL");
INSERT INTO alerting.webhook (id, organization_id, url, secret) VALUES ('ok', 1, '@{[ $receiver->url("/ok/$database") ]}', 'a secret');
INSERT INTO alerting.delivery (id, webhook_id, alert_id, event, payload)
  SELECT 'waiting', 'ok', a.id, 'alert.firing', '{"data": {"alert": {"id": "waits"}}}' FROM alerting.alert a WHERE status = 'FIRING';
SQL
	is(sql($node, $database, q{SELECT extversion FROM pg_extension WHERE extname = 'alerting'}), '1.0', "$database has 1.0");
	return;
}

sub sent_to { my ($path) = @_; return join ' ', map { $_->{json}{type} // $_->{json}{data}{alert}{id} } grep { $_->{path} eq "/ok/$path" } $receiver->requests; }

# The library serves its own version only: with 1.0 the workers wait, and say so once.
make_old('old');
my $expected = catalog($node, 'new');
isnt(catalog($node, 'old'), $expected, 'the catalogs of 1.0 are others');
ok($node->poll_query_until('old', q{SELECT state = 'outdated' FROM alerting.status()}), 'before the update: status() says outdated');
like(sql($node, 'old', 'SELECT problem FROM alerting.status()'),
	qr/^extension "alerting" has version 1\.0, but the library version \Q$version\E: Run ALTER EXTENSION alerting UPDATE/, 'and what to do');
sql($node, 'old', "SELECT s(10, 21, 95, 5, true, 3)");
sql($node, 'old', "SELECT s(12, $_, 95)") for 1 .. 5;
is(sql($node, 'old', "SELECT alerting.flush('100ms')"), 'f', 'flush() tells');
like(sql($node, 'old', "SELECT explanation FROM alerting.explain('cpu', 10)"), qr/waits for ALTER EXTENSION alerting UPDATE/, 'explain() tells');
my $warnings = () = slurp_file($node->logfile) =~ /WARNING:  alerting: nothing is judged or sent in database "old"/g;
is($warnings, 1, 'one warning in the log');
is(worker_pid($node, $_, 'old'), '', "no $_ runs") for qw(evaluator sender);

# What users have added.
my $added = <<'SQL';
GRANT SELECT ON alerting.active_alert TO app;
GRANT EXECUTE ON FUNCTION alerting.create_rule(text, text, text, float8, int, text, boolean) TO app;
GRANT EXECUTE ON FUNCTION alerting.status() TO PUBLIC;
GRANT USAGE ON SCHEMA alerting TO PUBLIC;
SQL
sql($node, 'postgres', 'CREATE ROLE app');
sql($node, $_, $added) for qw(old new);
sql($node, 'old', "CREATE VIEW mine AS SELECT * FROM alerting.active_alert");
$expected = catalog($node, 'new');

# An update that is rolled back, or whose session ends, changes nothing.
my $before = catalog($node, 'old');
sql($node, 'old', 'BEGIN; ALTER EXTENSION alerting UPDATE; ROLLBACK');
is_catalog(catalog($node, 'old'), $before, 'an update that is rolled back changes nothing');
my $session = $node->background_psql('old', on_error_stop => 0, on_error_die => 0);
my $pid = $session->query('SELECT pg_backend_pid()');
$session->query('BEGIN; ALTER EXTENSION alerting UPDATE');
sql($node, 'old', "SELECT pg_terminate_backend($pid, 60000)");
eval { $session->quit };
is_catalog(catalog($node, 'old'), $before, 'nor does one whose session is terminated');

# An open transaction holds rules and is not in our way: the update waits for it, and it for nobody.
my $writer = $node->background_psql('old');
$writer->query_safe("BEGIN; SELECT s(11, 30, 95); UPDATE alerting.alert_rule SET name = 'renamed' WHERE id = 'pending'");
my $updater = $node->background_psql('old', on_error_stop => 0);
$updater->query_until(qr//, "ALTER EXTENSION alerting UPDATE;\n\\echo updated\n");
ok($node->poll_query_until('old', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'ALTER EXTENSION%' AND state = 'active'"
		  . " AND wait_event IN ('relation', 'PgSleep')"), 'the update waits for an open transaction');
sql($node, 'old', 'SELECT s(12, 6, 5)');
$writer->query_safe("UPDATE alerting.webhook SET is_active = true; UPDATE alerting.alert SET value = 1; SELECT s(11, 31, 5); COMMIT");
$writer->quit;
$updater->query_until(qr/updated/, '');
$updater->quit;
is(sql($node, 'old', q{SELECT extversion FROM pg_extension WHERE extname = 'alerting'}), $version, 'updated');

# Without another word the workers run; every sample of before, meanwhile and after counts once.
ok(wait_until(sub { worker_pid($node, 'evaluator', 'old') ne '' && worker_pid($node, 'sender', 'old') ne '' }), 'the workers start by themselves');
sql($node, 'old', 'SELECT s(10, n, 95, 5, true, 3) FROM generate_series(22, 29) n; SELECT s(10, 30, 95, 5, true, 4)');
flush($node, 'old', deliveries => 1, name => 'judged and sent');
is(alerts($node, 'old'), join("\n", 'cpu 10 FIRING 0>0', 'loop 10 FIRING 30>30', 'pending 10 FIRING 0>30', 'cpu 11 RESOLVED 1>1>2 RECOVERED',
		'cpu 11 RESOLVED 30>30>31 RECOVERED', 'cpu 12 RESOLVED 1>1>6 RECOVERED'), 'nothing is lost, nothing doubled, runs go on');
is(join(' ', sort split / /, sent_to('old')), join(' ', ('alert.firing') x 4, ('alert.resolved') x 2, 'waits'), 'each webhook is sent once');
is_catalog(catalog($node, 'old', "AND objid <> 'public.mine'::regclass"), $expected, 'the catalogs are those of a new installation');
is(sql($node, 'old', 'SELECT count(*) FROM mine'), 3, "users' views stand");
is(sql($node, 'old', 'SELECT state, problem FROM alerting.status()'), 'running|', 'status() is content');
is(sql($node, 'old', 'SELECT alerting.repair()'), 0, 'nothing is left to repair');
is(sql($node, 'old', "ALTER EXTENSION alerting UPDATE; SELECT 1"), 1, 'a second update has nothing to do');

# A dump of 1.0, restored: CREATE EXTENSION makes this version, the tables come afterwards.
make_old('older');
sql($node, 'older', $added);
my $connection = sub { $node->connstr($_[0]) };
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump", $connection->('older') ], 'a dump of 1.0');
sql($node, 'postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'pg_restore', '-e', '-j', '2', '-d', $connection->('restored'), "$folder/dump" ], 'is restored without an error');
is(sql($node, 'restored', q{SELECT extversion FROM pg_extension WHERE extname = 'alerting'}), $version, 'with this version');
sql($node, 'restored', 'SELECT s(10, n, 95, 5, true, 3) FROM generate_series(21, 29) n; SELECT s(10, 30, 95, 5, true, 4)');
flush($node, 'restored', name => 'it is judged');
is(alerts($node, 'restored', "container_id = 10"), "cpu 10 FIRING 0>0\nloop 10 FIRING 30>30\npending 10 FIRING 0>30", 'from where it was');
is_catalog(catalog($node, 'restored'), $expected, 'its catalogs are those of a new installation');
is(sql($node, 'restored', 'SELECT held FROM alerting.status()'), 't', 'its deliveries are held');

# DROP EXTENSION of 1.0, CREATE EXTENSION of this version: what was granted on functions is gone.
sql($node, 'older', 'DROP EXTENSION alerting CASCADE; CREATE EXTENSION alerting');
sql($node, 'older', $added);
is_catalog(catalog($node, 'older'), $expected, 'dropped and created: the catalogs are those of a new installation');
sql($node, 'older', 'SELECT s(10, n, 95, 5, true, 3) FROM generate_series(21, 29) n; SELECT s(10, 30, 95, 5, true, 4)');
flush($node, 'older', deliveries => 1);
is(alerts($node, 'older', "container_id = 10"), "cpu 10 FIRING 0>0\nloop 10 FIRING 30>30\npending 10 FIRING 0>30", 'it is judged from where it was');
is(join(' ', sort split / /, sent_to('older')), 'alert.firing alert.firing waits', 'and sends what waited');

# Tables that attach() let go, and none at all.
make_old('detached');
sql($node, 'detached', "SELECT alerting.detach(); ALTER EXTENSION alerting UPDATE; SELECT alerting.attach('organizations', 'containers');"
	  . " SELECT alerting.attach_metrics('container_metrics')");
sql($node, 'detached', $added);
is_catalog(catalog($node, 'detached') =~ s/capture\('\{2,/capture('{1,/gr, $expected, 'detached, updated and attached: the same');
# A key's new type makes the views anew, with what was granted on them.
sql($node, 'detached', "ALTER TABLE containers ALTER id TYPE bigint; SELECT alerting.attach('organizations', 'containers')");
is(sql($node, 'detached', "SELECT has_table_privilege('app', 'alerting.active_alert', 'SELECT'), pg_typeof(container_id) FROM alerting.alert LIMIT 1"),
	't|bigint', 'grants on views outlive a new type of the key');
sql($node, 'postgres', 'CREATE DATABASE bare TEMPLATE template0');
sql($node, 'bare', "CREATE EXTENSION alerting VERSION '1.0'; ALTER EXTENSION alerting UPDATE");
is(sql($node, 'bare', q{SELECT count(*) FROM pg_class WHERE relnamespace = 'alerting'::regnamespace}), 0, 'an update makes no tables where there are none');

# Tables of a version to come are left alone, and the workers say why they do nothing.
sql($node, 'new', 'ALTER TABLE alerting.host_binding ALTER COLUMN layout SET DEFAULT 1000; SELECT alerting.stop(), alerting.start()');
ok($node->poll_query_until('new', q{SELECT problem LIKE 'alerting''s tables have layout 1000, but%' FROM alerting.status()}), 'a layout to come');

$node->stop('fast');
done_testing();

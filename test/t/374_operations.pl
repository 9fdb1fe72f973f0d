# Under a steady load of inserts the server is administered, carelessly: tables are rewritten, locked and
# altered, the extension is detached, dropped and created, settings change, workers are cancelled, ended and
# stopped. Afterwards the alerts are exactly those of the committed rows, as after crashes (370).
#
# ALERTING_CRASH_ROUNDS=100 makes a soak of it; ALERTING_CRASH_SEED repeats the order of operations.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use CrashTest;
use List::Util qw(shuffle);
use OperationsTest;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{ALERTING_CRASH_ROUNDS} // 1;
my $seed = $ENV{ALERTING_CRASH_SEED} // int(rand(1_000_000_000));
srand $seed;
note "ALERTING_CRASH_SEED=$seed";

my ($test, $node, @own, @all);
my $columns = 0;
my @host = qw(container_metrics containers organizations);

# What meets others in a deadlock, or a lock that is held for too long, may fail.
sub attempt
{
	my (@statements) = @_;
	for my $sql (@statements)
	{
		# LOAD: not preloaded, the settings are known to whoever has used the extension.
		my ($status, $out, $error) = $node->psql('postgres', "SET client_min_messages = error; LOAD 'alerting'; $sql");
		next if $status == 0;
		like($error, qr/deadlock detected|could not obtain lock|lock timeout|tuple concurrently|is already attached/, "$sql: may fail")
		  or die "seed $seed";
	}
	return;
}

sub any_of { return $_[ rand @_ ]; }
sub in_a_moment { return usleep(rand($_[0] * 1_000_000)); }

sub alter
{
	my (@tables) = @_;
	my $table = any_of(@tables);
	$columns++;
	return attempt("ALTER TABLE $table ADD COLUMN x$columns float8 DEFAULT random()", "ALTER TABLE $table DROP COLUMN x$columns");
}

sub signal_workers
{
	my ($function, $kinds) = @_;
	return attempt("SELECT $function(pid) FROM pg_stat_activity WHERE backend_type ~ '^alerting $kinds'");
}

my %operations = (
	'VACUUM FULL' => sub { attempt('VACUUM FULL ' . any_of(@all)) },
	'VACUUM' => sub { attempt('VACUUM (FREEZE, ANALYZE) ' . any_of(@all)) },
	'CLUSTER' => sub { my $table = any_of(qw(alert alert_rule webhook delivery)); attempt("CLUSTER alerting.$table USING ${table}_pkey") },
	'REINDEX' => sub { attempt('REINDEX TABLE CONCURRENTLY ' . any_of(@all)) },
	'ALTER of the host' => sub { alter(@host) },
	'ALTER of ours' => sub { alter(@own) },
	'another type' => sub { attempt('ALTER TABLE container_metrics ALTER restart_count TYPE ' . any_of(qw(bigint int numeric))) },
	'LOCK' => sub { attempt('BEGIN; SET LOCAL lock_timeout = 2000; LOCK TABLE ' . any_of(@all) . ' IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(random()); COMMIT') },
	'an old snapshot' => sub { attempt('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM alerting.alert; SELECT pg_sleep(random()); COMMIT') },
	'cancelled statements' => sub { for (1 .. 5) { signal_workers('pg_cancel_backend', ''); in_a_moment(0.03) } },
	'ended workers' => sub { signal_workers('pg_terminate_backend', any_of(qw(e s l), '')) },
	'a stopped worker' => sub { my @pids = $test->processes(any_of(qw(evaluator sender launcher))); kill STOP => @pids; in_a_moment(1); kill CONT => @pids },
	'settings' => sub {
		attempt("ALTER SYSTEM SET alerting.max_concurrent_deliveries = " . any_of(1, 3, 100), "ALTER SYSTEM SET alerting.delivery_timeout = '" . any_of('5s', '20s') . "'",
			'SELECT pg_reload_conf()') for 1 .. 5;
	},
	'switched off' => sub {
		attempt('ALTER SYSTEM SET alerting.enabled = off', 'SELECT pg_reload_conf()');
		in_a_moment(0.5);
		attempt('ALTER SYSTEM RESET alerting.enabled', 'SELECT pg_reload_conf()');
	},
	'stop and start' => sub { attempt('SELECT alerting.stop()'); in_a_moment(0.3); attempt('SELECT alerting.start()') },
	'metrics detached' => sub { attempt("SELECT alerting.detach_metrics('container_metrics')"); in_a_moment(0.2); attempt("SELECT alerting.attach_metrics('container_metrics', max_age => '1 day')") },
	'all detached' => sub { attempt('SELECT alerting.detach()'); in_a_moment(0.2); attempt("SELECT alerting.attach('organizations', 'containers')", "SELECT alerting.attach_metrics('container_metrics', max_age => '1 day')") },
	'attached again' => sub { attempt("SELECT alerting.attach_metrics('container_metrics', max_age => '1 day', level => '$_')") for qw(row statement) },
	'repair' => sub { attempt('SELECT alerting.repair()') },
	'DROP EXTENSION' => sub { attempt('DROP EXTENSION alerting CASCADE'); in_a_moment(0.3); attempt('CREATE EXTENSION alerting', "SELECT alerting.attach_metrics('container_metrics', max_age => '1 day')") },
);

for my $round (1 .. $rounds)
{
	my $preload = $round % 2;
	$test = CrashTest->new("operations$round", preload => $preload, queue => (qw(64kB 1MB))[ int rand 2 ]);
	$node = $test->node;
	@own = map { "alerting.$_" } split /\n/, sql($node, 'postgres', "SELECT relname FROM pg_class WHERE relnamespace = 'alerting'::regnamespace AND relkind = 'r'");
	@all = (@own, @host);
	for my $name (shuffle sort keys %operations)
	{
		$test->keep_loading;
		in_a_moment(0.2);
		note $name;
		$operations{$name}->();
	}
	# One request at a time would take longer than the samples' minutes allow.
	attempt('ALTER SYSTEM RESET ALL', 'SELECT pg_reload_conf()');
	$test->check($preload ? 'preloaded' : 'not preloaded');
}
done_testing();

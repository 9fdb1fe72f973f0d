# Workers that have nothing to do: no WAL, no wake-ups, no transaction.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest ();
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $receiver = AlertingTest::start_receiver('idle');
my $node = new_server('idle', preload => 1, conf => "log_statement = none\nalerting.allowed_networks = '127.0.0.0/8'\n");
make_host($node, 'postgres');
# State of every kind: alerts that fire and resolve, pending runs, windows, deliveries.
sql($node, 'postgres', <<"SQL");
INSERT INTO containers SELECT n, 1, 'c' || n FROM generate_series(1000, 1999) n;
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('pending', 1, 'CPU_USAGE', 80, 600), rule('down', 1, 'CONTAINER_DOWN', NULL, 600),
       rule('loop', 1, 'RESTART_LOOP', 3, 600);
INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('w', 1, '@{[ $receiver->url ]}');
INSERT INTO container_metrics SELECT n, at(48), 95, 5, n % 2 = 0, n % 5 FROM generate_series(1000, 1999) n;
INSERT INTO container_metrics SELECT n, at(49), 95, 5, n % 2 = 0, n % 7 FROM generate_series(1000, 1099) n;
SQL
flush($node, 'postgres', deliveries => 1, name => 'evaluated and delivered');
# Of a container that is gone it is kept which rows were its own.
sql($node, 'postgres', 'ALTER TABLE container_metrics DROP CONSTRAINT container_metrics_container_id_fkey; DELETE FROM containers WHERE id = 1500');
flush($node, 'postgres', deliveries => 1, name => 'one is deleted');

my %pid = map { $_ => worker_pid($node, $_, 'postgres') } qw(evaluator sender launcher);
my $session = $node->background_psql('postgres');

# Where the WAL ends, and how often each worker has given up the processor to wait.
sub marks
{
	my %marks = (wal => scalar $session->query('SELECT pg_current_wal_insert_lsn()'));
	for my $kind (keys %pid)
	{
		($marks{$kind}) = slurp_file("/proc/$pid{$kind}/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
	}
	return \%marks;
}

# State is saved for the last time some seconds after the last change, and the sender looks once a
# minute; between such moments there is a time in which nothing moves at all.
my ($before, $after);
my $quiet = wait_until(
	sub {
		$before = marks();
		usleep(6_000_000);    # longer than what has changed waits to be saved
		$after = marks();
		return join(' ', map { $before->{$_} } sort keys %$before) eq join(' ', map { $after->{$_} } sort keys %$after);
	});
ok($quiet, 'there are seconds without WAL and without a wake-up')
  or diag(join ', ', map { "$_: $before->{$_} to $after->{$_}" } sort keys %$before);
is(scalar $session->query("SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^alerting' AND (xact_start IS NOT NULL OR backend_xmin IS NOT NULL)"),
	0, 'no worker has a transaction or a snapshot');
is(scalar $session->query("SELECT count(*) FROM pg_locks WHERE pid IN (" . join(', ', values %pid) . ')'), 0, 'nor a lock');
$session->quit;
is(join(' ', map { worker_pid($node, $_, 'postgres') } sort keys %pid), join(' ', @pid{ sort keys %pid }), 'they are the same as before');
# And they are awake when there is something.
sql($node, 'postgres', 'SELECT s(10, 50, 95)');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM alerting.alert WHERE container_id = 10'), 'nobody has to ask');
flush($node, 'postgres', deliveries => 1, name => 'a sample wakes them');
is(alerts($node, 'postgres', "container_id = 10"), 'cpu 10 FIRING 50>50', 'and is judged');
$node->stop('fast');
done_testing();

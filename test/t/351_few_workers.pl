# Twenty databases and eight background worker slots: some work wholly, one message says what to do, and
# what becomes free is used.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('few', conf => "max_worker_processes = 8\nfsync = off\n", preload => 1);
make_host($node, 'postgres');
sql($node, 'postgres', "SELECT rule('cpu', 1, 'CPU_USAGE', 80)");
sql($node, 'postgres', 'SELECT alerting.stop()');
sql($node, 'postgres', "CREATE DATABASE few$_ TEMPLATE postgres") for 1 .. 19;
sql($node, 'postgres', "CREATE DATABASE none$_") for 1 .. 3;
$node->restart;
ok(wait_until(sub { sql($node, 'template1', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'alerting sender'") == 3 }),
	'six slots, three senders');
is(sql($node, 'template1', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'alerting evaluator'"), 3, 'three evaluators');
is(sql($node, 'template1', 'SELECT count(DISTINCT datname) FROM pg_stat_activity WHERE backend_type IN (\'alerting evaluator\', \'alerting sender\')'),
	3, 'three databases work wholly');
my @working = split /\n/, sql($node, 'template1', "SELECT datname FROM pg_stat_activity WHERE backend_type = 'alerting sender'");
for my $database (@working)
{
	sql($node, $database, 'SELECT s(10, 1, 95)');
	flush($node, $database);
	is(alerts($node, $database), 'cpu 10 FIRING 1>1', 'a database that got workers works');
}
my ($waiting) = grep { my $d = $_; !grep { $_ eq $d } @working } 'postgres', map { "few$_" } 1 .. 19;
sql($node, $waiting, "SELECT s(10, 1, 95) FROM generate_series(1, 20)");
is(sql($node, $waiting, "SELECT alerting.flush('300ms')"), 'f', 'one that did not says so');
my @messages = slurp_file($node->logfile) =~ /no background worker slot is free/g;
is(scalar @messages, 1, 'the message came once');
# When one becomes free the next database gets its workers.
sql($node, 'template1', "DROP DATABASE $working[0] WITH (FORCE)");
sql($node, 'template1', "DROP DATABASE $working[1]");
ok(wait_until(sub { sql($node, 'template1', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'alerting sender'") == 3 }),
	'others get their workers when slots become free');
$node->stop('fast');

done_testing();

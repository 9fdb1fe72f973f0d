# What is committed while the evaluator stands still is judged as if it had looked all the time: rows
# that were written while their table was not attached come before those that were written after.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('behind');
make_host($node, 'postgres');
sql($node, 'postgres', "SELECT rule('cpu', 1, 'CPU_USAGE', 80); SELECT s(10, 1, 5), s(11, 1, 95)");
flush($node, 'postgres');

# Runs the statements, each in a transaction of its own, behind the evaluator's back.
sub meanwhile
{
	my (@statements) = @_;
	my $evaluator = worker_pid($node, 'evaluator', 'postgres');
	ok(wait_until(sub { $node->safe_psql('postgres', "SELECT wait_event FROM pg_stat_activity WHERE pid = $evaluator") ne '' }),
		'the evaluator is idle');
	kill 'STOP', $evaluator;
	sql($node, 'postgres', join ";\n", @statements);
	kill 'CONT', $evaluator;
	flush($node, 'postgres');
	return;
}

meanwhile("SELECT alerting.detach_metrics('container_metrics')", 'SELECT s(10, 2, 95), s(11, 2, 5)',
	"SELECT alerting.attach_metrics('container_metrics')", 'SELECT s(10, 3, 5), s(11, 3, 95)');
is(alerts($node, 'postgres'), "cpu 10 RESOLVED 2>2>3 RECOVERED\ncpu 11 RESOLVED 1>1>2 RECOVERED\ncpu 11 FIRING 3>3", 'detached and attached');

meanwhile('SELECT s(10, 4, 95)', 'SELECT alerting.detach()', 'SELECT s(10, 5, 5)', "SELECT alerting.attach('organizations', 'containers')",
	"SELECT alerting.attach_metrics('container_metrics')", 'SELECT s(10, 6, 95)', 'SELECT s(10, 7, 5)');
is(alerts($node, 'postgres', 'container_id = 10 AND started_at > at(3)'), "cpu 10 RESOLVED 4>4>5 RECOVERED\ncpu 10 RESOLVED 6>6>7 RECOVERED",
	'all of it detached and attached');

meanwhile("SELECT alerting.detach_metrics('container_metrics')", 'TRUNCATE containers CASCADE', "INSERT INTO containers VALUES (10, 1, 'another')",
	'SELECT s(10, 8, 95)', "SELECT alerting.attach_metrics('container_metrics')", 'SELECT s(10, 9, 5)');
is(alerts($node, 'postgres'), 'cpu 10 RESOLVED 8>8>9 RECOVERED', 'with other containers');

$node->stop('fast');
done_testing();

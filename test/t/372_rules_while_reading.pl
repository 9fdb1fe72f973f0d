# A rule that is made while the evaluator reads rows back counts for the rows that are committed
# after it: also for a breach that is over before anybody looks. The evaluator stands still meanwhile.
#
# Needs a library with freeze points (src/pg/freeze_point.h): test/run sanitize builds it.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'needs a library with freeze points; test/run sanitize builds one'
  unless $ENV{ALERTING_FREEZE_POINTS};

my $database = 'postgres';
my $node = new_server('reading', preload => 1);
make_host($node, $database);
sql($node, $database, 'SELECT s(10, 1), s(11, 1)');
flush($node, $database);
my $folder = $node->data_dir . '/alerting_freeze';
mkdir $folder;

# A new evaluator stops at the point; what `statements` do then, they do behind its back.
sub behind_its_back
{
	my ($point, $statements) = @_;
	append_to_file("$folder/$point", '');
	my $pid = worker_pid($node, 'evaluator', $database);
	sql($node, $database, "SELECT pg_terminate_backend($pid)");
	my @taken;
	ok(wait_until(sub { return @taken = glob "$folder/$point.*"; }), "$point: the evaluator stands there");
	sql($node, $database, $_) for @$statements;
	unlink "$folder/$point", @taken;
	flush($node, $database, name => "$point: evaluated");
	return;
}

# Nothing is read yet: the rows come by the table, and again by the queue.
behind_its_back('loaded', [ "SELECT rule('cpu', 1, 'CPU_USAGE', 80)", 'SELECT s(10, 2, 95)', 'SELECT s(10, 3)' ]);
is(alerts($node, $database, "rule_id = 'cpu'"), 'cpu 10 RESOLVED 2>2>3 RECOVERED', 'loaded: a breach that is over raised its alert');

# The same of a rule that changes: the rows are judged by what it says when they are committed.
behind_its_back('loaded',
	[ "UPDATE alerting.alert_rule SET threshold = 40 WHERE id = 'cpu'", 'SELECT s(11, 2, 50)', 'SELECT s(11, 3)' ]);
is(alerts($node, $database, "rule_id = 'cpu' AND container_id = 11"), 'cpu 11 RESOLVED 2>2>3 RECOVERED', 'loaded: so does a rule that was lowered');

# Some of it is read: what comes now is not in the snapshot, only in the queue.
sql($node, $database, 'SELECT s(12, 4)');
flush($node, $database);
behind_its_back('replaying', [ "SELECT rule('memory', 1, 'MEMORY_USAGE', 80)", 'SELECT s(12, 5, 5, 95)', 'SELECT s(12, 6)' ]);
is(alerts($node, $database, "rule_id = 'memory'"), 'memory 12 RESOLVED 5>5>6 RECOVERED', 'replaying: a breach that is over raised its alert');

$node->stop;
done_testing();

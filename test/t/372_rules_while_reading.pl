# A rule that is made while the evaluator reads rows back counts for the rows that are committed
# after it: also for a breach that is over before anybody looks. The evaluator stands still meanwhile.
# Nor does it read before a partition can be seen that somebody attaches: he stands still meanwhile.
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

# What is corrected before anything is read is read as it is then: what it said before does not come after that, by the queue.
behind_its_back('loaded', [ 'SELECT s(11, 10, 95)', 'UPDATE container_metrics SET cpu_percent = 5 WHERE container_id = 11 AND at = at(10)' ]);
is(alerts($node, $database, "rule_id = 'cpu' AND container_id = 11 AND fired_at >= at(10)"), '', 'loaded: a row that was corrected raises nothing');

# The transaction that attaches a partition is committed, and has left its mark, but has not ended.
sql($node, $database, <<'SQL');
CREATE TABLE shards (container_id int, at timestamptz, cpu_percent float8) PARTITION BY LIST (container_id);
CREATE TABLE shard_11 PARTITION OF shards FOR VALUES IN (11);
CREATE TABLE shard_12 (LIKE shards);
SET client_min_messages = warning;
SELECT alerting.attach_metrics('shards');
INSERT INTO shard_12 VALUES (12, at(8), 97);
SQL
flush($node, $database);
append_to_file("$folder/marked", '');
my $session = $node->background_psql($database, on_error_stop => 1);
$session->query_until(qr/sent/, "\\echo sent\nALTER TABLE shards ATTACH PARTITION shard_12 FOR VALUES IN (12);\n");
my @taken;
ok(wait_until(sub { return @taken = glob "$folder/marked.*"; }), 'marked: the partition is being attached');
is(sql($node, $database, q{SELECT alerting.flush('1s')}), 'f', 'marked: its rows are waited for');
unlink "$folder/marked", @taken;
$session->query_safe('SELECT s(10, 9)');
flush($node, $database);
is(alerts($node, $database, "rule_id = 'cpu' AND container_id = 12"), 'cpu 12 FIRING 8>8', 'marked: and are judged');
$session->quit;

$node->stop;
done_testing();

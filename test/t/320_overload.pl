# More than the queue holds: transactions larger than it, an evaluator that stands still while
# several clients write. Inserts go on at full speed; once relieved, all is judged.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('overload', conf => "alerting.queue_size = 64kB\n");
make_host($node, 'postgres');
sql($node, 'postgres', <<'SQL');
INSERT INTO containers SELECT n, 1, 'c' || n FROM generate_series(1000, 1199) n;
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('cpu5', 1, 'CPU_USAGE', 80, 5), rule('loop', 1, 'RESTART_LOOP', 3, 10);
SQL
flush($node, 'postgres');

# A sample a minute for containers 1000 to 1199: breaching in minutes [c % 10 + from, c % 10 + from + 6].
my $samples = <<'SQL';
SELECT c, at(m), CASE WHEN m BETWEEN c %% 10 + %d AND c %% 10 + %d + 6 THEN 95 ELSE 5 END, 5, true,
       CASE WHEN m >= c %% 10 + 3 THEN 4 ELSE 0 END
SQL

# What these samples must give, by counting minutes.
sub expected
{
	my @from = @_;
	my @lines;
	for my $c (1000 .. 1199)
	{
		my @starts = map { $c % 10 + $_ } @from;
		push @lines, "cpu $c RESOLVED $_>$_>" . ($_ + 7) . ' RECOVERED' for @starts;
		push @lines, "cpu5 $c RESOLVED $_>" . ($_ + 5) . '>' . ($_ + 7) . ' RECOVERED' for @starts;
		my $loop = $c % 10 + 3;
		push @lines, "loop $c RESOLVED $loop>$loop>" . ($loop + 10) . ' RECOVERED';
	}
	return join "\n", @lines;
}

# One transaction of some megabytes.
sql($node, 'postgres', "INSERT INTO container_metrics " . sprintf($samples, 2, 2)
	  . 'FROM generate_series(1000, 1199) c, generate_series(0, 24) m');
flush($node, 'postgres', name => 'a transaction larger than the queue');
is(alerts($node, 'postgres'), expected(2), 'its alerts are complete');
cmp_ok(sql($node, 'postgres', 'SELECT replays FROM alerting.status()'), '>', 0, 'its rows were read from the table');

# Larger than the buffer, rolled back to a savepoint in between.
sql($node, 'postgres', <<'SQL');
BEGIN;
SELECT count(s(10, m / 100.0, 95)) FROM generate_series(1, 2000) m;
ROLLBACK;
BEGIN;
SELECT s(11, 1, 5);
SAVEPOINT a;
SELECT count(s(11, 1 + m / 1000.0, 95)) FROM generate_series(1, 2000) m;
ROLLBACK TO a;
SELECT s(11, 4, 95);
COMMIT;
SQL
flush($node, 'postgres');
is(alerts($node, 'postgres', 'container_id IN (10, 11) AND rule_id = \'cpu\''), 'cpu 11 FIRING 4>4',
	'a rolled back savepoint larger than the buffer');

# The evaluator stands still.
my $evaluator = worker_pid($node, 'evaluator', 'postgres');
ok(wait_until(sub { $node->safe_psql('postgres', "SELECT wait_event FROM pg_stat_activity WHERE pid = $evaluator") ne '' }),
	'the evaluator is idle');
kill 'STOP', $evaluator;
my $script = "$PostgreSQL::Test::Utils::tmp_check/insert.sql";
# 8 clients, each in its own containers, a minute after the other.
unlink $script;
append_to_file($script, <<'SQL');
\set c 1000 + :client_id
SELECT coalesce(max(m) + 1, 25) AS m FROM (SELECT ((extract(epoch FROM max(at) - at(0))) / 60)::int AS m
  FROM container_metrics WHERE container_id = :c AND at > at(24)) x \gset
INSERT INTO container_metrics
SELECT c, at(:m), CASE WHEN :m BETWEEN c % 10 + 27 AND c % 10 + 33 THEN 95 ELSE 5 END, 5, true, 4
  FROM generate_series(:c, 1199, 8) c, generate_series(1, 40);
SQL
$node->command_ok([ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', '22', '-f', $script, $node->connstr('postgres') ],
	'eight clients insert while the evaluator stands still');
is(sql($node, 'postgres', "SELECT count(*) FROM container_metrics WHERE at > at(24)"), 8 * 25 * 22 * 40, 'all rows are there');
is(sql($node, 'postgres', "SELECT alerting.flush('100ms')"), 'f', 'flush() says that they are not evaluated');
is(sql($node, 'postgres', 'SELECT replay_pending FROM alerting.status()'), 't', 'and status() that rows will be read');
kill 'CONT', $evaluator;
flush($node, 'postgres', name => 'the evaluator catches up');
is(alerts($node, 'postgres', 'container_id >= 1000'), expected(2, 27), 'its alerts are complete');

# Rules, containers and bindings changed while there was no room to say so.
kill 'STOP', $evaluator;
sql($node, 'postgres', <<'SQL');
SELECT count(s(12, 1 + m / 1000.0, 5)) FROM generate_series(1, 3000) m;
UPDATE alerting.alert_rule SET enabled = false WHERE id = 'cpu';
DELETE FROM containers WHERE id = 11;
SELECT rule('new', 1, 'CPU_USAGE', 50);
SELECT s(12, 6, 60);
SQL
kill 'CONT', $evaluator;
flush($node, 'postgres');
is(alerts($node, 'postgres', 'container_id IN (10, 11, 12)'), 'new 12 FIRING 6>6', 'changes without room in the queue');

$node->stop('fast');
done_testing();

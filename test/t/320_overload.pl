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

# A transaction of a hundred times the queue: neither the session nor the evaluator keeps its rows.
# ALERTING_OVERLOAD_ROWS=5000000 for the full measure.
my $rows = $ENV{ALERTING_OVERLOAD_ROWS} // 200_000;

# Memory of a process that it shares with nobody, in kB.
sub memory
{
	my ($pid) = @_;
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;
	return $kb;
}
my $file = "$PostgreSQL::Test::Utils::tmp_check/rows.copy";
sql($node, 'postgres', "INSERT INTO containers VALUES (13, 1, 'copied');"
	  . " COPY (SELECT 13, at(0.000005 * n), CASE WHEN n BETWEEN 1000 AND 2000 THEN 95 ELSE 5 END, 5, true, 0 FROM generate_series(1, $rows) n) TO '$file'");
my $session = $node->background_psql('postgres');
my $backend = $session->query('SELECT pg_backend_pid()');
my $evaluator = worker_pid($node, 'evaluator', 'postgres');
my %before = map { $_ => memory($_) } $backend, $evaluator;
my $most = 0;
$session->query_safe("BEGIN; COPY container_metrics FROM '$file'");
cmp_ok(memory($backend), '<', $before{$backend} + 16 * 1024, 'a huge COPY: the session keeps its memory');
$session->query_safe('COMMIT');
ok( wait_until(sub {
		my $memory = memory($evaluator);
		$most = $memory if $memory > $most;
		return sql($node, 'postgres', "SELECT alerting.flush('100ms')") eq 't';
	}), 'it is judged');
cmp_ok($most, '<', $before{$evaluator} + 64 * 1024, 'and the evaluator keeps its memory');
$session->quit;
is(alerts($node, 'postgres', 'container_id = 13'), 'cpu 13 RESOLVED 0.005>0.005>0.01 RECOVERED', 'the incident inside it is found');
unlink $file;

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

# An evaluator that the disk holds up: each alert costs it some hundred rows. The clients do not notice.
sql($node, 'postgres', <<'SQL');
INSERT INTO containers SELECT n, 2, 'c' || n FROM generate_series(3000, 3079) n;
SELECT rule('disk', 2, 'CPU_USAGE', 80);
CREATE TABLE burden (text text);
CREATE FUNCTION burden() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.burden SELECT repeat(md5(n::text), 20) FROM generate_series(1, 300) n;
  RETURN NULL;
END $$;
CREATE TRIGGER burden AFTER INSERT OR UPDATE ON alerting.alert FOR EACH ROW EXECUTE FUNCTION burden();
SQL
flush($node, 'postgres');
my $minute_by_minute = "$PostgreSQL::Test::Utils::tmp_check/minute.sql";
unlink $minute_by_minute;
append_to_file($minute_by_minute, <<'SQL');
SELECT count(*) AS m FROM container_metrics WHERE container_id = 3000 + :client_id \gset
INSERT INTO container_metrics SELECT n, at(:m), CASE WHEN :m % 2 = 0 THEN 95 ELSE 5 END, 5, true, 0
  FROM generate_series(3000 + :client_id, 3079, 8) n;
SQL
$node->command_ok([ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', '20', '-f', $minute_by_minute, $node->connstr('postgres') ],
	'eight clients insert while each alert takes long');
note 'of 800 alerts are written: ' . sql($node, 'postgres', 'SELECT count(*) FROM alerting.alert WHERE rule_id = \'disk\'');
flush($node, 'postgres', name => 'it catches up');
cmp_ok(memory($evaluator), '<', $before{$evaluator} + 64 * 1024, 'within its memory');
my @pages = map { my $c = $_; map { "disk $c RESOLVED $_>$_>" . ($_ + 1) . ' RECOVERED' } grep { $_ % 2 == 0 } 0 .. 19 } 3000 .. 3079;
is(alerts($node, 'postgres', "rule_id = 'disk'"), join("\n", @pages), 'its alerts are complete');
sql($node, 'postgres', 'DROP TRIGGER burden ON alerting.alert');

# Rows and containers, then also rules and bindings, changed while there was no room to say so.
sql($node, 'postgres', "INSERT INTO containers VALUES (14, 1), (15, 1); SELECT rule('high', 1, 'CPU_USAGE', 90), s(14, 1, 95)");
flush($node, 'postgres');
kill 'STOP', $evaluator;
sql($node, 'postgres', <<'SQL');
SELECT count(s(12, m / 1000.0, 5)), s(15, 2, 95) FROM generate_series(1, 3000) m;
UPDATE containers SET organization_id = 2 WHERE id = 14;
SELECT s(15, 3, 5);
SQL
kill 'CONT', $evaluator;
flush($node, 'postgres');
like(alerts($node, 'postgres', "container_id = 14 AND rule_id = 'high'"), qr/^high 14 RESOLVED .* CONTAINER_MOVED$/, 'a container that was moved');
is(alerts($node, 'postgres', "container_id = 15 AND rule_id = 'high'"), 'high 15 RESOLVED 2>2>3 RECOVERED',
	'rows for which there was room do not overtake those for which there was none');
kill 'STOP', $evaluator;
sql($node, 'postgres', <<'SQL');
SELECT count(s(12, 4 + m / 3000.0, 5)) FROM generate_series(1, 3000) m;
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

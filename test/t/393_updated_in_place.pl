# A table whose rows are updated in place has only their last form: what waits in the queue while the
# evaluator starts over for another table's sake is judged from there.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use Test::More;

my $node = new_server('in_place');
make_host($node, 'postgres', attach => <<'SQL');
CREATE TABLE latest (container_id int PRIMARY KEY, at timestamptz NOT NULL, cpu_percent float8);
CREATE INDEX ON latest (at);
SELECT alerting.attach_metrics('latest'), alerting.attach_metrics('container_metrics', cpu => '', memory => '')
SQL
sql($node, 'postgres', <<'SQL');
CREATE FUNCTION now_is(container int, minute numeric, cpu float8) RETURNS void LANGUAGE sql AS
  $$ INSERT INTO public.latest VALUES (container, public.at(minute), cpu)
     ON CONFLICT (container_id) DO UPDATE SET at = excluded.at, cpu_percent = excluded.cpu_percent $$;
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('memory', 1, 'MEMORY_USAGE', 80);
SQL
flush($node, 'postgres');

# Commits each while the evaluator stands still, and lets it go on.
sub meanwhile
{
	my (@transactions) = @_;
	flush($node, 'postgres');
	my $pid = worker_pid($node, 'evaluator', 'postgres');
	kill STOP => $pid;
	sql($node, 'postgres', $_) for @transactions;
	kill CONT => $pid;
	flush($node, 'postgres');
	return;
}

# Fills what the evaluator takes from the queue at once.
my $many = q{INSERT INTO container_metrics SELECT 11, at(0) + n * interval '1 ms', NULL, 5 FROM generate_series(1, 60000) n};
my $swings = "cpu %d RESOLVED 1>1>2 RECOVERED\ncpu %1\$d RESOLVED 3>3>4 RECOVERED\ncpu %1\$d FIRING 5>5";
sub swings { my ($container) = @_; return map { "SELECT now_is($container, $_, " . ($_ % 2 ? 95 : 5) . ')' } 1 .. 5; }

my @rows = swings(10);
meanwhile($rows[0],
	q{CREATE TABLE others (container_id int, at timestamptz, memory_percent float8); CREATE INDEX ON others (at);
	  INSERT INTO others VALUES (10, at(1), 95), (10, at(2), 5); SELECT alerting.attach_metrics('others')},
	@rows[ 1 .. 3 ], 'INSERT INTO others VALUES (10, at(3), 95)', $rows[4]);
is(alerts($node, 'postgres', 'container_id = 10'), sprintf($swings, 10) . "\nmemory 10 RESOLVED 1>1>2 RECOVERED\nmemory 10 FIRING 3>3",
	'another table is attached');

# What names the column or the table is asked under the new name, without starting over.
@rows = swings(12);
meanwhile($rows[0], $many, 'ALTER TABLE containers RENAME name TO title', @rows[ 1 .. 4 ]);
is(alerts($node, 'postgres', 'container_id = 12'), sprintf($swings, 12), q{the containers' name is renamed});

meanwhile('ALTER TABLE containers RENAME TO boxes', q{INSERT INTO boxes VALUES (13, 1, 'new')}, swings(13));
is(alerts($node, 'postgres', 'container_id = 13'), sprintf($swings, 13), q{the containers' table is renamed});

# Nothing overtakes: this table's rows come first, whose readings are the same.
meanwhile(
	q{INSERT INTO boxes VALUES (14, 1, 'new'); CREATE TABLE same (container_id int, at timestamptz, cpu_percent float8); CREATE INDEX ON same (at);
	  INSERT INTO same VALUES (14, at(1), 95), (14, at(2), 5); SELECT alerting.attach_metrics('same')},
	'SELECT now_is(14, 3, 95)');
is(alerts($node, 'postgres', 'container_id = 14'), "cpu 14 RESOLVED 1>1>2 RECOVERED\ncpu 14 FIRING 3>3", 'a table of the same metric is attached');
meanwhile(
	q{INSERT INTO boxes VALUES (15, 1, 'new'); CREATE TABLE parts (container_id int, at timestamptz, used float8, whole float8); CREATE INDEX ON parts (at);
	  INSERT INTO parts VALUES (15, at(1), 95, 100), (15, at(2), 5, 100); SELECT alerting.attach_metrics('parts', memory_used => 'used', memory_limit => 'whole')},
	'INSERT INTO others VALUES (15, at(3), 95)');
is(alerts($node, 'postgres', 'container_id = 15'), "memory 15 RESOLVED 1>1>2 RECOVERED\nmemory 15 FIRING 3>3",
	'a table is attached that gives the same metric in two columns');

# What had no room in the queue (savepoints nested too deep) is read, whatever else there is to read.
meanwhile(q{INSERT INTO boxes VALUES (16, 1, 'new'); SELECT alerting.detach_metrics('parts')},
	join('; ', 'BEGIN', (map { "SAVEPOINT p; SELECT s(11, $_, 5)" } 61 .. 93), 'SELECT now_is(16, 1, 95)', 'COMMIT'));
is(alerts($node, 'postgres', 'container_id = 16'), 'cpu 16 FIRING 1>1', 'a table is detached while rows are marked');

done_testing();

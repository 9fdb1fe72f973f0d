# Open transactions that hold rows or tables: the evaluator waits for nobody and keeps nobody
# waiting; what was locked follows when it is free.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use Test::More;

my $node = new_server('locks', conf => "deadlock_timeout = 1s\n");
make_host($node, 'postgres');
sql($node, 'postgres', <<'SQL');
-- Or the inserts would wait for the container.
ALTER TABLE container_metrics DROP CONSTRAINT container_metrics_container_id_fkey;
INSERT INTO containers SELECT n, 1, 'c' || n FROM generate_series(99, 199) n;
INSERT INTO containers SELECT n, 2, 'c' || n FROM generate_series(200, 299) n;
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('hooli', 2, 'CPU_USAGE', 80);
INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('w1', 1, 'https://example.invalid/1'), ('w2', 2, 'https://example.invalid/2');
UPDATE alerting.webhook SET is_active = true;
SQL
flush($node, 'postgres');

my $holder = $node->background_psql('postgres');
my $free = 100;

# Others are judged at once while the transaction is open, what it holds follows after its end.
sub holds
{
	my ($statement, $container, $rule, $name, %options) = @_;
	$holder->query_safe("BEGIN; $statement");
	my $other = $free++;
	sql($node, 'postgres', "SELECT s($container, 1, 95), s($other, 1, 95)");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM alerting.alert WHERE container_id = $other"),
		"$name: others are judged");
	is(sql($node, 'postgres', "SELECT alerting.flush('400ms')"), 'f', "$name: flush() waits for what is held");
	$holder->query_safe($options{rollback} ? 'ROLLBACK' : 'COMMIT');
	flush($node, 'postgres', name => "$name: flushed when it is free");
	is(alerts($node, 'postgres', "container_id IN ($container, $other)"),
		join("\n", $container > $other ? "cpu $other FIRING 1>1" : (), $options{gone} ? () : "$rule $container FIRING 1>1",
			$container > $other ? () : "cpu $other FIRING 1>1"),
		"$name: both alerts are there");
	is(sql($node, 'postgres', "SELECT count(*) FROM alerting.delivery d JOIN alerting.alert a ON a.id = d.alert_id"
		  . " WHERE a.container_id = $other"), 1, "$name: with their deliveries");
	return;
}

holds('SELECT 1 FROM containers WHERE id = 10 FOR UPDATE', 10, 'cpu', 'a container locked');
holds('UPDATE containers SET id = 1011 WHERE id = 11; UPDATE containers SET id = 11 WHERE id = 1011', 11, 'cpu',
	'a container whose key is updated', rollback => 1);
holds('DELETE FROM containers WHERE id = 190', 190, 'cpu', 'a container deleted, committed', gone => 1);
holds('DELETE FROM containers WHERE id = 191', 191, 'cpu', 'a container deleted, rolled back', rollback => 1);
holds("SELECT 1 FROM alerting.alert_rule WHERE id = 'hooli' FOR UPDATE", 200, 'hooli', 'a rule locked');
holds("UPDATE alerting.alert_rule SET id = 'hoola' WHERE id = 'hooli'", 201, 'hooli', 'a rule whose key is updated', rollback => 1);
holds("SELECT 1 FROM alerting.webhook WHERE id = 'w2' FOR UPDATE", 202, 'hooli', 'a webhook locked');
holds("DELETE FROM alerting.webhook WHERE id = 'w2'", 203, 'hooli', 'a webhook deleted, rolled back', rollback => 1);
holds('DELETE FROM organizations WHERE id = 2', 204, 'hooli', 'an organization deleted, rolled back', rollback => 1);
# SKIP LOCKED waits for who has updated a row and then locked the new version against us.
holds("UPDATE alerting.alert_rule SET name = 'x' WHERE id = 'hooli'; DELETE FROM alerting.alert_rule WHERE id = 'hooli'", 206, 'hooli',
	'a rule updated and deleted, rolled back', rollback => 1);
holds("UPDATE alerting.webhook SET url = 'https://example.invalid/x' WHERE id = 'w2'; DELETE FROM alerting.webhook WHERE id = 'w2'", 207, 'hooli',
	'a webhook updated and deleted, rolled back', rollback => 1);
holds("UPDATE containers SET name = 'x' WHERE id = 208; SELECT 1 FROM containers WHERE id = 208 FOR UPDATE", 208, 'hooli', 'a container updated and locked');

# Rows that are locked without harm delay nothing.
$holder->query_safe("BEGIN; UPDATE containers SET name = 'x' WHERE id = 192; UPDATE alerting.alert_rule SET name = 'x';"
	  . " UPDATE alerting.webhook SET url = 'https://example.invalid/x'");
sql($node, 'postgres', 'SELECT s(192, 1, 95), s(205, 1, 95)');
flush($node, 'postgres', name => 'ordinary updates in an open transaction delay nothing');
is(alerts($node, 'postgres', 'container_id IN (192, 205)'), "cpu 192 FIRING 1>1\nhooli 205 FIRING 1>1", 'their alerts are there');
$holder->query_safe('ROLLBACK');

# FIRING alerts that are locked while they resolve and fire again: at once, and one after the other.
$holder->query_safe("BEGIN; SELECT 1 FROM alerting.alert WHERE container_id IN (192, 205) FOR UPDATE");
sql($node, 'postgres', 'SELECT s(192, 2, 5), s(192, 3, 95), s(192, 4, 5), s(192, 5, 95), s(192, 6, 5), s(205, 2, 5), s(193, 2, 95), s(193, 3, 5)');
ok(wait_for_alerts($node, 'postgres', 'RESOLVED', 1), 'an alert locked: others resolve');
is(sql($node, 'postgres', "SELECT alerting.flush('400ms')"), 'f', 'an alert locked: flush() waits');
sql($node, 'postgres', 'SELECT s(205, 3, 95), s(205, 4, 5)');
is(sql($node, 'postgres', "SELECT alerting.flush('400ms')"), 'f', 'an alert locked: what comes later waits behind it');
$holder->query_safe('COMMIT');
flush($node, 'postgres');
is(alerts($node, 'postgres', 'container_id IN (192, 205)'),
	join("\n", (map { "cpu 192 RESOLVED $_ RECOVERED" } qw(1>1>2 3>3>4 5>5>6)), (map { "hooli 205 RESOLVED $_ RECOVERED" } qw(1>1>2 3>3>4))),
	'an alert locked: all that came meanwhile follows in order');
is(sql($node, 'postgres', "SELECT string_agg(d.event, ' ' ORDER BY d.seq) FROM alerting.delivery d JOIN alerting.alert a ON a.id = d.alert_id"
	  . " WHERE a.container_id = 192"), join(' ', ('alert.firing alert.resolved') x 3), 'and so do its deliveries');

# Whole tables. Nothing else waits behind the evaluator, and the evaluator keeps judging.
for my $table (qw(alerting.alert alerting.delivery alerting.alert_rule alerting.webhook containers alerting.series_state))
{
	my $container = $free++;
	$holder->query_safe("BEGIN; LOCK TABLE $table IN SHARE ROW EXCLUSIVE MODE");
	sql($node, 'postgres', "SELECT s($container, 1, 95)");
	is(sql($node, 'postgres', "SET lock_timeout = '300ms'; SELECT count(*) >= 0 FROM $table"), 't', "$table locked: readers do not wait");
	$holder->query_safe('COMMIT');
	flush($node, 'postgres');
	is(alerts($node, 'postgres', "container_id = $container"), "cpu $container FIRING 1>1", "$table locked: the alert follows");
}
for my $table (qw(alerting.alert containers organizations))
{
	my $container = $free++;
	$holder->query_safe("BEGIN; LOCK TABLE $table IN ACCESS EXCLUSIVE MODE");
	# 99 is new to the evaluator, which has to look it up.
	sql($node, 'postgres', "SELECT s($container, 2, 95), s(99, 2, 95)");
	# Longer than the workers' lock timeout; what was taken from the queue must not be lost.
	is(sql($node, 'postgres', "SELECT alerting.flush('1500ms')"), 'f', "$table locked exclusively: flush() tells");
	# A worker that waits for the table with a lock on another one must not become the holder's deadlock.
	$holder->query_safe("LOCK TABLE $_ IN ACCESS EXCLUSIVE MODE")
	  for qw(alerting.host_binding alerting.alert_rule alerting.webhook alerting.alert alerting.delivery alerting.series_state container_metrics);
	$holder->query_safe('COMMIT');
	flush($node, 'postgres');
	is(alerts($node, 'postgres', "container_id = $container"), "cpu $container FIRING 2>2",
		"$table locked exclusively: the alert follows");
}

# However long a table is locked: what waits in the queue is judged from there, for a table whose rows are updated in
# place has their last form only.
sql($node, 'postgres', <<'SQL');
CREATE TABLE latest (container_id int PRIMARY KEY, at timestamptz NOT NULL, memory_percent float8);
CREATE INDEX ON latest (at);
SELECT alerting.attach_metrics('latest');
SELECT rule('latest', 1, 'MEMORY_USAGE', 90);
SQL
my $latest = $free++;
sql($node, 'postgres', "INSERT INTO latest VALUES ($latest, at(1), 5)");
flush($node, 'postgres');
$holder->query_safe('BEGIN; LOCK TABLE containers IN ACCESS EXCLUSIVE MODE');
my $position = -s $node->logfile;
sql($node, 'postgres', 'SELECT s(98, 1, 95)');  # new to the evaluator, too
my $try = '-infinity';
for my $times (1 .. 7)
{
	my $waits = "SELECT %s FROM pg_stat_activity WHERE backend_type = 'alerting evaluator' AND datname = 'postgres' AND wait_event_type = 'Lock'";
	$node->poll_query_until('postgres', sprintf($waits, "count(*) = 1 AND max(xact_start) > '$try'")) or die "try $times";
	$try = sql($node, 'postgres', 'SELECT clock_timestamp()');
	sql($node, 'postgres', "UPDATE latest SET at = at($_), memory_percent = " . ($_ == 2 ? 95 : 5)) for $times == 1 ? (2, 3) : ();
}
is(scalar(() = PostgreSQL::Test::Utils::slurp_file($node->logfile, $position) =~ /due to lock timeout/g), 1, 'containers locked for long: the log tells once');
$holder->query_safe('COMMIT');
flush($node, 'postgres');
is(alerts($node, 'postgres', "container_id = $latest"), "latest $latest RESOLVED 2>2>3 RECOVERED", 'containers locked for long: nothing is lost');
sql($node, 'postgres', "DELETE FROM alerting.alert_rule WHERE id = 'latest'");

# A storm of alerts that take their time, here by a trigger of the host: no transaction holds its containers for long.
sql($node, 'postgres', <<'SQL');
CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$;
CREATE TRIGGER take_time BEFORE INSERT ON alerting.alert FOR EACH ROW EXECUTE FUNCTION take_time();
INSERT INTO containers SELECT n, 2, 'c' || n FROM generate_series(300, 499) n;
INSERT INTO container_metrics (container_id, at, cpu_percent) SELECT n, at(1), 95 FROM generate_series(300, 499) n;
SQL
flush($node, 'postgres');
is(sql($node, 'postgres', 'SELECT sum(n), max(n) FROM (SELECT count(*) AS n FROM alerting.alert WHERE container_id BETWEEN 300 AND 499 GROUP BY xmin::text) AS written'),
	'200|25', 'slow alerts are written a few at a time');
sql($node, 'postgres', 'DROP TRIGGER take_time ON alerting.alert');

# TRUNCATE ... CASCADE takes our tables in another order than the workers' queries do: it must not be
# the one that ends when they wait for each other.
sql($node, 'postgres', 'CREATE DATABASE truncated');
make_host($node, 'truncated');
my $rounds = "TRUNCATE organizations, containers CASCADE;\n"
  . "INSERT INTO organizations VALUES (1); INSERT INTO containers (id, organization_id) SELECT g, 1 FROM generate_series(10, 19) g;\n"
  . "SELECT rule('cpu', 1, 'CPU_USAGE', 80) IS NULL; SELECT alerting.create_webhook(1, 'https://example.invalid/') IS NULL;\n"
  . "SELECT s(c, 1, 95) IS NULL FROM generate_series(10, 19) c;\n";
my ($result, undef, $error) = $node->psql('truncated', "SET client_min_messages = error;\n" . $rounds x 300);
is($result, 0, 'TRUNCATE ... CASCADE while workers work') or diag($error);
flush($node, 'truncated');
is(sql($node, 'truncated', "SELECT count(*) FROM alerting.alert WHERE status = 'FIRING'"), 10, 'and what was inserted last is judged');

# A metrics table that cannot be read when the evaluator starts delays no other one.
sql($node, 'postgres', <<'SQL');
CREATE TABLE more_metrics (LIKE container_metrics INCLUDING ALL);
SELECT alerting.attach_metrics('more_metrics', container => 'container_id', memory => 'memory_percent');
SELECT rule('mem', 1, 'MEMORY_USAGE', 90);
SQL
flush($node, 'postgres');
my $first = $free++;
kill 'STOP', my $evaluator = worker_pid($node, 'evaluator', 'postgres');
sql($node, 'postgres', "SELECT s($first, 5, 5); SELECT s($first, 6, 95); SELECT s($first, 7, 5)");
$holder->query_safe('BEGIN; LOCK TABLE container_metrics IN ACCESS EXCLUSIVE MODE');
sql($node, 'postgres', "SELECT pg_terminate_backend($evaluator)");
kill 'CONT', $evaluator;
sql($node, 'postgres', "INSERT INTO more_metrics VALUES ($first, at(5), 5, 95, true, 0)");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM alerting.alert WHERE container_id = $first AND rule_id = 'mem'"),
	'container_metrics locked at the start: other sources are judged');
is(sql($node, 'postgres', "SELECT alerting.flush('100ms')"), 'f', 'container_metrics locked at the start: flush() tells');
$holder->query_safe("COMMIT");
sql($node, 'postgres', "SELECT s($first, 8, 95)");
flush($node, 'postgres');
is(alerts($node, 'postgres', "container_id = $first AND rule_id = 'cpu'"),
	"cpu $first RESOLVED 6>6>7 RECOVERED\ncpu $first FIRING 8>8", 'container_metrics locked at the start: older rows come first');

# Deadlocks: the user's transaction takes what the evaluator needs in the worst order. It never fails.
my $errors = 0;
for my $round (1 .. 3)
{
	my $container = $free++;
	my $next = $free++;
	$holder->query_safe("BEGIN; LOCK TABLE alerting.alert IN SHARE MODE");
	sql($node, 'postgres', "SELECT s($container, 1, 95), s($next, 1, 95)");
	my ($out, $failed) = $holder->query("DELETE FROM containers WHERE id = $container; UPDATE alerting.alert_rule SET id = 'cpu' WHERE id = 'cpu'; COMMIT");
	$errors++ if $failed;
}
is($errors, 0, "the user's transaction is no victim of a deadlock");
flush($node, 'postgres');
unlike($node->logfile && PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/deadlock detected/, 'no deadlock anywhere');

# A statement that is cancelled while its mapping is evaluated: the session's next one is captured.
sql($node, 'postgres', <<'SQL');
CREATE FUNCTION batch_at(batch int) RETURNS timestamptz LANGUAGE plpgsql STABLE AS
  $$ BEGIN
       IF current_setting('statement_timeout') <> '0' THEN PERFORM pg_sleep(600); END IF;
       RETURN public.at(batch);
     END $$;
CREATE TABLE batched_metrics (container_id int, batch int, cpu float8);
SELECT alerting.attach_metrics('batched_metrics', container => 'container_id', at => 'batch_at(batch)', cpu => 'cpu');
SQL
my $batched = $free++;
my $writer = $node->background_psql('postgres', on_error_stop => 0);
my ($cancelled) = $writer->query("SET statement_timeout = '100ms';\nINSERT INTO batched_metrics VALUES ($batched, 1, 95) RETURNING 'written'");
is($cancelled, '', 'a statement is cancelled while its mapping is evaluated');
$writer->query("SET statement_timeout = 0;\nINSERT INTO batched_metrics VALUES ($batched, 1, 95)");
flush($node, 'postgres');
is(alerts($node, 'postgres', "container_id = $batched"), "cpu $batched FIRING 1>1", 'the next one is captured');
$writer->quit;

$holder->quit;
$node->stop('fast');
done_testing();

# Another container under the key of one that is gone has no past: not the runs that were pending, not
# the rows that were judged. Deleted while the evaluator does not run, with and without a queue, or
# left behind by attaching to other containers.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use Test::More;

my $node = new_server('recreated');
make_host($node, 'postgres');
sql($node, 'postgres', <<'SQL');
-- Rows of a container that is gone stay.
ALTER TABLE container_metrics DROP CONSTRAINT container_metrics_container_id_fkey;
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('pending', 1, 'CPU_USAGE', 80, 30), rule('loop', 1, 'RESTART_LOOP', 3, 60);
SQL
flush($node, 'postgres');

# An incident that is over, three restarts, and a run that would fire at minute 33.
my $past = 'SELECT s(10, 0, 95); SELECT s(10, 1, 5, restarts => 1); SELECT s(10, n, 95, restarts => 3) FROM generate_series(3, 20) n;';
my $again = "DELETE FROM containers WHERE id = 10; INSERT INTO containers VALUES (10, 1, 'another');"
  . ' SELECT s(10, n, 95, restarts => n - 18) FROM generate_series(22, 38) n';
my $expected = "cpu 10 FIRING 22>22\nloop 10 FIRING 26>26";

sql($node, 'postgres', $past);
flush($node, 'postgres');
is(alerts($node, 'postgres'), "cpu 10 RESOLVED 0>0>1 RECOVERED\ncpu 10 FIRING 3>3", 'the past');
sql($node, 'postgres', "SELECT alerting.stop(); $again; SELECT alerting.start()");
flush($node, 'postgres', name => 'deleted and made again while the evaluator is stopped');
is(alerts($node, 'postgres'), $expected, 'no past, from the queue');
sql($node, 'postgres', 'SELECT s(10, n, 95, restarts => 20) FROM generate_series(39, 44) n');
flush($node, 'postgres');
is(alerts($node, 'postgres', "rule_id = 'pending'"), '', 'nor later');

# Deleted while the evaluator runs: what it judged then is read again by later starts, and by no other container.
sub restart_evaluator
{
	sql($node, 'postgres', 'SELECT alerting.stop(); SELECT alerting.start()');
	flush($node, 'postgres');
	return;
}
my $explained = q{SELECT string_agg(e.state, ' ' ORDER BY r.id) FROM alerting.alert_rule r, alerting.explain(r.id, 10) e};
for my $together (1, 0)
{
	my $how = $together ? 'made again at once' : 'made again later';
	sql($node, 'postgres', "DELETE FROM containers; DELETE FROM container_metrics; INSERT INTO containers VALUES (10, 1, 'web')");
	flush($node, 'postgres');
	restart_evaluator();
	sql($node, 'postgres', "$past; SELECT s(10, n, 95, restarts => n) FROM generate_series(20, 24) n");
	flush($node, 'postgres');
	is(alerts($node, 'postgres'), "cpu 10 RESOLVED 0>0>1 RECOVERED\ncpu 10 FIRING 3>3\nloop 10 FIRING 20>20", "$how: the past");
	sql($node, 'postgres', 'DELETE FROM containers WHERE id = 10' . ($together ? "; INSERT INTO containers VALUES (10, 1, 'another')" : ''));
	flush($node, 'postgres');
	restart_evaluator() unless $together;
	sql($node, 'postgres', "INSERT INTO containers VALUES (10, 1, 'another')") unless $together;
	flush($node, 'postgres');
	is(sql($node, 'postgres', $explained), 'NO_DATA NO_DATA NO_DATA', "$how: explain() knows no past");
	for my $n (1, 2)
	{
		restart_evaluator();
		is(alerts($node, 'postgres'), '', "$how: no past after start $n");
	}
	sql($node, 'postgres', 'SELECT s(10, n, 95, restarts => 0) FROM generate_series(25, 26) n');
	flush($node, 'postgres');
	restart_evaluator();
	is(alerts($node, 'postgres'), 'cpu 10 FIRING 25>25', "$how: from its own samples");
}

# Deleted while the evaluator does not run, and what tells of it is lost: it finds nobody there when it starts.
sql($node, 'postgres', "INSERT INTO containers VALUES (13, 1, 'one')");
flush($node, 'postgres');
sql($node, 'postgres', 'SELECT s(13, n, 95) FROM generate_series(3, 20) n');
flush($node, 'postgres');
sql($node, 'postgres', 'SELECT alerting.stop()');
sql($node, 'postgres', 'DELETE FROM containers WHERE id = 13');
$node->stop('immediate');
$node->start;
sql($node, 'postgres', 'SELECT alerting.start()');
flush($node, 'postgres');
sql($node, 'postgres', "INSERT INTO containers VALUES (13, 1, 'another')");
for my $n (1, 2)
{
	restart_evaluator();
	is(alerts($node, 'postgres', 'container_id = 13'), '', "deleted, which nobody has heard of: no past after start $n");
}

# Many that come and go in the same places: no alert's state grows by them.
for my $round (0 .. 11)
{
	my $first = 1000 + 40 * $round;
	sql($node, 'postgres', "INSERT INTO containers SELECT n, 1, 'job' FROM generate_series($first, $first + 39) n;"
		  . " SELECT s(n, 30, 95) FROM generate_series($first, $first + 39) n");
	flush($node, 'postgres');
	sql($node, 'postgres', 'DELETE FROM containers WHERE id >= 1000');
	flush($node, 'postgres');
}
is(sql($node, 'postgres', 'SELECT max(octet_length(state)) FROM alerting.series_state WHERE octet_length(state) > 8000'), '', 'no state grows by containers that are gone');
sql($node, 'postgres', "INSERT INTO containers SELECT n, 1, 'another' FROM generate_series(1000, 1479) n");
restart_evaluator();
is(sql($node, 'postgres', 'SELECT count(*) FROM alerting.alert WHERE container_id >= 1000'), 0, 'and each is known as gone');

# No evaluator has run since the server started: there is no queue.
$node->append_conf('postgresql.conf', 'alerting.enabled = off');
$node->restart;
sql($node, 'postgres', "DELETE FROM containers; DELETE FROM container_metrics; INSERT INTO containers VALUES (10, 1, 'web')");
$node->append_conf('postgresql.conf', 'alerting.enabled = on');
$node->reload;
# A past's rows come by the queue: of a table those count alone that are newer than what the former container's were.
sql($node, 'postgres', 'SELECT alerting.start()');
flush($node, 'postgres');
sql($node, 'postgres', $past);
flush($node, 'postgres', name => 'a past again');
is(alerts($node, 'postgres'), "cpu 10 RESOLVED 0>0>1 RECOVERED\ncpu 10 FIRING 3>3", 'the same');
$node->append_conf('postgresql.conf', 'alerting.enabled = off');
$node->restart;
sql($node, 'postgres', $again);
$node->append_conf('postgresql.conf', 'alerting.enabled = on');
$node->reload;
sql($node, 'postgres', 'SELECT alerting.start()');
flush($node, 'postgres', name => 'deleted and made again before there was a queue');
is(alerts($node, 'postgres'), $expected, 'no past, without a queue');

# More of them than are noted without a queue, while that is full.
sub run_full
{
	my ($name, $sql) = @_;
	sql($node, 'postgres', 'SELECT alerting.stop()');
	my $n = 0;
	sql($node, 'postgres', 'SELECT s(11, 0.001 * generate_series(1, 500))') until $n++ > 100 || sql($node, 'postgres', 'SELECT replay_pending FROM alerting.status()') eq 't';
	sql($node, 'postgres', $sql);
	sql($node, 'postgres', 'SELECT alerting.start()');
	flush($node, 'postgres', name => $name);
	return sql($node, 'postgres', "SELECT count(*) FROM alerting.alert WHERE rule_id = 'pending' AND container_id >= 1000");
}
$node->append_conf('postgresql.conf', "alerting.queue_size = '64kB'");
$node->reload;
sql($node, 'postgres', 'SELECT alerting.stop(), alerting.start()');
flush($node, 'postgres', name => 'a small queue');
my ($begin, $go_on) = map { "INSERT INTO container_metrics SELECT c, at(n), 95, 5, true, 0 FROM generate_series(1000, 1299) c, generate_series($_) n" } '3, 20', '22, 38';
sql($node, 'postgres', "INSERT INTO containers SELECT n, 1, 'one' FROM generate_series(1000, 1299) n; $begin");
flush($node, 'postgres');
is(run_full('many made again while the queue is full', "DELETE FROM containers WHERE id >= 1000; INSERT INTO containers SELECT n, 1, 'another' FROM generate_series(1000, 1299) n; $go_on"),
	0, 'none of many has a past');
sql($node, 'postgres', 'DELETE FROM containers WHERE id >= 1000; DELETE FROM container_metrics WHERE container_id >= 1000');
sql($node, 'postgres', "INSERT INTO containers SELECT n, 1, 'one' FROM generate_series(1000, 1299) n; $begin");
flush($node, 'postgres');
is(run_full('many others deleted', "DELETE FROM containers WHERE id BETWEEN 1010 AND 1299; $go_on"), 10, 'those that stay have theirs');
sql($node, 'postgres', 'DELETE FROM containers WHERE id >= 1000; DELETE FROM container_metrics WHERE container_id >= 1000');

# Containers that a session without triggers deletes, which takes no alert along: no alert stays for ever, be it noticed
# at the next start or when the container is looked up.
my $without_triggers = 'SET session_replication_role = replica; DELETE FROM containers WHERE id IN (10, 11)';
sql($node, 'postgres', 'TRUNCATE container_metrics; DELETE FROM containers WHERE id IN (10, 11); INSERT INTO containers VALUES (10, 1), (11, 1); SELECT s(10, 1, 95), s(11, 1, 95)');
flush($node, 'postgres');
is(alerts($node, 'postgres', 'container_id IN (10, 11)'), "cpu 10 FIRING 1>1\ncpu 11 FIRING 1>1", 'two fire');
my $evaluator = worker_pid($node, 'evaluator', 'postgres');
kill STOP => $evaluator;
sql($node, 'postgres', "UPDATE containers SET organization_id = 2 WHERE id = 10; $without_triggers");
kill CONT => $evaluator;
flush($node, 'postgres');
is(alerts($node, 'postgres', 'container_id IN (10, 11)'), 'cpu 11 FIRING 1>1', 'deleted without triggers: looked up');
restart_evaluator();
is(alerts($node, 'postgres', 'container_id IN (10, 11)'), '', 'deleted without triggers: started');
is(sql($node, 'postgres', 'SELECT count(*) FROM alerting.series_state WHERE chunk > 0'), 0, 'nor stays the state of hundreds that are gone');

# Other containers with the same keys, after a detach; the same ones have their past again.
my $attach = q{SELECT alerting.attach_metrics('%s', container => 'container_id')};
my $detach = 'SELECT alerting.detach()';
sql($node, 'postgres', 'DELETE FROM containers; DELETE FROM container_metrics; INSERT INTO containers VALUES (10, 1), (11, 1); TRUNCATE alerting.alert');
flush($node, 'postgres');
sql($node, 'postgres', 'SELECT s(10, n, 95) FROM generate_series(0, 20) n');
flush($node, 'postgres');
sql($node, 'postgres', "$detach; SELECT alerting.attach('organizations', 'containers'); " . sprintf($attach, 'container_metrics')
	  . '; SELECT s(10, n, 95) FROM generate_series(21, 30) n');
flush($node, 'postgres');
is(alerts($node, 'postgres', "rule_id = 'pending'"), 'pending 10 FIRING 0>30', 'attached to the same containers: their past goes on');
for my $transaction ('', 'in one transaction')
{
	my ($to, $metrics) = $transaction ? qw(containers3 metrics3) : qw(containers2 metrics2);
	sql($node, 'postgres', "CREATE TABLE $to (LIKE containers INCLUDING ALL); INSERT INTO $to SELECT * FROM containers;"
		  . " CREATE TABLE $metrics (LIKE container_metrics INCLUDING ALL);"
		  . ($transaction ? '' : ' INSERT INTO container_metrics SELECT 11, at(n), 95, 5, true, 0 FROM generate_series(0, 20) n'));
	flush($node, 'postgres');
	sql($node, 'postgres', ($transaction ? 'BEGIN;' : '') . "$detach; SELECT alerting.attach('organizations', '$to', organization => 'organization_id'); "
		  . sprintf($attach, $metrics) . ($transaction ? '; COMMIT' : ''));
	sql($node, 'postgres', "INSERT INTO $metrics SELECT c, at(n), 95, 5, true, 0 FROM generate_series(@{[ $transaction ? '41, 52' : '21, 40' ]}) n, unnest(ARRAY[10, 11]) c");
	flush($node, 'postgres', name => "attached to other containers $transaction");
	is(alerts($node, 'postgres', "rule_id = 'pending' AND container_id = 11"), '', "they have no past $transaction");
}

# Containers with keys of other kinds: what is known of the former ones means nothing.
for my $type (qw(uuid text bigint))
{
	my $key = $type eq 'uuid' ? "'00000000-0000-4000-8000-000000000001'" : $type eq 'text' ? "'é'" : '10';
	sql($node, 'postgres', <<"SQL");
CREATE TABLE boxes_$type (id $type PRIMARY KEY, organization_id int NOT NULL REFERENCES organizations);
CREATE TABLE box_metrics_$type (container_id $type REFERENCES boxes_$type, at timestamptz, cpu_percent float8, PRIMARY KEY (container_id, at));
INSERT INTO boxes_$type VALUES ($key, 1);
TRUNCATE alerting.alert;
SELECT alerting.detach_metrics(metrics) FROM alerting.metric_source;
SELECT alerting.attach('organizations', 'boxes_$type');
SELECT alerting.attach_metrics('box_metrics_$type', max_age => NULL);
INSERT INTO box_metrics_$type VALUES ($key, at(40), 95);
SQL
	flush($node, 'postgres', name => "attached to containers with keys of type $type");
	is(sql($node, 'postgres', 'SELECT status FROM alerting.alert'), 'FIRING', "keys of type $type: judged");
	sql($node, 'postgres', "SELECT alerting.stop(); SELECT alerting.start(); INSERT INTO box_metrics_$type VALUES ($key, at(41), 5)");
	flush($node, 'postgres');
	is(sql($node, 'postgres', 'SELECT status, resolve_reason FROM alerting.alert'), 'RESOLVED|RECOVERED', "keys of type $type: and from their own state");
}

$node->stop('fast');
done_testing();

# A synchronous standby that does not answer: workers wait for it as the host's transactions do, and not where those do not.
# Whatever the host has chosen, what workers have committed outlives a crash.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use Test::More;

my $node = new_server('synchronous', preload => 1, init => { allows_streaming => 1 }, conf => "synchronous_commit = local\nshared_buffers = 32MB\n");
make_host($node, 'postgres');
sql($node, 'postgres', "SELECT rule('cpu', 1, 'CPU_USAGE', 80)");
flush($node, 'postgres');

sub set
{
	my (@settings) = @_;
	$node->append_conf('postgresql.conf', join "\n", @settings, '');
	$node->reload;
	return;
}
my $waits = "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'alerting evaluator' AND wait_event = 'SyncRep'";

set("synchronous_standby_names = 'absent'");
# The checkpointer tells everybody.
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_until(qr/committing/, "\\echo committing\nSET synchronous_commit = on; CREATE TABLE waited_for ();\n");
my $host_waits = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event = 'SyncRep'";
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 $host_waits"), 'there is a standby to wait for');
sql($node, 'postgres', "SELECT pg_cancel_backend(pid) $host_waits");
$session->quit;

sql($node, 'postgres', 'SELECT s(10, 1, 95)');
flush($node, 'postgres', name => 'the host waits for no standby, nor do the workers');
is(alerts($node, 'postgres'), 'cpu 10 FIRING 1>1', 'the alert is there');

# One that has notified waits all the same, and lets no other commit that notifies.
sql($node, 'postgres', "INSERT INTO containers VALUES (13, 1, 'c13')");
$session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_until(qr/committing/, "\\echo committing\nSET synchronous_commit = on; BEGIN; CREATE TABLE notified (); NOTIFY something; COMMIT;\n");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 $host_waits"), 'a session that has notified waits');
sql($node, 'postgres', 'SELECT s(13, 1, 95)');
is(sql($node, 'postgres', "SELECT alerting.flush('60s')"), 't', 'a session that has notified waits: alerts are written');
# Nor does each transaction of a storm wait to find that out.
sql($node, 'postgres', 'INSERT INTO containers SELECT n, 1 FROM generate_series(1000, 1999) n; SELECT count(s(n, 1, 95)) FROM generate_series(1000, 1999) n');
flush($node, 'postgres', name => 'a session that has notified waits: a storm');
cmp_ok(sql($node, 'postgres', 'SELECT count(DISTINCT xmin::text) FROM alerting.alert WHERE container_id >= 1000'), '<', 20, 'its transactions are as large as ever');
# Nor do users whose deletions are to be notified.
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN alerting');
sql($node, 'postgres', 'INSERT INTO containers VALUES (14, 1); SELECT s(14, 1, 95)');
flush($node, 'postgres');
sql($node, 'postgres', "SET lock_timeout = '60s'; DELETE FROM containers WHERE id = 14");
is(alerts($node, 'postgres', 'container_id = 14'), '', 'a session that has notified waits: a container is deleted');
flush($node, 'postgres');
sql($node, 'postgres', "SELECT pg_cancel_backend(pid) $host_waits");
$session->quit;
sql($node, 'postgres', 'INSERT INTO containers VALUES (15, 1); SELECT s(15, 1, 95)');
flush($node, 'postgres');
sql($node, 'postgres', 'DELETE FROM containers WHERE id = 15');
flush($node, 'postgres');
like($listener->query('SELECT 1'), qr/"alert\.resolved".*"containerId": "15"/, 'nobody waits any more: a deletion is notified');
$listener->quit;
is(sql($node, 'postgres', 'DELETE FROM alerting.alert WHERE container_id = 13 RETURNING status'), 'FIRING', 'a session that has notified waits: the alert is there');
sql($node, 'postgres', 'DELETE FROM containers WHERE id >= 1000');

set('synchronous_commit = on');
sql($node, 'postgres', 'SET synchronous_commit = local; SELECT s(11, 2, 95)');
ok($node->poll_query_until('postgres', $waits), 'the host waits, so do the workers');
like(sql($node, 'postgres', "SELECT detail, hint FROM alerting.doctor() WHERE topic = 'workers' AND status = 'warning'"),
	qr/^A worker waits for a synchronous standby.*\|.*synchronous_standby_names/, 'doctor() tells');
sql($node, 'postgres', 'SELECT pg_cancel_backend(evaluator_pid) FROM alerting.status()');
$node->wait_for_log(qr/WARNING:  canceling wait for synchronous replication due to user request/);
set("synchronous_standby_names = ''");
flush($node, 'postgres', name => 'nobody is asked for any more');
is(alerts($node, 'postgres'), "cpu 10 FIRING 1>1\ncpu 11 FIRING 2>2", 'each alert is there once');

set('synchronous_commit = off');
ok($node->poll_query_until('postgres', "SELECT current_setting('synchronous_commit') = 'off'"), 'the host waits for no disk');
kill STOP => sql($node, 'postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
sql($node, 'postgres', 'SELECT s(12, 3, 95)');
flush($node, 'postgres');
my $id = sql($node, 'postgres', 'SELECT id FROM alerting.alert WHERE container_id = 12');
$node->stop('immediate');
$node->start;
flush($node, 'postgres');
is(sql($node, 'postgres', 'SELECT id FROM alerting.alert WHERE container_id = 12'), $id, 'an alert that was committed outlives a crash');

$node->stop('fast');
done_testing();

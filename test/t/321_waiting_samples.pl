# An evaluator that is behind: what waits in the queue is judged by the clock of its own commits. Nobody
# is taken for silent whose next sample is only waiting there.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use Test::More;

my $node = new_server('waiting', preload => 1);
make_host($node, 'postgres', attach => "SELECT alerting.attach_metrics('container_metrics', stale_after => '4 seconds')");
sql($node, 'postgres', "SELECT rule('before', 1, 'CPU_USAGE', 80, 0, 'fire'), rule('moved', 2, 'CPU_USAGE', 80, 0, 'fire')");
flush($node, 'postgres');

my $evaluator = worker_pid($node, 'evaluator', 'postgres');
ok(wait_until(sub { sql($node, 'postgres', "SELECT wait_event FROM pg_stat_activity WHERE pid = $evaluator") ne '' }), 'the evaluator is idle');
kill 'STOP', $evaluator;
# More than it takes from the queue at once lies between the two samples of containers 10 and 11; so do
# a rule that is made and a container that moves.
sql($node, 'postgres', <<'SQL');
INSERT INTO container_metrics SELECT c, now(), 5 FROM generate_series(10, 11) c
  UNION ALL SELECT 20, now() - n * interval '1 microsecond', 5 FROM generate_series(1, 60000) n;
SELECT rule('made', 1, 'CPU_USAGE', 80, 0, 'fire');
UPDATE containers SET organization_id = 2 WHERE id = 11;
INSERT INTO container_metrics SELECT c, now(), 5 FROM generate_series(10, 11) c;
SQL
cmp_ok(sql($node, 'postgres', 'SELECT queue_bytes FROM alerting.status()'), '>', 512 * 1024, 'it all waits in the queue');
$node->poll_query_until('postgres', "SELECT clock_timestamp() > max(at) + interval '4 seconds' FROM container_metrics") or die;
kill 'CONT', $evaluator;
flush($node, 'postgres', name => 'the evaluator catches up');
is(sql($node, 'postgres', <<'SQL'), '', 'nobody was silent before the last sample');
SELECT rule_id, container_id, started_at, fired_at, resolved_at FROM alerting.alert a WHERE EXISTS (
  SELECT FROM container_metrics m WHERE m.container_id = a.container_id AND m.at > a.started_at AND m.at < a.started_at + interval '4 seconds')
SQL
ok(wait_for_alerts($node, 'postgres', 'FIRING', 4), 'everybody is silent after it');

$node->stop;
done_testing();

# The evaluator that starts over, since a table was attached or the binding was changed, has watched before: silence
# counts from the last sample on, and not from then.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use ClockTest;
use OperationsTest;
use Test::More;

my $clock = ClockTest->new;
my $node = new_server('silence', preload => 1, start => 0);
$clock->under(sub { $node->start });
make_host($node, 'postgres');
sql($node, 'postgres', <<'SQL');
SELECT rule('down', 1, 'CONTAINER_DOWN', no_data => 'fire'), rule('cpu', 1, 'CPU_USAGE', 80, no_data => 'resolve');
CREATE TABLE more_metrics (LIKE container_metrics INCLUDING ALL);
SQL
flush($node, 'postgres');

# What is done some minutes after the last sample, two minutes at a time.
my @changes = (
	[ 'a table is attached', "SELECT alerting.attach_metrics('more_metrics', container => 'container_id')" ],
	[ 'it is attached otherwise', "SELECT alerting.attach_metrics('more_metrics', container => 'container_id', cpu => '')" ],
	[ 'it is detached', "SELECT alerting.detach_metrics('more_metrics')" ],
	[ 'the containers are attached otherwise', q{SELECT alerting.attach('organizations', 'containers', name => 'organization_id')} ]);
my $now = 0;
my $container = 9;
for my $change (@changes)
{
	my ($name, $sql) = @$change;
	$container++;
	sql($node, 'postgres', "INSERT INTO containers VALUES ($container, 1, 'c') ON CONFLICT DO NOTHING; INSERT INTO container_metrics VALUES ($container, now(), 95, 5, true, 0)");
	flush($node, 'postgres');
	$clock->shift_by($now += 180);
	sql($node, 'postgres', $sql);
	flush($node, 'postgres');
	is(sql($node, 'postgres', "SELECT string_agg(rule_id || ' ' || status, ', ' ORDER BY rule_id) FROM alerting.alert WHERE container_id = $container"), 'cpu FIRING', "$name: nothing yet");
	$clock->shift_by($now += 180);
	flush($node, 'postgres');
	is(sql($node, 'postgres', "SELECT string_agg(rule_id || ' ' || status, ', ' ORDER BY rule_id) FROM alerting.alert WHERE container_id = $container"), 'cpu RESOLVED, down FIRING', "$name: silence");
	is(sql($node, 'postgres', "SELECT state FROM alerting.explain('down', $container)"), 'FIRING', "$name: explain() says so");
}

# A table that is replaced by another: nothing is silent for that, and all is when it was said to be. Of a table that is
# not replaced nothing is.
sub down { return sql($node, 'postgres', "SELECT string_agg(rule_id || ' ' || status, ', ' ORDER BY rule_id, fired_at) FROM alerting.alert WHERE container_id = $container") }
sub time_passes { my ($seconds) = @_; $clock->shift_by($now += $seconds); flush($node, 'postgres'); return; }
$container = 20;
sql($node, 'postgres', "SELECT alerting.attach_metrics('container_metrics', stale_after => '1 hour'); INSERT INTO container_metrics VALUES (20, now(), 5, 5, true, 0); SELECT rule('other', 2, 'CONTAINER_DOWN')");
time_passes(1200);
sql($node, 'postgres', "BEGIN; SELECT alerting.attach_metrics('more_metrics', container => 'container_id', stale_after => '1 hour'); SELECT alerting.detach_metrics('container_metrics'); COMMIT");
time_passes(1200);
is(down(), '', 'a table is replaced: nothing is silent before its time');
is(sql($node, 'postgres', 'SELECT state FROM alerting.explain($$other$$, 20)'), 'OK', 'explain() says so');
sql($node, 'postgres', 'SELECT alerting.stop(), alerting.start()');
time_passes(1200);
is(down(), '', 'nor after a start');
time_passes(3600);
is(down(), 'other FIRING', 'but then');
sql($node, 'postgres', 'INSERT INTO more_metrics VALUES (20, now(), 5, 5, true, 0)');
flush($node, 'postgres');
is(down(), 'other RESOLVED', 'it goes on with the new one');
sql($node, 'postgres', "SELECT alerting.detach_metrics('more_metrics')");
time_passes(36000);
is(down(), 'other RESOLVED', 'without any table nothing is silent');
sql($node, 'postgres', "SELECT alerting.attach_metrics('container_metrics')");

# A start of the evaluator watches from then on only.
sql($node, 'postgres', "INSERT INTO containers VALUES (30, 1, 'c'); INSERT INTO container_metrics VALUES (30, now(), 95, 5, true, 0)");
flush($node, 'postgres');
$clock->shift_by($now += 180);
sql($node, 'postgres', 'SELECT alerting.stop(), alerting.start()');
flush($node, 'postgres');
$clock->shift_by($now += 180);
flush($node, 'postgres');
is(sql($node, 'postgres', 'SELECT count(*) FROM alerting.alert WHERE container_id = 30 AND rule_id = $$down$$'), 0, 'after a start it counts from there');

$node->stop('fast');
done_testing();

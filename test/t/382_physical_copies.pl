# Physical copies: a base backup started as another server, and recovery to a point in time. Both are the
# same database, so they send; started with alerting.enabled = off they do nothing until told to.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest ();
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $receiver = AlertingTest::start_receiver('copies');
my $node = new_server('original', preload => 1, init => { allows_streaming => 1, has_archiving => 1 },
	conf => "alerting.allowed_networks = '127.0.0.0/8'\n");
make_host($node, 'postgres');
sql($node, 'postgres', <<"SQL");
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('pending', 1, 'CPU_USAGE', 80, 30);
INSERT INTO alerting.webhook (id, organization_id, url, retry_schedule) VALUES ('w', 1, '@{[ $receiver->url(q{/status/503}) ]}', '{1 hour}');
SELECT s(10, n, 95) FROM generate_series(0, 20) n;
SQL
flush($node, 'postgres');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM alerting.delivery WHERE attempts = 1'), 'a delivery waits');
$node->backup('base');

# After the backup: an alert ends, another begins, one is delivered; then somebody drops the rules.
sql($node, 'postgres', 'SELECT s(11, 21, 95); SELECT s(11, 22, 5); SELECT s(12, 22, 95)');
flush($node, 'postgres');
my $at_point = alerts($node, 'postgres');
is($at_point, "cpu 10 FIRING 0>0\ncpu 11 RESOLVED 21>21>22 RECOVERED\ncpu 12 FIRING 22>22", 'before the accident');
my $deliveries = sql($node, 'postgres', 'SELECT id FROM alerting.delivery ORDER BY 1');
sql($node, 'postgres', "SELECT pg_create_restore_point('before')");
sql($node, 'postgres', "DELETE FROM alerting.alert_rule; SELECT s(20, 23, 95)");
flush($node, 'postgres');
my $segment = sql($node, 'postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
$node->poll_query_until('postgres', "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver") or die 'the archiver stands still';
$node->stop('fast');

# A server from the backup, as it was at the restore point, where nothing may be sent yet.
sub restored
{
	my ($name, $conf) = @_;
	my $copy = PostgreSQL::Test::Cluster->new($name);
	$copy->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
	$copy->append_conf('postgresql.conf', "archive_mode = off\nrecovery_target_action = promote\n$conf");
	$copy->start;
	$copy->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die "$name stays in recovery";
	return $copy;
}

# The count of requests that came for deliveries.
sub requests { return scalar $receiver->requests }

my $before = requests();
my $copy = restored('point', "recovery_target_name = 'before'\nalerting.enabled = off\n");
is(alerts($copy, 'postgres'), $at_point, 'point in time: the alerts of then');
is(sql($copy, 'postgres', 'SELECT state FROM alerting.status()'), 'disabled', 'point in time: nothing runs while it is switched off');
sql($copy, 'postgres', 'SELECT s(10, n, 95) FROM generate_series(21, 30) n');
is(sql($copy, 'postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'alerting (evaluator|sender)'"), 0, 'point in time: nor after an insert');
is(requests(), $before, 'point in time: and nothing is sent');
# What is not to go out again is settled first; then it is switched on.
sql($copy, 'postgres', "UPDATE alerting.webhook SET url = '@{[ $receiver->url(q{/point}) ]}'");
sql($copy, 'postgres', "UPDATE alerting.delivery SET next_attempt_at = now() WHERE status = 'PENDING'");
$copy->append_conf('postgresql.conf', 'alerting.enabled = on');
$copy->reload;
ok($copy->poll_query_until('postgres', "SELECT state = 'running' FROM alerting.status()"), 'point in time: switched on');
flush($copy, 'postgres', deliveries => 1, name => 'point in time: evaluated and delivered');
is(alerts($copy, 'postgres'), "cpu 10 FIRING 0>0\npending 10 FIRING 0>30\ncpu 11 RESOLVED 21>21>22 RECOVERED\ncpu 12 FIRING 22>22",
	'point in time: rows inserted meanwhile are judged, the pending run went on, nothing came twice');
my @ids = map { map { $_->[1] } grep { lc $_->[0] eq 'webhook-id' } @{ $_->{headers} } } grep { $_->{path} eq '/point' } $receiver->requests;
my %sent = map { $_ => 1 } @ids;
is(scalar(@ids), 5, 'point in time: each delivery is sent once');
is(join("\n", grep { !$sent{$_} } split /\n/, $deliveries), '', 'point in time: those that the original had made under its ids');
$copy->stop('fast');

# The whole of the archive, with the accident: the same database goes on, and sends.
$copy = restored('clone', '');
is(sql($copy, 'postgres', 'SELECT held FROM alerting.status()'), 'f', 'base backup: is no copy that holds its webhooks');
flush($copy, 'postgres', name => 'base backup: evaluated');
is(sql($copy, 'postgres', 'SELECT count(*) FROM alerting.alert'), 0, 'base backup: what came after the backup is there');
sql($copy, 'postgres', "UPDATE alerting.webhook SET url = '@{[ $receiver->url(q{/clone}) ]}'; SELECT rule('new', 1, 'CPU_USAGE', 80); SELECT s(11, 40, 95)");
ok(wait_until(sub { grep { $_->{path} eq '/clone' && $_->{json}{type} eq 'alert.firing' } $receiver->requests }), 'base backup: sends');
$copy->stop('fast');
done_testing();

# The server's queue of notifications is full, since a session that listens stays in a transaction: what notifies would fail
# at its commit. Neither the host's transactions nor the alerts may.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use ReceiverTest;
use Test::More;

my $node = new_server('notifications', conf => "max_notify_queue_pages = 64\nalerting.allowed_networks = '127.0.0.0/8'\n", start => 0);
plan skip_all => 'a queue small enough to be filled needs PostgreSQL 17' if $node->pg_version < 17;
$node->start;
my $receiver = start_receiver('notifications');
make_host($node, 'postgres');
sql($node, 'postgres', "SELECT rule('cpu', 1, 'CPU_USAGE', 80); SELECT s(10, 1, 95), s(11, 1, 95)");
flush($node, 'postgres');
is(alerts($node, 'postgres'), "cpu 10 FIRING 1>1\ncpu 11 FIRING 1>1", 'two alerts fire');

my $sleeper = $node->background_psql('postgres');
$sleeper->query_safe('LISTEN something; BEGIN');
for my $count (10, 1)
{
	my $fill = "SELECT count(pg_notify('something', repeat('x', 7000) || n)) FROM generate_series(1, $count) n";
	my $error = '';
	$node->psql('postgres', $fill, stderr => \$error) while $error !~ /too many notifications/;
}

my ($gone, $ok) = map { $receiver->url($_) } qw(/gone /ok);
sql($node, 'postgres', "SELECT alerting.create_webhook(1, '$gone'), alerting.create_webhook(1, '$ok')");
sql($node, 'postgres', 'SELECT s(12, 2, 95), s(11, 3, 5)');
flush($node, 'postgres', deliveries => 1, name => 'full: all is judged and sent');
statement_ok($node, 'postgres', 'DELETE FROM containers WHERE id = 10', 'full: deleting a container whose alert fires');
flush($node, 'postgres', deliveries => 1);
is(alerts($node, 'postgres'), "cpu 11 RESOLVED 1>1>3 RECOVERED\ncpu 12 FIRING 2>2", 'full: alerts are written');
is(scalar(grep { $_->{path} eq '/ok' } $receiver->requests), 1, 'full: the webhook arrives');
is(sql($node, 'postgres', "SELECT is_active, disabled_reason FROM alerting.webhook WHERE url = '$gone'"), 'f|endpoint answered 410 Gone',
	'full: a webhook is switched off');
is(sql($node, 'postgres', 'SELECT problem IS NULL FROM alerting.status()'), 't', 'full: no worker has trouble');
like(sql($node, 'postgres', "SELECT status, detail FROM alerting.doctor() WHERE topic = 'notifications'"), qr/^warning\|.* (9\d|100) % full/, 'full: doctor() tells');

$sleeper->query_safe('COMMIT; UNLISTEN *; LISTEN alerting');
is(sql($node, 'postgres', "SELECT count(*) FROM alerting.doctor() WHERE topic = 'notifications'"), '0', 'read: doctor() is content');
sql($node, 'postgres', 'SELECT s(12, 4, 5)');
flush($node, 'postgres');
like($sleeper->query('SELECT 1'), qr/"alert\.resolved".*"containerId": "12"/, 'read: notifications go on');
$sleeper->quit;
$receiver->stop;
$node->stop('fast');
done_testing();

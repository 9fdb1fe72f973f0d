# A reload of the settings while a worker starts: PostgreSQL has a background worker ignore it until the worker's own code runs.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = PostgreSQL::Test::Utils::tempdir();
my $hold = "$folder/hold";
my $node;
{
	local $ENV{LD_PRELOAD} = preloaded('held_start', $folder);
	local $ENV{HELD_START} = $hold;
	$node = new_node('held');
}
my $receiver = start_receiver('held');
webhook($node, 'ok', $receiver->url('/ok'));
deliver($node, 'ok');
like(wait_settled($node, 'ok'), qr/^DELIVERED/, 'loopback is allowed');

append_to_file($hold, '');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'alerting sender'});
ok(wait_until(sub { -e "$hold.held" }), 'the next sender is held where it starts');
$node->append_conf('postgresql.conf', q{alerting.allowed_networks = ''});
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT current_setting('alerting.allowed_networks') = ''}), 'the server has read its settings again');
unlink $hold or die $!;
deliver($node, 'ok');
ok($node->poll_query_until('postgres', q{SELECT attempts = 1 FROM alerting.delivery ORDER BY seq DESC LIMIT 1}), 'the sender is back');
like(settled($node, 'ok'), qr/refused network: 127\.0\.0\.1 is a loopback address$/, 'and goes by the new settings');

$receiver->stop;
$node->stop('fast');
done_testing();

# What this machine lacks is held against no delivery and no endpoint.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = PostgreSQL::Test::Utils::tempdir();
my $want = "$folder/want";
my $node;
{
	local $ENV{LD_PRELOAD} = preloaded('no_sockets', $folder);
	local $ENV{NO_SOCKETS} = $want;
	$node = new_node('want');
}
my $receiver = start_receiver('want');
append_to_file($want, '');
webhook($node, $_, $receiver->url("/$_"), retry_schedule => "'{}'") for 'first', 'second';
deliver($node, $_) for 'first', 'second';
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM alerting.delivery WHERE last_error IS NOT NULL}), 'both were tried');
my $error = 'connecting failed: this machine has too many open files';
is(settled($node, $_), "PENDING 0 $error", "$_: no try is used up") for 'first', 'second';
ok($node->poll_query_until('postgres', qq{SELECT problem = '$error' FROM alerting.status()}), 'status() tells');
is($node->safe_psql('postgres', q{SELECT count(*) FROM alerting.delivery_attempt WHERE error IS NULL OR status_code IS NOT NULL}), '0', 'attempts are logged');
unlink $want;
is(wait_settled($node, $_), 'DELIVERED 1 200', "$_: arrives later") for 'first', 'second';
ok($node->poll_query_until('postgres', q{SELECT problem IS NULL OR problem = '' FROM alerting.status()}), 'status() tells no more');
my @told = log_since($node) =~ /requests fail on this machine: \Q$error\E/g;
is(scalar @told, 1, 'the log tells once');

$receiver->stop;
$node->stop('fast');
done_testing();

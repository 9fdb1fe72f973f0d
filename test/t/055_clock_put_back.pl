# The clock of the machine is put back while the server runs: what comes from then on is judged and sent as ever.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use ClockTest;
use DeliveryTest;
use Test::More;

my $clock = ClockTest->new;
my $node = $clock->under(sub { return new_node('clock') });
my $receiver = start_receiver('clock');
webhook($node, 'ok', $receiver->url('/ok'));
webhook($node, 'failing', $receiver->url('/status/500'), retry_schedule => q{array_fill('1 second'::interval, '{30}')});
$node->safe_psql('postgres', q{
	CREATE TABLE container_metrics (container_id int, at timestamptz, cpu_percent float8);
	SELECT alerting.attach_metrics('container_metrics', max_age => NULL);
	INSERT INTO containers SELECT i, 1, 'c' || i FROM generate_series(100, 110) i;
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80)});

my $container = 100;
for my $step (0, -3600, -90000, -90005)
{
	$clock->shift_by($step);
	$node->safe_psql('postgres', "INSERT INTO container_metrics VALUES ($container, now(), 99)");
	$container++;
	deliver($node, 'ok');
	ok($node->poll_query_until('postgres', qq{SELECT count(*) = $container - 100 FROM alerting.delivery
		WHERE webhook_id = 'ok' AND alert_id IS NOT NULL AND status = 'DELIVERED'}), "$step s: an alert arrives");
	ok($node->poll_query_until('postgres', qq{SELECT count(*) = $container - 100 FROM alerting.delivery
		WHERE webhook_id = 'ok' AND alert_id IS NULL AND status = 'DELIVERED'}), "$step s: so does what a user puts into the outbox");
}

# An endpoint that is spared is probed again, not when the clock is there once more.
deliver($node, 'failing', count => 12);
ok($node->poll_query_until('postgres', q{SELECT probe_at IS NOT NULL FROM alerting.webhook WHERE id = 'failing'}), 'an endpoint is spared');
$clock->shift_by(-200000);
ok($node->poll_query_until('postgres', q{SELECT probe_at < now() + interval '6 minutes' FROM alerting.webhook WHERE id = 'failing'}), 'its probe is put back with the clock');

$receiver->stop;
$node->stop('fast');
done_testing();

# Bad endpoints cost the others nothing, and the worker little: field cases 16, 21 and 22.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('isolation', conf => ["alerting.delivery_timeout = '15s'"]);
my $receiver = start_receiver('isolation');
my $bad = start_receiver('bad');

sub sender_pid
{
	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'alerting sender'");
}

sub resident_kb
{
	my ($pid) = @_;
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m;
	return $kb;
}

# --- twenty slow endpoints and a healthy one -------------------------------------------------------
webhook($node, "slow$_", $bad->url("/slow/30/$_"), retry_schedule => "'{1 hour}'") for 1 .. 20;
webhook($node, 'healthy', $receiver->url('/healthy'));
$node->safe_psql('postgres', q{INSERT INTO alerting.delivery (webhook_id, event, payload)
	SELECT w.id, 'alert.firing', jsonb_build_object('n', n) FROM generate_series(1, 50) n, alerting.webhook w ORDER BY n, w.id DESC});
ok(wait_until(sub { $receiver->requests('/healthy') == 50 }), 'the healthy endpoint got its 50');
my ($arrived) = sort { $b <=> $a } map { $_->{at} } $receiver->requests('/healthy');
cmp_ok(scalar(grep { $_->{at} < $arrived } map { $bad->requests("/slow/30/$_") } 1 .. 20), '<', 200,
	'while the slow ones were at the first of theirs');
ok($node->poll_query_until('postgres', q{SELECT count(DISTINCT d.webhook_id) = 20 FROM alerting.delivery_attempt a
	JOIN alerting.delivery d ON d.id = a.delivery_id WHERE a.error LIKE 'timeout after %ms waiting for a response'}),
	'each slow one ended by the timeout');
cmp_ok($node->safe_psql('postgres', q{SELECT max(n) FROM (SELECT count(*) AS n FROM alerting.delivery_attempt a
	JOIN alerting.delivery d ON d.id = a.delivery_id WHERE d.webhook_id LIKE 'slow%' GROUP BY d.webhook_id) x}),
	'<=', 3, 'a slow endpoint is asked once at a time');
deliver($node, 'healthy', count => 20);
ok(wait_until(sub { $receiver->requests('/healthy') == 70 }), 'the next ones go');
$node->safe_psql('postgres', "DELETE FROM alerting.webhook WHERE id LIKE 'slow%'");

# --- answers without end ------------------------------------------------------------------------------
my %expected = (
	'/endless' => qr/^DELIVERED 1 200$/,
	'/gzipbomb' => qr/^DELIVERED 1 200$/,
	'/drip-body' => qr/^DELIVERED 1 200$/,
	'/drip' => qr/^FAILED 1 timeout after \d+ ms while reading the response$/,
	'/endless-headers' => qr/^FAILED 1 response head is larger than 32 kB$/,
	'/continue' => qr/^FAILED 1 (timeout after \d+ ms|response head is larger)/,
	'/switch' => qr/^FAILED 1 endpoint switched to another protocol \(101\)$/,
	'/hang' => qr/^FAILED 1 timeout after \d+ ms waiting for a response$/);
my $before = resident_kb(sender_pid());
for my $path (sort keys %expected)
{
	webhook($node, substr($path, 1), $bad->url($path), retry_schedule => "'{}'");
	deliver($node, substr($path, 1));
}
like(wait_settled($node, substr($_, 1)), $expected{$_}, $_) for sort keys %expected;
cmp_ok(resident_kb(sender_pid()) - $before, '<', 40 * 1024, 'the worker stays small');
is($node->safe_psql('postgres', 'SELECT max(length(response)) <= 1024 FROM alerting.delivery_attempt'), 't',
	'a short prefix of each response is kept');

# --- a dead endpoint is not hammered ----------------------------------------------------------------------
$bad->stop;
webhook($node, 'dead', $bad->url('/dead'), retry_schedule => "'{50 milliseconds,50 milliseconds}'");
deliver($node, 'dead', count => 100);
ok($node->poll_query_until('postgres', q{SELECT count(*) >= 10 FROM alerting.delivery_attempt a
	JOIN alerting.delivery d ON d.id = a.delivery_id WHERE d.webhook_id = 'dead'}), 'ten attempts');
deliver($node, 'healthy');
wait_settled($node, 'healthy');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM alerting.delivery WHERE webhook_id = 'dead' AND status = 'PENDING'}),
	'what could not wait for longer is parked with the first probe');
is($node->safe_psql('postgres', q{SELECT count(*) FROM alerting.delivery_attempt a
	JOIN alerting.delivery d ON d.id = a.delivery_id WHERE d.webhook_id = 'dead'}), '11', 'eleven attempts in all');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT last_error, ', ' ORDER BY last_error) FROM alerting.delivery WHERE webhook_id = 'dead'}),
	'connecting failed: connection refused, not tried again, the endpoint fails: connecting failed: connection refused',
	'with the cause in words');
like(log_since($node), qr{webhook dead at http://127\.0\.0\.1:\d+ failed 10 times in a row: connecting failed}, 'the log tells once');
unlike(log_since($node), qr{/dead}, 'without the path');
is($node->safe_psql('postgres', q{SELECT is_active, pending, failed, last_failure, failures_in_a_row, attempts_24h, success_ratio_24h FROM alerting.webhook_health WHERE webhook_id = 'dead'}),
	't|0|100|connecting failed: connection refused|11|11|0.0000', 'webhook_health of a dead endpoint');
is($node->safe_psql('postgres', q{SELECT pending, failed, last_failure, failures_in_a_row, attempts_24h, success_ratio_24h, p50_ms_24h <= p95_ms_24h, last_success_at IS NOT NULL
	FROM alerting.webhook_health WHERE webhook_id = 'healthy'}), '0|0||0|71|1.0000|t|t', 'webhook_health of a healthy one');
is($node->safe_psql('postgres', q{SELECT alerting.redeliver_failed('dead', until => now() - interval '1 hour')}), '0', 'redeliver_failed by range: none');
is($node->safe_psql('postgres', q{SELECT alerting.redeliver_failed('dead', until => '-infinity')}), '0', 'redeliver_failed by range: before all times');
# One a minute, while nothing is sent.
$node->safe_psql('postgres', q{
	UPDATE alerting.webhook SET is_active = false WHERE id = 'dead';
	UPDATE alerting.delivery d SET created_at = '2026-03-02 10:00Z'::timestamptz + n * interval '1 minute'
	  FROM (SELECT id, row_number() OVER (ORDER BY seq) - 1 AS n FROM alerting.delivery WHERE webhook_id = 'dead') x WHERE x.id = d.id});
is($node->safe_psql('postgres', q{SELECT alerting.redeliver_failed('dead', since => '2026-03-02 10:10Z', until => '2026-03-02 10:20Z')}), '10', 'redeliver_failed by range: some');
is($node->safe_psql('postgres', q{SELECT min(created_at) = '2026-03-02 10:10Z', max(created_at) = '2026-03-02 10:19Z', count(*), max(attempts)
	FROM alerting.delivery WHERE webhook_id = 'dead' AND status = 'PENDING'}), 't|t|10|0', 'from since on, up to until');
is($node->safe_psql('postgres', q{SELECT alerting.redeliver_failed('dead', since => '2026-03-02 11:00Z')}), '40', 'redeliver_failed by range: from a time on');
is($node->safe_psql('postgres', q{SELECT alerting.redeliver_failed('healthy'), alerting.redeliver_failed(until => '2026-03-02 10:05Z')}), '0|5', 'of one webhook, of all');
{
	my ($code, undef, $error) = $node->psql('postgres', q{SELECT alerting.redeliver_failed('nobody')});
	like("$code $error", qr/^3 .*ERROR:  webhook "nobody" does not exist\nHINT:  The ids are in alerting\.webhook\./, 'redeliver_failed of a webhook that is not there');
}
is($node->safe_psql('postgres', q{SELECT alerting.redeliver_failed('dead')}), '45', 'redeliver_failed takes all others up again');
$node->safe_psql('postgres', q{UPDATE alerting.webhook SET is_active = true, url = '} . $receiver->url('/alive') . q{' WHERE id = 'dead'});
like(wait_settled($node, 'dead'), qr/^(DELIVERED 1 200\n?){100}$/, 'a new url closes the breaker');

$receiver->stop;
$node->stop('fast');
done_testing();

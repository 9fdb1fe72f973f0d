# What a webhook may have of its own (rate, concurrency, headers), who gets his turn, what the log of
# attempts and webhook_health tell, and what a late FIRING says of itself.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use HTTP::Tiny;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('limits', conf => [ "alerting.delivery_timeout = '60s'", 'alerting.max_concurrent_deliveries = 32' ]);
my $receiver = start_receiver('limits');
my $sender = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'alerting sender' AND datname = 'postgres'";
my $attempts = 'alerting.delivery_attempt a JOIN alerting.delivery d ON d.id = a.delivery_id';

# --- an organization with many webhooks starves nobody ------------------------------------------------------
# More than one fetch asks for, and all of them hang for longer than this test takes.
$node->safe_psql('postgres', qq{
	INSERT INTO alerting.webhook (id, organization_id, url) SELECT 'many' || n, 1, '} . $receiver->url('/hang') . qq{?' || n FROM generate_series(1, 400) n;
	INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('lone', 2, '} . $receiver->url('/lone') . qq{');
	INSERT INTO alerting.delivery (webhook_id, event, payload) SELECT 'many' || n, 'ping', '{}' FROM generate_series(1, 400) n});
ok(wait_until(sub { (grep { $_->{path} =~ m{^/hang} } $receiver->requests) >= 12 }), 'requests hang');
deliver($node, 'lone', count => 3);
is(wait_settled($node, 'lone'), join("\n", ('DELIVERED 1 200') x 3), 'another organization is sent to meanwhile');
is($node->safe_psql('postgres', "SELECT count(*) FROM $attempts WHERE d.webhook_id LIKE 'many%'"), '0', 'while all of those hang');
$node->safe_psql('postgres', "DELETE FROM alerting.webhook WHERE id LIKE 'many%'; SELECT pg_terminate_backend(pid) FROM ($sender) x");

# --- rate and concurrency ---------------------------------------------------------------------------------
webhook($node, 'rate', $receiver->url('/rate'), rate_limit => 119);
webhook($node, 'two', $receiver->url('/slow-ok/0.05?two'), max_concurrent => 2);
webhook($node, 'automatic', $receiver->url('/slow-ok/0.05?automatic'));
deliver($node, 'rate', count => 4);
deliver($node, $_, count => 40) for qw(two automatic);
is(wait_settled($node, 'rate'), join("\n", ('DELIVERED 1 200') x 4), 'a limited rate');
is($node->safe_psql('postgres', "SELECT min(gap) >= interval '1 minute' / 119 FROM (SELECT a.at - lag(a.at) OVER (ORDER BY a.at) AS gap FROM $attempts WHERE d.webhook_id = 'rate') x"),
	't', 'is kept');
wait_settled($node, $_) for qw(two automatic);
my $at_once = "SELECT max((SELECT count(*) FROM $attempts WHERE d.webhook_id = x.webhook_id AND a.at <= x.at AND a.at + a.duration_ms * interval '1 ms' > x.at + interval '1 ms'))
	FROM (SELECT d.webhook_id, a.at FROM $attempts) x WHERE x.webhook_id = ";
is($node->safe_psql('postgres', "$at_once 'two'"), '2', 'two at a time');
cmp_ok($node->safe_psql('postgres', "$at_once 'automatic'"), '>', 2, 'more where nobody limits it');
is(scalar $receiver->requests('/slow-ok/0.05?two'), 40, 'each once');

# --- headers ------------------------------------------------------------------------------------------------
webhook($node, 'headers', $receiver->url('/headers'), headers => q{'{"Authorization": "Bearer t0ken", "X-Tenant": "a: b"}'}, secret => "'hidden'");
deliver($node, 'headers');
is(wait_settled($node, 'headers'), 'DELIVERED 1 200', 'with headers of its own');
is($node->safe_psql('postgres', q{SELECT delivered FROM alerting.test_webhook('headers')}), 't', 'test_webhook, too');
for my $request ($receiver->requests('/headers'))
{
	is(header($request, 'authorization'), 'Bearer t0ken', 'a header');
	is(header($request, 'x-tenant'), 'a: b', 'and another');
	is(header($request, 'webhook-signature'), signature($request, 'hidden'), 'beside the signature');
}
$node->safe_psql('postgres', q{UPDATE alerting.webhook SET headers = '{"X-New": "1"}' WHERE id = 'headers'});
deliver($node, 'headers');
wait_settled($node, 'headers');
my $newest = ($receiver->requests('/headers'))[-1];
is_deeply([ map { header($newest, $_) } qw(x-new authorization) ], [ '1', undef ], 'a change counts at once');
# What was written around the check is not sent: a line break would begin another header.
$node->safe_psql('postgres', q{ALTER TABLE alerting.webhook DISABLE TRIGGER alerting_check_webhook;
	UPDATE alerting.webhook SET headers = '{"X-A": "a\r\nX-Evil: t0ken"}', retry_schedule = '{}' WHERE id = 'headers';
	ALTER TABLE alerting.webhook ENABLE TRIGGER alerting_check_webhook});
deliver($node, 'headers');
like(wait_settled($node, 'headers'), qr/FAILED 1 webhook's headers are malformed$/, 'malformed headers are refused');
is($node->safe_psql('postgres', q{SELECT delivered, error FROM alerting.test_webhook('headers')}), q{f|webhook's headers are malformed}, 'by test_webhook, too');
is(scalar(grep { header($_, 'x-evil') } $receiver->requests), 0, 'nothing was injected');
unlike(log_since($node), qr/t0ken/, 'no value in the log');
is($node->safe_psql('postgres', q{SELECT count(*) FROM alerting.delivery d LEFT JOIN alerting.delivery_attempt a ON a.delivery_id = d.id WHERE concat(d, a) ~ 't0ken'}),
	'0', 'nor in the log of attempts');

# --- phases ---------------------------------------------------------------------------------------------------
webhook($node, 'phases', $receiver->url('/phases') =~ s/127\.0\.0\.1/localhost/r);
deliver($node, 'phases');
wait_settled($node, 'phases');
is($node->safe_psql('postgres', "SELECT dns_ms > 0, connect_ms > 0, tls_ms IS NULL, wait_ms > 0, dns_ms + connect_ms + wait_ms <= duration_ms + 1 FROM $attempts WHERE d.webhook_id = 'phases'"),
	't|t|t|t|t', 'milliseconds of each phase');
deliver($node, 'phases');
wait_settled($node, 'phases');
is($node->safe_psql('postgres', "SELECT connect_ms IS NULL, wait_ms > 0 FROM $attempts WHERE d.webhook_id = 'phases' ORDER BY a.id DESC LIMIT 1"), 't|t',
	'none to connect on a kept connection');
$node->safe_psql('postgres', q{SELECT alerting.test_webhook('phases')});
is($node->safe_psql('postgres', "SELECT connect_ms > 0, wait_ms > 0 FROM $attempts WHERE d.webhook_id = 'phases' AND d.event = 'ping'"), 't|t', 'of a ping, too');

# --- the breaker, for all to see, and over a restart ------------------------------------------------------------
my $health = q{SELECT breaker, probe_at > now(), next_attempt_at = probe_at, pending FROM alerting.webhook_health WHERE webhook_id = 'failing'};
# It fails until it is told not to, however many probes it is sent before the sender is stopped.
sub failing_is_now { return HTTP::Tiny->new->put($receiver->url('/control'), { content => qq{{"path": "/failing", "behaviour": "$_[0]"}} })->{success}; }
ok(failing_is_now('/status/500'), 'an endpoint fails');
webhook($node, 'failing', $receiver->url('/failing'), retry_schedule => "'{1 hour}'");
is($node->safe_psql('postgres', $health =~ s/> now\(\)/IS NULL/r), 'closed|t||0', 'a closed breaker');
deliver($node, 'failing', count => 12);
ok($node->poll_query_until('postgres', q{SELECT breaker <> 'closed' FROM alerting.webhook_health WHERE webhook_id = 'failing'}), 'it opens');
my $pid = $node->safe_psql('postgres', $sender);
# Between two senders: one that runs writes there what it knows itself.
$node->safe_psql('postgres', q{SELECT alerting.stop(); UPDATE alerting.webhook SET probe_at = now() + interval '1 hour' WHERE id = 'failing'});
is($node->safe_psql('postgres', $health), 'open|t|t|12', 'webhook_health shows it');
$node->safe_psql('postgres', 'SELECT alerting.start()');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($sender) x WHERE pid <> $pid"), 'the sender starts anew');
my $tried = $node->safe_psql('postgres', "SELECT count(*) FROM $attempts WHERE d.webhook_id = 'failing'");
deliver($node, 'lone');
wait_settled($node, 'lone');
is($node->safe_psql('postgres', "SELECT count(*) FROM $attempts WHERE d.webhook_id = 'failing'"), $tried, 'and spares the endpoint still');
ok(failing_is_now('/ok'), 'it is well');
$node->safe_psql('postgres', q{UPDATE alerting.delivery SET next_attempt_at = now() WHERE webhook_id = 'failing';
	UPDATE alerting.webhook SET probe_at = NULL WHERE id = 'failing'});
like(wait_settled($node, 'failing'), qr/^(DELIVERED [12] 200\n?){12}$/, 'until somebody says that it is well');
is($node->safe_psql('postgres', $health =~ s/> now\(\)/IS NULL/r), 'closed|t||0', 'the breaker is closed');

# --- a retry that is due before all else of its webhook ------------------------------------------------------------
# Nobody else wakes the sender; it looks at all webhooks once a minute.
webhook($node, 'retried', $receiver->url('/status/500,200/retried'), retry_schedule => "'{200 milliseconds}'");
webhook($node, 'beside', $receiver->url('/beside'));
$node->safe_psql('postgres', q{INSERT INTO alerting.delivery (webhook_id, event, payload, next_attempt_at)
	VALUES ('retried', 'ping', '{}', now() + interval '1 hour'), ('beside', 'ping', '{}', now() + interval '40 seconds')});
my ($retried) = deliver($node, 'retried');
ok($node->poll_query_until('postgres', "SELECT status = 'DELIVERED' AND attempts = 2 FROM alerting.delivery WHERE id = '$retried'"), 'a retry comes');
is(settled($node, 'beside'), 'PENDING 0', 'at its time, not with the next look at everything');
$node->safe_psql('postgres', q{DELETE FROM alerting.webhook WHERE id IN ('retried', 'beside')});

# --- a FIRING that comes after its alert was resolved --------------------------------------------------------------
webhook($node, 'late', $receiver->url('/late'), is_active => 'false');
$node->safe_psql('postgres', q{
	INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold) VALUES ('late', 1, 'late', 'CPU_USAGE', 90);
	INSERT INTO alerting.alert (id, rule_id, container_id, status, started_at, fired_at, resolved_at)
		SELECT 'l1', 'late', c.id, 'RESOLVED', now(), now(), now() FROM containers c
		UNION ALL SELECT 'l2', 'late', c.id, 'FIRING', now(), now(), NULL FROM containers c});
deliver($node, 'late', alert => 'l1');
deliver($node, 'late', alert => 'l1', event => 'alert.resolved');
deliver($node, 'late', alert => $_) for qw(l2 deleted);
$node->safe_psql('postgres', q{UPDATE alerting.webhook SET is_active = true WHERE id = 'late'});
wait_settled($node, 'late');
my %status = map { $_->{body} =~ /"n": 1/; my $id = header($_, 'webhook-id'); ($id => header($_, 'alerting-alert-status')) } $receiver->requests('/late');
is($node->safe_psql('postgres', "SELECT string_agg(concat_ws(' ', d.alert_id, d.event), ',' ORDER BY d.seq) FROM alerting.delivery d WHERE d.id = ANY ('{"
	  . join(',', grep { defined $status{$_} } keys %status) . "}')"), 'l1 alert.firing,deleted alert.firing', 'a FIRING whose alert is over says so');
my @order = map { header($_, 'webhook-id') } $receiver->requests('/late');
is($node->safe_psql('postgres', "SELECT string_agg(d.event, ' ' ORDER BY array_position('{" . join(',', @order) . "}', d.id)) FROM alerting.delivery d WHERE d.alert_id = 'l1'"),
	'alert.firing alert.resolved', 'and comes before its RESOLVED');

# --- more webhooks than places ------------------------------------------------------------------------------------
# Each has more than it may have claimed: it goes on to the next one when its turn has come, not with the next look.
$node->append_conf('postgresql.conf', 'alerting.max_concurrent_deliveries = 2');
$node->reload;
my ($lines, $each) = (30, 10);
my $line_url = $receiver->url('/line');
$node->safe_psql('postgres', "INSERT INTO alerting.webhook (id, organization_id, url) SELECT 'line ' || i, 1, '$line_url' FROM generate_series(1, $lines) i;
	INSERT INTO alerting.delivery (webhook_id, event, payload) SELECT 'line ' || i, 'ping', '{}' FROM generate_series(1, $lines) i, generate_series(1, $each)");
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM alerting.delivery WHERE webhook_id LIKE 'line %' AND status = 'PENDING')}),
	'webhooks that stand in line are all served');
is(scalar($receiver->requests('/line')), $lines * $each, 'each of their deliveries once');

# --- more requests than the server may have files open ----------------------------------------------------
$node->append_conf('postgresql.conf', "alerting.max_concurrent_deliveries = 1000\nmax_files_per_process = 200\n");
$node->restart;
webhook($node, 'files', $receiver->url('/files'));
$node->safe_psql('postgres', q{SELECT alerting.start()});
deliver($node, 'files', count => 500);
is(wait_settled($node, 'files'), join("\n", ('DELIVERED 1 200') x 500), 'the sender sends as many at a time as it can');

$receiver->stop;
$node->stop('fast');
done_testing();

# The sender waits for nobody: rows that users have locked, changed or deleted under it; retention.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use HTTP::Tiny;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('locks', conf => ["alerting.delivery_timeout = '15s'"]);
my $receiver = start_receiver('locks');
webhook($node, 'ok', $receiver->url('/ok'));

# --- a locked delivery ------------------------------------------------------------------------------
webhook($node, 'slow', $receiver->url('/slow/2'));
my $id = deliver($node, 'slow');
my $locker = $node->background_psql('postgres');
$locker->query_safe("BEGIN; SELECT 1 FROM alerting.delivery WHERE id = '$id' FOR UPDATE");
ok(wait_until(sub { $receiver->requests('/slow/2') == 1 }), 'a locked delivery is sent');
deliver($node, 'ok', count => 5);
is(wait_settled($node, 'ok'), join("\n", ('DELIVERED 1 200') x 5), 'others are recorded meanwhile');
is(settled($node, 'slow'), 'PENDING 0', 'the locked one is not, yet');
$locker->query_safe('COMMIT');
is(wait_settled($node, 'slow'), 'DELIVERED 1 200', 'it is when the lock is gone');
is(scalar $receiver->requests('/slow/2'), 1, 'and was sent once');

# What was answered waits to be recorded, and the sender looks for more.
webhook($node, 'answered', $receiver->url('/slow/0.5/answered'));
$id = deliver($node, 'answered');
$locker->query_safe("BEGIN; SELECT 1 FROM alerting.delivery WHERE id = '$id' FOR UPDATE");
ok(wait_until(sub { $receiver->requests('/slow/0.5/answered') == 1 }), 'another one is sent');
webhook($node, 'after', $receiver->url('/slow/0.5/after'));
for my $round (1 .. 3)
{
	deliver($node, 'after');
	is(wait_settled($node, 'after'), join("\n", ('DELIVERED 1 200') x $round), "so is what comes after it ($round)");
}
$locker->query_safe('COMMIT');
is(wait_settled($node, 'answered'), 'DELIVERED 1 200', 'it is recorded when the lock is gone');
is(scalar $receiver->requests('/slow/0.5/answered'), 1, 'and was not sent again');

# --- rows that lie elsewhere when the answer comes ------------------------------------------------------
$id = deliver($node, 'slow');
$locker->query_safe("BEGIN; UPDATE alerting.delivery SET payload = payload || '{\"more\": 1}' WHERE id = '$id'");
ok(wait_until(sub { $receiver->requests('/slow/2') == 2 }), 'a delivery that is being updated is sent');
$locker->query_safe('COMMIT');
is(wait_settled($node, 'slow'), join("\n", ('DELIVERED 1 200') x 2), 'and recorded afterwards');
deliver($node, 'slow');
ok(wait_until(sub { $receiver->requests('/slow/2') == 3 }), 'a request is under way');
$node->safe_psql('postgres', 'VACUUM FULL alerting.delivery');
is(wait_settled($node, 'slow'), join("\n", ('DELIVERED 1 200') x 3), 'it is recorded though the table was rewritten');
is($node->safe_psql('postgres', q{SELECT count(DISTINCT d.id), count(*) FROM alerting.delivery d JOIN alerting.delivery_attempt a ON a.delivery_id = d.id WHERE webhook_id = 'slow'}),
	'3|3', 'one attempt each');

# --- a delivery deleted under way ---------------------------------------------------------------------
my $taken = q{SELECT deliveries FROM alerting.status()};
my $answered = $node->safe_psql('postgres', $taken);
deliver($node, 'slow');
ok(wait_until(sub { $receiver->requests('/slow/2') == 4 }), 'a request is under way');
$node->safe_psql('postgres', q{DELETE FROM alerting.webhook WHERE id = 'slow'});
deliver($node, 'ok');
is($node->safe_psql('postgres', q{SELECT alerting.flush('60s', deliveries => true)}), 't', 'its webhook may go meanwhile');
is($node->safe_psql('postgres', q{SELECT count(*) FROM alerting.delivery WHERE webhook_id = 'slow'}), '0', 'nothing is left of it');
$answered += 2;
ok($node->poll_query_until('postgres', $taken, $answered), 'but an answer, which is taken');

# --- a table that is shorter when the answer comes -------------------------------------------------------
my $blocks = q{SELECT pg_relation_size('alerting.delivery') / current_setting('block_size')::int};
webhook($node, 'short', $receiver->url('/slow/2/short'));
webhook($node, 'inactive', $receiver->url('/inactive'), is_active => 'false');
for my $statement ('TRUNCATE alerting.delivery CASCADE', 'DELETE FROM alerting.delivery')
{
	my $before = $receiver->requests('/slow/2/short');
	deliver($node, 'inactive', count => 500);
	deliver($node, 'short');
	ok(wait_until(sub { $receiver->requests('/slow/2/short') == $before + 1 }), 'a request is under way');
	cmp_ok($node->safe_psql('postgres', $blocks), '>', 5, 'its delivery lies in a block further on');
	$node->safe_psql('postgres', $statement);
	ok(wait_until(sub { $node->safe_psql('postgres', 'VACUUM alerting.delivery'); $node->safe_psql('postgres', $blocks) < 5 }),
		"$statement: the table ends before it");
	++$answered;
	ok($node->poll_query_until('postgres', "SELECT deliveries = $answered AND coalesce(problem, '') = '' FROM alerting.status()"), 'the answer is taken');
}

# --- a delivery asked for again under way ---------------------------------------------------------------
webhook($node, 'again', $receiver->url('/hang'), retry_schedule => "'{1 hour}'");
deliver($node, 'again');
ok(wait_until(sub { $receiver->requests('/hang') == 1 }), 'a request hangs');
$node->safe_psql('postgres', q{UPDATE alerting.webhook SET url = '} . $receiver->url('/again') . q{' WHERE id = 'again'});
$node->safe_psql('postgres', q{UPDATE alerting.delivery SET next_attempt_at = now() WHERE webhook_id = 'again'});
is(wait_settled($node, 'again'), 'DELIVERED 2 200', 'the time that a user has set meanwhile stands when the request fails');

# --- a delivery given another time under way --------------------------------------------------------------
my $http = HTTP::Tiny->new;
webhook($node, 'both', $receiver->url('/both'));
deliver($node, 'both', count => 5);
is(wait_settled($node, 'both'), join("\n", ('DELIVERED 1 200') x 5), 'an endpoint has proven itself');
ok($http->put($receiver->url('/control'), {content => '{"path": "/both", "behaviour": "/hang"}'})->{success}, 'then it hangs');
$id = deliver($node, 'both');
ok(wait_until(sub { $receiver->requests('/both') == 6 }), 'a request hangs');
ok($http->put($receiver->url('/control'), {content => '{"path": "/both", "behaviour": "/ok"}'})->{success}, 'and answers again');
# Both are due at one time, and the one under way comes first.
$node->safe_psql('postgres', qq{BEGIN; UPDATE alerting.delivery SET next_attempt_at = now() WHERE id = '$id';
	INSERT INTO alerting.delivery (webhook_id, event, payload) VALUES ('both', 'ping', '{}'); COMMIT});
ok($node->poll_query_until('postgres', q{SELECT status = 'DELIVERED' FROM alerting.delivery WHERE webhook_id = 'both' AND event = 'ping'}), 'what came with it is sent');
is(scalar(grep { header($_, 'webhook-id') eq $id } $receiver->requests('/both')), 1, 'and what is under way not a second time');
is(wait_settled($node, 'both'), join("\n", ('DELIVERED 1 200') x 5, 'DELIVERED 2 200', 'DELIVERED 1 200'), 'but when its request has failed');

# --- a webhook being changed in an open transaction ------------------------------------------------------
webhook($node, 'gone', $receiver->url('/gone'));
$locker->query_safe(q{BEGIN; UPDATE alerting.webhook SET updated_at = now() WHERE id IN ('gone', 'ok')});
deliver($node, 'gone');
deliver($node, 'ok');
like(wait_settled($node, 'ok'), qr/DELIVERED 1 200$/, 'a locked webhook is sent to');
is(wait_settled($node, 'gone'), 'FAILED 1 410 HTTP 410', '410 is recorded');
is($node->safe_psql('postgres', q{SELECT is_active FROM alerting.webhook WHERE id = 'gone'}), 't', 'switching off waits for the lock');
$locker->query_safe('COMMIT');
ok($node->poll_query_until('postgres', q{SELECT NOT is_active FROM alerting.webhook WHERE id = 'gone'}), 'and comes after it');

# --- a delivery that cannot be recorded -------------------------------------------------------------------
$node->safe_psql('postgres', q{
	CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poisoned'; END $$;
	CREATE TRIGGER poison BEFORE UPDATE ON alerting.delivery FOR EACH ROW WHEN (OLD.payload ? 'poison') EXECUTE FUNCTION poison()});
webhook($node, 'poisoned', $receiver->url('/poisoned'));
deliver($node, 'poisoned', payload => q{'{"poison": 1}'});
deliver($node, 'ok', count => 20);
like(wait_settled($node, 'ok'), qr/^(DELIVERED 1 200\n?)+$/, 'a poisoned row holds up nobody');
$node->safe_psql('postgres', 'DROP TRIGGER poison ON alerting.delivery');

# --- a webhook of which nothing can be written --------------------------------------------------------------
# An audit trigger that wants to know who it was, say.
$node->safe_psql('postgres', q{CREATE TRIGGER poison BEFORE UPDATE ON alerting.webhook FOR EACH ROW WHEN (OLD.id LIKE 'audited%') EXECUTE FUNCTION poison()});
webhook($node, 'audited_gone', $receiver->url('/gone/audited'));
webhook($node, 'audited', $receiver->url('/status/500/audited'), retry_schedule => "'{}'");
deliver($node, 'audited_gone', count => 2);
ok(wait_until(sub { settled($node, 'audited_gone') =~ /^FAILED/ }), 'one that is gone, which cannot be noted');
webhook($node, 'unaudited', $receiver->url('/status/500/unaudited'), retry_schedule => "'{}'");
deliver($node, 'unaudited', count => 10);
ok($node->poll_query_until('postgres', q{SELECT probe_at IS NOT NULL FROM alerting.webhook WHERE id = 'unaudited'}), 'that another fails is noted all the same');
$node->safe_psql('postgres', q{DELETE FROM alerting.webhook WHERE id = 'unaudited'});
deliver($node, 'audited', count => 10);
like(wait_settled($node, 'audited'), qr/^(FAILED 1 500 HTTP 500\n?){10}$/, 'a failing webhook that cannot be noted as such: what came of its deliveries is recorded');
deliver($node, 'ok', count => 20);
like(wait_settled($node, 'ok'), qr/^(DELIVERED 1 200\n?)+$/, 'and what became of others');
ok($node->poll_query_until('postgres', q{SELECT problem LIKE '%poisoned%' FROM alerting.status()}), 'status() tells');
is(settled($node, 'audited_gone'), "FAILED 1 410 HTTP 410\nPENDING 0", 'one that is gone is sent nothing more, though it cannot be switched off');
$node->safe_psql('postgres', q{DROP TRIGGER poison ON alerting.webhook; DELETE FROM alerting.webhook WHERE id LIKE 'audited%'});

# --- changes count at once --------------------------------------------------------------------------------
webhook($node, 'moved', $receiver->url('/status/500'), retry_schedule => "'{1 hour}'");
deliver($node, 'moved');
ok($node->poll_query_until('postgres', q{SELECT attempts = 1 FROM alerting.delivery WHERE webhook_id = 'moved'}), 'failing');
$node->safe_psql('postgres', q{UPDATE alerting.webhook SET url = '} . $receiver->url('/moved') . q{' WHERE id = 'moved';
	UPDATE alerting.delivery SET next_attempt_at = now() WHERE webhook_id = 'moved'});
is(wait_settled($node, 'moved'), 'DELIVERED 2 200', 'a new url counts for the next attempt');

# --- nothing but failures for days ---------------------------------------------------------------------
webhook($node, 'failing', $receiver->url('/status/500/failing'), retry_schedule => "'{}'");
webhook($node, 'mixed', $receiver->url('/status/500/mixed'), retry_schedule => "'{}'");
$node->safe_psql('postgres', q{
	UPDATE alerting.webhook SET created_at = now() - interval '9 days', updated_at = now() - interval '9 days' WHERE id IN ('failing', 'mixed');
	INSERT INTO alerting.delivery (id, webhook_id, event, payload, status, created_at, delivered_at)
	  SELECT w || s, w, 'alert.firing', '{}', s, now() - interval '6 days', CASE s WHEN 'DELIVERED' THEN now() - interval '1 day' END
	    FROM (VALUES ('failing', 'FAILED'), ('mixed', 'FAILED'), ('mixed', 'DELIVERED')) AS v(w, s);
	INSERT INTO alerting.delivery_attempt (delivery_id, at, error) SELECT w || 'FAILED', now() - interval '6 days', 'HTTP 500' FROM unnest(ARRAY['failing', 'mixed']) w});
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN alerting');
$node->safe_psql('postgres', q{INSERT INTO alerting.delivery (webhook_id, event, payload) VALUES ('failing', 'alert.firing', '{}'), ('mixed', 'alert.firing', '{}')});
ok($node->poll_query_until('postgres', q{SELECT NOT is_active FROM alerting.webhook WHERE id = 'failing'}), 'a webhook that failed for days is switched off');
is($node->safe_psql('postgres', q{SELECT disabled_reason FROM alerting.webhook WHERE id = 'failing'}), 'nothing but failures for five days', 'with a reason');
is($node->safe_psql('postgres', q{SELECT is_active FROM alerting.webhook WHERE id = 'mixed'}), 't', 'one that succeeded in between is not');
# Who notifies has committed before those who listen are told.
ok(wait_until(sub { $listener->query('SELECT 1') =~ /"webhookId": "failing"/ }), 'and a NOTIFY');
$listener->quit;

# --- retention ------------------------------------------------------------------------------------------
$node->safe_psql('postgres', q{
	INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold) VALUES ('r', 1, 'cpu', 'CPU_USAGE', 80);
	INSERT INTO alerting.alert (id, rule_id, container_id, status, started_at, fired_at) VALUES ('firing', 'r', 10, 'FIRING', now(), now());
	INSERT INTO alerting.delivery (id, webhook_id, alert_id, event, payload, status, created_at, delivered_at, next_attempt_at) VALUES
	  ('old', 'ok', 'over', 'alert.firing', '{}', 'DELIVERED', now() - interval '3 hours', now() - interval '3 hours', now() - interval '3 hours'),
	  ('old-firing', 'ok', 'firing', 'alert.firing', '{}', 'DELIVERED', now() - interval '3 hours', now() - interval '3 hours', now() - interval '3 hours'),
	  ('new', 'ok', 'over', 'alert.firing', '{}', 'DELIVERED', now() - interval '3 hours', now(), now()),
	  ('failed', 'ok', 'over', 'alert.firing', '{}', 'FAILED', now() - interval '3 hours', NULL, now() - interval '3 hours'),
	  ('old-failed', 'ok', 'over', 'alert.firing', '{}', 'FAILED', now() - interval '9 hours', NULL, now() - interval '9 hours');
	INSERT INTO alerting.delivery_attempt (delivery_id) VALUES ('old');
	ALTER SYSTEM SET alerting.delivery_retention = '2h'});
$node->restart;
$node->safe_psql('postgres', q{SELECT alerting.start()});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM alerting.delivery WHERE id IN ('old', 'old-failed')}), 'old deliveries go');
is($node->safe_psql('postgres', q{SELECT string_agg(id, ' ' ORDER BY id) FROM alerting.delivery WHERE id ~ '^(old|new|failed)'}),
	'failed new old-firing', 'recent ones, parked ones and those of a FIRING alert stay');

# More than one step of the clean-up reads: what may not go yet stands in nobody's way.
$node->safe_psql('postgres', q{
	INSERT INTO alerting.delivery (id, webhook_id, alert_id, event, payload, status, created_at, delivered_at, next_attempt_at)
	  SELECT 'many' || n, 'ok', CASE WHEN n <= 2000 THEN 'firing' ELSE 'over' END, 'alert.firing', jsonb_build_object('text', repeat('x', 1800)),
	         'DELIVERED', t, t, t FROM generate_series(1, 8000) n, LATERAL (SELECT now() - CASE WHEN n <= 2000 OR n > 7990 THEN interval '3 hours' ELSE interval '0' END) AS l (t);
	ALTER SYSTEM SET alerting.delivery_retention = '30min'});
cmp_ok($node->safe_psql('postgres', q{SELECT pg_relation_size('alerting.delivery') / current_setting('block_size')::int}), '>', 1100, 'a table of many blocks');
$node->restart;
$node->safe_psql('postgres', q{SELECT alerting.start(); ALTER SYSTEM SET alerting.delivery_retention = '0'; SELECT pg_reload_conf()});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2000 AND min(alert_id) = 'firing' AND max(alert_id) = 'firing' FROM alerting.delivery WHERE id LIKE 'many%'}),
	'the walk comes to the end of the table, and spares what an alert needs');
is($node->safe_psql('postgres', q{SELECT count(*) FROM alerting.delivery WHERE id LIKE 'many%'}), 2000, 'to the last');

# --- alerting's tables are dropped before an answer is recorded ---------------------------------------------
webhook($node, 'last', $receiver->url('/slow/2/last'));
deliver($node, 'last');
ok(wait_until(sub { $receiver->requests('/slow/2/last') == 1 }), 'a request is under way');
$node->safe_psql('postgres', q{SET client_min_messages = error; DROP TABLE alerting.alert, alerting.delivery, alerting.delivery_attempt CASCADE});
my $session = $node->background_psql('postgres');
my @rests;    # more than two seconds of looks
wait_until(sub {
	push @rests, scalar $session->query(q{SELECT 1 FROM pg_stat_activity WHERE backend_type = 'alerting sender' AND wait_event_type = 'Extension'});
	return @rests == 400;
});
cmp_ok(scalar(grep { $_ } @rests[ 300 .. 399 ]), '>', 50, 'an answer that cannot be recorded keeps no processor busy');
$session->quit;

$locker->quit;
$receiver->stop;
$node->stop('fast');
done_testing();

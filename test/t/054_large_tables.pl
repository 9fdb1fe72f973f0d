# What users ask for, and what the sender does beside sending, reads little of large tables, also where these were never analyzed.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($webhooks, $each, $alerts) = (300, 100, 200);
my $deliveries = $webhooks * $each;
my $node = new_node('large', conf => [ 'autovacuum = off' ]);
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(qq{
	INSERT INTO organizations SELECT i, 'organization ' || i FROM generate_series(1001, 1000 + $webhooks) i;
	INSERT INTO containers SELECT i, 1, 'container ' || i FROM generate_series(1001, 1000 + $alerts) i;
	SET session_replication_role = replica;
	INSERT INTO alerting.webhook (id, organization_id, url, is_active)
	  SELECT 'hook ' || i, i, 'https://example.com/', false FROM generate_series(1001, 1000 + $webhooks) i;
	INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold, no_data)
	  SELECT 'rule ' || i, i, 'cpu', 'CPU_USAGE', 90, 'keep' FROM generate_series(1001, 1000 + $webhooks) i;
	INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold, no_data) VALUES ('rule', 1, 'cpu', 'CPU_USAGE', 90, 'keep');
	INSERT INTO alerting.alert (id, rule_id, container_id, status, started_at, fired_at)
	  SELECT 'alert ' || i, 'rule', i, 'FIRING', now(), now() FROM generate_series(1001, 1000 + $alerts) i;
	INSERT INTO alerting.delivery (id, webhook_id, alert_id, event, payload, status, attempts, delivered_at)
	  SELECT concat_ws(' ', w, n), 'hook ' || w, 'alert ' || 1000 + n, 'alert.firing', '{}',
	         CASE n WHEN 1 THEN 'FAILED' ELSE 'DELIVERED' END, 1, CASE WHEN n > 1 THEN now() - interval '1 hour' END
	    FROM generate_series(1001, 1000 + $webhooks) w, generate_series(1, $each) n;
	INSERT INTO alerting.delivery (webhook_id, alert_id, event, payload, status)
	  SELECT 'hook 1001', 'alert ' || i, 'alert.firing', '{}', 'DELIVERED' FROM generate_series(1001 + $each, 1000 + $alerts) i;
	INSERT INTO alerting.delivery_attempt (delivery_id, at, error)
	  SELECT d.id, now(), CASE WHEN d.status = 'FAILED' THEN 'HTTP 500' END FROM alerting.delivery d;
});

# Rows of alerting's tables that a statement reads.
sub rows_read
{
	my ($statement) = @_;
	my $read = sql("BEGIN; $statement; SELECT 'read ' || sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables
		WHERE schemaname = 'alerting'; ROLLBACK");
	return $read =~ /^read (\d+)$/m ? $1 : die $read;
}

# Plans that a statement makes, with those of the functions and triggers that it calls.
sub plans_made
{
	my ($statement) = @_;
	my $told;
	$node->psql('postgres', "SET client_min_messages = log; SET log_planner_stats = on; BEGIN; $statement; ROLLBACK", on_error_die => 1, stderr => \$told);
	return scalar(() = $told =~ /PLANNER STATISTICS/g);
}

cmp_ok(rows_read(q{SELECT * FROM alerting.webhook_health WHERE webhook_id = 'hook 1001'}), '<', 10 * $each, 'webhook_health of one webhook');
cmp_ok(rows_read('SELECT * FROM alerting.webhook_health'), '<', 10 * $deliveries, 'webhook_health of all');
cmp_ok(rows_read('SELECT * FROM alerting.doctor_webhooks()'), '<', 10 * $deliveries, 'doctor() about webhooks');
cmp_ok(rows_read(q{SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90)}), '<', 30, 'create_rule()');
cmp_ok(rows_read(q{SELECT alerting.create_webhook(1, 'https://example.com/')}), '<', 30, 'create_webhook()');
# Each alert of the first half was told to all webhooks, the others to one of them.
my $told = $each * $webhooks + $alerts - $each;
my $delete_others = "DELETE FROM alerting.alert WHERE id > 'alert " . (1000 + $each) . q{'};
cmp_ok(rows_read($delete_others), '<', 20 * $each, 'alerts that one was told of are deleted');
cmp_ok(rows_read('DELETE FROM alerting.alert'), '<', 10 * ($told + $alerts), 'alerts that many were told of are deleted');
is(sql("BEGIN; DELETE FROM alerting.alert; SELECT count(*), count(DISTINCT (alert_id, webhook_id)) FROM alerting.delivery
	WHERE event = 'alert.resolved'; ROLLBACK"), "$told|$told", 'and each webhook is told of each end');
# One plan tells the names, and whether they are there, of all containers.
cmp_ok(plans_made('SELECT count(container_name) FROM alerting.active_alert'), '<', 20, 'plans that active_alert makes');
cmp_ok(plans_made('DELETE FROM alerting.alert'), '<', $alerts / 2, 'plans that deleting alerts makes');
cmp_ok(plans_made('DELETE FROM containers WHERE id > 1000'), '<', $alerts / 2, 'plans that deleting containers makes');
# It is made while there are few and goes on while they become many.
is(sql(q{BEGIN; DELETE FROM alerting.alert; DELETE FROM containers; INSERT INTO containers VALUES (1, 1, 'first'); SELECT alerting.container_name('1');
	INSERT INTO containers SELECT i, 1, 'container ' || i FROM generate_series(2, 20000) i;
	SELECT count(alerting.container_name(i::text)) FROM generate_series(1, 100) i;
	SELECT seq_tup_read + idx_tup_fetch < 50000 FROM pg_stat_xact_user_tables WHERE relname = 'containers'; ROLLBACK}), "first\n100\nt", 'names go by index');

my $receiver = start_receiver('large');
webhook($node, 'sound', $receiver->url('/'));

# Index entries that the sender reads for what is pending.
sub entries_read
{
	my ($work) = @_;
	my $updated = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'delivery'";
	# What was recorded is told of, and with it whatever was read before.
	my $settle = sub {
		my $before = sql($updated);
		deliver($node, 'sound');
		wait_settled($node, 'sound');
		$node->poll_query_until('postgres', "SELECT ($updated) > $before") or die;
		return sql("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'delivery_pending_idx'");
	};
	my $before = $settle->();
	$work->();
	return $settle->() - $before;
}

my ($flushes, $pending) = (20, 3000);
deliver($node, 'hook 1001', count => $pending);
my $read = entries_read(sub {
	is(sql("SELECT count(*) FROM generate_series(1, $flushes) WHERE alerting.flush('180s', deliveries => true)"), $flushes, 'flush()');
});
cmp_ok($read, '<', $flushes * 100, 'entries that flush() reads where a webhook that is switched off has much pending');

# A dead endpoint's first request is a probe, after which all is given up.
my $port = PostgreSQL::Test::Cluster::get_free_port();
webhook($node, 'dead', "http://127.0.0.1:$port/", is_active => 'false', retry_schedule => "'{1 second}'");
sql(qq{INSERT INTO alerting.delivery (webhook_id, event, payload, next_attempt_at)
	SELECT 'dead', 'alert.firing', '{}', now() - interval '1 hour' FROM generate_series(1, $pending)});
$read = entries_read(sub {
	sql(q{BEGIN; UPDATE alerting.webhook SET is_active = true WHERE id = 'dead';
		UPDATE alerting.webhook SET probe_at = now() WHERE id = 'dead'; COMMIT});
	ok($node->poll_query_until('postgres', "SELECT count(*) = $pending FROM alerting.delivery WHERE webhook_id = 'dead' AND status = 'FAILED'"), 'given up');
});
cmp_ok($read, '<', 10 * $pending, 'entries that giving up reads');
cmp_ok(sql("SELECT max(n) FROM (SELECT count(*) AS n FROM alerting.delivery WHERE webhook_id = 'dead' GROUP BY xmin::text) t"), '<=', 1000,
	'deliveries that one transaction gives up');

sql(q{SET session_replication_role = replica;
	INSERT INTO alerting.webhook (id, organization_id, url, is_active)
	  SELECT 'other ' || i, i, 'https://example.com/', false FROM generate_series(2001, 5000) i;
	INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold, no_data)
	  SELECT 'other ' || i, i, 'cpu', 'CPU_USAGE', 90, 'keep' FROM generate_series(2001, 5000) i;
	ANALYZE;});
cmp_ok(rows_read($delete_others), '<', 20 * $each, 'alerts that one was told of are deleted, by statistics');
cmp_ok(rows_read('SELECT * FROM alerting.webhook_health'), '<', 10 * $deliveries, 'webhook_health by statistics');

done_testing();

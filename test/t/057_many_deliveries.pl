# One alert goes to all of an organization's webhooks, and a storm ends as it began. What a delivery costs to send does
# not grow with how many others its alert has, nor the end of an alert with what all others were told.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($webhooks, $others, $told, $alerts) = (100, 20_000, 100_000, 200);
my $node = new_node('many_deliveries', conf => [ 'autovacuum = off' ]);
my $receiver = start_receiver('many_deliveries');
my $url = $receiver->url('/');
sub sql { return $node->safe_psql('postgres', $_[0]) }

# An alert that others were told of long ago, whose ids come after those that are to be told now.
sql(qq{INSERT INTO alerting.webhook (id, organization_id, url) SELECT 'hook ' || i, 1, '$url' || i FROM generate_series(1, $webhooks) i;
	SET session_replication_role = replica;
	INSERT INTO alerting.delivery (id, webhook_id, alert_id, event, payload, status)
	  SELECT 'other ' || i, 'other ' || i, 'alert', 'alert.firing', '{}', 'DELIVERED' FROM generate_series(1, $others) i});
my $blocks = "SELECT idx_blks_hit + idx_blks_read FROM pg_statio_user_indexes WHERE indexrelname = 'delivery_alert_id_webhook_id_idx'";
my $before = sql($blocks);
for my $event (qw(firing resolved))
{
	sql("INSERT INTO alerting.delivery (id, webhook_id, alert_id, event, payload)
		SELECT '$event ' || i, 'hook ' || i, 'alert', 'alert.$event', '{}' FROM generate_series(1, $webhooks) i");
	is(sql("SELECT alerting.flush('180s', deliveries => true)"), 't', "$event: sent");
}
my $deliveries = 2 * $webhooks;
is(sql("SELECT count(*) FROM alerting.delivery WHERE webhook_id LIKE 'hook %' AND status = 'DELIVERED'"), $deliveries, 'all are told of it');
ok($node->poll_query_until('postgres', "SELECT n_tup_upd = $deliveries FROM pg_stat_user_tables WHERE relname = 'delivery'"),
	'what was read is told of');
cmp_ok(sql($blocks) - $before, '<', 30 * $deliveries, 'blocks read to find what else a webhook was told of the alert');

# Without statistics, and more than go by a plan that is kept.
sql("CREATE TABLE container_metrics (container_id int NOT NULL, at timestamptz NOT NULL, cpu_percent float8)");
sql("SELECT alerting.attach_metrics('container_metrics')");
sql(qq{INSERT INTO containers SELECT i, 2, 'container ' || i FROM generate_series(1001, 1000 + $alerts) i;
	SELECT alerting.create_rule(2, 'cpu', 'CPU_USAGE', 90);
	INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('storm', 2, '${url}storm');
	SET session_replication_role = replica;
	INSERT INTO alerting.delivery (id, webhook_id, alert_id, event, payload, status)
	  SELECT 'told ' || i, 'other 1', 'alert ' || i, 'alert.firing', '{}', 'DELIVERED' FROM generate_series(1, $told) i});
my $reads = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'delivery'";
$before = sql($reads);
for my $cpu (95, 5)
{
	sql("INSERT INTO container_metrics SELECT i, now(), $cpu FROM generate_series(1001, 1000 + $alerts) i");
	is(sql("SELECT alerting.flush('180s')"), 't', "$cpu %: judged");
}
cmp_ok(sql($reads) - $before, '<', $told / 2, 'deliveries read one after the other');
is(sql("SELECT event, count(*) FROM alerting.delivery WHERE webhook_id = 'storm' GROUP BY 1 ORDER BY 1"),
	"alert.firing|$alerts\nalert.resolved|$alerts", 'each is told of each');

done_testing();

# A streaming standby and its promotion; logical replication into a node that evaluates.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest ();
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $receiver = AlertingTest::start_receiver('replication');

for my $preload (1, 0)
{
	my $how = $preload ? 'preloaded' : 'not preloaded';
	my $primary = new_server("primary$preload", preload => $preload, init => { allows_streaming => 1 },
		conf => "alerting.allowed_networks = '127.0.0.0/8'\n");
	make_host($primary, 'postgres');
	my $path = "/status/503/$preload";
	sql($primary, 'postgres', <<"SQL");
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('pending', 1, 'CPU_USAGE', 80, 30);
INSERT INTO alerting.webhook (id, organization_id, url, retry_schedule)
  VALUES ('w', 1, '@{[ $receiver->url($path) ]}', '{1 hour}');
SQL
	flush($primary, 'postgres');
	$primary->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new("standby$preload");
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->start;

	sql($primary, 'postgres', 'SELECT s(10, n, 95) FROM generate_series(0, 20) n; SELECT s(11, 20, 95)');
	flush($primary, 'postgres');
	ok($primary->poll_query_until('postgres', 'SELECT count(*) = 2 FROM alerting.delivery WHERE attempts = 1'), "$how: two deliveries wait");
	$primary->wait_for_catchup($standby);
	my $firing = "cpu 10 FIRING 0>0\ncpu 11 FIRING 20>20";
	is(alerts($standby, 'postgres'), $firing, "$how: the standby has the alerts");
	is(sql($standby, 'postgres', "SELECT state FROM alerting.status()"), 'standby', "$how: status() says what it is");
	my ($result, undef, $error) = $standby->psql('postgres', 'SELECT alerting.flush()');
	like($error, qr/does not run during recovery.*HINT:.*promoted/s, "$how: flush() says why not");
	is(sql($standby, 'postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'alerting'"), 0, "$how: nothing runs there");
	$standby->restart;
	is(sql($standby, 'postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'alerting'"), 0, "$how: after a restart neither");

	# Committed, replicated, perhaps not evaluated.
	sql($primary, 'postgres', 'SELECT s(11, 21, 5), s(12, 21, 95)');
	$primary->wait_for_catchup($standby);
	$primary->stop('immediate');
	my $requests = scalar $receiver->requests;
	$standby->promote;
	if ($preload)
	{
		ok($standby->poll_query_until('postgres', "SELECT state = 'running' FROM alerting.status()"), "$how: promotion starts the workers");
	}
	sql($standby, 'postgres', 'SELECT s(10, n, 95) FROM generate_series(21, 30) n');
	flush($standby, 'postgres', name => "$how: evaluated after promotion");
	is(alerts($standby, 'postgres'), "cpu 10 FIRING 0>0\npending 10 FIRING 0>30\ncpu 11 RESOLVED 20>20>21 RECOVERED\ncpu 12 FIRING 21>21",
		"$how: replayed, the pending run went on, nothing came twice");
	is(sql($standby, 'postgres', 'SELECT held FROM alerting.status()'), 'f', "$how: a promoted standby delivers");
	sql($standby, 'postgres', "UPDATE alerting.webhook SET url = '@{[ $receiver->url(qq{/ok/$preload}) ]}'; UPDATE alerting.delivery SET next_attempt_at = now() WHERE status = 'PENDING'");
	flush($standby, 'postgres', deliveries => 1, name => "$how: delivered");
	is(scalar(grep { $_->{path} eq "/ok/$preload" } $receiver->requests), 5, "$how: each delivery");
	is(sql($standby, 'postgres', 'SELECT count(DISTINCT alert_id || event), count(*) FROM alerting.delivery'), '5|5', "$how: once");
	$standby->stop('fast');
}

# Logical replication: two publishers, each with the rows of its organizations, into one node.
my $node = new_server('subscriber', conf => "wal_level = logical\n");
make_host($node, 'postgres');
sql($node, 'postgres', 'TRUNCATE organizations, containers CASCADE');
sql($node, 'postgres', "SELECT alerting.attach_metrics('container_metrics', level => 'row')");
my $t0 = sql($node, 'postgres', 'SELECT t0 FROM clock');
my @publishers;
for my $organization (1, 2)
{
	my $publisher = PostgreSQL::Test::Cluster->new("publisher$organization");
	$publisher->init(allows_streaming => 'logical');
	$publisher->start;
	make_host($publisher, 'postgres', extension => 0);
	sql($publisher, 'postgres', <<"SQL");
UPDATE clock SET t0 = '$t0';
DELETE FROM containers WHERE organization_id <> $organization;
ALTER TABLE container_metrics REPLICA IDENTITY FULL;
CREATE PUBLICATION p FOR TABLE organizations WHERE (id = $organization), TABLE containers, TABLE container_metrics;
SQL
	push @publishers, $publisher;
	sql($node, 'postgres', "CREATE SUBSCRIPTION s$organization CONNECTION '@{[ $publisher->connstr ]} dbname=postgres' PUBLICATION p");
	$node->wait_for_subscription_sync($publisher, "s$organization");
}
like(sql($node, 'postgres', "SELECT alerting.attach('organizations', 'containers')"), qr/\S/, 'attached again, now that it is subscribed');
sql($node, 'postgres', "SELECT rule('one', 1, 'CPU_USAGE', 80), rule('two', 2, 'CPU_USAGE', 80)");
flush($node, 'postgres');
$publishers[0]->safe_psql('postgres', 'BEGIN; SELECT s(10, 1, 95), s(11, 1, 95); COMMIT; BEGIN; SELECT s(10, 2, 5); ROLLBACK');
$publishers[1]->safe_psql('postgres', 'SELECT s(20, 1, 95)');
$publishers[0]->wait_for_catchup('s1');
$publishers[1]->wait_for_catchup('s2');
flush($node, 'postgres');
is(alerts($node, 'postgres'), "one 10 FIRING 1>1\none 11 FIRING 1>1\ntwo 20 FIRING 1>1", 'replicated rows are evaluated');
$publishers[0]->safe_psql('postgres', 'UPDATE container_metrics SET cpu_percent = 5 WHERE container_id = 10');
$publishers[0]->wait_for_catchup('s1');
flush($node, 'postgres');
is(alerts($node, 'postgres', 'container_id = 10'), 'one 10 RESOLVED 1>1>1 RECOVERED', 'and replicated corrections');

# Deleting and moving containers, by an apply worker that fires no foreign key's trigger.
sql($node, 'postgres', "INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('w', 1, 'https://example.invalid/')");
$publishers[0]->safe_psql('postgres', 'SELECT s(12, 1, 95)');
$publishers[0]->wait_for_catchup('s1');
flush($node, 'postgres');
$publishers[0]->safe_psql('postgres', 'DELETE FROM containers WHERE id = 12; UPDATE containers SET organization_id = 2 WHERE id = 11');
$publishers[0]->wait_for_catchup('s1');
flush($node, 'postgres');
like(alerts($node, 'postgres', "container_id IN (11, 12)"), qr/^one 11 RESOLVED 1>1>1\.?\d* CONTAINER_MOVED\ntwo 11 FIRING 1>1$/, 'a container is deleted, another one moves');
is(sql($node, 'postgres', "SELECT count(*) FROM alerting.delivery WHERE event = 'alert.resolved' AND payload #>> '{data,alert,resolveReason}' = 'CONTAINER_DELETED'"),
	1, 'the end of the deleted one is told');

# The node restarts; what was applied meanwhile is evaluated.
$node->stop('immediate');
$publishers[1]->safe_psql('postgres', 'SELECT s(20, 2, 5), s(20, 3, 95)');
$node->start;
$publishers[1]->wait_for_catchup('s2');
sql($node, 'postgres', 'SELECT alerting.start()');
flush($node, 'postgres', name => 'evaluated after a crash of the node');
is(alerts($node, 'postgres', 'container_id = 20'), "two 20 RESOLVED 1>1>2 RECOVERED\ntwo 20 FIRING 3>3", 'nothing was lost');
$_->stop('fast') for $node, @publishers;
done_testing();

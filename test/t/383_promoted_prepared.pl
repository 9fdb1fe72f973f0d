# Prepared transactions that a streaming standby takes over: decided on the server that was promoted,
# their rows are judged there, once, as they would have been on the first one.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest ();
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $receiver = AlertingTest::start_receiver('promoted');

for my $preload (1, 0)
{
	my $how = $preload ? 'preloaded' : 'not preloaded';
	my $primary = new_server("primary$preload", preload => $preload, init => { allows_streaming => 1 },
		conf => "alerting.allowed_networks = '127.0.0.0/8'\nmax_prepared_transactions = 10\n");
	make_host($primary, 'postgres');
	my $path = "/promoted/$preload";
	sql($primary, 'postgres', <<"SQL");
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('late', 1, 'CPU_USAGE', 80, 600);
INSERT INTO containers SELECT n, 1, 'c' || n FROM generate_series(30, 38) n;
INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('w', 1, '@{[ $receiver->url($path) ]}');
SELECT s(n, 1, 95) FROM generate_series(34, 35) n;
SQL
	flush($primary, 'postgres', deliveries => 1);
	my $standby = PostgreSQL::Test::Cluster->new("standby$preload");
	$primary->backup('base');
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->start;

	# Held by the evaluator of the first server when that ends, the last one perhaps not even seen by it.
	sql($primary, 'postgres', "BEGIN; $_->[1]; PREPARE TRANSACTION '$_->[0]'") for
	  [ fires => 'SELECT s(30, 2, 95), s(38, 2, 95)' ],
	  [ ends => 'SELECT s(34, 2, 5)' ],
	  [ undone => 'SELECT s(31, 2, 95), s(35, 2, 5)' ],
	  [ in_part => 'SAVEPOINT a; SELECT s(32, 2, 95); ROLLBACK TO a; SELECT s(33, 2, 95)' ],
	  [ disables => "UPDATE alerting.alert_rule SET enabled = false WHERE id = 'late'" ];
	flush($primary, 'postgres');
	sql($primary, 'postgres', "BEGIN; SELECT s(36, 2, 95); PREPARE TRANSACTION 'unseen'");
	sql($primary, 'postgres', 'SELECT s(37, 2, 95)');
	$primary->wait_for_catchup($standby);
	$primary->stop('immediate');
	$standby->promote;
	ok($standby->poll_query_until('postgres', "SELECT state = 'running' FROM alerting.status()"), "$how: promotion starts the workers") if $preload;

	# One is decided before anything was judged there, the others afterwards.
	sql($standby, 'postgres', "COMMIT PREPARED 'unseen'");
	sql($standby, 'postgres', 'SELECT s(20, 3, 5)');
	flush($standby, 'postgres');
	is(alerts($standby, 'postgres'), join("\n", map { "cpu $_" } '34 FIRING 1>1', '35 FIRING 1>1', '36 FIRING 2>2', '37 FIRING 2>2'),
		"$how: nothing is judged before it is decided");
	sql($standby, 'postgres', 'SELECT s(38, 3, 5)');
	flush($standby, 'postgres');
	sql($standby, 'postgres', "COMMIT PREPARED 'fires'; COMMIT PREPARED 'ends'; ROLLBACK PREPARED 'undone'; COMMIT PREPARED 'in_part'; COMMIT PREPARED 'disables'");
	flush($standby, 'postgres', deliveries => 1, name => "$how: all decided");
	is(alerts($standby, 'postgres'), join("\n", map { "cpu $_" } '30 FIRING 2>2', '33 FIRING 2>2', '34 RESOLVED 1>1>2 RECOVERED', '35 FIRING 1>1',
		'36 FIRING 2>2', '37 FIRING 2>2'), "$how: what was prepared is judged, late where newer rows were");
	sql($standby, 'postgres', 'SELECT s(35, 20, 95)');
	flush($standby, 'postgres', deliveries => 1, name => "$how: a prepared change of a rule");
	is(alerts($standby, 'postgres', 'container_id = 35'), 'cpu 35 FIRING 1>1', "$how: counts");
	is(join(' ', sort map { "$1 $_->{json}{data}{container}{id}" if $_->{json}{type} =~ /(\w+)$/ } grep { $_->{path} eq $path } $receiver->requests),
		'firing 30 firing 33 firing 34 firing 35 firing 36 firing 37 resolved 34', "$how: each is told once");
	$standby->stop('fast');
}
done_testing();

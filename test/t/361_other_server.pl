# Dumps that are restored on another server: a database, all databases, data alone. Servers that were set
# up in the same way give everything the same OIDs; a copy is told from its original all the same.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest ();
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $receiver = AlertingTest::start_receiver('other');
my ($here, $there) = map {
	my $node = new_server($_, conf => "alerting.allowed_networks = '127.0.0.0/8'\n");
	sql($node, 'postgres', 'CREATE DATABASE app');
	make_host($node, 'app');
	$node;
} qw(here there);
sql($here, 'app', <<"SQL");
CREATE ROLE app;
GRANT SELECT ON alerting.active_alert TO app;
GRANT EXECUTE ON FUNCTION alerting.status() TO app;
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('pending', 1, 'CPU_USAGE', 80, 30);
INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('ok', 1, '@{[ $receiver->url ]}');
SELECT s(10, n, 95) FROM generate_series(0, 20) n;
SQL
flush($here, 'app', deliveries => 1);
my $alerts = alerts($here, 'app');
is($alerts, 'cpu 10 FIRING 0>0', 'an alert');
my $sent = () = $receiver->requests;
is($sent, 1, 'is sent');
my $catalog = catalog($here, 'app');
my $folder = PostgreSQL::Test::Utils::tempdir();

# What comes of a copy: judged from where the original was, and nothing is sent.
sub is_held
{
	my ($node, $database, $name) = @_;
	sql($node, $database, 'SELECT s(10, n, 95) FROM generate_series(21, 30) n');
	flush($node, $database, name => "$name: judged");
	is(alerts($node, $database), "cpu 10 FIRING 0>0\npending 10 FIRING 0>30", "$name: runs go on");
	ok($node->poll_query_until($database, "SELECT held AND state = 'deliveries held' FROM alerting.status()"), "$name: held");
	return;
}

# Data alone, where the extension has been installed by the same script.
my $identity = 'SELECT database_oid, alert_oid FROM alerting.host_binding';
is(sql($there, 'app', $identity), sql($here, 'app', $identity), 'both databases have the same OIDs');
$here->command_ok([ 'pg_dump', '--data-only', '-f', "$folder/data.sql", $here->connstr('app') ], 'a dump of the data');
sql($there, 'app', 'SELECT alerting.stop(); TRUNCATE organizations, clock, alerting.host_binding, alerting.metric_source, alerting.series_state CASCADE');
{
	local $ENV{PGOPTIONS} = '-c session_replication_role=replica';
	$there->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $there->connstr('app'), '-f', "$folder/data.sql" ], 'is restored');
}
is(sql($there, 'app', $identity), sql($here, 'app', $identity), 'the OIDs are still the same');
sql($there, 'app', 'SELECT alerting.start()');
is_held($there, 'app', 'data alone');
sql($there, 'app', 'SELECT alerting.resume()');
flush($there, 'app', deliveries => 1, name => 'data alone: resume() sends');
$sent = () = $receiver->requests;
is($sent, 2, 'what was held');
# attach() again, or a restart, make no copy of it.
sql($there, 'app', "SELECT alerting.attach('organizations', 'containers', name => 'id')");
$there->restart;
sql($there, 'app', 'SELECT s(11, 31, 95)');
flush($there, 'app', deliveries => 1, name => 'and goes on sending');
is(sql($there, 'app', 'SELECT held FROM alerting.status()'), 'f', 'as one of its own');

# The database, by its name, on a server that knows nothing of it.
my $third = new_server('third');
$here->command_ok([ 'pg_dump', '-C', '-Fc', '-f', "$folder/custom", $here->connstr('app') ], 'a dump of the database');
sql($third, 'postgres', 'CREATE ROLE app');
$third->command_ok([ 'pg_restore', '-C', '-e', '-j', '2', '-d', $third->connstr('postgres'), "$folder/custom" ], 'is restored');
is_catalog(catalog($third, 'app'), $catalog, 'everything is there');
is_held($third, 'app', 'a database');

# All of them, with roles.
sql($third, 'postgres', 'DROP DATABASE app WITH (FORCE); DROP ROLE app');
$here->command_ok([ 'pg_dumpall', '-f', "$folder/all.sql", '-d', $here->connstr('postgres') ], 'pg_dumpall');
my ($out, $err);
IPC::Run::run([ 'psql', '-Xq', '-d', $third->connstr('postgres'), '-f', "$folder/all.sql" ], '>', \$out, '2>', \$err);
is(join("\n", grep { /ERROR/ && !/role "postgres" already exists/ } split /\n/, $err), '', 'is restored');
is_catalog(catalog($third, 'app'), $catalog, 'everything is there');
is_held($third, 'app', 'all databases');

$sent = () = $receiver->requests;
is($sent, 3, 'no other copy has sent anything');
$_->stop('fast') for $here, $there, $third;
done_testing();

# pg_upgrade of a server that preloads alerting into one that does not yet: rules, alerts, state and deliveries are there, the workers go
# on from where they were, and webhooks go out: an upgraded database is the same one, no copy.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest ();
use Cwd;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $receiver = AlertingTest::start_receiver('pg_upgrade');
my @settings = (conf => "alerting.allowed_networks = '127.0.0.0/8'\n");
my $old = new_server('old', preload => 1, @settings);
make_host($old, 'postgres');
sql($old, 'postgres', <<"SQL");
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('pending', 1, 'CPU_USAGE', 80, 30), rule('loop', 1, 'RESTART_LOOP', 3, 60);
INSERT INTO alerting.webhook (id, organization_id, url, secret) VALUES ('ok', 1, '@{[ AlertingTest::nobody() ]}', 'a secret');
SELECT s(10, n, 95, 5, true, n::int / 6) FROM generate_series(0, 20) n;
SQL
flush($old, 'postgres');
ok($old->poll_query_until('postgres', 'SELECT attempts > 0 FROM alerting.delivery'), 'a delivery waits');
# A database that still has 1.0.
sql($old, 'postgres', 'CREATE DATABASE older');
make_host($old, 'older', version => '1.0');
sql($old, 'older', "SELECT rule('cpu', 1, 'CPU_USAGE', 80); SELECT s(10, 1, 95)");
my $alerts = alerts($old, 'postgres');
is($alerts, 'cpu 10 FIRING 0>0', 'an alert fires');
my $catalog = catalog($old, 'postgres');
$old->stop('fast');

my $new = new_server('new', @settings, start => 0);
my $cwd = getcwd();
chdir PostgreSQL::Test::Utils::tempdir() or die;
$new->command_ok([ 'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $new->config_data('--bindir'),
		'-B', $new->config_data('--bindir'), '-s', $new->host, '-p', $old->port, '-P', $new->port ], 'pg_upgrade');
chdir $cwd or die;
$new->start;
is_catalog(catalog($new, 'postgres'), $catalog, 'everything is there');
is(alerts($new, 'postgres'), $alerts, 'so is the alert');

# The delivery that waited finds its endpoint; the pending run goes on.
sql($new, 'postgres', "UPDATE alerting.webhook SET url = '@{[ $receiver->url(\"/ok\") ]}'; UPDATE alerting.delivery SET next_attempt_at = now();"
	  . ' SELECT s(10, n, 95, 5, true, 3) FROM generate_series(21, 29) n; SELECT s(10, 30, 95, 5, true, 4)');
flush($new, 'postgres', deliveries => 1, name => 'judged and sent');
is(alerts($new, 'postgres'), "cpu 10 FIRING 0>0\nloop 10 FIRING 30>30\npending 10 FIRING 0>30", 'runs go on');
is(scalar(grep { $_->{path} eq "/ok" } $receiver->requests), 3, 'what waited is sent, too');
is(sql($new, 'postgres', 'SELECT state, held FROM alerting.status()'), 'running|f', 'it is no copy');

is(sql($new, 'older', q{SELECT extversion FROM pg_extension WHERE extname = 'alerting'}), '1.0', '1.0 stays 1.0');
sql($new, 'older', 'ALTER EXTENSION alerting UPDATE');
flush($new, 'older', name => 'until it is updated');
is(alerts($new, 'older'), 'cpu 10 FIRING 1>1', 'then it is judged');

# Preloaded after all, it starts by itself.
$new->append_conf('postgresql.conf', "shared_preload_libraries = 'alerting'");
$new->restart;
ok(wait_until(sub { worker_pid($new, 'sender', 'postgres') ne '' }), 'preloaded: the workers start');
$new->stop('fast');
done_testing();

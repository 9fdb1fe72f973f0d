# pg_upgrade, by copying and by linking: rules, alerts, state and deliveries are there as they were, the workers go on from where
# they were, and webhooks go out: an upgraded database is the same one, no copy.
#
# ALERTING_OLD_INSTALL=/usr/lib/postgresql/15 names another server's folder, with alerting in it, to upgrade from; by
# default both are the same version, for which pg_upgrade does the same.
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
my $install = $ENV{ALERTING_OLD_INSTALL};
my $old = new_server('old', preload => 1, @settings, ($install ? (install_path => $install) : ()));

# Its readings come through a function of the host's, which pg_upgrade gives another OID.
make_host($old, 'postgres', attach => <<'SQL');
CREATE FUNCTION percent(text) RETURNS float8 IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN $1::float8; END $$;
SELECT alerting.attach_metrics('container_metrics', container => 'container_id', at => 'at', cpu => 'percent(cpu_percent::text)',
  memory => 'memory_percent', running => 'running', restarts => 'restart_count')
SQL
sql($old, 'postgres', <<"SQL");
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('pending', 1, 'CPU_USAGE', 80, 30), rule('loop', 1, 'RESTART_LOOP', 3, 60);
INSERT INTO alerting.webhook (id, organization_id, url, secret) VALUES
  ('late', 1, '@{[ AlertingTest::nobody() ]}', 'a secret'), ('ok', 1, '@{[ $receiver->url("/ok") ]}', 'another');
SELECT s(10, n, 95, 5, true, n::int / 6) FROM generate_series(0, 20) n;
SQL
flush($old, 'postgres');
ok($old->poll_query_until('postgres', q{SELECT count(*) = 2 FROM alerting.delivery
	WHERE webhook_id = 'late' AND status = 'PENDING' AND attempts > 0 OR webhook_id = 'ok' AND status = 'DELIVERED'}), 'a delivery waits, another was sent')
  or diag(sql($old, 'postgres', 'TABLE alerting.delivery'));
# A database that still has 1.0.
sql($old, 'postgres', 'CREATE DATABASE older');
make_host($old, 'older', version => '1.0');
sql($old, 'older', "SELECT rule('cpu', 1, 'CPU_USAGE', 80); SELECT s(10, 1, 95)");
# Nobody judges these before the server stops.
sql($old, 'postgres', 'SELECT alerting.stop(); SELECT s(10, n, 95, 5, true, 3) FROM generate_series(21, 25) n');
my $firing = 'cpu 10 FIRING 0>0';
is(alerts($old, 'postgres'), $firing, 'an alert fires');

# Every value in alerting's tables, and the OIDs and the writer by which a database knows itself.
sub contents
{
	my ($node) = @_;
	my @tables = split /\n/, sql($node, 'postgres', 'SELECT name FROM unnest(alerting.table_names()) AS t(name)');
	return join "\n", map({ "$_:\n" . sql($node, 'postgres', "SELECT t FROM alerting.$_ t ORDER BY t::text") } @tables),
	  sql($node, 'postgres', 'SELECT xmin, organizations::oid, containers::oid FROM alerting.host_binding'),
	  sql($node, 'postgres', 'SELECT metrics::oid FROM alerting.metric_source');
}

# Another version of PostgreSQL may write definitions otherwise.
my $same_version = !defined $install;
my $catalog = catalog($old, 'postgres');
my $contents = contents($old);

# A server into which the old one can be upgraded: from 18 on the default are checksums, which it has not.
sub empty_server
{
	my ($name, %options) = @_;
	my $checksums = sql($old, 'postgres', 'SHOW data_checksums');
	my @options = $checksums eq 'off' && `initdb --help` =~ /(--no-data-checksums)/ ? (init => { extra => [$1] }) : ();
	return new_server($name, @settings, @options, %options, start => 0);
}

sub pg_upgrade_ok
{
	my ($new, $name, @options) = @_;
	my $cwd = getcwd();
	chdir PostgreSQL::Test::Utils::tempdir() or die;
	$new->command_ok([ 'pg_upgrade', '--no-sync', @options, '-d', $old->data_dir, '-D', $new->data_dir, '-b', $old->config_data('--bindir'),
			'-B', $new->config_data('--bindir'), '-s', $new->host, '-p', $old->port, '-P', $new->port ], $name);
	chdir $cwd or die;
	return;
}

# What the receiver has got for a path since it had got that many.
sub sent
{
	my ($path, $before) = @_;
	my @requests = $receiver->requests($path);
	return join ' ', sort map { $_->{json}{type} =~ s/^alert\.//r } splice @requests, $before;
}

# The upgraded server goes on, in its own name.
sub goes_on_ok
{
	my ($new, $name, %options) = @_;
	$new->append_conf('postgresql.conf', 'alerting.enabled = off');
	$new->start;
	is(contents($new), $contents, "$name: all values in alerting's tables are as they were");
	is_catalog(catalog($new, 'postgres'), $catalog, "$name: everything is there") if $same_version;
	is(sql($new, 'postgres', 'SELECT alerting.is_copy()'), 'f', "$name: it is no copy");

	# The delivery that waited finds its endpoint; the pending run goes on.
	my $before = () = $receiver->requests('/ok');
	sql($new, 'postgres', "UPDATE alerting.webhook SET url = '@{[ $receiver->url(qq{/$name}) ]}' WHERE id = 'late'; UPDATE alerting.delivery SET next_attempt_at = now()");
	$new->append_conf('postgresql.conf', 'alerting.enabled = on');
	$new->reload;
	ok(wait_until(sub { worker_pid($new, 'sender', 'postgres') ne '' }), "$name: the workers start by themselves") if $options{preload};
	sql($new, 'postgres', 'SELECT s(10, n, 95, 5, true, 3) FROM generate_series(26, 29) n; SELECT s(10, 30, 95, 5, true, 4)');
	flush($new, 'postgres', deliveries => 1, name => "$name: judged and sent");
	is(alerts($new, 'postgres'), "$firing\nloop 10 FIRING 30>30\npending 10 FIRING 0>30", "$name: runs go on");
	sql($new, 'postgres', 'SELECT s(10, 31, 5, 5, true, 4)');
	flush($new, 'postgres', deliveries => 1);
	is(alerts($new, 'postgres'), "cpu 10 RESOLVED 0>0>31 RECOVERED\nloop 10 FIRING 30>30\npending 10 RESOLVED 0>30>31 RECOVERED", "$name: alerts end once");
	is(sent("/$name", 0), 'firing firing firing resolved resolved', "$name: what waited is sent, and what came since");
	is(sent('/ok', $before), 'firing firing resolved resolved', "$name: what was sent is not sent again");
	is(sql($new, 'postgres', 'SELECT state, held, problem IS NULL FROM alerting.status()'), 'running|f|t', "$name: it runs");
	is(sql($new, 'postgres', "SELECT topic, status, detail FROM alerting.doctor() WHERE status <> 'ok' AND topic NOT IN ('preload', 'vacuum')"), '', "$name: doctor() is content");

	is(sql($new, 'older', q{SELECT extversion FROM pg_extension WHERE extname = 'alerting'}), '1.0', "$name: 1.0 stays 1.0");
	sql($new, 'older', 'ALTER EXTENSION alerting UPDATE');
	flush($new, 'older', name => "$name: until it is updated");
	is(alerts($new, 'older'), 'cpu 10 FIRING 1>1', "$name: then it is judged");
	return;
}

# Looked at beside the running server; then, without alerting being preloaded, by copying.
my ($copied, $linked) = (empty_server('copied'), empty_server('linked', preload => 1));
pg_upgrade_ok($copied, 'pg_upgrade --check while the old server runs', '--check');
$old->stop('fast');
pg_upgrade_ok($copied, 'pg_upgrade');
goes_on_ok($copied, 'copied');
# Preloaded after all, it starts by itself.
$copied->append_conf('postgresql.conf', "shared_preload_libraries = 'alerting'");
$copied->restart;
ok(wait_until(sub { worker_pid($copied, 'sender', 'postgres') ne '' }), 'preloaded: the workers start');
$copied->stop('fast');

pg_upgrade_ok($linked, 'pg_upgrade --link', '--link');
goes_on_ok($linked, 'linked', preload => 1);
$linked->stop('fast');
done_testing();

# pg_dump and restore, in each format: no error; rules, alerts, webhooks, keys, triggers and state are
# there; the next sample is evaluated from where the original was; nobody is paged by the copy.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest ();
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $receiver = AlertingTest::start_receiver('dump');
my $node = new_server('dump', conf => "alerting.allowed_networks = '127.0.0.0/8'\n");
make_host($node, 'postgres');
sql($node, 'postgres', <<"SQL");
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('pending', 1, 'CPU_USAGE', 80, 30), rule('loop', 1, 'RESTART_LOOP', 3, 60);
INSERT INTO alerting.webhook (id, organization_id, url, secret) VALUES ('ok', 1, '@{[ $receiver->url ]}', 'a secret');
INSERT INTO alerting.webhook (id, organization_id, url, is_active) VALUES ('off', 1, 'https://example.invalid/', false);
SELECT s(10, n, 95, 5, true, n::int / 6) FROM generate_series(0, 20) n;
SELECT s(11, 1, 95), s(11, 2, 5);
SQL
flush($node, 'postgres', deliveries => 1, name => 'the original has delivered');
# One more, that waits: its endpoint does not answer.
sql($node, 'postgres', "UPDATE alerting.webhook SET url = '@{[ $receiver->url('/status/500') ]}', retry_schedule = '{1 hour}' WHERE id = 'ok'; SELECT s(12, 3, 95)");
flush($node, 'postgres');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM alerting.delivery WHERE status = 'PENDING' AND attempts > 0"),
	'one delivery waits');
my $alerts = alerts($node, 'postgres');
is($alerts, "cpu 10 FIRING 0>0\ncpu 11 RESOLVED 1>1>2 RECOVERED\ncpu 12 FIRING 3>3", 'the alerts of the original');

# What a dump must bring back, whatever the order of its objects.
my $inventory = <<'SQL';
SELECT 'key ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
 WHERE connamespace IN ('alerting'::regnamespace, 'public'::regnamespace)
UNION ALL SELECT 'trigger ' || tgenabled::text || ' ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'event trigger ' || evtname || evtenabled::text FROM pg_event_trigger
UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname IN ('alerting', 'public')
UNION ALL SELECT 'default ' || adrelid::regclass || ' ' || adnum || ' ' || pg_get_expr(adbin, adrelid) FROM pg_attrdef
UNION ALL SELECT 'member ' || pg_describe_object(classid, objid, objsubid) FROM pg_depend WHERE deptype = 'e'
UNION ALL SELECT 'view ' || viewname || ' ' || definition FROM pg_views WHERE schemaname = 'alerting'
UNION ALL SELECT 'comment ' || pg_describe_object(classoid, objoid, objsubid) || ' ' || description FROM pg_description
 WHERE classoid = 'pg_class'::regclass AND objoid > 16384
UNION ALL SELECT 'acl ' || oid::regclass || ' ' || coalesce(relacl::text, '') FROM pg_class WHERE relnamespace = 'alerting'::regnamespace
UNION ALL SELECT 'rows ' || t || ' ' || (xpath('/row/n/text()', query_to_xml('SELECT count(*) AS n FROM ' || t, true, true, '')))[1]
  FROM unnest(ARRAY['alerting.alert_rule', 'alerting.alert', 'alerting.webhook', 'alerting.delivery', 'alerting.delivery_attempt',
                    'alerting.metric_source', 'alerting.host_binding', 'alerting.series_state', 'container_metrics', 'containers']) t
UNION ALL SELECT 'binding ' || organizations || ' ' || containers || ' ' || organization || container_key FROM alerting.host_binding
UNION ALL SELECT 'source ' || id || ' ' || metrics || ' ' || container || at || cpu FROM alerting.metric_source
UNION ALL SELECT 'webhook ' || id || url || coalesce(secret, '') || is_active FROM alerting.webhook
 ORDER BY 1
SQL
my $expected = sql($node, 'postgres', $inventory);
like($expected, qr/^key alerting\.alert alert_container_id_fkey FOREIGN KEY/m, 'the inventory sees keys');

my $folder = PostgreSQL::Test::Utils::tempdir();
my $connection = sub { $node->connstr($_[0]) };
$node->command_ok([ 'pg_dump', '-f', "$folder/plain.sql", $connection->('postgres') ], 'pg_dump, plain');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/custom", $connection->('postgres') ], 'pg_dump, custom');
$node->command_ok([ 'pg_dump', '-Fd', '-j', '2', '-f', "$folder/directory", $connection->('postgres') ], 'pg_dump, directory');
$node->command_ok([ 'pg_dump', "--section=$_", '-f', "$folder/$_.sql", $connection->('postgres') ], "pg_dump, $_") for qw(pre-data data post-data);
$node->command_ok([ 'pg_dump', "--$_-only", '-f', "$folder/$_.sql", $connection->('postgres') ], "pg_dump, $_ only") for qw(schema data);
# The dump is made under a snapshot; the workers must not have been disturbed.
is(alerts($node, 'postgres'), $alerts, 'the dumps change nothing');
sql($node, 'postgres', 'SELECT alerting.stop()');    # so that whatever comes now comes from a copy

my $psql = sub { [ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $connection->($_[0]), map { ('-f', "$folder/$_.sql") } @_[ 1 .. $#_ ] ] };
my %restores = (
	plain => sub { $psql->($_[0], 'plain') },
	'single transaction' => sub { my $command = $psql->($_[0], 'plain'); push @$command, '-1'; $command },
	custom => sub { [ 'pg_restore', '-e', '-d', $connection->($_[0]), "$folder/custom" ] },
	parallel => sub { [ 'pg_restore', '-e', '-j', '4', '-d', $connection->($_[0]), "$folder/custom" ] },
	directory => sub { [ 'pg_restore', '-e', '-j', '4', '-d', $connection->($_[0]), "$folder/directory" ] },
	sections => sub { $psql->($_[0], qw(pre-data data post-data)) },
	'schema, then data' => sub { $psql->($_[0], 'schema', 'data') },
);
my $before = scalar $receiver->requests;
my $number = 0;
for my $how (sort keys %restores)
{
	my $database = 'copy' . ++$number;
	sql($node, 'postgres', "CREATE DATABASE $database TEMPLATE template0");
	my $command = $restores{$how}->($database);
	my ($stdout, $stderr);
	# Data alone may come in an order that its keys do not like; that is pg_dump's warning, not ours.
	local $ENV{PGOPTIONS} = $how eq 'schema, then data' ? '-c session_replication_role=replica' : '';
	my $restored = IPC::Run::run($command, '>', \$stdout, '2>', \$stderr);
	ok($restored, "$how: restored without an error") or diag($stderr);
	delete $ENV{PGOPTIONS};
	is(sql($node, $database, $inventory), $expected, "$how: everything is there");
	is(alerts($node, $database), $alerts, "$how: the alerts are there");

	# The first new sample is evaluated: the pending run goes on, nothing fires twice.
	sql($node, $database, 'SELECT s(10, n, 95, 5, true, 3) FROM generate_series(21, 29) n; SELECT s(11, 30, 95)');
	flush($node, $database, name => "$how: evaluated");
	is(alerts($node, $database), "$alerts\ncpu 11 FIRING 30>30" =~ s/(.*)\n(cpu 12.*)\n(cpu 11 FIRING.*)/$1\n$3\n$2/r,
		"$how: nothing fires twice");
	sql($node, $database, 'SELECT s(10, 30, 95, 5, true, 4)');
	flush($node, $database);
	is(alerts($node, $database, "container_id = 10"), "cpu 10 FIRING 0>0\nloop 10 FIRING 30>30\npending 10 FIRING 0>30",
		"$how: pending runs and counted restarts go on");
	ok($node->poll_query_until($database, "SELECT held AND state = 'deliveries held' FROM alerting.status()"),
		"$how: status() says that deliveries are held");
}
is(scalar $receiver->requests, $before, 'no copy has sent anything');
my $warnings = () = slurp_file($node->logfile) =~ /WARNING:.*webhooks are held/g;
cmp_ok($warnings, '>=', $number, 'each copy warns');

# resume() lets one of them send.
sql($node, 'copy1', "UPDATE alerting.webhook SET url = '@{[ $receiver->url('/ok/copy') ]}' WHERE id = 'ok';"
	  . " UPDATE alerting.delivery SET next_attempt_at = now() WHERE status = 'PENDING'; SELECT alerting.resume()");
flush($node, 'copy1', deliveries => 1, name => 'resume() lets a copy send');
my @sent = grep { $_->{path} eq '/ok/copy' } $receiver->requests;
is(scalar @sent, 4, 'what it held and what it had not delivered');
ok($node->poll_query_until('copy1', "SELECT NOT held AND state = 'running' FROM alerting.status()"), 'status() says so');

# --clean over a database that runs: over a copy, and over one that is attached to tables that the dump does not have: the extension cannot be
# dropped, for their triggers use it, and only alerting's tables are made anew.
sql($node, 'postgres', 'CREATE DATABASE used');
make_host($node, 'used');
sql($node, 'used', q{SELECT rule('own', 1, 'CPU_USAGE', 80); SELECT s(12, 1, 95)});
flush($node, 'used');
sql($node, 'used', 'CREATE SCHEMA mine; ALTER TABLE organizations SET SCHEMA mine; ALTER TABLE containers SET SCHEMA mine; ALTER TABLE container_metrics SET SCHEMA mine');
for my $case ([ 'copy2', 0 ], [ 'used', 3 ])
{
	my ($database, $errors) = @$case;
	my ($stdout, $stderr);
	IPC::Run::run([ 'pg_restore', '--clean', '--if-exists', '-d', $connection->($database), "$folder/custom" ], '>', \$stdout, '2>', \$stderr);
	is(scalar(() = $stderr =~ /error:/g), $errors, "--clean over $database: errors") or diag($stderr);
	is(alerts($node, $database), $alerts, 'its alerts are those of the dump');
	sql($node, $database, 'SELECT s(11, 32, 95)');
	flush($node, $database);
	like(alerts($node, $database), qr/^cpu 11 FIRING 32>32$/m, 'a new sample is judged by the rules of the dump');
	is(sql($node, $database, 'SELECT held, state FROM alerting.status()'), 't|deliveries held', 'and held');
}

# pg_dumpall and a dump of a restored copy give the same again.
$node->command_ok([ 'pg_dump', '-s', '-f', "$folder/again.sql", $connection->('copy1') ], 'a copy can be dumped');
my $strip = sub { join '', grep { !/^\s*(--|SET|\\(un)?restrict|$)/ } split /^/m, slurp_file($_[0]) };
is($strip->("$folder/again.sql"), $strip->("$folder/schema.sql"), 'and its schema is that of the original');

# A restore where the extension's tables exist already: data only, into an installed database.
sql($node, 'postgres', 'CREATE DATABASE installed');
make_host($node, 'installed');
sql($node, 'installed', 'TRUNCATE organizations, containers, container_metrics, clock, alerting.alert_rule, alerting.host_binding, alerting.metric_source CASCADE');
my ($out, $err);
ok(IPC::Run::run([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $connection->('installed'), '-c', 'SET session_replication_role = replica', '-f', "$folder/data.sql" ],
		'>', \$out, '2>', \$err), 'data only, into an installed database') or diag($err);
sql($node, 'installed', 'SELECT alerting.start(); SELECT s(11, 31, 95)');
flush($node, 'installed', name => 'it is evaluated');
like(alerts($node, 'installed'), qr/^cpu 11 FIRING 31>31$/m, 'a new sample fires');

$node->stop('fast');
done_testing();

# Columns of alerting's tables, and of keys of the host's, are renamed or get another type: what does not fit any more is
# an error or is left alone, and is never read as what it is not.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('retyped');

# What is read of a delivery just written.
my $database = fresh_database($node);
sql($node, $database, q{INSERT INTO alerting.webhook (organization_id, url) VALUES (1, 'https://endpoint.invalid/')});
flush($node, $database);
sql($node, $database, 'ALTER TABLE alerting.delivery RENAME status TO state; SELECT s(11, 2, 95)');
ok($node->poll_query_until($database, q{SELECT count(*) = 1 FROM alerting.delivery d JOIN alerting.alert a ON a.id = d.alert_id AND a.container_id = 11}),
	'delivery.status renamed: the next alert is written');
sql($node, $database, 'ALTER TABLE alerting.delivery RENAME state TO status');

# What is read of rules: any number will do, what is none is told.
sql($node, $database, q{DROP VIEW alerting.active_alert; ALTER TABLE alerting.alert_rule ALTER threshold TYPE numeric, ALTER duration TYPE bigint;
	UPDATE alerting.alert_rule SET name = 'rule'; SELECT s(12, 2, 50)});
flush($node, $database);
my $alerts = 'SELECT count(*) FROM alerting.alert WHERE container_id = 12';
is(sql($node, $database, $alerts), 0, 'alert_rule.threshold and duration retyped: nothing fires below the threshold');
sql($node, $database, 'SELECT s(12, 3, 95)');
flush($node, $database);
is(sql($node, $database, $alerts), 1, 'what is above it fires');
sql($node, $database, q{ALTER TABLE alerting.alert ALTER fired_at TYPE text; SELECT alerting.stop(); SELECT alerting.start()});
ok($node->poll_query_until($database, q{SELECT problem LIKE '%"fired_at" has type text%' FROM alerting.status()}), 'alert.fired_at retyped: status() tells');
sql($node, $database, 'ALTER TABLE alerting.alert ALTER fired_at TYPE timestamptz USING fired_at::timestamptz; SELECT alerting.start()');
flush($node, $database);

sql($node, $database, 'ALTER TABLE alerting.alert_rule ALTER threshold TYPE int; SELECT s(12, 4, 5)');
flush($node, $database);
sql($node, $database, 'SELECT s(12, 5, 95)');
flush($node, $database);
is(sql($node, $database, q{SELECT d.payload -> 'data' -> 'rule' ->> 'threshold' FROM alerting.delivery d JOIN alerting.alert a ON a.id = d.alert_id
	WHERE a.status = 'FIRING' AND a.container_id = 12 AND d.event = 'alert.firing'}), 80, 'alert_rule.threshold an integer: the payload has it');

# What is checked of a webhook.
sql($node, $database, q{ALTER TABLE alerting.webhook ALTER secret TYPE int USING 5;
	INSERT INTO alerting.webhook (organization_id, url, secret) VALUES (1, 'https://other.invalid/', 77)});
is(sql($node, $database, q{SELECT secret FROM alerting.webhook WHERE url LIKE '%other%'}), 77, 'webhook.secret retyped: it can be written');

# The key by which the host's changes are told.
for my $case ([ 'uuid', "'7b6e1dd5-6a5b-4c80-ab6b-9bfe4e1f3b6f'", 'bigint' ], [ 'text', "'seven'", 'int' ], [ 'bigint', 8, 'uuid' ])
{
	my ($from, $key, $to) = @$case;
	my $name = "key_of_$from";
	my $value = $to eq 'uuid' ? 'gen_random_uuid()' : 7;
	sql($node, 'postgres', "CREATE DATABASE $name");
	sql($node, $name, "SET client_min_messages = error;
		CREATE TABLE organizations (id int PRIMARY KEY, name text);
		CREATE TABLE containers (id $from PRIMARY KEY, organization_id int REFERENCES organizations, name text);
		CREATE TABLE metrics (container_id $from, at timestamptz, cpu float8);
		INSERT INTO organizations VALUES (1, 'Initech');
		INSERT INTO containers VALUES ($key, 1, 'web');
		CREATE EXTENSION alerting;
		SELECT alerting.attach('organizations', 'containers');
		SELECT alerting.attach_metrics('metrics');
		ALTER TABLE containers DROP CONSTRAINT containers_pkey CASCADE;
		ALTER TABLE containers ALTER id TYPE $to USING $value;
		UPDATE containers SET organization_id = NULL;
		DELETE FROM containers");
	is(sql($node, $name, 'SELECT count(*) FROM containers'), 0, "containers with keys of type $to that was $from: changed and deleted");
}

# What asks for a container meanwhile says what is wrong, and not what PostgreSQL makes of a query that nobody has written.
sub told
{
	my ($name, $sql) = @_;
	my $error = '';
	$node->psql($name, "\\set SHOW_CONTEXT never\n$sql", stderr => \$error);
	return $error;
}

sql($node, 'postgres', 'CREATE DATABASE asked');
sql($node, 'asked', "SET client_min_messages = error;
	CREATE TABLE organizations (id int PRIMARY KEY, name text);
	CREATE TABLE containers (id bigint PRIMARY KEY, organization_id int REFERENCES organizations, name text);
	CREATE TABLE metrics (container_id bigint, at timestamptz, cpu float8);
	INSERT INTO organizations VALUES (1, 'Initech');
	INSERT INTO containers VALUES (7, 1, 'web');
	CREATE EXTENSION alerting;
	SELECT alerting.attach('organizations', 'containers');
	SELECT alerting.attach_metrics('metrics');
	INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold) VALUES ('rule', 1, 'cpu', 'CPU_USAGE', 80);
	SELECT alerting.stop()");
my $call = qr/^HINT:  \QAttach it again: SELECT alerting.attach('public.organizations', 'public.containers', organization => '\E/m;
for my $case (
	[ 'its organization is gone', 'ALTER TABLE containers DROP organization_id CASCADE', qr/^table public\.containers has no column organization_id any more/ ],
	[ 'its key is renamed', 'ALTER TABLE containers RENAME id TO key', qr/^table public\.containers has no column id any more/ ],
	[ q{its organization's expression fails}, q{UPDATE alerting.host_binding SET organization = 'organization_id + c.lost', organization_is_column = false},
		qr/^table public\.containers cannot be read as it is attached: column c\.lost does not exist/ ],
	[ 'its key has another type', "ALTER TABLE containers DROP CONSTRAINT containers_pkey CASCADE, ALTER id TYPE uuid USING '7b6e1dd5-6a5b-4c80-ab6b-9bfe4e1f3b6f'",
		qr/^keys of table public\.containers have another type than when it was attached/ ])
{
	my ($what, $change, $problem) = @$case;
	for my $asked (q{explain('rule', 7)}, q{preview('rule', '-infinity')}, q{preview(1, 'CPU_USAGE', 80, 0, '-infinity')})
	{
		my $error = told('asked', "SET client_min_messages = error; BEGIN; $change; SELECT * FROM alerting.$asked; ROLLBACK");
		like($error =~ s/^psql:<stdin>:\d+: ERROR:  //r, $problem, "$what: $asked");
		like($error, $call, 'and what to do');
	}
}
like(told('asked', q{BEGIN; ALTER TABLE organizations RENAME id TO key; SELECT * FROM alerting.preview(1, 'CPU_USAGE', 80, 0, '-infinity')}),
	qr/table public\.organizations cannot be read as it is attached: column o\.id does not exist/, 'so does the key of organizations');
my $advice = sql($node, 'asked', "SET client_min_messages = error; BEGIN; ALTER TABLE containers DROP CONSTRAINT containers_pkey CASCADE;
	ALTER TABLE containers ALTER id TYPE uuid USING '7b6e1dd5-6a5b-4c80-ab6b-9bfe4e1f3b6f', ADD PRIMARY KEY (id);
	SELECT hint FROM alerting.doctor() WHERE topic = 'metrics' AND status = 'error'");
like($advice, qr/::uuid.*attach_metrics\('public\.metrics', container => '\.\.\.', at => 'at', cpu => 'cpu'\)/, 'doctor() does not suggest the container that does not fit');

unlike(slurp_file($node->logfile), qr/terminated by signal/, 'no process has crashed');
$node->stop;
done_testing();

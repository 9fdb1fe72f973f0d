# Keys of other types than text, uuid and integers: what equals what is said by the host's own type, not by
# how a key is written. Each type is a database whose rows name the same organization and container in several ways.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('key_types');
my $ci = q{CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)};

# What to run first, the type of an organization's key and of a container's, that of the metrics' column, and three
# spellings of each key: the first is the host's own.
my @hosts = (
	[ 'citext_keys',  'CREATE EXTENSION citext', 'citext', 'citext', 'citext', [qw(Acme ACME acme)], [qw(Web-1 WEB-1 web-1)] ],
	[ 'citext_text',  'CREATE EXTENSION citext', 'citext', 'citext', 'text', [qw(Acme ACME acme)], [qw(Web-1 WEB-1 web-1)] ],
	[ 'number_keys',  '', 'numeric(19)', 'numeric', 'numeric', [qw(7 7.0 7.00)], [qw(12345678901234567890 12345678901234567890.0 12345678901234567890.00)] ],
	[ 'number_ints',  '', 'numeric(19)', 'numeric(19)', 'bigint', [qw(7 07 7)], [qw(10 010 10)] ],
	[ 'ltree_keys',   'CREATE EXTENSION ltree', 'ltree', 'ltree', 'ltree', [qw(top.acme top.acme top.acme)], [qw(top.acme.web top.acme.web top.acme.web)] ],
	[ 'bytea_keys',   '', 'bytea', 'bytea', 'bytea', [qw(\x0aff \x0AFF \x0aff)], [qw(\xc0ffee \xC0FFEE \xc0ffee)] ],
	[ 'enum_inet',    q{CREATE TYPE tenant AS ENUM ('Acme', 'Hooli')}, 'tenant', 'inet', 'inet', [qw(Acme Acme Acme)], [qw(10.0.0.1 10.0.0.1/32 10.0.0.1)] ],
	[ 'padded_domain', 'CREATE DOMAIN padded AS char(8)', 'padded', 'padded', 'char(8)', [ 'acme', 'acme  ', 'acme' ], [ 'web', 'web   ', 'web' ] ],
	[ 'own_schema',   'CREATE SCHEMA types; CREATE EXTENSION citext SCHEMA types', 'types.citext', 'types.citext', 'types.citext', [qw(Acme ACME acme)], [qw(Web-1 WEB-1 web-1)] ],
	[ 'collated',     $ci, 'text COLLATE ci', 'varchar(20) COLLATE ci', 'text COLLATE ci', [qw(Acme ACME acme)], [qw(Web-1 WEB-1 web-1)] ],
	[ 'collated_here', $ci, 'text COLLATE ci', 'text COLLATE ci', 'text', [qw(Acme ACME acme)], [qw(Web-1 WEB-1 web-1)] ]);

sub run_sql { my ($database, $sql) = @_; return $node->safe_psql($database, "SET client_min_messages = warning;\n$sql") }

# "rule container organization STATUS started fired", the keys as alerting says them.
sub told
{
	my ($database) = @_;
	flush_ok($node, $database);
	return run_sql($database, q{
		SELECT concat_ws(' ', r.name, d.payload #>> '{data,container,id}', d.payload #>> '{data,organization,id}', d.payload #>> '{data,organization,name}',
		                 a.status, to_char(a.started_at, 'HH24:MI'), to_char(a.fired_at, 'HH24:MI'), to_char(a.resolved_at, 'HH24:MI'))
		  FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id
		  JOIN alerting.delivery d ON d.alert_id = a.id AND d.event = 'alert.firing' ORDER BY a.fired_at});
}

my @databases;
for (@hosts)
{
	my ($database, $first, $organization_type, $container_type, $metric_type, $organization, $container) = @$_;
	if ($database =~ /collated/ && $node->safe_psql('postgres', q{SELECT count(*) FROM pg_collation WHERE collprovider = 'i'}) == 0)
	{
		note "$database: no ICU";
		next;
	}
	push @databases, $_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	run_sql($database, qq{
		$first;
		CREATE TABLE organizations (id $organization_type PRIMARY KEY, name text);
		CREATE TABLE containers (id $container_type PRIMARY KEY, organization_id $organization_type NOT NULL REFERENCES organizations ON UPDATE CASCADE, name text);
		CREATE TABLE container_metrics (container_id $metric_type, at timestamptz, cpu_percent float8, PRIMARY KEY (container_id, at));
		INSERT INTO organizations VALUES ('$organization->[0]', 'Name');
		INSERT INTO containers VALUES ('$container->[0]', '$organization->[1]', 'web');
		CREATE EXTENSION alerting;
		SELECT alerting.attach('organizations', 'containers');
		SELECT alerting.attach_metrics('container_metrics', max_age => NULL);
		SELECT alerting.create_rule('$organization->[2]', 'cpu', 'CPU_USAGE', 90, 1);
		SELECT alerting.create_rule('$organization->[1]', 'often', 'CPU_USAGE', 50, 0);
		SELECT alerting.create_webhook('$organization->[1]', 'http://127.0.0.1:1/', is_active => true)});
	run_sql($database, "INSERT INTO container_metrics VALUES ('$container->[1]', '2026-03-02 10:00Z', 95)");
	run_sql($database, "INSERT INTO container_metrics VALUES ('$container->[2]', '2026-03-02 10:01Z', 95)");
	my $keys = run_sql($database, 'SELECT c.id::text || \' \' || o.id::text FROM containers c, organizations o');
	my $fired = "often $keys Name FIRING 10:00 10:00\ncpu $keys Name FIRING 10:00 10:01";
	is(told($database), $fired, "$database: one container, as its table writes it");
	is(run_sql($database, "SELECT r.name, e.state FROM alerting.alert_rule r, alerting.explain(r.id, '$container->[2]'::text) e ORDER BY 1"),
		"cpu|FIRING\noften|FIRING", "$database: explained");
	my $seen = (split / /, $keys)[0] . '|FIRING|10:00|10:01';
	is(run_sql($database, q{SELECT p.container_id, p.status, to_char(p.started_at, 'HH24:MI'), to_char(p.fired_at, 'HH24:MI')
		FROM alerting.alert_rule r, alerting.preview(r.id, '2026-03-02', '2026-03-02 10:01Z') p WHERE r.name = 'cpu'}), $seen, "$database: previewed");
	is(run_sql($database, qq{SELECT p.container_id, p.status, to_char(p.started_at, 'HH24:MI'), to_char(p.fired_at, 'HH24:MI')
		FROM alerting.preview('$organization->[1]', 'CPU_USAGE', 90, 1, since => '2026-03-02', until => '2026-03-02 10:01Z') p}), $seen, "$database: supposed");
	is(run_sql($database, q{SELECT count(*) FROM alerting.doctor() WHERE status = 'error' AND topic <> 'webhooks'}), 0, "$database: in order");
}

$node->restart;
for (@databases)
{
	my ($database, $container) = @$_[0, 6];
	run_sql($database, "INSERT INTO container_metrics VALUES ('$container->[1]', '2026-03-02 10:02Z', 60), ('$container->[2]', '2026-03-02 10:03Z', 5)");
	my $keys = run_sql($database, 'SELECT c.id::text || \' \' || o.id::text FROM containers c, organizations o');
	is(told($database), "often $keys Name RESOLVED 10:00 10:00 10:03\ncpu $keys Name RESOLVED 10:00 10:01 10:02", "$database: goes on after a restart");
	run_sql($database, "INSERT INTO container_metrics VALUES ('$container->[1]', '2026-03-02 10:04Z', 60)");
	flush_ok($node, $database);
	run_sql($database, 'DELETE FROM containers');
	is(run_sql($database, 'SELECT count(*) FROM alerting.alert'), 0, "$database: alerts go with the container");
	run_sql($database, "INSERT INTO containers SELECT '$container->[2]', id, 'web' FROM organizations");
	run_sql($database, "INSERT INTO container_metrics VALUES ('$container->[1]', '2026-03-02 10:05Z', 60)");
	my $organization = run_sql($database, 'SELECT id::text FROM organizations');
	my $again = run_sql($database, 'SELECT id::text FROM containers');
	is(told($database), "often $again $organization Name FIRING 10:05 10:05", "$database: made again it is another one");
}

# Written otherwise by its table from now on; what is wrong goes on FIRING, if only by a new alert (the rule's
# organization is another text now).
run_sql('citext_keys', q{UPDATE containers SET id = 'WEB-1'; UPDATE organizations SET id = 'aCME'});
run_sql('citext_keys', q{INSERT INTO container_metrics VALUES ('web-1', '2026-03-02 10:06Z', 65)});
flush_ok($node, 'citext_keys');
is(run_sql('citext_keys', q{SELECT string_agg(DISTINCT container_id::text, ' '), count(*) FILTER (WHERE status = 'FIRING') FROM alerting.alert}), 'WEB-1|1', 'a key written anew');
run_sql('citext_keys', q{INSERT INTO container_metrics VALUES ('weB-1', '2026-03-02 10:07Z', 5)});
flush_ok($node, 'citext_keys');
is(run_sql('citext_keys', q{SELECT count(*) FROM alerting.alert WHERE status = 'FIRING'}), 0, 'and its alert ends');

# A key is what it is, however the session that moves or deletes its row has such values written.
my $escaped = 'SET bytea_output = escape;';
run_sql('bytea_keys', qq{INSERT INTO organizations VALUES ('\\x0b', 'Other'); $escaped UPDATE containers SET organization_id = '\\x0b'});
flush_ok($node, 'bytea_keys');
is(run_sql('bytea_keys', 'SELECT status, resolve_reason FROM alerting.alert'), 'RESOLVED|CONTAINER_MOVED', 'a container moved by a session that writes bytea otherwise');
run_sql('bytea_keys', q{UPDATE containers SET organization_id = '\x0aff'; INSERT INTO container_metrics VALUES ('\xc0ffee', '2026-03-02 10:06Z', 60)});
flush_ok($node, 'bytea_keys');
run_sql('bytea_keys', qq{$escaped DELETE FROM containers});
run_sql('bytea_keys', q{
	INSERT INTO containers VALUES ('\xc0ffee', '\x0aff', 'web');
	INSERT INTO container_metrics VALUES ('\xc0ffee', '2026-03-02 10:07Z', 60)});
is(alerts($node, 'bytea_keys', format => 'HH24:MI'), 'often \\xc0ffee FIRING 10:07 10:07', 'and one deleted');

# Not every text is a number: such a row is skipped, and delays nobody.
run_sql('number_ints', q{
	ALTER TABLE container_metrics RENAME TO former;
	CREATE TABLE container_metrics (container_id text, at timestamptz, cpu_percent float8, PRIMARY KEY (container_id, at));
	SELECT alerting.detach_metrics('former');
	SELECT alerting.attach_metrics('container_metrics', max_age => NULL)});
is(run_sql('number_ints', q{SELECT container FROM alerting.metric_source}), '(m.container_id)::numeric', 'a mapping of another type is cast');
$node->psql('number_ints', q{INSERT INTO container_metrics VALUES ('x', '2026-03-02 10:06Z', 95), ('010', '2026-03-02 10:06Z', 95), ('10.0', '2026-03-02 10:07Z', 95)});
flush_ok($node, 'number_ints');
is(run_sql('number_ints', q{SELECT count(*) FROM alerting.alert WHERE status = 'FIRING'}), 2, 'what is no key is left out');
cmp_ok(run_sql('number_ints', 'SELECT skipped FROM alerting.status()'), '>', 0, 'and counted');

# What has no key that fits is told how to get one; a key of one column beside it will do.
$node->safe_psql('postgres', 'CREATE DATABASE composite');
my (undef, undef, $err) = $node->psql('composite', q{
	CREATE TABLE tenants (id int PRIMARY KEY, name text);
	CREATE TABLE services (tenant_id int REFERENCES tenants, name text, PRIMARY KEY (tenant_id, name));
	CREATE TABLE readings (tenant_id int, service text, at timestamptz, cpu_percent float8, PRIMARY KEY (tenant_id, service, at));
	INSERT INTO tenants VALUES (1, 'Initech'), (2, 'Hooli');
	INSERT INTO services VALUES (1, 'web'), (2, 'web');
	CREATE EXTENSION alerting;
	SELECT alerting.attach('tenants', 'services')});
like($err, qr/containers table public\.services has no single-column key/, 'a composite key');
like($err, qr/HINT:  .*ALTER TABLE public\.services ADD alerting_key/, 'and what to do');
run_sql('composite', q{
	ALTER TABLE services ADD alerting_key text GENERATED ALWAYS AS (tenant_id || '/' || name) STORED UNIQUE NOT NULL;
	SELECT alerting.attach('tenants', 'services');
	SELECT alerting.attach_metrics('readings', container => $$tenant_id || '/' || service$$, max_age => NULL);
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90), alerting.create_rule(2, 'cpu', 'CPU_USAGE', 90);
	INSERT INTO readings VALUES (1, 'web', '2026-03-02 10:00Z', 95), (2, 'web', '2026-03-02 10:00Z', 5)});
is(alerts($node, 'composite'), 'cpu 1/web FIRING 10:00:00 10:00:00', 'containers of a composite key');
# PostgreSQL knows no such column of a partitioned table.
(undef, undef, $err) = $node->psql('composite', q{
	CREATE TABLE placed (tenant_id int, no int, PRIMARY KEY (tenant_id, no)) PARTITION BY LIST (tenant_id);
	SELECT alerting.attach('tenants', 'placed')});
like($err, qr/containers table public\.placed has no single-column key/, 'a composite key of a partitioned table');
unlike($err, qr/ALTER TABLE/, 'is told nothing that cannot be done');
like($err, qr{HINT:  .*Attach a table beside it that a trigger on public\.placed fills.*: tenant_id \|\| '/' \|\| no}, 'but what can');
(undef, undef, $err) = $node->psql('composite', q{
	CREATE TABLE odd (id float8 PRIMARY KEY, tenant_id int);
	SELECT alerting.attach('tenants', 'odd')});
like($err, qr/key column id of table public\.odd has type double precision, which is not supported/, 'a key that cannot be written exactly');
like($err, qr/HINT:  .*ALTER TABLE public\.odd ADD alerting_key bigint/, 'has another one made');

clean_log_ok($node, qr/single-column key|not supported|could not be read/);
$node->stop;
done_testing();

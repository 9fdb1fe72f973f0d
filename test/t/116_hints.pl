# Where nothing can be guessed, the hint is an answer: followed word by word it leads to an alert. Each host is one of the
# ways in which real schemas say whose a container is, which container a row is about, and when.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('hints');

# What a call says, after its hints have been followed, at most three: the errors met, and the call that went through.
sub follow
{
	my ($database, $function, @arguments) = @_;
	my @errors;
	for (0 .. 3)
	{
		my $call = "SELECT alerting.$function(" . join(', ', @arguments) . ')';
		my (undef, undef, $err) = $node->psql($database, "SET client_min_messages = error; $call", on_error_stop => 1);
		return (join('; ', @errors), $call) if $err !~ /ERROR:  (.*)/;
		push @errors, $1;
		my ($hint) = $err =~ /^HINT:  (.*)/m;
		if ($hint =~ /SELECT alerting\.$function\((.*)\);/) { @arguments = ($1) }
		elsif ($hint =~ /\b((?:container|at|at_unit) => '(?:[^']|'')*'(?:, at_unit => '\w+')?)/) { push @arguments, $1 }
		else { last }
	}
	return (join('; ', @errors), 'nothing');
}

# The host's tables, its organizations and containers, what to attach; a row about container "web" at the given time; the
# hints that lead there.
for my $host (
	[ 'docker_ids', q{
		CREATE TABLE organizations (id bigserial PRIMARY KEY, uuid uuid UNIQUE NOT NULL DEFAULT gen_random_uuid(), name text);
		CREATE TABLE containers (id bigserial PRIMARY KEY, organization_uuid uuid NOT NULL, docker_id varchar(64) NOT NULL UNIQUE, name text UNIQUE);
		CREATE TABLE figures (container_id varchar(64), recorded_at timestamptz, cpu_percent float8, PRIMARY KEY (container_id, recorded_at));
		INSERT INTO organizations (name) VALUES ('Acme');
		INSERT INTO containers (organization_uuid, docker_id, name) SELECT uuid, 'c0ffee', 'web' FROM organizations},
		'organizations', 'containers', q{INSERT INTO figures VALUES ('c0ffee', %s, 95)},
		qr/organization => '\(SELECT k\.id FROM public\.organizations k WHERE k\.uuid = c\.organization_uuid\)'/,
		qr/container => '\(SELECT k\.id FROM public\.containers k WHERE k\.docker_id = m\.container_id\)'/ ],
	[ 'called_after', q{
		CREATE TABLE teams (id bigserial PRIMARY KEY, name text);
		CREATE TABLE applications (id bigserial PRIMARY KEY, uuid varchar(255) UNIQUE NOT NULL, config_hash varchar UNIQUE, team_id bigint REFERENCES teams, name text);
		CREATE TABLE figures (application_uuid varchar(255), created_at timestamp(0), cpu_percent float8, PRIMARY KEY (application_uuid, created_at));
		INSERT INTO teams VALUES (1, 'Root');
		INSERT INTO applications VALUES (1, 'vgkk0c4', NULL, 1, 'web')},
		'teams', 'applications', q{INSERT INTO figures VALUES ('vgkk0c4', %s AT TIME ZONE 'UTC', 95)},
		qr/'teams', 'applications'$/, qr/container => '\(SELECT k\.id FROM public\.applications k WHERE k\.uuid = m\.application_uuid\)'/ ],
	[ 'namespaces', q{
		CREATE TABLE namespaces (name text PRIMARY KEY, cost_center text);
		CREATE TABLE pods (uid uuid PRIMARY KEY, namespace text NOT NULL REFERENCES namespaces, pod_name text NOT NULL, node_name text, UNIQUE (namespace, pod_name), UNIQUE (node_name, uid));
		CREATE TABLE figures (scraped_at text, namespace text, pod_name text, node_name text, cpu_percent float8, PRIMARY KEY (scraped_at, namespace, pod_name));
		INSERT INTO namespaces VALUES ('default');
		INSERT INTO pods VALUES ('00000000-0000-4000-8000-00000000000c', 'default', 'web')},
		'namespaces', 'pods', q{INSERT INTO figures VALUES (%s::text, 'default', 'web', 'n', 95)}, qr/'namespaces', 'pods'$/,
		qr/container => '\(SELECT k\.uid FROM public\.pods k WHERE k\.namespace = m\.namespace AND k\.pod_name = m\.pod_name\)', at => 'scraped_at::timestamptz'$/ ],
	[ 'made_again', q{
		CREATE TABLE workspaces (id int PRIMARY KEY, name text);
		CREATE TABLE containers (id bigserial PRIMARY KEY, workspace_id int NOT NULL REFERENCES workspaces, name text NOT NULL, deleted_at timestamptz);
		CREATE UNIQUE INDEX ON containers (workspace_id, name) WHERE deleted_at IS NULL;
		CREATE TABLE figures (workspace_id int, container_name text, sampled_at timestamptz, cpu_percent float8, deleted_at timestamptz, PRIMARY KEY (workspace_id, container_name, sampled_at));
		INSERT INTO workspaces VALUES (1, 'Acme');
		INSERT INTO containers (workspace_id, name, deleted_at) VALUES (1, 'web', now()), (1, 'web', NULL)},
		'workspaces', 'containers', q{INSERT INTO figures VALUES (1, 'web', %s, 95)}, qr/'workspaces', 'containers'$/,
		qr/container => '\(SELECT k\.id FROM public\.containers k WHERE k\.workspace_id = m\.workspace_id AND k\.name = m\.container_name AND \(deleted_at IS NULL\)\)'$/ ],
	[ 'large_numbers', q{
		CREATE TABLE guilds (id bigint PRIMARY KEY, name text);
		CREATE TABLE bots (id bigint PRIMARY KEY, guild_id numeric(20) NOT NULL, name text);
		CREATE TABLE figures (bot_id numeric(20), day date, time_of_day time, cpu_percent float8);
		CREATE INDEX ON figures ((day + time_of_day));
		INSERT INTO guilds VALUES (9223372036854775801, 'Acme');
		INSERT INTO bots VALUES (9223372036854775807, 9223372036854775801, 'web')},
		'guilds', 'bots', q{INSERT INTO figures SELECT 9223372036854775807, t, t::time, 95 FROM (SELECT %s AT TIME ZONE 'UTC' AS t) n},
		qr/organization => 'guild_id::bigint'/, qr/container => 'bot_id::bigint', at => 'day \+ time_of_day'$/ ],
	# A column that may hold the key, or what else is called so.
	[ 'both_called_so', q{
		CREATE TABLE "Organization" (id text PRIMARY KEY, name text);
		CREATE TABLE "Container" (id text PRIMARY KEY, "organizationId" text NOT NULL REFERENCES "Organization", "containerId" text UNIQUE NOT NULL, name text);
		CREATE TABLE figures ("containerId" text, "timestamp" timestamptz, cpu_percent float8, PRIMARY KEY ("containerId", "timestamp"));
		INSERT INTO "Organization" VALUES ('o', 'Acme');
		INSERT INTO "Container" VALUES ('c', 'o', 'c0ffee', 'web')},
		'"Organization"', '"Container"', q{INSERT INTO figures VALUES ('c0ffee', %s, 95)}, qr/'"Organization"', '"Container"'$/,
		qr/container => '\(SELECT k\.id FROM public\."Container" k WHERE k\."containerId" = m\."containerId"\)'$/ ],
	[ 'uuids_as_text', q{
		CREATE TABLE organizations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text);
		CREATE TABLE containers (id uuid PRIMARY KEY, "orgId" text, name text);
		CREATE TABLE figures ("containerId" text, "timestamp" text, cpu_percent float8, PRIMARY KEY ("containerId", "timestamp"));
		INSERT INTO organizations (name) VALUES ('Acme');
		INSERT INTO containers SELECT '00000000-0000-4000-8000-00000000000c', id, 'web' FROM organizations},
		'organizations', 'containers', q{INSERT INTO figures VALUES ('00000000-0000-4000-8000-00000000000c', %s::text, 95)},
		qr/organization => '"orgId"::uuid'/, qr/container => '"containerId"::uuid', at => '"timestamp"::timestamptz'/ ],
	[ 'three_between', q{
		CREATE SCHEMA auth;
		CREATE SCHEMA infra;
		CREATE TABLE auth.workspace (id text PRIMARY KEY, name text);
		CREATE TABLE infra.cluster (id int PRIMARY KEY, workspace_id text NOT NULL REFERENCES auth.workspace);
		CREATE TABLE infra.namespace (id int PRIMARY KEY, cluster int NOT NULL REFERENCES infra.cluster);
		CREATE TABLE infra.deployment (id int PRIMARY KEY, namespace_id int NOT NULL REFERENCES infra.namespace, follows int REFERENCES infra.deployment);
		CREATE TABLE infra.pod (id int PRIMARY KEY, deployment_id int NOT NULL REFERENCES infra.deployment, "appName" text);
		CREATE TABLE figures (pod_id int REFERENCES infra.pod, "read" text, cpu_percent float8, PRIMARY KEY (pod_id, "read"));
		INSERT INTO auth.workspace VALUES ('w', 'Acme');
		INSERT INTO infra.cluster VALUES (1, 'w');
		INSERT INTO infra.namespace VALUES (2, 1);
		INSERT INTO infra.deployment VALUES (3, 2);
		INSERT INTO infra.pod VALUES (4, 3, 'web')},
		'auth.workspace', 'infra.pod', q{INSERT INTO figures VALUES (4, %s::text, 95)},
		qr/JOIN infra\.namespace i ON i\.id = h\.namespace_id JOIN infra\.cluster j ON j\.id = i\.cluster WHERE h\.id = c\.deployment_id\)'/,
		qr/at => 'read::timestamptz'/ ],
	[ 'plurals', q{
		CREATE TABLE branches (id int PRIMARY KEY, branch_name text);
		CREATE TABLE boxes (id int PRIMARY KEY, branch_id int, box_name text);
		CREATE TABLE figures (box_id int, created timestamptz, modified timestamptz, cpu_percent float8, PRIMARY KEY (box_id, created));
		INSERT INTO branches VALUES (1, 'North');
		INSERT INTO boxes VALUES (1, 1, 'web')},
		'branches', 'boxes', q{INSERT INTO figures VALUES (1, %s, NULL, 95)}, qr/'branches', 'boxes'$/, qr/'figures'$/ ])
{
	my ($database, $schema, $organizations, $containers, $insert, $bound, $attached) = @$host;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, "SET client_min_messages = warning; $schema; CREATE EXTENSION alerting");
	my ($errors, $call) = follow($database, 'attach', "'$organizations'", "'$containers'");
	like($call =~ s/\)$//r, $bound, "$database: bound") or diag $errors;
	next if $call eq 'nothing';
	($errors, $call) = follow($database, 'attach_metrics', "'figures'");
	like($call =~ s/\)$//r, $attached, "$database: attached") or diag $errors;
	next if $call eq 'nothing';
	my $key = $node->safe_psql($database, 'SELECT organization_key FROM alerting.host_binding');
	$node->safe_psql($database, "SELECT alerting.create_rule((SELECT $key\::text FROM $organizations), 'cpu', 'CPU_USAGE', 90)");
	$node->safe_psql($database, sprintf $insert, 'now()');
	flush_ok($node, $database);
	is($node->safe_psql($database, q{SELECT a.status, alerting.container_name(a.container_id::text) FROM alerting.alert a}), 'FIRING|web', "$database: an alert");
}

# Of rows that are updated in place the time is that of the change, whatever it is called.
$node->safe_psql('postgres', 'CREATE DATABASE in_place');
$node->safe_psql('in_place', q{
	SET client_min_messages = warning;
	CREATE TABLE organizations (id int PRIMARY KEY, name text);
	CREATE TABLE containers (id int PRIMARY KEY, organization_id int REFERENCES organizations, name text, state text, restart_count int, load float8);
	CREATE EXTENSION alerting});
for my $columns ([qw(create_time update_time)], [qw(created modified)], [qw(created_date last_modified_date)], [qw(date_created date_updated)])
{
	is($node->safe_psql('in_place', sprintf q{
		BEGIN;
		SET client_min_messages = error;
		ALTER TABLE containers ADD %s timestamptz, ADD %s timestamptz;
		SELECT count(*) FROM alerting.attach_metrics('containers');
		SELECT at, running, restarts FROM alerting.metric_source;
		ROLLBACK}, @$columns) =~ s/^\d+\n//r, "$columns->[1]|(lower(m.state) = 'running'::text)|restart_count", "@$columns");
}

# The call that doctor() shows is one that can be made: of a column that got another name it has the new one, where that is
# a usual one; and what was not wanted stays so.
$node->safe_psql('in_place', q{
	SET client_min_messages = error;
	CREATE TABLE figures (container_id int, ts timestamptz, processor float8, cpu_percent float8, memory_percent float8, PRIMARY KEY (container_id, ts));
	INSERT INTO organizations VALUES (1, 'Acme');
	INSERT INTO containers VALUES (1, 1, 'web');
	SELECT alerting.attach_metrics('figures', cpu => 'processor', memory => '', max_age => NULL);
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90);
	ALTER TABLE figures DROP processor;
	ALTER TABLE figures RENAME ts TO sampled_at});
my ($call) = $node->safe_psql('in_place', q{SELECT hint FROM alerting.doctor() WHERE topic = 'metrics' AND status = 'error'}) =~ /(SELECT alerting\.attach_metrics.*)/;
is($call, q{SELECT alerting.attach_metrics('public.figures', container => 'container_id', at => 'sampled_at', cpu => 'cpu_percent', memory => '', max_age => NULL);},
	'with the columns as they are now');
$node->safe_psql('in_place', "SET client_min_messages = error; $call; INSERT INTO figures VALUES (1, now(), 95, 99)") if $call;
flush_ok($node, 'in_place');
is($node->safe_psql('in_place', 'SELECT r.name, a.status FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id'), 'cpu|FIRING', 'it serves');
$node->safe_psql('in_place', 'ALTER TABLE figures RENAME cpu_percent TO load');
like($node->safe_psql('in_place', q{SELECT hint FROM alerting.doctor() WHERE topic = 'metrics' AND status = 'error'}), qr/, cpu => '\.\.\.', /, 'a new name that nobody could guess is asked for');

# A state that says more than "running": what is known of it speaks against the guess, also beside others that say no more.
sub state_of { return $node->safe_psql('in_place', q{SELECT status, detail, hint FROM alerting.doctor() WHERE topic = 'metrics' AND object = 'public.states' AND status <> 'ok' AND detail LIKE '%running%'}) }
$node->safe_psql('in_place', q{
	SET client_min_messages = error;
	CREATE TABLE states (container_id int, at timestamptz, cpu_percent float8, "Status" text, PRIMARY KEY (container_id, at)) WITH (autovacuum_enabled = off);
	SELECT alerting.attach_metrics('states');
	INSERT INTO states SELECT 1, now() - n * interval '1 s', 5, CASE WHEN n % 2 = 0 THEN 'Running' ELSE 'exited' END FROM generate_series(1, 100) n;
	ANALYZE states});
is(state_of(), '', 'a state that says no more');
$node->safe_psql('in_place', q{
	INSERT INTO states SELECT 1, now() + n * interval '1 us', 5, 'Running (healthy)' FROM generate_series(1, 100) n;
	ANALYZE states});
like(state_of(), qr/^warning\|Some values of "Status" begin with 'running' and say more: .*running => \$\$lower\("Status"\) LIKE 'running%'\$\$.*SELECT alerting\.attach_metrics\('public\.states', /, 'and one that does');
my (undef, undef, $unmapped) = $node->psql('in_place', q{
	BEGIN;
	SELECT alerting.detach_metrics('states');
	SELECT alerting.attach_metrics('states');
	ROLLBACK}, on_error_stop => 1);
like($unmapped, qr/NOTICE:  columns of public\.states that look like metrics, but are not mapped: "Status"/, 'is not guessed');

# No index is asked for that PostgreSQL refuses.
(undef, undef, my $unindexed) = $node->psql('in_place', q{
	BEGIN;
	CREATE TABLE texts (doc jsonb);
	SELECT alerting.attach_metrics('texts', container => $$(doc ->> 'id')::int$$, at => $$(doc ->> 'at')::timestamptz$$, cpu => $$(doc ->> 'cpu')::float8$$);
	ROLLBACK}, on_error_stop => 1);
like($unindexed, qr/WARNING:  table public\.texts has no index .*\nDETAIL:.*\nHINT:  No index holds a time that is cast: /, 'a time that is cast');

# What CREATE EXTENSION could not attach it does not ask for in words that fail again.
$node->safe_psql('postgres', 'CREATE DATABASE at_once');
my (undef, undef, $told) = $node->psql('at_once', q{
	CREATE TABLE organizations (id int PRIMARY KEY, name text);
	CREATE TABLE containers (id int PRIMARY KEY, organization_id int REFERENCES organizations, name text);
	CREATE TABLE stats (container_id int REFERENCES containers, ts float8, cpu_percent float8, PRIMARY KEY (container_id, ts));
	CREATE EXTENSION alerting});
like($told, qr/did not attach metrics public\.stats: cannot tell the time .*\nHINT:  Attach it: SELECT alerting\.attach_metrics\('public\.stats', \.\.\.\); If it is column ts, say .*at_unit/,
	'CREATE EXTENSION says what is missing');

clean_log_ok($node, qr/cannot tell |has type .*, but |mapping of table|cannot be read|no longer fits/);
$node->stop;
done_testing();

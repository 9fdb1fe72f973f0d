# The host's tables belong to a role with few rights, who would like more. Whatever of his runs
# because of alerting (functions in mappings, in indexes, behind foreign keys; in workers and in the
# sessions of others) runs as him, and leaves nothing behind that another's statement would run.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('owners');
$node->safe_psql('postgres', 'CREATE ROLE tenant LOGIN');

# Names that our statements use, as the tenant would have them; `trap.log` is who called them.
my $traps = q{
	SET client_min_messages = warning;
	CREATE SCHEMA trap AUTHORIZATION tenant;
	GRANT CREATE ON SCHEMA public TO tenant;
	GRANT USAGE ON SCHEMA trap TO PUBLIC;
	SET ROLE tenant;
	CREATE TABLE trap.log (what text, caller text);
	GRANT ALL ON trap.log TO PUBLIC;
	CREATE FUNCTION trap.sprung(what text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO trap.log VALUES (what, current_user);
	EXCEPTION WHEN OTHERS THEN
		RETURN;
	END $$;
	CREATE FUNCTION trap.equal(text, text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN PERFORM trap.sprung('='); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
	CREATE OPERATOR trap.= (leftarg = text, rightarg = text, function = trap.equal);
	CREATE FUNCTION trap.now() RETURNS timestamptz LANGUAGE plpgsql AS $$
	BEGIN PERFORM trap.sprung('now'); RETURN pg_catalog.now(); END $$;
	CREATE FUNCTION trap.lower(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN RAISE WARNING 'lower as %', current_user; RETURN pg_catalog.lower($1); END $$;
	-- For indexes: whoever plans a query over the table runs it.
	CREATE FUNCTION trap.marker(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		IF current_user <> 'tenant' THEN
			RAISE WARNING 'marker as %', current_user;
		END IF;
		PERFORM set_config('search_path', 'trap, pg_catalog', false);
		RETURN $1;
	END $$;
	CREATE FUNCTION trap.organization(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
};
my $tables = q{
	CREATE TABLE public.organizations (id int PRIMARY KEY, name text);
	CREATE TABLE public.containers (id int PRIMARY KEY, organization_id int, name text);
	CREATE TABLE public.container_metrics (container_id int REFERENCES public.containers ON DELETE CASCADE, at timestamptz, cpu_percent float8, state text);
	CREATE INDEX ON public.container_metrics (container_id, at);
	INSERT INTO public.organizations VALUES (1, 'Initech');
	INSERT INTO public.containers VALUES (1, 1, 'web'), (2, 1, 'db');
	RESET ROLE;
};
my $indexes = q{
	SET ROLE tenant;
	CREATE INDEX ON public.organizations (trap.marker('organizations'));
	CREATE INDEX ON public.containers (trap.marker('containers'));
	CREATE INDEX ON public.container_metrics (trap.marker('metrics'));
	RESET ROLE;
};
my $rule = q{SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90)};

sub sprung { return $node->safe_psql($_[0], q{SELECT string_agg(DISTINCT what || ' by ' || caller, ', ') FROM trap.log}) }

# The tables of a role are found by a superuser's CREATE EXTENSION, who knows nothing of them.
$node->safe_psql('postgres', 'CREATE DATABASE planted');
$node->safe_psql('planted', $traps . $tables =~ s/organization_id int/organization_id int REFERENCES public.organizations/r . $indexes);
my $log = -s $node->logfile;
$node->safe_psql('planted', 'CREATE EXTENSION alerting');
is($node->safe_psql('planted', 'SELECT containers FROM alerting.host_binding'), 'containers', 'CREATE EXTENSION binds the tables of a role');
unlike(slurp_file($node->logfile, $log), qr/marker as/, 'and runs nothing of that role');

# Functions in a mapping, replaced after attach, and in indexes: in the workers.
for my $case (qw(mapping index))
{
	$node->safe_psql('postgres', "CREATE DATABASE by_$case");
	$node->safe_psql("by_$case", $traps . $tables . qq{
		CREATE EXTENSION alerting;
		SELECT alerting.attach('organizations', 'containers', organization => 'trap.organization(c.organization_id)');
		SELECT alerting.attach_metrics('container_metrics', max_age => NULL);
		$rule});
	flush_ok($node, "by_$case");
	my $replace = q{
		SET ROLE tenant;
		CREATE OR REPLACE FUNCTION trap.organization(int) RETURNS int LANGUAGE plpgsql STABLE AS $$
		BEGIN PERFORM set_config('search_path', 'trap, pg_catalog', false); RETURN 1; END $$;
		RESET ROLE};
	$node->safe_psql("by_$case", $case eq 'mapping' ? $replace : $indexes);
	# The application is that role, too.
	my @tenant = (extra_params => [ '-U', 'tenant' ]);
	$node->safe_psql("by_$case", q{INSERT INTO container_metrics VALUES (1, '2026-03-02 10:00Z', 95), (2, '2026-03-02 10:00Z', 95)}, @tenant);
	flush_ok($node, "by_$case");
	$node->safe_psql("by_$case", 'UPDATE alerting.alert_rule SET threshold = 50');
	flush_ok($node, "by_$case");
	$node->safe_psql("by_$case", q{INSERT INTO container_metrics VALUES (1, '2026-03-02 10:01Z', 5)}, @tenant);
	is(alerts($node, "by_$case"), "cpu 1 RESOLVED 10:00:00 10:00:00 10:01:00\ncpu 2 FIRING 10:00:00 10:00:00", "$case: alerts come");
	is(sprung("by_$case"), '', "$case: the evaluator's search_path stays its own");
}

# The end of a container, and reading the alerts as a superuser.
$log = -s $node->logfile;
is($node->safe_psql('by_index', q{SELECT container_name FROM alerting.active_alert}), 'db', "active_alert names the tenant's container");
is($node->safe_psql('by_index', q{SHOW search_path}), '"$user", public', "and changes nothing in the reader's session");
$node->safe_psql('by_index', 'DELETE FROM organizations WHERE id = 1', extra_params => [ '-U', 'tenant' ]);
is($node->safe_psql('by_index', 'SELECT count(*) FROM alerting.alert'), 0, "alerts go with the tenant's organization");
unlike(slurp_file($node->logfile, $log), qr/marker as (?!tenant)/, 'and nobody else runs what is in his indexes');

# doctor() has the rights of the extension's owner, and looks at the tenant's newest rows with the tenant's.
$log = -s $node->logfile;
like($node->safe_psql('by_index', q{SELECT detail FROM alerting.doctor() WHERE topic = 'time'}), qr/^Its newest row is of 2026-03-02 /, "doctor() finds the tenant's newest row");
unlike(slurp_file($node->logfile, $log), qr/marker as /, 'and runs nothing of his');

# Sessions of other roles. An owner's mapping means what it meant when it was attached, whatever
# search_path an INSERT comes with; and what runs in it stays there.
my $session = $node->background_psql('by_mapping', on_error_stop => 0);
$session->query_safe(q{
	SET client_min_messages = warning;
	CREATE TABLE states (container int, at timestamptz PRIMARY KEY, state text);
	GRANT INSERT ON states TO tenant;
	SELECT alerting.attach_metrics('states', container => 'container', at => 'at', running => 'lower(state) = ''running''')});
my ($out, $warnings);
$node->psql('by_mapping', q{SET search_path = trap, pg_catalog, public; INSERT INTO states VALUES (1, now(), 'running')},
	stderr => \$warnings, extra_params => [ '-U', 'tenant' ]);
is($warnings, '', "who inserts doesn't choose the mapping's functions");
is($node->safe_psql('by_mapping', 'SELECT skipped FROM alerting.status()'), 0, 'the row was read');
$session->query_safe(q{
	CREATE FUNCTION trap.cpu(float8) RETURNS float8 LANGUAGE plpgsql STABLE AS 'BEGIN PERFORM set_config(''search_path'', ''trap'', false); RETURN $1; END';
	SELECT alerting.attach_metrics('container_metrics', cpu => 'trap.cpu(cpu_percent)', max_age => NULL);
	INSERT INTO container_metrics VALUES (1, '2026-03-02 10:02Z', 5)});
is($session->query_safe('SHOW search_path'), '"$user", public', "what a mapping sets doesn't outlive it in the inserting session");
$session->query_safe(q{SELECT count(*) FROM alerting.preview((SELECT id FROM alerting.alert_rule), '2026-03-01', '2026-03-03')});
is($session->query_safe('SHOW search_path'), '"$user", public', 'nor in one that previews');
$session->quit;

# Who may write mappings writes them for tables of his own, also without attach_metrics.
$node->safe_psql('by_mapping', q{
	GRANT USAGE ON SCHEMA alerting TO tenant;
	GRANT SELECT, INSERT, UPDATE, DELETE ON alerting.metric_source, alerting.host_binding TO tenant});
for my $attempt (
	q{INSERT INTO alerting.metric_source (metrics, container, at, cpu, level) VALUES ('pg_authid', '1', 'now()', 'trap.cpu(1)', 'row')},
	q{INSERT INTO alerting.metric_source (metrics, container, at, cpu, level) VALUES ('4000000000', '1', 'now()', 'trap.cpu(1)', 'row')},
	q{UPDATE alerting.metric_source SET cpu = 'trap.cpu(1)' WHERE metrics = 'states'::regclass},
	q{UPDATE alerting.metric_source SET metrics = 'pg_authid' WHERE metrics = 'container_metrics'::regclass},
	q{UPDATE alerting.host_binding SET containers = 'pg_authid'})
{
	my (undef, undef, $refusal) = $node->psql('by_mapping', $attempt, extra_params => [ '-U', 'tenant' ]);
	like($refusal, qr/must be owner of table/, "refused: $attempt");
}
is($node->safe_psql('by_mapping', q{UPDATE alerting.metric_source SET cpu = 'cpu_percent' WHERE metrics = 'container_metrics'::regclass RETURNING id},
	extra_params => [ '-U', 'tenant' ]), 1, 'his own he may change');

# An owner whose own row security is forced upon him: alerting reads all his rows for him.
$node->safe_psql('postgres', 'CREATE DATABASE secured');
$node->safe_psql('secured', $traps . $tables . qq{
	CREATE EXTENSION alerting;
	SELECT alerting.attach_metrics('container_metrics', cpu => 'cpu_percent + 0', max_age => NULL);
	$rule;
	SET ROLE tenant;
	ALTER TABLE organizations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
	ALTER TABLE containers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
	ALTER TABLE container_metrics ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
	CREATE POLICY own ON organizations USING (id = current_setting('app.organization')::int);
	CREATE POLICY own ON containers USING (organization_id = current_setting('app.organization')::int);
	CREATE POLICY own ON container_metrics USING (container_id IN (SELECT c.id FROM containers c)) WITH CHECK (true);
	RESET ROLE;
	SELECT alerting.flush('60s');
	SELECT alerting.stop()});
# Read back from the table by the starting evaluator.
$node->safe_psql('secured', q{SET app.organization = 1; INSERT INTO container_metrics VALUES (1, '2026-03-02 10:00Z', 95)}, extra_params => [ '-U', 'tenant' ]);
$node->safe_psql('secured', 'SELECT alerting.start()');
flush_ok($node, 'secured');
$node->safe_psql('secured', q{SET app.organization = 1; INSERT INTO container_metrics VALUES (2, '2026-03-02 10:00Z', 95)}, extra_params => [ '-U', 'tenant' ]);
is(alerts($node, 'secured'), "cpu 1 FIRING 10:00:00 10:00:00\ncpu 2 FIRING 10:00:00 10:00:00", 'forced row security hides nothing from alerting');
is($node->safe_psql('secured', q{SELECT string_agg(container_name, ' ' ORDER BY 1) FROM alerting.active_alert}), 'db web', 'nor the names');

# The functions behind our triggers, on a table of his own.
$node->safe_psql('secured', q{GRANT USAGE ON SCHEMA alerting TO tenant; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA alerting TO tenant;
	CREATE SCHEMA own AUTHORIZATION tenant; SET ROLE tenant;
	CREATE TABLE own.alert (id text, rule_id text, container_id int);
	CREATE TRIGGER deleted AFTER DELETE ON own.alert FOR EACH ROW EXECUTE FUNCTION alerting.alert_deleted();
	CREATE TRIGGER truncated AFTER TRUNCATE ON own.alert EXECUTE FUNCTION alerting.alert_truncated();
	INSERT INTO own.alert VALUES ('x', 'y', 1)});
for my $command ('DELETE FROM', 'TRUNCATE')
{
	my (undef, undef, $error) = $node->psql('secured', "$command own.alert", extra_params => [ '-U', 'tenant' ]);
	like($error, qr/is a trigger of alerting\.alert alone/, "$command a table with our trigger");
}

# Metrics whose owner may refer to the containers, but not read them: what is lacking is said, and rows go on when it is there.
$node->safe_psql('postgres', 'CREATE ROLE "the agent" LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE granted');
$node->safe_psql('granted', q{
	SET client_min_messages = warning;
	CREATE TABLE organizations (id int PRIMARY KEY, name text);
	CREATE TABLE containers (id int PRIMARY KEY, organization_id int REFERENCES organizations, docker_id text UNIQUE, name text);
	CREATE TABLE container_metrics (docker_id text REFERENCES containers (docker_id), at timestamptz, cpu_percent float8, PRIMARY KEY (docker_id, at));
	ALTER TABLE container_metrics OWNER TO "the agent";
	INSERT INTO organizations VALUES (1, 'Initech');
	INSERT INTO containers VALUES (1, 1, 'c0ffee', 'web');
	GRANT REFERENCES ON containers TO "the agent";
	CREATE EXTENSION alerting;
	SELECT alerting.attach_metrics('container_metrics', max_age => NULL);
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90)});
my (undef, undef, $lacking) = $node->psql('granted', q{INSERT INTO container_metrics VALUES ('c0ffee', '2026-03-02 10:00Z', 95)}, extra_params => [ '-U', 'the agent' ]);
like($lacking, qr/WARNING:.*could not be read/, 'a mapping that its owner may not evaluate');
like($lacking, qr/HINT:  .*rights of the table's owner, "the agent": GRANT that role SELECT/, 'says what the owner lacks');
$node->safe_psql('granted', 'GRANT SELECT ON containers TO "the agent"');
$node->safe_psql('granted', q{INSERT INTO container_metrics VALUES ('c0ffee', '2026-03-02 10:01Z', 95)}, extra_params => [ '-U', 'the agent' ]);
flush_ok($node, 'granted');
is(alerts($node, 'granted'), 'cpu 1 FIRING 10:01:00 10:01:00', 'and goes on with it');

# Partitions are made by the tables' owner, who has no right on alerting: PostgreSQL copies our row triggers to them. So it is after a
# restore, and when another one owns the tables.
$node->safe_psql('postgres', 'CREATE DATABASE partitioned');
$node->safe_psql('partitioned', q{
	SET client_min_messages = warning;
	CREATE SCHEMA app AUTHORIZATION tenant;
	GRANT USAGE ON SCHEMA app TO "the agent";
	SET ROLE tenant;
	CREATE TABLE app.organizations (id int PRIMARY KEY, company_name text);
	CREATE TABLE app.containers (id int PRIMARY KEY, organization_id int REFERENCES app.organizations, name text) PARTITION BY LIST (id);
	CREATE TABLE app.containers_1 PARTITION OF app.containers FOR VALUES IN (1);
	CREATE TABLE app.container_metrics (container_id int REFERENCES app.containers, at timestamptz, cpu_percent float8, PRIMARY KEY (container_id, at)) PARTITION BY RANGE (at);
	INSERT INTO app.organizations VALUES (1, 'Initech');
	INSERT INTO app.containers VALUES (1, 1, 'web');
	RESET ROLE;
	CREATE EXTENSION alerting;
	SELECT alerting.attach_metrics('app.container_metrics', max_age => NULL);
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90);
	SELECT alerting.create_webhook(1, '} . nobody() . q{')});
sub makes_partitions
{
	my ($database, $day, $what) = @_;
	my ($out, $err);
	$node->psql($database, qq{
		CREATE TABLE app.containers_$day PARTITION OF app.containers FOR VALUES IN ($day);
		CREATE TABLE app.metrics_$day PARTITION OF app.container_metrics FOR VALUES FROM ('2026-03-$day 00:00Z') TO ('2026-03-$day 12:00Z');
		CREATE TABLE app.later_$day (LIKE app.container_metrics INCLUDING ALL);
		ALTER TABLE app.container_metrics ATTACH PARTITION app.later_$day FOR VALUES FROM ('2026-03-$day 12:00Z') TO ('2026-03-$day 23:00Z');
		INSERT INTO app.containers VALUES ($day, 1, 'new');
		INSERT INTO app.container_metrics VALUES ($day, '2026-03-$day 10:00Z', 95), ($day, '2026-03-$day 12:00Z', 5)},
		stderr => \$err, extra_params => [ '-U', 'tenant' ]);
	is($err, '', "$what: partitions of containers and metrics");
	flush_ok($node, $database);
	is($node->safe_psql($database, "SELECT alerting.container_name(container_id::text) || ' ' || status FROM alerting.alert WHERE container_id = $day"), 'new RESOLVED', 'whose rows count');
	return;
}
makes_partitions('partitioned', 11, "the tables' owner");
is($node->safe_psql('partitioned', q{SELECT DISTINCT payload #>> '{data,organization,name}' FROM alerting.delivery}), 'Initech', "a webhook names the company");
my $dump = "$PostgreSQL::Test::Utils::tmp_check/partitioned.dump";
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('partitioned') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE partitioned_copy');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('partitioned_copy'), $dump ], 'restored');
flush_ok($node, 'partitioned_copy');
makes_partitions('partitioned_copy', 12, 'after a restore');
my $by_agent = q{CREATE TABLE app.metrics_%d PARTITION OF app.container_metrics FOR VALUES FROM ('2026-03-%d 00:00Z') TO ('2026-03-%d 12:00Z')};
$node->safe_psql('partitioned', q{ALTER TABLE app.container_metrics OWNER TO "the agent"; GRANT CREATE ON SCHEMA app TO "the agent"});
flush_ok($node, 'partitioned');
$node->safe_psql('partitioned', sprintf($by_agent, (15) x 3), extra_params => [ '-U', 'the agent' ]);
$node->safe_psql('partitioned', 'REVOKE EXECUTE ON FUNCTION alerting.capture() FROM "the agent"');
my $remedy = $node->safe_psql('partitioned', q{SELECT hint FROM alerting.doctor() WHERE topic = 'triggers' AND object = 'app.container_metrics' AND status = 'error'});
is($remedy, 'GRANT EXECUTE ON FUNCTION alerting.capture() TO "the agent";', 'who may not make partitions: doctor() says what is lacking');
$node->safe_psql('partitioned', $remedy);
$node->safe_psql('partitioned', sprintf($by_agent, (13) x 3), extra_params => [ '-U', 'the agent' ]);
$node->safe_psql('partitioned', 'REVOKE EXECUTE ON FUNCTION alerting.capture() FROM "the agent"');
like($node->safe_psql('partitioned', q{SELECT alerting.attach_metrics('app.container_metrics', max_age => NULL)}), qr/its triggers repaired/, 'and so does attach_metrics()');
$node->safe_psql('partitioned', sprintf($by_agent, (14) x 3), extra_params => [ '-U', 'the agent' ]);
is($node->safe_psql('partitioned', q{SELECT count(*) FROM alerting.doctor() WHERE topic = 'triggers'}), 0, 'in order');

clean_log_ok($node, qr/must be owner of table|is a trigger of alerting\.alert alone|could not be read/);
$node->stop;
done_testing();

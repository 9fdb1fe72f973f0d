# The host's tables belong to a role that would be another one: whatever it leaves lying for statements that
# alerting executes (casts of its types, checks of its domains, indexes, deferred triggers) runs as that role alone.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('hostile');
$node->safe_psql('postgres', 'CREATE ROLE tenant LOGIN; CREATE ROLE operator LOGIN');
my @tenant = (extra_params => [ '-U', 'tenant' ]);

# Whoever runs what the tenant left says so; what it is told to be immutable cannot write by itself.
my $traps = q{
	SET client_min_messages = warning;
	GRANT CREATE ON SCHEMA public TO tenant;
	CREATE SCHEMA trap AUTHORIZATION tenant;
	GRANT USAGE ON SCHEMA trap TO PUBLIC;
	SET ROLE tenant;
	CREATE FUNCTION trap.sprung(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		IF current_user <> 'tenant' THEN
			RAISE WARNING '% sprung as %', what, current_user;
		END IF;
		RETURN true;
	END $$;
	RESET ROLE;
};
# The tenant's tables, as he makes them.
my $host = q{
	SET ROLE tenant;
	CREATE TABLE organizations (id int PRIMARY KEY, name text);
	CREATE TABLE containers (id int PRIMARY KEY, organization_id int REFERENCES organizations, name text);
	CREATE TABLE container_metrics (container_id int, at timestamptz, cpu_percent float8);
	INSERT INTO organizations VALUES (1, 'Initech');
	INSERT INTO containers VALUES (1, 1, 'web');
};
# Reads the log from there on for what has run as somebody else.
my $from = 0;
sub begin { $from = -s $node->logfile }
sub nobody_sprung
{
	my $log = slurp_file($node->logfile, $from);
	my %sprung = map { $_ => 1 } $log =~ /WARNING:  (.* sprung as .*)/g;
	is(join(', ', sort keys %sprung), '', $_[0]);
}
sub new_database
{
	my ($name, $sql) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, $traps . $sql);
}

# A mapping holds a constant of a type whose reading checks a domain, and a function of each row.
new_database('domains', $host . q{
	CREATE DOMAIN trap.share AS float8;
	RESET ROLE;
	CREATE EXTENSION alerting;
	GRANT USAGE ON SCHEMA alerting TO operator;
	GRANT EXECUTE ON FUNCTION alerting.doctor() TO operator;
	SELECT alerting.attach('organizations', 'containers', organization => $$('{1}'::trap.share[])[1]::int * organization_id$$);
	SELECT alerting.attach_metrics('container_metrics', cpu => $$('{1}'::trap.share[])[1] * CASE WHEN trap.sprung('mapping of ' || cpu_percent) THEN cpu_percent END$$, max_age => NULL);
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90);
	ALTER DOMAIN trap.share ADD CONSTRAINT sprung CHECK (trap.sprung('domain'))});
flush_ok($node, 'domains');
begin();
$node->safe_psql('domains', q{SELECT * FROM alerting.doctor()}, extra_params => [ '-U', 'operator' ]);
nobody_sprung("doctor() reads a mapping's constants as the table's owner");
begin();
$node->safe_psql('domains', q{INSERT INTO container_metrics VALUES (1, '2026-03-02 10:00Z', 95)}, @tenant);
flush_ok($node, 'domains');
nobody_sprung('so do capture and the workers');
begin();
$node->safe_psql('domains', q{INSERT INTO container_metrics VALUES (1, '2026-03-02 10:01Z', 96)});
nobody_sprung('and capture of what a superuser inserts');
begin();
$node->safe_psql('domains', 'SELECT alerting.stop()');
$node->safe_psql('domains', q{INSERT INTO container_metrics VALUES (1, '2026-03-02 10:02Z', 5)}, @tenant);
$node->safe_psql('domains', 'SELECT alerting.start()');
flush_ok($node, 'domains');
is(alerts($node, 'domains'), 'cpu 1 RESOLVED 10:00:00 10:00:00 10:02:00', 'rows are read back');
nobody_sprung('and so does who reads them back');
begin();
$node->safe_psql('domains', q{SELECT alerting.repair();
	SELECT alerting.attach('organizations', 'containers', organization => $$('{1}'::trap.share[])[1]::int * organization_id$$);
	SELECT alerting.attach_metrics('container_metrics', cpu => $$('{1}'::trap.share[])[1] * CASE WHEN trap.sprung('mapping of ' || cpu_percent) THEN cpu_percent END$$, max_age => NULL, level => 'row')});
nobody_sprung('and whoever attaches or repairs');
begin();
$node->safe_psql('domains', q{INSERT INTO container_metrics VALUES (1, '2026-03-02 10:03Z', 97)});
nobody_sprung('and capture row by row');

# Keys of a type that has casts of the tenant's.
new_database('casts', q{
	SET ROLE tenant;
	CREATE TYPE trap.slot AS ENUM ('one', 'two');
	CREATE FUNCTION trap.as_text(trap.slot) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
		$$BEGIN PERFORM trap.sprung('cast to text'); RETURN format('%s', $1); END$$;
	CREATE FUNCTION trap.as_slot(text) RETURNS trap.slot LANGUAGE plpgsql IMMUTABLE AS
		$$BEGIN PERFORM trap.sprung('cast from text'); RETURN CASE $1 WHEN 'one' THEN 'one'::trap.slot ELSE 'two' END; END$$;
	CREATE TABLE organizations (id trap.slot PRIMARY KEY, name text);
	CREATE TABLE containers (id trap.slot PRIMARY KEY, organization_id trap.slot REFERENCES organizations, name text);
	CREATE TABLE container_metrics (container_id trap.slot, at timestamptz, cpu_percent float8);
	INSERT INTO organizations VALUES ('one', 'Initech');
	INSERT INTO containers VALUES ('one', 'one', 'web'), ('two', 'one', 'db');
	CREATE CAST (trap.slot AS text) WITH FUNCTION trap.as_text(trap.slot);
	CREATE CAST (text AS trap.slot) WITH FUNCTION trap.as_slot(text);
	RESET ROLE;
	CREATE EXTENSION alerting;
	GRANT USAGE ON SCHEMA alerting TO operator;
	GRANT EXECUTE ON FUNCTION alerting.doctor() TO operator;
	SELECT alerting.attach_metrics('container_metrics', max_age => NULL)});
begin();
$node->safe_psql('casts', q{INSERT INTO alerting.alert_rule (organization_id, name, condition, threshold) VALUES ('one', 'cpu', 'CPU_USAGE', 90)});
$node->safe_psql('casts', q{INSERT INTO alerting.webhook (organization_id, url) VALUES ('one', 'https://127.0.0.1:9999/')});
flush_ok($node, 'casts');
$node->safe_psql('casts', q{INSERT INTO container_metrics VALUES ('one', '2026-03-02 10:00Z', 95), ('two', '2026-03-02 10:00Z', 95)}, @tenant);
flush_ok($node, 'casts');
$node->safe_psql('casts', 'UPDATE alerting.alert_rule SET threshold = 50');
flush_ok($node, 'casts');
$node->safe_psql('casts', q{INSERT INTO container_metrics VALUES ('one', '2026-03-02 10:01Z', 5)}, @tenant);
nobody_sprung("the workers call no cast of the tenant's types");
is(alerts($node, 'casts'), "cpu one RESOLVED 10:00:00 10:00:00 10:01:00\ncpu two FIRING 10:00:00 10:00:00", 'alerts come');
begin();
$node->safe_psql('casts', 'SELECT * FROM alerting.doctor()', extra_params => [ '-U', 'operator' ]);
$node->safe_psql('casts', q{DELETE FROM containers WHERE id = 'two'}, @tenant);
flush_ok($node, 'casts');
nobody_sprung('nor do doctor() and the end of an alert with its container');
begin();
is($node->safe_psql('casts', q{SELECT count(*) FROM alerting.active_alert; SELECT alerting.create_rule('one', 'cpu too', 'CPU_USAGE', 90) <> ''}), "0\nt", 'a rule by function');
nobody_sprung('nor does who reads alerts and makes rules');

# Tables that were made anew are attached again, which checks the foreign keys of alerting's tables.
new_database('anew', q{
	SET ROLE tenant;
	CREATE TABLE organizations (id int PRIMARY KEY, name text);
	CREATE TABLE containers (id int PRIMARY KEY, organization_id int REFERENCES organizations, name text);
	INSERT INTO organizations VALUES (1, 'Initech');
	RESET ROLE;
	CREATE EXTENSION alerting;
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90);
	SET ROLE tenant;
	ALTER TABLE containers RENAME TO old_containers;
	ALTER TABLE organizations RENAME TO old_organizations;
	CREATE TABLE organizations (id int PRIMARY KEY, name text);
	CREATE TABLE containers (id int PRIMARY KEY, organization_id int REFERENCES organizations, name text);
	INSERT INTO organizations VALUES (1, 'Initech');
	CREATE INDEX ON organizations (trap.sprung('index'));
	CREATE INDEX ON containers (trap.sprung('index'))});
begin();
$node->safe_psql('anew', q{SELECT alerting.attach('organizations', 'containers')});
nobody_sprung('attach() of tables that were made anew runs nothing of theirs');
$node->safe_psql('anew', q{INSERT INTO containers VALUES (1, 1, 'web')}, @tenant);
my (undef, undef, $refused) = $node->psql('anew', q{SELECT alerting.create_rule(2, 'cpu', 'CPU_USAGE', 90)});
like($refused, qr/violates foreign key constraint/, 'and has foreign keys');
$node->safe_psql('anew', q{CREATE TABLE others (id int PRIMARY KEY, name text); CREATE TABLE pods (id int PRIMARY KEY, other_id int REFERENCES others);
	ALTER TABLE others OWNER TO tenant; ALTER TABLE pods OWNER TO tenant});
(undef, undef, $refused) = $node->psql('anew', q{SELECT alerting.attach('others', 'pods')});
like($refused, qr/holds rows that refer to rows which table public.others does not have/, 'rows that refer to nothing are refused');

# A foreign key is checked by a query over the tenant's table. What that queues for the end of the
# transaction would run as whoever ends it.
new_database('deferred', q{
	SET ROLE tenant;
	CREATE TABLE trap.bait (x int);
	CREATE FUNCTION trap.fired() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM trap.sprung('deferred trigger'); RETURN NULL; END$$;
	CREATE CONSTRAINT TRIGGER bait AFTER INSERT ON trap.bait DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trap.fired();
	CREATE FUNCTION trap.defer() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
	BEGIN
		INSERT INTO trap.bait VALUES (1);
	EXCEPTION WHEN OTHERS THEN RAISE LOG 'trap: %', SQLERRM; END $$;
	CREATE FUNCTION trap.hold() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
	BEGIN
		EXECUTE 'DECLARE c' || (random() * 1e9)::int || ' CURSOR WITH HOLD FOR SELECT trap.sprung(''cursor'') OFFSET 0';
	EXCEPTION WHEN OTHERS THEN RAISE LOG 'trap: %', SQLERRM; END $$;
	CREATE FUNCTION trap.planned(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN PERFORM trap.defer(); PERFORM trap.hold(); RETURN $1; END $$;
	CREATE TABLE organizations (id int PRIMARY KEY, name text);
	CREATE TABLE containers (id inet PRIMARY KEY, organization_id int REFERENCES organizations, name text);
	CREATE TABLE container_metrics (container_id inet, at timestamptz, cpu_percent float8);
	INSERT INTO organizations VALUES (1, 'Initech');
	INSERT INTO containers VALUES ('10.0.0.1', 1, 'web');
	RESET ROLE;
	CREATE EXTENSION alerting;
	SELECT alerting.attach_metrics('container_metrics', max_age => NULL);
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90);
	SET ROLE tenant;
	CREATE STATISTICS trap.planned ON organization_id, trap.planned('x') FROM containers;
	ANALYZE containers;
	RESET ROLE;
	-- With such a trigger alerts are written by a statement, which checks the key.
	CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE TRIGGER keep BEFORE INSERT ON alerting.alert FOR EACH ROW EXECUTE FUNCTION public.keep()});
begin();
$node->safe_psql('deferred', q{INSERT INTO container_metrics VALUES ('10.0.0.1', '2026-03-02 10:00Z', 95)}, @tenant);
flush_ok($node, 'deferred');
is(alerts($node, 'deferred'), 'cpu 10.0.0.1/32 FIRING 10:00:00 10:00:00', 'an alert comes');
nobody_sprung("and nothing of the tenant's runs at the end of its transaction");

# Alerting's tables are given to the tenant, too, who puts triggers on them, while the workers are at work.
new_database('owned', $host . q{
	RESET ROLE;
	CREATE EXTENSION alerting;
	SELECT alerting.attach_metrics('container_metrics', max_age => NULL);
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90);
	GRANT USAGE ON SCHEMA alerting TO tenant;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA alerting TO tenant});
flush_ok($node, 'owned');
$node->safe_psql('owned', q{
	DO $$
	DECLARE
		t regclass;
	BEGIN
		FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'alerting'::regnamespace AND relkind = 'r' LOOP
			EXECUTE format('ALTER TABLE %s OWNER TO tenant', t);
		END LOOP;
	END $$;
	SET ROLE tenant;
	CREATE FUNCTION trap.seen() RETURNS trigger LANGUAGE plpgsql AS
		$$BEGIN PERFORM trap.sprung(format('%s of %s', TG_OP, TG_TABLE_NAME)); RETURN NULL; END$$;
	CREATE TRIGGER seen AFTER INSERT OR UPDATE OR DELETE ON alerting.alert FOR EACH ROW EXECUTE FUNCTION trap.seen();
	CREATE TRIGGER seen AFTER INSERT OR UPDATE OR DELETE ON alerting.series_state FOR EACH ROW EXECUTE FUNCTION trap.seen()});
begin();
flush_ok($node, 'owned');
for ([ '10:00', 95 ], [ '10:01', 5 ], [ '10:02', 95 ])
{
	my ($time, $cpu) = @$_;
	$node->safe_psql('owned', "INSERT INTO container_metrics VALUES (1, '2026-03-02 ${time}Z', $cpu)", @tenant);
	flush_ok($node, 'owned');
}
is(alerts($node, 'owned'), "cpu 1 RESOLVED 10:00:00 10:00:00 10:01:00\ncpu 1 FIRING 10:02:00 10:02:00", 'alerts are written as their owner has it');
$node->safe_psql('owned', 'SELECT alerting.stop(); SET session_replication_role = replica; DELETE FROM containers; SELECT alerting.start()');
flush_ok($node, 'owned');
is(alerts($node, 'owned'), '', 'and deleted with a container that is gone');
nobody_sprung('by nobody else');

# A mapping's function inserts into the very table whose rows are captured, after it has made all that is known of
# that table stale: what is in use meanwhile must stay.
new_database('recursion', $host . q{
	CREATE FUNCTION trap.insert(cpu float8) RETURNS float8 LANGUAGE plpgsql VOLATILE AS $$
	BEGIN
		FOR i IN 1 .. CASE WHEN cpu > 100 THEN 20 ELSE 0 END LOOP
			GRANT SELECT ON public.container_metrics TO PUBLIC;
			REVOKE SELECT ON public.container_metrics FROM PUBLIC;
			INSERT INTO public.container_metrics VALUES (1, '2026-03-02 10:00Z', cpu - 100);
		END LOOP;
		RETURN cpu;
	END $$;
	CREATE FUNCTION trap.again(cpu float8) RETURNS float8 LANGUAGE plpgsql STABLE AS 'BEGIN RETURN trap.insert(cpu); END';
	RESET ROLE;
	CREATE EXTENSION alerting;
	SELECT alerting.attach('organizations', 'containers')});
for my $level ('statement', 'row')
{
	$node->safe_psql('recursion', "SET client_min_messages = error;
		SELECT alerting.attach_metrics('container_metrics', cpu => 'trap.again(cpu_percent)', max_age => NULL, level => '$level')");
	is($node->safe_psql('recursion', q{TRUNCATE container_metrics;
		INSERT INTO container_metrics VALUES (1, '2026-03-02 10:00Z', 95);
		INSERT INTO container_metrics SELECT 1, '2026-03-02 10:00Z', cpu FROM generate_series(196, 203) cpu;
		SELECT count(*) FROM container_metrics}, @tenant), 1 + 8 + 8 * 20 + 3 * 20 * 20,
		"$level: rows of rows, which the mapping inserts");
	flush_ok($node, 'recursion');
}

# The same while the mapping is prepared, of a function that is said to be immutable.
$node->safe_psql('recursion', q{
	SET client_min_messages = error;
	INSERT INTO containers VALUES (2, 1, 'db');
	SET ROLE tenant;
	CREATE TABLE trap.armed (at timestamptz);
	CREATE FUNCTION trap.spring() RETURNS interval LANGUAGE plpgsql VOLATILE AS $$
	DECLARE
		start timestamptz;
	BEGIN
		DELETE FROM trap.armed RETURNING at INTO start;
		IF FOUND THEN
			INSERT INTO public.container_metrics VALUES (2, start + '1 min', 2000), (2, start + '3 min', 2000);
		END IF;
		RETURN interval '0';
	END $$;
	CREATE FUNCTION trap.pause() RETURNS interval LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN trap.spring(); END';
	RESET ROLE;
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 1000)});
for my $case ([ 'statement', 11 ], [ 'row', 12 ])
{
	my ($level, $hour) = @$case;
	$node->safe_psql('recursion', "SET client_min_messages = error; DELETE FROM alerting.alert;
		SELECT alerting.attach_metrics('container_metrics', at => 'at + trap.pause()', cpu => 'cpu_percent', max_age => NULL, level => '$level')");
	flush_ok($node, 'recursion');
	$node->safe_psql('recursion', "INSERT INTO trap.armed VALUES ('2026-03-02 $hour:00Z');
		INSERT INTO container_metrics SELECT 2, '2026-03-02 $hour:00Z'::timestamptz + i * interval '2 min', 5 FROM generate_series(0, 2) i", @tenant);
	is(alerts($node, 'recursion'), "cpu 2 RESOLVED $hour:01:00 $hour:01:00 $hour:02:00\ncpu 2 RESOLVED $hour:03:00 $hour:03:00 $hour:04:00",
		"$level: rows that preparing the mapping inserts");
}

clean_log_ok($node, qr/violates foreign key constraint|holds rows that refer|sprung as/);
$node->stop;
done_testing();

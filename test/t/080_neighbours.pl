# Alerting beside what else runs in a database: pgbouncer in transaction mode in front, pg_cron and
# pg_partman in the same database, pgaudit and auto_explain loaded, triggers and row security of the host
# on its tables and on ours. A neighbour that isn't installed is left out, and so is pg_cron, for which a
# full minute has to be waited, unless PG_TEST_EXTRA says "neighbours".
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use IPC::Run qw(start pump finish timeout);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($share) = run_command([ $ENV{PG_CONFIG} // 'pg_config', '--sharedir' ]);
my %has = map { $_ => -e "$share/extension/$_.control" } qw(pg_cron pg_partman pgaudit);
$has{pg_cron} &&= ($ENV{PG_TEST_EXTRA} // '') =~ /\bneighbours\b/;
($has{pgbouncer}) = grep { -x } map { "$_/pgbouncer" } '/usr/sbin', '/usr/local/sbin', '/usr/bin';
diag('left out: ' . join ', ', sort grep { !$has{$_} } qw(pg_cron pg_partman pgaudit pgbouncer)) if grep { !$has{$_} } qw(pg_cron pg_partman pgaudit pgbouncer);

my @settings = ("shared_preload_libraries = '" . join(', ', 'auto_explain', ($has{pgaudit} ? 'pgaudit' : ()), ($has{pg_cron} ? 'pg_cron' : ()), 'alerting') . "'",
	'auto_explain.log_min_duration = 0', 'auto_explain.log_nested_statements = on', 'auto_explain.log_analyze = on', 'auto_explain.log_triggers = on');
push @settings, "pgaudit.log = 'all'", 'pgaudit.log_parameter = on' if $has{pgaudit};
push @settings, "cron.database_name = 'host'", 'cron.use_background_workers = on' if $has{pg_cron};
my $pool;
END { local ($?, $@); $pool->kill_kill if $pool; }

my $node = new_node('neighbours', @settings);
my $receiver = start_receiver('neighbours');

fixture($node, 'host');
rule($node, 'host', 1, 'CPU_USAGE', 80, 2, name => 'cpu');
rule($node, 'host', 2, 'CPU_USAGE', 80, 2, name => 'cpu');
webhook($node, 'host', $_, $receiver->url("/ok/$_")) for 1, 2;

# A job each minute; its first run is looked for at the end.
$node->safe_psql('host', q{
	SET client_min_messages = warning;
	CREATE EXTENSION pg_cron;
	SELECT cron.schedule('* * * * *', $$INSERT INTO container_metrics (container_id, at, cpu_percent) VALUES (11, now(), 5)$$)}) if $has{pg_cron};

# Triggers of the host, on the metrics and on alerting's tables; row security on both.
$node->safe_psql('host', q{
	CREATE TABLE incidents (what text, container text);
	CREATE FUNCTION note_incident() RETURNS trigger LANGUAGE plpgsql AS
	  $$BEGIN INSERT INTO public.incidents VALUES (TG_OP || ' ' || NEW.status, NEW.container_id); RETURN NULL; END$$;
	CREATE TRIGGER a_note AFTER INSERT OR UPDATE ON alerting.alert FOR EACH ROW EXECUTE FUNCTION note_incident();
	CREATE FUNCTION round_cpu() RETURNS trigger LANGUAGE plpgsql AS
	  $$BEGIN NEW.cpu_percent := round(NEW.cpu_percent); RETURN CASE WHEN NEW.cpu_percent >= 0 THEN NEW END; END$$;
	CREATE TRIGGER a_round BEFORE INSERT OR UPDATE ON container_metrics FOR EACH ROW EXECUTE FUNCTION round_cpu();
	CREATE FUNCTION count_rows() RETURNS trigger LANGUAGE plpgsql AS
	  $$BEGIN INSERT INTO public.incidents SELECT 'rows ' || count(*), NULL FROM new_rows; RETURN NULL; END$$;
	CREATE TRIGGER z_count AFTER INSERT ON container_metrics REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_rows();

	CREATE ROLE tenant LOGIN;
	GRANT USAGE ON SCHEMA alerting TO tenant;
	GRANT SELECT, INSERT ON containers, container_metrics TO tenant;
	GRANT INSERT ON incidents TO tenant;
	GRANT SELECT ON alerting.alert, alerting.alert_rule, alerting.active_alert, alerting.host_binding TO tenant;
	GRANT EXECUTE ON FUNCTION alerting.container_name(text) TO tenant;
	ALTER TABLE containers ENABLE ROW LEVEL SECURITY;
	ALTER TABLE container_metrics ENABLE ROW LEVEL SECURITY;
	ALTER TABLE alerting.alert_rule ENABLE ROW LEVEL SECURITY;
	ALTER TABLE alerting.alert ENABLE ROW LEVEL SECURITY;
	CREATE POLICY own ON containers TO tenant USING (organization_id = current_setting('app.organization')::int);
	CREATE POLICY own ON container_metrics TO tenant USING (container_id IN (SELECT id FROM containers));
	CREATE POLICY own ON alerting.alert_rule TO tenant USING (organization_id = current_setting('app.organization')::int);
	CREATE POLICY own ON alerting.alert TO tenant USING (container_id IN (SELECT id FROM containers))});

my $rows = join ', ', map { my $at = $_; map { "($_, '2026-03-02 ${at}Z', 94.6)" } 10, 20 } minutes('10:00', '10:03');
$node->safe_psql('host', qq{
	SET ROLE tenant; SET app.organization = 1;
	INSERT INTO container_metrics (container_id, at, cpu_percent) SELECT v.c, v.at::timestamptz, v.cpu FROM (VALUES $rows) v(c, at, cpu) WHERE c IN (SELECT id FROM containers);
	SET app.organization = 2;
	INSERT INTO container_metrics (container_id, at, cpu_percent) SELECT v.c, v.at::timestamptz, v.cpu FROM (VALUES $rows) v(c, at, cpu) WHERE c IN (SELECT id FROM containers);
	INSERT INTO container_metrics (container_id, at, cpu_percent) VALUES (20, '2026-03-02 10:04Z', -1)});
is(alerts($node, 'host'), "cpu 10 FIRING 10:00:00 10:02:00\ncpu 20 FIRING 10:00:00 10:02:00", 'triggers, policies, auto_explain and pgaudit: alerts come');
is($node->safe_psql('host', 'SELECT DISTINCT value FROM alerting.alert'), 95, 'what the host\'s BEFORE trigger made of a row is judged, what it suppresses is not');
is($node->safe_psql('host', q{SELECT what, container FROM incidents ORDER BY container NULLS FIRST, what}),
	"rows 0|\nrows 4|\nrows 4|\nINSERT FIRING|10\nINSERT FIRING|20", 'the host\'s triggers have run');
is($node->safe_psql('host', q{SET ROLE tenant; SET app.organization = 2; SELECT container_id, rule_name, container_name FROM alerting.active_alert}), '20|cpu|web', 'a tenant sees its own alerts');
flush_ok($node, 'host', 1);
is($receiver->events('/ok/1'), 'firing web(10) 10:00:00', 'and its own webhook is told');
SKIP: {
	skip 'pgaudit is not installed', 1 unless $has{pgaudit};
	like(slurp_file($node->logfile), qr/AUDIT: SESSION.*INSERT INTO container_metrics/, 'pgaudit has logged');
}
like(slurp_file($node->logfile), qr/alerting evaluator|duration: .* plan:/, 'auto_explain has logged');

# Through a pool of one connection, whose transactions are different clients'.
SKIP: {
	skip 'pgbouncer is not installed', 5 unless $has{pgbouncer};
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $folder = $node->basedir;
	append_to_file("$folder/pgbouncer.ini", join "\n", '[databases]',
		map({ sprintf '%s = host=%s port=%d user=%s', $_, $node->host, $node->port, scalar getpwuid $> } 'host', 'pooled'),
		'[pgbouncer]', "unix_socket_dir = $folder", 'listen_addr =', "listen_port = $port", 'auth_type = any', 'pool_mode = transaction', 'default_pool_size = 1', '');
	my ($in, $log) = ('', '');
	$pool = start([ $has{pgbouncer}, "$folder/pgbouncer.ini" ], '<', \$in, '>&', \$log, timeout(10 * $PostgreSQL::Test::Utils::timeout_default));
	pump $pool until $log =~ /process up/;
	my $psql = sub {
		my ($database, $sql) = @_;
		my ($out, $err) = ('', '');
		IPC::Run::run([ $node->installed_command('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', "host=$folder port=$port dbname=$database" ], '<', \$sql, '>', \$out, '2>', \$err) or return $err;
		return $out =~ s/\s+\z//r;
	};
	$node->safe_psql('postgres', 'CREATE DATABASE pooled');
	is($psql->('pooled', q{
		CREATE TABLE organizations (id int PRIMARY KEY);
		CREATE TABLE containers (id int PRIMARY KEY, organization_id int REFERENCES organizations);
		CREATE TABLE container_metrics (container_id int, at timestamptz, cpu_percent float8);
		INSERT INTO organizations VALUES (1); INSERT INTO containers VALUES (10, 1), (11, 1);
		SET client_min_messages = error; CREATE EXTENSION alerting; RESET client_min_messages;
		SELECT 'made' FROM alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80)}), 'made', 'pgbouncer: CREATE EXTENSION, attached, a rule');
	# Two clients whose transactions take turns on the one connection, one of them rolled back.
	my @clients;
	for my $number (0, 1)
	{
		my $client = $clients[$number] = { in => '', out => '' };
		$client->{run} = start([ $node->installed_command('psql'), '-XAtq', '-d', "host=$folder port=$port dbname=pooled" ],
			'<', \$client->{in}, '>', \$client->{out}, '2>', \$client->{err}, timeout(10 * $PostgreSQL::Test::Utils::timeout_default));
	}
	my $say = sub {
		my ($client, $sql) = @_;
		$client->{out} = '';
		$client->{in} .= "$sql;\nSELECT 'said';\n";
		pump $client->{run} until $client->{out} =~ /^said/m;
	};
	$say->($clients[0], 'BEGIN; INSERT INTO container_metrics VALUES (10, now(), 95); ROLLBACK');
	$say->($clients[1], 'BEGIN; INSERT INTO container_metrics VALUES (11, now(), 95); COMMIT');
	$say->($clients[0], 'BEGIN; SAVEPOINT a; INSERT INTO container_metrics VALUES (10, now(), 97); ROLLBACK TO a; COMMIT');
	finish $_->{run} for @clients;
	is($psql->('pooled', q{SELECT alerting.flush('60s'); SELECT container_id, value FROM alerting.alert}), "t\n11|95", 'pgbouncer: what was committed is judged, what was rolled back is not');
	is($psql->('pooled', q{SELECT state FROM alerting.status(); SELECT e.state FROM alerting.alert_rule r, alerting.explain(r.id, 11) e}), "running\nFIRING", 'pgbouncer: status() and explain()');
	is($psql->('pooled', q{SELECT alerting.stop(); SELECT alerting.start(); SELECT alerting.flush('60s')}), "\n\nt", 'pgbouncer: stop() and start()');
	is($psql->('pooled', q{SELECT count(*) FROM alerting.doctor() WHERE status = 'error'}), 0, 'pgbouncer: doctor() finds no error');
	$pool->signal('TERM');
	$pool->finish;
	$pool = undef;
	$node->safe_psql('postgres', 'DROP DATABASE pooled WITH (FORCE)');
}

# Partitions that pg_partman makes and drops while rows come in.
SKIP: {
	skip 'pg_partman is not installed', 5 unless $has{pg_partman};
	$node->safe_psql('postgres', 'CREATE DATABASE rotated');
	$node->safe_psql('rotated', q{
		CREATE TABLE organizations (id int PRIMARY KEY);
		CREATE TABLE containers (id int PRIMARY KEY, organization_id int REFERENCES organizations);
		CREATE TABLE container_metrics (container_id int, at timestamptz NOT NULL, cpu_percent float8) PARTITION BY RANGE (at);
		INSERT INTO organizations VALUES (1); INSERT INTO containers SELECT n, 1 FROM generate_series(1, 50) n;
		CREATE SCHEMA partman;
		SET client_min_messages = error;
		CREATE EXTENSION pg_partman SCHEMA partman;
		CREATE EXTENSION alerting});
	my ($version) = split /\./, $node->safe_psql('rotated', q{SELECT extversion FROM pg_extension WHERE extname = 'pg_partman'});
	$node->safe_psql('rotated', q{SELECT partman.create_parent(p_parent_table => 'public.container_metrics', p_control => 'at', p_interval => '1 day', p_premake => 3}
		  . ($version < 5 ? q{, p_type => 'native')} : ')'));
	$node->safe_psql('rotated', q{
		SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80);
		UPDATE partman.part_config SET retention = '2 days', retention_keep_table = false;
		-- Partitions to be dropped.
		INSERT INTO container_metrics SELECT 1, now() - n * interval '1 day', 5 FROM generate_series(0, 2) n});
	flush_ok($node, 'rotated');
	# While rows come: attach and detach a partition, let pg_partman make its own and drop old ones.
	append_to_file($node->basedir . '/load.sql', "\\set container random(1, 50)\nINSERT INTO container_metrics VALUES (:container, clock_timestamp(), 95);\n");
	my ($out, $err) = ('', '');
	my $load = start([ $node->installed_command('pgbench'), '-n', '-c', 4, '-t', 300, '-f', $node->basedir . '/load.sql', '-d', $node->connstr('rotated') ], '>', \$out, '2>', \$err, timeout(10 * $PostgreSQL::Test::Utils::timeout_default));
	for my $round (1 .. 3)
	{
		$node->safe_psql('rotated', q{SELECT partman.run_maintenance('public.container_metrics', p_analyze => false)});
		$node->safe_psql('rotated', qq{
			CREATE TABLE later$round (LIKE container_metrics);
			ALTER TABLE container_metrics ATTACH PARTITION later$round FOR VALUES FROM ('2030-01-0$round') TO ('2030-01-0$round 12:00');
			ALTER TABLE container_metrics DETACH PARTITION later$round;
			DROP TABLE later$round});
	}
	ok($load->finish, 'pg_partman: no insert fails while partitions come and go') or diag($err);
	like($out, qr{number of transactions actually processed: 1200/1200}, 'pg_partman: all of them are there');
	flush_ok($node, 'rotated');
	is($node->safe_psql('rotated', q{SELECT count(DISTINCT container_id) = (SELECT count(DISTINCT container_id) FROM container_metrics WHERE cpu_percent > 80), count(*) = count(DISTINCT container_id) FROM alerting.alert WHERE status = 'FIRING'}),
		't|t', 'pg_partman: each container that breaches fires once');
	is($node->safe_psql('rotated', q{SELECT count(*) FROM container_metrics WHERE at < now() - interval '4 days'}), 0, 'pg_partman: retention has dropped what is old');
	is($node->safe_psql('rotated', q{SELECT alerting.stop(); SELECT alerting.start(); SELECT alerting.flush('60s'); SELECT string_agg(detail, ', ') FROM alerting.doctor() WHERE status = 'error'}),
		"\n\nt\n", 'pg_partman: read back, no error');
}

SKIP: {
	skip 'pg_cron is left out', 1 unless $has{pg_cron};
	ok($node->poll_query_until('host', q{SELECT count(*) > 0 FROM container_metrics m WHERE m.container_id = 11 AND m.at > now() - interval '1 hour'}), 'pg_cron has run its job');
	flush_ok($node, 'host');
}

# Continued lines are statements and plans that were logged.
clean_log_ok($node, qr/^\t/);
$node->stop;
done_testing();

# What newcomers meet: which columns are guessed, and which rather not; words for what would go wrong in
# silence; two who attach at once; and arguments nobody should give.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('newcomers');
my $database = 'newcomers';
$node->safe_psql('postgres', "CREATE DATABASE $database");
$node->safe_psql($database, q{
	SET client_min_messages = warning;
	CREATE TABLE tenants (id int PRIMARY KEY, title text);
	CREATE TABLE services (id int PRIMARY KEY, tenant_id int, label text, title text);
	CREATE DOMAIN count_of AS bigint CHECK (VALUE >= 0);
	CREATE DOMAIN instant AS timestamptz;
	CREATE DOMAIN share AS real;
	INSERT INTO tenants VALUES (1, 'Initech');
	INSERT INTO services VALUES (10, 1, 'l', 'web');
	CREATE EXTENSION alerting;
	SELECT alerting.attach('tenants', 'services')});
is($node->safe_psql($database, 'SELECT organization, name, organization_name FROM alerting.host_binding'), 'tenant_id|title|title',
	"columns called after the other table's rows");

# Column definitions and what is made of them. Each table has a key column.
for my $case (
	[ 'service_id int, recorded_at timestamptz, cpu_pct real',                                  'container service_id, at recorded_at, cpu cpu_pct' ],
	[ 'service_id int, "recordedAtUtc" timestamp, "cpuUsagePercent" numeric',                   'container service_id, at "recordedAtUtc", cpu "cpuUsagePercent"' ],
	[ 'service_id int, inserted_at timestamp, cpu double precision',                            'container service_id, at inserted_at, cpu cpu' ],
	[ 'service_id int, created_at timestamp, sampled_at timestamp, cpu numeric',                'container service_id, at sampled_at, cpu cpu' ],
	[ 'service_id int, ts bigint, cpu numeric',                                                 'cannot tell the time of a row of table public.guesses' ],
	[ 'service_id int, ts_ms bigint, cpu numeric',                                              'container service_id, at ts_ms, at_unit ms, cpu cpu' ],
	[ 'service_id int, "timestampUs" bigint, cpu numeric',                                      'container service_id, at "timestampUs", at_unit us, cpu cpu' ],
	[ 'service_id int, ts_ns bigint, cpu numeric',                                                 'cannot tell the time of a row of table public.guesses' ],
	[ 'service_id int, time timestamptz, time_ms bigint, cpu numeric',                          'container service_id, at "time", cpu cpu' ],
	# A single time is the sample's, whatever it is called; of several none is.
	[ 'service_id int, captured timestamptz, cpu_percent real',                                 'container service_id, at captured, cpu cpu_percent' ],
	[ 'service_id int, begun timestamptz, ended timestamptz, cpu_percent real',                 'cannot tell the time of a row of table public.guesses' ],
	# When a row was made is no time of one for each container, which is updated.
	[ 'service_id int, created_at timestamptz, updated_at timestamptz, cpu_percent real',       'container service_id, at updated_at, cpu cpu_percent' ],
	[ 'service_id int, created_at timestamptz, last_checked timestamptz, cpu_percent real',     'container service_id, at last_checked, cpu cpu_percent' ],
	[ 'service_id int, created_at timestamptz, ended timestamptz, cpu_percent real',            'cannot tell the time of a row of table public.guesses' ],
	# A day and a time of day are none.
	[ 'service_id int, measured_on date, measured_at time, cpu_percent real',                   'cannot tell the time of a row of table public.guesses' ],
	[ 'service_id int, day date, time time, created_at timestamptz, cpu_percent real',          'container service_id, at created_at, cpu cpu_percent' ],
	[ 'service_id int, created_on date, cpu_percent real',                                      'cannot tell the time of a row of table public.guesses' ],
	[ 'id int, service_id int, created_at timestamptz, updated_at timestamptz, cpu_pct real',   'container service_id, at created_at, cpu cpu_pct' ],
	[ 'service_id int, created_on timestamp, updated_on timestamp, cpu_percent real',           'container service_id, at updated_on, cpu cpu_percent' ],
	[ 'service_id int, timestamp_micro bigint, cpu_percent real',                               'container service_id, at timestamp_micro, at_unit us, cpu cpu_percent' ],
	[ 'service_id int, "recordedAtMillis" bigint, cpu_percent real',                            'container service_id, at "recordedAtMillis", at_unit ms, cpu cpu_percent' ],
	[ 'service_id int, epoch_seconds int, cpu_percent real',                                    'container service_id, at epoch_seconds, at_unit s, cpu cpu_percent' ],
	# Domains.
	[ 'service_id int, ts_ms count_of, cpu_percent share',                                      'container service_id, at ts_ms, at_unit ms, cpu cpu_percent' ],
	[ 'service_id int, at instant, cpu_percent share',                                          'container service_id, at at, cpu cpu_percent' ],
	# Counters of nanoseconds, millicores, shares of 1: no percentages.
	[ 'service_id int, at timestamptz, cpu_usage bigint, running bool',                         'container service_id, at at, running running | cpu_usage' ],
	[ 'service_id int, at timestamptz, cpu int, mem_ratio real, restarts int',                  'container service_id, at at, restarts restarts | cpu, mem_ratio' ],
	[ 'service_id int, at timestamptz, cpu_utilization real, memory_utilization real, up bool', 'container service_id, at at, running up | cpu_utilization, memory_utilization' ],
	[ 'service_id int, at timestamptz, cpu_usage real, "memPct" real',                          'container service_id, at at, cpu cpu_usage, memory "memPct"' ],
	[ 'service_id int, at timestamptz, "currentCpuUsagePercentage" float8, avg_ram_percent real', 'container service_id, at at, cpu "currentCpuUsagePercentage", memory avg_ram_percent' ],
	[ 'service_id int, at timestamptz, cpu_cores int, vcpus int, cpu_micros bigint, ram int, up bool', 'container service_id, at at, running up | cpu_micros, ram' ],
	[ 'service_id int, at timestamptz, cpus float8, up bool',                                   'container service_id, at at, running up | cpus' ],
	# Use and limit in one unit, or not at all.
	[ 'service_id int, at timestamptz, mem_current bigint, mem_max bigint',                     'container service_id, at at, memory_used mem_current, memory_limit mem_max' ],
	[ 'service_id int, at timestamptz, ram_total_gb real, ram_used_gb real',                    'container service_id, at at, memory_used ram_used_gb, memory_limit ram_total_gb' ],
	[ 'service_id int, at timestamptz, mem_rss bigint, mem_limit bigint',                       'container service_id, at at, memory_used mem_rss, memory_limit mem_limit' ],
	[ 'service_id int, at timestamptz, memory_usage_mb int, memory_limit_mb int',               'container service_id, at at, memory_used memory_usage_mb, memory_limit memory_limit_mb' ],
	[ 'service_id int, at timestamptz, memory_usage_kb int, memory_limit_mb int, alive bool',   'container service_id, at at, running alive | memory_usage_kb, memory_limit_mb' ],
	[ 'service_id int, at timestamptz, memory_usage_mb real, memory_total_mb int',              'container service_id, at at, memory_used memory_usage_mb, memory_limit memory_total_mb' ],
	# A percentage beside a number of bytes.
	[ 'service_id int, at timestamptz, memory_usage real, memory_total bigint, up bool',        'container service_id, at at, running up | memory_usage, memory_total' ],
	# States.
	[ 'service_id int, at timestamptz, is_running smallint',                                    'container service_id, at at, running (m.is_running <> 0)' ],
	[ 'service_id int, at timestamptz, running int, "State" text',                              q{container service_id, at at, running (lower(m."State") = 'running'::text)} ],
	[ 'service_id int, at timestamptz, status int',                                             'no metric of table public.guesses is mapped' ],
	[ q{service_id int, at timestamptz, status text CHECK (status IN ('online', 'offline')), cpu_pct real}, 'container service_id, at at, cpu cpu_pct | status' ],
	[ q{service_id int, at timestamptz, status text CHECK (status IN ('Running', 'Dead'))},     q{container service_id, at at, running (lower(m.status) = 'running'::text)} ],
	[ q{service_id int, at timestamptz, status text CHECK (status <> '')},                      q{container service_id, at at, running (lower(m.status) = 'running'::text)} ],
	# Keys.
	[ 'service int, at timestamptz, cpu_percent real',                                          'container service, at at, cpu cpu_percent' ],
	[ 'id int, at timestamptz, cpu_percent real',                                               'cannot tell which container a row of table public.guesses is about' ])
{
	my ($columns, $expected) = @$case;
	my (undef, $out, $err) = $node->psql($database, qq{
		BEGIN;
		CREATE TABLE guesses ($columns, UNIQUE (} . ($columns =~ /^(\w+)/)[0] . q{));
		SELECT count(*) FROM alerting.attach_metrics('guesses');
		SELECT concat_ws(', ', 'container ' || container, 'at ' || at, 'at_unit ' || at_unit, 'cpu ' || cpu, 'memory ' || memory,
		                 'memory_used ' || memory_used, 'memory_limit ' || memory_limit, 'running ' || running, 'restarts ' || restarts)
		  FROM alerting.metric_source;
		ROLLBACK}, on_error_stop => 1);
	my ($mapped) = grep { /^container/ } split /\n/, $out // '';
	$mapped .= " | $1" if $err =~ /NOTICE:  columns of public.guesses that look like metrics, but are not mapped: (.*)/;
	($mapped) = $err =~ /ERROR:  (.*)/ if $err =~ /ERROR/;
	is($mapped, $expected, $columns);
}

# In the containers' own row cpu and memory are what they may use; when it was made is no time of what it says.
for my $case (
	[ 'cpu numeric, memory_limit int, "currentCpuPercent" real, updated_at timestamptz',          'at updated_at, cpu "currentCpuPercent"' ],
	[ q{cpu real, mem real, "powerState" text, last_seen timestamptz}, q{no metric of table public.services is mapped; .* but some that look like metrics: cpu, mem, "powerState"\.} ],
	[ 'cpu_usage real, created_at timestamptz', q{cannot tell the time of a row of table public.services; It has one row for each container, and no column .* that usually changes with it} ],
	[ 'cpu_usage real, created_at timestamptz, begun timestamptz', q{cannot tell the time of a row of table public.services; .*; Say it: at => a column's name \(one of created_at, begun\?\)} ])
{
	my ($columns, $expected) = @$case;
	my (undef, $out, $err) = $node->psql($database, 'BEGIN; ' . join('', map { "ALTER TABLE services ADD $_; " } split /, /, $columns) . q{
		SELECT count(*) FROM alerting.attach_metrics('services');
		SELECT concat_ws(', ', 'at ' || at, 'cpu ' || cpu, 'memory ' || memory, 'running ' || running) FROM alerting.metric_source;
		ROLLBACK}, on_error_stop => 1);
	my ($mapped) = grep { /^at / } split /\n/, $out // '';
	$mapped = join '; ', $err =~ /(?:ERROR|DETAIL|HINT):  (.*)/g if $err =~ /ERROR/;
	like($mapped, qr/^$expected/, "services: $columns");
}

# Containers that have a name for a key, an organization over a table that refers to both, a time of two columns: what is
# asked for is said in full, and what is there is found.
$node->safe_psql('postgres', 'CREATE DATABASE named');
sub named { my (undef, $out, $err) = $node->psql('named', $_[0], on_error_stop => 1); return ($out, $err) }
my (undef, $asked) = named(q{
	SET client_min_messages = warning;
	CREATE TABLE teams (id int PRIMARY KEY, name text);
	CREATE TABLE containers (name text PRIMARY KEY, "aliases" text[]);
	CREATE TABLE memberships (team_id int REFERENCES teams, container text REFERENCES containers, PRIMARY KEY (team_id, container));
	INSERT INTO teams VALUES (1, 'Initech'), (2, 'Hooli');
	INSERT INTO containers VALUES ('web');
	INSERT INTO memberships VALUES (2, 'web'), (1, 'web');
	CREATE TABLE readings (container_id text, container_name text, sec int, frac int, load float8);
	CREATE INDEX ON readings ((sec + frac / 1e9));
	CREATE EXTENSION alerting;
	SELECT alerting.attach('teams', 'containers')});
like($asked, qr/HINT: .*organization => '\(SELECT h\.team_id FROM public\.memberships h WHERE h\.container = c\.name ORDER BY 1 LIMIT 1\)'/, 'a way over a table that refers to both');
(undef, $asked) = named(q{
	CREATE TABLE "Hosts" (id int PRIMARY KEY, "TeamId" int REFERENCES teams);
	CREATE TABLE racks (id int PRIMARY KEY, "HostId" int REFERENCES "Hosts", parent int REFERENCES racks);
	CREATE TABLE boxes (id int PRIMARY KEY, rack int REFERENCES racks);
	SELECT alerting.attach('teams', 'boxes')});
like($asked, qr/HINT: .*organization => '\(SELECT i\."TeamId" FROM public\.racks h JOIN public\."Hosts" i ON i\.id = h\."HostId" WHERE h\.id = c\.rack\)'/, 'a way over two tables');
(undef, $asked) = named(q{
	BEGIN;
	CREATE TABLE clusters (id bigint PRIMARY KEY, team_id int);
	CREATE TABLE realms (id bigint PRIMARY KEY, cluster_id bigint);
	CREATE TABLE sandboxes (id int PRIMARY KEY, "realmId" bigint);
	SELECT alerting.attach('teams', 'sandboxes')});
like($asked, qr/HINT: .*organization => '\(SELECT i\.team_id FROM public\.realms h JOIN public\.clusters i ON i\.id = h\.cluster_id WHERE h\.id = c\."realmId"\)'/, 'which only names show');
(undef, $asked) = named(q{
	BEGIN;
	CREATE TABLE nodes (id text PRIMARY KEY, team_id int NOT NULL REFERENCES teams);
	CREATE TABLE projects (id text PRIMARY KEY, team_id int NOT NULL REFERENCES teams);
	CREATE TABLE apps (id text PRIMARY KEY, node_id text REFERENCES nodes, "projectId" text NOT NULL REFERENCES projects);
	SELECT alerting.attach('teams', 'apps')});
like($asked, qr/HINT: .*organization => '\(SELECT h\.team_id FROM public\.projects h WHERE h\.id = c\."projectId"\)'/, 'of two ways that which each row has');
my ($told) = named(q{BEGIN; CREATE TABLE crates (id int PRIMARY KEY, team int, fqdn text); SELECT alerting.attach('teams', 'crates'); ROLLBACK});
like($told, qr/^organization of a container: team\nname of a container: fqdn$/m, 'a column that is called as what it refers to');
(undef, $asked) = named(q{SELECT alerting.attach('teams', 'containers', name => '"aliases"[1]', organization => '1')});
like($asked, qr/HINT: .*ALTER TABLE public\.containers ADD alerting_name text GENERATED ALWAYS AS \("aliases"\[1\]\) STORED/, 'a name that is an expression');
my ($attached, $warned) = named(q{
	SET client_min_messages = warning;
	SELECT alerting.attach('teams', 'containers', organization => '(SELECT h.team_id FROM memberships h WHERE h.container = c.name ORDER BY 1 LIMIT 1)');
	SELECT alerting.attach_metrics('readings', at => 'sec + frac / 1e9', at_unit => 's', cpu => 'load', max_age => NULL, stale_after => '7 minutes');
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90)});
like($attached, qr/^container: container_name$/m, 'the column that is called after the key');
is($warned, '', 'an index on the expression serves');
($told) = named(q{BEGIN; CREATE TABLE crates (name text PRIMARY KEY, team int); SELECT alerting.attach('teams', 'crates'); ROLLBACK});
like($told, qr/^attached for the former containers: public\.readings; call attach_metrics or detach_metrics for each$/m, 'metrics of what is no container any more are told of');

($attached, $warned) = named(q{
	BEGIN;
	SET client_min_messages = warning;
	CREATE TABLE gauges (container_name text, gauge_key varchar(40), value text, collected_at timestamptz, PRIMARY KEY (container_name, gauge_key));
	SELECT alerting.attach_metrics('gauges', cpu => $$CASE gauge_key WHEN 'cpu' THEN substring(value FROM '^[0-9.]+')::float8 END$$);
	CREATE TABLE beats (container_name text, beat bigint, collected_at timestamptz, cpu_percent real, PRIMARY KEY (container_name, beat));
	SELECT alerting.attach_metrics('beats');
	ROLLBACK});
is(join('; ', $warned =~ /WARNING:  (.*)/g), q{table public.beats has no index that finds a container's newest rows}, 'so does one of the names of what is updated');

(undef, $asked) = named(q{CREATE TABLE counts (container_name text, clock int, cpu_percent real); SELECT alerting.attach_metrics('counts')});
like($asked, qr/HINT:  If it is column clock, say what that counts since 1970: at_unit => /, 'a time that is a number');

(undef, $asked) = named(q{CREATE TABLE entries (container_name text, status int, cpu_percent real); SELECT alerting.attach_metrics('entries', at => 'status')});
like($asked, qr/ERROR:  mapping "at" of table public\.entries has type integer: a number of what\?/, 'a status counts no microseconds');
(undef, $asked) = named(q{CREATE TABLE passages (container_name text, cpu_percent real); SELECT alerting.attach_metrics('passages', at => 'now()')});
like($asked, qr/NOTICE:  the time of a row of table public\.passages is that at which it is read: .*\nHINT:  After a restart/, 'a time that no column says');

(undef, $asked) = named(q{CREATE TABLE nanos (container_name text, "tsNs" bigint, cpu_percent real); SELECT alerting.attach_metrics('nanos')});
like($asked, qr{HINT:  If it is column "tsNs", which counts nanoseconds: (at => '"tsNs" / 1e9', at_unit => 's')}, 'one of nanoseconds');
(undef, $asked) = named(q{SELECT alerting.attach_metrics('nanos', at => '"tsNs"', at_unit => 'ns')});
like($asked, qr/HINT:  Bring other units to seconds: nanoseconds by at => '\.\.\. \/ 1e9', at_unit => 's'\.$/m, 'however it is asked for');
(undef, $asked) = named(q{ALTER TABLE containers ADD "dockerId" varchar(64) UNIQUE; CREATE TABLE pulses (docker_id text, at timestamptz, cpu_percent real); SELECT alerting.attach_metrics('pulses')});
like($asked, qr/HINT:  Say it: container => '\(SELECT k\.name FROM public\.containers k WHERE k\."dockerId" = m\.docker_id\)'\./, 'a unique column of the same name');
($attached) = named(q{SELECT alerting.attach_metrics('nanos', at => '"tsNs" / 1e9', at_unit => 's')});
like($attached, qr/^attached metrics public\.nanos$/m, 'as the hint has it');
named(q{SELECT alerting.detach_metrics('nanos')});

# What no longer fits is attached by the call that doctor() shows, with its new name.
named(q{ALTER TABLE readings RENAME load TO cpu; INSERT INTO readings VALUES ('c0ffee', 'web', 1772445600, 0, 95)});
my ($call) = named(q{SELECT substring(hint FROM 'SELECT .*') FROM alerting.doctor() WHERE topic = 'metrics' AND status = 'error'});
is($node->safe_psql('named', q{SELECT detail FROM alerting.doctor() WHERE topic = 'metrics' AND status = 'error'}),
	'Its mapping does not fit any more: mapping "cpu" of table public.readings: column "load" does not exist', 'which mapping it is');
like($call, qr/max_age => NULL, stale_after => '00:07:00'/, 'the call says all that is not by default');
named('SET client_min_messages = warning; ' . $call =~ s/\bload\b/cpu/r);
is(alerts($node, 'named'), 'cpu web FIRING 10:00:00 10:00:00', 'the call that doctor() shows');
($attached) = named($call =~ s/\bload\b/cpu/r);
like($attached, qr/^already attached metrics public\.readings, nothing changed$/m, 'changes nothing else');

# A table that is made anew is another one; its predecessor is forgotten.
named('DROP TABLE readings; CREATE TABLE readings (container_id text, container_name text, sec int, frac int, cpu float8); CREATE INDEX ON readings ((sec + frac / 1e9))');
($call) = named(q{SELECT substring(hint FROM 'SELECT [^;]*') FROM alerting.doctor() WHERE topic = 'metrics' AND status = 'error'});
($attached) = named($call =~ s/'\.\.\.'/'readings'/r);
like($attached, qr/^forgot the metrics table with OID \d+, which is gone\nattached metrics public\.readings$/m, 'made anew');
named(q{INSERT INTO readings VALUES ('c0ffee', 'web', 1772445660, 0, 5)});
is(alerts($node, 'named'), 'cpu web RESOLVED 10:00:00 10:00:00 10:01:00', 'and goes on');
is($node->safe_psql('named', q{SELECT count(*) FROM alerting.doctor() WHERE topic = 'metrics' AND status <> 'ok'}), 0, 'in order');

# Where a query gives the organization, nobody tells when another one comes of it: the alert that would be raised asks.
named(q{SELECT alerting.create_rule(2, 'theirs', 'CPU_USAGE', 90)});
named(q{DELETE FROM memberships WHERE team_id = 1; INSERT INTO readings VALUES ('c0ffee', 'web', 1772445720, 0, 96)});
is(alerts($node, 'named'), "cpu web RESOLVED 10:00:00 10:00:00 10:01:00\ntheirs web FIRING 10:02:00 10:02:00", 'a container that has moved in silence');

# What is known of a state's values speaks against a guess that would call all containers down.
for ([ 'Up 3 hours (healthy)', '' ], [ 'running', q{(lower(m.status) = 'running'::text)} ])
{
	my ($status, $expected) = @$_;
	my (undef, $guessed) = $node->psql($database, qq{
		SET client_min_messages = error;
		CREATE TABLE seen (service_id int, at timestamptz, cpu_percent real, status text);
		INSERT INTO seen SELECT 10, now() - interval '1 day', 5, CASE WHEN g % 2 = 0 THEN '$status' ELSE 'Exited (0) ' || g || ' days ago' END FROM generate_series(1, 100) g;
		ANALYZE seen;
		SELECT count(*) FROM alerting.attach_metrics('seen');
		SELECT 'running: ' || coalesce(running, '') FROM alerting.metric_source WHERE metrics = 'seen'::regclass;
		SELECT count(*) FROM alerting.detach_metrics('seen');
		DROP TABLE seen});
	like($guessed, qr/^running: \Q$expected\E$/m, "a state that is called $status");
}

# A state that never says "running", which nobody could know when the table was attached: all of its containers count as down.
my $never = q{SELECT status, detail, hint FROM alerting.doctor() WHERE topic = 'metrics' AND object = 'public.machine_states' AND status <> 'ok'};
$node->safe_psql($database, q{
	SET client_min_messages = warning;
	CREATE TABLE machine_states (service_id int, at timestamptz, "State" text, PRIMARY KEY (service_id, at)) WITH (autovacuum_enabled = off);
	SELECT alerting.attach_metrics('machine_states');
	INSERT INTO machine_states SELECT 1, now() - n * interval '1 s', CASE WHEN n < 50 THEN 'started' ELSE 'stopped' END FROM generate_series(1, 100) n});
$node->safe_psql($database, q{INSERT INTO machine_states VALUES (2, now(), 'running')});
is($node->safe_psql($database, $never), '', 'nothing is said where one of the rows that are tried says so');
$node->safe_psql($database, q{DELETE FROM machine_states WHERE service_id = 2});
like($node->safe_psql($database, $never), qr/^warning\|No value of "State" .*count as down\./, 'where none does it is, however few they are');
$node->safe_psql($database, 'ANALYZE machine_states');
like($node->safe_psql($database, $never), qr/^warning\|No value of "State" .*count as down\.\|Say when they run, .*SELECT alerting\.attach_metrics\('public\.machine_states', .*running =>/, 'but of what is');
$node->safe_psql($database, q{INSERT INTO machine_states SELECT 1, now() + n * interval '1 us', 'Running' FROM generate_series(1, 100) n; ANALYZE machine_states});
is($node->safe_psql($database, $never), '', 'nor where it does');
$node->safe_psql($database, q{SET client_min_messages = warning; SELECT alerting.detach_metrics('machine_states')});

# Models that were copied before the migrations were told to leave the tables alone: what they made is refused, and may go.
$node->safe_psql('postgres', 'CREATE DATABASE premade');
my (undef, undef, $refused) = $node->psql('premade', q{
	CREATE TABLE organizations (id text PRIMARY KEY, name text);
	CREATE TABLE containers (id text PRIMARY KEY, organization_id text NOT NULL REFERENCES organizations, name text);
	CREATE SCHEMA alerting;
	CREATE TABLE alerting.alert_rule (id text PRIMARY KEY, organization_id text NOT NULL, name text NOT NULL, condition text NOT NULL, threshold float8, duration int NOT NULL DEFAULT 0,
	  no_data text, enabled boolean NOT NULL DEFAULT true, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL);
	CREATE EXTENSION alerting;
	SELECT alerting.attach('organizations', 'containers')}, on_error_stop => 1);
like($refused, qr/NOTICE:  alerting: installed, not bound .*: schema alerting has tables that alerting did not make: alerting\.alert_rule\nHINT:  If a migration made them /, 'CREATE EXTENSION tells of tables made by others');
like($refused, qr/ERROR:  schema alerting has tables that alerting did not make: alerting\.alert_rule\nHINT:  If a migration made them /, 'attach() refuses them');
$node->safe_psql('premade', q{SET client_min_messages = warning; DROP TABLE alerting.alert_rule CASCADE; SELECT alerting.attach('organizations', 'containers')});
is($node->safe_psql('premade', q{SET client_min_messages = warning; INSERT INTO organizations VALUES ('o'); SELECT alerting.create_rule('o', 'cpu', 'CPU_USAGE', 90) <> ''}), 't', 'and makes its own');

# Where a language has other small letters, RUNNING is running all the same.
if ($node->safe_psql('postgres', q{SELECT count(*) FROM pg_collation WHERE collname = 'tr-x-icu'}) > 0)
{
	$node->safe_psql('postgres', q{CREATE DATABASE turkish TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'tr'});
	my (undef, undef, $told) = $node->psql('turkish', q{
		CREATE TABLE "ORGANIZATIONS" ("ID" int PRIMARY KEY, "TITLE" text);
		CREATE TABLE "CONTAINERS" ("ID" int PRIMARY KEY, "ORGANIZATION_ID" int REFERENCES "ORGANIZATIONS", "TITLE" text);
		CREATE TABLE "STATES" ("CONTAINER_ID" int REFERENCES "CONTAINERS", "TIME" timestamptz, "STATUS" text CHECK ("STATUS" IN ('RUNNING', 'EXITED', 'Running')), PRIMARY KEY ("CONTAINER_ID", "TIME"));
		CREATE TABLE "CONTAINER_METRICS" ("CONTAINER_ID" int REFERENCES "CONTAINERS", "TIME" timestamptz, "CPU_UTILIZATION_PERCENT" real, "STATUS" text, PRIMARY KEY ("CONTAINER_ID", "TIME"));
		INSERT INTO "ORGANIZATIONS" VALUES (1, 'Istanbul');
		INSERT INTO "CONTAINERS" VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 1, 'c');
		CREATE EXTENSION alerting;
		SELECT alerting.attach_metrics('"STATES"', max_age => NULL), alerting.attach_metrics('"CONTAINER_METRICS"', max_age => NULL);
		SELECT alerting.create_rule(1, 'down', 'CONTAINER_DOWN');
		INSERT INTO "STATES" VALUES (1, '2026-03-02 10:00Z', 'RUNNING'), (2, '2026-03-02 10:00Z', 'EXITED'), (3, '2026-03-02 10:00Z', 'Running');
		INSERT INTO "CONTAINER_METRICS" VALUES (1, '2026-03-02 10:01Z', 5, 'RUNNING'), (2, '2026-03-02 10:01Z', 5, 'RUNNING'), (3, '2026-03-02 10:01Z', 5, 'EXITED')}, on_error_stop => 1);
	is(alerts($node, 'turkish'), "down 2 RESOLVED 10:00:00 10:00:00 10:01:00\ndown 3 FIRING 10:01:00 10:01:00", 'a Turkish database');
}

# Foreign keys that refer to another unique column than the key: what they refer to has it.
$node->safe_psql('postgres', 'CREATE DATABASE references_others');
$node->safe_psql('references_others', q{
	SET client_min_messages = warning;
	CREATE TABLE organizations (id text PRIMARY KEY, slug text UNIQUE NOT NULL);
	CREATE TABLE containers (id text PRIMARY KEY, docker_id text UNIQUE NOT NULL, org text NOT NULL REFERENCES organizations (slug), name text);
	CREATE TABLE metrics (docker_id text REFERENCES containers (docker_id), at timestamptz, cpu_percent real, PRIMARY KEY (docker_id, at));
	INSERT INTO organizations VALUES ('o1', 'initech');
	INSERT INTO containers VALUES ('c1', 'c0ffee', 'initech', 'web');
	CREATE EXTENSION alerting;
	SELECT alerting.create_rule('o1', 'cpu', 'CPU_USAGE', 90);
	INSERT INTO metrics VALUES ('c0ffee', now(), 95)});
flush_ok($node, 'references_others');
is($node->safe_psql('references_others', 'SELECT b.organization, s.container, a.container_id FROM alerting.host_binding b, alerting.metric_source s, alerting.alert a'),
	'(SELECT k.id FROM public.organizations k WHERE (k.slug = c.org))|(SELECT k.id FROM public.containers k WHERE (k.docker_id = m.docker_id))|c1',
	'foreign keys to other columns than the key');

# So do those of several columns. A column is called like what it refers to, and yet holds another thing: the name.
$node->safe_psql('postgres', 'CREATE DATABASE references_pairs');
$node->safe_psql('references_pairs', q{
	SET client_min_messages = warning;
	CREATE TABLE organizations (id text PRIMARY KEY, cluster text, name text, UNIQUE (cluster, name));
	CREATE TABLE containers (id text PRIMARY KEY, cluster text, organization text, name text, UNIQUE (cluster, organization, name),
	  FOREIGN KEY (cluster, organization) REFERENCES organizations (cluster, name) ON UPDATE CASCADE);
	CREATE TABLE metrics (cluster text, organization text, container text, at timestamptz, cpu_percent real, PRIMARY KEY (cluster, organization, container, at),
	  FOREIGN KEY (container, cluster, organization) REFERENCES containers (name, cluster, organization));
	INSERT INTO organizations VALUES ('o1', 'east', 'default'), ('o2', 'west', 'default');
	INSERT INTO containers VALUES ('c1', 'east', 'default', 'web'), ('c2', 'west', 'default', 'web');
	CREATE EXTENSION alerting;
	SELECT alerting.create_rule('o1', 'cpu', 'CPU_USAGE', 90), alerting.create_rule('o2', 'cpu', 'CPU_USAGE', 90);
	INSERT INTO metrics VALUES ('east', 'default', 'web', now(), 5), ('west', 'default', 'web', now(), 95)});
flush_ok($node, 'references_pairs');
is($node->safe_psql('references_pairs', 'SELECT b.organization, s.container FROM alerting.host_binding b, alerting.metric_source s'),
	'(SELECT k.id FROM public.organizations k WHERE ((k.cluster = c.cluster) AND (k.name = c.organization)))|'
	. '(SELECT k.id FROM public.containers k WHERE ((k.name = m.container) AND (k.cluster = m.cluster) AND (k.organization = m.organization)))',
	'foreign keys of several columns');
is($node->safe_psql('references_pairs', 'SELECT a.container_id, r.organization_id FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id'), 'c2|o2',
	'lead to whose they are');

# A key is not cut to the length of its type, which would make it another one's.
$node->safe_psql('postgres', 'CREATE DATABASE codes');
(undef, undef, my $cut) = $node->psql('codes', q{
	SET client_min_messages = warning;
	CREATE TABLE organizations (id varchar(4) PRIMARY KEY);
	CREATE TABLE containers (id char(4) PRIMARY KEY, organization_id varchar(4) REFERENCES organizations);
	INSERT INTO organizations VALUES ('acme');
	CREATE EXTENSION alerting;
	SELECT alerting.create_rule('acme2', 'cpu', 'CPU_USAGE', 90)});
like($cut, qr/ERROR:  value too long for type character varying\(4\)/, 'a key that is too long');
is($node->safe_psql('codes', q{SET client_min_messages = warning;
	SELECT alerting.create_rule('acme', 'cpu', 'CPU_USAGE', 90) <> '', alerting.create_webhook('acme', 'https://example.com/') <> ''}), 't|t', 'and one that is not');

# A key that is generated is said by the columns of which it is, also beside one that is called container_id.
$node->safe_psql('postgres', 'CREATE DATABASE generated_keys');
(undef, undef, my $told_of_key) = $node->psql('generated_keys', q{
	SET client_min_messages = warning;
	CREATE TABLE users (id int PRIMARY KEY, name text);
	CREATE TABLE containers (host text, container_name text, user_id int REFERENCES users, PRIMARY KEY (host, container_name));
	CREATE TABLE snapshots (host text, container_name text, container_id text, at timestamptz, cpu_percent real);
	CREATE INDEX ON snapshots (at);
	ALTER TABLE containers ADD alerting_key text GENERATED ALWAYS AS (host || '/' || container_name) STORED UNIQUE NOT NULL;
	CREATE EXTENSION alerting;
	INSERT INTO users VALUES (1, 'a');
	INSERT INTO containers VALUES ('h', 'web', 1);
	SELECT alerting.attach('users', 'containers');
	SELECT alerting.attach_metrics('snapshots');
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90);
	INSERT INTO snapshots VALUES ('h', 'web', 'c0ffee', now(), 95)});
flush_ok($node, 'generated_keys');
is($node->safe_psql('generated_keys', 'SELECT s.container, a.container_id FROM alerting.metric_source s, alerting.alert a'), q{((m.host || '/'::text) || m.container_name)|h/web}, 'a generated key');
is($node->safe_psql('generated_keys', q{
	SET client_min_messages = error;
	CREATE TABLE others (host int, container_name text, container_id text, at timestamptz, cpu_percent real);
	CREATE TABLE keyed (alerting_key text, host text, container_name text, at timestamptz, cpu_percent real);
	SELECT count(*) FROM alerting.attach_metrics('others') a, alerting.attach_metrics('keyed') b;
	SELECT container FROM alerting.metric_source ORDER BY id OFFSET 1}) =~ s/^\d+\n//r, "container_id\nalerting_key", 'not by other columns, nor where it is there');

# Rows of tables that inherit are found by no foreign key: they are no containers and no organizations, and that is told.
$node->safe_psql('postgres', 'CREATE DATABASE heirs');
(undef, undef, my $told_of_heirs) = $node->psql('heirs', q{
	CREATE TABLE organizations (id int PRIMARY KEY, name text);
	CREATE TABLE resellers (PRIMARY KEY (id)) INHERITS (organizations);
	CREATE TABLE containers (id text PRIMARY KEY, organization_id int, name text);
	CREATE TABLE virtual_machines (PRIMARY KEY (id)) INHERITS (containers);
	CREATE TABLE metrics (container_id text, at timestamptz, cpu_percent real, PRIMARY KEY (container_id, at));
	INSERT INTO organizations VALUES (1, 'a');
	INSERT INTO resellers VALUES (2, 'b');
	INSERT INTO containers VALUES ('c', 1, 'c');
	INSERT INTO virtual_machines VALUES ('v', 1, 'v');
	CREATE EXTENSION alerting;
	SELECT alerting.attach_metrics('metrics');
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90)});
is(join('; ', $told_of_heirs =~ /WARNING:  (.*)/g), 'rows of the tables that inherit from organizations do not count: resellers; rows of the tables that inherit from containers do not count: virtual_machines'
	=~ s/(?=organizations|resellers|containers|virtual)/public./gr, 'tables that inherit are told of');
like($node->safe_psql('heirs', q{SELECT detail FROM alerting.doctor() WHERE topic = 'binding' AND status = 'warning'}), qr/^Rows .* public\.virtual_machines\nRows .* public\.resellers$/, 'by doctor(), too');
(undef, undef, $told_of_heirs) = $node->psql('heirs', q{SELECT alerting.create_rule(2, 'cpu', 'CPU_USAGE', 90)});
like($told_of_heirs, qr/ERROR:  .* violates foreign key constraint "alert_rule_organization_id_fkey"/, 'no rule of such a row');
$node->safe_psql('heirs', q{INSERT INTO metrics VALUES ('v', now(), 95); INSERT INTO metrics VALUES ('c', now(), 95)});
flush_ok($node, 'heirs');
is($node->safe_psql('heirs', q{SELECT a.container_id, s.unknown FROM alerting.alert a, alerting.status() s}), 'c|1', 'nor an alert');

# What CREATE EXTENSION cannot choose it names.
$node->safe_psql('postgres', 'CREATE DATABASE choices');
(undef, undef, my $told_of_choices) = $node->psql('choices', q{
	CREATE TABLE organizations (id int PRIMARY KEY, name text);
	CREATE TABLE containers (id text PRIMARY KEY, organization_id int, name text);
	CREATE TABLE container_metrics (container_id text, at timestamptz, cpu_percent real);
	CREATE TABLE container_stats (container_id text, at timestamptz, memory_percent real);
	CREATE EXTENSION alerting});
like($told_of_choices, qr/NOTICE:  alerting: cannot choose metrics among public\.container_metrics, public\.container_stats\n/, 'two metrics tables');

# The rule that is suggested is about what is read.
(undef, undef, my $told_of_rules) = $node->psql('choices', q{CREATE TABLE starts (container_id text, at timestamptz, restart_count int); SELECT alerting.attach_metrics('starts')});
like($told_of_rules, qr/HINT:  Make one, .*'RESTART_LOOP'/, 'a rule about restarts');

my $err;

# What a column means is asked once.
(undef, my $said_again, my $asked_again) = $node->psql('choices', q{
	SET client_min_messages = warning;
	ALTER TABLE containers ADD container_id text UNIQUE;
	SELECT alerting.attach_metrics('container_metrics');
	SELECT alerting.attach_metrics('container_metrics', container => 'container_id');
	SELECT alerting.attach_metrics('container_metrics')}, on_error_stop => 0);
like($asked_again, qr/DETAIL:  Its column container_id may hold what public\.containers calls so, or its key id\./, 'a column that may hold the key or another');
like($said_again, qr/^attached metrics .*^already attached metrics public\.container_metrics, nothing changed$/ms, 'and need not be said again');

# When a container's own row was changed is no time at which it was seen.
for ([ 'updated_at', 1 ], [ '"modifiedOn"', 1 ], [ 'last_seen', 0 ])
{
	my ($column, $is_told) = @$_;
	(undef, undef, $err) = $node->psql('choices', qq{BEGIN; ALTER TABLE containers ADD status text, ADD restart_count int, ADD $column timestamptz; SELECT alerting.attach_metrics('containers'); ROLLBACK});
	is(scalar($err =~ /NOTICE:  .*containers tells nothing for 5 minutes.*\nHINT:  .*stale_after => '10 years'/), $is_told || '', "a container's own row at $column");
}

# A guess that is wrong is worse than none; '' is an answer, and nothing is told of it.
(undef, my $out, $err) = $node->psql($database, q{
	CREATE TABLE asked (service_id int PRIMARY KEY, at timestamptz, cpu_cores int, mem_ratio real, up bool);
	SELECT alerting.attach_metrics('asked', cpu => '', memory => '100 * mem_ratio')});
unlike($err, qr/look like metrics/, 'what was answered is not asked');

# A table of events is silent while nothing happens.
for ([ '', 1 ], [ q{, stale_after => '10 years'}, 0 ])
{
	my ($option, $is_told) = @$_;
	(undef, undef, $err) = $node->psql($database, qq{BEGIN; CREATE TABLE events (service_id int, happened timestamptz, new_state text);
		SELECT alerting.attach_metrics('events', running => \$\$new_state = 'running'\$\$$option); ROLLBACK});
	is(scalar($err =~ /NOTICE:  .*events tells nothing for 5 minutes.*\nHINT:  .*stale_after => '10 years'/), $is_told || '', "a table of events$option");
}

# Inheritance: a table's triggers do not see its children's rows, wherever those are routed.
(undef, undef, $err) = $node->psql($database, q{
	SET client_min_messages = warning;
	CREATE TABLE history (service_id int, at timestamptz, cpu_percent real);
	CREATE TABLE history_2026 () INHERITS (history);
	CREATE INDEX ON history (service_id, at);
	CREATE INDEX ON history_2026 (service_id, at);
	SELECT alerting.attach_metrics('history', max_age => NULL)});
like($err, qr/WARNING:  rows that are written into the tables that inherit from public\.history are not seen: public\.history_2026/, 'child tables are told');
(undef, undef, $err) = $node->psql($database, q{
	SET client_min_messages = warning;
	SELECT alerting.attach_metrics('history_2026', max_age => NULL);
	SELECT alerting.attach_metrics('history', max_age => NULL, stale_after => '6 minutes');
	CREATE FUNCTION route() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO history_2026 VALUES (NEW.*); RETURN NULL; END';
	CREATE TRIGGER route BEFORE INSERT ON history FOR EACH ROW EXECUTE FUNCTION route();
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90);
	INSERT INTO history VALUES (10, '2026-03-02 10:00Z', 95), (10, '2026-03-02 10:01Z', 5)});
is($err, '', 'and not once they are attached');
is(alerts($node, $database), 'cpu 10 RESOLVED 10:00:00 10:00:00 10:01:00', "a routed row counts by its child table's trigger");

# Lengths of time that are longer than time.
$node->safe_psql($database, q{
	SET client_min_messages = error;
	SELECT alerting.attach_metrics('asked', cpu => '', memory => '100 * mem_ratio', max_age => '178000000 years', stale_after => '178000000 years');
	SELECT alerting.create_rule(1, 'memory', 'MEMORY_USAGE', 90);
	INSERT INTO asked VALUES (10, '2026-03-02 10:00Z', NULL, 0.95, NULL)});
like(alerts($node, $database), qr/^memory 10 FIRING 10:00:00 10:00:00$/m, 'the longest max_age and stale_after');
is($node->safe_psql($database, 'SELECT problem IS NULL FROM alerting.status()'), 't', 'are no problem');

# Two who attach at once, as a deployment on several machines does.
$node->safe_psql($database, 'CREATE TABLE late (service_id int REFERENCES services, at timestamptz, cpu_percent real, PRIMARY KEY (service_id, at))');
my @sessions = map { $node->background_psql($database, on_error_stop => 1) } 1 .. 2;
$_->query_safe('SET client_min_messages = error') for @sessions;
$sessions[0]->query_safe(q{BEGIN; SELECT alerting.attach('tenants', 'services'); SELECT alerting.attach_metrics('late')});
$sessions[1]->query_until(qr/sent/, "\\echo sent\nSELECT alerting.attach('tenants', 'services'); SELECT alerting.attach_metrics('late');\n");
$node->poll_query_until($database, q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%alerting.attach%')});
$sessions[0]->query_safe('COMMIT');
like($sessions[1]->query_safe('SELECT count(*) FROM alerting.metric_source WHERE metrics = \'late\'::regclass'), qr/^already attached metrics public\.late, nothing changed\n1$/m,
	'the second one changes nothing');
$_->quit for @sessions;

clean_log_ok($node, qr/value too long|alert_rule_organization_id_fkey|at_unit must be|that alerting did not make|cannot tell which organization|name must be a column|cannot tell (?:the time|which container) |no metric of table|a number of what/);
$node->stop;
done_testing();

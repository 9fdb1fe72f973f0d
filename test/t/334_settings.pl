# Whatever a database and its sessions are set to, the same comes of the same rows: the story of a fleet is
# told in two databases, of which one has settings as strange as they may be. What is written, sent,
# previewed and explained does not differ, and a server that logs all it can logs no secret.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = 'whsec_c2VjcmV0IG9mIHRoZSBzdG9yeSB0aGF0IGlzIHRvbGQ=';
my $token = 'Bearer story-of-a-header';
my $path = 'ok?token=story-of-a-path';

# Expressions of each kind: the row's columns, PostgreSQL's own functions, a function of the host.
my $host = <<'SQL';
CREATE TABLE public.organizations (id int PRIMARY KEY, name text);
CREATE TABLE public.containers (id int PRIMARY KEY,
  organization_id int NOT NULL REFERENCES public.organizations ON DELETE CASCADE, name text);
CREATE TABLE public.container_metrics (container_id int NOT NULL REFERENCES public.containers ON DELETE CASCADE,
  at timestamptz NOT NULL, cpu_percent float8, memory_percent float8, running bool, restart_count int);
CREATE TABLE public.reports (container text, day text, used numeric, total numeric);
CREATE TABLE public.agents (container int, at timestamp, load text);
INSERT INTO public.organizations VALUES (1, E'Ini\\tech'), (2, 'Hooli');
INSERT INTO public.containers VALUES (10, 1, 'we"b'), (11, 1, 'db'), (20, 2, 'web');
CREATE FUNCTION public.percent(load text) RETURNS float8 STABLE LANGUAGE plpgsql AS
  $$ BEGIN PERFORM 1 / (load::float8 - 13); RETURN load::float8; END $$;
SET client_min_messages = warning;
CREATE EXTENSION alerting;
SELECT alerting.attach('public.organizations', 'public.containers');
SELECT alerting.attach_metrics('public.container_metrics', max_age => NULL);
SELECT alerting.attach_metrics('public.reports', container => 'm.container::int', at => 'm.day::timestamp', memory => '100 * m.used / m.total',
  time_zone => 'Europe/Berlin', max_age => NULL);
SELECT alerting.attach_metrics('public.agents', container => 'm.container', at => 'm.at', cpu => 'public.percent(m.load)', max_age => NULL);
SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80.5, 2), alerting.create_rule(1, 'memory', 'MEMORY_USAGE', 90),
  alerting.create_rule(1, 'down', 'CONTAINER_DOWN', NULL, 1), alerting.create_rule(2, 'loop', 'RESTART_LOOP', 2, 10);
SQL

my @chapters = (
	# Alerts of each condition begin; rows that cannot be read are left out.
	q{INSERT INTO public.container_metrics SELECT 10, '2026-03-02 10:00Z'::timestamptz + n * interval '1 minute', 80.6 + n / 3.0::float8, 5, true, 0 FROM generate_series(0, 3) n;
	  INSERT INTO public.container_metrics SELECT 20, '2026-03-02 10:00Z'::timestamptz + n * interval '1 minute', 5, 5, true, n FROM generate_series(0, 3) n;
	  INSERT INTO public.container_metrics SELECT 11, '2026-03-02 10:00Z'::timestamptz + n * interval '1 minute', 5, 5, n < 1, 0 FROM generate_series(0, 3) n;},
	q{INSERT INTO public.reports VALUES ('10', '2026-03-02 11:05', 91.7, 100), ('11', '03/04/2026', 1, 0), ('11', '2026-03-02 11:06', 95, 100);},
	q{INSERT INTO public.agents VALUES (11, '2026-03-02 10:07', '95.25'), (11, '2026-03-02 10:08', '13'), (11, '2026-03-02 10:10', '95.5');},
	# They end.
	q{UPDATE public.reports SET day = '2026-03-02 11:15', used = 5 WHERE total > 0;},
	q{COPY public.container_metrics FROM STDIN;
10	2026-03-02 10:20:00+00	5	5	t	0
11	2026-03-02 10:20:00+00	5	5	t	0
\.
});


# A server that is short of everything (one background worker is PostgreSQL's own), and logs all.
my $node = PostgreSQL::Test::Cluster->new('settings');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
alerting.allowed_networks = '127.0.0.0/8'
shared_preload_libraries = 'auto_explain, alerting'
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_verbose = on
log_statement = all
log_duration = on
log_min_duration_statement = 0
log_min_messages = debug2
log_min_error_statement = debug5
log_error_verbosity = verbose
log_executor_stats = on
log_lock_waits = on
log_temp_files = 0
deadlock_timeout = 1ms
wal_level = minimal
max_wal_senders = 0
max_prepared_transactions = 0
max_connections = 8
superuser_reserved_connections = 1
max_worker_processes = 6
shared_buffers = 1MB
track_activities = off
track_counts = off
track_activity_query_size = 100
dynamic_shared_memory_type = mmap
CONF
$node->start;

# Of the strange database. Those after the empty line leave a session no statement of its own, or hardly
# one: sessions here have them as usual.
my ($settings, $of_workers) = split /\n\n/, <<'CONF';
exit_on_error = on
default_transaction_isolation = serializable
default_transaction_deferrable = on
row_security = off
search_path = nowhere
bytea_output = escape
DateStyle = 'German, DMY'
IntervalStyle = iso_8601
timezone = 'Pacific/Apia'
extra_float_digits = -15
array_nulls = off
standard_conforming_strings = off
backslash_quote = off
escape_string_warning = off
transform_null_equals = on
quote_all_identifiers = on
check_function_bodies = off
synchronous_commit = off
xmloption = document
plan_cache_mode = force_custom_plan
work_mem = 64kB
temp_tablespaces = nowhere
max_stack_depth = 200kB
join_collapse_limit = 1
cursor_tuple_fraction = 0
constraint_exclusion = on
client_min_messages = debug2
track_functions = all
compute_query_id = on
session_preload_libraries = auto_explain

statement_timeout = 1
lock_timeout = 1
idle_in_transaction_session_timeout = 1
default_transaction_read_only = on
session_replication_role = replica
role = pg_monitor
default_tablespace = nowhere
temp_file_limit = 0
enable_indexscan = off
enable_indexonlyscan = off
enable_bitmapscan = off
enable_hashjoin = off
enable_nestloop = off
enable_sort = off
enable_hashagg = off
enable_material = off
CONF
$of_workers .= 'transaction_timeout = 1' if $node->pg_version >= 17;

sub run_sql { my ($db, $sql) = @_; return $node->safe_psql($db, "SET client_min_messages = error;\n$sql"); }
sub flushed { my ($db, $what) = @_; is(run_sql($db, "SELECT alerting.flush('60s', true)"), 't', "$db: $what"); return; }

my %of_sessions = (default_transaction_read_only => 'off', session_replication_role => 'origin', role => 'none', default_tablespace => '',
	temp_file_limit => -1, map { $_ => 0 } qw(statement_timeout lock_timeout idle_in_transaction_session_timeout transaction_timeout));
$ENV{PGOPTIONS} = join ' ', map { "-c $_=" . ($of_sessions{$_} // 'on') } $of_workers =~ /^(\w+) =/mg;
my %receivers;
for my $db (qw(plain strange))
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$receivers{$db} = start_receiver($db);
}
$node->safe_psql('postgres', join '', map { "ALTER DATABASE strange SET $_" =~ s/ = (\w+)$/ = '$1'/r . ";\n" } split /\n/, "$settings\n$of_workers");

for my $db (qw(plain strange))
{
	run_sql($db, $host);
	# By COPY, whose data the server does not log: what it logs of secrets is not the user's own statement.
	run_sql($db, "COPY alerting.webhook (organization_id, url, secret, headers) FROM STDIN;\n"
		  . join('', map { join("\t", $_, $receivers{$db}->url("/$path"), $secret, qq({"Authorization": "$token"})) . "\n" } 1, 2) . "\\.\n");
	flushed($db, 'ready');
}
for my $chapter (0 .. $#chapters)
{
	for my $db (qw(plain strange))
	{
		run_sql($db, $chapters[$chapter]);
		flushed($db, "chapter $chapter is judged and sent");
	}
	next if $chapter != 1;
	# What is read back after a restart was in the queue the other time.
	run_sql('strange', 'SELECT alerting.stop()');
	$node->restart;
}

my $time = q{concat_ws(' ', alerting.rfc3339(x.started_at), alerting.rfc3339(x.fired_at), alerting.rfc3339(x.resolved_at), x.value)};
my %questions = (
	alerts => "SELECT r.name, x.container_id, x.status, x.resolve_reason, $time FROM alerting.alert x JOIN alerting.alert_rule r ON r.id = x.rule_id ORDER BY x.fired_at, r.name",
	deliveries => q{SELECT event, status, attempts, count(*) FROM alerting.delivery GROUP BY 1, 2, 3 ORDER BY 1, 2, 3},
	preview => "SELECT r.name, x.container_id, x.status, $time, x.peak FROM alerting.alert_rule r, LATERAL alerting.preview(r.id, '2026-03-02 00:00Z', '2026-03-03 00:00Z') x"
	  . ' ORDER BY x.fired_at, r.name',
	explain => q{SELECT r.name, c.id, x.state, x.silent, alerting.rfc3339(x.last_at), x.last_value, x.explanation FROM alerting.alert_rule r, public.containers c,
  LATERAL alerting.explain(r.id, c.id) x ORDER BY r.name, c.id},
	status => 'SELECT state, skipped > 0, unknown, failed_attempts, problem FROM alerting.status()',
	ping => 'SELECT t.delivered, t.status_code, t.error FROM alerting.webhook w, alerting.test_webhook(w.id) t WHERE w.organization_id = 1');
for my $question (sort keys %questions)
{
	my ($plain, $strange) = map { run_sql($_, "SET extra_float_digits = 1;\n$questions{$question}") } qw(plain strange);
	isnt($plain, '', "$question: there is something");
	is($strange, $plain, "$question: as in a plain database");
}
my ($plain, $strange) = map {
	join "\n", sort map { my $body = $_->{body}; $body =~ s/"(?:id|deliveryId|timestamp|createdAt|firedAt)": ?"[^"]*"//g; $body =~ s/c[a-z0-9]{24}//g; $body } $_->requests
} @receivers{qw(plain strange)};
is($strange, $plain, 'requests: as in a plain database');

$node->stop;
my @log = split /\n/, slurp_file($node->logfile);
is(join("\n", grep { /PANIC|signal 11|signal 6|TRAP/ } @log), '', 'nothing crashed');
is(join("\n", grep { /story-of|\Q$secret\E/ } @log), '', 'no secret is logged');
done_testing();

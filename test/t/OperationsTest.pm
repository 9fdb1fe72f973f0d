# What the tests of operations share: servers with and without preloading, the usual host with
# samples by the minute, alerts as short lines, and the workers' processes.
#
# Times are minutes after "t0", which is 50 minutes before the host was made: all within the default
# max_age of an hour, none in the future.
package OperationsTest;
use strict;
use warnings FATAL => 'all';
use Exporter qw(import);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WaitTest;

our @EXPORT = qw(catalog drop_database fresh_database is_catalog new_server make_host sql flush alerts statement_ok worker_pid wait_for_workers
  wait_for_alerts wait_until);

# A started server. preload => 1: with shared_preload_libraries; conf: more lines; start => 0: not yet; install_path: of another installation.
sub new_server
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $options{install_path});
	$node->init(%{ $options{init} // {} });
	$node->append_conf('postgresql.conf', "max_worker_processes = 32\nautovacuum = off\n");
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'alerting'\n")
	  if $options{preload};
	$node->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	$node->start unless defined $options{start} && !$options{start};
	return $node;
}

# The host's tables, helpers that tests call in SQL, the extension and its binding.
#   s(container, minute, cpu, memory, running, restarts)  inserts a sample
#   rule(id, organization, condition, threshold, duration, no_data)  makes a rule
# extension => 0 leaves the extension out; version => '...' makes another than the newest; attach => '...'
# replaces the call of attach_metrics.
my $tables = <<'SQL';
CREATE TABLE organizations (id int PRIMARY KEY, name text);
CREATE TABLE containers (id int PRIMARY KEY,
  organization_id int NOT NULL REFERENCES organizations ON DELETE CASCADE, name text);
CREATE TABLE container_metrics (container_id int NOT NULL REFERENCES containers ON DELETE CASCADE,
  at timestamptz NOT NULL, cpu_percent float8, memory_percent float8, running bool, restart_count int);
CREATE INDEX ON container_metrics (at);
INSERT INTO organizations VALUES (1, 'Initech'), (2, 'Hooli');
INSERT INTO containers VALUES (10, 1, 'web'), (11, 1, 'db'), (12, 1, 'cache'), (20, 2, 'web');
CREATE TABLE clock AS SELECT date_trunc('minute', now()) - interval '50 minutes' AS t0;
CREATE FUNCTION at(minute numeric) RETURNS timestamptz STABLE LANGUAGE sql AS
  $$ SELECT t0 + minute * interval '1 minute' FROM public.clock $$;
CREATE FUNCTION minute(at timestamptz) RETURNS text STABLE LANGUAGE sql AS
  $$ SELECT trim_scale(round((extract(epoch FROM at - t0) / 60)::numeric, 3))::text FROM public.clock $$;
CREATE FUNCTION s(container int, minute numeric, cpu float8 DEFAULT 5, memory float8 DEFAULT 5,
  running bool DEFAULT true, restarts int DEFAULT 0) RETURNS void LANGUAGE sql AS
  $$ INSERT INTO public.container_metrics VALUES (container, public.at(minute), cpu, memory, running, restarts) $$;
SQL
my $helpers = <<'SQL';
CREATE FUNCTION rule(id text, organization int, condition text, threshold float8 DEFAULT NULL,
  duration int DEFAULT 0, no_data text DEFAULT NULL) RETURNS void LANGUAGE sql AS
  $$ INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold, duration, no_data)
     VALUES (id, organization, 'rule ' || id, condition, threshold, duration, no_data) $$;
SQL

sub make_host
{
	my ($node, $database, %options) = @_;
	my $extension = $options{extension} // 1;
	my $attach = $options{attach} // "SELECT alerting.attach_metrics('container_metrics')";
	my @parts = ("SET client_min_messages = warning; $tables");
	my $version = $options{version} ? "VERSION '$options{version}'" : '';
	push @parts, "SET client_min_messages = warning; CREATE EXTENSION alerting $version; $attach; $helpers"
	  if $extension;
	for my $part (@parts)
	{
		my ($stdout, $stderr);
		$node->psql($database, $part, stdout => \$stdout, stderr => \$stderr, on_error_stop => 1) == 0
		  or BAIL_OUT("cannot make the host: $stderr");
	}
	return;
}

# A database of its own, with the host, a rule and an alert that fires; gives its name.
my $fresh = 0;
sub fresh_database
{
	my ($node, %options) = @_;
	my $database = 'fresh' . ++$fresh;
	sql($node, 'postgres', "CREATE DATABASE $database");
	make_host($node, $database, %options);
	sql($node, $database, "SELECT rule('cpu', 1, 'CPU_USAGE', 80); SELECT s(10, 1, 95)");
	flush($node, $database);
	return $database;
}

sub drop_database { my ($node, $database) = @_; sql($node, 'postgres', "DROP DATABASE $database WITH (FORCE)"); return; }

# Runs SQL that must succeed; gives what it says on the side.
sub statement_ok
{
	my ($node, $database, $statement, $name) = @_;
	my ($result, undef, $said) = $node->psql($database, $statement);
	is($result, 0, "$name: succeeds") or diag($said);
	return $said;
}

# Runs SQL in the database, gives its output; errors end the test.
sub sql
{
	my ($node, $database, $sql) = @_;
	return $node->safe_psql($database, "SET client_min_messages = error;\n$sql");
}

# The barrier: everything committed before is evaluated.
sub flush
{
	my ($node, $database, %options) = @_;
	my $deliveries = $options{deliveries} ? 'true' : 'false';
	my $done = sql($node, $database, "SELECT alerting.flush('180s', $deliveries)");
	is($done, 't', $options{name} // 'flushed') if $done ne 't' || $options{name};
	return $done eq 't';
}

# "rule container STATUS started>fired[>resolved reason]", times in minutes after t0; `where` picks.
sub alerts
{
	my ($node, $database, $where) = @_;
	$where //= 'true';
	return sql($node, $database, <<"SQL");
SELECT concat_ws(' ', rule_id, container_id, status, concat_ws('>', minute(started_at), minute(fired_at),
         minute(resolved_at)), resolve_reason)
  FROM alerting.alert WHERE $where ORDER BY length(container_id::text), container_id::text, rule_id, fired_at
SQL
}

# All that the extension has made in a database and what was granted on it, a line for each object;
# `where` picks among objects (classid, objid).
sub catalog
{
	my ($node, $database, $where) = @_;
	$where //= '';
	return sql($node, $database, <<"SQL");
WITH object(classid, objid, line) AS (
  SELECT 'pg_proc'::regclass, p.oid, format('function %s, %s, granted %s, at first %s', pg_get_functiondef(p.oid), p.proowner::regrole, p.proacl, i.initprivs)
    FROM pg_proc p LEFT JOIN pg_init_privs i ON i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid
   WHERE p.pronamespace = 'alerting'::regnamespace
  UNION ALL SELECT 'pg_depend'::regclass, 0, 'member ' || pg_describe_object(classid, objid, objsubid) FROM pg_depend
   WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'alerting')
  UNION ALL SELECT 'pg_class'::regclass, c.oid, format('relation %s %s %s %s, granted %s, at first %s', c.oid::regclass, c.relkind, c.relpersistence,
         c.reloptions, c.relacl, (SELECT i.initprivs FROM pg_init_privs i WHERE i.classoid = 'pg_class'::regclass AND i.objoid = c.oid))
    FROM pg_class c WHERE c.relnamespace = 'alerting'::regnamespace AND c.relkind <> 'i'
  UNION ALL SELECT 'pg_attribute'::regclass, a.attrelid, format('column %s %s %s: %s %s %s %s %s %s', a.attrelid::regclass, a.attnum, a.attname,
         format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid), a.attacl)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'v') AND c.relnamespace = 'alerting'::regnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attnum > 0
  UNION ALL SELECT 'pg_constraint'::regclass, conrelid, format('constraint %s %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated)
    FROM pg_constraint WHERE connamespace IN ('alerting'::regnamespace, 'public'::regnamespace)
  UNION ALL SELECT 'pg_class'::regclass, indexrelid, 'index ' || pg_get_indexdef(indexrelid) FROM pg_index
   WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN ('alerting'::regnamespace, 'public'::regnamespace))
  UNION ALL SELECT 'pg_trigger'::regclass, tgrelid, format('trigger %s %s', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL SELECT 'pg_class'::regclass, c.oid, format('view %s: %s', c.oid::regclass, pg_get_viewdef(c.oid)) FROM pg_class c
   WHERE c.relkind = 'v' AND c.relnamespace IN ('alerting'::regnamespace, 'public'::regnamespace)
  UNION ALL SELECT 'pg_event_trigger'::regclass, oid, format('event trigger %s %s %s %s %s', evtname, evtevent, evtenabled, evttags, evtfoid::regproc) FROM pg_event_trigger
  UNION ALL SELECT 'pg_namespace'::regclass, oid, format('schema %s %s', nspname, coalesce(nspacl, acldefault('n', nspowner))) FROM pg_namespace WHERE nspname = 'alerting'
  UNION ALL SELECT 'pg_extension'::regclass, oid, format('extension %s %s %s %s', extname, extversion, extrelocatable, extconfig) FROM pg_extension
  UNION ALL SELECT classoid, objoid, format('comment on %s: %s', pg_describe_object(classoid, objoid, objsubid), description) FROM pg_description
   WHERE pg_describe_object(classoid, objoid, objsubid) LIKE '%alerting%')
SELECT line FROM object WHERE true $where ORDER BY line COLLATE "C"
SQL
}

# Compares two of these; what differs is shown, without the rest.
sub is_catalog
{
	my ($got, $expected, $name) = @_;
	my ($missing, $new) = map { my %there = map { $_ => 1 } split /\n/, $_->[1]; join "\n", grep { !$there{$_} } split /\n/, $_->[0] }
	  [ $expected, $got ], [ $got, $expected ];
	ok($got eq $expected, $name) or diag("missing:\n$missing\nunexpected:\n$new");
	return;
}

# Process of the evaluator or sender of a database ('launcher': of the server), '' when none.
sub worker_pid
{
	my ($node, $kind, $database) = @_;
	my $of = $kind eq 'launcher' ? 'datname IS NULL' : "datname = '$database'";
	return $node->safe_psql('template1',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'alerting $kind' AND $of");
}

# Waits until the workers of a database run, and loaded their state.
sub wait_for_workers
{
	my ($node, $database) = @_;
	$node->poll_query_until($database, "SELECT state = 'running' FROM alerting.status()")
	  or BAIL_OUT("the workers of $database do not run");
	return;
}

# Polls for this many alerts in a state.
sub wait_for_alerts
{
	my ($node, $database, $status, $count) = @_;
	return $node->poll_query_until($database,
		"SELECT count(*) = $count FROM alerting.alert WHERE status = '$status'");
}

1;

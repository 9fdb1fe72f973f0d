# What the TAP tests share: throw-away servers, the small host of the field cases, and readers of
# what came of it. Everything waits for an event (flush, poll), never for a span of time.
package AlertingTest;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReceiverTest;
use Test::More;

our @EXPORT = qw(alerts clean_log_ok events fixture flush_ok minutes new_node nobody rule sample start_receiver webhook);

# A server for many databases, each with two workers.
sub new_node
{
	my ($name, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	$node->append_conf('postgresql.conf', join "\n",
		'max_worker_processes = 100', 'log_statement = none', 'timezone = UTC',
		"alerting.allowed_networks = '127.0.0.0/8'", @settings);
	$node->start;
	return $node;
}

# A database with two organizations, three containers and one wide metrics table, attached without
# a limit on age. Options: metrics => the table's columns; attach => arguments of attach_metrics.
sub fixture
{
	my ($node, $database, %options) = @_;
	my $columns = $options{metrics} // 'container_id int NOT NULL REFERENCES containers ON DELETE CASCADE, at timestamptz NOT NULL, '
	  . 'cpu_percent float8, memory_percent float8, running bool, restart_count int';
	my $attach = $options{attach} // '';
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, qq{
		CREATE TABLE organizations (id int PRIMARY KEY, name text);
		CREATE TABLE containers (id int PRIMARY KEY, organization_id int NOT NULL REFERENCES organizations ON DELETE CASCADE, name text);
		CREATE TABLE container_metrics ($columns) } . ($options{partition} // '') . qq{;
		INSERT INTO organizations VALUES (1, 'Initech'), (2, 'Hooli');
		INSERT INTO containers VALUES (10, 1, 'web'), (11, 1, 'db'), (20, 2, 'web');
		SET client_min_messages = warning;
		CREATE EXTENSION alerting;
		SELECT alerting.attach_metrics('container_metrics', max_age => NULL $attach)});
	# The workers are up: from here on rows are judged in the order in which they are committed, not
	# read from the table in the order of their times.
	flush_ok($node, $database);
	return;
}

# The statement that inserts one row, for container and time of day: unnamed columns are harmless.
sub sample
{
	my ($container, $time, %readings) = @_;
	my %row = (cpu => 5, memory => 5, running => 'true', restarts => 0, %readings);
	my ($cpu, $memory, $running, $restarts) =
	  map { !defined $row{$_} ? 'NULL' : "'$row{$_}'" } qw(cpu memory running restarts);
	return 'INSERT INTO container_metrics (container_id, at, cpu_percent, memory_percent, running, restart_count) '
	  . "VALUES ($container, '2026-03-02 ${time}Z', $cpu, $memory, $running, $restarts);\n";
}

# The times of day from one minute to another: minutes('10:58', '11:01').
sub minutes
{
	my ($from, $to) = map { my ($h, $m) = split /:/; $h * 60 + $m } @_;
	return map { sprintf '%02d:%02d', int($_ / 60), $_ % 60 } $from .. $to;
}

# Creates a rule named after its condition; returns its id.
sub rule
{
	my ($node, $database, $organization, $condition, $threshold, $duration, %options) = @_;
	my $no_data = $options{no_data} ? "'$options{no_data}'" : 'NULL';
	my $name = $options{name} // $condition;
	$threshold //= 'NULL';
	return $node->safe_psql($database,
		"SELECT alerting.create_rule($organization, '$name', '$condition', $threshold, $duration, $no_data)");
}

# A URL that nobody answers.
my $port;
sub nobody
{
	$port //= PostgreSQL::Test::Cluster::get_free_port();
	return "http://127.0.0.1:$port/nobody";
}

# Creates a webhook, by default one that nobody answers. Returns its id.
sub webhook
{
	my ($node, $database, $organization, $url) = @_;
	$url //= nobody();
	return $node->safe_psql($database, "SELECT alerting.create_webhook($organization, '$url')");
}

sub flush_ok
{
	my ($node, $database, $deliveries) = @_;
	$deliveries = $deliveries ? 'true' : 'false';
	my $flushed = $node->safe_psql($database, "SELECT alerting.flush('180s', deliveries => $deliveries)");
	is($flushed, 't', "$database: flushed") unless $flushed eq 't';
	return;
}

# The server's log tells of no error but those that match `expected`.
sub clean_log_ok
{
	my ($node, $expected) = @_;
	my @errors = grep { /\b(?:ERROR|PANIC|TRAP):|was terminated by signal/ && !($expected && /$expected/) }
	  split /\n/, slurp_file($node->logfile);
	is(join("\n", @errors), '', 'no unexpected error in the log');
	return;
}

# All alerts, evaluated up to now: "rule container STATUS started fired resolved" a line, in UTC.
sub alerts
{
	my ($node, $database, %options) = @_;
	flush_ok($node, $database);
	my $format = $options{format} // 'HH24:MI:SS';
	my $more = $options{reason} ? "|| coalesce(' ' || a.resolve_reason, '')" : '';
	return $node->safe_psql($database, qq{
		SET timezone = 'UTC';
		SELECT r.name || ' ' || a.container_id || ' ' || a.status || ' ' || to_char(a.started_at, '$format') || ' '
		       || to_char(a.fired_at, '$format') || coalesce(' ' || to_char(a.resolved_at, '$format'), '') $more
		  FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id
		 ORDER BY r.name, a.container_id::text, a.started_at, a.fired_at});
}

# What was put into the outbox, oldest first: "event container(key) started resolved reason" a line.
sub events
{
	my ($node, $database) = @_;
	flush_ok($node, $database);
	return $node->safe_psql($database, q{
		SELECT concat_ws(' ', replace(d.event, 'alert.', ''), (p -> 'container' ->> 'name') || '(' || (p -> 'container' ->> 'id') || ')',
		         substr(p -> 'alert' ->> 'startedAt', 12, 8), substr(p -> 'alert' ->> 'resolvedAt', 12, 8), p -> 'alert' ->> 'resolveReason')
		  FROM alerting.delivery d, LATERAL (SELECT d.payload -> 'data' AS p) x ORDER BY d.seq});
}

1;

# More kinds of applications, each in its own way: what is guessed of their tables, what their roles may
# do without any right on alerting, and exactly the alerts that their rows mean; then the same
# database dumped and restored. Each file of test/hosts/small is a database; its sections say what to run
# as whom, and what is to come of it.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('small_hosts', 'max_worker_processes = 200');    # two databases each, with two workers each
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');

# The sections of a file in their order: [name, text].
sub sections
{
	my ($file) = @_;
	my (undef, @parts) = split /^--@ (\w+)\n/m, slurp_file($file);
	my @sections;
	push @sections, [ splice @parts, 0, 2 ] while @parts;
	return @sections;
}

sub run
{
	my ($database, $role, $sql) = @_;
	$node->safe_psql($database, "SET client_min_messages = warning;\n$sql", extra_params => [ '-U', $role ]);
	return;
}

sub mappings
{
	my ($database) = @_;
	return $node->safe_psql($database, q{
		SELECT s.metrics || ' ' || v.name || ': ' || v.mapping
		  FROM alerting.metric_source s, LATERAL (VALUES (1, 'container', container), (2, 'at', at), (3, 'at_unit', at_unit), (4, 'cpu', cpu), (5, 'memory', memory),
		       (6, 'memory_used', memory_used), (7, 'memory_limit', memory_limit), (8, 'running', running), (9, 'restarts', restarts)) AS v(position, name, mapping)
		 WHERE v.mapping IS NOT NULL ORDER BY s.metrics::text, v.position});
}

# "rule container STATUS started fired [resolved reason]" a line. What ends for another reason than a reading ends
# when that is seen.
sub all_alerts
{
	my ($database) = @_;
	flush_ok($node, $database);
	return $node->safe_psql($database, q{
		SET timezone = 'UTC';
		SELECT concat_ws(' ', r.name, left(alerting.container_name(a.container_id::text), 8), a.status, t.started, t.fired,
		                 CASE a.resolve_reason WHEN 'RECOVERED' THEN t.resolved END, a.resolve_reason)
		  FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id,
		       LATERAL (SELECT to_char(a.started_at, 'HH24:MI:SS') AS started, to_char(a.fired_at, 'HH24:MI:SS') AS fired, to_char(a.resolved_at, 'HH24:MI:SS') AS resolved) t
		 ORDER BY r.name, 1});
}

my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
my @hosts = map { s{.*/}{}r =~ s/\.sql$//r } sort glob 'test/hosts/small/*.sql';
for my $host (@hosts)
{
	my $previous = '';
	$node->safe_psql('postgres', "CREATE DATABASE $host");
	for (sections("test/hosts/small/$host.sql"))
	{
		my ($section, $text) = @$_;
		chomp(my $expected = $text);
		if ($section eq 'mapping') { is(mappings($host), $expected, "$host: mapped") }
		elsif ($section eq 'alerts')
		{
			is(all_alerts($host), $expected, "$host: alerts");
			my $dump = "$PostgreSQL::Test::Utils::tmp_check/$host.dump";
			$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr($host) ], "$host: dumped");
			$node->safe_psql('postgres', "CREATE DATABASE restored_$host");
			$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr("restored_$host"), $dump ], "$host: restored");
			is(mappings("restored_$host"), mappings($host), "$host: mapped after a restore as before");
			is(all_alerts("restored_$host"), $expected, "$host: the same alerts after a restore");
		}
		else
		{
			run($host, 'app' eq $section ? 'app' : $superuser, ($section eq 'attach' ? "CREATE EXTENSION alerting;\n" : '') . $text);
			flush_ok($node, $host) if $section eq 'app';
		}
	}
}

clean_log_ok($node);
$node->stop;
done_testing();

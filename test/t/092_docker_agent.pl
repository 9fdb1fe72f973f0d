# examples/docker-agent: what docker said, recorded, goes by COPY into the tables of its schema.sql, as the
# role made there, and raises the alerts.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('agent');
my $folder = $node->basedir;
$node->safe_psql('postgres', 'CREATE DATABASE fleet');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'fleet', '-f', 'examples/docker-agent/schema.sql' ], 'the schema');
# Rules that fire at once, so that each round tells.
$node->safe_psql('fleet', q{UPDATE alerting.alert_rule SET duration = 0 WHERE condition <> 'RESTART_LOOP'});
flush_ok($node, 'fleet');

# One round of the agent; what fires afterwards, as "rule container, ...".
sub look
{
	my ($number) = @_;
	open my $round, '>', "$folder/round" or die $!;
	print $round $number;
	close $round;
	command_ok([ 'env', "FAKE_DOCKER_ROUND=$folder/round", 'PGHOST=' . $node->host, 'PGPORT=' . $node->port, 'PGDATABASE=fleet', 'PGUSER=agent', 'python3', 'examples/docker-agent/agent.py', '--once', '--organization', 'acme', '--docker', 'test/docker-agent/docker' ], "round $number");
	flush_ok($node, 'fleet');
	return $node->safe_psql('fleet', q{SELECT string_agg(rule_name || ' ' || container_name, ', ' ORDER BY rule_name, container_name) FROM alerting.active_alert});
}

is(look(0), '', 'all is well');
is($node->safe_psql('fleet', q{SELECT c.name, cpu_percent, memory_used, memory_limit, running, restart_count FROM container_metrics m JOIN containers c ON c.id = m.container_id ORDER BY 1}),
	"db|3.1|536870912|1073741824|t|0\nweb|0.07|12897485|2087354106|t|0", 'the figures, in bytes and percent');
is(look(1), 'CPU above 90 % web, Memory above 90 % db', 'busy');
is(look(2), 'Down db, Memory above 90 % db', 'a container is down; its memory says nothing more');
is(look(3), 'Restarts db', 'it runs again after five restarts');
is($node->safe_psql('fleet', q{SELECT name FROM containers ORDER BY 1}), "db\nweb-2", 'a container was renamed');
is($node->safe_psql('fleet', q{SELECT count(*) FROM container_metrics WHERE cpu_percent IS NULL AND memory_used IS NULL}), 2, 'what docker does not know is NULL');
is(look(4), 'Restarts db', 'no container any more: silence, no error');
command_fails([ 'env', 'PGHOST=/nowhere', "FAKE_DOCKER_ROUND=$folder/none", 'python3', 'examples/docker-agent/agent.py', '--once', '--organization', 'acme', '--docker', 'test/docker-agent/docker' ],
	'docker fails: said by the exit code');

$node->stop;
done_testing();

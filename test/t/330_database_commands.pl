# Commands that need a database free of sessions (DROP DATABASE and its relatives), given by sessions
# that have not loaded the library: the workers leave, and come back where the database stays.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use DeliveryTest 'preloaded';
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('database_commands');

sub workers_run
{
	my ($database) = @_;
	return $node->poll_query_until('postgres', "SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = '$database'
		AND backend_type IN ('alerting evaluator', 'alerting sender')");
}

# Every statement comes from a new session of database postgres, which has no use for the library.
sub command
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	my $code = $node->psql('postgres', $sql, stdout => \$out, stderr => \$err);
	is("$code $err", '0 ', $sql);
	return;
}

fixture($node, 'host');
ok(workers_run('host'), 'the workers run');

command('CREATE DATABASE copy TEMPLATE host');
ok(workers_run('host'), 'after CREATE DATABASE ... TEMPLATE they run again');

command('ALTER DATABASE host RENAME TO renamed');
my $rule = rule($node, 'renamed', 1, 'CPU_USAGE', 80, 0);
$node->safe_psql('renamed', sample(10, '10:00', cpu => 90));
is(alerts($node, 'renamed'), 'CPU_USAGE 10 FIRING 10:00:00 10:00:00', 'after RENAME rules are judged');
ok(workers_run('renamed'), 'after RENAME they run again');

command('DROP DATABASE renamed');
command('DROP DATABASE copy');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'evaluator|sender'"), '0',
	'no worker is left');

$node->stop;

# A session whose library is another version's than that which the server has made its shared memory for.
my $folder = PostgreSQL::Test::Utils::tempdir();
{
	local $ENV{LD_PRELOAD} = preloaded('other_memory', $folder);
	$node->start;
}
command("LOAD 'alerting'; CREATE DATABASE one");
command("LOAD 'alerting'; CREATE DATABASE other TEMPLATE one");
command("LOAD 'alerting'; ALTER DATABASE one RENAME TO another");
command("LOAD 'alerting'; DROP DATABASE another; DROP DATABASE other");

$node->stop;
done_testing();

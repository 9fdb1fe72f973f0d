# Memory that this machine does not have, at one moment or another of a worker's or a session's life: no
# process crashes, no insert fails, and no alert and no webhook is lost.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest ();
use DeliveryTest 'preloaded';
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = PostgreSQL::Test::Utils::tempdir();
my $want = "$folder/want";
my $node;
{
	local $ENV{LD_PRELOAD} = preloaded('no_memory', $folder);
	local $ENV{NO_MEMORY} = $want;
	$node = new_server('memory', preload => 1, conf => "alerting.allowed_networks = '127.0.0.0/8'\nlog_statement = none\n");
}
my $receiver = AlertingTest::start_receiver('memory');
make_host($node, 'postgres');
sql($node, 'postgres', "SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('loop', 1, 'RESTART_LOOP', 1, 5);"
	  . " INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('w', 1, '@{[ $receiver->url ]}')");
flush($node, 'postgres', deliveries => 1);

# New containers, which fire, resolve, and fire again.
my $first = 1001;
my $next = $first;
sub add_containers
{
	my ($from, $to) = ($next, $next + 39);
	$next += 40;
	return statement_ok($node, 'postgres', <<"SQL", "containers up to $to");
SET client_min_messages = error;
INSERT INTO containers SELECT n, 1, 'c' || n FROM generate_series($from, $to) n;
INSERT INTO container_metrics SELECT n, at(1), 95, 5, true, 0 FROM generate_series($from, $to) n;
INSERT INTO container_metrics SELECT n, at(2), 5, 5, true, 2 FROM generate_series($from, $to) n;
SQL
}

# The number-th time that such a process wants memory it gets none. True: it came to that.
sub deny
{
	my ($kind, $number) = @_;
	append_to_file("$want.new", "$kind $number\n");
	rename "$want.new", $want or die;
	add_containers();
	$node->poll_query_until('postgres', "SELECT pg_stat_file('$want', true) IS NULL OR alerting.flush('100ms', true)") or die;
	my $denied = !unlink $want;
	# A worker that ends as soon as it runs is given more time to start again, unless somebody asks.
	sql($node, 'postgres', 'SELECT alerting.start()');
	return $denied;
}

for my $kind (qw(evaluator sender session))
{
	my $offset = -s $node->logfile;
	my $denied = 0;
	$denied += deny($kind, $_) for 2, 3, 5, 11, 23, 47, 97, 151, 199, 293, 397, 499, 601, 797, 997;
	cmp_ok($denied, '>=', 3, "$kind: there was no memory");
	flush($node, 'postgres', deliveries => 1, name => "$kind: all is judged and sent");
	my $count = $next - $first;
	is(sql($node, 'postgres', 'SELECT rule_id, status, count(*), count(DISTINCT container_id) FROM alerting.alert GROUP BY 1, 2 ORDER BY 1'),
		"cpu|RESOLVED|$count|$count\nloop|FIRING|$count|$count", "$kind: the alerts are those of the rows");
	is(sql($node, 'postgres', 'SELECT status, count(*) FROM alerting.delivery GROUP BY 1'), 'DELIVERED|' . 3 * $count, "$kind: each is delivered");
	next if $kind eq 'session';
	# What it had in memory may be half done. (A request that got none ends by itself.)
	my $begun_anew = () = slurp_file($node->logfile, $offset) =~ /DETAIL:  The worker ends and is started again/g;
	cmp_ok($begun_anew, '>=', 3, "$kind: it begins anew");
}
$receiver->stop;
$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP/, 'nothing crashed');
done_testing();

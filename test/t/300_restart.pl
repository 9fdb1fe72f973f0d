# Restarts, clean and by a crash, with and without preloading: FIRING alerts are known, pending runs
# go on, the first insert is evaluated, nothing is announced twice.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use Test::More;

for my $preload (0, 1)
{
	my $how = $preload ? 'preloaded' : 'not preloaded';
	my $node = new_server("restart$preload", preload => $preload);
	make_host($node, 'postgres');
	sql($node, 'postgres', <<'SQL');
SELECT rule('cpu', 1, 'CPU_USAGE', 80, 30), rule('mem', 1, 'MEMORY_USAGE', 90, 0),
       rule('down', 1, 'CONTAINER_DOWN', NULL, 40), rule('loop', 1, 'RESTART_LOOP', 3, 45);
SELECT s(10, n, 95, 95, false, n::int / 5) FROM generate_series(0, 20) n;
SQL
	flush($node, 'postgres');
	my $firing = "loop 10 FIRING 20>20\nmem 10 FIRING 0>0";
	is(alerts($node, 'postgres'), $firing, "$how: two alerts fire before the restart");
	my $deliveries = sql($node, 'postgres', 'SELECT count(*) FROM alerting.delivery');

	for my $mode (qw(fast immediate))
	{
		$node->stop($mode);
		$node->start;
		if ($preload)
		{
			ok(wait_until(sub { worker_pid($node, 'evaluator', 'postgres') ne '' }),
				"$how, $mode: the evaluator is back by itself");
		}
		# The first insert, of another container, is evaluated.
		my $container = $mode eq 'fast' ? 11 : 12;
		sql($node, 'postgres', "SELECT s($container, 21, 5, 95)");
		flush($node, 'postgres', name => "$how, $mode: flushed after the restart");
		$firing .= "\nmem $container FIRING 21>21";
		is(alerts($node, 'postgres'), $firing, "$how, $mode: the first insert fires, nothing else");
	}

	sql($node, 'postgres', 'SELECT s(10, n, 95, 95, false, 4) FROM generate_series(21, 29) n');
	flush($node, 'postgres');
	is(alerts($node, 'postgres'), $firing, "$how: nothing new before the duration is over");
	sql($node, 'postgres', 'SELECT s(10, 30, 95, 95, false, 4)');
	flush($node, 'postgres');
	is(alerts($node, 'postgres', "rule_id = 'cpu'"), 'cpu 10 FIRING 0>30',
		"$how: the pending run went on over both restarts");

	# A crash right after commits: whatever was not evaluated yet is read from the table.
	sql($node, 'postgres', 'SELECT s(10, 31, 5, 5, false, 4); SELECT s(10, 41, 5, 5, true, 4)');
	$node->stop('immediate');
	$node->start;
	sql($node, 'postgres', 'SELECT s(11, 22, 5, 5)');
	flush($node, 'postgres');
	is(alerts($node, 'postgres', 'container_id = 10'),
		"cpu 10 RESOLVED 0>30>31 RECOVERED\n"
		  . "down 10 RESOLVED 0>40>41 RECOVERED\n"
		  . "loop 10 FIRING 20>20\n"
		  . "mem 10 RESOLVED 0>0>31 RECOVERED",
		"$how: rows committed just before the crash are judged, a passed deadline first");
	is(alerts($node, 'postgres', 'container_id = 11'), 'mem 11 RESOLVED 21>21>22 RECOVERED',
		"$how: and those after it");
	is(sql($node, 'postgres', 'SELECT count(*) FROM alerting.alert'), 6, "$how: no alert came twice");
	$node->stop('fast');
}

done_testing();

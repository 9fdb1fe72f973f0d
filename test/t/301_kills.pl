# Workers and backends that are killed: back within seconds, nothing lost, nothing doubled.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use Test::More;

my $minute = 0;

# A new incident on container 11: evaluated, with everything known before unchanged.
sub works
{
	my ($node, $what) = @_;
	$minute++;
	sql($node, 'postgres', "SELECT s(11, $minute, 95), s(11, $minute + 0.5, 5)");
	flush($node, 'postgres', name => "$what: flushed");
	is(alerts($node, 'postgres', 'container_id = 10'), 'cpu 10 FIRING 1>1', "$what: the old alert fires as before");
	is(sql($node, 'postgres', 'SELECT count(*) FROM alerting.alert WHERE container_id = 11'), $minute,
		"$what: the new one came once");
	return;
}

for my $preload (0, 1)
{
	my $how = $preload ? 'preloaded' : 'not preloaded';
	my $node = new_server("kills$preload", preload => $preload, conf => "restart_after_crash = on\n");
	make_host($node, 'postgres');
	sql($node, 'postgres', "SELECT rule('cpu', 1, 'CPU_USAGE', 80); SELECT s(10, 1, 95)");
	flush($node, 'postgres');
	wait_for_workers($node, 'postgres');
	$minute = 0;

	for my $kind (qw(evaluator sender launcher))
	{
		my $old = worker_pid($node, $kind, 'postgres');
		ok($old, "$how: a $kind runs");
		is(sql($node, 'postgres', "SELECT pg_terminate_backend($old, 5000)"), 't', "$how: the $kind is terminated");
		# Without any help: no insert, no call into the extension.
		ok(wait_until(sub { worker_pid($node, $kind, 'postgres') !~ /^($old|)$/ }), "$how: another $kind runs");
		works($node, "$how, $kind terminated");
	}

	# Killed all the time, it is started as often, without ever longer pauses.
	for (1 .. 4)
	{
		ok(wait_until(sub { worker_pid($node, 'evaluator', 'postgres') ne '' }), "$how: an evaluator runs");
		sql($node, 'postgres', 'SELECT pg_terminate_backend(' . worker_pid($node, 'evaluator', 'postgres') . ', 60000)');
	}
	works($node, "$how, evaluator terminated four times");

	# A signal takes all processes of the server down; it restarts by itself.
	for my $kind ($preload ? qw(sender launcher) : qw(evaluator backend))
	{
		wait_for_workers($node, 'postgres');
		my $session = $node->background_psql('postgres');
		my $pid = $kind eq 'backend' ? $session->query('SELECT pg_backend_pid()') : worker_pid($node, $kind, 'postgres');
		$minute++;
		# Committed, perhaps not evaluated yet.
		sql($node, 'postgres', "SELECT s(11, $minute, 95), s(11, $minute + 0.5, 5)");
		my $offset = -s $node->logfile;
		kill 'KILL', $pid;
		$node->wait_for_log(qr/database system is ready to accept connections/, $offset);
		eval { $session->quit };
		if ($preload)
		{
			ok(wait_until(sub { eval { worker_pid($node, 'evaluator', 'postgres') } // '' ne '' }),
				"$how, $kind killed: the evaluator is back by itself");
		}
		works($node, "$how, $kind killed");
	}
	is(sql($node, 'postgres', 'SELECT count(*) FROM alerting.alert'), $minute + 1, "$how: no alert came twice");
	$node->stop('fast');
}

done_testing();

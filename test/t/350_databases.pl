# Commands about whole databases: DROP, TEMPLATE, RENAME, SET TABLESPACE, plain and WITH (FORCE), with
# and without preloading.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

# An installed database whose workers run, with one FIRING alert.
sub make_database
{
	my ($node, $database) = @_;
	sql($node, 'postgres', "CREATE DATABASE $database");
	make_host($node, $database);
	sql($node, $database, "SELECT rule('cpu', 1, 'CPU_USAGE', 80); SELECT s(10, 1, 95)");
	flush($node, $database);
	wait_for_workers($node, $database);
	return;
}

sub succeeds
{
	my ($node, $sql, $name) = @_;
	my ($result, undef, $error) = $node->psql('postgres', $sql);
	is($result, 0, $name) or diag($error);
	return;
}

for my $preload (1, 0)
{
	my $how = $preload ? 'preloaded' : 'not preloaded';
	my $node = new_server("databases$preload", preload => $preload);
	make_database($node, 'a');
	mkdir my $tablespace = PostgreSQL::Test::Utils::tempdir_short() . '/space';
	sql($node, 'postgres', "CREATE TABLESPACE space LOCATION '$tablespace'");

	succeeds($node, 'CREATE DATABASE b TEMPLATE a', "$how: TEMPLATE");
	flush($node, 'a', name => "$how: the template is evaluated again");

	# The copy evaluates, but holds its deliveries.
	sql($node, 'b', "INSERT INTO alerting.webhook (organization_id, url) VALUES (1, 'https://example.invalid')");
	sql($node, 'b', 'SELECT s(10, 2, 5), s(11, 2, 95)');
	flush($node, 'b', name => "$how: the copy is evaluated");
	is(alerts($node, 'b'), "cpu 10 RESOLVED 1>1>2 RECOVERED\ncpu 11 FIRING 2>2", "$how: from where the original was");
	ok($node->poll_query_until('b', "SELECT state = 'deliveries held' AND held FROM alerting.status()"),
		"$how: and holds its deliveries");
	ok(wait_until(sub { slurp_file($node->logfile) =~ /WARNING:.*webhooks are held/ }), "$how: loudly");

	succeeds($node, 'ALTER DATABASE b RENAME TO c', "$how: RENAME");
	succeeds($node, 'ALTER DATABASE c SET TABLESPACE space', "$how: SET TABLESPACE");
	sql($node, 'c', 'SELECT s(11, 3, 5)');
	flush($node, 'c', name => "$how: evaluated after both");
	is(alerts($node, 'c', 'container_id = 11'), 'cpu 11 RESOLVED 2>2>3 RECOVERED', "$how: as before");

	# A database may be marked as a template only to protect it from DROP DATABASE.
	succeeds($node, 'ALTER DATABASE c IS_TEMPLATE true', "$how: IS_TEMPLATE");
	sql($node, 'c', "SELECT s(11, 4, 95), pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = 'c' AND backend_type = 'alerting evaluator'");
	flush($node, 'c', name => "$how: a database that is a template is evaluated");
	isnt(worker_pid($node, 'sender', 'c'), '', "$how: and has its sender");
	is(alerts($node, 'c', 'container_id = 11 AND resolved_at IS NULL'), 'cpu 11 FIRING 4>4', "$how: the template's alert");
	succeeds($node, 'CREATE DATABASE d TEMPLATE c', "$how: a database like that");
	succeeds($node, 'DROP DATABASE d', "$how: which goes again");
	succeeds($node, 'ALTER DATABASE c IS_TEMPLATE false', "$how: IS_TEMPLATE false");

	# A command that fails gives the database its workers back.
	my $session = $node->background_psql('a');
	if ($preload)
	{
		isnt($node->psql('postgres', 'DROP DATABASE a'), 0, "$how: DROP DATABASE with a session open is refused");
		$session->query_safe("SELECT 1");
		sql($node, 'a', 'SELECT s(11, 2, 95)');
		flush($node, 'a', name => "$how: the workers are back");

		# Its session is terminated in the middle.
		my $dropper = $node->background_psql('postgres', on_error_stop => 0, on_error_die => 0);
		my $pid = $dropper->query('SELECT pg_backend_pid()');
		$dropper->{stdin} .= "DROP DATABASE a;\n";
		$dropper->{run}->pump_nb;
		ok($node->poll_query_until('template1', "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $pid AND query LIKE 'DROP%' AND state = 'active'"),
			"$how: a DROP DATABASE waits");
		sql($node, 'template1', "SELECT pg_terminate_backend($pid, 60000)");
		sql($node, 'a', 'SELECT s(11, 3, 5)');
		flush($node, 'a', name => "$how: the workers are back after it was terminated");
		ok(wait_until(sub { worker_pid($node, 'sender', 'a') ne '' }), "$how: both");
		eval { $dropper->quit };
	}
	$session->quit;

	# Unrelated databases are not held up.
	sql($node, 'postgres', 'CREATE DATABASE unrelated');
	succeeds($node, 'DROP DATABASE unrelated', "$how: DROP DATABASE of an unrelated database");
	is(sql($node, 'a', 'SELECT state FROM alerting.status()'), 'running', "$how: disturbs nobody");

	# Closed for a while, in which the launcher looks: the workers come back without being asked for.
	succeeds($node, 'ALTER DATABASE a ALLOW_CONNECTIONS false', "$how: ALLOW_CONNECTIONS false");
	sql($node, 'postgres', "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = 'a'");
	make_database($node, 'meanwhile');
	is(sql($node, 'postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = 'a'"), 0, "$how: no workers are there");
	succeeds($node, 'ALTER DATABASE a ALLOW_CONNECTIONS true', "$how: ALLOW_CONNECTIONS true");
	ok(wait_until(sub { worker_pid($node, 'evaluator', 'a') ne '' && worker_pid($node, 'sender', 'a') ne '' }), "$how: they are back");
	succeeds($node, 'DROP DATABASE meanwhile', "$how: the other one goes");

	succeeds($node, 'DROP DATABASE c', "$how: DROP DATABASE");
	succeeds($node, 'DROP DATABASE a WITH (FORCE)', "$how: DROP DATABASE WITH (FORCE)");

	# A slot of shared memory is free again: more than there are.
	if ($preload)
	{
		for my $round (1 .. 3)
		{
			make_database($node, "round$round");
			sql($node, "round$round", 'SELECT alerting.stop()');
			succeeds($node, "DROP DATABASE round$round", "$how: round $round");
		}

		# What an interrupted DROP DATABASE leaves cannot be connected to, and is not asked.
		sql($node, 'postgres', "CREATE DATABASE broken; UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'");
		make_database($node, "whole$_") for 1 .. 3;
		$node->restart;
		for my $database (map { "whole$_" } 1 .. 3)
		{
			ok(wait_until(sub { worker_pid($node, 'sender', $database) ne '' }), "$how: $database gets its workers");
		}
		unlike(slurp_file($node->logfile), qr/cannot connect to invalid database/, "$how: an invalid database is left alone");
		succeeds($node, 'DROP DATABASE broken', "$how: and can be dropped");
	}
	my $log = slurp_file($node->logfile);
	my @fatal = $log =~ /FATAL:.*database "?\w+"? does not exist/g;
	cmp_ok(scalar @fatal, '<=', 4, "$how: no error loop in the log");
	$node->stop('fast');
}

done_testing();

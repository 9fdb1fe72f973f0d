# What takes long: a transaction that attaches tables, while which the launcher finds nothing to run and leaves; and a
# flush() whose timeout lies further than times go.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use Test::More;

for my $preload (0, 1)
{
	my $how = $preload ? 'preloaded' : 'not preloaded';
	my $node = new_server("long$preload", preload => $preload);
	make_host($node, 'postgres', extension => 0);
	my $session = $node->background_psql('postgres');
	$session->query_safe('SET client_min_messages = error; BEGIN; CREATE EXTENSION alerting');
	ok(wait_until(sub { worker_pid($node, 'launcher') ne '' }), "$how: a launcher looks");
	ok(wait_until(sub { worker_pid($node, 'launcher') eq '' }), "$how: and leaves");
	$session->query_safe('COMMIT');
	ok(wait_until(sub { worker_pid($node, 'evaluator', 'postgres') ne '' && worker_pid($node, 'sender', 'postgres') ne '' }),
		"$how: the workers start when the transaction commits");
	$session->quit;
	$node->stop('fast');
}

# A wait without an end, or with one that lies further than times go.
my $node = new_server('timeouts');
make_host($node, 'postgres');
is(sql($node, 'postgres', "SELECT alerting.flush('10000000 years')"), 't', 'flush() with a timeout of ten million years');
is(sql($node, 'postgres', "SELECT alerting.flush('-10000000 years')"), 'f', 'or of as many before');
is(sql($node, 'postgres', "SELECT alerting.flush('infinity')"), 't', 'or infinite') if sql($node, 'postgres', 'SHOW server_version_num') >= 170000;
$node->stop('fast');
done_testing();

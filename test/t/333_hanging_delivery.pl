# Webhook requests that hang hold up nothing, be it one or so many that a thread drives them: DROP DATABASE, DROP EXTENSION, a smart and a fast stop.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest ();
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $receiver = AlertingTest::start_receiver('hanging');
my $node = new_server('hanging', preload => 1,
	conf => "log_statement = none\nalerting.allowed_networks = '127.0.0.0/8'\nalerting.delivery_timeout = '10min'\n");

# A database whose sender has requests under way that are never answered: one, and `more`.
sub make_hanging
{
	my ($database, $more) = @_;
	sql($node, 'postgres', "CREATE DATABASE $database");
	make_host($node, $database);
	sql($node, $database, "SELECT rule('cpu', 1, 'CPU_USAGE', 80);"
		  . " INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('w', 1, '" . $receiver->url("/hang/$database") . "');"
		  . " INSERT INTO alerting.webhook (id, organization_id, url) SELECT 'w' || i, 1, '" . $receiver->url("/hang/more/$database/") . "' || i FROM generate_series(1, $more) i;"
		  . ' SELECT s(10, 1, 95)');
	my @threads;
	ok(wait_until(sub { @threads = glob('/proc/' . worker_pid($node, 'sender', $database) . '/task/*'); @threads == ($more ? 2 : 1) }),
		"$database: its sender has " . ($more ? 'two threads' : 'one thread'));
	ok(wait_until(sub { grep { $_->{path} eq "/hang/$database" } $receiver->requests }), "$database: a request is under way");
	return;
}

make_hanging('a', 0);
make_hanging($_, 32) for qw(b c d);
my $offset = -s $node->logfile;
for my $statement ('DROP DATABASE a', 'DROP DATABASE b WITH (FORCE)')
{
	my ($result, undef, $error) = $node->psql('postgres', $statement, on_error_stop => 1);
	is($result, 0, $statement) or diag($error);
}
sql($node, 'c', 'DROP EXTENSION alerting CASCADE');
ok(wait_until(sub { worker_pid($node, 'sender', 'c') eq '' && worker_pid($node, 'evaluator', 'c') eq '' }), 'its workers leave');
is(sql($node, 'c', 'SELECT DISTINCT status, attempts FROM alerting.delivery'), 'PENDING|0', 'the deliveries stay');
sql($node, 'd', 'SELECT s(11, 1, 95)');
flush($node, 'd', name => 'the others go on');

my %workers = map { $_ => worker_pid($node, $_, 'd') } qw(evaluator sender launcher);
for my $mode (qw(smart fast))
{
	$node->stop($mode);
	pass("$mode stop");    # pg_ctl would wait a minute, then fail
	ok(!(grep { -e "/proc/$_" } values %workers), "$mode stop: the workers are gone");
	my $requests = scalar(grep { $_->{path} eq '/hang/d' } $receiver->requests);
	$node->start;
	ok(wait_until(sub { (grep { $_->{path} eq '/hang/d' } $receiver->requests) > $requests }), "$mode stop: what was under way is sent again after it");
	%workers = map { $_ => worker_pid($node, $_, 'd') } keys %workers;
}
my @ids = map { map { $_->[1] } grep { lc $_->[0] eq 'webhook-id' } @{ $_->{headers} } } grep { $_->{path} eq '/hang/d' } $receiver->requests;
is(scalar(keys %{ { map { $_ => 1 } @ids } }), 1, 'under one id');
$node->stop('immediate');
is(join("\n", grep { /\b(?:ERROR|PANIC|WARNING):/ } split /\n/, slurp_file($node->logfile, $offset)), '', 'nothing to complain of in the log');
done_testing();

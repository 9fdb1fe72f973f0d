# Six databases as six kinds of applications make them, replayed in their own insert order, raise
# exactly the alerts that their headers list: live, across restarts, read back from the tables, and
# with a queue that is too small.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = 'test/hosts';
my @hosts = map { s{.*/}{}r =~ s/\.attach\.sql$//r } sort glob "$folder/*.attach.sql";
is(scalar @hosts, 6, 'six hosts');

my %expected;
for (split /\n/, slurp_file("$folder/EXPECTED.tsv"))
{
	my ($host, $rule, undef, undef, undef, undef, $container, undef, $status, @times) = split /\t/;
	next if $host eq 'host';
	push @{ $expected{$host} }, join "\t", $rule, $container, $status, map { $_ // '' } @times[ 0 .. 2 ];
}

# An alert goes with its container: this one's is deleted while it fires.
my $deleted = 'c0ffee00-0000-4000-8000-000000000101';

# What the application sends, in its order, one transaction a piece.
sub pieces
{
	my ($node, $database, $host) = @_;
	my $script = slurp_file("$folder/$host.sql");
	return $script =~ /^(COPY .*?^\\\.\n)/msg if $script =~ /^COPY/m;
	# The script makes its statements and runs them; here they are only made.
	$script =~ s/\\gexec/\\g/ or die "$host.sql makes no statements";
	my $file = "$PostgreSQL::Test::Utils::tmp_check/$host.statements.sql";
	append_to_file($file, $script) unless -e $file;
	my $out = run_psql($node, $database, '-At', '-v', 'part=data', '-f', $file);
	return map { "$_;\n" } split /\n/, $out;
}

sub run_psql
{
	my ($node, $database, @arguments) = @_;
	my ($out, $err);
	IPC::Run::run([ $node->installed_command('psql'), '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), @arguments ],
		'>', \$out, '2>', \$err) or die "psql failed for $database: $err";
	return $out;
}

# Creates the host's database, attached.
sub make
{
	my ($node, $database, $host) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	run_psql($node, $database, '-v', 'part=schema', '-f', "$folder/$host.sql");
	run_psql($node, $database, '-c', 'SET client_min_messages = warning', '-c', 'CREATE EXTENSION alerting',
		'-f', "$folder/$host.attach.sql");
	return;
}

# A laravel application's sessions are in Berlin; nobody else's zone may matter either.
sub send_pieces
{
	my ($node, $database, @pieces) = @_;
	$node->safe_psql($database, join '', "SET timezone = 'Europe/Berlin';\n", @pieces);
	return;
}

sub check
{
	my ($node, $database, $host, $case, %options) = @_;
	flush_ok($node, $database);
	my $got = $node->safe_psql($database, q{
		SELECT concat_ws(E'\t', r.name, a.container_id, a.status, t.started, t.fired, coalesce(t.resolved, ''))
		  FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id,
		       LATERAL (SELECT to_char(a.started_at, f) AS started, to_char(a.fired_at, f) AS fired, to_char(a.resolved_at, f) AS resolved
		                  FROM (VALUES ('YYYY-MM-DD"T"HH24:MI:SSZ')) v(f)) t
		 ORDER BY r.name, a.started_at, a.container_id});
	my $want = join "\n", grep { !/\t$deleted\t/ } @{ $expected{$host} };
	is($got, $want, "$host: $case");
	return;
}

my $node = new_node('hosts');

for my $host (@hosts)
{
	make($node, $host, $host);
	my @pieces = pieces($node, $host, $host);
	if ($host eq 'prisma_dashboard')
	{
		# Its alert shall have been told of before the container is deleted.
		my ($here) = grep { $pieces[$_] =~ /DELETE FROM "Container"/ } 0 .. $#pieces;
		$node->safe_psql($host, sprintf q{INSERT INTO alerting.webhook (organization_id, url) SELECT id, '%s' FROM "Organization"}, nobody());
		send_pieces($node, $host, splice @pieces, 0, $here);
		flush_ok($node, $host);
	}
	send_pieces($node, $host, @pieces);
	check($node, $host, $host, 'live');
}
is($node->safe_psql('prisma_dashboard', qq{
	SELECT string_agg(concat_ws(' ', event, payload #>> '{data,container,name}', payload #>> '{data,alert,resolveReason}'), ', ' ORDER BY seq)
	  FROM alerting.delivery WHERE payload #>> '{data,container,id}' = '$deleted'}),
	'alert.firing queue, alert.resolved queue CONTAINER_DELETED', 'the deleted container: one beginning, one end');
is($node->safe_psql('prisma_dashboard', q{
	SELECT count(*) FILTER (WHERE event = 'alert.firing'), count(*) FILTER (WHERE event = 'alert.resolved') FROM alerting.delivery}),
	'6|4', 'one event for each beginning and each end');

# What is read back from the tables is in order of time, and each row in its last form.
for my $host (grep { $_ ne 'prisma_dashboard' } @hosts)
{
	make($node, "stopped_$host", $host);
	flush_ok($node, "stopped_$host");
	$node->safe_psql("stopped_$host", 'SELECT alerting.stop()');
	send_pieces($node, "stopped_$host", pieces($node, $host, $host));
	is($node->safe_psql("stopped_$host", 'SELECT count(*) FROM alerting.alert'), 0, "$host: nothing happens while stopped");
	$node->safe_psql("stopped_$host", 'SELECT alerting.start()');
	check($node, "stopped_$host", $host, 'read back after stop and start');
}

# The server goes away in the middle, twice: in order, and by a crash.
my %rest;
for my $host (qw(django_monitor laravel_panel sqlc_platform timescale_narrow))
{
	make($node, "restarted_$host", $host);
	my @pieces = pieces($node, $host, $host);
	my $third = int(@pieces / 3);
	send_pieces($node, "restarted_$host", splice @pieces, 0, $third);
	flush_ok($node, "restarted_$host") if $host =~ /django|sqlc/;
	$rest{$host} = [ [ splice @pieces, 0, $third ], \@pieces ];
}
$node->restart;
send_pieces($node, "restarted_$_", @{ $rest{$_}[0] }) for sort keys %rest;
flush_ok($node, 'restarted_sqlc_platform');
$node->stop('immediate');
$node->start;
for my $host (sort keys %rest)
{
	send_pieces($node, "restarted_$host", @{ $rest{$host}[1] });
	check($node, "restarted_$host", $host, 'over a restart and a crash');
}
check($node, $_, $_, 'unchanged by restarts') for @hosts;

# A queue that is full: what has no room is read from the tables.
$node->append_conf('postgresql.conf', "alerting.queue_size = '64kB'");
$node->restart;
for my $host (grep { $_ ne 'prisma_dashboard' } @hosts)
{
	my $database = "tiny_$host";
	make($node, $database, $host);
	# Rows that mean nothing fill the queue of an evaluator that is held.
	my $key = $node->safe_psql($database, q{SELECT CASE container_key_kind WHEN 'uuid' THEN 'uuid' ELSE 'bigint' END FROM alerting.host_binding});
	my $value = $key eq 'uuid' ? 'gen_random_uuid()' : '-g';
	$node->safe_psql($database, qq{
		SET client_min_messages = warning;
		CREATE TABLE filler (container $key, at timestamptz, cpu float8);
		SELECT alerting.attach_metrics('filler', container => 'container', at => 'at', cpu => 'cpu', max_age => NULL)});
	flush_ok($node, $database);
	my $pid = $node->safe_psql($database, 'SELECT evaluator_pid FROM alerting.status()');
	kill STOP => $pid;
	send_pieces($node, $database,
		("INSERT INTO filler SELECT $value, '2026-01-01', 0 FROM generate_series(1, 500) g;\n") x 10,
		pieces($node, $host, $host));
	is($node->safe_psql($database, 'SELECT replay_pending FROM alerting.status()'), 't', "$host: the queue is full");
	kill CONT => $pid;
	check($node, $database, $host, 'with a full queue');
}

# Everything in one transaction: kept in memory, or, where that is too much, read from the tables.
for my $host (qw(django_monitor laravel_panel rails_jsonb timescale_narrow))
{
	make($node, "once_$host", $host);
	my @pieces = grep { !/^BEGIN/ } pieces($node, $host, $host);
	send_pieces($node, "once_$host", "BEGIN;\n", @pieces, "COMMIT;\n");
	check($node, "once_$host", $host, 'in one transaction');
}

clean_log_ok($node);
$node->stop;
done_testing();

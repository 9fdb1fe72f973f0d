# Under a steady load of inserts, workers, backends and the server itself are killed at random
# moments. Afterwards the alerts are exactly those of the committed rows, each transition has one
# delivery, and the receiver saw each delivery at least once under one id.
#
# ALERTING_CRASH_SECONDS=600 makes a soak of it; ALERTING_CRASH_SEED repeats the choice of kills.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest ();
use OperationsTest;
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $seconds = $ENV{ALERTING_CRASH_SECONDS} // 16;
my $seed = $ENV{ALERTING_CRASH_SEED} // int(rand(1_000_000_000));
srand $seed;
note "ALERTING_CRASH_SEED=$seed";

my $containers = 12 * $seconds;    # a quarter is one client's
my $clients = 4;
my $receiver = AlertingTest::start_receiver('crashes');
my $preload = int rand 2;
my $node = new_server('crashes', preload => $preload,
	conf => "restart_after_crash = on\nalerting.allowed_networks = '127.0.0.0/8'\nlog_statement = none\n"
	  . "alerting.queue_size = " . (int(rand 3) == 0 ? '64kB' : '1MB') . "\n");
make_host($node, 'postgres');
# A container belongs to one client, which inserts its samples minute by minute. All deadlines lie on
# whole minutes of sample time, so that pauses of the load change nothing.
sql($node, 'postgres', <<"SQL");
CREATE INDEX ON container_metrics (container_id, at);
INSERT INTO containers SELECT n, 1, 'c' || n FROM generate_series(1000, 999 + $containers) n;
SELECT rule('cpu0', 1, 'CPU_USAGE', 80), rule('cpu3', 1, 'CPU_USAGE', 80, 3), rule('down', 1, 'CONTAINER_DOWN', NULL, 2),
       rule('loop', 1, 'RESTART_LOOP', 3, 10);
INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('w', 1, '@{[ $receiver->url ]}');
CREATE FUNCTION step(client int) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
  c int;
  last container_metrics;
BEGIN
  FOR n IN 1 .. 1 + floor(random() * 3) LOOP
    c := 1000 + client + $clients * floor(random() * $containers / $clients)::int;
    last := NULL;
    SELECT * INTO last FROM container_metrics WHERE container_id = c ORDER BY at DESC LIMIT 1;
    CONTINUE WHEN last.at >= at(47);
    BEGIN
      INSERT INTO container_metrics VALUES (c, coalesce(last.at + interval '1 minute', at(0)),
        CASE WHEN random() < 0.25 THEN 100 - coalesce(last.cpu_percent, 5) ELSE coalesce(last.cpu_percent, 5) END, 5,
        coalesce(last.running, true) <> (random() < 0.25),
        CASE WHEN random() < 0.03 THEN 0 ELSE coalesce(last.restart_count, 0) + CASE WHEN random() < 0.3 THEN 2 ELSE 0 END END);
      IF random() < 0.1 THEN
        RAISE EXCEPTION 'rolled back to the savepoint';
      END IF;
    EXCEPTION WHEN raise_exception THEN
    END;
  END LOOP;
END \$\$;
SQL
my $script = "$PostgreSQL::Test::Utils::tmp_check/step.sql";
append_to_file($script, <<'SQL');
\set ending random(1, 20)
BEGIN;
SELECT step(:client_id);
\if :ending = 1
ROLLBACK;
\else
COMMIT;
\endif
SQL

# The load: started again whenever a kill has ended it.
my $load;

sub keep_loading
{
	return if $load && waitpid($load, WNOHANG) == 0;
	$load = fork // die "cannot fork: $!";
	return if $load;
	open STDOUT, '>>', "$PostgreSQL::Test::Utils::tmp_check/load.log" or die;
	open STDERR, '>&', \*STDOUT or die;
	exec 'pgbench', '-n', '-c', $clients, '-j', '2', '-R', '250', '-T', '3600', '-f', $script, $node->connstr('postgres');
}

# Processes of the server by their title; asks no server, which may be down.
sub processes
{
	my ($title) = @_;
	my ($postmaster) = -e $node->data_dir . '/postmaster.pid' ? slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/ : return;
	my @found;
	for my $file (glob '/proc/[0-9]*/status')
	{
		my $status = eval { slurp_file($file) } // next;
		next unless $status =~ /^PPid:\s+$postmaster$/m;
		my ($pid) = $file =~ /(\d+)/;
		my $line = eval { slurp_file("/proc/$pid/cmdline") } // next;
		push @found, $pid if $line =~ /$title/;
	}
	return @found;
}

my %titles = (evaluator => qr/alerting evaluator/, sender => qr/alerting sender/, launcher => qr/alerting launcher/,
	backend => qr/postgres postgres \[local\] /);
my %kills;
my $end = time + $seconds;
my $last = '';
while (time < $end)
{
	keep_loading();
	usleep(20_000 + int rand 250_000);
	my $what = ('evaluator', 'sender', 'launcher', 'backend')[ int rand 4 ];
	my $dice = rand;
	if ($dice < 0.06)
	{
		# Between clean and unclean: nothing of ours may hold a shutdown up.
		my $mode = (qw(fast immediate))[ int rand 2 ];
		my $start = time;
		$node->stop($mode);
		ok(0, "$mode shutdown took " . (time - $start)) if time - $start > 10;
		$node->start;
		$kills{"server $mode"}++;
	}
	else
	{
		my $signal = $dice < 0.25 ? 'KILL' : 'TERM';
		my @pids = processes($titles{$what});
		next unless @pids;
		my $offset = -s $node->logfile;
		kill $signal, $pids[ rand @pids ] or next;
		$kills{"$what $signal"}++;
		$node->wait_for_log(qr/database system is ready to accept connections/, $offset) if $signal eq 'KILL';
	}
}
# Everybody ends with a good sample, so that nothing depends on when this test looks.
kill 'KILL', $load;
waitpid $load, 0;
ok(wait_until(sub { !processes($titles{backend}) }), 'the load has ended');
sql($node, 'postgres', <<"SQL");
INSERT INTO container_metrics SELECT n, (SELECT coalesce(max(at), at(0)) + interval '1 minute' FROM container_metrics WHERE container_id = n),
    5, 5, true, 0 FROM generate_series(1000, 999 + $containers) n;
SQL
note join ', ', map { "$_: $kills{$_}" } sort keys %kills;
flush($node, 'postgres', deliveries => 1, name => 'evaluated and delivered');

# What the rows mean, rule by rule, in minutes after t0; written down as plainly as possible.
sub pages
{
	my ($rows, $rule) = @_;
	my (@alerts, $since, $firing, $last, $previous, %gains);
	my $count = sub { my $sum = 0; $sum += $gains{$_} for grep { $_ > $_[0] - 10 && $_ <= $_[0] } keys %gains; return $sum; };
	for my $row (@$rows)
	{
		my ($at, $cpu, $running, $restarts) = @$row;
		my $bad = $rule =~ /cpu/ ? $cpu > 80 : $running eq 'f';
		if ($rule eq 'loop')
		{
			# A window's end before this sample.
			for my $time (($last // $at) + 1 .. $at - 1)
			{
				push @alerts, "$firing>$firing>$time" and undef $firing if defined $firing && $count->($time) <= 3;
			}
			$gains{$at} = $restarts >= $previous ? $restarts - $previous : $restarts if defined $previous;
			$previous = $restarts;
			$bad = $count->($at) > 3;
			if (defined $firing && !$bad) { push @alerts, "$firing>$firing>$at"; undef $firing; }
			$firing = $at if $bad && !defined $firing;
		}
		else
		{
			my $duration = { cpu0 => 0, cpu3 => 3, down => 2 }->{$rule};
			# DOWN fires by the clock before this sample; a gap starts a pending cpu run again.
			$firing = "$since>" . ($since + $duration) if $rule eq 'down' && defined $since && !defined $firing && $since + $duration < $at;
			$since = $at if $rule =~ /cpu/ && defined $since && !defined $firing && $at - $last > 5;
			$since //= $at if $bad;
			$firing = "$since>$at" if $bad && !defined $firing && $at - $since >= $duration;
			push @alerts, "$firing>$at" if !$bad && defined $firing;
			($since, $firing) = () if !$bad;
		}
		$last = $at;
	}
	push @alerts, $rule eq 'loop' ? "$firing>$firing" : $firing if defined $firing;
	return @alerts;
}

my %rows;
push @{ $rows{ $_->[0] } }, [ @$_[ 1 .. 4 ] ]
  for map { [ split /\|/ ] } split /\n/, sql($node, 'postgres',
	'SELECT container_id, minute(at), cpu_percent, running, restart_count FROM container_metrics ORDER BY container_id, at');
my @expected;
for my $container (sort keys %rows)
{
	for my $rule (qw(cpu0 cpu3 down loop))
	{
		push @expected, map { "$rule $container $_" } pages($rows{$container}, $rule);
	}
}
my @alerts = split /\n/, sql($node, 'postgres', <<'SQL');
SELECT concat_ws(' ', rule_id, container_id, concat_ws('>', minute(started_at), minute(fired_at), minute(resolved_at)))
  FROM alerting.alert ORDER BY container_id, rule_id, fired_at
SQL
cmp_ok(scalar @expected, '>', 50, 'there was something to find: ' . @expected . ' alerts in ' . scalar(map { @$_ } values %rows) . ' rows');
my %difference;
$difference{$_}++ for @expected;
$difference{$_}-- for @alerts;
my @wrong = map { ($difference{$_} > 0 ? 'missing ' : 'too much ') . $_ } grep { $difference{$_} } sort keys %difference;
is(join("\n", @wrong[ 0 .. ($#wrong < 20 ? $#wrong : 20) ]), '', 'the alerts are those of the committed rows');

is(sql($node, 'postgres', <<'SQL'), '', 'each transition has exactly one delivery');
SELECT * FROM (SELECT a.id, a.status, count(*) FILTER (WHERE d.event = 'alert.firing') AS firing,
    count(*) FILTER (WHERE d.event = 'alert.resolved') AS resolved
  FROM alerting.alert a LEFT JOIN alerting.delivery d ON d.alert_id = a.id GROUP BY a.id) x
 WHERE firing <> 1 OR resolved <> (status = 'RESOLVED')::int LIMIT 5
SQL
is(sql($node, 'postgres', "SELECT count(*) FROM alerting.delivery WHERE status <> 'DELIVERED'"), 0, 'all are delivered');
my (%seen, $order);
for my $request ($receiver->requests)
{
	my ($id) = map { $_->[1] } grep { lc $_->[0] eq 'webhook-id' } @{ $request->{headers} };
	$seen{$id}++;
	my $alert = $request->{json}{data}{alert}{id};
	$seen{"resolved $alert"}++ if $request->{json}{type} eq 'alert.resolved';
	$order .= "$alert " if $request->{json}{type} eq 'alert.firing' && !$seen{"firing $alert"}++ && $seen{"resolved $alert"};
}
my @missed = grep { !$seen{$_} } split /\n/, sql($node, 'postgres', 'SELECT id FROM alerting.delivery');
is("@missed", '', 'the receiver saw each delivery under its id');
is($order, undef, 'no RESOLVED came before its FIRING');

$node->stop('fast');
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|signal 11|signal 6|TRAP/, 'nothing crashed by itself');
done_testing();

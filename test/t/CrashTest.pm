# What the crash tests share: a server under a steady load of inserts by several clients, ways to
# kill its processes, and the comparison with what the committed rows mean.
#
# All deadlines lie on whole minutes of sample time, 50 minutes before the test, and a container's
# next sample comes long before the wall clock could pass one: pauses of the load change nothing.
package CrashTest;
use strict;
use warnings FATAL => 'all';
use AlertingTest ();
use OperationsTest;
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 4;
my $containers = 800;    # a quarter is one client's
my $last_minute = 47;

my $load = <<"SQL";
CREATE INDEX ON container_metrics (container_id, at);
INSERT INTO containers SELECT n, 1, 'c' || n FROM generate_series(1000, 999 + $containers) n;
SELECT rule('cpu0', 1, 'CPU_USAGE', 80), rule('cpu3', 1, 'CPU_USAGE', 80, 3), rule('down', 1, 'CONTAINER_DOWN', NULL, 2),
       rule('loop', 1, 'RESTART_LOOP', 3, 10);
-- The next minute of a few containers, one of them perhaps rolled back.
CREATE FUNCTION step(client int) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
  c int;
  last container_metrics;
BEGIN
  FOR n IN 1 .. 1 + floor(random() * 3) LOOP
    c := 1000 + client + $clients * floor(random() * $containers / $clients)::int;
    last := NULL;
    SELECT * INTO last FROM container_metrics WHERE container_id = c ORDER BY at DESC LIMIT 1;
    CONTINUE WHEN last.at >= at($last_minute);
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
-- A container that says all it ever says in one transaction, which is prepared. It ends well.
CREATE SEQUENCE stories START 10000;
CREATE FUNCTION story() RETURNS void LANGUAGE sql AS \$\$
  INSERT INTO containers VALUES (nextval('stories'), 1, 'story');
  INSERT INTO container_metrics SELECT currval('stories'), at(n), CASE WHEN n < 5 THEN 95 ELSE 5 END, 5, n > 4, n FROM generate_series(0, 5) n
\$\$;
SQL

my $step = <<'SQL';
\set ending random(1, 20)
BEGIN;
SELECT step(:client_id);
\if :ending = 1
ROLLBACK;
\else
COMMIT;
\endif
SQL

my $story = <<'SQL';
BEGIN;
SELECT story();
PREPARE TRANSACTION 'story :client_id';
\set ending random(1, 4)
\if :ending = 1
ROLLBACK PREPARED 'story :client_id';
\else
COMMIT PREPARED 'story :client_id';
\endif
SQL

my %titles = (
	evaluator => qr/alerting evaluator/,
	sender => qr/alerting sender/,
	launcher => qr/alerting launcher/,
	backend => qr/postgres postgres \[local\] /);

# Options: preload, queue (alerting.queue_size).
sub new
{
	my ($class, $name, %options) = @_;
	my $self = bless { receiver => AlertingTest::start_receiver($name), kills => {} }, $class;
	$self->{node} = new_server($name, preload => $options{preload},
		conf => "restart_after_crash = on\nmax_prepared_transactions = 10\nlog_statement = none\n"
		  . "alerting.allowed_networks = '127.0.0.0/8'\nalerting.queue_size = '$options{queue}'\n");
	# A slow machine comes to the first minutes late: no row is too old for it.
	make_host($self->{node}, 'postgres', attach => q{SELECT alerting.attach_metrics('container_metrics', max_age => '1 day')});
	sql($self->{node}, 'postgres', $load . "INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('w', 1, '"
		  . $self->{receiver}->url . "')");
	$self->{scripts} = [];
	for my $script ([ step => $step, 9 ], [ story => $story, 1 ])
	{
		my $file = "$PostgreSQL::Test::Utils::tmp_check/${name}_$script->[0].sql";
		unlink $file;
		append_to_file($file, $script->[1]);
		push @{ $self->{scripts} }, '-f', "$file\@$script->[2]";
	}
	return $self;
}

sub node { return $_[0]{node} }

# Starts the load, or starts it again after a kill has ended it.
sub keep_loading
{
	my ($self) = @_;
	return if $self->{load} && waitpid($self->{load}, WNOHANG) == 0;
	$self->decide_prepared;
	$self->{load} = fork // die "cannot fork: $!";
	return if $self->{load};
	open STDOUT, '>>', "$PostgreSQL::Test::Utils::tmp_check/load.log" or die;
	open STDERR, '>&', \*STDOUT or die;
	exec 'pgbench', '-n', '-c', $clients, '-j', '2', '-R', '150', '-T', '3600', @{ $self->{scripts} },
	  $self->{node}->connstr('postgres');
}

# What a kill has left between PREPARE and its decision.
sub decide_prepared
{
	my ($self) = @_;
	sql($self->{node}, 'postgres', "SELECT CASE WHEN random() < 0.5 THEN 'ROLLBACK' ELSE 'COMMIT' END || format(' PREPARED %L', gid)"
		  . " FROM pg_prepared_xacts \\gexec");
	return;
}

sub stop_load
{
	my ($self) = @_;
	kill 'KILL', $self->{load};
	waitpid $self->{load}, 0;
	$self->{load} = undef;
	return wait_until(sub { !$self->processes('backend') });
}

# Processes of the server by their title; asks no server, which may be down.
sub processes
{
	my ($self, $kind) = @_;
	my $file = $self->{node}->data_dir . '/postmaster.pid';
	my ($postmaster) = -e $file ? slurp_file($file) =~ /^(\d+)/ : return;
	my @found;
	for my $file (glob '/proc/[0-9]*/status')
	{
		my $status = eval { slurp_file($file) } // next;
		next unless $status =~ /^PPid:\s+$postmaster$/m;
		my ($pid) = $file =~ /(\d+)/;
		my $line = eval { slurp_file("/proc/$pid/cmdline") } // next;
		push @found, $pid if $line =~ $titles{$kind};
	}
	return @found;
}

# Sends a signal to a process of that kind, once there is one.
sub signal
{
	my ($self, $signal, $kind) = @_;
	wait_until(sub {
		$self->keep_loading;
		my @pids = $self->processes($kind) or return 0;
		return $self->kill_process($signal, $pids[ rand @pids ], $kind);
	}) or die "no $kind";
	return;
}

# The letter that stands for a process's state; '' when it is gone.
sub process_state
{
	my ($pid) = @_;
	my $status = eval { slurp_file("/proc/$pid/status") } // '';
	return $status =~ /^State:\s+(\S)/m ? $1 : '';
}

# A killed process takes all others down: waits until the server is there again. False: it had already left.
sub kill_process
{
	my ($self, $signal, $pid, $name) = @_;
	my $offset = -s $self->{node}->logfile;
	# Once it stands still it cannot leave by itself any more; what has left takes signals, without effect.
	kill 'STOP', $pid or return 0;
	wait_until(sub { process_state($pid) =~ /^[TZX]?$/ }) or die "process $pid does not stop";
	return 0 unless process_state($pid) eq 'T';
	kill $signal, $pid or return 0;
	kill 'CONT', $pid;
	$self->{kills}{"$name $signal"}++;
	$self->{node}->wait_for_log(qr/database system is ready to accept connections/, $offset) if $signal eq 'KILL';
	return 1;
}

# Ends the server and starts it again. Mode: fast, immediate, or kill (of the postmaster alone).
sub restart
{
	my ($self, $mode) = @_;
	my $node = $self->{node};
	$self->{kills}{"server $mode"}++;
	if ($mode eq 'kill')
	{
		$node->kill9;
		# Its children leave by themselves; until then the shared memory is in use. A start that fails
		# takes the old server's pid file for its own.
		wait_until(sub { $node->{_pid} = undef; $node->start(fail_ok => 1) }) or die 'the server does not start again';
		return;
	}
	$node->stop($mode);
	$node->start;
	return;
}

sub kills
{
	my ($self) = @_;
	return join ', ', map { "$_: $self->{kills}{$_}" } sort keys %{ $self->{kills} };
}

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

# Ends the load and compares: alerts with rows, deliveries with alerts, requests with deliveries.
sub check
{
	my ($self, $name) = @_;
	my ($node, $receiver) = @$self{qw(node receiver)};
	# A slow machine has had little done meanwhile.
	ok(wait_until(sub { $self->keep_loading; sql($node, 'postgres', 'SELECT count(*) FROM alerting.alert') > 100 }), "$name: there are alerts enough");
	ok($self->stop_load, "$name: the load has ended");
	$self->decide_prepared;
	note $self->kills;
	# Everybody ends with a good sample, so that nothing depends on when this test looks.
	sql($node, 'postgres', <<"SQL");
INSERT INTO container_metrics SELECT n, (SELECT coalesce(max(at), at(0)) + interval '1 minute' FROM container_metrics WHERE container_id = n),
    5, 5, true, 0 FROM generate_series(1000, 999 + $containers) n;
SQL
	flush($node, 'postgres', deliveries => 1, name => "$name: evaluated and delivered");

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
	cmp_ok(scalar @expected, '>', 50, "$name: there was something to find: " . @expected . ' alerts in ' . scalar(map { @$_ } values %rows) . ' rows');
	my %difference;
	$difference{$_}++ for @expected;
	$difference{$_}-- for @alerts;
	my @wrong = map { ($difference{$_} > 0 ? 'missing ' : 'too much ') . $_ } grep { $difference{$_} } sort keys %difference;
	is(join("\n", @wrong[ 0 .. ($#wrong < 20 ? $#wrong : 20) ]), '', "$name: the alerts are those of the committed rows");

	is(sql($node, 'postgres', <<'SQL'), '', "$name: each transition has exactly one delivery");
SELECT * FROM (SELECT a.id, a.status, count(*) FILTER (WHERE d.event = 'alert.firing') AS firing,
    count(*) FILTER (WHERE d.event = 'alert.resolved') AS resolved
  FROM alerting.alert a LEFT JOIN alerting.delivery d ON d.alert_id = a.id GROUP BY a.id) x
 WHERE firing <> 1 OR resolved <> (status = 'RESOLVED')::int LIMIT 5
SQL
	is(sql($node, 'postgres', "SELECT count(*) FROM alerting.delivery WHERE status <> 'DELIVERED'"), 0, "$name: all are delivered");
	# Before the requests are read, which takes a while: the clock may fire meanwhile.
	my @deliveries = split /\n/, sql($node, 'postgres', 'SELECT id FROM alerting.delivery');
	my (%seen, $order);
	for my $request ($receiver->requests)
	{
		my ($id) = map { $_->[1] } grep { lc $_->[0] eq 'webhook-id' } @{ $request->{headers} };
		$seen{$id}++;
		my $alert = $request->{json}{data}{alert}{id};
		$seen{"resolved $alert"}++ if $request->{json}{type} eq 'alert.resolved';
		$order .= "$alert " if $request->{json}{type} eq 'alert.firing' && !$seen{"firing $alert"}++ && $seen{"resolved $alert"};
	}
	my @missed = grep { !$seen{$_} } @deliveries;
	is("@missed", '', "$name: the receiver saw each delivery under its id");
	is($order, undef, "$name: no RESOLVED came before its FIRING");

	$node->stop('fast');
	unlike(slurp_file($node->logfile), qr/PANIC|signal 11|signal 6|TRAP/, "$name: nothing crashed by itself");
	$receiver->stop;
	return;
}

1;

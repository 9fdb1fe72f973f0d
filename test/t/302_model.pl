# Random scenes, with webhooks, over days of a shifted clock, through a server whose workers and
# processes are ended and killed again and again, while tables are attached and transactions lie prepared; in the end there are exactly the alerts and deliveries that
# a plain model of the rules (ModelTest.pm) makes of the same history.
#
#   ALERTING_MODEL_SEED=100 ALERTING_MODEL_SCENES=40 PROVE_TESTS=test/t/302_model.pl test/run tap
#
# Each database plays the scenes of a seed of its own, from ALERTING_MODEL_SEED on, all at the same time.
# A difference is shown with the scene's history; ALERTING_MODEL_ONLY=17 plays that scene alone.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest qw(clean_log_ok);
use ClockTest;
use IPC::Run ();
use ModelTest;
use OperationsTest;
use PostgreSQL::Test::Utils;
use ReceiverTest;
use SceneTest qw(chance described pick);
use Test::More;

my $seed = $ENV{ALERTING_MODEL_SEED} // 860;
my $scenes = $ENV{ALERTING_MODEL_SCENES} // 20;
my $databases = 3;
my $rounds = 13;
note "ALERTING_MODEL_SEED=$seed ALERTING_MODEL_SCENES=$scenes";

# How evaluation ends. unjudged: with rows that are committed and perhaps not judged; acts: changes
# and rows come while it stands still; later: it goes on days later; frozen: it is not ended before
# it goes on, so that what came meanwhile lies in the queue unseen; lost: and is lost there.
my @ends = (
	{ end => 'evaluator TERM', unjudged => 1 }, { end => 'evaluator KILL' }, { end => 'sender KILL', unjudged => 1 },
	{ end => 'server immediate', later => 1 }, { end => 'server immediate', unjudged => 1 }, { end => 'server fast', later => 1 },
	{ end => 'stop', acts => 1 }, { end => 'stop', acts => 1, later => 1 }, { end => 'frozen TERM', acts => 1 },
	{ end => 'frozen KILL', acts => 1, lost => 1 }, { end => 'frozen KILL', acts => 1, lost => 1, later => 1 });

# What happens to all scenes at once, [hour, what, how]: act, and it is judged; jump: the clock has
# gone on; end, by one of @ends; start.
sub steps
{
	srand $seed;
	my @order = map { $_->[0] } sort { $a->[1] <=> $b->[1] } map { [ $_, rand ] } @ends, ({}) x ($rounds - @ends);
	my $hour = 1;
	my @steps = [ $hour, 'act', first => 1 ];
	my $jump = sub { $hour += 24 * pick(1, 1, 2, 3, 3, 5, 8, 15, 30) + 1; return };
	for my $end (@order)
	{
		# Where a table is attached others' rows may be read from theirs, in order of time.
		push @steps, [ $hour, 'act', tables => chance(0.4) ? 1 : 0 ];
		$jump->();
		push @steps, [ $hour, 'jump' ];
		next if !%$end;
		push @steps, [ $hour, 'act', unjudged => 1 ] if $end->{unjudged};
		push @steps, [ $hour, 'end', end => $end->{end} ];
		push @steps, [ $hour, 'act', down => 1, lost => $end->{lost} // 0 ] if $end->{acts};
		$jump->() if $end->{later};
		push @steps, [ $hour, 'start', end => $end->{end} ];
	}
	return @steps;
}

my $clock = ClockTest->new;
my $t0 = 86400 * (1 + int(time / 86400));
my $receiver = start_receiver('model');
my $node = new_server('model', preload => 1, start => 0,
	conf => "restart_after_crash = on\nlog_statement = none\ncheckpoint_timeout = '1d'\nalerting.allowed_networks = '127.0.0.0/8'\n"
	  . "alerting.delivery_retention = -1\nmax_prepared_transactions = " . $databases * ($scenes + 1) . "\n");
sub set_clock { my ($hour) = @_; $clock->set($t0 + 3600 * $hour); return; }

# Runs SQL in all databases at the same time, [database, SQL].
sub everywhere
{
	my @runs = map { { name => $_->{name}, sql => $_->{sql}, out => '', err => '' } } @_;
	$_->{handle} = IPC::Run::start([ $node->installed_command('psql'), '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($_->{name}) ],
		'<', \$_->{sql}, '>', \$_->{out}, '2>', \$_->{err}) for @runs;
	for my $run (@runs)
	{
		$run->{handle}->finish or die "$run->{name}: $run->{err}";
		is($run->{out}, "t\n", "$run->{name}: flushed") if $run->{out} !~ /^(?:t\n)?\z/;
	}
	return;
}

my $flush = "SELECT alerting.flush('180s');\n";

sub attach_options
{
	my ($database, $source) = @_;
	return "max_age => '180 days', level => '$database->{level}', stale_after => '$database->{stale_after}{$source} hours'";
}

my @steps = steps();
my @databases = map { { seed => $_, name => "seed$_" } } $seed .. $seed + $databases - 1;
for my $database (@databases)
{
	srand $database->{seed};
	my $stale = pick(5, 7, 15, 30);
	$database->{stale_after} = { m1 => 24 * $stale, m2 => 24 * pick($stale, $stale, 9, 30) };
	$database->{level} = pick(qw(statement row));
	$database->{index} = pick('', 'CREATE INDEX ON m1 (container_id, at); CREATE INDEX ON m2 (container_id, at);');
	$database->{key_type} = pick(qw(int int uuid text citext));
	$database->{rows_stay} = chance(0.3);
	$database->{scenes} = [ map { SceneTest->new(number => $_, seed => $database->{seed}, steps => \@steps, url => $receiver->url, t0 => $t0, attach_options => attach_options($database, 'm1'),
			map { $_ => $database->{$_} } qw(key_type rows_stay)) }
		  grep { $_ == ($ENV{ALERTING_MODEL_ONLY} // $_) } 1 .. $scenes ];
}

sub make_host_sql
{
	my ($database) = @_;
	my ($m1, $m2) = map { attach_options($database, $_) } qw(m1 m2);
	my $reference = $database->{rows_stay} ? '' : 'REFERENCES containers ON DELETE CASCADE';
	my $key = $database->{key_type};
	return qq{
		SET client_min_messages = warning;
		@{[ $key eq 'citext' ? 'CREATE EXTENSION citext;' : '' ]}
		CREATE EXTENSION alerting;
		CREATE TABLE organizations (id int PRIMARY KEY, name text);
		CREATE TABLE containers (id $key PRIMARY KEY, organization_id int NOT NULL REFERENCES organizations ON DELETE CASCADE, name text);
		CREATE TABLE m1 (container_id $key $reference, at timestamptz, cpu float8, memory float8, used float8, lim float8,
			running bool, restarts int);
		CREATE TABLE m2 (container_id $key $reference, at timestamptz, cpu float8, running bool);
		$database->{index}
		CREATE FUNCTION hour(at timestamptz) RETURNS text STABLE LANGUAGE sql AS \$\$ SELECT round(extract(epoch FROM at - to_timestamp($t0)) / 3600)::text \$\$;
		CREATE FUNCTION number(key text) RETURNS text IMMUTABLE LANGUAGE sql AS \$\$ SELECT ltrim(substring(key FROM '\\d+\$'), '0') \$\$;
		SELECT FROM alerting.attach('organizations', 'containers');
		-- Restarts are kept for the longest window that there is.
		INSERT INTO organizations VALUES (0, 'o');
		INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold, duration) VALUES ('window', 0, 'x', 'RESTART_LOOP', 1000, @{[ 30 * 24 * 60 ]});
		SELECT FROM alerting.attach_metrics('m1', container => 'container_id', at => 'at', cpu => 'cpu', memory => 'memory', memory_used => 'used',
			memory_limit => 'lim', running => 'running', restarts => 'restarts', $m1);
		SELECT FROM alerting.attach_metrics('m2', container => 'container_id', at => 'at', cpu => 'cpu', memory => '', running => 'running', restarts => '', $m2);
		};
}

# Stops the evaluators where they wait, without a lock that others would wait for; gives their PIDs.
sub freeze
{
	my @pids;
	for my $name (map { $_->{name} } @databases)
	{
		wait_until(sub {
			my $pid = worker_pid($node, 'evaluator', $name) or return 0;
			kill STOP => $pid;
			$node->poll_query_until('postgres', "SELECT pg_read_file('/proc/$pid/stat') ~ '[)] T '");
			push @pids, $pid and return 1
			  if $node->safe_psql('postgres', "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $pid") eq 'Extension';
			kill CONT => $pid;
			return 0;
		}) or die "no evaluator of $name to stop";
	}
	return @pids;
}

# Ends the evaluators that stand still, before they see anything of what came.
sub end_frozen
{
	my ($signal, @pids) = @_;
	my $offset = -s $node->logfile;
	kill $signal => @pids;
	kill CONT => @pids;
	if ($signal eq 'KILL') { $node->wait_for_log(qr/database system is ready to accept connections/, $offset); }
	else { $node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_stat_activity WHERE pid IN (' . join(', ', @pids) . ')') or die 'not ended'; }
	return;
}

# Ends evaluation in all databases.
my @frozen;
sub end_evaluation
{
	my ($end) = @_;
	my ($kind, $how) = split / /, $end;
	if ($kind eq 'frozen') { @frozen = freeze(); }
	elsif ($kind eq 'stop')
	{
		everywhere(map { { name => $_->{name}, sql => 'SELECT FROM alerting.stop()' } } @databases);
		$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'alerting evaluator'}) or die 'not stopped';
	}
	elsif ($kind eq 'server') { $node->stop($how); }
	elsif ($how eq 'TERM') { sql($node, 'postgres', "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE backend_type = 'alerting $kind'"); }
	else
	{
		my $pid = '';
		wait_until(sub { $pid = worker_pid($node, $kind, $databases[0]{name}) }) or die "no $kind";
		my $offset = -s $node->logfile;
		kill KILL => $pid;
		$node->wait_for_log(qr/database system is ready to accept connections/, $offset);
	}
	return;
}

sub start_evaluation
{
	my ($end) = @_;
	$clock->under(sub { $node->start }) if $end =~ /server/;
	end_frozen($1, splice @frozen) if $end =~ /frozen (.*)/;
	everywhere(map { { name => $_->{name}, sql => 'SELECT FROM alerting.start()' } } @databases) if $end eq 'stop';
	for my $database (@databases)
	{
		$node->poll_query_until($database->{name}, q{SELECT state = 'running' AND evaluator_pid IS NOT NULL FROM alerting.status()}) or die 'does not run';
	}
	return;
}

set_clock($steps[0][0]);
$clock->under(sub { $node->start });
$node->safe_psql('postgres', "CREATE DATABASE $_->{name}") for @databases;
everywhere(map { { name => $_->{name}, sql => make_host_sql($_) . $flush } } @databases);
for my $step (0 .. $#steps)
{
	my ($hour, $what, %how) = @{ $steps[$step] };
	note "hour $hour: $what ", join ' ', map { "$_=$how{$_}" } sort keys %how;
	set_clock($hour) if $what eq 'jump' || $step && $steps[ $step - 1 ][0] != $hour;
	my $waits = $how{unjudged} || $how{down} ? '' : $flush;
	end_evaluation($how{end}) if $what eq 'end';
	start_evaluation($how{end}) if $what eq 'start';
	everywhere(map { my $database = $_; { name => $_->{name}, sql => join('', map { $_->{sql}[$step] // '' } @{ $database->{scenes} }) . $waits } } @databases)
	  if $what ne 'end';
}

# A scene's lines of all.
sub lines_of { my ($scene, @lines) = @_; return join '', map { "$_\n" } sort grep { /\br$scene->{number}_/ } @lines; }

# What no history can bring about.
my $odd = q{
	SELECT 'two open at once', rule_id, container_id::text FROM alerting.alert WHERE status = 'FIRING' GROUP BY rule_id, container_id HAVING count(*) > 1
	UNION ALL SELECT 'times', rule_id, container_id::text FROM alerting.alert WHERE NOT (started_at <= fired_at AND fired_at <= coalesce(resolved_at, fired_at))
	UNION ALL SELECT 'status', rule_id, container_id::text FROM alerting.alert WHERE (status = 'RESOLVED') <> (resolved_at IS NOT NULL) OR (status = 'RESOLVED') <> (resolve_reason IS NOT NULL)
	UNION ALL SELECT 'delivered twice', webhook_id, event FROM alerting.delivery GROUP BY webhook_id, event, payload #>> '{data,alert,id}' HAVING count(*) > 1
	UNION ALL SELECT 'an end without a beginning', r.webhook_id, r.event FROM alerting.delivery r WHERE event = 'alert.resolved' AND NOT EXISTS
		(SELECT FROM alerting.delivery f WHERE f.webhook_id = r.webhook_id AND f.event = 'alert.firing' AND f.payload #> '{data,alert,id}' = r.payload #> '{data,alert,id}')
	UNION ALL SELECT 'counts', s::text, '' FROM alerting.status() s WHERE late + backfill > samples OR replay_pending OR queue_bytes <> 0 OR problem IS NOT NULL OR skipped <> 0};

sub compare
{
	my ($database, $what, $method, $got) = @_;
	my @got = split /\n/, $node->safe_psql($database->{name}, $got);
	my ($count, @wrong) = (0);
	for my $scene (@{ $database->{scenes} })
	{
		my @expected = $scene->{model}->$method;
		$count += @expected;
		my ($have, $want) = map { lines_of($scene, @$_) } \@got, \@expected;
		next if $have eq $want;
		push @wrong, $scene->{number};
		diag("seed $database->{seed}, scene $scene->{number}: $what\n${have}expected\n$want") if @wrong <= 3;
		diag("stale after $database->{stale_after}{m1} and $database->{stale_after}{m2} hours\n" . described(@{ $scene->{history} })) if @wrong <= 3;
	}
	is(join(' ', @wrong), '', "seed $database->{seed}: $what, $count");
	return;
}

for my $database (@databases)
{
	flush($node, $database->{name}, deliveries => 1, name => "seed $database->{seed}: evaluated and delivered");
	$_->{model} = ModelTest->new(stale_after => { %{ $database->{stale_after} }, "s$_->{number}" => $database->{stale_after}{m1} }, max_age => 24 * 180)->play(@{ $_->{history} }) for @{ $database->{scenes} };
	compare($database, 'alerts', 'alert_lines', q{
		SELECT concat_ws(' ', rule_id, number(container_id::text), concat_ws('>', hour(started_at), hour(fired_at), coalesce(hour(resolved_at), '-')), coalesce(resolve_reason, '-'),
		         coalesce(round(value::numeric, 3)::text, '-')) FROM alerting.alert});
	compare($database, 'deliveries', 'delivery_lines', q{
		SELECT concat_ws(' ', webhook_id, split_part(event, '.', 2), d #>> '{rule,id}', number(d #>> '{container,id}'),
		         concat_ws('>', hour((a ->> 'startedAt')::timestamptz), hour((a ->> 'firedAt')::timestamptz),
		           CASE WHEN event = 'alert.firing' THEN NULL WHEN a ->> 'resolveReason' LIKE '%DELETED' THEN '-' ELSE hour((a ->> 'resolvedAt')::timestamptz) END),
		         CASE WHEN event = 'alert.resolved' THEN a ->> 'resolveReason' END)
		  FROM alerting.delivery, LATERAL (SELECT payload -> 'data', payload #> '{data,alert}') x(d, a)});
	is($node->safe_psql($database->{name}, q{SELECT count(*) FROM alerting.delivery r JOIN alerting.delivery f USING (webhook_id)
		 WHERE r.event = 'alert.resolved' AND f.event = 'alert.firing' AND f.payload #> '{data,alert,id}' = r.payload #> '{data,alert,id}' AND f.seq > r.seq}),
		0, "seed $database->{seed}: no end is told of before its beginning");
	is($node->safe_psql($database->{name}, q{SELECT count(*) FROM alerting.delivery d JOIN alerting.webhook w ON w.id = d.webhook_id
		 WHERE w.is_active AND d.status <> 'DELIVERED'}), 0, "seed $database->{seed}: all is delivered");
	is($node->safe_psql($database->{name}, $odd), '', "seed $database->{seed}: nothing that cannot be");
	my @delivered = split /\n/, $node->safe_psql($database->{name}, q{SELECT id FROM alerting.delivery WHERE status = 'DELIVERED'});
	my %received = map { map { $_->[1] => 1 } grep { lc $_->[0] eq 'webhook-id' } @{ $_->{headers} } } $receiver->requests;
	is(join(' ', grep { !$received{$_} } @delivered), '', "seed $database->{seed}: and was received");
}

clean_log_ok($node, qr/was terminated by signal 9/);
$receiver->stop;
$node->stop('fast');
done_testing();

# Random streams through SQL, compared with the oracle (test/oracle): several sources and
# containers, multi-row statements, upserts, late, repeated and corrected samples, NaN, counter
# resets, rules edited, switched off and deleted, containers moved and deleted; live, over a stop, and
# read back whole.
#
#   ALERTING_SEED=7 ALERTING_STREAMS=1000 prove ... test/t/240_streams.pl
#
# A stream's number is its seed; a failure prints the stream. All sample times lie on a grid of
# minutes so wide that the wall clock decides nothing within the time of a test.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{ALERTING_SEED} // 1;
my $streams = $ENV{ALERTING_STREAMS} // 80;
my $lanes = 3;
note "streams $seed to " . ($seed + $streams - 1);

# The oracle: as the unit tests have built it, or made here when that is missing or of other sources.
my $oracle = $ENV{ALERTING_ORACLE} // 'build/oracle';
if (!-x $oracle || grep { -M $_ < -M $oracle } glob('test/oracle/* src/core/*.h'))
{
	$oracle = "$PostgreSQL::Test::Utils::tmp_check/oracle";
	system_or_bail('g++', '-std=c++20', '-O1', '-Isrc', '-Itest', glob('test/oracle/oracle*.cpp'), '-o', $oracle);
}

sub pick { return $_[ int rand @_ ]; }
sub chance { return rand() < $_[0]; }

# A stream is two lists of SQL (before and after a stop) and the oracle's script. Stream n has the
# organizations 10n and 10n+1, containers 10n..10n+2, rules r<n>_0... Its clock is in minutes.
package Stream;

sub new
{
	my ($class, $number, %options) = @_;
	my $self = bless { n => $number, sql => [ '', '' ], oracle => '', part => 0, minute => 0, arrival => time, rules => {}, next_rule => 0, rows => 0,
		counter => {}, home => {}, final => {}, %options }, $class;
	srand $number;
	$self->setup;
	my $steps = 20 + int rand 20;
	for my $step (1 .. $steps)
	{
		$self->stop_and_start if $step == int($steps / 2);
		$self->step;
	}
	return $self;
}

sub sql { my ($self, @lines) = @_; $self->{sql}[ $self->{part} ] .= join '', map { "$_\n" } @lines; return; }
sub tell { my ($self, @lines) = @_; $self->{oracle} .= join '', map { "$_\n" } @lines; return; }
sub containers { my ($self) = @_; return sort keys %{ $self->{home} }; }

sub setup
{
	my ($self) = @_;
	my $n = 10 * $self->{n};
	$self->tell('source 1 max_age=never stale_after=12m', 'source 2 max_age=never stale_after=32m');
	$self->sql("INSERT INTO organizations VALUES ($n, 'o'), (" . ($n + 1) . ", 'p');");
	$self->add_container($_) for $n .. $n + 1;
	$self->edit_rule for 1 .. 2 + int rand 4;
	return;
}

sub add_container
{
	my ($self, $key) = @_;
	$self->{home}{$key} = 10 * $self->{n};
	$self->sql("INSERT INTO containers VALUES ($key, $self->{home}{$key}, 'c');");
	$self->tell("container $key $self->{home}{$key}");
	return;
}

# The evaluator looks rules and containers up when it comes to a change of them: what lies before and
# after must not be in the queue together with it.
sub change
{
	my ($self, $sql, $told) = @_;
	my @flush = $self->{live} ? q{SELECT alerting.flush('60s');} : ();
	$self->sql(@flush, $sql, @flush);
	$self->tell($told);
	return;
}

sub edit_rule
{
	my ($self, $id) = @_;
	my $n = 10 * $self->{n};
	if (!defined $id)
	{
		$id = "r$self->{n}_" . $self->{next_rule}++;
		$self->{rules}{$id} = { condition => main::pick(qw(CPU_USAGE CPU_USAGE MEMORY_USAGE CONTAINER_DOWN RESTART_LOOP)),
			organization => $n + (main::chance(0.2) ? 1 : 0), enabled => 'true' };
		$self->sql("INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold, duration) "
			  . "VALUES ('$id', $n, 'x', 'CPU_USAGE', 1e9, 0);");
	}
	my $rule = $self->{rules}{$id};
	$rule->{condition} = main::pick(qw(CPU_USAGE MEMORY_USAGE CONTAINER_DOWN RESTART_LOOP)) if main::chance(0.1);
	$rule->{organization} ^= 0 + ($rule->{organization} ^ ($rule->{organization} == $n ? $n + 1 : $n)) if main::chance(0.1);
	$rule->{enabled} = main::chance(0.85) ? 'true' : 'false';
	my $is_restarts = $rule->{condition} eq 'RESTART_LOOP';
	$rule->{threshold} = $is_restarts ? main::pick(0, 1, 3) : main::pick(50, 80, 94.5);
	$rule->{duration} = $is_restarts ? main::pick(5, 10, 25) : main::pick(0, 5, 5, 10, 25);
	$rule->{no_data} = main::pick(qw(keep resolve fire));
	my $threshold = $rule->{condition} eq 'CONTAINER_DOWN' ? 'NULL' : $rule->{threshold};
	$self->change("UPDATE alerting.alert_rule SET organization_id = $rule->{organization}, condition = '$rule->{condition}', threshold = $threshold, "
		  . "duration = $rule->{duration}, no_data = '$rule->{no_data}', enabled = $rule->{enabled} WHERE id = '$id';",
		"rule $id $rule->{organization} $rule->{condition} $rule->{threshold} $rule->{duration} $rule->{no_data}" . ($rule->{enabled} eq 'true' ? '' : ' off'));
	return;
}

# One row's readings, as SQL literals by column; the oracle's words for them.
my %word = (cpu => 'cpu', memory => 'memory', used => 'memory_used', lim => 'memory_limit', running => 'running', restarts => 'restarts');
sub readings
{
	my ($self, $table, $key) = @_;
	my %row;
	my $percent = sub { return main::chance(0.08) ? main::pick('NaN', 'Infinity', '-Infinity') : main::pick(5, 50, 80, 80.5, 95, 95, 99); };
	$row{cpu} = $percent->() if main::chance(0.8);
	$row{running} = main::chance(0.6) ? 't' : 'f' if main::chance(0.6);
	if ($table == 1)
	{
		$row{memory} = $percent->() if main::chance(0.5);
		if (main::chance(0.6))
		{
			my $counter = \$self->{counter}{$key};
			$$counter //= int rand 5;
			$$counter = main::chance(0.15) ? int rand 3 : $$counter + main::pick(0, 0, 0, 1, 1, 2, 4);
			$row{restarts} = $$counter;
		}
	}
	else
	{
		$row{used} = main::pick(100, 500, 810, 960, 'NaN') if main::chance(0.6);
		$row{lim} = main::pick(1000, 1000, 600, 2000, 0, -1, 'NaN', 1e19) if main::chance(0.3);
	}
	return %row;
}

sub insert
{
	my ($table, @rows) = @_;
	my @columns = $table == 1 ? qw(cpu memory running restarts) : qw(cpu running used lim);
	my $values = join ', ', map {
		my $row = $_;
		"($row->{key}, '2026-03-02Z'::timestamptz + interval '$row->{minute} min', "
		  . join(', ', map { defined $row->{$_} ? "'$row->{$_}'" : 'NULL' } @columns) . ')'
	} @rows;
	my $conflict = $table == 1 ? ' ON CONFLICT (container_id, at) DO UPDATE SET ' . join ', ', map { "$_ = excluded.$_" } @columns : '';
	return "INSERT INTO m$table (container_id, at, " . join(', ', @columns) . ") VALUES $values$conflict;";
}

sub told
{
	my ($table, $row) = @_;
	return "sample $row->{key} " . sprintf('@%d', 1772409600 + 60 * $row->{minute}) . " source=$table"
	  . join '', map { defined $row->{$_} ? " $word{$_}=" . lc $row->{$_} : '' } sort keys %word;
}

# A transaction: statements of one or several rows, mostly at the newest times.
sub transaction
{
	my ($self) = @_;
	my @keys = $self->containers or return;
	$self->{arrival} += 0.001;
	my (@sql, @told);
	for (1 .. main::pick(1, 1, 1, 2, 4))
	{
		my $table = main::pick(1, 1, 2);
		my (@rows, %seen);
		for (1 .. main::pick(1, 1, 2, 5))
		{
			$self->{minute} += 5 * main::pick(0, 0, 0, 1, 1, 1, 2, 3, 7) if main::chance(0.6);
			my $minute = $self->{minute} + ($table == 1 ? 0 : 2);
			$minute -= 5 * main::pick(1, 2, 4) if main::chance(0.1);
			my $key = main::pick(@keys);
			next if $seen{"$key $minute"}++;
			push @rows, { key => $key, minute => $minute, $self->readings($table, $key) };
		}
		# Every row is a sample in the order of the statement's triggers: first those inserted, then those updated.
		my @new = grep { $table == 2 || !$self->{final}{"1 $_->{key} $_->{minute}"} } @rows;
		my @old = grep { $table == 1 && $self->{final}{"1 $_->{key} $_->{minute}"} } @rows;
		push @sql, insert($table, @rows);
		push @told, map { told($table, $_) } @new, @old;
		$self->{final}{ $table == 1 ? "1 $_->{key} $_->{minute}" : '2 ' . $self->{rows} } = [ $table, $_, $self->{rows}++ ] for @rows;
	}
	$self->sql(@sql > 1 ? ('BEGIN;', @sql, 'COMMIT;') : @sql);
	$self->tell(sprintf('begin @%.6f', $self->{arrival}), @told, 'commit') if $self->{live};
	return;
}

sub step
{
	my ($self) = @_;
	my $n = 10 * $self->{n};
	my @rules = sort keys %{ $self->{rules} };
	my @keys = $self->containers;
	my $dice = rand;
	if ($dice < 0.8) { $self->transaction; }
	elsif ($dice < 0.9) { $self->edit_rule(@rules && main::chance(0.8) ? main::pick(@rules) : undef); }
	elsif ($dice < 0.92 && @rules)
	{
		my $id = main::pick(@rules);
		delete $self->{rules}{$id};
		$self->change("DELETE FROM alerting.alert_rule WHERE id = '$id';", "delete_rule $id");
	}
	elsif ($dice < 0.96 && @keys)
	{
		my $key = main::pick(@keys);
		$self->{home}{$key} = $self->{home}{$key} == $n ? $n + 1 : $n;
		$self->change("UPDATE containers SET organization_id = $self->{home}{$key} WHERE id = $key;", "move $key $self->{home}{$key}");
	}
	elsif ($dice < 0.98 && @keys > 1)
	{
		my $key = main::pick(@keys);
		delete $self->{home}{$key};
		delete $self->{counter}{$key};
		for my $row (keys %{ $self->{final} }) { delete $self->{final}{$row} if $self->{final}{$row}[1]{key} == $key; }
		$self->change("DELETE FROM containers WHERE id = $key;", "remove $key");
	}
	else
	{
		my ($key) = grep { !exists $self->{home}{$_} } $n .. $n + 3;
		$self->add_container($key) if defined $key;
	}
	return;
}

sub stop_and_start
{
	my ($self) = @_;
	$self->{part} = 1;
	$self->{arrival} += 0.001;
	$self->tell(sprintf 'restart @%.6f', $self->{arrival}) if $self->{live};
	return;
}

# What the oracle says: the script of what happened, or for what is read back whole, of the rows
# that are left.
sub expected
{
	my ($self) = @_;
	if (!$self->{live})
	{
		my @rows = sort { $a->[1]{minute} <=> $b->[1]{minute} || $a->[0] <=> $b->[0] || $a->[2] <=> $b->[2] } values %{ $self->{final} };
		$self->tell(map { told(@$_[ 0, 1 ]) } @rows);
	}
	my ($out, $err) = ('', '');
	IPC::Run::run([ $oracle, '--reason', $self->{live} ? () : '--own-times' ], '<', \$self->{oracle}, '>', \$out, '2>', \$err)
	  or die "the oracle failed for stream $self->{n}: $err\n$self->{oracle}";
	return join '', sort map { plain($_) } split /\n/, $out;
}

# When a user's edit ends an alert is the evaluator's clock's business, that it does is the rules'.
sub plain
{
	my ($line) = @_;
	my @fields = split /\t/, $line, -1;
	$fields[5] = 'edit' if $fields[6] =~ /^(?:RULE_|CONTAINER_MOVED)/;
	return join("\t", @fields) . "\n";
}

package main;

sub compare
{
	my ($node, $database, $what, @streams) = @_;
	flush_ok($node, $database);
	my %got;
	for (split /\n/, $node->safe_psql($database, q{
		SELECT concat_ws(E'\t', a.rule_id, a.container_id, a.status, started, fired, coalesce(resolved, ''), coalesce(a.resolve_reason, ''))
		  FROM alerting.alert a, LATERAL (SELECT to_char(a.started_at, f) AS started, to_char(a.fired_at, f) AS fired, to_char(a.resolved_at, f) AS resolved
		                                    FROM (VALUES ('YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) v(f)) t}))
	{
		my ($n) = /^r(\d+)_/;
		push @{ $got{$n} }, Stream::plain($_);
	}
	my ($alerts, @wrong) = (0);
	for my $stream (@streams)
	{
		my $want = $stream->expected;
		my $have = join '', sort @{ $got{ $stream->{n} } // [] };
		$alerts += () = $want =~ /\n/g;
		next if $have eq $want;
		push @wrong, $stream->{n};
		diag("stream $stream->{n}, $what: got\n${have}expected\n$want") if @wrong <= 3;
		diag("$stream->{oracle}\n$stream->{sql}[0]\n-- stop\n$stream->{sql}[1]") if @wrong == 1;
	}
	is(join(' ', @wrong), '', "$what: " . @streams . " streams, $alerts alerts");
	return;
}

# Runs each stream's part in one of several sessions at the same time.
sub run_part
{
	my ($node, $database, $part, @streams) = @_;
	my @runs;
	for my $lane (0 .. $lanes - 1)
	{
		my $script = join '', map { $streams[$_]{sql}[$part] } grep { $_ % $lanes == $lane } 0 .. $#streams;
		my $run = { err => '', out => '' };
		$run->{handle} = IPC::Run::start([ $node->installed_command('psql'), '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database) ],
			'<', \$script, '>', \$run->{out}, '2>', \$run->{err});
		push @runs, $run;
	}
	for my $run (@runs)
	{
		$run->{handle}->finish or die "psql failed: $run->{err}";
		unlike($run->{out}, qr/^f$/m, 'flushed') if $run->{out} =~ /^f$/m;
	}
	return;
}

sub make_host
{
	my ($node, $database) = @_;
	fixture($node, $database, metrics => 'container_id int REFERENCES containers ON DELETE CASCADE, at timestamptz, cpu float8, unused int');
	$node->safe_psql($database, q{
		SET client_min_messages = warning;
		SELECT alerting.detach_metrics('container_metrics'); TRUNCATE organizations CASCADE;
		CREATE TABLE m1 (container_id int REFERENCES containers ON DELETE CASCADE, at timestamptz, cpu float8, memory numeric, running bool, restarts int, PRIMARY KEY (container_id, at));
		CREATE TABLE m2 (container_id int REFERENCES containers ON DELETE CASCADE, at timestamptz, cpu float4, running text, used numeric, lim float8);
		CREATE INDEX ON m2 (container_id, at);
		SELECT alerting.attach_metrics('m1', container => 'container_id', at => 'at', cpu => 'cpu', memory => 'memory', running => 'running',
			restarts => 'restarts', max_age => NULL, stale_after => '12 minutes');
		SELECT alerting.attach_metrics('m2', container => 'container_id', at => 'at', cpu => 'cpu', running => 'running = ''t''',
			memory_used => 'used', memory_limit => 'lim', max_age => NULL, stale_after => '32 minutes')});
	flush_ok($node, $database);
	return;
}

my $node = new_node('streams', 'autovacuum = off');

# Live, with a stop in the middle.
{
	make_host($node, 'live');
	my @streams = map { Stream->new($_, live => 1) } $seed .. $seed + $streams - 1;
	run_part($node, 'live', 0, @streams);
	$node->safe_psql('live', q{SELECT alerting.flush('60s'); SELECT alerting.stop(); SELECT alerting.start();});
	flush_ok($node, 'live');
	run_part($node, 'live', 1, @streams);
	compare($node, 'live', 'live', @streams);
}

# All of it while nobody evaluates, then read back.
{
	make_host($node, 'readback');
	$node->safe_psql('readback', 'SELECT alerting.stop()');
	my @streams = map { Stream->new($_) } $seed .. $seed + $streams - 1;
	run_part($node, 'readback', $_, @streams) for 0, 1;
	$node->safe_psql('readback', 'SELECT alerting.start()');
	compare($node, 'readback', 'read back', @streams);
}

clean_log_ok($node);
$node->stop;
done_testing();

# What rules make of readings and of time: part of the model (ModelTest.pm), which keeps
#   container  { key, organization, readings by metric, newest, gains, parts, pairs by rule }
#   reading    { at, value, stale_after, arrived }
#   pair       of a rule and a container: since when it breaches, its alert, whether that stands for silence,
#              before when it does not fire, the reading whose silence is judged, whether silence has ended it, its last transition
package ModelJudge;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use List::Util qw(max);
use ModelReadings qw(computed_memory count_gain gained merged window_end);

our @EXPORT_OK = qw(applies basis exceeds has metric_of pair reading resolve);

my %metric = (CPU_USAGE => 'cpu', MEMORY_USAGE => 'memory', CONTAINER_DOWN => 'running', RESTART_LOOP => 'restarts');

# --- What a rule looks at.

# The reading whose time and silence a rule goes by: DOWN, where none was ever told whether the
# container runs, by the newest of all.
sub basis
{
	my ($c, $rule) = @_;
	my $metric = metric_of($rule);
	return $c->{readings}{$metric} // ($metric eq 'running' ? $c->{newest} : undef);
}

sub metric_of { my ($rule) = @_; return $metric{ $rule->{condition} }; }
sub reading { my ($c, $rule) = @_; return $c->{readings}{ metric_of($rule) }; }
sub pair { my ($c, $rule) = @_; return $c->{pairs}{ $rule->{id} } //= { last => -1e9 }; }
sub has { my ($rule, $condition) = @_; return $rule->{condition} eq $condition; }

# The time of a metric: of its last reading, and what has passed since that came or evaluation began.
sub metric_time
{
	my ($self, $reading, $hour) = @_;
	return $reading->{at} + max(0, $hour - max($reading->{arrived}, $self->{begun}));
}

# An edit that nobody judged when it was made is judged by the next start, unless the metric had
# been silent by then, whatever restarts lie between.
sub is_silent
{
	my ($self, $reading, $hour) = @_;
	return $hour - $reading->{arrived} >= $reading->{stale_after} if $self->{missed};
	return $self->metric_time($reading, $hour) >= $reading->{at} + $reading->{stale_after};
}

sub exceeds
{
	my ($rule, $value) = @_;
	return has($rule, 'CONTAINER_DOWN') ? !$value : $value > $rule->{threshold};
}

sub value
{
	my ($c, $rule, $at) = @_;
	return if has($rule, 'CONTAINER_DOWN') || !reading($c, $rule);
	return has($rule, 'RESTART_LOOP') ? gained($c, $at, $rule->{duration}) : reading($c, $rule)->{value};
}

sub rules_of
{
	my ($self, $c) = @_;
	return grep { applies($_, $c) } map { $self->{rules}{$_} } sort keys %{ $self->{rules} };
}
sub applies { my ($rule, $c) = @_; return $rule && $rule->{enabled} && $rule->{organization} == $c->{organization}; }

# --- Transitions; none is earlier than the pair's last one.

sub fire
{
	my ($self, $c, $rule, $pair, $started, $fired, $value) = @_;
	$fired = max($fired, $pair->{last});
	my @told = grep { my $w = $self->{webhooks}{$_}; $w->{active} && $w->{organization} == $rule->{organization} } sort keys %{ $self->{webhooks} };
	push @{ $self->{alerts} }, { rule => $rule->{id}, container => $c->{key}, started => $started, fired => $fired, value => $value, told => \@told };
	$pair->{alert} = $self->{alerts}[-1];
	$pair->{last} = $fired;
	$pair->{since} = undef;
	return;
}

sub resolve
{
	my ($pair, $at, $reason) = @_;
	$pair->{last} = max($at, $pair->{last});
	@{ $pair->{alert} }{qw(resolved reason)} = ($pair->{last}, $reason);
	@$pair{qw(alert since by_silence)} = ();
	return;
}

# A pair on its last readings.
sub judge
{
	my ($self, $c, $rule, $pair, $at) = @_;
	$at = max($at, $pair->{last});
	my $is_loop = has($rule, 'RESTART_LOOP');
	if (!exceeds($rule, $is_loop ? gained($c, $at, $rule->{duration}) : reading($c, $rule)->{value}))
	{
		$pair->{since} = undef;
		resolve($pair, $at, 'RECOVERED') if $pair->{alert};
		return;
	}
	return if $pair->{alert};
	$pair->{since} = $at if $is_loop || !defined $pair->{since};
	$self->fire($c, $rule, $pair, $pair->{since}, $at, value($c, $rule, $at)) if $is_loop || $at - $pair->{since} >= $rule->{duration};
	return;
}

# --- Time passes.

sub clock
{
	my ($self, $hour, @containers) = @_;
	for my $c (@containers ? @containers : map { $self->{containers}{$_} } sort keys %{ $self->{containers} })
	{
		$self->pass_time($c, $_, $hour) for $self->rules_of($c);
	}
	return;
}

sub pass_time
{
	my ($self, $c, $rule, $hour) = @_;
	my $basis = basis($c, $rule) or return;
	my $pair = pair($c, $rule);
	for (;;)
	{
		my @due = $self->deadlines($c, $rule, $pair, $basis->{at});
		push @due, [ $basis->{at} + $basis->{stale_after}, 'silence' ] unless $pair->{silence_of} && $pair->{silence_of} == $basis;
		# At one time the rule's own deadline comes first, and the sort is stable.
		my ($first) = sort { $a->[0] <=> $b->[0] } grep { $_->[0] <= $self->metric_time($basis, $hour) } @due;
		return if !$first;
		$self->pass_deadline($c, $rule, $pair, @$first);
	}
}

# What the clock alone brings about: a DOWN run is long enough, enough restarts have left the window.
sub deadlines
{
	my ($self, $c, $rule, $pair, $from) = @_;
	return [ max($pair->{since} + $rule->{duration}, $pair->{not_before} // $pair->{since}), 'down' ] if has($rule, 'CONTAINER_DOWN') && defined $pair->{since} && !$pair->{alert};
	if (has($rule, 'RESTART_LOOP') && $pair->{alert} && !$pair->{by_silence})
	{
		my $end = window_end($c, @$rule{qw(duration threshold)}, max($from, $pair->{last}));
		return [ $end, 'window' ] if defined $end;
	}
	return;
}

sub pass_deadline
{
	my ($self, $c, $rule, $pair, $at, $what) = @_;
	if ($what eq 'down') { $self->fire($c, $rule, $pair, $pair->{since}, $at, undef); }
	elsif ($what eq 'window') { resolve($pair, $at, 'RECOVERED'); }
	else { $self->fall_silent($c, $rule, $pair, $at); }
	return;
}

sub fall_silent
{
	my ($self, $c, $rule, $pair, $at) = @_;
	my $basis = $pair->{silence_of} = basis($c, $rule);
	if ($rule->{no_data} eq 'resolve')
	{
		$pair->{ended} = 1 if $pair->{alert} || defined $pair->{since} || $pair->{last} >= $at;
		$pair->{since} = undef;
		resolve($pair, $at, 'NO_DATA') if $pair->{alert};
	}
	elsif ($rule->{no_data} eq 'fire')
	{
		$self->fire($c, $rule, $pair, $pair->{since} // $basis->{at}, $at, value($c, $rule, $basis->{at})) if !$pair->{alert};
		$pair->{by_silence} = 1;
	}
	return;
}

# Silence counts from here on again, but for what already stands for it.
sub start
{
	my ($self, $hour) = @_;
	$self->{begun} = $hour;
	for my $pair (map { values %{ $_->{pairs} } } values %{ $self->{containers} })
	{
		$pair->{silence_of} = undef unless $pair->{by_silence};
	}
	return;
}

# --- Rows.

sub rows
{
	my ($self, $hour, @rows) = @_;
	my %by_container;
	push @{ $by_container{ $_->{key} } }, $_ for @rows;
	for my $key (sort keys %by_container)
	{
		my $c = $self->{containers}{$key} or next;
		$self->clock($hour, $c);
		my %merged = merged($hour, $self->{max_age}, $self->{stale_after}, @{ $by_container{$key} });
		$self->row($c, $_, $merged{$_}) for sort { $a <=> $b } keys %merged;
	}
	return;
}

sub row
{
	my ($self, $c, $at, $row) = @_;
	my $computed = computed_memory($c, $at, $row);
	$row->{memory} //= $computed if $computed;
	my @readings = grep { $row->{$_} } qw(cpu running restarts memory);
	my @new = grep { !$c->{readings}{$_} || $row->{$_}{at} > $c->{readings}{$_}{at} } @readings;
	my $newest;
	for my $metric (@new)
	{
		$newest = $c->{newest} = { %{ $row->{$metric} } } if !$c->{newest} || $row->{$metric}{at} > $c->{newest}{at};
	}
	for my $metric (@readings)
	{
		my $last = $c->{readings}{$metric};
		if (!$last || $row->{$metric}{at} > $last->{at}) { $self->new_reading($c, $metric, $row->{$metric}); }
		elsif ($row->{$metric}{at} == $last->{at} && $row->{$metric}{value} != $last->{value}) { $self->correction($c, $metric, $row->{$metric}{value}); }
	}
	# Whatever it says ends the silence of a container that never says whether it runs.
	return if !$newest || $c->{readings}{running};
	for my $pair (map { pair($c, $_) } grep { has($_, 'CONTAINER_DOWN') } $self->rules_of($c))
	{
		resolve($pair, $newest->{at}, 'RECOVERED') if $pair->{alert};
	}
	return;
}

sub new_reading
{
	my ($self, $c, $metric, $new) = @_;
	my $last = $c->{readings}{$metric};
	my @rules = grep { metric_of($_) eq $metric } $self->rules_of($c);
	# A deadline before it counts first; one at its time does not.
	for my $rule ($last ? @rules : ())
	{
		my $pair = pair($c, $rule);
		$self->pass_deadline($c, $rule, $pair, @$_) for grep { $_->[0] < $new->{at} } $self->deadlines($c, $rule, $pair, $last->{at});
	}
	my $is_gap = $last && $new->{at} - $last->{at} > $last->{stale_after};
	if ($metric eq 'restarts')
	{
		$c->{counter_before} = $last ? $last->{value} : undef;
		count_gain($c, $new);
	}
	$c->{readings}{$metric} = $new;
	for my $rule (@rules)
	{
		my $pair = pair($c, $rule);
		$pair->{since} = undef if $is_gap && $metric =~ /cpu|memory/ && !$pair->{alert};
		@$pair{qw(by_silence ended)} = ();
		$self->judge($c, $rule, $pair, $new->{at});
	}
	return;
}

sub correction
{
	my ($self, $c, $metric, $value) = @_;
	my $reading = $c->{readings}{$metric};
	my ($at, $old) = @$reading{qw(at value)};
	$reading->{value} = $value;
	count_gain($c, $reading) if $metric eq 'restarts';
	for my $rule (grep { metric_of($_) eq $metric } $self->rules_of($c))
	{
		my $pair = pair($c, $rule);
		# Silence goes on, and what it ended stays ended.
		next if $pair->{by_silence} || ($pair->{ended} && $pair->{last} > $at && !$pair->{alert} && !defined $pair->{since});
		next if $metric ne 'restarts' && !exceeds($rule, $old) == !exceeds($rule, $value);
		$self->judge($c, $rule, $pair, $at);
		$pair->{silence_of} = undef;
	}
	return;
}

1;

# What rules mean (docs/design.md), written down once more, slowly and without the product's code: a
# history goes in, the alerts and deliveries that must exist come out. It knows nothing of queues,
# saved state or reading back, only when each thing happened, and when somebody began to evaluate.
#
# All times are whole hours after an arbitrary one; samples lie on whole days, and what happens never
# does, so that no two times that matter are ever the same by chance (see SceneTest.pm).
#
# A history is a list of [hour, what happens, ...]:
#   add KEY ORGANIZATION | move KEY ORGANIZATION | remove KEY
#   rule { id, organization, condition, threshold, duration, no_data, enabled } | delete_rule ID
#   webhook ID ORGANIZATION ACTIVE | delete_webhook ID
#   detach SOURCE
#   rows { key, at, source, cpu, memory, used, limit, running, restarts } ...   one transaction
#   clock       nothing but time has passed
#   start       evaluation begins again; what was changed while nobody evaluated follows as "missed ..."
package ModelTest;

use strict;
use warnings FATAL => 'all';
use List::Util qw(max);
use ModelJudge qw(applies basis exceeds has metric_of pair reading resolve);
use parent -norequire, 'ModelJudge';

# stale_after: hours by source; max_age: hours.
sub new
{
	my ($class, %options) = @_;
	return bless { %options, rules => {}, containers => {}, webhooks => {}, alerts => [], begun => -1e9 }, $class;
}

sub play
{
	my ($self, @history) = @_;
	for my $event (@history)
	{
		my ($hour, $what, @rest) = @$event;
		$self->{missed} = $what =~ s/^missed //;
		$self->$what($hour, @rest);
	}
	return $self;
}

# "rule container started>fired>resolved reason value" of each alert that is there.
sub alert_lines
{
	my ($self) = @_;
	return sort map { "$_->{rule} $_->{container} " . span($_) . ' ' . ($_->{reason} // '-') . ' ' . value_text($_->{value}) }
	  grep { !$_->{deleted} } @{ $self->{alerts} };
}

# "webhook event rule container started>fired[>resolved reason]" of each delivery.
sub delivery_lines
{
	my ($self) = @_;
	my @lines;
	for my $alert (@{ $self->{alerts} })
	{
		for my $webhook (grep { $self->{webhooks}{$_} } @{ $alert->{told} })
		{
			push @lines, "$webhook firing $alert->{rule} $alert->{container} $alert->{started}>$alert->{fired}";
			# Of what ends by a deletion the time is that of the deletion, to the second.
			push @lines, "$webhook resolved $alert->{rule} $alert->{container} " . span($alert) . ' ' . ($alert->{reason} // $alert->{deleted})
			  if $alert->{reason} // $alert->{deleted};
		}
	}
	return sort @lines;
}

sub span { my ($alert) = @_; return "$alert->{started}>$alert->{fired}>" . ($alert->{resolved} // '-'); }
sub value_text { my ($value) = @_; return defined $value ? sprintf('%.3f', $value) : '-'; }

# --- Edits, judged at once on the last readings.

sub rule
{
	my ($self, $hour, $rule) = @_;
	my $old = $self->{rules}{ $rule->{id} };
	$self->clock($hour);
	$self->{rules}{ $rule->{id} } = $rule;
	for my $c (map { $self->{containers}{$_} } sort keys %{ $self->{containers} })
	{
		my ($was, $is) = (applies($old, $c), applies($rule, $c));
		my $is_other = $old && $old->{condition} ne $rule->{condition};
		# A start finds rule and container apart, and cannot know which of them has moved.
		my $reason = !$rule->{enabled} ? 'RULE_DISABLED' : $self->{missed} && !$is_other ? 'CONTAINER_MOVED' : 'RULE_CHANGED';
		$self->part($c, $old, $hour, $reason) if $was && (!$is || $is_other);
		if ($is && (!$was || $is_other)) { $self->judge_as_new($c, $rule, $hour); }
		elsif ($is && grep { $old->{$_} ne $rule->{$_} } qw(duration no_data), has($rule, 'CONTAINER_DOWN') ? () : 'threshold') { $self->judge_again($c, $old, $rule, $hour); }
	}
	$self->clock($hour);
	return;
}

# A rule and a container have no more to do with each other.
sub part
{
	my ($self, $c, $rule, $hour, $reason) = @_;
	my $pair = pair($c, $rule);
	my $basis = basis($c, $rule);
	resolve($pair, $basis->{at} + max(0, $hour - $basis->{arrived}), $reason) if $pair->{alert};
	delete $c->{pairs}{ $rule->{id} };
	return;
}

sub judge_as_new
{
	my ($self, $c, $rule, $hour) = @_;
	my $pair = pair($c, $rule);
	my $reading = reading($c, $rule) or return;
	my $is_silent = $self->is_silent($reading, $hour);
	# DOWN goes by the clock all the same.
	if (has($rule, 'CONTAINER_DOWN')) { $pair->{since} = $reading->{at} if !$reading->{value} && !($is_silent && $rule->{no_data} eq 'resolve'); }
	elsif (!$is_silent) { $self->judge($c, $rule, $pair, $reading->{at}); }
	return;
}

sub judge_again
{
	my ($self, $c, $old, $rule, $hour) = @_;
	my $pair = pair($c, $rule);
	my $reading = reading($c, $rule);
	$pair->{silence_of} = undef if $old->{no_data} ne $rule->{no_data};
	# What stands for silence does so until a new reading.
	my $by_silence = $pair->{alert} && $pair->{by_silence};
	return if $by_silence ? $rule->{no_data} ne 'resolve' : !$reading;
	my $is_silent = $by_silence || $self->is_silent($reading, $hour);
	if ($by_silence || ($pair->{alert} && $is_silent && !$self->{missed} && $rule->{no_data} eq 'resolve'))
	{
		my $basis = basis($c, $rule);
		resolve($pair, $basis->{at} + $basis->{stale_after}, 'NO_DATA');
		$pair->{ended} = 1;
		return;
	}
	$pair->{not_before} = $reading->{at};    # a shorter duration fires nothing earlier
	# Its earlier readings may not breach a higher threshold.
	$pair->{since} = max($reading->{at}, $pair->{last})
	  if !$pair->{alert} && metric_of($rule) =~ /cpu|memory/ && $rule->{threshold} > $old->{threshold} && defined $pair->{since};
	if (!$pair->{alert} && $is_silent && !(has($rule, 'CONTAINER_DOWN') && $rule->{no_data} eq 'keep'))
	{
		# What has been silent fires nothing, but a run that the last reading does not breach any more is over.
		$pair->{since} = undef if !has($rule, 'RESTART_LOOP') && !exceeds($rule, $reading->{value});
		# Who is down, and was left alone because silence resolves, is down from then on.
		$pair->{since} //= max($reading->{at}, $pair->{last})
		  if has($rule, 'CONTAINER_DOWN') && !$reading->{value} && $rule->{no_data} eq 'fire' && !$pair->{ended};
		return;
	}
	# DOWN goes by the clock.
	if (has($rule, 'CONTAINER_DOWN') && !$pair->{alert} && !$reading->{value}) { $pair->{since} //= max($reading->{at}, $pair->{last}); }
	else { $self->judge($c, $rule, $pair, $reading->{at}); }
	return;
}

sub delete_rule
{
	my ($self, $hour, $id) = @_;
	$self->clock($hour);
	delete $self->{rules}{$id};
	$_->{deleted} //= 'RULE_DELETED' for grep { $_->{rule} eq $id } @{ $self->{alerts} };
	delete $_->{pairs}{$id} for values %{ $self->{containers} };
	return;
}

sub add
{
	my ($self, $hour, $key, $organization) = @_;
	$self->{containers}{$key} = { key => $key, organization => $organization, readings => {}, gains => [], pairs => {} };
	return;
}

sub move
{
	my ($self, $hour, $key, $organization) = @_;
	my $c = $self->{containers}{$key};
	$self->clock($hour);
	$self->part($c, $_, $hour, 'CONTAINER_MOVED') for $self->rules_of($c);
	$c->{organization} = $organization;
	$self->judge_as_new($c, $_, $hour) for $self->rules_of($c);
	$self->clock($hour);
	return;
}

sub remove
{
	my ($self, $hour, $key) = @_;
	$self->clock($hour);
	delete $self->{containers}{$key};
	$_->{deleted} //= 'CONTAINER_DELETED' for grep { $_->{container} == $key } @{ $self->{alerts} };
	return;
}

# What the table said is silent when what the slowest of the others says would be.
sub detach
{
	my ($self, $hour, $source) = @_;
	for my $reading (map { $_->{newest} // (), values %{ $_->{readings} }, values %{ $_->{parts} // {} } } values %{ $self->{containers} })
	{
		$reading->{stale_after} = max(@{ $self->{stale_after} }{qw(m1 m2)}) if $reading->{source} eq $source;
	}
	$self->clock($hour);
	return;
}

sub webhook { my ($self, $hour, $id, $organization, $active) = @_; $self->{webhooks}{$id} = { organization => $organization, active => $active }; return; }
sub delete_webhook { my ($self, $hour, $id) = @_; delete $self->{webhooks}{$id}; return; }

1;

# Random scenes for 302_model.pl: what an organization and its neighbour do to their containers,
# rules, webhooks and metrics, as SQL for the server and as a history for the model (ModelTest.pm).
#
# A scene is made from its seed before anything is run. Times are hours after t0. Samples lie on whole
# days and all that happens does not: each jump of the clock goes on by some days and one hour, so that
# what really passes meanwhile, seconds or many minutes on a busy machine, decides nothing.
package SceneTest;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use List::Util qw(max min);
use SceneMetrics qw(chance pick);
use parent -norequire, 'SceneMetrics';

our @EXPORT_OK = qw(chance described pick);

my $day = 24;
sub numbers { return map { $_ * $day } @_; }

# number: its organizations are 10n and 10n+1, its containers 10n to 10n+3; steps: the driver's; url:
# where webhooks go; t0: seconds of the epoch.
sub new
{
	my ($class, %options) = @_;
	my $self = bless { %options, sql => [], history => [], rules => {}, webhooks => {}, home => {}, last => {}, times => {}, said => {}, counter => {}, made => 0, prepared => 0 }, $class;
	srand $options{seed} * 1000 + $options{number};
	$self->{organizations} = [ 10 * $self->{number}, 10 * $self->{number} + 1 ];
	# How far its metrics are behind, and how often its containers run.
	$self->{lag} = $day * pick(0, 0, 0, 1, 3, 20, 75);
	$self->{runs} = 0.2 + rand 0.7;
	my @missed;
	for my $step (0 .. $#{ $options{steps} })
	{
		my ($hour, $what, %how) = @{ $options{steps}[$step] };
		$self->{hour} = $hour;
		if ($what eq 'act') { push @missed, $self->act($step, %how); }
		elsif ($what eq 'start') { push @{ $self->{history} }, [ $hour, 'start' ], map { $_->[0] = $hour; $_ } splice @missed; }
		push @{ $self->{history} }, [ $hour, 'clock' ] if $what =~ /jump|start/;
	}
	return $self;
}

# What is done in one go. Nothing of it is needed to judge another part: either the metrics, or what is
# judged changes. Gives what must wait until somebody evaluates; how: see steps() of 302_model.pl.
sub act
{
	my ($self, $step, %how) = @_;
	$self->{sql}[$step] = '';
	$self->{happened} = [];
	$self->{put} = {};
	$self->{closed} = {};
	my $is_read_later = $how{unjudged} || $how{down} || $how{tables};
	my $dice = rand;
	if ($how{first}) { $self->set_up; }
	elsif ($self->{waiting} && $is_read_later && $dice < 0.3) { $self->decide; }
	elsif (($dice = rand) < 0.06) { $self->edit_webhook; }
	# Who loads all anew because a table was attached takes what has changed for missed.
	elsif ($dice < ($how{down} ? 0.6 : 0.26)) { $self->edit($how{lost}) unless $how{unjudged} || $how{tables}; }
	elsif ($is_read_later && $dice < ($how{down} ? 0.7 : 0.45)) { $self->change_table; }
	elsif ($dice < 0.95) { $self->metrics($is_read_later); }
	$self->{sql}[$step] = join '', map { "$_\n" } splice @{ $self->{sql_now} };
	my @happened = splice @{ $self->{happened} };
	# Webhooks are rows, which count from their commit on.
	my @waits = $how{down} ? grep { $_->[1] !~ /webhook/ } @happened : ();
	$_->[1] = "missed $_->[1]" for grep { $_->[1] ne 'rows' } @waits;
	push @{ $self->{history} }, grep { my $event = $_; !grep { $_ == $event } @waits } @happened;
	return @waits;
}

sub happens
{
	my ($self, $sql, @what) = @_;
	push @{ $self->{sql_now} }, $sql;
	$_->[0] eq 'rows' and @$_ = ('rows', map { $_->{source} eq "s$self->{number}" ? $self->told($_) : $_ } @{$_}[ 1 .. $#$_ ]) for @what;
	push @{ $self->{happened} }, map { [ $self->{hour}, @$_ ] } grep { $_->[0] ne 'rows' || @$_ > 1 } @what;
	for my $row (map { my ($kind, @rows) = @$_; $kind eq 'rows' ? @rows : () } @what)
	{
		$self->{said}{ $row->{key} }{$_} = 1 for grep { ($row->{$_} // '') =~ /^\d+$/ } qw(cpu memory used limit running restarts);
	}
	return;
}

sub set_up
{
	my ($self) = @_;
	$self->happens("INSERT INTO organizations VALUES ($_, 'o');") for @{ $self->{organizations} };
	$self->add_container(10 * $self->{number} + $_) for 0, 1;
	$self->edit_rule for 1 .. pick(1, 2, 2, 3);
	$self->add_webhook for 1 .. pick(0, 1, 1, 2);
	return;
}

sub organization { my ($self, $chance) = @_; return $self->{organizations}[ chance($chance) ? 0 : 1 ]; }
sub other { my ($self, $organization) = @_; return $self->{organizations}[0] + $self->{organizations}[1] - $organization; }

# --- What is judged.

# A change, in a transaction of some kind. is_lost: what tells of it is lost with the server's memory,
# and nobody sees that a key was taken again who did not hear of the deletion.
sub edit
{
	my ($self, $is_lost) = @_;
	$self->change($is_lost);
	my @sql = splice @{ $self->{sql_now} } or return;
	my $undone = 'DELETE FROM organizations WHERE id IN (' . join(', ', @{ $self->{organizations} }) . ');';
	my $form = pick('', '', 'transaction', $self->{waiting} ? () : 'savepoint', @sql == 1 ? 'prepared' : ());
	if ($form eq 'transaction') { @sql = ('BEGIN;', @sql, 'COMMIT;'); }
	elsif ($form eq 'savepoint') { @sql = ('BEGIN;', 'SAVEPOINT a;', $undone, 'ROLLBACK TO a;', @sql, 'COMMIT;'); }
	elsif ($form eq 'prepared')
	{
		my $gid = $self->gid;
		@sql = ('BEGIN;', @sql, "PREPARE TRANSACTION '$gid';", "COMMIT PREPARED '$gid';");
	}
	$self->{sql_now} = \@sql;
	return;
}

sub gid { my ($self) = @_; return "p$self->{seed}_$self->{number}_" . $self->{prepared}++; }

sub change
{
	my ($self, $is_lost) = @_;
	my @rules = sort keys %{ $self->{rules} };
	my @keys = sort keys %{ $self->{home} };
	my $dice = rand;
	if ($dice < 0.6) { $self->edit_rule(@rules && chance(0.75) ? pick(@rules) : undef); }
	elsif ($dice < 0.68 && @rules)
	{
		my $id = pick(@rules);
		delete $self->{rules}{$id};
		$self->happens("DELETE FROM alerting.alert_rule WHERE id = '$id';", [ delete_rule => $id ]);
	}
	elsif ($dice < 0.8)
	{
		my $key = pick(@keys);
		$self->{home}{$key} = $self->other($self->{home}{$key});
		$self->happens("UPDATE containers SET organization_id = $self->{home}{$key} WHERE id = " . $self->named($key) . ";", [ move => $key, $self->{home}{$key} ]);
	}
	elsif ($dice < 0.9 && @keys > 1 && !$self->{waiting})
	{
		my $key = pick(@keys);
		delete $self->{home}{$key};
		@{ $self->{table}{rows} } = grep { $_->{key} != $key } @{ $self->{table}{rows} } if $self->{table};
		# Read from a table, rows up to there are the former one's, also where they went with it.
		$self->{former}{$key} = max($self->{former}{$key} // (), map { min($_, $self->{hour}) } keys %{ $self->{times}{$key} });
		$self->happens("DELETE FROM containers WHERE id = " . $self->named($key) . ";", [ remove => $key ]);
		$self->add_container($key) if !$is_lost && chance(0.3);
	}
	else
	{
		my ($key) = grep { !exists $self->{home}{$_} } map { 10 * $self->{number} + $_ } 0 .. 3;
		$self->add_container($key) if defined $key;
	}
	return;
}

sub add_container
{
	my ($self, $key) = @_;
	my $organization = $self->organization(0.85);
	$self->{home}{$key} = $organization;
	delete $self->{$_}{$key} for qw(said counter), $self->{rows_stay} ? () : qw(last times);
	$self->happens("INSERT INTO containers VALUES (" . $self->named($key) . ", $organization, 'c');", [ add => $key, $organization ]);
	return;
}

sub edit_rule
{
	my ($self, $id) = @_;
	my $is_new = !defined $id;
	$id //= "r$self->{number}_" . $self->{made}++;
	my $old = $self->{rules}{$id} // { id => $id, organization => $self->organization(0.85), enabled => chance(0.9) ? 1 : 0, condition => '' };
	my %rule = %$old;
	$rule{condition} = pick(qw(CPU_USAGE MEMORY_USAGE CONTAINER_DOWN RESTART_LOOP)) if $is_new || chance(0.1);
	$rule{organization} = $self->other($rule{organization}) if !$is_new && chance(0.1);
	$rule{enabled} = 1 - $rule{enabled} if !$is_new && chance(0.3);
	my $is_loop = $rule{condition} eq 'RESTART_LOOP';
	my $is_other = $rule{condition} ne $old->{condition};
	$rule{threshold} = $is_loop ? pick(0, 1, 3) : pick(50, 80, 94.5) if $is_other || chance(0.5);
	($rule{duration}) = numbers($is_loop ? pick(3, 6, 15, 30) : pick(0, 0, 3, 3, 6, 15, 30)) if $is_other || chance(0.4);
	$rule{no_data} = pick(qw(keep resolve fire)) if $is_new || chance(0.3);
	$self->{rules}{$id} = \%rule;
	my $threshold = $rule{condition} eq 'CONTAINER_DOWN' ? 'NULL' : $rule{threshold};
	my $values = "$rule{organization}, '$rule{condition}', $threshold, " . $rule{duration} * 60 . ", '$rule{no_data}', " . ($rule{enabled} ? 'true' : 'false');
	my $columns = 'organization_id, condition, threshold, duration, no_data, enabled';
	$self->happens($is_new ? "INSERT INTO alerting.alert_rule (id, name, $columns) VALUES ('$id', 'x', $values);"
		: "UPDATE alerting.alert_rule SET ($columns) = ROW ($values) WHERE id = '$id';", [ rule => \%rule ]);
	return;
}

sub add_webhook
{
	my ($self) = @_;
	my $id = "w$self->{number}_" . $self->{made}++;
	my $webhook = $self->{webhooks}{$id} = { organization => $self->organization(0.8), active => chance(0.8) ? 1 : 0 };
	$self->happens("INSERT INTO alerting.webhook (id, organization_id, url, is_active) "
		  . "VALUES ('$id', $webhook->{organization}, '$self->{url}', $webhook->{active}::bool);", [ webhook => $id, @$webhook{qw(organization active)} ]);
	return;
}

sub edit_webhook
{
	my ($self) = @_;
	my @ids = sort keys %{ $self->{webhooks} };
	my $dice = rand;
	return $self->add_webhook if !@ids || $dice < 0.4;
	my $id = pick(@ids);
	my $webhook = $self->{webhooks}{$id};
	if ($dice < 0.8)
	{
		$webhook->{active} = 1 - $webhook->{active};
		$self->happens("UPDATE alerting.webhook SET is_active = $webhook->{active}::bool WHERE id = '$id';", [ webhook => $id, @$webhook{qw(organization active)} ]);
		return;
	}
	delete $self->{webhooks}{$id};
	$self->happens("DELETE FROM alerting.webhook WHERE id = '$id';", [ delete_webhook => $id ]);
	return;
}

# A history for people, an event a line.
sub described
{
	my @lines;
	for my $event (@_)
	{
		my ($hour, $what, @rest) = @$event;
		my @words = map { !ref $_ ? $_ : defined $_->{at} ? "\n        $_->{key}\@$_->{at}" . described_fields($_, qw(cpu memory used limit running restarts source))
			  : "$_->{id}" . described_fields($_, qw(organization condition threshold duration no_data enabled)) } @rest;
		push @lines, join ' ', sprintf('%5d', $hour), $what, @words;
	}
	return join '', map { "$_\n" } @lines;
}
sub described_fields { my ($hash, @fields) = @_; return join '', map { defined $hash->{$_} ? " $_=$hash->{$_}" : '' } @fields; }

1;

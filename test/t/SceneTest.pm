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
use POSIX qw(floor strftime);

our @EXPORT_OK = qw(chance described pick);

my $day = 24;
my %columns = (m1 => [qw(cpu memory used limit running restarts)], m2 => [qw(cpu running)]);

sub pick { return $_[ int rand @_ ]; }
sub chance { return rand() < $_[0]; }
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
	my $dice = rand;
	if ($how{first}) { $self->set_up; }
	elsif ($dice < 0.06) { $self->edit_webhook; }
	elsif ($dice < ($how{down} ? 0.6 : 0.26)) { $self->edit($how{lost}) unless $how{unjudged}; }
	elsif ($dice < 0.95) { $self->metrics($how{unjudged} || $how{down}); }
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
	push @{ $self->{happened} }, map { [ $self->{hour}, @$_ ] } @what;
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
	my $form = pick('', '', 'transaction', 'savepoint', @sql == 1 ? 'prepared' : ());
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
		$self->happens("UPDATE containers SET organization_id = $self->{home}{$key} WHERE id = $key;", [ move => $key, $self->{home}{$key} ]);
	}
	elsif ($dice < 0.9 && @keys > 1)
	{
		my $key = pick(@keys);
		delete $self->{home}{$key};
		$self->happens("DELETE FROM containers WHERE id = $key;", [ remove => $key ]);
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
	delete $self->{$_}{$key} for qw(last times said counter);
	$self->happens("INSERT INTO containers VALUES ($key, $organization, 'c');", [ add => $key, $organization ]);
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

# --- Metrics.

# A few transactions. in_order: a container's rows come in order of time, and none is of the time of an
# earlier one, so that it makes no difference whether they are judged as they come or read later.
sub metrics
{
	my ($self, $in_order) = @_;
	$self->{ahead} = {};
	for (1 .. pick(1, 1, 2, 3))
	{
		$self->{transaction}++;
		my $source = chance(0.7) ? 'm1' : 'm2';
		my @rows = grep { $_ } map { $self->random_row($source, $in_order) } 1 .. pick(1, 1, 2, 4, 7);
		next if !@rows;
		my $form = pick(qw(values values copy statements savepoints savepoints prepared update));
		if ($form eq 'values') { $self->happens(insert(@rows), [ rows => @rows ]); }
		elsif ($form eq 'copy') { $self->happens(copy(@rows), [ rows => @rows ]); }
		elsif ($form eq 'statements') { $self->happens(join("\n", 'BEGIN;', (map { insert($_) } @rows), 'COMMIT;'), [ rows => @rows ]); }
		elsif ($form eq 'savepoints') { $self->savepoints(@rows); }
		elsif ($form eq 'prepared')
		{
			# An older row that follows might have been committed before the decision, for all the evaluator knows, and would not be late.
			my $gid = $self->gid;
			my $wait = $in_order ? '' : "\nSELECT FROM alerting.flush('180s');";
			$self->happens("BEGIN;\n" . insert(@rows) . "\nPREPARE TRANSACTION '$gid';\nCOMMIT PREPARED '$gid';$wait", [ rows => @rows ]);
		}
		else { $self->update($rows[0], $in_order); }
	}
	return;
}

sub savepoints
{
	my ($self, @rows) = @_;
	my ($sql, @kept) = ("BEGIN;\n");
	for my $row (@rows)
	{
		$sql .= "SAVEPOINT a;\n" . insert($row) . "\n";
		if (chance(0.3)) { $sql .= "ROLLBACK TO a;\n"; next; }
		push @kept, $row;
		$sql .= "RELEASE a;\n" if chance(0.5);
	}
	my $is_rolled_back = chance(0.1);
	@kept = () if $is_rolled_back;
	$self->happens($sql . ($is_rolled_back ? 'ROLLBACK;' : 'COMMIT;'), @kept ? [ rows => @kept ] : ());
	return;
}

# A row, and what it is corrected to; at_once: in one transaction, since nobody knows whether what it
# said before is judged.
sub update
{
	my ($self, $row, $at_once) = @_;
	# By its time alone, which may be that of one that was far ahead when it came.
	return $self->happens(insert($row), [ rows => $row ]) if $row->{is_odd} || $self->{times}{ $row->{key} }{ $row->{at} } > 1;
	my %new = (%$row, cpu => pick(10, 95));
	$new{running} = 1 - $new{running} if defined $new{running} && chance(0.5);
	my $update = "UPDATE $row->{source} SET cpu = $new{cpu}, running = " . literal(running => \%new)
	  . " WHERE container_id = $row->{key} AND at = '" . $self->at($row->{at}) . "';";
	if ($at_once) { $self->happens(join("\n", 'BEGIN;', insert($row), $update, 'COMMIT;'), [ rows => $row, \%new ]); }
	else
	{
		$self->happens(insert($row), [ rows => $row ]);
		$self->happens($update, [ rows => \%new ]);
	}
	return;
}

sub at { my ($self, $hour) = @_; return time_text($self->{t0}, $hour); }
sub time_text { my ($t0, $hour) = @_; return strftime('%Y-%m-%d %H:%M:%SZ', gmtime($t0 + 3600 * $hour)); }

# Mostly the container's next; in_order: see metrics(). Nothing when there is none yet.
sub random_row
{
	my ($self, $source, $in_order) = @_;
	my $key = pick(sort keys %{ $self->{home} });
	my $today = $day * floor($self->{hour} / $day);
	my $last = $self->{last}{$key};
	my $dice = rand;
	my ($at, $is_odd);
	if ($in_order && defined $last && $dice >= 0.9)
	{
		# Too late for what newer rows have said.
		$is_odd = 1;
		$at = $last - $day * pick(1, 2, 5);
	}
	elsif ($in_order || $dice < 0.82)
	{
		my $newest = $today - $self->{lag};
		$last //= $newest - $day * (1 + pick(0, 1, 3, 10, 30));
		my $days = int(($newest - $last) / $day);
		return if $days < 1;
		$at = $last + $day * min($days, pick(1, 1, 1, 2, 3, 3, 6, 10, 20));
		$self->{last}{$key} = $at if !$in_order || $self->is_next($key, $at);
	}
	else
	{
		return if !defined $last;
		# Far ahead in one transaction only, for of two the hour does not tell which came first.
		return if $dice >= 0.97 && ($self->{ahead}{$key} //= $self->{transaction}) != $self->{transaction};
		$is_odd = 1;
		# The same time again, late, or far ahead.
		$at = $dice < 0.9 ? $last : $dice < 0.97 ? $last - $day * pick(1, 2, 5) : $today + $day * pick(1, 5, 20, 30);
	}
	return if $in_order && !$self->is_next($key, $at);
	$self->{times}{$key}{$at}++;
	$self->{put}{$key} = max($at, $self->{put}{$key} // $at);
	my %readings = $self->random_readings($key, $source);
	my $said = $self->{said}{$key} //= {};
	# A start reads a container's rows from the oldest of its metrics on; one that was never read has none.
	delete @readings{ grep { !$said->{$_} } keys %readings } if $in_order && grep { $_ > $at } keys %{ $self->{times}{$key} };
	return { key => $key, at => $at, source => $source, is_odd => $is_odd, t0 => $self->{t0}, %readings };
}

# Whether it is of a time of its own, and newer than what the same act has put.
sub is_next { my ($self, $key, $at) = @_; return !$self->{times}{$key}{$at} && $at > ($self->{put}{$key} // $at - 1); }

sub random_readings
{
	my ($self, $key, $source) = @_;
	my %row;
	my $percent = sub { return chance(0.04) ? pick('NaN', 'Infinity') : pick(10, 50, 60, 80, 85, 95, 95) };
	$row{cpu} = $percent->() if chance(0.75);
	$row{running} = chance($self->{runs}) ? 1 : 0 if chance(0.6);
	return %row if $source eq 'm2';
	$row{memory} = $percent->() if chance(0.35);
	$row{used} = pick(100, 500, 810, 960, 'NaN') if chance(0.3);
	$row{limit} = pick(1000, 1000, 600, 2000, 0, -1) if chance(0.2);
	if (chance(0.6))
	{
		my $counter = $self->{counter}{$key};
		$row{restarts} = $self->{counter}{$key} = !defined $counter ? int rand 5 : chance(0.1) ? int rand 3 : $counter + pick(0, 0, 0, 1, 1, 2, 4);
	}
	return %row;
}

sub literal
{
	my ($column, $row) = @_;
	my $value = $row->{$column};
	return 'NULL' if !defined $value;
	return $value ? 'true' : 'false' if $column eq 'running';
	return $value =~ /[NI]/ ? "'$value'" : $value;
}

sub insert
{
	my @rows = @_;
	my @columns = @{ $columns{ $rows[0]{source} } };
	return "INSERT INTO $rows[0]{source} VALUES " . join(', ', map { my $row = $_; "($row->{key}, '" . time_text(@$row{qw(t0 at)}) . "', "
		  . join(', ', map { literal($_, $row) } @columns) . ')' } @rows) . ';';
}

sub copy
{
	my @rows = @_;
	my @columns = @{ $columns{ $rows[0]{source} } };
	my @lines = map { my $row = $_; join ',', $row->{key}, time_text(@$row{qw(t0 at)}), map { $row->{$_} // '' } @columns } @rows;
	return join "\n", "COPY $rows[0]{source} FROM stdin (FORMAT csv);", @lines, '\\.';
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

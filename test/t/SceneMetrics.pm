# The metrics of a random scene (SceneTest.pm), and the tables that hold them: m1 and m2, which all scenes of a database
# share, and s1, s2 ..., of one scene each, which are attached, detached and mapped otherwise while rows come.
package SceneMetrics;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use List::Util qw(max min);
use POSIX qw(floor strftime);

our @EXPORT_OK = qw(chance pick);

my $day = 24;
my %columns = (m1 => [qw(cpu memory used limit running restarts)], m2 => [qw(cpu running)], own => [qw(cpu cpu2 memory running restarts)]);

sub pick { return $_[ int rand @_ ]; }
sub chance { return rand() < $_[0]; }

# A container's key as SQL says it, which citext has in several spellings.
sub spelled
{
	my ($self, $key) = @_;
	my $type = $self->{key_type};
	return $key if $type eq 'int';
	return sprintf '00000000-0000-4000-8000-%012d', $key if $type eq 'uuid';
	return ($type eq 'citext' && chance(0.4) ? 'BOX-' : 'box-') . $key;
}
sub named { my ($self, $key) = @_; return "'" . $self->spelled($key) . "'"; }

# A few transactions. in_order: a container's rows come in order of time, and none is of the time of an
# earlier one, so that it makes no difference whether they are judged as they come or read later.
sub metrics
{
	my ($self, $in_order) = @_;
	$self->{ahead} = {};
	for (1 .. pick(1, 1, 2, 3))
	{
		$self->{transaction}++;
		my $source = $self->{table} && chance(0.4) ? "s$self->{number}" : chance(0.7) ? 'm1' : 'm2';
		my @rows = grep { $_ } map { $self->random_row($source, $in_order) } 1 .. pick(1, 1, 2, 4, 7);
		next if !@rows;
		my $form = pick(qw(values values copy statements savepoints savepoints prepared update), $self->{waiting} ? () : qw(waiting));
		$form = 'statements' if $source =~ /^s/ && $form =~ /prepared|waiting|update/;
		$form = 'values' if $form eq 'waiting' && grep { $_->{at} <= ($self->{former}{ $_->{key} } // $_->{at} - 1) } @rows;
		if ($form eq 'values') { $self->happens(insert(@rows), [ rows => @rows ]); }
		elsif ($form eq 'copy') { $self->happens(copy(@rows), [ rows => @rows ]); }
		elsif ($form eq 'statements') { $self->happens(join("\n", 'BEGIN;', (map { insert($_) } @rows), 'COMMIT;'), [ rows => @rows ]); }
		elsif ($form eq 'savepoints') { $self->savepoints(@rows); }
		elsif ($form eq 'waiting') { $self->prepare(@rows); }
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

# Rows that a later act decides on.
sub prepare
{
	my ($self, @rows) = @_;
	for my $row (@rows)
	{
		my $said = $self->{said}{ $row->{key} };
		delete @$row{ grep { !$said->{$_} } qw(cpu memory used limit running restarts) };
	}
	$self->{waiting} = { gid => $self->gid, rows => \@rows };
	return $self->happens("BEGIN;\n" . insert(@rows) . "\nPREPARE TRANSACTION '$self->{waiting}{gid}';");
}

sub decide
{
	my ($self) = @_;
	my $waiting = delete $self->{waiting};
	my $is_kept = chance(0.75);
	return $self->happens(($is_kept ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$waiting->{gid}';", $is_kept ? [ rows => @{ $waiting->{rows} } ] : ());
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
	  . " WHERE container_id = " . $self->named($row->{key}) . " AND at = '" . $self->at($row->{at}) . "';";
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
	my ($at, $is_odd, $is_ahead);
	if ($in_order && defined $last && $dice >= 0.9)
	{
		# Too late for what newer rows have said; or far ahead: as of when it is judged, after all that the act has put.
		$is_odd = 1;
		$at = $dice < 0.95 || $self->{rows_stay} ? $last - $day * pick(1, 2, 5) : $today + $day * pick(1, 5, 20, 30);
		$is_ahead = $at > $today;
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
		return if $dice >= 0.97 && $self->{rows_stay};
		return if $dice >= 0.97 && ($self->{ahead}{$key} //= $self->{transaction}) != $self->{transaction};
		$is_odd = 1;
		# The same time again, late, or far ahead.
		$at = $dice < 0.9 ? $last : $dice < 0.97 ? $last - $day * pick(1, 2, 5) : $today + $day * pick(1, 5, 20, 30);
	}
	return if $in_order && !$self->is_next($key, $at);
	my $is_former = $at <= ($self->{former}{$key} // $at - 1);
	return if $source =~ /^s/ && ($self->{times}{$key}{$at} || $at > $today || $is_former);
	# What is put while a row is ahead would be of the same time, or late.
	return if $in_order && ($self->{closed}{$key} || $is_former);
	$self->{closed}{$key} = 1 if $in_order && $is_ahead;
	$self->{times}{$key}{$at}++;
	$self->{put}{$key} = max($at, $self->{put}{$key} // $at);
	my %readings = $self->random_readings($key, $source);
	my $said = $self->{said}{$key} //= {};
	# A start reads a container's rows from the oldest of its metrics on; one that was never read has none.
	delete @readings{ grep { !$said->{ s/2//r } } keys %readings } if $in_order && grep { $_ > $at } keys %{ $self->{times}{$key} };
	return { key => $key, name => $self->spelled($key), at => $at, source => $source, is_odd => $is_odd, t0 => $self->{t0}, %readings };
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
	$row{cpu2} = $percent->() if $source =~ /^s/ && chance(0.75);
	$row{memory} = $percent->() if chance(0.35);
	$row{used} = pick(100, 500, 810, 960, 'NaN') if $source !~ /^s/ && chance(0.3);
	$row{limit} = pick(1000, 1000, 600, 2000, 0, -1) if $source !~ /^s/ && chance(0.2);
	if (chance(0.6))
	{
		my $counter = $self->{counter}{$key};
		$row{restarts} = $self->{counter}{$key} = !defined $counter ? int rand 5 : chance(0.1) ? int rand 3 : $counter + pick(0, 0, 0, 1, 1, 2, 4);
	}
	return %row;
}

# --- A metrics table of its own, which is attached, detached and mapped otherwise while rows come.

sub columns_of { my ($source) = @_; return @{ $columns{ $source =~ /^s/ ? 'own' : $source } }; }

sub change_table
{
	my ($self) = @_;
	my $name = "s$self->{number}";
	my $table = $self->{table};
	if (!$table)
	{
		my $key = $self->{key_type};
		$table = $self->{table} = { rows => [], since => [], memory => 1 };
		$self->happens("CREATE TABLE $name (container_id $key REFERENCES containers ON DELETE CASCADE, at timestamptz, cpu float8, cpu2 float8, memory float8, running bool, restarts int);");
		$self->happens(pick('', "CREATE INDEX ON $name (container_id, at);"));
		for (1 .. pick(0, 1, 2, 5))
		{
			my $row = $self->random_row($name, 1) or next;
			$self->happens(insert($row), [ rows => $row ]);
		}
	}
	elsif ($table->{attached} && chance(0.4))
	{
		$table->{attached} = 0;
		return $self->happens("SELECT FROM alerting.detach_metrics('$name');", [ detach => $name ]);
	}
	elsif (chance(0.6))
	{
		# From here on, of rows that come, another column counts; or memory does, or does not.
		my ($newest) = sort { $b <=> $a } map { $_->{at} } @{ $table->{rows} };
		if (chance(0.6)) { push @{ $table->{since} }, $newest if defined $newest && !grep { $_ >= $newest } @{ $table->{since} }; }
		else { $table->{memory} = 1 - $table->{memory}; }
	}
	$table->{attached} = 1;
	my $cpu = 'm.cpu';
	my $n = 0;
	$cpu = "CASE WHEN m.at > '" . $self->at($_) . "' THEN m.cpu" . (++$n % 2 ? '2' : '') . " ELSE $cpu END" for @{ $table->{since} };
	my $memory = $table->{memory} ? 'memory' : '';
	$self->happens("SELECT FROM alerting.attach_metrics('$name', container => 'container_id', at => 'at', cpu => \$\$$cpu\$\$, memory => '$memory', "
		  . "memory_used => '', memory_limit => '', running => 'running', restarts => 'restarts', $self->{attach_options});",
		[ rows => sort { $a->{at} <=> $b->{at} } splice @{ $table->{rows} } ]);
	$self->metrics(1) if chance(0.4);
	return;
}

# What a row of it says that has not been said, when it is attached.
sub told
{
	my ($self, $row) = @_;
	my $table = $self->{table};
	push @{ $table->{rows} }, $row;
	return if !$table->{attached};
	my %mapped = map { $_ => $row->{$_} } grep { exists $row->{$_} && !$row->{told}{$_} } qw(running restarts), $table->{memory} ? 'memory' : ();
	my $column = (grep { $row->{at} > $_ } @{ $table->{since} }) % 2 ? 'cpu2' : 'cpu';
	$mapped{cpu} = $row->{$column} if exists $row->{$column} && !$row->{told}{cpu};
	$row->{told}{$_} = 1 for keys %mapped;
	return { %mapped, map { $_ => $row->{$_} } qw(key at source) };
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
	my @columns = columns_of($rows[0]{source});
	return "INSERT INTO $rows[0]{source} VALUES " . join(', ', map { my $row = $_; "('$row->{name}', '" . time_text(@$row{qw(t0 at)}) . "', "
		  . join(', ', map { literal($_, $row) } @columns) . ')' } @rows) . ';';
}

sub copy
{
	my @rows = @_;
	my @columns = columns_of($rows[0]{source});
	my @lines = map { my $row = $_; join ',', $row->{name}, time_text(@$row{qw(t0 at)}), map { $row->{$_} // '' } @columns } @rows;
	return join "\n", "COPY $rows[0]{source} FROM stdin (FORMAT csv);", @lines, '\\.';
}

1;

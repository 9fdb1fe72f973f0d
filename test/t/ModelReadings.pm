# What rows say of a container, before any rule looks at it: part of the model (ModelTest.pm).
package ModelReadings;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use List::Util qw(sum0);

our @EXPORT_OK = qw(computed_memory count_gain gained merged window_end);

my $no_limit = 2**60;

# The rows of one container in a transaction, by time: those of one time are one, and the last word
# counts. A time ahead of the hour is the hour; what is too old, and what is not finite, is nothing.
sub merged
{
	my ($hour, $max_age, $stale_after, @rows) = @_;
	my %merged;
	for my $row (@rows)
	{
		my $at = $row->{at} > $hour ? $hour : $row->{at};
		next if $at < $hour - $max_age;
		my $one = $merged{$at} //= {};
		for my $name (grep { exists $row->{$_} && $row->{$_} !~ /nan|inf/i } qw(cpu memory used limit running restarts))
		{
			$one->{$name} = { value => $row->{$name}, at => $at, stale_after => $stale_after->{ $row->{source} }, source => $row->{source}, arrived => $hour };
		}
	}
	return %merged;
}

# 100 x used / limit of the last known of each, at the later one's time; a percentage that was given
# for that time or a later one counts instead.
sub computed_memory
{
	my ($c, $at, $row) = @_;
	my $parts = $c->{parts} //= {};
	my @new = grep { $row->{$_} && (!$parts->{$_} || $at >= $parts->{$_}{at}) } qw(used limit);
	$parts->{$_} = $row->{$_} for @new;
	$c->{given} = $at if $row->{memory} && (!$c->{readings}{memory} || $at >= $c->{readings}{memory}{at});
	my ($used, $limit) = @$parts{qw(used limit)};
	return if !@new || !$used || !$limit || $limit->{value} <= 0 || $limit->{value} >= $no_limit;
	my $later = $used->{at} >= $limit->{at} ? $used : $limit;
	return if defined $c->{given} && $c->{given} >= $later->{at};
	return { %$later, value => 100 * $used->{value} / $limit->{value}, arrived => $row->{ $new[0] }{arrived} };
}

# Restarts since the last reading; a corrected one replaces its gain. A counter that falls was reset
# and gained what it shows.
sub count_gain
{
	my ($c, $reading) = @_;
	my ($at, $counter) = @$reading{qw(at value)};
	my $before = $c->{counter_before};
	@{ $c->{gains} } = grep { $_->[0] != $at } @{ $c->{gains} };
	push @{ $c->{gains} }, [ $at, $counter >= $before ? $counter - $before : $counter ] if defined $before;
	return;
}

# Restarts in the window that ends at a time.
sub gained
{
	my ($c, $at, $window) = @_;
	return sum0 map { $_->[1] } grep { $_->[0] > $at - $window && $_->[0] <= $at } @{ $c->{gains} };
}

# The first time from `after` on at which the window holds no more restarts than that.
sub window_end
{
	my ($c, $window, $most, $after) = @_;
	for my $at ($after, sort { $a <=> $b } grep { $_ > $after } map { $_->[0] + $window } @{ $c->{gains} })
	{
		return $at if gained($c, $at, $window) <= $most;
	}
	return;
}

1;

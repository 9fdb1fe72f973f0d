# A server's wall clock in the hands of a test: test/preloaded/shifted_clock.c.
package ClockTest;

use strict;
use warnings FATAL => 'all';
use DeliveryTest ();
use PostgreSQL::Test::Utils;

sub new
{
	my ($class) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir();
	append_to_file("$folder/shift", pack('q', 0));
	return bless { file => "$folder/shift", library => DeliveryTest::preloaded('shifted_clock', $folder) }, $class;
}

# Runs what starts a server under this clock.
sub under
{
	my ($self, $start) = @_;
	local $ENV{LD_PRELOAD} = $self->{library};
	local $ENV{SHIFTED_CLOCK} = $self->{file};
	return $start->();
}

# The clock is off by these seconds from now on.
sub shift_by
{
	my ($self, $seconds) = @_;
	open(my $file, '+<', $self->{file}) or die $!;
	syswrite($file, pack('q', $seconds)) == 8 or die $!;
	close $file;
	return;
}

# The clock goes on from this time, in seconds of the epoch.
sub set { my ($self, $time) = @_; return $self->shift_by($time - time); }

1;

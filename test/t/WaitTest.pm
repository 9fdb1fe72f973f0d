# Waiting for what no query of the server tells.
package WaitTest;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);

our @EXPORT = qw(wait_until);

# Polls until the condition holds; false when it does not within the time that tests may take.
sub wait_until
{
	my ($condition) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	while (time < $deadline)
	{
		return 1 if $condition->();
		usleep(10_000);
	}
	return 0;
}

1;

# Under a steady load of inserts, workers, backends and the server itself are killed at random
# moments. Afterwards the alerts are exactly those of the committed rows, each transition has one
# delivery, and the receiver saw each delivery at least once under one id.
#
# ALERTING_CRASH_ROUNDS=100 makes a soak of it; ALERTING_CRASH_SEED repeats the choice of moments.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use CrashTest;
use List::Util qw(shuffle);
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{ALERTING_CRASH_ROUNDS} // 2;
my $seed = $ENV{ALERTING_CRASH_SEED} // int(rand(1_000_000_000));
srand $seed;
note "ALERTING_CRASH_SEED=$seed";

my @kinds = qw(evaluator sender launcher backend);
for my $round (1 .. $rounds)
{
	my $preload = $round % 2;
	my $test = CrashTest->new("crashes$round", preload => $preload, queue => (qw(64kB 1MB))[ int rand 2 ]);
	my @faults = shuffle((map { [ KILL => $_ ] } (@kinds) x 3), (map { [ TERM => $_ ] } @kinds),
		[ server => 'fast' ], [ server => 'kill' ], ([ server => 'immediate' ]) x 3);
	for my $fault (@faults)
	{
		$test->keep_loading;
		usleep(20_000 + int rand 250_000);    # a random moment
		$fault->[0] eq 'server' ? $test->restart($fault->[1]) : $test->signal(@$fault);
	}
	$test->check($preload ? 'preloaded' : 'not preloaded');
}
done_testing();

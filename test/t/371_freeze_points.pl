# As 370_crashes.pl, but the processes are killed at the points that matter: each is stopped there
# while the others go on, then it is killed, or the server with it.
#
# Needs a library with freeze points (src/pg/freeze_point.h): test/run sanitize builds it.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use CrashTest;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'needs a library with freeze points; test/run sanitize builds one'
  unless $ENV{ALERTING_FREEZE_POINTS};

my $seed = $ENV{ALERTING_CRASH_SEED} // int(rand(1_000_000_000));
srand $seed;
note "ALERTING_CRASH_SEED=$seed";

# Who comes to the point; with a third element only when workers start.
my @points = (
	[ committed => 'backend' ],             # before the hand-over to the queue
	[ prepared => 'backend' ],              # before the mark that its rows may come
	[ drained => 'evaluator' ],             # handed over, not judged
	[ judged => 'evaluator' ],              # nothing written
	[ alerts_written => 'evaluator' ],      # with deliveries and state, not committed
	[ handed_over => 'evaluator' ],         # in the sender's hands, not committed
	[ alerts_committed => 'evaluator' ],    # and nobody told
	[ loaded => 'evaluator', 1 ],           # nothing read back yet
	[ replaying => 'evaluator', 1 ],        # some of it
	[ starting => 'launcher', 1 ],
	[ handed_drained => 'sender' ],         # in its memory, not looked at
	[ looking => 'sender' ],                # about to take a snapshot
	[ sending => 'sender' ],                # claimed
	[ answered => 'sender' ],               # the receiver has it, nobody knows
	[ outcomes_written => 'sender' ],       # not committed
	[ outcomes_committed => 'sender' ]);

# Arms the point, waits until a process stands there, gives its pid.
sub freeze
{
	my ($test, $point, $kind, $at_start) = @_;
	my $folder = $test->node->data_dir . '/alerting_freeze';
	mkdir $folder;
	# There must be an evaluator before the point is armed: it may be its start that stops there.
	my @running;
	if ($at_start)
	{
		wait_until(sub { $test->keep_loading; return @running = $test->processes('evaluator'); }) or die 'no evaluator';
	}
	append_to_file("$folder/$point", '');
	$test->kill_process(TERM => $_, 'evaluator') for @running;
	my $pid;
	my $stands = wait_until(sub {
		$test->keep_loading;
		for my $taken (glob "$folder/$point.*")
		{
			($pid) = $taken =~ /\.(\d+)$/;
			return 1 if grep { $_ == $pid } $test->processes($kind);
			# A worker that changes one of alerting's tables commits, too.
			my $title = eval { slurp_file("/proc/$pid/cmdline") } // 'gone';
			note "$point: passed by $pid, $title";
			append_to_file("$folder/$point", '');
			unlink $taken;
		}
		return 0;
	});
	ok($stands, "$kind at $point: stands there") or die;
	unlink "$folder/$point";
	return $pid;
}

for my $preload (0, 1)
{
	my $test = CrashTest->new("freeze$preload", preload => $preload, queue => $preload ? '64kB' : '1MB');
	$test->keep_loading;
	# State is saved by itself every few seconds.
	for my $point (@points, [ $preload ? 'state_written' : 'state_committed' => 'evaluator' ])
	{
		my ($name, $kind, $at_start) = @$point;
		my $pid = freeze($test, $name, $kind, $at_start);
		if (rand() < 0.3)
		{
			$test->restart('immediate');
		}
		else
		{
			$test->kill_process('KILL', $pid, "$kind at $name");
		}
		unlink glob $test->node->data_dir . '/alerting_freeze/*';
		$test->keep_loading;
	}
	$test->check($preload ? 'preloaded' : 'not preloaded');
}
done_testing();

# Shared memory that has no room for the queue, such as the 64 MB of a container: it is made smaller, and what it
# cannot hold is read from the tables.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest 'preloaded';
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = PostgreSQL::Test::Utils::tempdir();
my $largest = "$folder/largest";
sub have_room_for
{
	my ($bytes) = @_;
	append_to_file("$largest.new", $bytes);
	rename "$largest.new", $largest or die;
	return;
}

have_room_for(3_000_000);
my $node;
{
	local $ENV{LD_PRELOAD} = preloaded('small_shared_memory', $folder);
	local $ENV{SMALL_SHARED_MEMORY} = $largest;
	$node = new_server('shm', preload => 1);
}
if (sql($node, 'postgres', 'SHOW dynamic_shared_memory_type') ne 'posix')
{
	$node->stop('fast');
	plan skip_all => 'shared memory is not that of a file system here';
}
sub set { sql($node, 'postgres', "LOAD 'alerting'; ALTER SYSTEM SET alerting.queue_size = '$_[0]'"); return $node->reload; }
sub restarted
{
	my ($name) = @_;
	sql($node, 'postgres', 'SELECT alerting.stop(), alerting.start()');
	flush($node, 'postgres', name => $name);
	return sql($node, 'postgres', 'SELECT pg_size_pretty(queue_size) FROM alerting.status()');
}
sub doctor { return sql($node, 'postgres', q{SELECT status || ': ' || detail FROM alerting.doctor() WHERE topic = 'queue'}); }

make_host($node, 'postgres');
sql($node, 'postgres', "SELECT rule('cpu', 1, 'CPU_USAGE', 80); SELECT s(10, 1, 95)");
flush($node, 'postgres', name => 'judged');
is(alerts($node, 'postgres'), 'cpu 10 FIRING 1>1', 'alerts come');
is(sql($node, 'postgres', 'SELECT pg_size_pretty(queue_size) FROM alerting.status()'), '2048 kB', 'by a smaller queue');
like(slurp_file($node->logfile), qr/WARNING:  alerting: the sample queue has 2048 kB instead of 16384 kB: could not resize shared memory segment.*No space left/,
	'the log tells');
like(doctor(), qr/^warning: .*has only 2048 kB/, 'and doctor()');

# More than it holds.
sql($node, 'postgres', "INSERT INTO container_metrics SELECT 11, at(1) + n * interval '1 millisecond', 5, 5, true, 0 FROM generate_series(1, 100000) n; SELECT s(11, 9, 95)");
flush($node, 'postgres', name => 'more than it holds is judged');
is(alerts($node, 'postgres', 'container_id = 11'), 'cpu 11 FIRING 9>9', 'from the table');

# A setting that fits, one for which there is no room beside the present queue, and one for which there is.
set('1MB');
is(restarted('a setting that fits'), '1024 kB', 'it is as set');
like(doctor(), qr/^ok: /, 'doctor() is content');
set('8MB');
have_room_for(500_000);
is(restarted('no room beside the present queue'), '1024 kB', 'it stays as it is');
have_room_for(100_000_000);
is(restarted('there is room again'), '8192 kB', 'it is as set');

# None at all: told, and tried again.
have_room_for(0);
sql($node, 'postgres', 'CREATE DATABASE other');
make_host($node, 'other');
sql($node, 'other', "SELECT rule('cpu', 1, 'CPU_USAGE', 80); SELECT s(10, 1, 95)");
ok($node->poll_query_until('other', q{SELECT problem LIKE 'could not resize shared memory%' FROM alerting.status()}), 'no room at all: status() tells');
have_room_for(100_000_000);
sql($node, 'other', 'SELECT alerting.start()');
flush($node, 'other', name => 'judged when there is some');
is(alerts($node, 'other'), 'cpu 10 FIRING 1>1', 'and nothing is lost');
$node->stop('fast');
done_testing();

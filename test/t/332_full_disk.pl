# A disk that is really full: alerts, deliveries and state lie in a tablespace on a small file system.
# The host's inserts go on, the evaluator tries again with pauses and within its memory; once there is
# room everything comes, once and with its own times.
#
# Needs such a file system, ALERTING_SMALL_DISK; test/run mounts one when it is root and may.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $disk = $ENV{ALERTING_SMALL_DISK};
plan skip_all => 'needs a small file system; test/run mounts one as root' unless $disk;

my $node = new_server('full_disk', preload => 1, conf => "alerting.queue_size = 64kB\n");
make_host($node, 'postgres');
mkdir "$disk/space" or die "cannot use $disk: $!";
sql($node, 'postgres', "CREATE TABLESPACE small LOCATION '$disk/space'");
sql($node, 'postgres', <<'SQL');
INSERT INTO containers SELECT n, 1, 'c' || n FROM generate_series(1000, 2999) n;
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('cpu5', 1, 'CPU_USAGE', 80, 5);
INSERT INTO alerting.webhook (id, organization_id, url, is_active) VALUES ('w', 1, 'https://example.invalid/', true);
SELECT alerting.stop();
SET default_tablespace = small;
ALTER TABLE alerting.alert SET TABLESPACE small;
ALTER TABLE alerting.delivery SET TABLESPACE small;
ALTER TABLE alerting.series_state SET TABLESPACE small;
CREATE TABLE filler (block text);
ALTER TABLE filler ALTER block SET STORAGE EXTERNAL;
SQL
sql($node, 'postgres', 'SELECT alerting.start()');
flush($node, 'postgres', name => 'the tables have moved');

# Anonymous memory of the evaluator, in kB; another one may have taken its place.
sub memory
{
	my $pid = worker_pid($node, 'evaluator', 'postgres') || return 0;
	my ($kb) = (eval { slurp_file("/proc/$pid/status") } // '') =~ /^RssAnon:\s+(\d+)/m;
	return $kb // 0;
}

# Fills the disk to the last block.
for my $size (1_000_000, 8000, 100)
{
	my $result = 0;
	$result = $node->psql('postgres', "INSERT INTO filler SELECT repeat('x', $size)", on_error_stop => 1, stderr => \my $ignored) until $result;
}
my ($result, undef, $error) = $node->psql('postgres', "CREATE TABLE more TABLESPACE small AS SELECT generate_series(1, 10000)");
like($error, qr/No space left on device/, 'the disk is full');

# Fires 2 x 2000 alerts, then resolves half of them.
my $offset = -s $node->logfile;
my $before = memory();
my $most = 0;
for my $minute (0 .. 24)
{
	sql($node, 'postgres', "INSERT INTO container_metrics SELECT n, at($minute), CASE WHEN $minute < 20 OR n % 2 = 0 THEN 95 ELSE 5 END, 5, true, 0"
		  . ' FROM generate_series(1000, 2999) n');
	my $memory = memory();
	$most = $memory if $memory > $most;
}
is(sql($node, 'postgres', 'SELECT count(*) FROM container_metrics'), 25 * 2000, 'inserts go on');
ok($node->poll_query_until('postgres', "SELECT problem ~ 'No space left on device' FROM alerting.status()"), 'status() tells');
is(sql($node, 'postgres', "SELECT alerting.flush('100ms')"), 'f', 'and so does flush()');
cmp_ok($most, '<', $before + 64 * 1024, 'the evaluator keeps its memory');
is(alerts($node, 'postgres'), '', 'nothing could be written');

# Also over a restart. (After a crash PostgreSQL itself needs room to recover.)
$node->restart;
sql($node, 'postgres', 'SELECT s(10, 25, 95)');
ok($node->poll_query_until('postgres', "SELECT problem ~ 'No space left on device' FROM alerting.status()"), 'status() tells after a restart, too');

sql($node, 'postgres', 'DROP TABLE filler; CHECKPOINT');
sql($node, 'postgres', 'SELECT alerting.start()');    # ends the pause
flush($node, 'postgres', name => 'there is room: evaluated');
is(sql($node, 'postgres', <<'SQL'), <<'LINES' =~ s/\n$//r, 'every alert came, once, with its own times');
SELECT concat_ws(' ', rule_id, status, concat_ws('>', minute(started_at), minute(fired_at), minute(resolved_at)), count(*), count(DISTINCT container_id))
  FROM alerting.alert WHERE container_id >= 1000 GROUP BY rule_id, status, started_at, fired_at, resolved_at ORDER BY 1
SQL
cpu FIRING 0>0 1000 1000
cpu RESOLVED 0>0>20 1000 1000
cpu5 FIRING 0>5 1000 1000
cpu5 RESOLVED 0>5>20 1000 1000
LINES
is(sql($node, 'postgres', "SELECT event, count(*), count(DISTINCT alert_id) FROM alerting.delivery GROUP BY 1 ORDER BY 1"),
	"alert.firing|4001|4001\nalert.resolved|2000|2000", 'and each transition has its delivery');
is(sql($node, 'postgres', 'SELECT problem FROM alerting.status()'), '', 'status() is content');
my @lines = slurp_file($node->logfile, $offset) =~ /No space left on device/g;
cmp_ok(scalar @lines, '<', 60, 'the log is not flooded');
unlike(slurp_file($node->logfile), qr/PANIC|signal 11|signal 6|TRAP/, 'nothing crashed');
$node->stop('fast');
done_testing();

# What the workers read does not grow with what the tables hold: their plans are kept, and these were made while the
# tables were empty. Nothing is analyzed here, which would have them made anew.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $containers = 600;
my $node = new_node('growing', conf => [ 'autovacuum = off' ]);
my $receiver = start_receiver('growing');
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql("CREATE TABLE container_metrics (container_id int NOT NULL, at timestamptz NOT NULL, cpu_percent float8)");
sql("SELECT alerting.attach_metrics('container_metrics')");
sql("INSERT INTO containers SELECT i, 1, 'container-' || i FROM generate_series(1001, 1000 + $containers) i");
webhook($node, $_, $receiver->url("/$_")) for qw(one two);
sql("SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90)");

# Containers from the first to the last of these report their CPU; all that comes of it is sent.
my $minutes = 0;
sub report
{
	my ($first, $last, $cpu) = @_;
	++$minutes;
	sql("INSERT INTO container_metrics SELECT i, now() - interval '1 hour' + $minutes * interval '1 minute', $cpu
		FROM generate_series($first, $last) i");
	is(sql("SELECT alerting.flush('180s', deliveries => true)"), 't', "$cpu % from $first to $last: sent");
	return;
}
report(10, 10, $_) for 95, 5, 95, 5;  # by all statements
# Whoever was held up in telling of these would be counted with the others.
ok($node->poll_query_until('postgres', "SELECT n_tup_upd = 8 FROM pg_stat_user_tables WHERE relname = 'delivery'"), 'the first ones are told of');
sql('SELECT pg_stat_reset()');

report(1001, 1000 + $containers, $_) for 95, 5;
report(10, 10, $_) for 95, 5;  # by small transactions again
my $deliveries = 2 * 2 * ($containers + 1);
is(sql("SELECT count(*) FROM alerting.delivery WHERE status = 'DELIVERED'"), $deliveries + 8, 'all delivered');
ok($node->poll_query_until('postgres', "SELECT n_tup_upd = $deliveries FROM pg_stat_user_tables WHERE relname = 'delivery'"),
	'what was read is told of');
my $read = sql("SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = 'alerting'");
cmp_ok($read, '<', 150 * $deliveries, 'entries of indexes that the deliveries cost');
my $firing = sql("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'alert_one_firing_key'");
cmp_ok($firing, '<', 4 * $containers, 'none of them read all that is FIRING');

done_testing();

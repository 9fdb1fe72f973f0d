# A metric that swings around its threshold begins and ends an alert with every other row. How often its container's
# state is saved must not grow with them: with the state all that waits is saved.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $swings = 500;
my $node = new_node('swinging', conf => [ 'autovacuum = off' ]);
my $receiver = start_receiver('swinging');
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql("CREATE TABLE container_metrics (container_id int NOT NULL, at timestamptz NOT NULL, cpu_percent float8)");
sql("SELECT alerting.attach_metrics('container_metrics', max_age => NULL)");
webhook($node, 'one', $receiver->url('/one'));
sql("SELECT alerting.create_rule(1, $_, 'CPU_USAGE', 90)") for "'first'", "'second'";
sql("INSERT INTO container_metrics SELECT 10, '2026-01-01 00:00Z'::timestamptz + i * interval '1 second', CASE i % 2 WHEN 1 THEN 95 ELSE 5 END
	FROM generate_series(1, 2 * $swings) i");
is(sql("SELECT alerting.flush('180s', deliveries => true)"), 't', 'judged and sent');

is(sql("SELECT r.name, a.status, a.resolve_reason, count(*), count(DISTINCT a.fired_at), min(a.resolved_at - a.fired_at), max(a.resolved_at - a.fired_at)
	FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id GROUP BY 1, 2, 3 ORDER BY 1"),
	join("\n", map { "$_|RESOLVED|RECOVERED|$swings|$swings|00:00:01|00:00:01" } qw(first second)),
	'each swing is an alert of each rule, with its own times');
is(sql("SELECT event, status, count(*), count(DISTINCT alert_id) FROM alerting.delivery GROUP BY 1, 2 ORDER BY 1"),
	join("\n", map { "alert.$_|DELIVERED|" . 2 * $swings . '|' . 2 * $swings } qw(firing resolved)), 'and each is told of');
ok($node->poll_query_until('postgres', "SELECT n_tup_ins >= 4 * $swings FROM pg_stat_user_tables WHERE relname = 'delivery'"),
	'what was written is told of');
cmp_ok(sql("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'series_state'"), '<', $swings / 5,
	'times that the state was saved');

done_testing();

# The rows of a transaction are judged in the order of their times, however many there are and however they are inserted.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use Test::More;

my $node = new_node('order');
fixture($node, 'order_in');
rule($node, 'order_in', 1, 'CPU_USAGE', 90, 0);
my $insert = 'INSERT INTO container_metrics (container_id, at, cpu_percent)
	SELECT %d, timestamptz \'2026-03-02 10:00Z\' + i * interval \'1 second\', CASE WHEN i BETWEEN 600 AND 2999 THEN 95 ELSE 5 END
	  FROM generate_series(0, 3599) i ORDER BY %s;';
$node->safe_psql('order_in', sprintf($insert, 10, 'i DESC'));
$node->safe_psql('order_in', 'BEGIN; ' . sprintf($insert, 11, 'md5(i::text)') . 'SELECT 1; COMMIT');
is(alerts($node, 'order_in'), "CPU_USAGE 10 RESOLVED 10:10:00 10:10:00 10:50:00\nCPU_USAGE 11 RESOLVED 10:10:00 10:10:00 10:50:00",
	'backwards and at random: one alert each, at its times');
is($node->safe_psql('order_in', 'SELECT late FROM alerting.status()'), 0, 'none is late');
clean_log_ok($node);
done_testing();

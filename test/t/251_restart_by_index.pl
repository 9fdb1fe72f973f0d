# After a start the rows since the last judged ones are found by the table's index, container by
# container where it is (container, time), however much history the table holds.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use Test::More;

my $node = new_node('restart_by_index');
my $db = 'restart_by_index';
$node->append_conf('postgresql.conf', "autovacuum = off\n");
$node->reload;
fixture($node, $db, metrics => 'container_id int, at timestamptz, cpu_percent float8');
sub run_sql { return $node->safe_psql($db, join '', @_); }
run_sql("SET client_min_messages = warning; SELECT alerting.attach_metrics('container_metrics', max_age => '1 hour')");
rule($node, $db, 1, 'CPU_USAGE', 90, 0);

# What workers counted is known once they have left.
sub scans
{
	my ($table) = @_;
	$table //= 'container_metrics';
	run_sql('SELECT alerting.stop()');
	$node->poll_query_until($db, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'alerting evaluator'");
	return run_sql("SELECT seq_scan || ' ' || (idx_scan > 0) FROM pg_stat_user_tables WHERE relid = '$table'::regclass");
}

# A day of one row a second, long judged; three containers have written since, one of them for the first time.
flush_ok($node, $db);
run_sql('SELECT alerting.stop()');
run_sql(q{ALTER TABLE container_metrics ADD PRIMARY KEY (container_id, at);
	INSERT INTO containers VALUES (50, 1, 'known'), (51, 1, 'new'), (52, 1, 'quiet');
	INSERT INTO container_metrics SELECT 1000 + g % 100, now() - interval '1 day' + make_interval(secs => g), 5 FROM generate_series(1, 80000) g;
	VACUUM ANALYZE container_metrics; SELECT alerting.start();});
flush_ok($node, $db);
run_sql(q{INSERT INTO container_metrics VALUES (50, now() - interval '10 minutes', 5), (52, now() - interval '10 minutes', 5);});
flush_ok($node, $db);
run_sql('SELECT alerting.stop()');
run_sql(q{INSERT INTO container_metrics VALUES (50, now() - interval '5 minutes', 95), (51, now() - interval '50 minutes', 96);});
my ($before) = split / /, scans();
run_sql('SELECT alerting.start()');
flush_ok($node, $db);
is(run_sql('SELECT container_id, value FROM alerting.alert ORDER BY 1'), "50|95\n51|96", 'rows since the stop are judged, of new containers too');
is(scans(), "$before true", 'and were found by the index');

# With an index on time alone that serves.
run_sql(q{CREATE INDEX ON container_metrics (at); INSERT INTO container_metrics VALUES (52, now() - interval '4 minutes', 97);});
run_sql('SELECT alerting.start()');
flush_ok($node, $db);
is(run_sql('SELECT container_id FROM alerting.alert WHERE value = 97'), '52', 'so are rows found by time');

# So is a time that is a number of any type, in the unit that it is said to have.
for ([ 'seconds', 'int', 's', 1 ], [ 'milliseconds', 'bigint', 'ms', 1000 ], [ 'microseconds', 'bigint', 'us', 1000000 ], [ 'fractions', 'numeric', 's', 1 ],
	[ 'floating', 'float8', 'ms', 1000 ])
{
	my ($table, $type, $unit, $factor) = @$_;
	for my $index ('(ts)', '(container_id, ts)')
	{
		my $number = sub { return "(extract(epoch FROM now() - interval '$_[0]') * $factor)::$type" };
		run_sql(qq{SET client_min_messages = warning; TRUNCATE alerting.series_state, alerting.alert; DROP TABLE IF EXISTS $table; DELETE FROM alerting.metric_source;
			CREATE TABLE $table (container_id int, ts $type, cpu_percent float8); CREATE INDEX ON $table $index;
			INSERT INTO $table SELECT 10 + g % 2, (extract(epoch FROM now() - interval '1 day') + g)::$type * $factor, 5 FROM generate_series(1, 80000) g;
			INSERT INTO $table VALUES (11, } . $number->('10 minutes') . qq{, 5); VACUUM ANALYZE $table;
			SELECT alerting.attach_metrics('$table', at => 'ts', at_unit => '$unit', cpu => 'cpu_percent'); SELECT alerting.start()});
		flush_ok($node, $db);
		run_sql('SELECT alerting.stop()');
		run_sql("INSERT INTO $table VALUES (10, " . $number->('5 minutes') . ', 95), (11, ' . $number->('4 minutes') . ', 96)');
		($before) = split / /, scans($table);
		run_sql('SELECT alerting.start()');
		flush_ok($node, $db);
		is(run_sql('SELECT container_id, value FROM alerting.alert ORDER BY 1'), "10|95\n11|96", "$table, $index: rows since the stop are judged");
		is(scans($table), "$before true", "$table, $index: and were found by the index");
		is(run_sql(q{SELECT p.container_id, p.value FROM alerting.preview(1, 'CPU_USAGE', 90, 0, '-infinity', 'infinity') p ORDER BY 1}), "10|95\n11|96", "$table: previewed");
	}
}

clean_log_ok($node);
done_testing();

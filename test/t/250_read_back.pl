# Rows that are read back from the metrics tables are judged as when they were written: all sources
# as one stream, all rows of one time together, the last one written last, and no form of a row that
# was corrected meanwhile.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('read_back');
my $db = 'read_back';
fixture($node, $db, metrics => 'container_id int, at timestamptz, used float8, lim float8',
	attach => ", memory_used => 'used', memory_limit => 'lim'");
sub run_sql { return $node->safe_psql($db, join '', @_); }
sub stopped { flush_ok($node, $db); run_sql('SELECT alerting.stop();', @_, 'SELECT alerting.start();'); return; }

rule($node, $db, 1, 'MEMORY_USAGE', 90, 0);

# A row fails that comes after those that are fetched at once, the last of which are of one time with the next: these are judged, too.
run_sql(q{INSERT INTO containers SELECT g, 1, 'border' FROM generate_series(16, 19) g;
	CREATE TABLE border (container_id int, at timestamptz, share text); CREATE INDEX ON border (at);
	SET client_min_messages = warning; SELECT alerting.attach_metrics('border', memory => 'share::float8', max_age => NULL);});
stopped(q{INSERT INTO border SELECT 16, '2026-03-02 10:00Z'::timestamptz + g * interval '1 ms', '5' FROM generate_series(1, 4998) g;
	INSERT INTO border SELECT g, '2026-03-02 10:01Z', '95' FROM generate_series(16, 19) g;
	INSERT INTO border SELECT 16, '2026-03-02 10:01Z'::timestamptz + g * interval '1 ms', '95' FROM generate_series(1, 500) g;
	INSERT INTO border VALUES (16, '2026-03-02 10:02Z', 'failing'); ANALYZE border;});
flush_ok($node, $db);
is(run_sql(q{SELECT string_agg(container_id || ' ' || status, ', ' ORDER BY container_id) FROM alerting.alert WHERE container_id BETWEEN 16 AND 19}),
	'16 FIRING, 17 FIRING, 18 FIRING, 19 FIRING', 'rows right before one that fails');
run_sql(q{SET client_min_messages = warning; SELECT alerting.detach_metrics('border'); DROP TABLE border; DELETE FROM containers WHERE id BETWEEN 16 AND 19;});

# Figures of one moment in separate rows, more rows than are fetched at once: a use of 1500 comes
# with the limit of 2000, not with the 1000 of before.
run_sql(q{INSERT INTO containers SELECT g, 1, 'c' FROM generate_series(1001, 7000) g;
	INSERT INTO container_metrics SELECT g, '2026-03-02 10:00Z', 500, 1000 FROM generate_series(1001, 7000) g;});
stopped(q{INSERT INTO container_metrics SELECT g, '2026-03-02 10:05Z', 1500, NULL FROM generate_series(1001, 7000) g;
	INSERT INTO container_metrics SELECT g, '2026-03-02 10:05Z', NULL, 2000 FROM generate_series(1001, 7000) g;});
is(alerts($node, $db), '', 'rows of one time are judged together');

# The same figures from two tables, each row with a later one in the other: at 10:02 the use grows, at
# 10:03 the limit.
run_sql(q{CREATE TABLE uses (container_id int, at timestamptz, used bigint); CREATE TABLE limits (container_id int, at timestamptz, lim bigint);
	SET client_min_messages = warning;
	SELECT alerting.attach_metrics('limits', memory_limit => 'lim', max_age => NULL);
	SELECT alerting.attach_metrics('uses', memory_used => 'used', max_age => NULL);});
stopped(q{INSERT INTO limits VALUES (10, '2026-03-02 10:00Z', 1000), (10, '2026-03-02 10:03Z', 4000), (10, '2026-03-02 10:06Z', 3000);
	INSERT INTO uses VALUES (10, '2026-03-02 10:01Z', 500), (10, '2026-03-02 10:02Z', 1500), (10, '2026-03-02 10:04Z', 2000), (10, '2026-03-02 10:05Z', 2500), (10, '2026-03-02 10:07Z', 2900);});
is(alerts($node, $db), "MEMORY_USAGE 10 RESOLVED 10:02:00 10:02:00 10:03:00\nMEMORY_USAGE 10 FIRING 10:07:00 10:07:00", 'two sources are one stream');

# Of two rows at one time the one written last counts.
stopped((map { "INSERT INTO uses VALUES (11, '2026-03-02 10:0${_}Z', 990), (11, '2026-03-02 10:0${_}Z', 10);" } 1 .. 9),
	q{INSERT INTO limits VALUES (11, '2026-03-02 10:00Z', 1000); INSERT INTO uses VALUES (11, '2026-03-02 10:10Z', 10), (11, '2026-03-02 10:10Z', 950);});
is(alerts($node, $db) =~ s/.* 10 .*\n//gr, 'MEMORY_USAGE 11 FIRING 10:10:00 10:10:00', 'of two rows at one time the last counts');

# A sample that was sent and corrected while nobody evaluated: what lay in the queue is not taken
# for a correction of the correction.
stopped(q{INSERT INTO limits VALUES (20, '2026-03-02 10:00Z', 1000), (12, '2026-03-02 10:00Z', 1000);
	INSERT INTO containers VALUES (12, 1, 'corrected');
	INSERT INTO uses VALUES (12, '2026-03-02 10:01Z', 990); UPDATE uses SET used = 10 WHERE container_id = 12;});
run_sql(q{INSERT INTO uses VALUES (12, '2026-03-02 10:02Z', 11)});
unlike(alerts($node, $db), qr/ 12 /, 'a corrected sample raises nothing');

# A limit of before the last use, which comes while nobody evaluated: each part of memory has a time
# of its own, and rows are read from there on.
run_sql(q{INSERT INTO containers VALUES (13, 1, 'parts'); INSERT INTO limits VALUES (13, '2026-03-02 10:00Z', 2000);
	INSERT INTO uses VALUES (13, '2026-03-02 10:10Z', 950);});
stopped(q{INSERT INTO limits VALUES (13, '2026-03-02 10:05Z', 1000);});
like(alerts($node, $db), qr/^MEMORY_USAGE 13 FIRING 10:10:00 10:10:00$/m, 'an earlier part puts the reading right');

# What two tables say of one time is read again in the tables' order, not in that of the commits: it
# was judged, and is no correction.
run_sql(q{INSERT INTO containers VALUES (14, 1, 'twice'); INSERT INTO uses VALUES (14, '2026-03-02 10:01Z', 10);
	INSERT INTO container_metrics VALUES (14, '2026-03-02 10:01Z', 950, 1000);});
stopped('');
like(alerts($node, $db), qr/^MEMORY_USAGE 14 FIRING 10:01:00 10:01:00$/m, 'what was corrected stays so');
stopped(q{INSERT INTO uses VALUES (14, '2026-03-02 10:01Z', 20);});
like(alerts($node, $db), qr/^MEMORY_USAGE 14 RESOLVED 10:01:00 10:01:00 10:01:00$/m, 'a correction that nobody has judged counts');

# A row of a time far ahead that nobody has judged is taken when it is read, as one that comes is taken at its arrival;
# what was judged is not judged again.
run_sql(q{INSERT INTO containers VALUES (15, 1, 'ahead'); INSERT INTO limits VALUES (15, now() - interval '1 minute', 1000);});
flush_ok($node, $db);
stopped(q{INSERT INTO uses VALUES (15, now() + interval '1 day', 950);});
my $ahead = q{SELECT status, fired_at BETWEEN now() - interval '5 minutes' AND now() FROM alerting.alert WHERE container_id = 15};
flush_ok($node, $db);
is(run_sql($ahead), 'FIRING|t', 'a row far ahead is judged when it is read back');
run_sql(q{INSERT INTO uses VALUES (15, now(), 10);});
flush_ok($node, $db);
is(run_sql($ahead), 'RESOLVED|t', 'what comes after it counts');
stopped('') for 1 .. 2;
flush_ok($node, $db);
is(run_sql($ahead), 'RESOLVED|t', 'a row far ahead is judged once');
is(run_sql(q{SELECT state FROM alerting.explain((SELECT id FROM alerting.alert_rule), 15)}), 'OK', 'explain() knows that');

# What is written while tables are read: of two rows in two tables the later one is not seen without the first.
{
	run_sql(q{CREATE TABLE early (container_id int, at timestamptz, percent float8); CREATE TABLE later (LIKE early);
		CREATE FUNCTION held(float8) RETURNS float8 STABLE LANGUAGE plpgsql AS $$
		BEGIN
		  WHILE NOT pg_try_advisory_lock_shared(7) LOOP PERFORM pg_sleep(0.01); END LOOP;
		  PERFORM pg_advisory_unlock_shared(7);
		  RETURN $1;
		END $$;
		SET client_min_messages = warning;
		SELECT alerting.attach_metrics('early', memory => 'held(percent)', max_age => NULL);
		SELECT alerting.attach_metrics('later', memory => 'percent', max_age => NULL);
		INSERT INTO containers VALUES (16, 1, 'meanwhile'); INSERT INTO early VALUES (16, '2026-03-02 10:01Z', 5);});
	flush_ok($node, $db);
	my $session = $node->background_psql($db);
	$session->query_safe('SELECT pg_advisory_lock(7)');
	run_sql('SELECT alerting.stop(); SELECT alerting.start();');
	$node->poll_query_until($db, q{SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE backend_type = 'alerting evaluator' AND datname = current_database()}) or die 'not read';
	$session->query_safe($_) for q{INSERT INTO early VALUES (16, '2026-03-02 10:02Z', 95)}, q{INSERT INTO later VALUES (16, '2026-03-02 10:05Z', 5)}, 'SELECT pg_advisory_unlock(7)';
	$session->quit;
	like(alerts($node, $db), qr/^MEMORY_USAGE 16 RESOLVED 10:02:00 10:02:00 10:05:00$/m, 'rows that come while tables are read overtake none');
	run_sql(q{SELECT alerting.detach_metrics('early'); SELECT alerting.detach_metrics('later');});
}

# A mapping that does not fit any more, and a table that is locked, delay no other source.
{
	my $session = $node->background_psql($db);
	run_sql('SELECT alerting.stop();', q{ALTER TABLE limits RENAME lim TO maximum; ALTER TABLE container_metrics RENAME used TO usage;
		CREATE TABLE more (container_id int, at timestamptz, percent float8);
		SET client_min_messages = warning;
		SELECT alerting.attach_metrics('more', memory => 'percent', max_age => NULL); SELECT alerting.stop();
		INSERT INTO more VALUES (11, '2026-03-02 10:20Z', 5); INSERT INTO uses VALUES (10, '2026-03-02 10:20Z', 1);});
	$session->query_safe('BEGIN; LOCK TABLE uses IN ACCESS EXCLUSIVE MODE');
	run_sql('SELECT alerting.start();');
	$node->poll_query_until($db, q{SELECT count(*) = 1 FROM alerting.alert WHERE container_id = 11 AND status = 'RESOLVED'}) or die 'delayed';
	is(run_sql(q{SELECT count(*) FROM alerting.alert WHERE container_id = 10 AND status = 'FIRING'}), 1, 'a locked table is read later');
	$session->query_safe('COMMIT');
	$session->quit;
	like(alerts($node, $db), qr/^MEMORY_USAGE 10 RESOLVED 10:07:00 10:07:00 10:20:00$/m, 'when the lock is gone');
	$node->wait_for_log(qr/WARNING:  alerting: table public\.limits cannot be read/);
}

# Who reads a partitioned table, as the evaluator does, locks the table and then its partitions; so
# does who detaches it, or there would be a deadlock.
{
	run_sql(q{CREATE TABLE parts (container_id int, at timestamptz, percent float8) PARTITION BY RANGE (at);
		CREATE TABLE part PARTITION OF parts DEFAULT;
		SET client_min_messages = warning; SELECT alerting.attach_metrics('parts', memory => 'percent', max_age => NULL);});
	my ($reader, $detacher) = map { $node->background_psql($db) } 1 .. 2;
	$reader->query_safe('BEGIN; LOCK TABLE ONLY parts IN ACCESS SHARE MODE');
	$detacher->query_until(qr/detaching/, "\\echo detaching\nSELECT alerting.detach_metrics('parts');\n");
	$node->poll_query_until($db, q{SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'parts'::regclass AND NOT granted)}) or die 'detached too early';
	is($reader->query_safe(q{SET lock_timeout = '60s'; SELECT count(*) FROM part}), 0, 'detaching a partitioned table locks the table first');
	$reader->query_safe('COMMIT');
	$reader->quit;
	$detacher->quit;
	is(run_sql(q{SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('parts'::regclass, 'part'::regclass)}), 0, 'and is done when the reader is');
}

clean_log_ok($node);
$node->stop;
done_testing();

# What counts is what was committed: savepoints, exception blocks, two-phase commit, COPY, upserts,
# MERGE, constraints that fail at COMMIT, two writers, replica sessions.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use Test::More;

my $node = new_server('transactions', conf => "max_prepared_transactions = 10\n");
make_host($node, 'postgres');
sql($node, 'postgres', "SELECT rule('cpu', 1, 'CPU_USAGE', 80)");
flush($node, 'postgres');

# Runs the statements as one session, then compares the alerts of a fresh container.
my $container = 100;
my $expected_rows = 0;

sub gives
{
	my ($statements, $expected, $name) = @_;
	$container++;
	sql($node, 'postgres', "INSERT INTO containers VALUES ($container, 1, 'c')");
	my $script = ref $statements ? join ";\n", @$statements : $statements;
	$script =~ s/\bC\b/$container/g;
	my ($stdout, $stderr);
	$node->psql('postgres', "SET client_min_messages = error;\n$script", stdout => \$stdout, stderr => \$stderr);
	flush($node, 'postgres');
	my $alerts = alerts($node, 'postgres', "container_id = $container");
	$alerts =~ s/^cpu $container //mg;
	is($alerts, $expected, $name) or diag($stderr);
	return $stderr;
}

# Savepoints.
gives("BEGIN; SELECT s(C, 1, 95); ROLLBACK", '', 'a rolled back insert leaves no trace');
gives("BEGIN; SELECT s(C, 1, 95); SAVEPOINT a; SELECT s(C, 2, 5); ROLLBACK TO a; COMMIT", 'FIRING 1>1',
	'rolled back to a savepoint');
gives("BEGIN; SAVEPOINT a; SELECT s(C, 1, 95); SAVEPOINT b; SELECT s(C, 2, 5); RELEASE b; ROLLBACK TO a; COMMIT", '',
	'a released savepoint goes with the outer one');
gives("BEGIN; SAVEPOINT a; SELECT s(C, 1, 95); RELEASE a; SAVEPOINT b; SELECT s(C, 2, 5); ROLLBACK TO b; COMMIT", 'FIRING 1>1',
	'a released savepoint does not go with the next one');
gives("BEGIN; SAVEPOINT a; SELECT s(C, 1, 95); ROLLBACK TO a; SELECT s(C, 2, 95); RELEASE a; COMMIT", 'FIRING 2>2',
	'a savepoint used again after its rollback');
gives("BEGIN; SELECT s(C, 1, 5); SAVEPOINT a; SELECT s(C, 2, 5); ROLLBACK TO a; SELECT s(C, 2, 95); COMMIT", 'FIRING 2>2',
	'a row at the time of one rolled back');
gives("BEGIN; SAVEPOINT a; SELECT s(C, 1, 95); RELEASE a; SAVEPOINT b; SELECT s(C, 2, 5); ROLLBACK; SELECT 1", '',
	'everything rolled back');

my $depth = 100;    # more than the buffer tells apart
my @deep = map { "SAVEPOINT p$_; SELECT s(C, $_ / 10.0, 95)" } 1 .. $depth;
gives([ 'BEGIN', @deep, 'ROLLBACK TO p1', 'SELECT s(C, 20, 95)', 'COMMIT' ], 'FIRING 20>20',
	'a hundred savepoints, rolled back to the first');
gives([ 'BEGIN', @deep, 'ROLLBACK TO p90', 'SELECT s(C, 20, 5)', 'COMMIT' ], 'RESOLVED 0.1>0.1>20 RECOVERED',
	'a hundred savepoints, rolled back near the top');
gives([ 'BEGIN', @deep, 'ROLLBACK TO p20', 'COMMIT' ], 'FIRING 0.1>0.1', 'a hundred savepoints, most rolled back');
gives([ 'BEGIN', (map { "SAVEPOINT p; SELECT s(C, $_, 95); ROLLBACK TO p" } 1 .. 30), 'SELECT s(C, 31, 95)', 'COMMIT' ],
	'FIRING 31>31', 'one savepoint rolled back again and again');

gives("DO \$\$ BEGIN FOR i IN 1 .. 20 LOOP BEGIN PERFORM s(C, i, CASE WHEN i % 2 = 0 THEN 95 ELSE 5 END);"
	  . " IF i % 2 = 0 THEN RAISE division_by_zero; END IF; EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END \$\$", '',
	'exception blocks that roll back the bad samples');
gives("DO \$\$ BEGIN PERFORM s(C, 1, 95); BEGIN PERFORM s(C, 2, 5); PERFORM 1 / 0; EXCEPTION WHEN OTHERS THEN"
	  . " PERFORM s(C, 3, 96); END; END \$\$", 'FIRING 1>1', 'an exception handler inserts');
gives("DO \$\$ BEGIN PERFORM s(C, 1, 95); COMMIT; PERFORM s(C, 2, 5); ROLLBACK; PERFORM s(C, 3, 95); COMMIT; END \$\$",
	'FIRING 1>1', 'transactions inside a procedure');

# One transaction is sorted by time.
gives("BEGIN; SELECT s(C, 3, 5); SELECT s(C, 1, 95); SELECT s(C, 2, 95); COMMIT", 'RESOLVED 1>1>3 RECOVERED',
	'rows of one transaction are sorted');
gives("SELECT s(C, 3, 5); SELECT s(C, 1, 95)", '', 'rows of two are not');

# COPY, also with more than one buffer's worth.
gives("COPY container_metrics FROM STDIN;\n"
	  . join('', map { sprintf "C\t%s\t%d\t5\tt\t0\n", sql($node, 'postgres', "SELECT at($_)"), $_ == 2 ? 95 : 5 } 1 .. 3) . "\\.\n",
	'RESOLVED 2>2>3 RECOVERED', 'COPY: an incident begins and ends inside one');
gives("INSERT INTO container_metrics SELECT C, at(n / 1000.0), CASE WHEN n BETWEEN 20000 AND 30000 THEN 95 ELSE 5 END, 5, true, 0"
	  . " FROM generate_series(0, 40000) n", 'RESOLVED 20>20>30.001 RECOVERED', 'a large INSERT');
gives("BEGIN; TRUNCATE container_metrics; COPY container_metrics FROM STDIN WITH (FREEZE);\nC\t"
	  . sql($node, 'postgres', 'SELECT at(2)') . "\t95\t5\tt\t0\n\\.\nCOMMIT;", 'FIRING 2>2', 'COPY FREEZE after TRUNCATE');

my $time = sub { sql($node, 'postgres', "SELECT at($_[0])") };
like(gives("\\set ON_ERROR_STOP 0\nCOPY container_metrics FROM STDIN;\nC\t" . $time->(1) . "\t95\t5\tt\t0\nC\t" . $time->(2) . "\tninety\t5\tt\t0\n\\.\nSELECT s(C, 3, 95);", 'FIRING 3>3',
		'a COPY that fails at a row leaves no trace'), qr/invalid input syntax/, 'it did fail');
gives("\\set ON_ERROR_STOP 0\nBEGIN; SAVEPOINT a;\nCOPY container_metrics FROM STDIN;\nC\t" . $time->(1) . "\t95\t5\tt\t0\nnobody\n\\.\nROLLBACK TO a; SELECT s(C, 2, 95); COMMIT;", 'FIRING 2>2',
	'nor one under a savepoint');
gives("SELECT s(C, 1, 95); TRUNCATE container_metrics; SELECT s(C, 2, 5)", 'RESOLVED 1>1>2 RECOVERED', 'TRUNCATE of the metrics is no reading');
gives("BEGIN; SELECT s(C, 1, 95); TRUNCATE container_metrics; COMMIT; SELECT s(C, 2, 95)", 'FIRING 1>1', 'a sample counts though its row is truncated');

# Upserts and MERGE.
sql($node, 'postgres', 'ALTER TABLE container_metrics ADD CONSTRAINT one UNIQUE (container_id, at)');
my $row = 'INSERT INTO container_metrics VALUES (C, at(%d), %d, 5, true, 0) ON CONFLICT %s';
my $update = '(container_id, at) DO UPDATE SET cpu_percent = excluded.cpu_percent';
gives([ map { sprintf $row, @$_ } [ 1, 95, 'DO NOTHING' ], [ 1, 5, 'DO NOTHING' ] ], 'FIRING 1>1',
	'ON CONFLICT DO NOTHING: what was not inserted is no sample');
gives([ map { sprintf $row, @$_ } [ 1, 5, $update ], [ 1, 95, $update ], [ 2, 95, $update ], [ 2, 5, $update ] ],
	'RESOLVED 1>1>2 RECOVERED', 'ON CONFLICT DO UPDATE: corrections count');
gives([ map { sprintf $row, @$_ } [ 1, 5, $update ], [ 1, 95, "$update WHERE excluded.cpu_percent < 50" ], [ 2, 95, 'ON CONSTRAINT one DO NOTHING' ] ],
	'FIRING 2>2', 'ON CONFLICT DO UPDATE ... WHERE: what was not updated is no sample');
gives([ 'BEGIN', (map { sprintf $row, @$_ } [ 1, 95, $update ], [ 1, 5, $update ]), 'COMMIT' ], '',
	'two values for one time in one transaction: the last counts');
gives("MERGE INTO container_metrics m USING (SELECT C AS c, at(1) AS t, 95 AS v) n ON m.container_id = n.c AND m.at = n.t"
	  . " WHEN MATCHED THEN UPDATE SET cpu_percent = n.v WHEN NOT MATCHED THEN INSERT VALUES (n.c, n.t, n.v, 5, true, 0);"
	  . "MERGE INTO container_metrics m USING (SELECT C AS c, at(1) AS t, 6 AS v) n ON m.container_id = n.c AND m.at = n.t"
	  . " WHEN MATCHED THEN UPDATE SET cpu_percent = n.v WHEN NOT MATCHED THEN INSERT VALUES (n.c, n.t, n.v, 5, true, 0)",
	'RESOLVED 1>1>1 RECOVERED', 'MERGE: inserted, then corrected');
gives("SELECT s(C, 1, 95); DELETE FROM container_metrics WHERE container_id = C", 'FIRING 1>1', 'a deleted sample is no reading');

# An UPDATE of other columns is not even read, unless a trigger before it may change those that count.
sql($node, 'postgres', 'ALTER TABLE container_metrics ADD COLUMN note text');
my $judged = sub { flush($node, 'postgres'); return sql($node, 'postgres', 'SELECT samples FROM alerting.status()') };
my $before = $judged->();
gives("SELECT s(C, 1, 5); UPDATE container_metrics SET note = 'n'", '', 'an update of another column');
is($judged->() - $before, 1, 'which is not read');
sql($node, 'postgres', "CREATE FUNCTION heat() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.cpu_percent := 95; RETURN NEW; END';"
	  . ' CREATE TRIGGER heat BEFORE UPDATE ON container_metrics FOR EACH ROW EXECUTE FUNCTION heat()');
gives("SELECT s(C, 1, 5); UPDATE container_metrics SET note = 'm' WHERE container_id = C", 'FIRING 1>1', 'and one that a trigger makes count');
sql($node, 'postgres', 'DROP TRIGGER heat ON container_metrics');

gives("SELECT s(C, 1, 95); MERGE INTO container_metrics m USING (VALUES (C, at(1)), (C, at(2))) AS n(c, t) ON m.container_id = n.c AND m.at = n.t"
	  . " WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING", 'FIRING 1>1', 'MERGE: what it deletes or leaves is no reading');

# Isolation levels, and a constraint that fails at COMMIT.
gives("BEGIN ISOLATION LEVEL $_; SELECT s(C, 1, 95); COMMIT", 'FIRING 1>1', lc $_) for 'SERIALIZABLE', 'REPEATABLE READ';
sql($node, 'postgres', 'ALTER TABLE container_metrics ADD CONSTRAINT late FOREIGN KEY (container_id)'
	  . ' REFERENCES containers DEFERRABLE INITIALLY DEFERRED');
sql($node, 'postgres', 'CREATE TABLE child (id int REFERENCES containers DEFERRABLE INITIALLY DEFERRED)');
my $error = gives("BEGIN; SELECT s(C, 1, 95); INSERT INTO child VALUES (-1); COMMIT", '', 'a constraint that fails at COMMIT');
like($error, qr/violates foreign key constraint/, 'it did fail');
gives("SET session_replication_role = replica; SELECT s(C, 1, 95); RESET session_replication_role; SELECT s(C, 2, 95)",
	'FIRING 2>2', 'a replica session fires no triggers: its rows are no samples');
gives("SELECT s(C, 1, 95); SET SESSION AUTHORIZATION DEFAULT; BEGIN READ ONLY; SELECT 1; COMMIT", 'FIRING 1>1', 'read only transactions');

# Two-phase commit: decided later, by another session.
my $replays = sub { flush($node, 'postgres'); return sql($node, 'postgres', 'SELECT replays FROM alerting.status()') };
my $replays_before = $replays->();
gives("BEGIN; SELECT s(C, 1, 95); PREPARE TRANSACTION 'a'; ROLLBACK PREPARED 'a'", '', 'a prepared transaction, rolled back');
gives("BEGIN; SELECT s(C, 1, 95); PREPARE TRANSACTION 'a'; COMMIT PREPARED 'a'", 'FIRING 1>1', 'a prepared transaction, committed');
gives("BEGIN; SELECT s(C, 1, 95); PREPARE TRANSACTION 'a'; SELECT alerting.flush(); COMMIT PREPARED 'a'", 'FIRING 1>1',
	'a prepared transaction, committed after a flush');
gives([ map { "BEGIN; SELECT s(C, $_.1, 95); PREPARE TRANSACTION 'a'; COMMIT PREPARED 'a'; SELECT s(C, $_.2, 5)" } 1 .. 20 ],
	join("\n", map { "RESOLVED $_.1>$_.1>$_.2 RECOVERED" } 1 .. 20), 'what comes after prepared rows are committed does not overtake them');
gives("BEGIN; SELECT s(C, 1, 95); SAVEPOINT a; SELECT s(C, 2, 5); ROLLBACK TO a; PREPARE TRANSACTION 'a'; SELECT alerting.flush(); COMMIT PREPARED 'a'",
	'FIRING 1>1', 'a prepared transaction, in part rolled back');
gives("BEGIN; SELECT s(C, 1, 95); PREPARE TRANSACTION 'a'; SELECT s(C, 2, 5); SELECT alerting.flush(); COMMIT PREPARED 'a'", '',
	'prepared rows are late where newer ones were committed before');
gives("BEGIN; SELECT s(C, 1, 95); PREPARE TRANSACTION 'a'; BEGIN; SELECT s(C, 2, 5); PREPARE TRANSACTION 'b'; SELECT alerting.flush();"
	  . " COMMIT PREPARED 'a'; COMMIT PREPARED 'b'", 'RESOLVED 1>1>2 RECOVERED', 'two prepared transactions');
gives("SELECT s(C, 1, 95); SELECT alerting.flush(); BEGIN; DELETE FROM containers WHERE id = C; INSERT INTO containers VALUES (C, 1);"
	  . " SELECT s(C, 2, 96); PREPARE TRANSACTION 'a'; SELECT alerting.flush(); COMMIT PREPARED 'a'", 'FIRING 2>2',
	'a container deleted and made again by a prepared transaction');
# All that is told to an evaluator that stands still, it finds at once.
my $at_once = sub { my $pid = worker_pid($node, 'evaluator', 'postgres'); return "\n\\! kill -STOP $pid\n$_[0];\n\\! kill -CONT $pid\n" };
gives("BEGIN; SELECT s(C, 2, 5); PREPARE TRANSACTION 'a'; SELECT alerting.flush();" . $at_once->("SELECT s(C, 1, 95); COMMIT PREPARED 'a'"),
	'RESOLVED 1>1>2 RECOVERED', 'what was committed before a prepared transaction is not late after it');
gives($at_once->("BEGIN; SELECT s(C, 2, 5); PREPARE TRANSACTION 'a'; SELECT s(C, 1, 95); COMMIT PREPARED 'a'"),
	'RESOLVED 1>1>2 RECOVERED', 'nor where it waited in the queue with it');
my $correct = $at_once->("COMMIT PREPARED 'a'; UPDATE container_metrics SET cpu_percent = 95 WHERE container_id = C");
gives("BEGIN; SELECT s(C, 1, 5); PREPARE TRANSACTION 'a'; SELECT alerting.flush();$correct", 'FIRING 1>1', 'a correction of a prepared row comes after it');
is($replays->(), $replays_before, 'what they gave to the queue is kept: no table is read');
# The evaluator begins anew, with all that it knows of the database, while some wait.
my $begin_anew = "CREATE TABLE other (LIKE container_metrics); SELECT alerting.attach_metrics('other'); SELECT alerting.flush();"
  . " SELECT alerting.detach_metrics('other'); DROP TABLE other; SELECT alerting.flush()";
gives("BEGIN; SELECT s(C, 1, 95); PREPARE TRANSACTION 'a'; SELECT alerting.flush(); $begin_anew; COMMIT PREPARED 'a'", 'FIRING 1>1',
	'prepared, another binding, committed');
gives("BEGIN; SELECT s(C, 1, 5); PREPARE TRANSACTION 'a'; SELECT alerting.flush(); $begin_anew;" . $correct, 'FIRING 1>1',
	'its rows are not read as well, in a later form');
gives("SELECT s(C, 1, 95); SELECT alerting.flush(); BEGIN; DELETE FROM containers WHERE id = C; PREPARE TRANSACTION 'a';"
	  . " $begin_anew; ROLLBACK PREPARED 'a'; SELECT alerting.flush(); SELECT s(C, 2, 96); SELECT s(C, 3, 5)", 'RESOLVED 1>1>3 RECOVERED',
	'a deletion that is not committed is none');
# Where there is no room for what they wrote, in the queue or while they wait, it is read from the table.
$node->append_conf('postgresql.conf', "alerting.queue_size = '64kB'");
sql($node, 'postgres', "SELECT pg_reload_conf(); $begin_anew");
my $many = 'INSERT INTO container_metrics SELECT C, at(%d + n / 1e5), %d, n %% 7, true, 0 FROM generate_series(0, %d) n';
for my $case ([ 'queue', 20_000, 1 ], [ 'evaluator', 1_000, 9 ])
{
	my ($where, $rows, $transactions) = @$case;
	$replays_before = $replays->();
	my $write = join '; SELECT alerting.flush(); ', map { 'BEGIN; ' . sprintf($many, $_, 95, $rows) . "; PREPARE TRANSACTION 'a$_'" } 1 .. $transactions;
	my $commit = join '; ', map { "COMMIT PREPARED 'a$_'" } 1 .. $transactions;
	gives("$write; SELECT alerting.flush(); $commit; SELECT alerting.flush(); SELECT s(C, 20, 5)", 'RESOLVED 1>1>20 RECOVERED', "prepared, no room in the $where");
	cmp_ok($replays->(), '>', $replays_before, 'it is read from the table');
}
# A table that is attached by a transaction of which an evaluator that started since has heard nothing.
sql($node, 'postgres', "CREATE TABLE later (LIKE container_metrics); BEGIN; SELECT alerting.attach_metrics('later'); PREPARE TRANSACTION 'a'");
my $evaluator = worker_pid($node, 'evaluator', 'postgres');
kill TERM => $evaluator;
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'alerting evaluator' AND datname = 'postgres' AND pid <> $evaluator")
  or die 'the evaluator does not start again';
wait_for_workers($node, 'postgres');
(my $later = sprintf $many, 1, 95, 20_000) =~ s/container_metrics/later/;
gives("COMMIT PREPARED 'a'; SELECT alerting.flush(); $later", 'FIRING 1>1', 'a table attached by a prepared transaction is read');
sql($node, 'postgres', "SELECT alerting.detach_metrics('later'); DROP TABLE later");
gives("BEGIN; UPDATE alerting.alert_rule SET name = name; " . sprintf($many, 1, 95, 20_000) . "; PREPARE TRANSACTION 'a'; SELECT alerting.flush();"
	  . " COMMIT PREPARED 'a'; SELECT alerting.flush(); SELECT s(C, 20, 5)", 'RESOLVED 1>1>20 RECOVERED', 'prepared, no room for the rows, but for a changed rule');
$node->append_conf('postgresql.conf', "alerting.queue_size = '16MB'");
sql($node, 'postgres', "SELECT pg_reload_conf(); $begin_anew");
# As many are prepared as are committed meanwhile.
gives("BEGIN; SELECT s(C, 1, 95); PREPARE TRANSACTION 'a'; SELECT alerting.flush();"
	  . " BEGIN; INSERT INTO child VALUES (10); PREPARE TRANSACTION 'b'; COMMIT PREPARED 'a'", 'FIRING 1>1',
	'another transaction takes the place of the prepared one');
sql($node, 'postgres', "ROLLBACK PREPARED 'b'");
# Without anybody who asks.
sql($node, 'postgres', "BEGIN; SELECT s(10, 1, 95); PREPARE TRANSACTION 'a'");
flush($node, 'postgres');
sql($node, 'postgres', "COMMIT PREPARED 'a'");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM alerting.alert WHERE container_id = 10'),
	'a prepared transaction is noticed by itself');
# What else it changes.
sql($node, 'postgres', "SELECT s(11, 1, 95)");
flush($node, 'postgres');
gives("BEGIN; UPDATE alerting.alert_rule SET enabled = false; UPDATE containers SET organization_id = 2 WHERE id = 10;"
	  . " PREPARE TRANSACTION 'a'; SELECT alerting.flush(); COMMIT PREPARED 'a'; SELECT alerting.flush(); SELECT s(C, 1, 95)", '',
	'a prepared transaction disables a rule');
is(alerts($node, 'postgres', "status = 'FIRING'"), '', 'no alert of the rule fires');
sql($node, 'postgres', 'UPDATE alerting.alert_rule SET enabled = true; UPDATE containers SET organization_id = 1');

# More sources than the shared memory has marks for are all read.
my @tables = map { "m$_" } 1 .. 17;
sql($node, 'postgres', join "\n", 'INSERT INTO containers SELECT 200 + n, 1 FROM generate_series(1, 17) n;',
	map { "CREATE TABLE $_ (LIKE container_metrics INCLUDING ALL); SELECT alerting.attach_metrics('$_', container => 'container_id');" } @tables);
flush($node, 'postgres');
sql($node, 'postgres', join "\n", 'BEGIN;', (map { "INSERT INTO m$_ SELECT 200 + $_, at(1), 95, 5, true, 0;" } 1 .. 17), "PREPARE TRANSACTION 'a'");
flush($node, 'postgres');
sql($node, 'postgres', "COMMIT PREPARED 'a'");
flush($node, 'postgres');
is(sql($node, 'postgres', "SELECT count(*) FROM alerting.alert WHERE container_id > 200 AND status = 'FIRING'"), 17, 'a prepared transaction of seventeen sources');
# Nor has a transaction's own memory, which keeps no samples below so many savepoints.
sql($node, 'postgres', join "\n", 'INSERT INTO containers VALUES (250, 1); BEGIN;', (map { "SAVEPOINT p; SELECT s(250, $_, 5);" } 1 .. 33),
	(map { "INSERT INTO m$_ SELECT 200 + $_, at(1 + $_), 5, 5, true, 0;" } 1 .. 17), 'COMMIT');
flush($node, 'postgres');
is(sql($node, 'postgres', "SELECT string_agg(container_id - 200 || '>' || resolved_at - at(0), ' ' ORDER BY container_id) FROM alerting.alert"
		  . " WHERE container_id > 200 AND status = 'RESOLVED'"), join(' ', map { sprintf '%d>00:%02d:00', $_, 1 + $_ } 1 .. 17),
	'seventeen sources below thirty-three savepoints');
sql($node, 'postgres', join "\n", map { "SELECT alerting.detach_metrics('$_'); DROP TABLE $_;" } @tables);

# A deletion is notified when it commits; a transaction that did it can be prepared.
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN alerting');
sql($node, 'postgres', 'INSERT INTO containers SELECT n, 1 FROM generate_series(70, 93) n; SELECT s(n, 1, 95) FROM generate_series(70, 93) n');
flush($node, 'postgres');
$listener->query('SELECT 1');
sql($node, 'postgres', "BEGIN; DELETE FROM containers WHERE id = 70; SAVEPOINT a; DELETE FROM containers WHERE id = 71; ROLLBACK TO a; COMMIT");
sql($node, 'postgres', "BEGIN; DELETE FROM containers WHERE id = 71; ROLLBACK");
sql($node, 'postgres', "BEGIN; DELETE FROM containers WHERE id = 72; PREPARE TRANSACTION 'a'; COMMIT PREPARED 'a'");
flush($node, 'postgres');
my $told = $listener->query('SELECT 1');
is(join(' ', sort $told =~ /"event": "(alert\.\w+)".*?"containerId": "(\d+)"/g), '70 alert.resolved', 'a deletion is notified once it has committed');
# Deletions in levels of savepoints: those which are notified, in their order.
for my $case (
	[ 'D80; SAVEPOINT a; D81; SAVEPOINT b; D82; RELEASE b; D83; SAVEPOINT c; D84; ROLLBACK TO c; D85; RELEASE a; D86; COMMIT', '80 81 82 83 85 86' ],
	[ 'SAVEPOINT a; D90; RELEASE a; SAVEPOINT b; D91; ROLLBACK TO b; COMMIT', '90' ],
	[ 'SAVEPOINT a; D91; SAVEPOINT b; D92; RELEASE b; ROLLBACK TO a; D93; COMMIT', '93' ],
	[ 'SAVEPOINT a; SAVEPOINT b; SAVEPOINT c; D87; RELEASE c; RELEASE b; ROLLBACK TO a; D88; SAVEPOINT b; D89; ROLLBACK TO b; COMMIT', '88' ])
{
	my ($transaction, $expected) = @$case;
	(my $statements = $transaction) =~ s/D(\d+)/DELETE FROM containers WHERE id = $1/g;
	sql($node, 'postgres', "BEGIN; $statements");
	flush($node, 'postgres');
	is(join(' ', $listener->query('SELECT 1') =~ /"containerId": "(\d+)"/g), $expected, "notified: $transaction");
}
is(alerts($node, 'postgres', 'container_id BETWEEN 70 AND 72'), 'cpu 71 FIRING 1>1', 'a transaction that deletes can be prepared');
$listener->quit;

# Over a restart, clean and by a crash.
sql($node, 'postgres', 'INSERT INTO containers VALUES (50, 1), (51, 1), (52, 1)');
for my $mode (qw(fast immediate))
{
	sql($node, 'postgres', "BEGIN; SELECT s($_->[1], 3, 95); PREPARE TRANSACTION '$_->[0]'")
	  for $mode eq 'fast' ? ([ a => 50 ], [ b => 51 ], [ c => 52 ]) : ();
	$node->stop($mode);
	$node->start;
	sql($node, 'postgres', "SELECT alerting.flush(); COMMIT PREPARED 'a'") if $mode eq 'fast';
	sql($node, 'postgres', "SELECT alerting.flush(); ROLLBACK PREPARED 'b'; COMMIT PREPARED 'c'") if $mode eq 'immediate';
	flush($node, 'postgres');
	is(alerts($node, 'postgres', 'container_id BETWEEN 50 AND 59'),
		$mode eq 'fast' ? 'cpu 50 FIRING 3>3' : "cpu 50 FIRING 3>3\ncpu 52 FIRING 3>3", "prepared, $mode restart, then decided");
}

# Two writers: what counts is the order of their commits.
my ($first, $second) = map { $node->background_psql('postgres') } 1 .. 2;
sql($node, 'postgres', 'INSERT INTO containers VALUES (60, 1), (61, 1)');
$first->query_safe('BEGIN');
$second->query_safe('BEGIN');
$first->query_safe('SELECT s(60, 1, 95), s(61, 1, 95)');
$second->query_safe('SELECT s(60, 2, 5), s(61, 2, 96)');
$first->query_safe('COMMIT');
$second->query_safe('COMMIT');
flush($node, 'postgres');
is(alerts($node, 'postgres', 'container_id IN (60, 61)'), "cpu 60 RESOLVED 1>1>2 RECOVERED\ncpu 61 FIRING 1>1", 'two writers, in order');
$first->query_safe('BEGIN; SELECT s(61, 4, 95)');
$second->query_safe('SELECT s(61, 5, 5)');
$first->query_safe('COMMIT');
flush($node, 'postgres');
is(alerts($node, 'postgres', 'container_id = 61'), 'cpu 61 RESOLVED 1>1>5 RECOVERED', 'two writers, crossing: the older sample is late');
$_->quit for $first, $second;

$node->stop('fast');
done_testing();

# Changes of the host's tables that need a word from the user: inserts go on, a WARNING and status() say
# what to do, and nothing is lost when it is done.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('told');
my $database;

# What needs a word from the user: rows are not evaluated, but inserted, and he is told.
for my $case (
	[ 'ALTER TABLE container_metrics RENAME cpu_percent TO cpu', "cpu => 'cpu'" ],
	[ 'ALTER TABLE container_metrics RENAME container_id TO c', "container => 'c'" ],
	[ 'ALTER TABLE container_metrics RENAME at TO ts', "at => 'ts'" ])
{
	my ($ddl, $mapping) = @$case;
	$database = fresh_database($node);
	my $said = statement_ok($node, $database, "$ddl; INSERT INTO container_metrics VALUES (10, at(2), 5, 5, true, 0); INSERT INTO container_metrics VALUES (11, at(2), 95, 5, true, 0)", $ddl);
	like($said, qr/WARNING:.*container_metrics.*HINT:.*attach_metrics/s, "$ddl: a warning says what to do");
	my $warnings = () = $said =~ /WARNING/g;
	is($warnings, 1, "$ddl: once");
	flush($node, $database, name => "$ddl: the evaluator goes on");
	# It starts all the same, and says it too.
	sql($node, $database, 'SELECT alerting.stop()');
	my $offset = -s $node->logfile;
	sql($node, $database, "SELECT alerting.start()");
	flush($node, $database, name => "$ddl: also after a restart");
	like(slurp_file($node->logfile, $offset), qr/WARNING:.*container_metrics/, "$ddl: which the log tells");
	# Other sources are not affected.
	statement_ok($node, $database, "CREATE TABLE more (box int, moment timestamptz, load float8); "
		  . "SELECT alerting.attach_metrics('more', container => 'box', at => 'moment', cpu => 'load'); "
		  . "INSERT INTO more (box, moment, load) VALUES (20, at(2), 95)", "$ddl, another source");
	sql($node, $database, "SELECT rule('hooli', 2, 'CPU_USAGE', 80)");
	flush($node, $database, name => "$ddl: another source is evaluated");
	is(alerts($node, $database, 'container_id = 20'), 'hooli 20 FIRING 2>2', "$ddl: as if nothing were");
	# What was inserted meanwhile is judged once the mapping fits again.
	statement_ok($node, $database, "SELECT alerting.attach_metrics('container_metrics', $mapping)", "$ddl, attached again");
	flush($node, $database, name => "$ddl: attached again");
	is(alerts($node, $database, 'container_id IN (10, 11)'), "cpu 10 RESOLVED 1>1>2 RECOVERED\ncpu 11 FIRING 2>2", "$ddl: nothing was lost");
	drop_database($node, $database);
}

# Columns of the containers table.
for my $case (
	[ 'ALTER TABLE containers RENAME organization_id TO owner_id', "organization => 'owner_id'" ],
	[ 'ALTER TABLE containers RENAME id TO container_id', "organization => 'organization_id'" ])
{
	my ($ddl, $mapping) = @$case;
	$database = fresh_database($node);
	sql($node, $database, "INSERT INTO containers VALUES (30, 1, 'new')");
	statement_ok($node, $database, "$ddl; INSERT INTO container_metrics VALUES (10, at(2), 5, 5, true, 0); INSERT INTO container_metrics VALUES (30, at(2), 95, 5, true, 0)", $ddl);
	ok($node->poll_query_until($database, "SELECT problem IS NOT NULL FROM alerting.status()"), "$ddl: status() tells the problem");
	like(sql($node, $database, 'SELECT problem FROM alerting.status()'), qr/column .* does not exist/, "$ddl: in words");
	statement_ok($node, $database, "UPDATE containers SET organization_id = organization_id WHERE false", "$ddl, the host's statements") unless $ddl =~ /owner_id/;
	statement_ok($node, $database, 'SELECT * FROM alerting.active_alert; BEGIN; DELETE FROM organizations; ROLLBACK', "$ddl, deletions");
	statement_ok($node, $database, "SELECT alerting.attach('organizations', 'containers', $mapping)", "$ddl, attached again");
	flush($node, $database, name => "$ddl: attached again");
	is(alerts($node, $database), "cpu 10 RESOLVED 1>1>2 RECOVERED\ncpu 30 FIRING 2>2", "$ddl: nothing was lost");
	is(sql($node, $database, 'SELECT problem FROM alerting.status()'), '', "$ddl: status() has no problem any more");
	drop_database($node, $database);
}

# Names are ornaments: without them alerts go on, and the log tells.
for my $case (
	[ 'ALTER TABLE containers RENAME name TO "the ""name"""', 'containers', 'name' ],
	[ 'ALTER TABLE organizations DROP name', 'organizations', 'name' ])
{
	my ($ddl, $table, $column) = @$case;
	$database = fresh_database($node);
	sql($node, $database, "INSERT INTO containers VALUES (30, 1, 'new'); INSERT INTO alerting.webhook (organization_id, url) VALUES (1, 'https://nobody.invalid/')");
	my $offset = -s $node->logfile;
	statement_ok($node, $database, "$ddl; INSERT INTO container_metrics VALUES (10, at(2), 5, 5, true, 0), (30, at(2), 95, 5, true, 0)", $ddl);
	flush($node, $database, name => "$ddl: alerts go on");
	is(alerts($node, $database), "cpu 10 RESOLVED 1>1>2 RECOVERED\ncpu 30 FIRING 2>2", "$ddl: as before");
	like(slurp_file($node->logfile, $offset), qr/WARNING:  alerting: table public\.$table has no column $column any more, alerts show no names/, "$ddl: the log tells");
	is(sql($node, $database, "SELECT payload #>> '{data,organization,name}' IS NULL OR payload #>> '{data,container,name}' IS NULL FROM alerting.delivery WHERE payload #>> '{data,container,id}' = '30'"),
		't', "$ddl: a webhook has no name");
	is(sql($node, $database, "SELECT count(*) FROM alerting.active_alert WHERE container_name IS NULL"), $table eq 'containers' ? 1 : 0, "$ddl: active_alert");
	statement_ok($node, $database, q{SELECT alerting.attach('organizations', 'containers', name => '"the ""name"""')}, "$ddl, attached again") if $table eq 'containers';
	is(sql($node, $database, "SELECT container_name FROM alerting.active_alert"), 'new', "$ddl: with the name of its column");
	drop_database($node, $database);
}

# A column that is dropped takes nothing with it but what depends on it.
$database = fresh_database($node);
statement_ok($node, $database, 'ALTER TABLE container_metrics DROP COLUMN memory_percent; INSERT INTO container_metrics VALUES (11, at(2), 95, true, 0)', 'DROP COLUMN');
statement_ok($node, $database, "SELECT alerting.attach_metrics('container_metrics')", 'attached again');
flush($node, $database);
is(alerts($node, $database, 'container_id = 11'), 'cpu 11 FIRING 2>2', 'a mapped column is dropped');

# The whole table, replaced by a partitioned one of the same name.
statement_ok($node, $database, 'DROP TABLE container_metrics', 'DROP TABLE of the metrics');
flush($node, $database, name => 'the evaluator goes on without it');
statement_ok($node, $database, <<'SQL', 'a partitioned table takes its place');
CREATE TABLE container_metrics (container_id int, at timestamptz, cpu_percent float8, memory_percent float8, running bool, restart_count int)
  PARTITION BY RANGE (at);
CREATE TABLE now PARTITION OF container_metrics DEFAULT;
SELECT alerting.attach_metrics('container_metrics');
SELECT s(11, 3, 5);
SQL
flush($node, $database);
is(alerts($node, $database, 'container_id = 11'), 'cpu 11 RESOLVED 2>2>3 RECOVERED', 'and is evaluated');
drop_database($node, $database);

# Or without losing a row: the old table becomes its first partition, while rows come.
$database = fresh_database($node);
statement_ok($node, $database, <<'SQL', 'the table becomes a partition of its successor');
BEGIN;
ALTER TABLE container_metrics RENAME TO container_metrics_old;
CREATE TABLE container_metrics (LIKE container_metrics_old INCLUDING ALL) PARTITION BY RANGE (at);
ALTER TABLE container_metrics ATTACH PARTITION container_metrics_old DEFAULT;
SELECT s(10, 2, 95), s(11, 2, 95);
SELECT alerting.attach_metrics('container_metrics');
SELECT alerting.detach_metrics('container_metrics_old');
SELECT s(10, 3, 5);
COMMIT;
SQL
statement_ok($node, $database, 'SELECT s(11, 3, 95), s(12, 3, 95)', 'inserts through the parent');
statement_ok($node, $database, "INSERT INTO container_metrics_old VALUES (11, at(4), 5, 5, true, 0)", 'and into the partition itself');
flush($node, $database);
is(alerts($node, $database), "cpu 10 RESOLVED 1>1>3 RECOVERED\ncpu 11 RESOLVED 2>2>4 RECOVERED\ncpu 12 FIRING 3>3",
	'the table becomes a partition of its successor: each row counts once');
drop_database($node, $database);

# Keys widened from int4 to int8, as the host's own foreign keys are.
$database = fresh_database($node);
statement_ok($node, $database, <<'SQL', 'keys become int8');
ALTER TABLE containers ALTER id TYPE bigint;
ALTER TABLE container_metrics ALTER container_id TYPE bigint;
INSERT INTO containers VALUES (5000000000, 1, 'large');
INSERT INTO container_metrics VALUES (10, at(2), 5, 5, true, 0), (5000000000, at(2), 5, 5, true, 0);
SQL
flush($node, $database);
is(alerts($node, $database), 'cpu 10 RESOLVED 1>1>2 RECOVERED', 'keys become int8: goes on');
statement_ok($node, $database, "SELECT alerting.attach('organizations', 'containers'); INSERT INTO container_metrics VALUES (5000000000, at(3), 95, 5, true, 0)", 'attached again');
flush($node, $database, name => 'a key that needs 8 bytes');
is(alerts($node, $database, 'container_id > 100'), 'cpu 5000000000 FIRING 3>3', 'fires');
drop_database($node, $database);

# Keys of another kind beside the former ones, which then go: nothing of the host's fails, and what refers to former keys may be deleted.
$database = fresh_database($node);
statement_ok($node, $database, <<'SQL', 'keys become uuids');
BEGIN;
ALTER TABLE containers ADD uid uuid NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE container_metrics ADD container_uid uuid;
UPDATE container_metrics m SET container_uid = c.uid FROM containers c WHERE c.id = m.container_id;
ALTER TABLE container_metrics DROP container_id;
ALTER TABLE containers DROP id CASCADE;
ALTER TABLE containers RENAME uid TO id;
ALTER TABLE containers ADD PRIMARY KEY (id);
ALTER TABLE container_metrics RENAME container_uid TO container_id;
COMMIT;
INSERT INTO container_metrics (container_id, at, cpu_percent) SELECT id, at(2), 95 FROM containers WHERE name = 'db';
SELECT * FROM alerting.active_alert;
DELETE FROM containers WHERE name = 'cache';
SQL
flush($node, $database, name => 'keys become uuids: the evaluator goes on');
like(sql($node, $database, q{SELECT detail, hint FROM alerting.doctor() WHERE topic = 'binding' AND object = 'alerting.alert'}),
	qr/Its foreign key to public\.containers is gone.*SELECT alerting\.attach\('public\.organizations', 'public\.containers'/, 'keys become uuids: doctor() tells');
my (undef, undef, $refused) = $node->psql($database, q{SELECT alerting.attach('organizations', 'containers')});
like($refused, qr/ERROR:  table alerting\.alert holds rows that refer to rows which .*HINT:  Delete those/s, 'keys become uuids: attach says what is in the way');
statement_ok($node, $database, q{DELETE FROM alerting.alert; SELECT alerting.attach('organizations', 'containers'); SELECT alerting.attach_metrics('container_metrics')}, 'keys become uuids, attached again');
flush($node, $database);
is(sql($node, $database, q{SELECT c.name, a.status FROM alerting.alert a JOIN containers c ON c.id = a.container_id ORDER BY 1}), "db|FIRING\nweb|FIRING", 'keys become uuids: what was inserted meanwhile is judged');
is(sql($node, $database, q{SELECT count(*) FROM alerting.doctor() WHERE topic = 'binding' AND status <> 'ok'}), 0, 'keys become uuids: in order');
drop_database($node, $database);

# A function that a mapping calls is replaced, and breaks for a while.
$database = fresh_database($node, attach => "CREATE FUNCTION load(m float8) RETURNS float8 IMMUTABLE LANGUAGE sql AS 'SELECT m';"
	  . " SELECT alerting.attach_metrics('container_metrics', cpu => 'load(m.cpu_percent)')");
statement_ok($node, $database, "CREATE OR REPLACE FUNCTION load(m float8) RETURNS float8 IMMUTABLE LANGUAGE sql AS 'SELECT m * 2'; SELECT s(11, 2, 45)", 'a mapped function is replaced');
flush($node, $database);
is(alerts($node, $database, 'container_id = 11'), 'cpu 11 FIRING 2>2', 'its new body counts');
my $said = statement_ok($node, $database, "CREATE OR REPLACE FUNCTION load(m float8) RETURNS float8 IMMUTABLE LANGUAGE sql AS 'SELECT m / 0'; SELECT s(11, 3, 5)", 'a mapped function fails');
like($said, qr/WARNING:.*container_metrics/, 'which is told');
flush($node, $database, name => 'the evaluator goes on');
is(sql($node, $database, 'SELECT skipped FROM alerting.status()'), 1, 'and counted');
statement_ok($node, $database, 'DROP FUNCTION load(float8) CASCADE; SELECT s(11, 4, 5)', 'a mapped function is dropped');
statement_ok($node, $database, "SELECT alerting.attach_metrics('container_metrics', cpu => 'cpu_percent')", 'attached again');
flush($node, $database);
is(alerts($node, $database, 'container_id = 11'), 'cpu 11 RESOLVED 2>2>2 RECOVERED', 'the reading under the new mapping corrects the last one');

$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|signal 11|signal 6|TRAP/, 'nothing crashed');
done_testing();

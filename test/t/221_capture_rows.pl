# What capture reads of a row: columns of every length and alignment, NULLs, columns dropped and
# added, long and compressed keys, by statement and by row; and what expressions do meanwhile.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('capture_rows');
my $db;
sub run_sql { return $node->safe_psql($db, join '', @_); }

# A database with 64 containers whose keys are of 4 to 1,000 bytes.
sub begin_case
{
	($db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	run_sql(q{SET client_min_messages = warning;
		CREATE TABLE organizations (id int PRIMARY KEY);
		CREATE TABLE containers (id text PRIMARY KEY, organization_id int NOT NULL REFERENCES organizations);
		INSERT INTO organizations VALUES (1);
		CREATE FUNCTION key(i int) RETURNS text IMMUTABLE LANGUAGE sql RETURN 'key' || i || repeat('k', CASE i % 8 WHEN 5 THEN 122 WHEN 6 THEN 300 WHEN 7 THEN 990 ELSE i % 8 END);
		INSERT INTO containers SELECT key(i), 1 FROM generate_series(0, 63) i;
		CREATE EXTENSION alerting; SELECT alerting.attach('organizations', 'containers')});
	rule($node, $db, 1, 'CPU_USAGE', 50, 0);
	rule($node, $db, 1, 'MEMORY_USAGE', 50, 0);
	rule($node, $db, 1, 'CONTAINER_DOWN', undef, 0, no_data => 'keep');
	return;
}

# Rows with a NULL wherever a bit of their number says so; every value tells its row.
my $insert = q{INSERT INTO %s (note, letter, wide, container_id, tag, small, at, id, span, cpu, running, memory, restarts, tail)
	SELECT CASE WHEN i & 1 = 0 THEN repeat('n', (ARRAY[0, 1, 126, 127, 1500])[1 + i %% 5]) END, CASE WHEN i & 2 = 0 THEN 'l' END, CASE WHEN i & 4 = 0 THEN 10.0 ^ i END,
	       key(i), CASE WHEN i & 8 = 0 THEN 'tag' END, CASE WHEN i & 16 = 0 THEN i END, now(), CASE WHEN i & 1 = 0 THEN gen_random_uuid() END,
	       CASE WHEN i & 32 = 0 THEN interval '1 day' END, CASE WHEN i %% 9 <> 0 THEN 51 + i / 2.0 END, CASE WHEN i %% 7 <> 0 THEN i %% 3 > 0 END,
	       CASE WHEN i %% 5 <> 0 THEN 51 + i / 4.0 END, CASE WHEN i %% 3 <> 0 THEN i END, 'tail'
	  FROM generate_series(%d, %d) i;};
my $columns = q{note text, gone int, letter "char", wide numeric, container_id text, tag name, small int2, at timestamptz, id uuid, span interval,
	cpu float4, running bool, memory %s, restarts int2, tail text};

my $mapping = join ', ', map { "$_ => '$_'" } qw(cpu memory running restarts);

# Every reading of the table's rows that breaches has raised an alert with its value, and nothing else has.
sub read_right
{
	my ($table, $what) = @_;
	flush_ok($node, $db);
	my $expected = q{SELECT container_id, 'CPU_USAGE' AS name, cpu::float8 AS value FROM } . $table . q{ WHERE cpu IS NOT NULL
		UNION ALL SELECT container_id, 'MEMORY_USAGE', memory::float8 FROM } . $table . q{ WHERE memory IS NOT NULL
		UNION ALL SELECT container_id, 'CONTAINER_DOWN', NULL FROM } . $table . q{ WHERE NOT running};
	my $raised = q{SELECT a.container_id, r.name, CASE WHEN r.name <> 'CONTAINER_DOWN' THEN a.value END FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id};
	is(run_sql("SELECT left(container_id, 9), name, value FROM (($expected EXCEPT $raised) UNION ALL ($raised EXCEPT ($expected))) x"), '', "$what: alerts tell each row's values");
	is(run_sql("SELECT count(*) FROM alerting.alert"), run_sql("SELECT count(*) FROM ($expected) x"), "$what: and there are no others");
	is(run_sql('SELECT skipped, unknown FROM alerting.status()'), '0|0', "$what: every row was read");
	return;
}

for my $memory ('float8', 'numeric')
{
	for my $level ('statement', 'row')
	{
		begin_case("${level}_$memory");
		run_sql('CREATE TABLE shapes (' . sprintf($columns, $memory) . '); ALTER TABLE shapes ALTER note SET STORAGE PLAIN;',
			"SELECT alerting.attach_metrics('shapes', level => '$level', $mapping);");
		flush_ok($node, $db);
		run_sql(sprintf($insert, 'shapes', 0, 15));
		run_sql(sprintf($insert, 'shapes', $_, $_)) for 16 .. 19;
		run_sql(q{ALTER TABLE shapes DROP gone, ADD late int DEFAULT 7;}, sprintf($insert, 'shapes', 20, 63));
		read_right('shapes', "$level, $memory");
		# Rows from before the column was added are read whole when they are updated.
		run_sql(q{UPDATE shapes SET cpu = 5, at = at + interval '1 second'});
		flush_ok($node, $db);
		is(run_sql(q{SELECT r.name, a.status, count(*) FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id GROUP BY 1, 2 ORDER BY 1}),
			"CONTAINER_DOWN|FIRING|18\nCPU_USAGE|RESOLVED|56\nMEMORY_USAGE|FIRING|51", "$level, $memory: an update, too");
	}
}

# A partition whose columns stand in another order, reached through its parent and straight.
{
	begin_case('parts');
	run_sql(sprintf("CREATE TABLE shapes ($columns) PARTITION BY HASH (container_id);", 'float8'),
		q{CREATE TABLE part (tail text, restarts int2, memory float8, gone2 text, running bool, cpu float4, span interval, id uuid, at timestamptz, small int2, tag name,
			container_id text, wide numeric, letter "char", gone int, note text);
		ALTER TABLE part DROP gone2; ALTER TABLE shapes ATTACH PARTITION part FOR VALUES WITH (MODULUS 1, REMAINDER 0);
		SELECT alerting.attach_metrics('shapes', }, "$mapping)");
	flush_ok($node, $db);
	run_sql(sprintf($insert, 'shapes', 0, 31), sprintf($insert, 'part', 32, 63));
	read_right('shapes', 'partition');
}

# Triggers of version 1.0, as its dump brings them: an argument for each part of the mapping.
{
	begin_case('older');
	my $trigger = 'CREATE OR REPLACE TRIGGER alerting_capture_insert AFTER INSERT ON shapes REFERENCING NEW TABLE AS alerting_new'
	  . ' FOR EACH STATEMENT EXECUTE FUNCTION alerting.capture(%s);';
	run_sql('CREATE TABLE shapes (' . sprintf($columns, 'float8') . ");SELECT alerting.attach_metrics('shapes', $mapping);");
	is(run_sql(q{SELECT tgnargs FROM pg_trigger WHERE tgname LIKE 'alerting_capture%'}), "1\n1", 'a trigger has a single argument');
	run_sql(sprintf($trigger, q{'1', 'text', 'container_id', 'at', 'UTC', '', 'cpu', 'memory', '', '', 'running', 'restarts'}));
	flush_ok($node, $db);
	run_sql(sprintf($insert, 'shapes', 0, 31));
	read_right('shapes', 'triggers of version 1.0');
	is(run_sql('SELECT alerting.repair(), alerting.repair()'), '1|0', 'repair() brings them to this version');
	run_sql(sprintf($trigger, q{'{1,text}'}));
	my ($code, $out, $err) = $node->psql($db, sprintf($insert, 'shapes', 32, 32));
	like($err, qr/ERROR:  trigger "alerting_capture_insert" has 2 arguments, but alerting.capture\(\) takes 12/, 'a trigger made by hand');
}

# Expressions run while rows are captured: one that inserts rows of another source, in a block that
# fails for some; and one that fails in the middle of a statement.
{
	begin_case('expressions');
	run_sql(q{CREATE TABLE other (container_id text, at timestamptz, memory float8); SELECT alerting.attach_metrics('other', memory => 'memory');
		CREATE FUNCTION note(container text, cpu float8) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO public.other SELECT container, pg_catalog.now(), cpu + 1 FROM pg_catalog.generate_series(1, 50);
			BEGIN
				INSERT INTO public.other VALUES (container, pg_catalog.now() + interval '1 second', 1);
				IF cpu < 70 THEN RAISE division_by_zero; END IF;
			EXCEPTION WHEN division_by_zero THEN NULL; END;
		END $$;
		CREATE FUNCTION noted(container text, cpu float8) RETURNS float8 STABLE LANGUAGE plpgsql AS $$ BEGIN
			PERFORM public.note(container, cpu);
			RETURN cpu; END $$;
		CREATE TABLE told (container_id text, at timestamptz, cpu float8, divisor int);
		SELECT alerting.attach_metrics('told', cpu => 'noted(container_id, cpu) * 1 / divisor')});
	flush_ok($node, $db);
	run_sql('INSERT INTO told SELECT key(i), now(), 51 + i / 2.0, 1 FROM generate_series(0, 63) i;');
	flush_ok($node, $db);
	is(run_sql(q{SELECT count(*) FROM alerting.alert a JOIN told t USING (container_id) JOIN alerting.alert_rule r ON r.id = a.rule_id
		WHERE CASE r.name WHEN 'CPU_USAGE' THEN a.value = t.cpu AND a.status = 'FIRING'
		      ELSE a.value = t.cpu + 1 AND (a.status = 'RESOLVED') = (t.cpu >= 70) END}), 128, 'rows that an expression inserts are captured beside its own');

	my $before = run_sql('SELECT samples FROM alerting.status()');
	run_sql(q{DELETE FROM other; DELETE FROM told; CREATE OR REPLACE FUNCTION noted(container text, cpu float8) RETURNS float8 STABLE LANGUAGE sql RETURN cpu});
	my ($code, $out, $err) = $node->psql($db, q{INSERT INTO told SELECT key(i), now() + interval '2 seconds', 30, (i % 5)::int FROM generate_series(0, 63) i});
	is($code, 0, 'an expression that fails does not fail the statement');
	like($err, qr/WARNING:  alerting: a row of table "told" could not be read/, 'but warns');
	flush_ok($node, $db);
	is(run_sql("SELECT samples - $before, skipped FROM alerting.status()"), '51|13', 'each other row is told once, and those are counted');
	is(run_sql(q{SELECT count(*) FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id JOIN told t USING (container_id)
		WHERE r.name = 'CPU_USAGE' AND (a.status = 'RESOLVED') <> (t.divisor > 0)}), 0, 'and judged');
}

# Expressions of PostgreSQL's own functions are evaluated without a query, those of a user's with
# one: to the same effect, also where a row's fail.
for my $level ('statement', 'row')
{
	for my $twice ('cpu * 2', 'public.twice(cpu)')
	{
		begin_case($level . ($twice =~ /public/ ? '_query' : '_own'));
		run_sql(q{CREATE TYPE state AS ENUM ('up', 'down'); CREATE FUNCTION twice(float8) RETURNS float8 IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN 2 * $1; END';
			CREATE TABLE told (container_id text, at timestamp, gone int, cpu float8, divisor int, doc jsonb, state state, note int);
			ALTER TABLE told DROP gone;}, "SELECT alerting.attach_metrics('told', container => 'lower(container_id)', cpu => '$twice / divisor',",
			q{memory => $$coalesce((doc ->> 'used')::numeric, 0) * 100.0 / nullif((doc ->> 'limit')::int, 0)$$, running => $$state = 'up'$$, level => '} . $level . q{')});
		flush_ok($node, $db);
		# Of 64 rows 7 divide by zero and 9 have a text for a number, one of them both.
		my $told = q{SELECT upper(key(i)), now() AT TIME ZONE 'UTC', 30 + i / 2.0, CASE WHEN i % 10 = 3 THEN 0 ELSE 1 + i % 2 END,
			jsonb_build_object('used', CASE WHEN i % 7 = 5 THEN 'much' ELSE (40 + i)::text END, 'limit', 100), (ARRAY['up', 'down', NULL])[1 + i % 3]::state FROM generate_series(0, 63) i};
		my ($code, $out, $err) = $node->psql($db, "INSERT INTO told (container_id, at, cpu, divisor, doc, state) $told");
		is($code, 0, "$db: expressions that fail do not fail the statement") or diag($err);
		like($err, qr/^psql:<stdin>:\d+: WARNING:  alerting: a row of table "told" could not be read and was not evaluated\nDETAIL: [^\n]*\nHINT: [^\n]*\n?\z/, "$db: which warns once");
		flush_ok($node, $db);
		is(run_sql('SELECT samples, skipped, unknown FROM alerting.status()'), '49|15|0', "$db: each other row is told once, and those are counted");
		my $good = q{told WHERE divisor <> 0 AND doc ->> 'used' <> 'much'};
		my $expected = qq{SELECT lower(container_id), 'CPU_USAGE' AS name, cpu * 2 / divisor AS value FROM $good AND cpu * 2 / divisor > 50
			UNION ALL SELECT lower(container_id), 'MEMORY_USAGE', (doc ->> 'used')::float8 FROM $good AND (doc ->> 'used')::float8 > 50
			UNION ALL SELECT lower(container_id), 'CONTAINER_DOWN', NULL FROM $good AND state = 'down'};
		my $raised = q{SELECT a.container_id, r.name, CASE WHEN r.name <> 'CONTAINER_DOWN' THEN a.value END FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id};
		is(run_sql("SELECT left(lower, 9), name, value FROM (($expected EXCEPT $raised) UNION ALL ($raised EXCEPT ($expected))) x"), '', "$db: alerts tell each row's values");
		# An update of other columns says nothing where it is known which columns are read.
		run_sql(q{UPDATE told SET note = 1; UPDATE told SET divisor = 2, at = at + interval '1 second' WHERE divisor = 0 AND doc ->> 'used' <> 'much';});
		flush_ok($node, $db);
		is(run_sql('SELECT samples FROM alerting.status()'), ($twice =~ /public/ ? 2 * 49 : 49) + 6, "$db: updates");
		# A column that changes its type, to another that the expressions take.
		run_sql('ALTER TABLE told ALTER divisor TYPE numeric; DELETE FROM told;',
			q{INSERT INTO told (container_id, at, cpu, divisor) SELECT key(i), now() AT TIME ZONE 'UTC' + interval '2 seconds', 30 + i / 2.0, 100.5 FROM generate_series(0, 63) i});
		flush_ok($node, $db);
		is(run_sql(q{SELECT count(*) FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id WHERE r.name = 'CPU_USAGE' AND a.status = 'FIRING'}), 0, "$db: after ALTER TABLE");
	}
}

# Texts too long for a key are not unpacked: here 200 times 10 MB from one of 115 kB.
{
	begin_case('long_keys');
	run_sql(q{CREATE TABLE long (id text); INSERT INTO long VALUES (repeat('k', 10000000));
		CREATE TABLE plain (container_id text, at timestamptz, cpu float8); SELECT alerting.attach_metrics('plain', cpu => 'cpu');
		CREATE TABLE told (container_id text, at timestamptz, cpu float8); SELECT alerting.attach_metrics('told', cpu => 'cpu * 1');});
	flush_ok($node, $db);
	my $peak = q{SELECT (regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\s+(\d+)'))[1]::int / 1024;};
	my ($before, $after) = split /\n/, run_sql($peak, (map { "INSERT INTO $_ SELECT id, now(), 99 FROM long, generate_series(1, 200);" } 'plain', 'told'), $peak);
	cmp_ok($after - $before, '<', 400, 'keys of 4 GB take no such memory');
	flush_ok($node, $db);
	is(run_sql('SELECT samples, skipped, unknown FROM alerting.status()'), '0|400|0', 'rows with them are counted');
}

# Columns that are computed when they are read: no tuple holds what they give.
SKIP:
{
	skip 'virtual columns are new in PostgreSQL 18' if $node->safe_psql('postgres', 'SHOW server_version_num') < 180000;
	for my $level (qw(statement row))
	{
		begin_case("virtual_$level");
		my $form = $level eq 'row' ? '%s + 0' : '%s';
		run_sql(q{INSERT INTO organizations VALUES (2); ALTER TABLE containers ADD tenant int GENERATED ALWAYS AS (organization_id) VIRTUAL;
			SELECT alerting.attach('organizations', 'containers', organization => 'tenant');
			CREATE TABLE told (container_id text, at timestamptz, load numeric, used bigint, "of" bigint, running bool GENERATED ALWAYS AS ("of" < 90) VIRTUAL, gone int,
				memory float8 GENERATED ALWAYS AS (100.0 * used / "of"), cpu numeric GENERATED ALWAYS AS (load * 100) VIRTUAL);
			ALTER TABLE told DROP gone;}, sprintf("SELECT alerting.attach_metrics('told', cpu => '$form', memory => '$form', running => 'running', level => '$level')", 'cpu', 'memory'));
		flush_ok($node, $db);
		run_sql('INSERT INTO told SELECT key(i), now(), 0.51 + i / 200.0, 60 + i % 20, 80 + i % 20 FROM generate_series(0, 63) i');
		read_right('told', "virtual columns, by $level");
		run_sql('UPDATE containers SET organization_id = 2 WHERE id = key(3)');
		flush_ok($node, $db);
		is(run_sql("SELECT DISTINCT resolve_reason FROM alerting.alert WHERE container_id = key(3) AND status = 'RESOLVED'"), 'CONTAINER_MOVED', "a container moves by one");
	}
}

clean_log_ok($node, qr/division by zero|invalid input syntax for type numeric|but alerting\.capture\(\) takes 12/);
$node->stop;
done_testing();

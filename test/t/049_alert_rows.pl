# alerting.alert is a table like others: what users have put on it sees the evaluator's alerts as it would see an
# INSERT's, also when they put it there between two alerts.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use Test::More;

my $node = new_server('alert_rows');
make_host($node, 'postgres');
sql($node, 'postgres', <<'SQL');
SELECT rule('cpu', 1, 'CPU_USAGE', 80);
CREATE TABLE seen (what text, container int);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (TG_NAME, NEW.container_id); RETURN NULL; END $$;
CREATE FUNCTION see_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (TG_NAME); RETURN NULL; END $$;
CREATE FUNCTION see_table() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.seen SELECT TG_NAME, t.container_id FROM fresh t; RETURN NULL; END $$;
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.value := -1; RETURN NEW; END $$;
CREATE FUNCTION is_allowed(float8) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
SQL
flush($node, 'postgres');

# An alert begins and ends in container 10; gives what its row has.
my $minute = 0;
sub incident
{
	my ($columns, $name) = @_;
	sql($node, 'postgres', 'DELETE FROM alerting.alert; TRUNCATE seen');
	for my $cpu (95, 5)
	{
		++$minute;
		sql($node, 'postgres', "SELECT s(10, $minute, $cpu)");
		flush($node, 'postgres', name => "$name: judged");
	}
	return sql($node, 'postgres', "SELECT string_agg(concat_ws(' ', $columns), ', ') FROM alerting.alert");
}
my $usual = 'rule_id, container_id, status, value, resolve_reason, created_at >= now() - interval \'1 hour\'';
my $alert = 'cpu 10 RESOLVED 95 RECOVERED t';
my $seen = q{SELECT string_agg(concat_ws(' ', what, container), ', ' ORDER BY what) FROM seen};

is(incident($usual, 'plain'), $alert, 'plain');
is(incident($usual, 'again'), $alert, 'and again');

sql($node, 'postgres', q{
	CREATE TRIGGER row_after AFTER INSERT ON alerting.alert FOR EACH ROW EXECUTE FUNCTION see();
	CREATE TRIGGER statement_before BEFORE INSERT ON alerting.alert EXECUTE FUNCTION see_statement();
	CREATE TRIGGER statement_after AFTER INSERT ON alerting.alert EXECUTE FUNCTION see_statement()});
is(incident($usual, 'triggers'), $alert, 'with triggers');
is(sql($node, 'postgres', $seen), 'row_after 10, statement_after, statement_before', 'which are executed');
# Behind it as many as the foreign keys have, which are left out.
my @later = map { "trigger$_" } 1 .. 5;
sql($node, 'postgres', "CREATE TRIGGER $_ AFTER INSERT ON alerting.alert FOR EACH ROW EXECUTE FUNCTION see()") for @later;
is(incident($usual, 'later triggers'), $alert, 'with others behind the one that is executed first');
is(sql($node, 'postgres', $seen), join(', ', 'row_after 10', 'statement_after', 'statement_before', map { "$_ 10" } @later),
	'each of which calls its own function');
sql($node, 'postgres', "DROP TRIGGER $_ ON alerting.alert") for @later;
sql($node, 'postgres', q{CREATE TRIGGER whole AFTER INSERT ON alerting.alert REFERENCING NEW TABLE AS fresh EXECUTE FUNCTION see_table()});
is(incident($usual, 'transition table'), $alert, 'with a transition table');
is(sql($node, 'postgres', $seen), 'row_after 10, statement_after, statement_before, whole 10', 'which has the row');
sql($node, 'postgres', 'DROP TRIGGER whole ON alerting.alert; CREATE TRIGGER marked BEFORE INSERT ON alerting.alert FOR EACH ROW EXECUTE FUNCTION mark()');
is(incident($usual, 'changed row'), 'cpu 10 RESOLVED -1 RECOVERED t', 'with a trigger that changes the row');
is(sql($node, 'postgres', $seen), 'row_after 10, statement_after, statement_before', 'and the others, once each');
sql($node, 'postgres', q{DROP TRIGGER marked ON alerting.alert; DROP TRIGGER row_after ON alerting.alert;
	DROP TRIGGER statement_before ON alerting.alert; DROP TRIGGER statement_after ON alerting.alert});

sql($node, 'postgres', q{
	ALTER TABLE alerting.alert ADD note text NOT NULL DEFAULT 'noted', ADD twice float8 GENERATED ALWAYS AS (value * 2) STORED, ADD gone int;
	ALTER TABLE alerting.alert DROP gone});
is(incident("$usual, note, twice", 'columns'), "$alert noted 190", "users' columns");
sql($node, 'postgres', q{ALTER TABLE alerting.alert ALTER note SET DEFAULT 'changed'});
is(incident("$usual, note", 'default'), "$alert changed", 'a default that was changed');
sql($node, 'postgres', q{CREATE INDEX long ON alerting.alert (note) WHERE note <> 'short'});
is(incident("$usual, note", 'index'), "$alert changed", 'a partial index');
is(sql($node, 'postgres', q{SET enable_seqscan = off; SELECT count(*) FROM alerting.alert WHERE note = 'changed' AND note <> 'short'}), 1, 'has the row');
sql($node, 'postgres', 'ALTER TABLE alerting.alert DROP note, DROP twice');

# Constraints: of a function that is replaced afterwards, too.
sub refused
{
	my ($name, $mend) = @_;
	++$minute;
	sql($node, 'postgres', "DELETE FROM alerting.alert; SELECT s(10, $minute, 95)");
	ok($node->poll_query_until('postgres', q{SELECT problem LIKE '%violates check constraint "allowed"%' FROM alerting.status()}), "$name: status() tells");
	sql($node, 'postgres', $mend);
	flush($node, 'postgres', name => "$name: judged when it can be");
	is(sql($node, 'postgres', 'SELECT status FROM alerting.alert'), 'FIRING', "$name: nothing is lost");
	++$minute;
	sql($node, 'postgres', "SELECT s(10, $minute, 5)");
	flush($node, 'postgres', name => "$name: over");
}
sql($node, 'postgres', 'ALTER TABLE alerting.alert ADD CONSTRAINT allowed CHECK (public.is_allowed(value))');
is(incident($usual, 'a check'), $alert, 'a check that holds');
sql($node, 'postgres', q{CREATE OR REPLACE FUNCTION is_allowed(float8) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false'});
refused('a function replaced', q{CREATE OR REPLACE FUNCTION is_allowed(float8) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'});
sql($node, 'postgres', 'ALTER TABLE alerting.alert DROP CONSTRAINT allowed; ALTER TABLE alerting.alert ADD CONSTRAINT allowed CHECK (value < 90) NOT VALID');
refused('a check replaced', 'ALTER TABLE alerting.alert DROP CONSTRAINT allowed');

# An alert of the rule and container that is FIRING already stays the one there is.
sql($node, 'postgres', q{DELETE FROM alerting.alert;
	INSERT INTO alerting.alert (id, rule_id, container_id, status, started_at, fired_at) VALUES ('mine', 'cpu', 11, 'FIRING', at(1), at(1))});
++$minute;
sql($node, 'postgres', "INSERT INTO container_metrics (container_id, at, cpu_percent) SELECT c, at($minute), 95 FROM unnest(ARRAY[10, 11, 12]) c");
flush($node, 'postgres', name => 'one is there');
is(sql($node, 'postgres', q{SELECT string_agg(concat_ws(' ', container_id, id = 'mine', status), ', ' ORDER BY container_id) FROM alerting.alert}),
	'10 f FIRING, 11 t FIRING, 12 f FIRING', 'an alert that is FIRING already is kept, the others are written');
++$minute;
sql($node, 'postgres', "INSERT INTO container_metrics (container_id, at, cpu_percent) SELECT c, at($minute), 5 FROM unnest(ARRAY[10, 11, 12]) c");
flush($node, 'postgres', name => 'all over');
is(sql($node, 'postgres', q{SELECT string_agg(concat_ws(' ', container_id, id = 'mine', status), ', ' ORDER BY container_id) FROM alerting.alert}),
	'10 f RESOLVED, 11 t RESOLVED, 12 f RESOLVED', 'and ends as they do');

$node->stop('fast');
done_testing();

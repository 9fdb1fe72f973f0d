# The state of an alert's container is saved with the alert: in the same transaction, and whatever users have put on
# alerting.series_state or do to its rows.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use Test::More;

my $node = new_server('saved_state', conf => "wal_level = logical\n");
make_host($node, 'postgres');
sql($node, 'postgres', <<'SQL');
SELECT rule('cpu', 1, 'CPU_USAGE', 80);
CREATE TABLE seen (what text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (TG_NAME); RETURN NULL; END $$;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.saved_at := '2000-01-01Z'; RETURN NEW; END $$;
SQL
flush($node, 'postgres');

# An alert of container 10 begins; its state is in the row that the alert's transaction wrote.
my $minute = 0;
sub insert_breach
{
	my ($well, $breach) = ($minute + 1, $minute + 2);
	$minute = $breach;
	sql($node, 'postgres', "SELECT s(10, $well, 5), s(10, $breach, 95)");
}

sub begins
{
	my ($name) = @_;
	insert_breach();
	flush($node, 'postgres', name => "$name: judged");
	is(sql($node, 'postgres', q{SELECT count(*) FROM alerting.alert a JOIN alerting.series_state s ON s.xmin = a.xmin WHERE a.status = 'FIRING'}),
		1, "$name: saved with the alert");
}
begins($_) for ('the first', 'saved again', 'and again');
is(sql($node, 'postgres', 'SELECT count(*), min(chunk), max(chunk) FROM alerting.series_state'), '1|0|0', 'one chunk');
is(sql($node, 'postgres', <<'SQL'), 't', 'compressed by lz4 where the server has it');
SELECT (attcompression = 'l') = ('lz4' = ANY (enumvals)) FROM pg_attribute, pg_settings
 WHERE attrelid = 'alerting.series_state'::regclass AND attname = 'state' AND name = 'default_toast_compression'
SQL
is(sql($node, 'postgres', 'SELECT saved_at > now() - interval \'1 hour\' FROM alerting.series_state'), 't', 'with its time');

sql($node, 'postgres', q{ALTER TABLE alerting.series_state ADD note text DEFAULT 'mine', ADD size int GENERATED ALWAYS AS (octet_length(state)) STORED,
	ADD CONSTRAINT small CHECK (octet_length(state) < 100000); CREATE INDEX ON alerting.series_state (saved_at)});
begins("a user's columns, check and index");
is(sql($node, 'postgres', 'SELECT note, size = octet_length(state) FROM alerting.series_state'), 'mine|t', 'the columns are kept and computed');
is(sql($node, 'postgres', q{SET enable_seqscan = off; SELECT count(*) FROM alerting.series_state WHERE saved_at > now() - interval '1 hour'}),
	1, 'the index has the row');
sql($node, 'postgres', 'CREATE PUBLICATION everything FOR ALL TABLES');
begins('published');
sql($node, 'postgres', q{DROP PUBLICATION everything; CREATE TRIGGER after_row AFTER UPDATE ON alerting.series_state FOR EACH ROW EXECUTE FUNCTION see();
	CREATE TRIGGER before_row BEFORE UPDATE ON alerting.series_state FOR EACH ROW EXECUTE FUNCTION stamp()});
begins('triggers');
is(sql($node, 'postgres', 'SELECT (SELECT string_agg(DISTINCT what, \' \') FROM seen), saved_at = \'2000-01-01Z\' FROM alerting.series_state'),
	'after_row|t', 'which are executed');
sql($node, 'postgres', 'DROP TRIGGER after_row ON alerting.series_state; DROP TRIGGER before_row ON alerting.series_state');
begins('no triggers any more');

# Somebody at the row.
my $holder = $node->background_psql('postgres');
for my $case (['locked', 'SELECT 1 FROM alerting.series_state FOR UPDATE', 'COMMIT'],
	['locked for its key', 'SELECT 1 FROM alerting.series_state FOR KEY SHARE', 'COMMIT'],
	['changed, rolled back', 'UPDATE alerting.series_state SET saved_at = saved_at', 'ROLLBACK'],
	['changed', 'UPDATE alerting.series_state SET saved_at = saved_at', 'COMMIT'],
	['deleted, rolled back', 'DELETE FROM alerting.series_state', 'ROLLBACK'],
	['deleted', 'DELETE FROM alerting.series_state', 'COMMIT'])
{
	my ($name, $statement, $end) = @$case;
	$holder->query_safe("BEGIN; $statement");
	insert_breach();
	sql($node, 'postgres', "SELECT alerting.flush('600ms')");
	$holder->query_safe($end);
	begins("$name by somebody");
	is(sql($node, 'postgres', "SELECT count(*) FROM alerting.alert WHERE status = 'RESOLVED' AND fired_at = "
			  . "(SELECT max(fired_at) FROM alerting.alert WHERE status = 'RESOLVED')"), 1, "$name by somebody: nothing is lost");
	is(sql($node, 'postgres', 'SELECT count(*) FROM alerting.series_state'), 1, "$name by somebody: one row");
}
is(sql($node, 'postgres', 'SELECT count(*) FROM alerting.alert'), $minute / 2, 'each alert once');
$holder->quit;

# What was saved is what a restart begins with.
$node->stop('immediate');
$node->start;
flush($node, 'postgres', name => 'after a crash');
is(sql($node, 'postgres', "SELECT count(*), count(*) FILTER (WHERE status = 'FIRING') FROM alerting.alert"), $minute / 2 . '|1', 'nothing twice');
is(scalar(() = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /tuple concurrently/g), 0, 'no error of a concurrent change');
done_testing();

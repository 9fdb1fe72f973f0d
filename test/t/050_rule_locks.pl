# A few alerts' rules and webhooks are found and locked without a statement where that is enough;
# where it is not (locked rows, row security, tables and indexes that are not as usual), the statement
# runs. Both mean the same.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

# auto_explain tells whether the statement has run.
my $node = new_server('rule_locks', conf => "shared_preload_libraries = 'auto_explain'\n"
	  . "auto_explain.log_min_duration = 0\nauto_explain.log_nested_statements = on\ndeadlock_timeout = 1s\n");
my $database = 'postgres';
my $next = 1000;

sub query { return sql($node, $database, $_[0]); }

sub with_webhooks
{
	query(<<'SQL');
-- Or the inserts would wait for the container.
ALTER TABLE container_metrics DROP CONSTRAINT container_metrics_container_id_fkey;
INSERT INTO containers SELECT n, 1 + n % 2, 'c' || n FROM generate_series(1000, 1199) n;
SELECT rule('one', 1, 'CPU_USAGE', 80), rule('two', 2, 'CPU_USAGE', 80);
INSERT INTO alerting.webhook (id, organization_id, url, is_active) VALUES ('a', 1, 'https://example.invalid/a', true),
  ('b', 1, 'https://example.invalid/b', true), ('off', 1, 'https://example.invalid/off', false), ('c', 2, 'https://example.invalid/c', true);
SQL
	flush($node, $database);
	return;
}

# The webhooks that are told of a container's alert, "none" without an alert.
sub told
{
	my ($container) = @_;
	return query("SELECT coalesce(string_agg(DISTINCT told, ';'), 'none') FROM (SELECT concat_ws(' ', rule_id,"
		  . " (SELECT string_agg(d.webhook_id, ' ' ORDER BY d.webhook_id) FROM alerting.delivery d WHERE d.alert_id = a.id)) AS told"
		  . " FROM alerting.alert a WHERE a.container_id = $container) t");
}

# How often the statement has run since.
sub statements_since
{
	my ($offset) = @_;
	my $log = substr(slurp_file($node->logfile), $offset);
	return scalar(() = $log =~ /Query Text: WITH rule AS MATERIALIZED/g);
}

# A container of the first organization breaches; `way`: how its rule is locked.
sub fires
{
	my ($name, $way, $expected) = @_;
	my $container = $next;
	$next += 2;
	my $offset = -s $node->logfile;
	query("SELECT s($container, 1, 95)");
	flush($node, $database, name => "$name: judged");
	is(told($container), $expected, "$name: told");
	is(statements_since($offset) ? 'statement' : 'index', $way, "$name: by which way");
	return;
}

make_host($node, $database);
with_webhooks();
fires('plain', 'index', 'one a b');

# --- others' open transactions -------------------------------------------------------------------------
my $holder = $node->background_psql($database);

# What is held: container $held waits, one of the other organization does not.
sub held
{
	my ($name, $statement, $end, $expected) = @_;
	my ($held, $other) = ($next, $next + 1);
	$next += 2;
	my $offset = -s $node->logfile;
	$holder->query_safe("BEGIN; $statement");
	query("SELECT s($held, 1, 95), s($other, 1, 95)");
	ok($node->poll_query_until($database, "SELECT count(*) = 1 FROM alerting.alert WHERE container_id = $other"), "$name: others are written");
	is(query("SELECT alerting.flush('300ms')"), 'f', "$name: it waits");
	$holder->query_safe($end);
	flush($node, $database, name => "$name: judged");
	is(told($held), $expected, "$name: told");
	is(told($other), 'two c', "$name: as are others");
	ok(statements_since($offset), "$name: by the statement");
	return;
}

for my $edit ("UPDATE alerting.alert_rule SET name = 'edited'", "UPDATE alerting.webhook SET url = 'https://example.invalid/new'",
	"UPDATE alerting.webhook SET is_active = NOT is_active", "UPDATE alerting.webhook SET organization_id = 3 - organization_id",
	"SELECT 1 FROM alerting.webhook, alerting.alert_rule FOR NO KEY UPDATE")
{
	$holder->query_safe("BEGIN; $edit");
	fires("$edit, open", 'index', 'one a b');
	$holder->query_safe('ROLLBACK');
}
held('a rule locked', q{SELECT 1 FROM alerting.alert_rule WHERE id = 'one' FOR UPDATE}, 'COMMIT', 'one a b');
held('a rule that is being deleted', q{DELETE FROM alerting.alert_rule WHERE id = 'one'}, 'ROLLBACK', 'one a b');
held('a webhook locked', q{SELECT 1 FROM alerting.webhook WHERE id = 'b' FOR UPDATE}, 'COMMIT', 'one a b');
held('a webhook that is being deleted', q{DELETE FROM alerting.webhook WHERE id = 'b'}, 'ROLLBACK', 'one a b');
$holder->query_safe(q{BEGIN; SELECT 1 FROM alerting.webhook WHERE id = 'off' FOR UPDATE});
fires('an inactive webhook locked', 'index', 'one a b');
$holder->query_safe('ROLLBACK');
held('a webhook deleted', q{DELETE FROM alerting.webhook WHERE id = 'b'}, 'COMMIT', 'one a');
$holder->quit;
query(q{UPDATE alerting.webhook SET organization_id = 2 WHERE id = 'a'});
fires('all webhooks gone or moved', 'index', 'one');
query(q{UPDATE alerting.webhook SET organization_id = 1});
fires('more webhooks moved to it', 'index', 'one a c');

# --- gone, but the evaluator was not told ----------------------------------------------------------------
query(q{SET session_replication_role = replica; DELETE FROM alerting.alert_rule WHERE id = 'one'});
fires('a rule that is gone', 'statement', 'none');
query(q{SELECT rule('one', 1, 'CPU_USAGE', 80)});
flush($node, $database);

# --- several rules in one transaction -----------------------------------------------------------------
for my $case ([ 4, 'index' ], [ 20, 'statement' ])
{
	my ($rules, $way) = @$case;
	query("SELECT rule('more' || n, 1, 'CPU_USAGE', 90) FROM generate_series(1, $rules) n");
	flush($node, $database);
	fires("$rules rules", $way, join ';', sort 'one a c', map { "more$_ a c" } 1 .. $rules);
	query(q{DELETE FROM alerting.alert_rule WHERE id LIKE 'more%'});
	flush($node, $database);
}

# --- indexes ------------------------------------------------------------------------------------------
my $indexed = q{CREATE INDEX webhook_organization_id_idx ON alerting.webhook (organization_id)};
query('DROP INDEX alerting.webhook_organization_id_idx');
fires('no index', 'statement', 'one a c');
for my $useless ('(organization_id) WHERE is_active', '(id, organization_id)', '((organization_id + 1))', '(organization_id, id) WHERE organization_id > 1', 'USING hash (organization_id)')
{
	query("CREATE INDEX other ON alerting.webhook $useless");
	fires("an index $useless", 'statement', 'one a c');
	query('DROP INDEX alerting.other');
}
for my $useful ('(organization_id DESC NULLS FIRST, id)', '(organization_id) INCLUDE (url)')
{
	query("CREATE INDEX other ON alerting.webhook $useful");
	fires("an index $useful", 'index', 'one a c');
	query(q{UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'alerting.other'::regclass});
	fires("an invalid index $useful", 'statement', 'one a c');
	query('DROP INDEX alerting.other');
}
query($indexed);
fires('an index again', 'index', 'one a c');
query('REINDEX INDEX CONCURRENTLY alerting.webhook_organization_id_idx');
fires('an index made anew', 'index', 'one a c');
# Its rows have versions that the index lacks: such an index serves younger snapshots only.
query(q{BEGIN; UPDATE alerting.webhook SET url = url || '?'; DROP INDEX alerting.webhook_organization_id_idx; } . "$indexed; COMMIT");
fires('an index over changed rows', 'index', 'one a c');

# --- tables and columns ---------------------------------------------------------------------------------
query('CREATE TABLE child () INHERITS (alerting.webhook)');
fires('a table that inherits', 'statement', 'one a c');
query('DROP TABLE child; ANALYZE alerting.webhook');
fires('none any more', 'index', 'one a c');
query('DROP VIEW alerting.active_alert; ALTER TABLE alerting.alert_rule ALTER threshold TYPE numeric');
fires('a column of another type', 'statement', 'one a c');
query('ALTER TABLE alerting.alert_rule ALTER threshold TYPE float8, ALTER duration TYPE bigint');
fires('a wider column', 'index', 'one a c');
query('ALTER TABLE alerting.alert_rule ALTER duration TYPE int, ADD added int DEFAULT 5');
fires('one column more', 'index', 'one a c');
query('CREATE TABLE copied (LIKE alerting.webhook INCLUDING ALL); ALTER TABLE alerting.webhook RENAME TO was; ALTER TABLE copied SET SCHEMA alerting; ALTER TABLE alerting.copied RENAME TO webhook');
fires('another table of this name', 'index', 'one');
query('DROP TABLE alerting.webhook; ALTER TABLE alerting.was RENAME TO webhook');
fires('the old one again', 'index', 'one a c');

# --- rights and row security ------------------------------------------------------------------------------
query(<<'SQL');
CREATE ROLE keeper;
GRANT USAGE ON SCHEMA alerting TO keeper;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA alerting TO keeper;
DO $$ BEGIN EXECUTE (SELECT string_agg(format('ALTER TABLE alerting.%I OWNER TO keeper;', n), '') FROM unnest(alerting.table_names()) n); END $$;
SELECT alerting.stop();
SELECT alerting.start();
SQL
wait_for_workers($node, $database);
fires('tables of another role', 'index', 'one a c');
query(q{ALTER TABLE alerting.webhook ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY hide ON alerting.webhook USING (id <> 'c')});
fires("row security, of the table's owner", 'index', 'one a c');
query('ALTER TABLE alerting.webhook OWNER TO postgres; GRANT ALL ON alerting.webhook TO keeper');
fires('row security, of others', 'statement', 'one a');
query('ALTER TABLE alerting.webhook DISABLE ROW LEVEL SECURITY');
fires('none', 'index', 'one a c');
query('REVOKE ALL ON alerting.webhook FROM keeper; GRANT SELECT, UPDATE (id), REFERENCES ON alerting.webhook TO keeper');
fires('a right on one column', 'statement', 'one a c');
for my $missing ('SELECT ON alerting.webhook', 'UPDATE (id) ON alerting.webhook', 'USAGE ON SCHEMA alerting')
{
	$next += 2;
	my $offset = -s $node->logfile;
	query("REVOKE $missing FROM keeper; SELECT s($next, 1, 95)");
	$node->wait_for_log(qr/permission denied for (table webhook|schema alerting)/, $offset);
	is(told($next), 'none', "without $missing: not written");
	query("GRANT $missing TO keeper");
	flush($node, $database, name => "with $missing: judged");
	is(told($next), 'one a c', "with $missing: told");
}

# --- keys of other types ----------------------------------------------------------------------------------
my $has_icu = query(q{SELECT count(*) > 0 FROM pg_collation WHERE collprovider = 'i'}) eq 't';
for my $case ([ 'text', 'index' ], [ 'varchar(20)', 'index' ], [ 'text COLLATE "C"', 'index' ], [ 'smallint', 'index' ], [ 'bigint', 'index' ], [ 'uuid', 'index' ],
	[ 'key_text', 'index' ], [ 'char(40)', 'statement' ], $has_icu ? [ 'text COLLATE whatever', 'statement' ] : ())
{
	my ($type, $way) = @$case;
	my @keys = map { $type =~ /int/ ? $_ : $type eq 'uuid' ? "'00000000-0000-0000-0000-00000000000$_'" : "'Organization $_'" } 1 .. 2;
	query('CREATE DATABASE typed');
	$database = 'typed';
	query(q{CREATE COLLATION whatever (provider = icu, locale = 'und-u-ks-level2', deterministic = false)}) if $type =~ /whatever/;
	query(qq{CREATE DOMAIN key_text AS text;
		CREATE TABLE organizations (id $type PRIMARY KEY, name text);
		CREATE TABLE containers (id int PRIMARY KEY, organization_id $type NOT NULL REFERENCES organizations, name text);
		CREATE TABLE container_metrics (container_id int, at timestamptz, cpu_percent float8);
		INSERT INTO organizations VALUES ($keys[0]), ($keys[1]);
		INSERT INTO containers SELECT n, $keys[0] FROM generate_series(1000, 1999) n;
		CREATE FUNCTION s(container int, minute int, cpu float8) RETURNS void LANGUAGE sql
		  AS 'INSERT INTO public.container_metrics VALUES (container, now(), cpu)';
		CREATE EXTENSION alerting;
		SELECT alerting.attach_metrics('container_metrics');
		INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold) VALUES ('one', $keys[0], 'cpu', 'CPU_USAGE', 80);
		INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('a', $keys[0], 'https://example.invalid/a'), ('c', $keys[1], 'https://example.invalid/c')});
	flush($node, $database);
	fires("keys of type $type", $way, 'one a');
	$database = 'postgres';
	query('DROP DATABASE typed WITH (FORCE)');
}

$node->stop('fast');
done_testing();

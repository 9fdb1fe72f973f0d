# alerting.doctor(): all is well on a server that is set up well, and each thing that commonly goes wrong
# is found and comes with what to do. What can be undone is provoked in a transaction that rolls back.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use OperationsTest qw(wait_until worker_pid);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('doctor', 'max_prepared_transactions = 5', 'autovacuum = off', 'max_logical_replication_workers = 0',
	'wal_level = logical', 'max_wal_senders = 2', "alerting.queue_size = '64kB'");
my $receiver = start_receiver('doctor');

# The findings of a topic that are not ok, one a line: "object status detail / hint". `before`: statements
# that provoke them; they and what they do to tables are rolled back.
sub findings
{
	my ($topic, $before, %options) = @_;
	my $output = $node->safe_psql($options{database} // 'host', qq{
		BEGIN;
		SET LOCAL client_min_messages = error;
		} . ($before // '') . qq{;
		SELECT 'findings:';
		SELECT concat_ws(' ', object, status, detail, '/', hint) FROM alerting.doctor()
		 WHERE topic = '$topic' AND status <> 'ok';
		ROLLBACK});
	return $output =~ s/^.*?findings:\n?//sr;
}

sub found
{
	my ($topic, $expected, $name, $before, %options) = @_;
	return like(findings($topic, $before, %options), $expected, "$topic: $name");
}

sub reload
{
	my ($setting, $value) = @_;
	$node->safe_psql('postgres', defined $value ? "LOAD 'alerting'; ALTER SYSTEM SET $setting = $value" : "LOAD 'alerting'; ALTER SYSTEM RESET $setting");
	my $count = $node->safe_psql('postgres', 'SELECT pg_conf_load_time()');
	$node->reload;
	$node->poll_query_until('postgres', "SELECT pg_conf_load_time() > '$count'") or die 'not reloaded';
	return;
}

# Nothing is bound, nothing preloaded.
$node->safe_psql('postgres', 'SET client_min_messages = warning; CREATE DATABASE bare');
$node->safe_psql('bare', 'SET client_min_messages = warning; CREATE EXTENSION alerting');
found('binding', qr/^error alerting is not attached.*alerting\.attach\(/, 'not attached', '', database => 'bare');
found('preload', qr/^warning .*restart.*shared_preload_libraries/, 'not preloaded', '', database => 'bare');

# A host where all is well.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'alerting'");
found('preload', qr/^warning shared_preload_libraries names alerting, but.* Restart the server/, 'not restarted', '', database => 'bare');
$node->restart;
$node->safe_psql('postgres', 'CREATE DATABASE host');
$node->safe_psql('host', q{
	CREATE TABLE organizations (id int PRIMARY KEY, name text);
	CREATE TABLE containers (id int PRIMARY KEY, organization_id int NOT NULL REFERENCES organizations ON DELETE CASCADE, name text);
	CREATE TABLE container_metrics (container_id int NOT NULL, at timestamptz NOT NULL, cpu_percent float8, PRIMARY KEY (container_id, at));
	INSERT INTO organizations VALUES (1, 'Initech');
	INSERT INTO containers VALUES (10, 1, 'web'), (11, 1, 'db');
	SET client_min_messages = warning;
	CREATE EXTENSION alerting});
found('samples', qr/^warning No row .* has been seen yet\. .*alerting\.metric_source.*this database/, 'none');
rule($node, 'host', 1, 'CPU_USAGE', 80, 0, name => 'cpu');
my $webhook = $node->safe_psql('host', sprintf "SELECT alerting.create_webhook(1, '%s', retry_schedule => '{1 h}')", $receiver->url('/ok/'));
$node->safe_psql('host', 'INSERT INTO container_metrics VALUES (10, now(), 95), (11, now(), 5)');
flush_ok($node, 'host', 1);
my $all_topics = 'preload version workers worker slots queue samples binding copy metrics time vacuum retention rules webhooks networks certificates';
is($node->safe_psql('host', q{SELECT string_agg(topic, ' ') FROM alerting.doctor()}), $all_topics, 'every topic is told of');
is($node->safe_psql('host', q{SELECT topic FROM alerting.doctor() WHERE status <> 'ok'}), 'vacuum', 'all is well, but for autovacuum, which this test has switched off');
found('vacuum', qr/^warning autovacuum.*off/, 'autovacuum is off');
found('time', qr/^$/, 'a row of now');

# Whoever may call it needs no other right.
is($node->safe_psql('host', qq{
	CREATE ROLE operator;
	GRANT USAGE ON SCHEMA alerting TO operator;
	GRANT EXECUTE ON FUNCTION alerting.doctor() TO operator;
	SET ROLE operator;
	SELECT string_agg(topic, ' ') FROM alerting.doctor()}), $all_topics, 'no other right is needed');

# Server.
found('version', qr/^error The extension has version 1\.0 here.*ALTER EXTENSION/, 'not updated', q{UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'alerting'});
my $other = q{CREATE OR REPLACE FUNCTION alerting.library_version() RETURNS text LANGUAGE sql AS $$SELECT '%s'$$};
found('version', qr/^error .*the loaded library 9\.9: nothing is judged.*Restart the server.*ALTER EXTENSION/, 'another library is loaded', sprintf $other, '9.9');
found('version', qr/^warning Version 1\.0 is in use, but the files of version \d\S+ are installed.*Restart the server/, 'newer files',
	"UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'alerting'; " . sprintf $other, '1.0');
$node->safe_psql('host', 'SELECT alerting.stop()');
found('workers', qr/^error Stopped by alerting\.stop.*alerting\.start/, 'stopped');
$node->safe_psql('host', 'SELECT alerting.start()');
reload('alerting.enabled', 'off');
found('workers', qr/^error alerting\.enabled is off.*RESET alerting\.enabled/, 'switched off');
reload('alerting.enabled');
flush_ok($node, 'host');
found('workers', qr/^$/, 'running again');
$node->safe_psql('host', q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no room''; END';
	CREATE TRIGGER refuse BEFORE UPDATE ON alerting.alert FOR EACH ROW EXECUTE FUNCTION refuse();
	INSERT INTO container_metrics VALUES (10, now(), 5)});
ok($node->poll_query_until('host', q{SELECT problem IS NOT NULL FROM alerting.status()}), 'an alert cannot be written');
found('workers', qr/^error The last step of a worker failed: no room.*log/, 'a problem');
$node->safe_psql('host', 'DROP TRIGGER refuse ON alerting.alert');
flush_ok($node, 'host', 1);

# Samples.
found('samples', qr/^$/, 'good');
$node->safe_psql('host', q{
	CREATE TABLE others (container int, at timestamptz, cpu float8);
	SET client_min_messages = error;
	SELECT alerting.attach_metrics('others', container => 'container', at => 'at', cpu => 'cpu')});
flush_ok($node, 'host');
$node->safe_psql('host', $_) for 'INSERT INTO others VALUES (NULL, now(), 5)', 'INSERT INTO others VALUES (999, now(), 5)',
  q{INSERT INTO others SELECT 11, now() - interval '1 day' - n * interval '1 s', 5 FROM generate_series(1, 50) n},
  q{INSERT INTO others SELECT 11, now() - interval '10 min' - n * interval '1 s', 5 FROM generate_series(1, 15) n};
flush_ok($node, 'host');
my $samples = findings('samples');
like($samples, $_->[1], "samples: $_->[0]") for [ 'skipped', qr/^warning 1 row could not be read/m ], [ 'unknown', qr/^warning 1 row was of containers that do not exist/m ],
  [ 'backfill', qr/^warning 50 of \d+ rows were older than max_age.*time_zone/m ], [ 'late', qr/^warning 15 of \d+ rows were older than their container's last one/m ];

# Queue.
my $evaluator = worker_pid($node, 'evaluator', 'host');
kill STOP => $evaluator;
my $seconds = 1;
$node->safe_psql('host', sprintf q{INSERT INTO container_metrics SELECT 11, now() + interval '%d s' + n * interval '1 ms', 5 FROM generate_series(1, 100) n}, $seconds++)
  until $node->safe_psql('host', 'SELECT queue_bytes * 10 > queue_size * 8 OR replay_pending FROM alerting.status()') eq 't';
found('queue', qr/^warning \d+ kB of 64 kB wait.*queue_size/, 'nearly full');
kill CONT => $evaluator;
flush_ok($node, 'host');
my $status = q{SELECT s AS record FROM (SELECT 0::bigint AS queue_bytes, 0::bigint AS queue_size, %s AS lag, %s AS replay_pending,
	1::bigint AS replays, 100::bigint AS samples, 1::bigint AS containers, 0::bigint AS skipped, 0::bigint AS unknown, 0::bigint AS backfill, 0::bigint AS late) s};
for my $case ([ "interval '1 minute'", 'false', qr/1 minute|00:01:00.*does not keep up/ ], [ "interval '0'", 'true', qr/had no room.*queue_size/ ])
{
	like($node->safe_psql('host', sprintf "SELECT detail, hint FROM ($status) x, alerting.doctor_samples(x.record) WHERE topic = 'queue'", @$case[0, 1]),
		$case->[2], "queue: $case->[1]");
}
is($node->safe_psql('host', 'SELECT status FROM (' . (sprintf $status, "interval '0'", 'false') =~ s/100::bigint AS samples/4::bigint AS samples/r =~ s/0::bigint AS late/2::bigint AS late/r
	  . ") x, alerting.doctor_samples(x.record) WHERE topic = 'samples'"), 'ok', 'samples: two late rows are no matter');

# Binding, mapping, triggers, index, policies.
found('binding', qr/^error The table.* is gone.*alerting\.attach\(/, 'the containers are gone', 'DROP TABLE containers CASCADE');
is(findings('metrics', "DROP TABLE $_ CASCADE"), '', "nothing is wrong with the metrics without $_") for qw(containers organizations);
found('metrics', qr/^public\.others error Its mapping does not fit any more/, 'looked at without containers', 'ALTER TABLE others DROP cpu; DROP TABLE containers CASCADE');
found('binding', qr/^public\.containers error .*organization_id.*alerting\.attach\(/, 'a column renamed', 'ALTER TABLE containers RENAME organization_id TO owner');
found('binding', qr/^public\.containers warning .*no column name any more.*alerting\.attach\('public\.organizations', 'public\.containers', organization => 'organization_id'\)/,
	"the containers' name renamed", 'ALTER TABLE containers RENAME name TO title');
found('binding', qr/^public\.organizations warning .*no column name any more/, "the organizations' name dropped", 'ALTER TABLE organizations DROP name');
found('metrics', qr/^error No metrics table.*attach_metrics/, 'none', 'DELETE FROM alerting.metric_source');
found('metrics', qr/^\d+ error A metrics table that was attached is gone.*DELETE FROM alerting\.metric_source/, 'dropped', 'DROP TABLE others');
found('metrics', qr/^public\.others error Its mapping does not fit any more: .*cpu.*attach_metrics/, 'a column dropped', 'ALTER TABLE others DROP cpu');
found('metrics', qr/^public\.others error Its mapping does not fit any more: .*type uuid, but the key has type integer/, 'keys of another kind', 'ALTER TABLE others ALTER container TYPE uuid USING gen_random_uuid()');
found('metrics', qr/^public\.others warning Tables that inherit from it are not attached.*: public\.later .*attach_metrics/, 'a child table', 'CREATE TABLE later () INHERITS (others)');
found('metrics', qr/^$/, 'that is attached', q{CREATE TABLE later () INHERITS (others); SELECT alerting.attach_metrics('later', container => 'container', at => 'at', cpu => 'cpu')});
my @triggers = (
	[ 'disabled', 'ALTER TABLE others DISABLE TRIGGER alerting_capture_insert', qr/^public\.others error Trigger alerting_capture_insert is disabled\. \/ ALTER TABLE public\.others ENABLE TRIGGER alerting_capture_insert;$/ ],
	[ 'replica only', 'ALTER TABLE others ENABLE REPLICA TRIGGER alerting_capture_update', qr/replicated changes only.*ENABLE TRIGGER/ ],
	[ 'dropped', 'DROP TRIGGER alerting_capture_insert ON others', qr/is missing\. \/ SELECT alerting\.repair\(\);$/ ],
	[ 'of containers', 'ALTER TABLE containers DISABLE TRIGGER alerting_container_deleted', qr/^public\.containers error Trigger alerting_container_deleted is disabled/ ],
	[ 'of alerts', 'ALTER TABLE alerting.alert DISABLE TRIGGER ALL', qr/^alerting\.alert error Trigger alerting_alert_deleted is disabled.*ENABLE TRIGGER/m ]);
found('triggers', $_->[2], $_->[0], $_->[1]) for @triggers;
found('triggers', qr/^alerting_drop_extension error Event trigger alerting_drop_extension is disabled\. \/ ALTER EVENT TRIGGER alerting_drop_extension ENABLE;$/, 'of events',
	'ALTER EVENT TRIGGER alerting_drop_extension DISABLE; ALTER EVENT TRIGGER alerting_partition_attached ENABLE ALWAYS');
found('index', qr/^public\.others warning No index finds.*CREATE INDEX CONCURRENTLY ON public\.others \(container, at\)/, 'none');
found('index', qr/^$/, 'there', 'CREATE INDEX ON others (container, at)');
$node->safe_psql('postgres', 'CREATE ROLE tenant');
# Which holds nobody back who works for alerting (110_other_owners.pl).
found('row security', qr/^$/, "forced on a table's owner", "ALTER TABLE $_ OWNER TO tenant; ALTER TABLE $_ ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
  for qw(others containers alerting.alert_rule);

# What alerting's own tables lack; what is advised mends it.
sub mended
{
	my ($topic, $statement, $expected) = @_;
	my $found = findings($topic, $statement);
	like($found, $expected, "$topic: $statement");
	my $advice = join ' ', map { m{ / (.*;)} } split /\n/, $found;
	is(findings($topic, "$statement; " . $advice =~ s/ CONCURRENTLY//gr), '', 'and what is advised mends it');
	return;
}
mended('tables', 'DROP TABLE alerting.delivery_attempt CASCADE',
	qr/^alerting\.delivery_attempt error It is missing\. \/ SELECT alerting\.attach\('public\.organizations', 'public\.containers', organization => 'organization_id'\); makes it anew.*renamed or moved/);
mended('keys', 'ALTER TABLE alerting.alert_rule DROP CONSTRAINT alert_rule_pkey CASCADE',
	qr/^alerting\.alert_rule error Its constraint alert_rule_pkey is missing\. \/ ALTER TABLE alerting\.alert_rule ADD CONSTRAINT alert_rule_pkey PRIMARY KEY \(id\);\nalerting\.alert error Its constraint alert_rule_id_fkey is missing/);
mended('keys', 'DROP INDEX alerting.alert_one_firing_key',
	qr/^alerting\.alert error Its index alert_one_firing_key is missing\. \/ CREATE UNIQUE INDEX CONCURRENTLY alert_one_firing_key ON alerting\.alert \(rule_id, container_id\) WHERE status = 'FIRING';$/);
mended('tables', 'ALTER TABLE alerting.alert OWNER TO tenant',
	qr/^alerting\.alert error Its owner tenant, as whom the workers .* has not the rights of \w+, who owns alerting\.alert_rule, alerting\.delivery, .* \/ ALTER TABLE alerting\.alert OWNER TO \w+; or give/);
mended('keys', 'DROP INDEX alerting.delivery_pending_idx', qr/^alerting\.delivery warning Its index delivery_pending_idx is missing\. \/ CREATE INDEX /);
mended('keys', q{UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'alerting.delivery_failed_idx'::regclass},
	qr/^alerting\.delivery warning Its index delivery_failed_idx is not valid\. \/ REINDEX INDEX CONCURRENTLY alerting\.delivery_failed_idx;$/);

# What cannot be looked at is said, and the rest is looked at.
found('workers', qr/^error function alerting\.status\(\) does not exist/, 'status() fails', 'ALTER FUNCTION alerting.status() RENAME TO gone');
my $broken = 'ALTER TABLE alerting.alert_rule RENAME enabled TO gone';
found('rules', qr/^unknown column r\.enabled does not exist/, 'a part fails', $broken);
found('networks', qr/^warning/, 'and the others go on', "SET LOCAL alerting.allowed_networks = '0.0.0.0/0'; $broken");

# Subscribed tables need triggers that always fire.
my $subscribe = q{CREATE SUBSCRIPTION s CONNECTION 'dbname=nobody' PUBLICATION p WITH (connect = false);
	INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) SELECT oid, 'others'::regclass, 'r' FROM pg_subscription};
found('triggers', qr/^public\.others error Logical replication fires no statement triggers.*level => 'row'/, 'of a subscribed table', $subscribe);
found('triggers', qr/^public\.others error .*does not fire for what logical replication applies.*ENABLE ALWAYS TRIGGER alerting_capture;/, 'not always',
	"SELECT alerting.attach_metrics('others', container => 'container', at => 'at', cpu => 'cpu', level => 'row');"
	. "ALTER TABLE others ENABLE TRIGGER alerting_capture; $subscribe");

# Times.
found('time', qr/^public\.others error .*in the future.*clocks/, 'in the future', q{INSERT INTO others VALUES (11, now() + interval '1 hour', 5)});
found('time', qr/^public\.others warning .*older than max_age/, 'long ago', q{DELETE FROM others; INSERT INTO others VALUES (11, now() - interval '2 hours', 5)});
found('time', qr/^public\.former warning .*older than max_age.*attach_metrics\('public\.others', container => 'container', at => 'at', cpu => 'cpu'\);$/, 'another table under its name',
	q{DELETE FROM others; INSERT INTO others VALUES (11, now() - interval '2 hours', 5); ALTER TABLE others RENAME TO former; CREATE TABLE others (LIKE former, more int)});
found('time', qr/^public\.others unknown .*not looked up/, 'an expression',
	q{SELECT alerting.attach_metrics('others', container => 'container', at => 'm.at + interval ''1 s''', cpu => 'cpu')});
found('time', qr/^public\.seconds error .*in the future/, 'seconds taken for milliseconds', q{
	CREATE TABLE seconds (container int, at bigint, cpu float8);
	SELECT alerting.attach_metrics('seconds', container => 'container', at => 'at', cpu => 'cpu', at_unit => 's');
	INSERT INTO seconds VALUES (11, 1000 * extract(epoch FROM now())::bigint, 5)});
found('time', qr/^public\.naive warning .*older than max_age/, 'another time zone', q{
	CREATE TABLE naive (container int, at timestamp, cpu float8);
	SELECT alerting.attach_metrics('naive', container => 'container', at => 'at', cpu => 'cpu', time_zone => 'Pacific/Auckland');
	INSERT INTO naive VALUES (11, now() AT TIME ZONE 'UTC', 5)});

# Prepared transactions.
$node->safe_psql('host', q{BEGIN; INSERT INTO others VALUES (11, now(), 5); PREPARE TRANSACTION 'forgotten'});
found('prepared transactions', qr/^public\.others warning .*'forgotten'.*COMMIT PREPARED/, 'one');
$node->safe_psql('host', q{ROLLBACK PREPARED 'forgotten'});

# Vacuum, growth.
found('vacuum', qr/^alerting\.delivery warning autovacuum is off for this table.*RESET/m, 'off for a table', 'ALTER TABLE alerting.delivery SET (autovacuum_enabled = off)');
$node->safe_psql('host', q{BEGIN; INSERT INTO alerting.series_state (chunk, state) SELECT -n, '' FROM generate_series(1, 100100) n; ROLLBACK});
$node->safe_psql('host', q{CREATE TABLE big (container int, at timestamptz, cpu float8); INSERT INTO big SELECT 1, now() FROM generate_series(1, 10100)});
ok($node->poll_query_until('host', q{SELECT count(*) = 2 FROM pg_stat_all_tables WHERE (relname = 'series_state' AND n_dead_tup > 100000) OR (relname = 'big' AND n_live_tup > 10000)}),
	'the statistics have come');
found('vacuum', qr/^alerting\.series_state warning 100\d\d\d of its rows are dead.*VACUUM/m, 'dead rows');
found('vacuum', qr/^public\.big warning It has about 10\d\d\d rows and was never analyzed.*ANALYZE/m, 'never analyzed',
	q{SELECT alerting.attach_metrics('big', container => 'container', at => 'at', cpu => 'cpu')});
my $old = qq{INSERT INTO alerting.delivery (seq, webhook_id, event, payload, status, created_at)
	VALUES (0, '$webhook', 'ping', '{}', 'DELIVERED', now() - interval '100 days')};
found('retention', qr/^$/, 'old, but about to go', $old);
reload('alerting.delivery_retention', "'-1'");
found('retention', qr/^alerting\.delivery warning Delivered webhooks are kept for ever/, 'for ever', $old);
reload('alerting.delivery_retention');

# Rules.
found('rules', qr/^warning There is no enabled rule/, 'none', 'UPDATE alerting.alert_rule SET enabled = false');
found('rules', qr/^error 1 enabled rule has condition $_, but/m, "$_ without a mapping",
	"SELECT alerting.create_rule(1, 'unfed', '$_', 80, 10)") for qw(MEMORY_USAGE RESTART_LOOP);
found('rules', qr/^error 1 enabled rule has condition CPU_USAGE/, 'CPU_USAGE without a mapping', 'DELETE FROM alerting.metric_source');
found('rules', qr/^odd warning 1 enabled rule, this one: threshold 0\.8 is a percentage.* share of 1, the threshold is 80\.$/, 'a share for a percentage',
	q{INSERT INTO alerting.alert_rule (id, organization_id, name, condition, threshold) VALUES ('odd', 1, 'cpu', 'CPU_USAGE', 0.8)});

# Webhooks, as they fail.
like($node->safe_psql('host', q{
	BEGIN;
	INSERT INTO organizations VALUES (2, 'Hooli'), (3, 'Pied Piper');
	INSERT INTO alerting.alert_rule (organization_id, name, condition) VALUES (2, 'down', 'CONTAINER_DOWN'), (2, 'down', 'CONTAINER_DOWN');
	INSERT INTO alerting.webhook (organization_id, url, is_active) VALUES (2, 'https://example.com/', false);
	SELECT status, detail FROM alerting.doctor() WHERE topic = 'webhooks';
	ROLLBACK}), qr/^ok\|1 active, and all that is due was delivered\. 1 organizations have rules, but no active webhook\.$/, 'webhooks: organizations without');
found('webhooks', qr/^warning There is no active webhook/, 'none', 'UPDATE alerting.webhook SET is_active = false');
found('webhooks', qr/^$webhook warning \S+ is switched off, 1 deliveries wait.*is_active = true/, 'switched off', qq{
	UPDATE alerting.webhook SET is_active = false;
	INSERT INTO alerting.delivery (webhook_id, event, payload) VALUES ('$webhook', 'ping', '{}')});
found('webhooks', qr/^$webhook warning \S+: 1 deliveries wait, the oldest since.*copy/, 'not sent', qq{
	INSERT INTO alerting.delivery (webhook_id, event, payload, created_at) VALUES ('$webhook', 'ping', '{}', now() - interval '10 min')});
found('webhooks', qr/^$/, 'a ping that failed', qq{INSERT INTO alerting.delivery (webhook_id, event, payload, status) VALUES ('$webhook', 'ping', '{}', 'FAILED')});
found('webhooks', qr/^ ?warning More than 49 have trouble.*webhook_health/m, 'very many', q{
	INSERT INTO alerting.webhook (id, organization_id, url, is_active) SELECT 'off' || n, 1, 'https://example.com/' || n, false FROM generate_series(1, 60) n;
	INSERT INTO alerting.delivery (webhook_id, event, payload) SELECT 'off' || n, 'ping', '{}' FROM generate_series(1, 60) n});
my %path = (failing => '/status/500', gone => '/gone', refused => '/ok/refused', given_up => '/status/404');
my %id = map { $_ => $node->safe_psql('host', sprintf "INSERT INTO alerting.webhook (id, organization_id, url, retry_schedule) VALUES ('$_', 1, '%s', '%s') RETURNING id",
	$receiver->url($path{$_}), $_ eq 'given_up' ? '{1 ms}' : '{1 h}') } keys %path;
reload('alerting.allowed_networks', "'127.0.0.1/32'");
$node->safe_psql('host', q{ALTER TABLE alerting.webhook DISABLE TRIGGER alerting_check_webhook;
	UPDATE alerting.webhook SET url = replace(url, '127.0.0.1', '127.0.0.2') WHERE id = 'refused';
	ALTER TABLE alerting.webhook ENABLE TRIGGER alerting_check_webhook;
	INSERT INTO container_metrics VALUES (10, now(), 95)});
flush_ok($node, 'host');
ok($node->poll_query_until('host', q{SELECT count(*) = 4 FROM alerting.delivery WHERE webhook_id IN ('failing', 'gone', 'refused', 'given_up')
	AND (attempts > 0 OR last_status = 410) AND (webhook_id <> 'given_up' OR status = 'FAILED')}), 'the webhooks have failed');
my $troubles = findings('webhooks');
like($troubles, $_->[1], "webhooks: $_->[0]") for
  [ 'failing', qr/^failing error http:\S+ fails, 1 times in a row, 1 deliveries wait: .*500.*test_webhook\('failing'\)/m ],
  [ 'gone', qr/^gone error http:\S+ was switched off: .*is_active = true/m ],
  [ 'refused', qr/^refused error http:\S+ fails.*refused network.*alerting\.allowed_networks/m ],
  [ 'given up', qr/^given_up warning http:\S+: 1 deliveries were given up, .*404.*redeliver_failed\('given_up'\)/m ];
unlike($troubles, qr{/status|/gone}, 'no path of a URL is shown');
found('webhooks', qr/^failing error .*fails, .*spared/m, 'behind the breaker', q{UPDATE alerting.webhook SET probe_at = now() + interval '1 min' WHERE id = 'failing'});
$node->safe_psql('host', q{DELETE FROM alerting.webhook WHERE id IN ('failing', 'gone', 'refused', 'given_up')});

# The way out.
found('networks', qr/^warning .*reach 0\.0\.0\.0\/0.*list only what is needed/, 'all open', q{SET LOCAL alerting.allowed_networks = '0.0.0.0/0'});
found('networks', qr/^error alerting\.allowed_networks is set for this role or session alone.*ALTER SYSTEM SET alerting\.allowed_networks = '10\.0\.0\.0\/8';/m, 'of a session',
	q{SET LOCAL alerting.allowed_networks = '10.0.0.0/8'});
my $folder = $node->basedir;
append_to_file("$folder/empty.pem", "nothing\n");
for my $case ([ "$folder/none.pem", qr/ error alerting\.ca_file cannot be read/ ], [ "$folder/empty.pem", qr/ error alerting\.ca_file holds no certificate.*PEM/ ])
{
	reload('alerting.ca_file', "'$case->[0]'");
	found('certificates', $case->[1], 'a bad file');
}
reload('alerting.ca_file');

# A copy.
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE host');
found('copy', qr/^error This database is a copy.*alerting\.resume/, 'held', '', database => 'copy');

# No slot for the sender, and none for others.
$node->safe_psql('postgres', "DROP DATABASE $_ WITH (FORCE)") for qw(copy bare);
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
my $both = $node->safe_psql('host', q{SELECT topic, status, detail, hint FROM alerting.doctor() WHERE topic LIKE 'worker%'});
like($both, qr/^worker slots\|error\|2 of the server's 2 .*\|Raise max_worker_processes/m, 'worker slots: too few');
like($both, qr/^workers\|error\|Waiting for the sender/m, 'workers: one is waited for');
$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
$node->restart;
$node->poll_query_until('host', q{SELECT state = 'running' FROM alerting.status()});
found('worker slots', qr/^warning 3 of the server's 3 .*Raise max_worker_processes/, 'none left');

# It reads no large table without an index for a glance at its newest row, not even one of which nothing is known yet (after pg_upgrade, say).
is($node->safe_psql('host', q{
	SET client_min_messages = error;
	CREATE TABLE huge (container int, at timestamptz, cpu float8) WITH (fillfactor = 10);
	INSERT INTO huge SELECT 1, now() FROM generate_series(1, 20000);
	SELECT FROM alerting.attach_metrics('huge', container => 'container', at => 'at', cpu => 'cpu');
	SELECT relpages, pg_relation_size(oid) / 2^20 BETWEEN 8 AND 50, is_known FROM pg_class, alerting.metric_source s, alerting.newest_time(s.id) WHERE oid = 'huge'::regclass AND s.metrics = oid}) =~ s/^\s+//r,
	'0|t|f', 'a large table without an index, not analyzed yet');

# A standby.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
is($standby->safe_psql('host', q{SELECT topic, status, detail FROM alerting.doctor() WHERE topic = 'workers'}),
	'workers|ok|This is a standby: nothing runs here. The workers start when it is promoted.', 'a standby');
$standby->stop;

$node->stop;
done_testing();

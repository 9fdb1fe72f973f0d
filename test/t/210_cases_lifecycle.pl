# Field cases 10 and 11: containers, organizations and rules that go, move or change while an alert
# fires. An incident opened at a receiver is closed, once; nothing stays FIRING.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('cases_lifecycle', 'max_prepared_transactions = 5');
my $receiver = start_receiver('lifecycle');
my $db = 'lifecycle';
fixture($node, $db);

sub run_sql { return $node->safe_psql($db, join '', @_); }
sub firing { flush_ok($node, $db); return run_sql(q{SELECT count(*) FROM alerting.alert WHERE status = 'FIRING'}); }

# Everything anew: containers 10 and 11 of organization 1 fire, told to the organization's webhook.
my $rule;
my $case = 0;
sub begin_case
{
	$case++;
	run_sql(q{TRUNCATE organizations CASCADE; TRUNCATE container_metrics; DELETE FROM alerting.delivery;
		INSERT INTO organizations VALUES (1, 'Initech'), (2, 'Hooli');
		INSERT INTO containers VALUES (10, 1, 'web'), (11, 1, 'db'), (20, 2, 'web');});
	flush_ok($node, $db);
	$rule = rule($node, $db, 1, 'CPU_USAGE', 80, 0);
	webhook($node, $db, 1, $receiver->url("/ok/$case"));
	run_sql(sample(10, '10:00', cpu => 95), sample(11, '10:00', cpu => 95));
	is(events($node, $db), "firing web(10) 10:00:00\nfiring db(11) 10:00:00", 'two incidents are open');
	return;
}

# The ends that were enqueued, without the time of day of a deletion. The receiver gets the same.
sub ends
{
	flush_ok($node, $db, 1);
	return run_sql(q{SELECT concat_ws(' ', p #>> '{container,name}', p #>> '{container,id}', p #>> '{alert,resolveReason}')
		FROM alerting.delivery d, LATERAL (SELECT d.payload -> 'data' AS p) x WHERE d.event = 'alert.resolved' ORDER BY p #>> '{container,id}', d.seq});
}

# What the receiver has got in this case of ends.
sub received
{
	return join "\n", map { s/^resolved (\w+)\((\d+)\) \S+/$1 $2/r } grep { /^resolved/ } split /\n/, $receiver->events("/ok/$case");
}

# 10. The container is deleted while its alert fires
begin_case();
my $deletion = run_sql('SELECT now()');
run_sql('DELETE FROM containers WHERE id = 10;');
is(run_sql(q{SELECT string_agg(container_id::text, ',') FROM alerting.alert}), 11, '10: its alert goes with it, at once');
is(ends(), 'web 10 CONTAINER_DELETED', '10: one end event, with name and key');
is(received(), 'web 10 CONTAINER_DELETED', '10: which arrives');
is(run_sql(qq{SELECT payload #>> '{data,alert,id}' = alert_id AND payload ->> 'type' = 'alert.resolved' AND payload #>> '{data,alert,status}' = 'RESOLVED'
	AND (payload #>> '{data,alert,resolvedAt}')::timestamptz BETWEEN date_trunc('milliseconds', '$deletion'::timestamptz) AND now() FROM alerting.delivery WHERE event = 'alert.resolved'}),
	't', '10: it tells when and of which alert');
# The same key anew is another container: it fires anew, from its own samples.
run_sql(q{INSERT INTO containers VALUES (10, 1, 'web');}, sample(10, '10:05', cpu => 5));
is(firing(), 1, '10: a container made anew has no past');
run_sql(sample(10, '10:06', cpu => 95));
is(alerts($node, $db), "CPU_USAGE 10 FIRING 10:06:00 10:06:00\nCPU_USAGE 11 FIRING 10:00:00 10:00:00", '10: it fires by its own samples');

# Also when both happen in one transaction, with samples at once, and when the queue holds all of it.
begin_case();
run_sql(q{BEGIN; DELETE FROM containers WHERE id = 10; INSERT INTO containers VALUES (10, 1, 'web'); COMMIT;}, sample(10, '09:00', cpu => 95), sample(10, '09:01', cpu => 95));
is(ends(), 'web 10 CONTAINER_DELETED', '10: recreated, the old one\'s incident ends');
is(alerts($node, $db), "CPU_USAGE 10 FIRING 09:00:00 09:00:00\nCPU_USAGE 11 FIRING 10:00:00 10:00:00", '10: and the new one\'s begins');
run_sql(q{BEGIN;}, sample(10, '09:30', cpu => 5), q{DELETE FROM containers WHERE id = 10; INSERT INTO containers VALUES (10, 1, 'web');}, sample(10, '09:02', cpu => 95), q{COMMIT;});
is(alerts($node, $db), "CPU_USAGE 10 FIRING 09:02:00 09:02:00\nCPU_USAGE 11 FIRING 10:00:00 10:00:00", '10: nor is a sample before its deletion its successor\'s');

begin_case();
run_sql('BEGIN; DELETE FROM containers WHERE id = 10; ROLLBACK; BEGIN; SAVEPOINT a; DELETE FROM containers WHERE id = 10; ROLLBACK TO a; COMMIT;');
is(ends(), '', '10: a deletion rolled back ends nothing');
is(firing(), 2, '10: and both fire on');
run_sql(sample(10, '10:01', cpu => 5));
is(ends(), 'web 10 RECOVERED', '10: and may recover');

begin_case();
run_sql('BEGIN; DELETE FROM containers WHERE id = 10;', sample(11, '10:01', cpu => 5), "PREPARE TRANSACTION 'gone';", "COMMIT PREPARED 'gone';");
is(firing(), 0, '10: a prepared transaction counts once it is committed');
is(ends(), "web 10 CONTAINER_DELETED\ndb 11 RECOVERED", '10: also in a transaction that is prepared');

begin_case();
run_sql('TRUNCATE containers CASCADE;');
is(ends(), "web 10 ALERT_DELETED\ndb 11 ALERT_DELETED", '10: also by TRUNCATE');
run_sql(q{INSERT INTO containers VALUES (10, 1, 'web');}, sample(10, '10:05', cpu => 95));
is(alerts($node, $db), 'CPU_USAGE 10 FIRING 10:05:00 10:05:00', '10: after which all begins anew');

# The organization is deleted: its webhooks go with it, so nothing is sent and nothing is left.
begin_case();
run_sql('DELETE FROM organizations WHERE id = 1;');
flush_ok($node, $db);
is(run_sql(q{SELECT (SELECT count(*) FROM alerting.alert), (SELECT count(*) FROM alerting.delivery), (SELECT count(*) FROM alerting.webhook),
	(SELECT count(*) FROM alerting.alert_rule), (SELECT count(*) FROM containers)}), '0|0|0|0|1', '10: of a deleted organization nothing is left');
is(received(), '', '10: and nothing is sent');
run_sql(sample(20, '10:01', cpu => 95));
is(firing(), 0, '10: others go on');

# The webhook is deleted: the incident's end has nobody to go to.
begin_case();
run_sql('DELETE FROM alerting.webhook;', sample(10, '10:01', cpu => 5));
is(ends(), '', '10: no end for a webhook that is gone');
is(firing(), 1, '10: and the alert resolves all the same');

# A container's key changes: the alert follows it (ON UPDATE CASCADE) and ends once.
begin_case();
run_sql('ALTER TABLE container_metrics DROP CONSTRAINT container_metrics_container_id_fkey; UPDATE containers SET id = 12 WHERE id = 10;', sample(12, '10:01', cpu => 5));
flush_ok($node, $db);
run_sql(sample(12, '10:02', cpu => 5));
is(firing(), 1, '10: a container with a new key does not fire for ever');
like(ends(), qr/^web 1[02] \w+$/, '10: and ends once');
run_sql('UPDATE containers SET id = 10 WHERE id = 12; DELETE FROM container_metrics; ALTER TABLE container_metrics ADD FOREIGN KEY (container_id) REFERENCES containers ON DELETE CASCADE;');

# The container moves to another organization.
begin_case();
my $other = rule($node, $db, 2, 'CPU_USAGE', 90, 0, name => 'OTHER');
webhook($node, $db, 2, $receiver->url('/ok/other'));
run_sql('UPDATE containers SET organization_id = 2 WHERE id = 10;');
like(alerts($node, $db, reason => 1), qr/^CPU_USAGE 10 RESOLVED 10:00:00 10:00:00 10:00:\d\d CONTAINER_MOVED\nCPU_USAGE 11 FIRING 10:00:00 10:00:00\nOTHER 10 FIRING 10:00:00 10:00:00$/,
	'10: a moved container ends under the old rules and is judged by the new ones');
is(ends(), 'web 10 CONTAINER_MOVED', '10: its old owner is told');
is(run_sql(q{SELECT payload #>> '{data,organization,name}' FROM alerting.delivery d JOIN alerting.webhook w ON w.id = webhook_id WHERE w.organization_id = 2}),
	'Hooli', '10: its new owner hears of its own incident only');

# 11. The rule is edited, disabled or deleted while it fires
begin_case();
run_sql("UPDATE alerting.alert_rule SET threshold = 99;");
is(firing(), 0, '11a: a threshold above the last reading resolves at once');
run_sql(sample(10, '10:01', cpu => 95));
is(ends(), "web 10 RECOVERED\ndb 11 RECOVERED", '11a: once');

begin_case();
run_sql('BEGIN; UPDATE alerting.alert_rule SET threshold = 99;', sample(10, '10:01', cpu => 95), 'ROLLBACK;', sample(10, '10:02', cpu => 95));
is(firing(), 2, '11a: an edit rolled back has no effect');
{
	my $session = $node->background_psql($db);
	$session->query_safe('BEGIN; UPDATE alerting.alert_rule SET threshold = 99, enabled = false');
	run_sql(sample(10, '10:03', cpu => 95), sample(11, '10:03', cpu => 5));
	is(firing(), 1, '11a: nor has one that is not committed, and nobody waits for it');
	$session->query_safe('ROLLBACK');
	$session->quit;
}
run_sql(q{UPDATE alerting.alert_rule SET duration = 30;}, sample(10, '10:04', cpu => 95));
is(firing(), 1, '11a: a longer duration ends nothing');
run_sql(q{UPDATE alerting.alert_rule SET duration = 0, name = 'Renamed';}, sample(10, '10:05', cpu => 95));
is(run_sql(q{SELECT count(*) FROM alerting.delivery WHERE event = 'alert.firing'}), 2, '11a: and announces nothing again');
is(run_sql(q{SELECT count(*) FROM alerting.alert WHERE started_at = '2026-03-02 10:00Z' AND status = 'FIRING'}), 1, '11a: it is still the first alert');

begin_case();
run_sql('UPDATE alerting.alert_rule SET enabled = false;');
is(ends(), "web 10 RULE_DISABLED\ndb 11 RULE_DISABLED", '11b: a disabled rule ends its alerts');
is(join("\n", sort { substr($b, 0, 1) cmp substr($a, 0, 1) } split /\n/, received()), "web 10 RULE_DISABLED\ndb 11 RULE_DISABLED", '11b: which arrive');
is(firing(), 0, '11b: nothing stays FIRING');
run_sql(sample(10, '10:01', cpu => 95));
is(firing(), 0, '11b: nor fires again');
run_sql('UPDATE alerting.alert_rule SET enabled = true;');
is(alerts($node, $db) =~ s/^.*RESOLVED.*\n//gmr, "CPU_USAGE 10 FIRING 10:01:00 10:01:00\nCPU_USAGE 11 FIRING 10:00:00 10:00:00",
	'11b: enabled again it is judged at once, on the last readings');

begin_case();
run_sql("DELETE FROM alerting.alert_rule WHERE id = '$rule';");
is(ends(), "web 10 RULE_DELETED\ndb 11 RULE_DELETED", '11c: a deleted rule ends its alerts');
is(join("\n", sort { substr($b, 0, 1) cmp substr($a, 0, 1) } split /\n/, received()), "web 10 RULE_DELETED\ndb 11 RULE_DELETED", '11c: which arrive');
is(run_sql('SELECT count(*) FROM alerting.alert'), 0, '11c: which go with it');

begin_case();
run_sql(q{TRUNCATE alerting.alert_rule CASCADE;});
is(ends(), "web 10 ALERT_DELETED\ndb 11 ALERT_DELETED", '11c: also by TRUNCATE');
run_sql(sample(10, '10:01', cpu => 95));
is(firing(), 0, '11c: and no rule is left in memory');

begin_case();
run_sql(q{UPDATE alerting.alert_rule SET condition = 'MEMORY_USAGE';});
is(ends(), "web 10 RULE_CHANGED\ndb 11 RULE_CHANGED", '11: another condition ends what the old one raised');
begin_case();
run_sql(q{UPDATE alerting.alert_rule SET organization_id = 2;}, sample(20, '10:01', cpu => 95));
is(ends(), "web 10 RULE_CHANGED\ndb 11 RULE_CHANGED", '11: as does another organization');
is(firing(), 1, '11: whose containers it judges from then on');

# Rules made in the transaction that brings the samples, or before the first sample ever.
begin_case();
run_sql(q{BEGIN; INSERT INTO alerting.alert_rule (organization_id, name, condition, threshold, duration) VALUES (1, 'new', 'MEMORY_USAGE', 50, 0);},
	sample(10, '10:01', memory => 60, cpu => 95), 'COMMIT;');
like(alerts($node, $db), qr/^new 10 FIRING 10:01:00 10:01:00$/m, '11: a rule of the same transaction counts');
run_sql(q{SELECT alerting.create_rule(1, 'at once', 'MEMORY_USAGE', 55, 0)});
like(alerts($node, $db), qr/^at once 10 FIRING 10:01:00 10:01:00$/m, '11: a new rule is judged at once on what is known');
run_sql(q{DELETE FROM alerting.alert WHERE status = 'FIRING' AND container_id = 10 AND rule_id = (SELECT id FROM alerting.alert_rule WHERE name = 'new')});
is(ends(), 'web 10 ALERT_DELETED', '11: an alert deleted by hand is ended, too');

clean_log_ok($node);
$node->stop;
done_testing();

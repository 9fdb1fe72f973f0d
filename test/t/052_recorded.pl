# What came of a request is recorded in a table like others: what users have put on alerting.delivery sees it as it
# would see an UPDATE.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('recorded', conf => [ 'wal_level = logical' ]);
my $receiver = start_receiver('recorded');
sub sql { return $node->safe_psql('postgres', $_[0]) }
webhook($node, 'w', $receiver->url('/hook'));
sql(<<'SQL');
CREATE TABLE seen (what text, was text, becomes text);
CREATE FUNCTION see_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.seen VALUES (TG_NAME, concat_ws(' ', OLD.status, OLD.attempts), concat_ws(' ', NEW.status, NEW.attempts, NEW.last_status)); RETURN NEW; END $$;
CREATE FUNCTION see_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (TG_NAME); RETURN NULL; END $$;
CREATE FUNCTION see_table() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.seen SELECT TG_NAME, o.status, n.status FROM before o JOIN after n USING (id); RETURN NULL; END $$;
CREATE FUNCTION see_not() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
SQL

# Three deliveries are made and arrive; gives what their rows have.
sub arrive
{
	my ($name, $columns) = @_;
	sql('DELETE FROM alerting.delivery; TRUNCATE seen');
	my $count = () = $receiver->requests('/hook');
	deliver($node, 'w', count => 3);
	ok($node->poll_query_until('postgres', "SELECT count(*) = 3 FROM alerting.delivery WHERE status = 'DELIVERED'"), "$name: recorded");
	my $now = () = $receiver->requests('/hook');
	is($now - $count, 3, "$name: each sent once");
	return sql('SELECT string_agg(DISTINCT concat_ws(\' \', ' . ($columns // "status, attempts, last_status, last_error, delivered_at > now() - interval '1 hour',"
			  . " (SELECT count(*) FROM alerting.delivery_attempt a WHERE a.delivery_id = d.id)") . "), ', ') FROM alerting.delivery d");
}
my $usual = 'DELIVERED 1 200 t 1';
my $seen = q{SELECT string_agg(DISTINCT concat_ws(' ', what, was, becomes), ', ') FROM seen};

is(arrive('plain'), $usual, 'plain');
is(arrive('again'), $usual, 'again');
is(sql("SET enable_seqscan = off; SELECT count(*) FROM alerting.delivery d JOIN alerting.delivery e USING (id) WHERE e.webhook_id = 'w' AND e.seq = d.seq"),
	3, 'found by its indexes');
is(sql("SET enable_seqscan = off; SELECT count(*) FROM alerting.delivery WHERE webhook_id = 'w' AND status = 'PENDING' AND next_attempt_at <= now()"),
	0, 'and pending no more');

sql(q{CREATE TRIGGER row_after AFTER UPDATE ON alerting.delivery FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION see_row();
	CREATE TRIGGER row_of_status AFTER UPDATE OF status ON alerting.delivery FOR EACH ROW EXECUTE FUNCTION see_row();
	CREATE TRIGGER row_of_payload AFTER UPDATE OF payload ON alerting.delivery FOR EACH ROW EXECUTE FUNCTION see_row();
	CREATE TRIGGER statement_before BEFORE UPDATE ON alerting.delivery EXECUTE FUNCTION see_statement();
	CREATE TRIGGER statement_of_error AFTER UPDATE OF last_error ON alerting.delivery EXECUTE FUNCTION see_statement();
	CREATE TRIGGER statement_of_event AFTER UPDATE OF event ON alerting.delivery EXECUTE FUNCTION see_statement()});
is(arrive('triggers'), $usual, 'with triggers');
is(sql($seen), 'row_after PENDING 0 DELIVERED 1 200, row_of_status PENDING 0 DELIVERED 1 200, statement_before, statement_of_error', 'which are executed');
is(sql(q{SELECT count(*) FROM seen WHERE what = 'row_after'}), 3, 'once for each row');
sql(q{CREATE TRIGGER whole AFTER UPDATE ON alerting.delivery REFERENCING OLD TABLE AS before NEW TABLE AS after EXECUTE FUNCTION see_table()});
is(arrive('transition tables'), $usual, 'with transition tables');
is(sql(q{SELECT count(*) FROM seen WHERE what = 'whole' AND was = 'PENDING' AND becomes = 'DELIVERED'}), 3, 'which have the rows');
sql(q{DROP TRIGGER whole ON alerting.delivery; CREATE TRIGGER row_before BEFORE UPDATE ON alerting.delivery FOR EACH ROW EXECUTE FUNCTION see_row()});
is(arrive('a trigger before'), $usual, 'with a trigger that may change the row');
is(sql(q{SELECT count(*) FROM seen WHERE what = 'row_before'}), 3, 'which is executed');
sql("DROP TRIGGER $_ ON alerting.delivery") for qw(row_after row_of_status row_of_payload row_before statement_before statement_of_error statement_of_event);

sql(q{ALTER TABLE alerting.delivery ADD note text DEFAULT 'mine', ADD CONSTRAINT counted CHECK (attempts < 100), ADD UNIQUE (seq) DEFERRABLE INITIALLY DEFERRED;
	CREATE INDEX by_code ON alerting.delivery (last_status, (upper(note))) WHERE attempts > 0; CREATE PUBLICATION everything FOR ALL TABLES});
is(arrive('columns', 'status, attempts, last_status, note'), 'DELIVERED 1 200 mine', "users' columns, checks, indexes and publications");
is(sql(q{SET enable_seqscan = off; SELECT count(*) FROM alerting.delivery WHERE last_status = 200 AND upper(note) = 'MINE' AND attempts > 0}),
	3, 'the index has the rows');
sql(q{ALTER TABLE alerting.delivery ADD long int GENERATED ALWAYS AS (attempts * 2) STORED});
is(arrive('a generated column', 'status, attempts, long'), 'DELIVERED 1 2', 'a generated column is computed');
sql(q{ALTER TABLE alerting.delivery DROP long, DROP note; DROP PUBLICATION everything});
sql(q{ALTER TABLE alerting.delivery ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY all_of_it ON alerting.delivery USING (true)});
is(arrive('row security'), $usual, 'row security');
sql(q{ALTER TABLE alerting.delivery DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY; DROP POLICY all_of_it ON alerting.delivery});

sql(q{DELETE FROM alerting.delivery; CREATE RULE also AS ON UPDATE TO alerting.delivery DO ALSO INSERT INTO public.seen VALUES ('rule', OLD.webhook_id)});
is(arrive('a rule'), $usual, 'with a rule');
is(sql(q{SELECT count(*) FROM seen WHERE what = 'rule' AND was = 'w'}), 3, 'which is executed');
webhook($node, 'refused', 'http://127.0.0.1:1/');
deliver($node, 'refused');
ok($node->poll_query_until('postgres', q{SELECT attempts = 1 AND last_error IS NOT NULL FROM alerting.delivery WHERE webhook_id = 'refused'}), 'a rule: a failure is recorded');
sql(q{DROP RULE also ON alerting.delivery; DELETE FROM alerting.webhook WHERE id = 'refused'});

# What cannot be recorded is told for as long as that lasts, while others go on.
sql(q{DELETE FROM alerting.delivery; ALTER TABLE alerting.delivery ADD CONSTRAINT never CHECK (status <> 'DELIVERED' OR event <> 'ping')});
deliver($node, 'w', event => 'ping');
my $told = q{SELECT problem LIKE '%violates check constraint "never"%' FROM alerting.status()};
ok($node->poll_query_until('postgres', $told), 'a check that a row breaks: status() tells');
for my $count (1, 2)
{
	deliver($node, 'w');
	ok($node->poll_query_until('postgres', "SELECT count(*) = $count FROM alerting.delivery WHERE status = 'DELIVERED'"), "another one is recorded: $count");
}
is(sql($told), 't', 'status() tells still');
# --- recording that is slower than sending ------------------------------------------------------------------------
# What is not recorded is sent again after a crash, and is kept in memory: it is never more than four transactions'
# outcomes, beside those of the transaction that is not committed and the requests under way.
my ($webhooks, $each) = (16, 250);
my $slow = $receiver->url('/slow_to_record');
sql(qq{CREATE FUNCTION slow_down() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END';
	CREATE TRIGGER slow_down BEFORE INSERT ON alerting.delivery_attempt FOR EACH ROW EXECUTE FUNCTION slow_down();
	INSERT INTO alerting.webhook (id, organization_id, url) SELECT 'slow ' || i, 1, '$slow' FROM generate_series(1, $webhooks) i;
	INSERT INTO alerting.delivery (webhook_id, event, payload) SELECT 'slow ' || i, 'alert.firing', '{}' FROM generate_series(1, $webhooks) i, generate_series(1, $each)});
my $recorded = q{SELECT count(*) FROM alerting.delivery WHERE webhook_id LIKE 'slow %' AND status = 'DELIVERED'};
ok($node->poll_query_until('postgres', "SELECT ($recorded) >= 768"), 'three transactions have recorded');
my $sent = () = $receiver->requests('/slow_to_record');
cmp_ok($sent - sql($recorded), '<=', 4 * 256 + 256 + 256, 'requests that are not recorded');
sql('DROP TRIGGER slow_down ON alerting.delivery_attempt');

done_testing();

# The outbox is a table like others: what users have put on it (triggers, columns, checks, rules, row
# security) sees the evaluator's deliveries as it would see an INSERT's.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use Test::More;

my $node = new_server('outbox', conf => "alerting.allowed_networks = '127.0.0.0/8'\n");
make_host($node, 'postgres');
sql($node, 'postgres', <<'SQL');
INSERT INTO alerting.webhook (id, organization_id, url) SELECT w, 1, 'http://127.0.0.1:1/' || w FROM unnest(ARRAY['a', 'b']) w;
INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('other', 2, 'http://127.0.0.1:1/');
SELECT rule('cpu', 1, 'CPU_USAGE', 80);
INSERT INTO containers SELECT n, 1, 'c' || n FROM generate_series(1000, 1099) n;
INSERT INTO containers SELECT n, 1, 'c' || n FROM generate_series(2000, 3199) n;
CREATE TABLE seen (what text, webhook text, n bigint);
CREATE FUNCTION see_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.seen VALUES (TG_NAME, NEW.webhook_id, NEW.seq); RETURN NEW; END $$;
CREATE FUNCTION see_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.seen VALUES (TG_NAME); RETURN NULL; END $$;
CREATE FUNCTION see_table() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.seen SELECT TG_NAME, min(t.webhook_id), count(*) FROM fresh t; RETURN NULL; END $$;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
SQL
flush($node, 'postgres');

# An alert begins and ends in container 10; gives its deliveries.
my $minute = 0;
sub incident
{
	my ($columns, $name) = @_;
	sql($node, 'postgres', "DELETE FROM alerting.delivery; TRUNCATE seen");
	for my $cpu (95, 5)
	{
		++$minute;
		sql($node, 'postgres', "SELECT s(10, $minute, $cpu)");
		flush($node, 'postgres', name => "$name: judged");
	}
	return sql($node, 'postgres', "SELECT string_agg(concat_ws(' ', $columns), ', ' ORDER BY seq) FROM alerting.delivery");
}
my $usual = 'a alert.firing, b alert.firing, a alert.resolved, b alert.resolved';

is(incident('webhook_id, event', 'plain'), $usual, 'plain');

# As they are written, before the sender comes to them.
sql($node, 'postgres', q{
	CREATE TABLE written (LIKE alerting.delivery);
	CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.written SELECT NEW.*; RETURN NULL; END $$;
	CREATE TRIGGER keep AFTER INSERT ON alerting.delivery FOR EACH ROW EXECUTE FUNCTION keep()});
incident('1', 'defaults');
is(sql($node, 'postgres', q{SELECT string_agg(concat_ws(' ', webhook_id, event, status, attempts, next_attempt_at = created_at, created_at > now() - interval '1 hour',
	num_nulls(delivered_at, last_status, last_error)), ', ' ORDER BY seq) FROM written}), join(', ', map { "$_ PENDING 0 t t 3" } split /, /, $usual), 'defaults');
sql($node, 'postgres', 'DROP TRIGGER keep ON alerting.delivery');

sql($node, 'postgres', q{
	CREATE TRIGGER row_before BEFORE INSERT ON alerting.delivery FOR EACH ROW EXECUTE FUNCTION see_row();
	CREATE TRIGGER row_after AFTER INSERT ON alerting.delivery FOR EACH ROW EXECUTE FUNCTION see_row();
	CREATE TRIGGER statement_before BEFORE INSERT ON alerting.delivery EXECUTE FUNCTION see_statement();
	CREATE TRIGGER statement_after AFTER INSERT ON alerting.delivery EXECUTE FUNCTION see_statement()});
is(incident('webhook_id, event', 'triggers'), $usual, 'with triggers');
is(sql($node, 'postgres', q{SELECT string_agg(format('%s %s', what, n), ', ' ORDER BY what) FROM (SELECT what, count(*) AS n FROM seen GROUP BY 1) c}),
	'row_after 4, row_before 4, statement_after 2, statement_before 2', 'triggers of rows and statements are executed');
is(sql($node, 'postgres', q{SELECT count(DISTINCT n) FROM seen WHERE what LIKE 'row%' AND n IS NOT NULL}), 4, 'and see the row');
sql($node, 'postgres', q{DROP TRIGGER row_before ON alerting.delivery; DROP TRIGGER row_after ON alerting.delivery;
	DROP TRIGGER statement_before ON alerting.delivery; DROP TRIGGER statement_after ON alerting.delivery});

sql($node, 'postgres', q{CREATE TRIGGER refused BEFORE INSERT ON alerting.delivery FOR EACH ROW WHEN (NEW.webhook_id = 'a') EXECUTE FUNCTION refuse()});
is(incident('webhook_id, event', 'a refused row'), 'b alert.firing, b alert.resolved', 'what a trigger refuses is left out');
sql($node, 'postgres', 'DROP TRIGGER refused ON alerting.delivery');

sql($node, 'postgres', q{CREATE TRIGGER whole AFTER INSERT ON alerting.delivery REFERENCING NEW TABLE AS fresh EXECUTE FUNCTION see_table()});
is(incident('webhook_id, event', 'transition table'), $usual, 'with a transition table');
is(sql($node, 'postgres', q{SELECT string_agg(concat_ws(' ', what, webhook, n), ', ') FROM seen}), 'whole a 2, whole a 2', 'which has all rows');
sql($node, 'postgres', 'DROP TRIGGER whole ON alerting.delivery');

sql($node, 'postgres', q{
	ALTER TABLE alerting.delivery ADD note text NOT NULL DEFAULT 'noted', ADD big text GENERATED ALWAYS AS (upper(webhook_id)) STORED, ADD gone int;
	ALTER TABLE alerting.delivery DROP gone;
	ALTER TABLE alerting.delivery ALTER next_attempt_at SET DEFAULT 'infinity'});
is(incident('webhook_id, event, note, big, next_attempt_at', 'columns'),
	join(', ', map { "$_ noted " . uc(substr($_, 0, 1)) . ' infinity' } split /, /, $usual), "users' columns and defaults");
sql($node, 'postgres', 'ALTER TABLE alerting.delivery DROP note, DROP big, ALTER next_attempt_at SET DEFAULT now()');

sql($node, 'postgres', q{CREATE RULE also AS ON INSERT TO alerting.delivery DO ALSO INSERT INTO public.seen VALUES ('rule', NEW.webhook_id)});
is(incident('webhook_id, event', 'rule'), $usual, 'with a rule');
is(sql($node, 'postgres', q{SELECT count(*) FROM seen WHERE what = 'rule'}), 4, 'which is executed');
sql($node, 'postgres', 'DROP RULE also ON alerting.delivery');

# What cannot be written is told and kept; other organizations' alerts go on.
sql($node, 'postgres', q{
	SELECT rule('cpu2', 2, 'CPU_USAGE', 80);
	ALTER TABLE alerting.delivery ADD CONSTRAINT no_b CHECK (webhook_id <> 'b') NOT VALID;
	INSERT INTO container_metrics SELECT c, at(40), 95 FROM unnest(ARRAY[11, 20]) c});
ok(wait_for_alerts($node, 'postgres', 'FIRING', 1), 'a check: the others are written');
ok($node->poll_query_until('postgres', q{SELECT problem LIKE '%violates check constraint "no_b"%' FROM alerting.status()}), 'a check: status() tells');
sql($node, 'postgres', 'ALTER TABLE alerting.delivery DROP CONSTRAINT no_b');
flush($node, 'postgres', name => 'a check: written when it can be');
is(sql($node, 'postgres', q{SELECT string_agg(webhook_id, ' ' ORDER BY webhook_id) FROM alerting.delivery WHERE alert_id IN (SELECT id FROM alerting.alert WHERE status = 'FIRING')}),
	'a b other', 'a check: with its deliveries');

# A foreign key of users' own on a column whose reference is locked already.
sql($node, 'postgres', q{
	CREATE TABLE known (id text PRIMARY KEY); INSERT INTO known VALUES ('a'), ('other');
	ALTER TABLE alerting.delivery ADD CONSTRAINT known FOREIGN KEY (webhook_id) REFERENCES known NOT VALID;
	INSERT INTO container_metrics SELECT c, at(40.5), 5 FROM unnest(ARRAY[11, 20]) c});
ok($node->poll_query_until('postgres', q{SELECT problem LIKE '%violates foreign key constraint "known"%' FROM alerting.status()}), 'a foreign key: status() tells');
sql($node, 'postgres', 'ALTER TABLE alerting.delivery DROP CONSTRAINT known');
flush($node, 'postgres', name => 'a foreign key: written when it can be');

# Many at once go the same way, in the order of their containers' organization and of their time.
sql($node, 'postgres', q{DELETE FROM alerting.delivery; INSERT INTO container_metrics SELECT n, at(41), 95 FROM generate_series(1000, 1099) n});
flush($node, 'postgres', name => 'many');
is(sql($node, 'postgres', q{SELECT count(*) || ' ' || count(DISTINCT (webhook_id, alert_id)) FROM alerting.delivery}), '200 200', 'many: each webhook is told of each alert');
sql($node, 'postgres', q{INSERT INTO container_metrics SELECT n, at(42), 5 FROM generate_series(1000, 1099) n});
flush($node, 'postgres', name => 'many, over');
is(sql($node, 'postgres', q{SELECT count(*) FROM alerting.delivery f JOIN alerting.delivery r USING (webhook_id, alert_id)
	WHERE f.event = 'alert.firing' AND r.event = 'alert.resolved' AND f.seq < r.seq}), 200, 'many: and of its end, after it');

# What a trigger sets ends with the writing of its rows: here the statement for the next 400 alerts follows.
sql($node, 'postgres', <<'SQL');
CREATE SCHEMA evil;
CREATE FUNCTION evil.equal(text, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'evil was called'; RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.equal);
CREATE FUNCTION leave_path() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('search_path', 'evil, pg_catalog', false); RETURN NEW; END $$;
CREATE TRIGGER leaves AFTER INSERT ON alerting.delivery FOR EACH ROW EXECUTE FUNCTION leave_path();
INSERT INTO container_metrics SELECT n, at(43), 95 FROM generate_series(2000, 3199) n;
SQL
flush($node, 'postgres', name => 'a trigger that leaves its path');
is(sql($node, 'postgres', q{SELECT count(*) FROM alerting.delivery d JOIN alerting.alert a ON a.id = d.alert_id WHERE a.container_id BETWEEN 2000 AND 3199}), 2400,
	'a trigger that leaves its path: all are told');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/LOG:  evil was called/, "a trigger that leaves its path: the evaluator's statements mean the same");

# So is the log of attempts, which the sender writes in the same way: here of requests that are refused.
sub attempts
{
	my ($name) = @_;
	sql($node, 'postgres', "TRUNCATE seen; DELETE FROM alerting.delivery");
	my $id = sql($node, 'postgres', qq{INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('$name', 2, 'http://127.0.0.1:1/');
		INSERT INTO alerting.delivery (webhook_id, event, payload) VALUES ('$name', 'ping', '{}') RETURNING id});
	ok($node->poll_query_until('postgres', "SELECT attempts = 1 FROM alerting.delivery WHERE id = '$id'"), "$name: attempted");
	return sql($node, 'postgres', "SELECT concat_ws(' ', count(*), min(num_nulls(status_code, error)), min(error)) FROM alerting.delivery_attempt WHERE delivery_id = '$id'");
}
my $refused = '1 1 connecting failed: connection refused';
is(attempts('log'), $refused, 'log: one attempt');
sql($node, 'postgres', q{
	CREATE FUNCTION see_attempt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (TG_NAME, NEW.delivery_id, NEW.id); RETURN NEW; END $$;
	ALTER TABLE alerting.delivery_attempt ADD note text NOT NULL DEFAULT 'noted';
	CREATE TRIGGER attempted BEFORE INSERT ON alerting.delivery_attempt FOR EACH ROW WHEN (NEW.note = 'noted') EXECUTE FUNCTION see_attempt()});
is(attempts('log with a trigger'), $refused, 'log with a trigger: one attempt');
is(sql($node, 'postgres', q{SELECT count(*) FROM seen s JOIN alerting.delivery_attempt a ON a.id = s.n AND a.delivery_id = s.webhook}), 1, 'log with a trigger: which sees it');
sql($node, 'postgres', q{DROP TRIGGER attempted ON alerting.delivery_attempt; ALTER TABLE alerting.delivery_attempt DROP note;
	CREATE RULE also AS ON INSERT TO alerting.delivery_attempt DO ALSO INSERT INTO public.seen VALUES ('rule', NEW.delivery_id)});
is(attempts('log with a rule'), $refused, 'log with a rule: one attempt');
is(sql($node, 'postgres', q{SELECT count(*) FROM seen WHERE what = 'rule'}), 1, 'log with a rule: which is executed');
sql($node, 'postgres', 'DROP RULE also ON alerting.delivery_attempt');

$node->stop('fast');
done_testing();

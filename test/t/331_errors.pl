# What goes wrong while alerts are written: one bad row is isolated, a full disk is waited for, the
# log is not flooded, a cancelled worker goes on, damaged state is told and done without.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('errors');
make_host($node, 'postgres');
sql($node, 'postgres', <<'SQL');
INSERT INTO containers SELECT n, 1, 'c' || n FROM generate_series(100, 299) n;
CREATE TABLE trouble (container int, code text);
CREATE FUNCTION make_trouble() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM public.trouble t WHERE t.container = NEW.container_id OR t.container IS NULL) THEN
    RAISE EXCEPTION 'trouble' USING ERRCODE = (SELECT code FROM public.trouble LIMIT 1);
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER trouble BEFORE INSERT OR UPDATE ON alerting.alert FOR EACH ROW EXECUTE FUNCTION make_trouble();
SELECT rule('cpu', 1, 'CPU_USAGE', 80);
SQL
flush($node, 'postgres');

# One row that cannot be written, among two hundred.
sql($node, 'postgres', "INSERT INTO trouble VALUES (150, '23514'); INSERT INTO container_metrics SELECT n, at(1), 95, 5, true, 0 FROM generate_series(100, 299) n");
ok(wait_for_alerts($node, 'postgres', 'FIRING', 199), 'one bad row: the others are written');
is(sql($node, 'postgres', "SELECT alerting.flush('100ms')"), 'f', 'one bad row: flush() tells');
(undef, undef, my $told) = $node->psql('postgres', "SELECT alerting.flush('100ms')");
like($told, qr/NOTICE:  not everything is evaluated yet\nHINT:  Ask alerting\.doctor\(\)/, 'one bad row: and whom to ask');
is(sql($node, 'postgres', 'SELECT problem FROM alerting.status()'), 'trouble', 'one bad row: status() tells');
sql($node, 'postgres', 'INSERT INTO container_metrics SELECT n, at(2), 5, 5, true, 0 FROM generate_series(100, 299) n');
ok(wait_for_alerts($node, 'postgres', 'RESOLVED', 199), 'one bad row: the others go on');
sql($node, 'postgres', 'DELETE FROM trouble');
flush($node, 'postgres', name => 'one bad row: written when it can be');
is(alerts($node, 'postgres', 'container_id = 150'), 'cpu 150 RESOLVED 1>1>2 RECOVERED', 'one bad row: with its end');
is(sql($node, 'postgres', 'SELECT problem FROM alerting.status()'), '', 'one bad row: status() is content again');

# A notification has no room for such an id; the alert has.
sql($node, 'postgres', q{SELECT rule(repeat('r', 9000), 2, 'CPU_USAGE', 80); INSERT INTO containers VALUES (900, 2, 'c900'); SELECT s(900, 1, 95)});
flush($node, 'postgres', name => 'an endless id');
is(sql($node, 'postgres', 'SELECT status, length(rule_id) FROM alerting.alert WHERE container_id = 900'), 'FIRING|9000', 'an endless id: written');

# An alert's beginning and its end in one batch.
sql($node, 'postgres', <<'SQL');
INSERT INTO containers VALUES (98, 1, 'c98'), (99, 1, 'c99');
INSERT INTO trouble VALUES (99, '23514');
BEGIN; SELECT s(99, 1, 95), s(99, 2, 5), s(98, 1, 95), s(98, 2, 5), s(98, 2.5, 95), s(98, 2.6, 5); COMMIT;
SQL
ok(wait_until(sub { alerts($node, 'postgres', 'container_id = 98') eq "cpu 98 RESOLVED 1>1>2 RECOVERED\ncpu 98 RESOLVED 2.5>2.5>2.6 RECOVERED" }),
	'a bad row with its end: the others are written');
sql($node, 'postgres', 'DELETE FROM trouble');
flush($node, 'postgres', name => 'a bad row with its end: written when it can be');
is(alerts($node, 'postgres', 'container_id = 99'), 'cpu 99 RESOLVED 1>1>2 RECOVERED', 'a bad row with its end: with its end');

# Nothing can be written at all; the server restarts in between.
sql($node, 'postgres', "INSERT INTO trouble VALUES (NULL, '53100'); INSERT INTO container_metrics SELECT n, at(3), 95, 5, true, 0 FROM generate_series(100, 299) n");
ok($node->poll_query_until('postgres', "SELECT problem = 'trouble' FROM alerting.status()"), 'full disk: status() tells');
sql($node, 'postgres', 'INSERT INTO container_metrics SELECT n, at(4), 5, 5, true, 0 FROM generate_series(100, 199) n');
$node->restart;
sql($node, 'postgres', 'SELECT s(100, 5, 95)');
ok($node->poll_query_until('postgres', "SELECT problem = 'trouble' FROM alerting.status()"), 'full disk: also after a restart');
sql($node, 'postgres', 'DELETE FROM trouble');
flush($node, 'postgres', name => 'full disk: over');
is(sql($node, 'postgres', "SELECT status, count(*), count(DISTINCT container_id) FROM alerting.alert WHERE fired_at = at(3) GROUP BY 1 ORDER BY 1"),
	"FIRING|100|100\nRESOLVED|100|100", 'full disk: everything is written once');
is(alerts($node, 'postgres', 'container_id = 100 AND fired_at > at(4)'), 'cpu 100 FIRING 5>5', 'full disk: and what came after');
my @lines = slurp_file($node->logfile) =~ /LOG:  alerting: .*trouble/g;
cmp_ok(scalar @lines, '<', 20, 'the log is not flooded');
cmp_ok(scalar @lines, '>', 0, 'but tells');

# Cancelled by an administrator, idle and in the middle of a batch.
for (1 .. 5)
{
	sql($node, 'postgres', 'SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = \'alerting evaluator\';'
		  . " SELECT count(s(101, 5 + n / 100.0 + $_, 5)) FROM generate_series(1, 50) n");
	sql($node, 'postgres', 'SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = \'alerting evaluator\'');
}
sql($node, 'postgres', 'SELECT s(101, 12, 95)');
flush($node, 'postgres', name => 'cancelled again and again: goes on');
is(alerts($node, 'postgres', 'container_id = 101 AND started_at > at(4)'), 'cpu 101 FIRING 12>12', 'cancelled again and again: nothing is lost');

# A trigger that waits for the worker that runs it.
sql($node, 'postgres', <<'SQL');
CREATE FUNCTION wait_for_worker() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM alerting.flush('1 hour'); RETURN NEW; END $$;
CREATE TRIGGER wait_for_worker AFTER INSERT ON alerting.alert FOR EACH ROW EXECUTE FUNCTION wait_for_worker();
SELECT s(102, 12, 95);
SQL
flush($node, 'postgres', name => 'flush() within a worker: goes on');
$node->wait_for_log(qr/WARNING:  alerting\.flush\(\) was called by one of the workers that it waits for/);
is(alerts($node, 'postgres', 'container_id = 102 AND started_at > at(4)'), 'cpu 102 FIRING 12>12', 'flush() within a worker: the alert is written');
sql($node, 'postgres', 'DROP TRIGGER wait_for_worker ON alerting.alert; SELECT s(102, 13, 5)');
flush($node, 'postgres');

# Damaged state: told, and done without. The last one's container 101 has a transition of a kind that there is not.
my $unknown_kind = unpack 'H*', pack 'C Q/a* Q/a* Q Q Q/a* Q/a* Q Q Q d Q', 1, '101', '', 1, 7, '', '', 0, 0, 0, 0, 0;
sql($node, 'postgres', "SELECT alerting.stop(); UPDATE alerting.series_state SET state = '\\x01ffffffffffffffff'::bytea WHERE chunk = 0;"
	  . " INSERT INTO alerting.series_state VALUES (999, ''), (1000, '\\x07'), (1001, '\\x$unknown_kind'); SELECT s(101, 13, 5); SELECT alerting.start()");
flush($node, 'postgres', name => 'damaged state: evaluated');
is(alerts($node, 'postgres', 'container_id = 101 AND started_at > at(4)'), 'cpu 101 RESOLVED 12>12>13 RECOVERED', 'damaged state: alerts are known');
like(slurp_file($node->logfile), qr/WARNING:  alerting: chunk $_ of alerting.series_state is malformed/, "damaged state: chunk $_ is told") for 0, 1001;
is(sql($node, 'postgres', 'SELECT count(*) FROM alerting.series_state WHERE chunk > 900'), 0, 'damaged state: replaced');

# The host's tables belong to a role that cannot log in and may do nothing else.
sql($node, 'postgres', <<'SQL');
CREATE ROLE app NOLOGIN;
ALTER TABLE containers OWNER TO app;
ALTER TABLE container_metrics OWNER TO app;
ALTER TABLE organizations OWNER TO app;
SELECT alerting.stop();
SELECT alerting.start();
SELECT s(102, 20, 95);
SQL
flush($node, 'postgres', name => 'tables of a role without LOGIN');
is(alerts($node, 'postgres', 'container_id = 102 AND started_at > at(14)'), 'cpu 102 FIRING 20>20', 'are evaluated');

$node->stop('fast');
done_testing();

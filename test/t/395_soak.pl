# Long life under churn of containers, rules and webhooks: memory stays flat, tables stay bounded,
# autovacuum works, no worker holds a transaction open. "make soak" runs it, for
# ALERTING_SOAK_SECONDS (600 by default).
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest ();
use List::Util qw(max);
use OperationsTest;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $seconds = $ENV{ALERTING_SOAK_SECONDS};
plan skip_all => 'takes long; "make soak" runs it' unless $seconds;

my $receiver = AlertingTest::start_receiver('soak');
my $node = new_server('soak', preload => 1, conf => <<"CONF");
autovacuum = on
autovacuum_naptime = 2s
log_statement = none
alerting.allowed_networks = '127.0.0.0/8'
alerting.delivery_retention = '1min'
alerting.queue_size = '1MB'
CONF
make_host($node, 'postgres');
sql($node, 'postgres', <<"SQL");
CREATE INDEX ON container_metrics (container_id, at);
CREATE SEQUENCE box START 1000;
INSERT INTO containers SELECT nextval('box'), 1 + n % 2, 'c' || n FROM generate_series(1, 400) n;
SELECT rule('cpu', 1, 'CPU_USAGE', 80), rule('down', 1, 'CONTAINER_DOWN', NULL, 1), rule('loop', 2, 'RESTART_LOOP', 3, 10);
INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('w1', 1, '@{[ $receiver->url ]}'), ('w2', 2, '@{[ $receiver->url ]}');
CREATE FUNCTION a_container() RETURNS int LANGUAGE sql AS
  'SELECT id FROM containers WHERE id >= (SELECT min(id) + random() * (max(id) - min(id)) FROM containers WHERE id >= 1000) ORDER BY id LIMIT 1';
CREATE FUNCTION samples() RETURNS void LANGUAGE sql AS \$\$
  INSERT INTO container_metrics SELECT a_container(), clock_timestamp(), 100 * random(), 100 * random(), random() < 0.9, 10 * random() FROM generate_series(1, 5)
\$\$;
-- Everything that is replaced again and again, and what its owner deletes of the history.
CREATE FUNCTION churn(what int) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
  CASE what
    WHEN 1 THEN
      DELETE FROM containers WHERE id = a_container() AND id >= 1000;
      INSERT INTO containers VALUES (nextval('box'), 1 + random()::int, 'new');
    WHEN 2 THEN
      DELETE FROM alerting.alert_rule WHERE id IN (SELECT id FROM alerting.alert_rule WHERE id LIKE 'r%' ORDER BY created_at DESC OFFSET 5);
      PERFORM rule('r' || nextval('box'), 1 + random()::int, 'MEMORY_USAGE', 90 + 10 * random());
    WHEN 3 THEN
      DELETE FROM alerting.webhook WHERE id IN (SELECT id FROM alerting.webhook WHERE id LIKE 'x%' ORDER BY created_at DESC OFFSET 5);
      INSERT INTO alerting.webhook (id, organization_id, url, retry_schedule)
        VALUES ('x' || nextval('box'), 1 + random()::int, '@{[ $receiver->url(q{/status/500,200}) ]}', '{1 second,1 second}');
    WHEN 4 THEN
      UPDATE containers SET organization_id = 3 - organization_id WHERE id = a_container();
    ELSE
      DELETE FROM container_metrics WHERE at < clock_timestamp() - interval '20 seconds' AND at > at(51);
      DELETE FROM alerting.alert WHERE status = 'RESOLVED' AND resolved_at < clock_timestamp() - interval '20 seconds';
  END CASE;
END \$\$;
SQL
my %scripts = (samples => "SELECT samples();\n", churn => "\\set what random(1, 5)\nSELECT churn(:what);\n");
my @files = map {
	my $file = "$PostgreSQL::Test::Utils::tmp_check/soak_$_.sql";
	unlink $file;
	append_to_file($file, $scripts{$_});
	'-f', $file . ($_ eq 'churn' ? '@1' : '@30');
} sort keys %scripts;
wait_for_workers($node, 'postgres');
my $load = fork // die "cannot fork: $!";
if (!$load)
{
	open STDOUT, '>>', "$PostgreSQL::Test::Utils::tmp_check/soak.log" or die;
	open STDERR, '>&', \*STDOUT or die;
	# One client: the churn of several would meet in deadlocks of its own.
	exec 'pgbench', '-n', '-c', '1', '-R', '150', '-T', $seconds, @files, $node->connstr('postgres');
}

# What is looked at, every few seconds.
my @workers = qw(evaluator sender launcher);
my %pid = map { $_ => worker_pid($node, $_, 'postgres') } @workers;
my @tables = qw(delivery delivery_attempt series_state alert alert_rule webhook);
my %seen;
my $oldest = 0;
my $started = time;

sub anonymous_kb
{
	my ($pid) = @_;
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;
	return $kb;
}
while (waitpid($load, POSIX::WNOHANG()) == 0)
{
	push @{ $seen{"$_ kB"} }, anonymous_kb($pid{$_}) for @workers;
	my @sizes = split /\|/, sql($node, 'postgres', 'SELECT ' . join ', ', map { "pg_total_relation_size('alerting.$_') / 1024" } @tables);
	push @{ $seen{"$_ table kB"} }, shift @sizes for @tables;
	$oldest = max $oldest, sql($node, 'postgres', "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)"
		  . " FROM pg_stat_activity WHERE backend_type ~ '^alerting'");
	usleep(1_000_000 * max(0.2, $seconds / 120));
}
is($?, 0, 'the load has ended by itself');

# The last third beside the middle third: what grows, grows on.
for my $what (sort keys %seen)
{
	my @values = @{ $seen{$what} };
	my $third = int @values / 3;
	my ($before, $after) = (max(@values[ $third .. 2 * $third - 1 ]), max(@values[ 2 * $third .. $#values ]));
	diag sprintf '%-28s %9d at first, %9d in the middle third, %9d in the last', $what, $values[0], $before, $after;
	cmp_ok($after, '<=', 1.25 * $before + 1024, "$what: bounded");
}
diag sprintf 'oldest transaction of a worker: %.2f s', $oldest;
cmp_ok($oldest, '<', 5, 'no worker held a transaction open');
is(join(' ', map { worker_pid($node, $_, 'postgres') } @workers), join(' ', @pid{@workers}), 'no worker was replaced');
diag sql($node, 'postgres', "SELECT string_agg(format('%s: %s rows, %s dead, %s autovacuums', relname, n_live_tup, n_dead_tup, autovacuum_count), E'\\n' ORDER BY relname)"
	  . " FROM pg_stat_user_tables WHERE schemaname = 'alerting'");
cmp_ok(sql($node, 'postgres', "SELECT autovacuum_count FROM pg_stat_user_tables WHERE relid = 'alerting.$_'::regclass"), '>', 0,
	"$_: autovacuum works") for qw(delivery delivery_attempt);
flush($node, 'postgres', name => 'everything is judged');
diag sql($node, 'postgres', "SELECT format('samples %s, transitions %s, deliveries %s, failed attempts %s, replays %s, late %s, problem %s',"
	  . ' samples, transitions, deliveries, failed_attempts, replays, late, problem) FROM alerting.status()');
is(sql($node, 'postgres', "SELECT count(*) FROM (SELECT 1 FROM alerting.alert WHERE status = 'FIRING' GROUP BY rule_id, container_id HAVING count(*) > 1) x"), 0,
	'no alert fires twice');
$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|signal 11|signal 6|TRAP/, 'nothing crashed');
is(join("\n", grep { /\bERROR:/ && !/pgbench|deadlock/ } split /\n/, slurp_file($node->logfile)), '', 'no error in the log');
done_testing();

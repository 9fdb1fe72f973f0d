# A hypertable of TimescaleDB as metrics table: rows are captured in chunks that did not exist when it
# was attached, read back after a stop, and dropped chunks do no harm. Skipped where it isn't installed.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($share) = run_command([ $ENV{PG_CONFIG} // 'pg_config', '--sharedir' ]);
plan skip_all => 'TimescaleDB is not installed' unless -e "$share/extension/timescaledb.control";

my $node = new_node('timescale', "shared_preload_libraries = 'timescaledb, alerting'", 'timescaledb.telemetry_level = off');

# The host timescale_narrow, its metrics as a hypertable: a chunk every ten minutes.
my $script = slurp_file('test/hosts/timescale_narrow.sql');
my ($schema) = $script =~ /^\\if :do_schema\n(.*?)^\\endif/ms;
$schema =~ s/ PARTITION BY RANGE \(time\);/;\nSELECT create_hypertable('samples', 'time', chunk_time_interval => interval '10 minutes');/ or die;
$schema =~ s/^CREATE TABLE samples_.*\n//mg;
my @pieces = $script =~ /^(COPY .*?^\\\.\n)/msg;
my $expected = join "\n", map { my @f = split /\t/; join '|', @f[ 1, 6, 8 .. 9 ], $f[10], $f[11] // '' }
  grep { /^timescale_narrow\t/ } split /\n/, slurp_file('test/hosts/EXPECTED.tsv');

sub make
{
	my ($database) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, "SET client_min_messages = error; CREATE EXTENSION timescaledb; $schema; CREATE EXTENSION alerting;"
		  . slurp_file('test/hosts/timescale_narrow.attach.sql'));
	flush_ok($node, $database);
	return;
}

sub raised
{
	my ($database) = @_;
	flush_ok($node, $database);
	return $node->safe_psql($database, q{
		SELECT r.name, a.container_id, a.status, t.started, t.fired, coalesce(t.resolved, '')
		  FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id,
		       LATERAL (SELECT to_char(a.started_at, f) AS started, to_char(a.fired_at, f) AS fired, to_char(a.resolved_at, f) AS resolved
		                  FROM (VALUES ('YYYY-MM-DD"T"HH24:MI:SSZ')) v(f)) t
		 ORDER BY r.name});
}

make('live');
is($node->safe_psql('live', 'SELECT level FROM alerting.metric_source'), 'row', 'row triggers, which chunks inherit');
$node->safe_psql('live', $_) for @pieces;
is($node->safe_psql('live', q{SELECT count(*) FROM show_chunks('samples')}), 4, 'chunks have been made meanwhile');
is(raised('live'), $expected, 'live');
is($node->safe_psql('live', q{SELECT string_agg(detail, ', ') FROM alerting.doctor() WHERE status = 'error'}), '', 'doctor() finds no error');

# Read back from the chunks.
make('stopped');
$node->safe_psql('stopped', 'SELECT alerting.stop()');
$node->safe_psql('stopped', $_) for @pieces;
$node->safe_psql('stopped', 'SELECT alerting.start()');
is(raised('stopped'), $expected, 'read back');
is($node->safe_psql('stopped', q{SELECT count(*) FROM alerting.alert_rule r, alerting.preview(r.id, '2026-03-07 09:00Z', '2026-03-07 10:00Z')}), 3, 'preview() reads the chunks');

# Old chunks go, also under a crash; what comes is judged.
$node->safe_psql('live', q{SELECT drop_chunks('samples', older_than => '2026-03-07 09:30Z'::timestamptz)});
$node->stop('immediate');
$node->start;
is(raised('live'), $expected, 'drop_chunks and a crash change nothing');
$node->safe_psql('live', q{INSERT INTO samples VALUES ('2026-03-07 10:40Z', 9003, 4, 1), ('2026-03-07 10:40Z', 9003, 1, 99)});
(my $resolved = $expected) =~ s/FIRING(.*)\|$/RESOLVED$1|2026-03-07T10:40:00Z/m;
is(raised('live'), $resolved, 'and what comes afterwards is judged');

# Jobs of TimescaleDB that its Apache edition lacks.
clean_log_ok($node, qr/current "apache" license/);
$node->stop;
done_testing();

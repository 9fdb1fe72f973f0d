# Field case 7 and its kind: a sample's time is the same instant whatever its column's type and
# whatever zone and format the server, the database, the role or the session uses; read as rows are
# written, and read back from the table.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('time', "timezone = 'America/St_Johns'", "datestyle = 'German'", "intervalstyle = 'sql_standard'");
my $db = 'times';
fixture($node, $db);
sub run_sql { return $node->safe_psql($db, join '', @_); }

# Settings that workers inherit from their database.
run_sql(map { "ALTER DATABASE $db SET $_;\n" } "timezone = 'Europe/Berlin'", "datestyle = 'SQL, DMY'", 'extra_float_digits = -15', "bytea_output = 'escape'",
	'default_transaction_read_only = on', "default_transaction_isolation = 'serializable'", 'statement_timeout = 1', 'lock_timeout = 1',
	'idle_in_transaction_session_timeout = 1', 'row_security = off', "session_replication_role = 'replica'", 'transform_null_equals = on',
	'enable_seqscan = off', "backslash_quote = 'off'", 'standard_conforming_strings = off', 'escape_string_warning = off');
# Sessions of tests take those back that would hinder them.
$ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0 -c session_replication_role=origin -c standard_conforming_strings=on '
  . '-c idle_in_transaction_session_timeout=0 -c default_transaction_isolation=read\ committed';
run_sql('SELECT alerting.stop(); SELECT alerting.start();');

rule($node, $db, 1, 'CPU_USAGE', 90, 15);
webhook($node, $db, 1);

# The night the clocks go forward in Berlin: 01:00Z is 02:00 there, which is 03:00. cpu is 95 from
# 03:00Z to 03:20Z. $form: the SQL that makes the column's value of the instant `t`.
my %sources = (
	# type => [ form, attach's arguments ]
	timestamptz    => [ 't', '' ],
	timestamp_utc  => [ "t AT TIME ZONE 'UTC'", '', 'timestamp' ],
	timestamp_0    => [ "t AT TIME ZONE 'UTC'", '', 'timestamp(0)' ],
	timestamp_loc  => [ "t AT TIME ZONE 'Europe/Berlin'", q{, time_zone => 'Europe/Berlin'}, 'timestamp' ],
	timestamp_off  => [ "t AT TIME ZONE INTERVAL '05:30'", q{, time_zone => 'Asia/Kolkata'}, 'timestamp' ],
	seconds        => [ 'extract(epoch FROM t)', q{, at_unit => 's'}, 'int' ],
	seconds_8      => [ 'extract(epoch FROM t)', q{, at_unit => 's'}, 'bigint' ],
	seconds_num    => [ 'extract(epoch FROM t)', q{, at_unit => 's'}, 'numeric' ],
	seconds_float  => [ 'extract(epoch FROM t)', q{, at_unit => 's'}, 'float8' ],
	milliseconds   => [ '1000 * extract(epoch FROM t)', q{, at_unit => 'ms'}, 'bigint' ],
	microseconds   => [ '1000000 * extract(epoch FROM t)', q{, at_unit => 'us'}, 'bigint' ],
	iso_text       => [ q{to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')}, q{, at => 'at::timestamptz'}, 'text' ],
	naive_text     => [ q{to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')}, q{, at => 'at::timestamp'}, 'text' ],
	zoned_text     => [ q{to_char(t AT TIME ZONE 'Asia/Tokyo', 'YYYY-MM-DD HH24:MI:SS')}, q{, at => 'at::timestamptz', time_zone => 'Asia/Tokyo'}, 'text' ],
	american_text  => [ q{to_char(t AT TIME ZONE 'UTC', 'MM/DD/YYYY HH24:MI:SS')}, q{, at => 'at::timestamptz'}, 'text' ],
	two_columns    => [ q{to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')}, q{, at => 'left(at, 10)::date + right(at, 8)::time'}, 'text' ],
	milli_expr     => [ '1000 * extract(epoch FROM t)', q{, at => 'to_timestamp(at / 1000.0)'}, 'bigint' ],
);
my @names = sort keys %sources;
my $key = 100;
my %key_of = map { $_ => $key++ } @names;
for my $name (@names)
{
	my (undef, $arguments, $type) = @{ $sources{$name} };
	$type //= 'timestamptz';
	$arguments = ", at => 'at'$arguments" unless $arguments =~ /\bat => /;
	run_sql("INSERT INTO containers VALUES ($key_of{$name}, 1, '$name');",
		"CREATE TABLE $name (container_id int, at $type, cpu float8);",
		"SET client_min_messages = warning; SELECT alerting.attach_metrics('$name', container => 'container_id', cpu => 'cpu', max_age => NULL$arguments);");
}
flush_ok($node, $db);

sub night
{
	my ($from, $to, $zone) = @_;
	return join '', "SET timezone = '$zone'; SET datestyle = 'SQL, MDY';\n", map {
		"INSERT INTO $_ SELECT $key_of{$_}, $sources{$_}[0], CASE WHEN t BETWEEN '2026-03-29T03:00Z' AND '2026-03-29T03:20Z' THEN 95 ELSE 5 END "
		  . "FROM generate_series('2026-03-29T${from}Z'::timestamptz, '2026-03-29T${to}Z', '1 minute') t;\n"
	} @names;
}
my $format = 'YYYY-MM-DD HH24:MI';
my $expected = sub { my ($end) = @_; return join "\n", map { "CPU_USAGE $key_of{$_} " . ($end ? 'RESOLVED' : 'FIRING') . " 2026-03-29 03:00 2026-03-29 03:15$end" } @names; };

# From sessions in several zones.
run_sql(night('00:30', '02:30', 'Europe/Berlin'), night('02:31', '03:05', 'UTC'), night('03:06', '03:20', 'Pacific/Auckland'));
is(alerts($node, $db, format => $format), $expected->(''), '7: fires on time in every type and zone');
is(run_sql(q{SELECT DISTINCT payload #>> '{data,alert,startedAt}', payload #>> '{data,alert,firedAt}', payload ->> 'timestamp', payload #>> '{data,alert,value}' FROM alerting.delivery}),
	'2026-03-29T03:00:00.000Z|2026-03-29T03:15:00.000Z|2026-03-29T03:15:00.000Z|95', '7: and tells it in UTC');

# Read back from the tables: the same rows under a rule that is new, and rows of the time of a stop.
run_sql('SELECT alerting.stop();', night('03:21', '03:30', 'America/New_York'), 'SELECT alerting.start();');
is(alerts($node, $db, format => $format), $expected->(' 2026-03-29 03:21'), '7: resolves on time, read back from the tables');
run_sql('SELECT alerting.stop(); DELETE FROM alerting.alert; TRUNCATE alerting.series_state; SELECT alerting.start();');
is(alerts($node, $db, format => $format), $expected->(' 2026-03-29 03:21'), '7: and all of it read back is the same');

# The night the clocks go back: 02:30 comes twice in Berlin. What is ambiguous is taken as standard
# time, as everywhere in PostgreSQL; UTC goes on as if nothing were.
run_sql(q{INSERT INTO containers VALUES (90, 1, 'utc'), (91, 1, 'berlin');
	INSERT INTO timestamp_utc SELECT 90, t, 95 FROM generate_series('2026-10-25 00:30'::timestamp, '2026-10-25 00:45', '1 minute') t;
	INSERT INTO timestamp_loc SELECT 91, t, 95 FROM generate_series('2026-10-25 02:30'::timestamp, '2026-10-25 02:45', '1 minute') t;});
is(alerts($node, $db, format => $format) =~ s/^CPU_USAGE 1.*\n?//gmr =~ s/\n$//r, join("\n", 'CPU_USAGE 90 FIRING 2026-10-25 00:30 2026-10-25 00:45',
	'CPU_USAGE 91 FIRING 2026-10-25 01:30 2026-10-25 01:45'), '7: the clocks going back');

# A sample from the future is taken at its arrival; one a little ahead is not.
run_sql(q{INSERT INTO containers VALUES (92, 1, 'future'), (93, 1, 'ahead'); INSERT INTO organizations VALUES (3, 'Umbrella'); UPDATE containers SET organization_id = 3 WHERE id IN (92, 93);});
rule($node, $db, 3, 'CPU_USAGE', 90, 0);
my $arrival = run_sql('SELECT now()');
run_sql(q{INSERT INTO timestamptz VALUES (92, now() + interval '1 day', 95), (93, now() + interval '4 minutes', 95);});
flush_ok($node, $db);
is(run_sql(qq{SELECT container_id, a.fired_at BETWEEN '$arrival' AND now(), a.fired_at = m.at
	FROM alerting.alert a JOIN timestamptz m USING (container_id) WHERE container_id IN (92, 93) ORDER BY 1}), "92|t|f\n93|f|t", 'a sample from the future is taken at its arrival');

# What cannot be: an unknown zone, a number without a unit, a unit for what is no number.
for ([ q{at => 'at', time_zone => 'Europe/Atlantis'}, qr/ERROR:  .*time zone/ ], [ q{at => 'container_id'}, qr/ERROR:  .*at_unit/s ],
	[ q{at => 'at', at_unit => 'h'}, qr/ERROR:  .*at_unit/ ])
{
	my ($out, $err);
	isnt($node->psql($db, "SELECT alerting.attach_metrics('timestamptz', $_->[0])", stdout => \$out, stderr => \$err), 0, "refused: $_->[0]");
	like($err, $_->[1], 'with a reason');
}

# A mapping means in every session what it meant when it was attached: backslashes, dates and figures in
# its literals, also when it was attached by such a session.
$ENV{PGOPTIONS} =~ s/standard_conforming_strings=on/standard_conforming_strings=off -c escape_string_warning=off -c quote_all_identifiers=on/;
my $said = run_sql(q{INSERT INTO containers VALUES (94, 3, 'conforming'), (95, 3, 'escaping'), (96, 3, 'late');
	SET client_min_messages = warning; SET datestyle = 'German'; SET extra_float_digits = -15; SET intervalstyle = 'sql_standard';
	CREATE TABLE literals (container_id int, at timestamptz, load text, "day" date);
	CREATE INDEX ON literals (container_id, at);
	SELECT alerting.attach_metrics('literals', max_age => NULL, cpu =>
	  $$ CASE WHEN day > '03.02.2026' AND at - INTERVAL '-1 2:03:04' > '2026-01-01 00:00' THEN 10.0 * regexp_replace(load, '\D', '', 'g')::float8 * '0.123456789'::float8 END $$)});
my $literals = q{INSERT INTO literals SELECT id, '2026-11-01T10:00Z', '80 %%', '2026-03-01' FROM unnest(ARRAY[%s]) id};
run_sql(sprintf $literals, 94);
$ENV{PGOPTIONS} =~ s/standard_conforming_strings=off/standard_conforming_strings=on/;
run_sql(q{SET datestyle = 'ISO, MDY';}, sprintf $literals, 95);
flush_ok($node, $db);
run_sql('SELECT alerting.stop();', sprintf($literals, 96), '; SELECT alerting.start();');
flush_ok($node, $db);
is(run_sql('SELECT container_id, round(value::numeric, 4) FROM alerting.alert WHERE container_id IN (94, 95, 96) ORDER BY 1'), "94|98.7654\n95|98.7654\n96|98.7654",
	'literals of a mapping mean the same in every session') or diag($said);
is(run_sql('SELECT skipped FROM alerting.status()'), 0, 'and every row could be read');
like(run_sql(q{SELECT alerting.attach('organizations', 'containers')}), qr/nothing changed/, 'nor does it matter who attaches again');

# A number that stands for a time before all that PostgreSQL knows: no sample, as where it is cast.
$ENV{PGOPTIONS} =~ s/ -c quote_all_identifiers=on//;
run_sql(q{INSERT INTO containers VALUES (97, 1, 'before time'); INSERT INTO seconds_8 SELECT 97, n, 95 FROM generate_series(-1000000000000, -999999998800, 60) n});
is(run_sql('SELECT skipped FROM alerting.status()'), 21, 'times that are none are counted');
flush_ok($node, $db);
is(run_sql('SELECT count(*) FROM alerting.alert WHERE container_id = 97'), 0, 'and nothing is judged by them');

clean_log_ok($node, qr/at_unit|time zone|a number of what/);
$node->stop;
done_testing();

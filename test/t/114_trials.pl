# What a mapping makes of rows that are there already: shares of 1 that were taken for percentages, texts with units,
# rights that the table's owner lacks. Each would attach without a word, and no alert would ever come; the hints mend it
# as they are written.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('trials');
$node->safe_psql('postgres', 'CREATE ROLE "the agent" LOGIN; CREATE ROLE passer_by LOGIN');

# A database with two containers and this table of metrics, and its rows; all that is said at $attach.
sub host
{
	my ($database, $columns, $rows, $attach) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, qq{
		CREATE TABLE organizations (id int PRIMARY KEY, legal text);
		CREATE TABLE containers (id int PRIMARY KEY, organization_id int REFERENCES organizations, label text);
		INSERT INTO organizations VALUES (1, 'Initech');
		INSERT INTO containers VALUES (1, 1, 'web'), (2, 1, 'db');
		CREATE TABLE figures (container_id int REFERENCES containers, at timestamptz, $columns, PRIMARY KEY (container_id, at));
		$rows});
	my (undef, undef, $said) = $node->psql($database, "CREATE EXTENSION alerting; $attach", on_error_stop => 0);
	$node->safe_psql($database, q{SET client_min_messages = warning; SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80), alerting.create_rule(1, 'memory', 'MEMORY_USAGE', 80)});
	return $said;
}

sub doctor
{
	my ($database, $topic) = @_;
	return $node->safe_psql($database, "SELECT concat_ws(' ', object, status, detail, hint) FROM alerting.doctor() WHERE topic = '$topic' AND status <> 'ok'");
}

my $attach = q{SELECT alerting.attach_metrics('figures', max_age => NULL)};
sub rows { my ($what) = @_; return "INSERT INTO figures SELECT 1 + g % 2, timestamptz '2026-03-02 09:00Z' + g * interval '1 s', $what FROM generate_series(1, 40) g" }

# Shares of 1, both of them: the hint mends both.
my $said = host('shares', '"cpuUsage" real, mem_pct float8', rows('0.01 * g, 0.02 * g'), $attach);
like($said, qr/NOTICE:  cpu of table public\.figures is taken for a percentage, but the largest value of its column "cpuUsage" in 40 rows is 0\.400\n/, 'a share of 1');
like($said, qr/NOTICE:  memory of table public\.figures is taken for a percentage, but the largest value of its column mem_pct in 40 rows is 0\.800\n/, 'two of them');
$node->safe_psql('shares', q{INSERT INTO figures VALUES (1, '2026-03-02 10:00Z', 0.95, 0.9)});
is(alerts($node, 'shares'), '', 'as percentages they never fire');
like(doctor('shares', 'metrics'), qr/^public\.figures warning Its cpu is taken for a percentage, but the largest value of its column "cpuUsage" in 41 rows is 0\.950\. If it is a share of 1: SELECT/m, 'doctor() says so');
my ($call) = $said =~ /HINT:  If it is a share of 1: (SELECT .*;)/;
$node->safe_psql('shares', "SET client_min_messages = warning; $call");
$node->safe_psql('shares', q{INSERT INTO figures VALUES (1, '2026-03-02 10:01Z', 0.95, 0.9), (1, '2026-03-02 10:02Z', 0.95, 0.1), (2, '2026-03-02 10:02Z', 0.1, 0.1)});
# The last row is read again as it is mapped now: a correction.
is(alerts($node, 'shares'), "cpu 1 FIRING 10:00:00 10:00:00\nmemory 1 RESOLVED 10:00:00 10:00:00 10:02:00", 'the hint as it is written mends both');
is(doctor('shares', 'metrics'), '', 'and nothing is said any more');
is(doctor('shares', 'binding'), '', 'nor of names where there are none');

# By the type, before there is a row.
like(host('narrow', 'cpu_percent numeric(5,4), memory_percent numeric(5,2)', '', $attach),
	qr/NOTICE:  cpu of table public\.figures .*its column cpu_percent is a numeric\(5,4\), which holds no percentage of 10 or more\nHINT:  If .*cpu => '100 \* cpu_percent', memory => 'memory_percent', max_age => NULL/, 'a type that holds no percentage');
like(doctor('narrow', 'metrics'), qr/^public\.figures warning Its cpu [^\n]*$/, 'that one alone');

# An idle fleet, a busy one, and one whose rule is about shares; what CREATE EXTENSION binds by itself is looked at, too.
for ([ 'idle', '0.002 * g, 0.05 * g' ], [ 'busy', '2.0 * g, 0.5 * g' ], [ 'not_a_number', "CASE g WHEN 1 THEN 'NaN'::float8 WHEN 2 THEN 'Infinity' ELSE 60 END, 12" ])
{
	my ($database, $figures) = @$_;
	unlike(host($database, 'cpu float8, memory_percent float8', rows($figures), $attach), qr/taken for/, "$database: nothing is told");
	is(doctor($database, 'metrics'), '', "$database: neither by doctor()");
}
like(host('bound', 'cpu float8', 'ALTER TABLE figures RENAME TO container_metrics; INSERT INTO container_metrics VALUES (1, now(), 0.5)', ''),
	qr/NOTICE:  alerting: cpu of table public\.container_metrics is taken for a percentage.* in 1 rows is 0\.500\nHINT:  If it is a share of 1: SELECT/, 'CREATE EXTENSION');
like(doctor('bound', 'metrics'), qr/is taken for/, 'a rule that can never fire');
$node->safe_psql('bound', q{UPDATE alerting.alert_rule SET threshold = 0.4});
unlike(doctor('bound', 'metrics'), qr/is taken for/, 'and one that can');

# The newest thousand by the index on the time, where there is one; else some.
$said = host('many', 'cpu float8', q{CREATE INDEX ON figures (at); INSERT INTO figures SELECT 1, timestamptz '2026-03-02 09:00Z' + g * interval '1 s', CASE WHEN g < 1500 THEN 50 ELSE 0.5 END FROM generate_series(1, 2500) g}, $attach);
like($said, qr/in 1000 rows is 0\.500/, 'the newest rows');

# Texts: with a unit, as JSON, as rows of a name and a value.
$said = host('texts', 'cpu text', rows(q{g || '%'}), q{SELECT alerting.attach_metrics('figures'); SELECT alerting.attach_metrics('figures', cpu => 'cpu', max_age => NULL)});
like($said, qr/ERROR:  no metric of table public\.figures is mapped\n.*\nHINT:  Map at least one: .*: cpu => \$\$substring\(cpu FROM '\^\[0-9\.\]\+'\)::float8\$\$\./, 'a text that looks like a metric');
like($said, qr/WARNING:  the mapping of table public\.figures fails on some rows: invalid input syntax for type double precision: "\d+%"\n.*\nHINT:  Take of a text what is a number/, 'is none with its unit');
like(doctor('texts', 'metrics'), qr/^public\.figures warning Its mapping fails on rows .* with SQLSTATE 22P02\. Take of a text/, 'which doctor() says, too');
my (undef, undef, $warned) = $node->psql('texts', q{INSERT INTO figures VALUES (1, '2026-03-02 10:00Z', '97%')});
like($warned, qr/WARNING:  alerting: a row .*could not be read.*\n.*\nHINT:  Take of a text what is a number/, 'and who inserts');
my ($example) = $said =~ /plain column: (cpu => .*)\.$/m;
$node->safe_psql('texts', "SET client_min_messages = warning; SELECT alerting.attach_metrics('figures', $example, max_age => NULL); INSERT INTO figures VALUES (2, '2026-03-02 10:00Z', '97%')");
is(alerts($node, 'texts'), "cpu 1 FIRING 10:00:00 10:00:00\ncpu 2 FIRING 10:00:00 10:00:00", 'the example as it is written, also for the row that could not be read');
like(host('documents', '"Payload" jsonb', '', $attach), qr/HINT:  .*: cpu => \$\$\("Payload" ->> 'cpu'\)::float8\$\$\./, 'jsonb');
like(host('names', 'metric text, value float8', '', $attach), qr/HINT:  .*: cpu => \$\$CASE metric WHEN 'cpu' THEN value END\$\$\./, 'names and values');
like(host('cash', 'cost money', '', q{SELECT alerting.attach_metrics('figures', cpu => 'cost')}), qr/has type money.*\n.*\nHINT:  Cast it: cpu => '\(cost\)::numeric'/, 'money');
like(host('iso', 'ts text, cpu_percent float8', 'ALTER TABLE figures DROP COLUMN at', $attach), qr/HINT:  If it is column ts, cast it: at => /, 'a time that is a text');
like(host('flags', 'cpu_percent float8, status int, running smallint', '', $attach), qr/look like metrics, but are not mapped: status, running\n/, 'states that are numbers');

# Numbers that are no time hide nothing else from doctor().
host('no_times', 'seconds numeric, cpu float8, memory_percent float8', '', q{SELECT alerting.attach_metrics('figures', at => 'seconds', at_unit => 's', max_age => NULL)});
$node->safe_psql('no_times', q{INSERT INTO figures SELECT 1 + g % 2, now() + g * interval '1 s', CASE g WHEN 5 THEN 'NaN' WHEN 6 THEN 1e30 ELSE 1772445600 + g END, 0.02 * g, 50 FROM generate_series(1, 40) g});
like(doctor('no_times', 'time'), qr/^public\.figures warning The largest time in it is none that PostgreSQL has: such rows are not judged\. Check the clocks/, 'a time that is none');
unlike(doctor('no_times', 'metrics'), qr/unknown/, 'and no other finding');

# Rights that the owner of the metrics lacks: told before the first row is lost.
$said = host('rights', 'cpu float8', q{
	CREATE TABLE limits (container_id int PRIMARY KEY, cores float8);
	INSERT INTO limits VALUES (1, 2);
	ALTER TABLE figures OWNER TO "the agent"},
	q{SELECT alerting.attach_metrics('figures', cpu => 'cpu / (SELECT l.cores FROM limits l WHERE l.container_id = m.container_id)', max_age => NULL)});
like($said, qr/WARNING:  the mapping of table public\.figures fails on all rows: permission denied for table limits\n.*\nHINT:  It is evaluated with the rights of the table's owner, "the agent": GRANT/, 'attach_metrics() tells what is lacking');
like(doctor('rights', 'metrics'), qr/^public\.figures error Its mapping fails on every row: permission denied for table limits\. It is evaluated with the rights of .*"the agent"/, 'and doctor()');
$node->safe_psql('rights', 'GRANT SELECT ON limits TO "the agent"');
is(doctor('rights', 'metrics'), '', 'until it is granted');
$node->safe_psql('rights', q{INSERT INTO figures VALUES (1, '2026-03-02 10:00Z', 190)});
is(alerts($node, 'rights'), 'cpu 1 FIRING 10:00:00 10:00:00', 'and rows are judged');

# What the owner's functions do, they do as the owner, whoever calls doctor().
$node->safe_psql('rights', q{
	CREATE SCHEMA agents AUTHORIZATION "the agent";
	SET ROLE "the agent";
	CREATE FUNCTION agents.look(float8) RETURNS float8 LANGUAGE plpgsql STABLE AS $$ BEGIN IF current_user <> 'the agent' THEN RAISE 'as %', current_user; END IF; RETURN $1; END $$;
	RESET ROLE;
	SET client_min_messages = warning;
	SELECT alerting.attach_metrics('figures', cpu => 'agents.look(cpu)', max_age => NULL)});
is(doctor('rights', 'metrics'), '', 'functions run as the owner of the table');

# Organizations that an expression cannot tell of some containers, by a text that is no number or by several owners: these
# belong to none, or to the one that they had, and hold up nobody else.
$node->safe_psql('postgres', 'CREATE DATABASE owners');
(undef, undef, $said) = $node->psql('owners', q{
	SET client_min_messages = warning;
	CREATE TABLE organizations (id int PRIMARY KEY, name text);
	CREATE TABLE containers (id int PRIMARY KEY, tags jsonb, name text);
	CREATE TABLE owners (container_id int REFERENCES containers, organization_id int REFERENCES organizations);
	CREATE TABLE figures (container_id int REFERENCES containers, at timestamptz, cpu float8, PRIMARY KEY (container_id, at));
	INSERT INTO organizations VALUES (1, 'Initech'), (2, 'Hooli');
	INSERT INTO containers SELECT g, jsonb_build_object('organization', CASE g WHEN 2 THEN 'none' ELSE '1' END), 'c' || g FROM generate_series(1, 5) g;
	INSERT INTO owners VALUES (4, 1), (4, 2);
	CREATE EXTENSION alerting;
	SELECT alerting.attach('organizations', 'containers', organization => $$coalesce((SELECT o.organization_id FROM owners o WHERE o.container_id = c.id), (tags ->> 'organization')::int)$$);
	SELECT alerting.attach_metrics('figures', max_age => NULL);
	SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80), alerting.create_rule(1, 'long', 'CPU_USAGE', 80, duration => 1)}, on_error_stop => 1);
like($said, qr/WARNING:  the organization of 2 of the containers of table public\.containers cannot be told\n.*\nHINT:  Let the expression be NULL there; .*LIMIT 1/, 'attach() tells how many');
$node->safe_psql('owners', q{INSERT INTO figures SELECT g, '2026-03-02 10:00Z', 90 FROM generate_series(1, 4) g});
is(alerts($node, 'owners'), "cpu 1 FIRING 10:00:00 10:00:00\ncpu 3 FIRING 10:00:00 10:00:00", 'the others are judged');
like(doctor('owners', 'binding'), qr/^public\.containers warning Whose they are cannot be told of 2 of its rows: .* Let it be NULL there, .*SELECT alerting\.attach\('public\.organizations', 'public\.containers', organization => /, 'doctor() says so');
is($node->safe_psql('owners', q{SELECT string_agg(container_id, ' ' ORDER BY container_id) FROM alerting.preview(1, 'CPU_USAGE', 80, 0, since => '2026-03-02', until => '2026-03-03')}), '1 3', 'so does preview()');
# What fails from now on stays where it was.
$node->safe_psql('owners', q{UPDATE containers SET tags = '{"organization": "lost"}' WHERE id = 1; INSERT INTO figures SELECT g, '2026-03-02 10:01Z', 95 FROM generate_series(1, 5) g});
my $lost = "cpu 1 FIRING 10:00:00 10:00:00\ncpu 3 FIRING 10:00:00 10:00:00\ncpu 5 FIRING 10:01:00 10:01:00\nlong 1 FIRING 10:00:00 10:01:00\nlong 3 FIRING 10:00:00 10:01:00";
is(alerts($node, 'owners'), $lost, 'an organization that is lost');
$node->restart;
is(alerts($node, 'owners'), $lost, 'over a restart');
$node->safe_psql('owners', q{UPDATE containers SET tags = '{"organization": 1}'; DELETE FROM owners WHERE organization_id = 2; INSERT INTO figures SELECT g, '2026-03-02 10:02Z', 5 * g FROM generate_series(1, 4) g});
$node->safe_psql('owners', q{INSERT INTO figures SELECT g, '2026-03-02 10:03Z', 88 + g FROM generate_series(1, 4) g});
is(alerts($node, 'owners'), join("\n", 'cpu 1 RESOLVED 10:00:00 10:00:00 10:02:00', 'cpu 1 FIRING 10:03:00 10:03:00', 'cpu 2 FIRING 10:03:00 10:03:00',
	'cpu 3 RESOLVED 10:00:00 10:00:00 10:02:00', 'cpu 3 FIRING 10:03:00 10:03:00', 'cpu 4 FIRING 10:03:00 10:03:00', 'cpu 5 FIRING 10:01:00 10:01:00',
	'long 1 RESOLVED 10:00:00 10:01:00 10:02:00', 'long 3 RESOLVED 10:00:00 10:01:00 10:02:00'), 'and found again');
is(doctor('owners', 'binding'), '', 'in order');
# What fails on all rows is no fault of one: what is known stays, and doctor() says what to do.
$node->safe_psql('owners', q{ALTER TABLE containers OWNER TO "the agent"});
like(doctor('owners', 'binding'), qr/^public\.containers error Whose its rows are cannot be told: permission denied for table owners\. It is evaluated with the rights of .*"the agent"/m, 'a right that is lacking');

# Detaching speaks of detaching.
$node->safe_psql('rights', 'GRANT USAGE ON SCHEMA alerting TO passer_by; GRANT ALL ON ALL TABLES IN SCHEMA alerting TO passer_by; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA alerting TO passer_by');
my (undef, undef, $refused) = $node->psql('rights', 'SELECT alerting.detach()', extra_params => [ '-U', 'passer_by' ]);
like($refused, qr/ERROR:  must be owner of table public\.figures\nHINT:  Detaching a table drops its triggers/, 'detach() by somebody else');

clean_log_ok($node, qr/cannot tell the organization|permission denied for table owners|no metric of table|has type money|cannot tell the time|must be owner|could not be read|the mapping of table/);
$node->stop;
done_testing();

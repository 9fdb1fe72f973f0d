# Every SQL block of the README and of docs/ is executed, in a database of its page, in order. A comment
# before a block begins a new database: "given host" is a small host with the extension, "given roles" that
# with the recipes of docs/roles.md, "given file F" a script with its schema.
# The queries of the Grafana dashboard are executed as the role that docs/grafana.md makes.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('docs', 'wal_level = logical', 'max_prepared_transactions = 5');
my $quiet = "SET client_min_messages = warning;\n";
my $host = $quiet . q{
	CREATE TABLE organizations (id int PRIMARY KEY, name text);
	CREATE TABLE containers (id int PRIMARY KEY, organization_id int NOT NULL REFERENCES organizations ON DELETE CASCADE, name text);
	CREATE TABLE container_metrics (container_id int REFERENCES containers ON DELETE CASCADE, at timestamptz,
	  cpu_percent float8, memory_percent float8, running boolean, restart_count int, PRIMARY KEY (container_id, at));
	INSERT INTO organizations VALUES (1, 'Acme');
	INSERT INTO containers VALUES (10, 1, 'web'), (11, 1, 'db');
	CREATE EXTENSION alerting;
};
my %blocks_of;

sub sql_blocks { return slurp_file($_[0]) =~ /^ *```sql\n(.*?)^ *```/msg; }

# Runs as psql reads it, which also knows \connect and variables.
sub run_ok
{
	my ($database, $sql, $name) = @_;
	my ($stdout, $stderr) = ('', '');
	my $code = $node->psql($database, $sql, stdout => \$stdout, stderr => \$stderr, on_error_stop => 1);
	is($code, 0, $name) or diag("$stderr\n$sql");
	return;
}

# Makes a database as the comment says.
sub given
{
	my ($database, $what) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	if ($what =~ /^file (\S+)( and the extension)?$/)
	{
		my ($file, $extension) = ($1, $2);
		$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $database, '-f', $file ], "$database: $file");
		run_ok($database, "$quiet CREATE EXTENSION alerting", "$database: the extension") if $extension;
		return;
	}
	return if $what eq 'nothing';
	run_ok($database, $host, "$database: the host");
	return if $what eq 'host';
	die "given what? $what" unless $what eq 'roles';
	# Roles are the server's: their own page has made them.
	my $recipes = join '', grep { !/ROW LEVEL SECURITY/ } sql_blocks('docs/roles.md');
	run_ok($database, $recipes =~ s/^CREATE ROLE.*$//mgr, "$database: the recipes");
	return;
}

my @pages = ('README.md', 'docs/roles.md', grep { $_ ne 'docs/roles.md' } sort glob 'docs/*.md');
for my $page (@pages)
{
	my $database = lc($page =~ s{.*/}{}r =~ s/\.md$//r =~ s/\W/_/gr);
	my $text = slurp_file($page);
	my @parts = $text =~ /(^<!-- given .*?-->$|^ *```sql\n.*?^ *```$)/msg;
	my $count = () = $text =~ /^ *```sql$/mg;
	is(scalar(grep { /```sql/ } @parts), $count, "$page: $count blocks of SQL");
	next unless $count;
	unshift @parts, '<!-- given nothing -->' if $parts[0] =~ /^ *```/;
	my ($number, $databases) = (0, 0);
	my $page_name = $database;
	for my $part (@parts)
	{
		if ($part =~ /^<!-- given (.*?)\s*-->$/s)
		{
			$database = $page_name . ($databases++ || '');
			given($database, $1);
			next;
		}
		my ($sql) = $part =~ /```sql\n(.*?)^ *```$/ms;
		run_ok($database, $sql, "$page: block " . ++$number);
	}
}

# The dashboard, its macros expanded as Grafana does.
my $dashboard = decode_json(slurp_file('examples/grafana/alerting.json'));
my @queries = ((map { [ $_->{title}, $_->{targets}[0]{rawSql} ] } @{ $dashboard->{panels} }),
	(map { [ $_->{name}, $_->{target}{rawSql} ] } @{ $dashboard->{annotations}{list} }),
	(map { [ $_->{name}, $_->{query} ] } grep { $_->{type} eq 'query' } @{ $dashboard->{templating}{list} }));
cmp_ok(scalar @queries, '>=', 14, 'the dashboard has queries');
$node->safe_psql('grafana', q{
	SELECT alerting.create_rule(1, 'busy', 'CPU_USAGE', 80);
	INSERT INTO container_metrics VALUES (10, now(), 95), (11, now() - interval '1 min', 95), (11, now(), 5)});
flush_ok($node, 'grafana');
my %result;
for my $query (@queries)
{
	my ($title, $sql) = @$query;
	$sql =~ s/\$__timeFilter\(([^)]+)\)/$1 BETWEEN now() - interval '1 day' AND now() + interval '1 day'/g;
	$sql =~ s/\$__timeGroupAlias\(([^,]+), \$__interval\)/floor(extract(epoch FROM $1) \/ 60) * 60 AS "time"/g;
	$sql =~ s/\$organization/'1'/g;
	unlike($sql, qr/\$/, "$title: all macros are known");
	my ($stdout, $stderr);
	is($node->psql('grafana', "SET ROLE grafana; $sql", stdout => \$stdout, stderr => \$stderr, on_error_stop => 1), 0, "$title: executed") or diag($stderr);
	$result{$title} = $stdout;
}
is($result{'Firing now'}, 1, 'one alert fires');
like($result{'Active alerts'}, qr/\|1\|web\|busy\|CPU_USAGE\|95\|80\|/, 'and is listed');
like($result{'Alerts that fired'}, qr/\|CPU_USAGE\|\d/, 'fired by time');
is($result{'State of the workers'}, 'running', 'the workers run');
my %ids;
is((grep { $ids{ $_->{id} }++ } @{ $dashboard->{panels} }), 0, 'panels have ids of their own');

$node->stop;
done_testing();

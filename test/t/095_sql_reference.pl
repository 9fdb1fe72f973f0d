# docs/sql-reference.md says what the catalog says: the page is made anew and compared.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('reference');
$node->init;
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE organizations (id text PRIMARY KEY);
CREATE TABLE containers (id text PRIMARY KEY, organization_id text REFERENCES organizations);
CREATE EXTENSION alerting;
SQL

my $page = "$PostgreSQL::Test::Utils::tmp_check/sql-reference.md";
$node->command_ok([ 'psql', '-XAtq', '-d', 'postgres', '-o', $page, '-f', 'scripts/sql_reference.sql' ],
	'the page is made');
is(slurp_file('docs/sql-reference.md'), slurp_file($page),
	'docs/sql-reference.md is up to date (else run scripts/sql-reference)');
unlike(slurp_file($page), qr/\| *\|$/m, 'every column and function has a meaning');

$node->stop;
done_testing();

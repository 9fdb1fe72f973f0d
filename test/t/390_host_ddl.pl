# Changes of the host's tables that the extension follows by itself.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('ddl');
my $database;

# What goes on as it was.
for my $case (
	[ 'ALTER TABLE container_metrics RENAME TO samples', 'INSERT INTO samples VALUES' ],
	[ 'CREATE SCHEMA app; ALTER TABLE container_metrics SET SCHEMA app', 'INSERT INTO app.container_metrics VALUES' ],
	[ 'ALTER TABLE containers RENAME TO boxes', 'INSERT INTO container_metrics VALUES' ],
	[ 'CREATE SCHEMA app; ALTER TABLE containers SET SCHEMA app; ALTER TABLE organizations SET SCHEMA app', 'INSERT INTO container_metrics VALUES' ],
	[ 'ALTER TABLE organizations ALTER id TYPE bigint; ALTER TABLE containers ALTER organization_id TYPE bigint, ALTER name TYPE varchar(9)',
		'INSERT INTO container_metrics VALUES' ],
	[ 'ALTER TABLE organizations RENAME TO tenants', 'INSERT INTO container_metrics VALUES' ],
	[ 'ALTER TABLE container_metrics ADD COLUMN extra text', 'INSERT INTO container_metrics VALUES' ],
	[ 'ALTER TABLE containers ADD COLUMN extra text DEFAULT clock_timestamp()::text', 'INSERT INTO container_metrics VALUES' ],
	[ 'ALTER TABLE container_metrics ALTER cpu_percent TYPE numeric(5, 2), ALTER restart_count TYPE bigint', 'INSERT INTO container_metrics VALUES' ],
	[ 'ALTER TABLE container_metrics ALTER cpu_percent TYPE text', 'INSERT INTO container_metrics VALUES' ],
	[ 'ALTER TABLE container_metrics ALTER cpu_percent TYPE real; VACUUM FULL container_metrics', 'INSERT INTO container_metrics VALUES' ],
	[ "ALTER TABLE container_metrics ALTER at TYPE timestamp USING at AT TIME ZONE 'UTC'; SET timezone = 'UTC'", 'INSERT INTO container_metrics VALUES' ],
	[ 'ALTER TABLE container_metrics DROP COLUMN memory_percent, ADD COLUMN memory_percent float8', 'INSERT INTO container_metrics (container_id, at, cpu_percent, memory_percent, running, restart_count) VALUES' ])
{
	my ($ddl, $insert) = @$case;
	$database = fresh_database($node);
	statement_ok($node, $database, "$ddl; $insert (10, at(2), 5, 5, true, 0), (11, at(2), 95, 5, true, 0)", $ddl);
	flush($node, $database);
	my $expected = "cpu 10 RESOLVED 1>1>2 RECOVERED\ncpu 11 FIRING 2>2";
	is(alerts($node, $database), $expected, "$ddl: goes on");
	# And from the tables, with all that was saved.
	sql($node, $database, 'SELECT alerting.stop()');
	statement_ok($node, $database, "SET timezone = 'UTC'; $insert (11, at(3), 5, 5, true, 0)", "$ddl, stopped");
	sql($node, $database, 'SELECT alerting.start()');
	flush($node, $database);
	is(alerts($node, $database), $expected =~ s/FIRING 2>2/RESOLVED 2>2>3 RECOVERED/r, "$ddl: goes on after a restart");
	drop_database($node, $database);
}

$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|signal 11|signal 6|TRAP/, 'nothing crashed');
done_testing();

# Field cases 1 to 9: faults in evaluation that people met in other products, each with its kind.
# S(10) and so on are samples of the fixture's containers on 2026-03-02.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('cases_evaluation');
my $receiver = start_receiver('evaluation');
my $db;

sub begin_case { ($db) = @_; fixture($node, @_); return; }
sub run_sql { return $node->safe_psql($db, join '', @_); }
sub in { my ($time, @spans) = @_; return grep { $time ge $_->[0] && $time le $_->[1] } @spans; }

# 1. The second incident of the same pair
{
	begin_case('second_incident');
	rule($node, $db, 1, 'CPU_USAGE', 80, 5);
	rule($node, $db, 1, 'MEMORY_USAGE', 80, 0);
	rule($node, $db, 1, 'CONTAINER_DOWN', undef, 2, no_data => 'keep');
	webhook($node, $db, 1, $receiver->url('/ok/1'));
	my @spans = ([ '10:05', '10:12' ], [ '10:20', '10:27' ], [ '10:34', '10:40' ]);
	my @script = map { sample(10, $_, cpu => in($_, @spans) ? 95 : 5) } minutes('10:00', '10:40');
	run_sql(@script);
	is(alerts($node, $db), join("\n",
		'CPU_USAGE 10 RESOLVED 10:05:00 10:10:00 10:13:00',
		'CPU_USAGE 10 RESOLVED 10:20:00 10:25:00 10:28:00',
		'CPU_USAGE 10 FIRING 10:34:00 10:39:00'), '1: three incidents');
	is(events($node, $db), join("\n",
		'firing web(10) 10:05:00', 'resolved web(10) 10:05:00 10:13:00 RECOVERED',
		'firing web(10) 10:20:00', 'resolved web(10) 10:20:00 10:28:00 RECOVERED',
		'firing web(10) 10:34:00'), '1: five events');
	flush_ok($node, $db, 1);
	is($receiver->events('/ok/1'), join("\n", (map { ("firing web(10) $_", "resolved web(10) $_ RECOVERED") } '10:05:00', '10:20:00'), 'firing web(10) 10:34:00'),
		'1: which the receiver gets');

	# Of every condition, and all incidents in one transaction.
	run_sql('BEGIN;', (map { my $bad = in($_, @spans);
		sample(11, $_, cpu => $bad ? 95 : 5, memory => $bad ? 81 : 80, running => $bad ? 'false' : 'true') } minutes('10:00', '10:40')),
		'COMMIT;');
	flush_ok($node, $db);
	is(run_sql(q{SELECT r.condition, count(*), count(*) FILTER (WHERE status = 'RESOLVED') FROM alerting.alert a
		JOIN alerting.alert_rule r ON r.id = rule_id WHERE container_id = 11 GROUP BY 1 ORDER BY 1}),
		"CONTAINER_DOWN|3|2\nCPU_USAGE|3|2\nMEMORY_USAGE|3|2", '1: three incidents of each kind in one transaction');
}

# 2. NaN and infinity are no reading
{
	begin_case('no_reading');
	rule($node, $db, 1, 'CPU_USAGE', 80, 0);
	rule($node, $db, 1, 'MEMORY_USAGE', 80, 0);
	rule($node, $db, 1, 'CONTAINER_DOWN', undef, 0, no_data => 'keep');
	run_sql(sample(10, '10:00', cpu => 'NaN'), sample(10, '10:01', cpu => 'Infinity'), sample(10, '10:02', cpu => undef));
	is(alerts($node, $db), '', '2: no alert of what is no reading');
	run_sql(sample(10, '10:03', cpu => 95), sample(10, '10:04', cpu => 'NaN'), sample(10, '10:04:30', cpu => '-Infinity'),
		sample(10, '10:05', cpu => 95));
	is(alerts($node, $db), 'CPU_USAGE 10 FIRING 10:03:00 10:03:00', '2: neither resolved nor doubled');

	# The same for memory and running.
	run_sql(sample(11, '10:00', memory => 'NaN', running => undef), sample(11, '10:01', memory => 'Infinity'),
		sample(11, '10:02', memory => 81, running => 'false'),
		(map { sample(11, "10:0$_->[0]", memory => $_->[1], running => undef) } [ 3, 'NaN' ], [ 4, '-Infinity' ], [ 5, undef ], [ 6, 81 ]));
	is(alerts($node, $db), join("\n", 'CONTAINER_DOWN 11 FIRING 10:02:00 10:02:00', 'CPU_USAGE 10 FIRING 10:03:00 10:03:00',
		'MEMORY_USAGE 11 FIRING 10:02:00 10:02:00'), '2: so it is with every metric');

	# And for every type a figure may have: directly and through an expression.
	my @types = ('float8', 'float4', 'numeric', 'text');
	my $n = 100;
	for my $type (@types)
	{
		for my $mapping ($type eq 'text' ? 'v::float8' : ('v', 'v * 1'))
		{
			my $table = "typed_$n";
			run_sql("INSERT INTO containers VALUES ($n, 1, '$table');",
				"CREATE TABLE $table (container int, at timestamptz, v $type, r $type);",
				"SELECT alerting.attach_metrics('$table', container => 'container', at => 'at', cpu => '$mapping', restarts => '"
				  . ($mapping =~ s/v/r/r) . "', max_age => NULL);");
			run_sql(map { "INSERT INTO $table VALUES ($n, '2026-03-02 10:$_->[0]Z', $_->[1], $_->[2]);\n" }
				[ '00', "'NaN'", "'NaN'" ], [ '01', "'Infinity'", '0' ], [ '02', 'NULL', 'NULL' ], [ '03', '95', '4' ],
				[ '04', "'NaN'", "'NaN'" ], [ '05', "'-Infinity'", "'Infinity'" ], [ '06', '95', '5' ]);
			$n++;
		}
	}
	rule($node, $db, 1, 'RESTART_LOOP', 3, 30);
	is(alerts($node, $db) =~ s/^.* 1[01] .*\n//gmr, join("\n", (map { "CPU_USAGE $_ FIRING 10:03:00 10:03:00" } 100 .. $n - 1),
		(map { "RESTART_LOOP $_ FIRING 10:06:00 10:06:00" } 100 .. $n - 1)), '2: in every type');
	is(run_sql('SELECT skipped FROM alerting.status()'), 0, '2: no row was skipped');
}

# 3. Percent of a memory limit that does not exist
{
	begin_case('no_limit', metrics => 'container_id int, at timestamptz, mem_bytes numeric, mem_limit_bytes numeric',
		attach => ", memory_used => 'mem_bytes', memory_limit => 'mem_limit_bytes'");
	rule($node, $db, 1, 'MEMORY_USAGE', 90, 0);
	my $minute = 0;
	my $row = sub {
		my ($container, $used, $limit) = @_;
		return sprintf "INSERT INTO container_metrics VALUES (%d, '2026-03-02 10:%02dZ', %s, %s);\n", $container, $minute++, $used, $limit;
	};
	my @none = ('0', 'NULL', '9223372036854771712', '-1', "'NaN'", "'Infinity'", '1152921504606846976', "'-Infinity'", '1e300');
	run_sql(map { $row->(10, 950, $_) } @none);
	is(alerts($node, $db), '', '3: no alert without a limit');
	run_sql($row->(10, 950, 1000));
	is(alerts($node, $db), 'MEMORY_USAGE 10 FIRING 10:09:00 10:09:00', '3: an alert with one');
	run_sql($row->(10, 950, 'NULL'), $row->(10, "'NaN'", 'NULL'), $row->(10, 950, 0), $row->(10, 'NULL', 0), $row->(10, 950, "'NaN'"));
	is(alerts($node, $db), 'MEMORY_USAGE 10 FIRING 10:09:00 10:09:00', '3: a limit that goes away is no recovery');
	# The last known figure of each counts, in whichever row it comes.
	run_sql($row->(10, 'NULL', 2000));
	is(alerts($node, $db), 'MEMORY_USAGE 10 RESOLVED 10:09:00 10:09:00 10:15:00', '3: a larger limit alone resolves');
	run_sql($row->(10, '1900', 'NULL'));
	is(alerts($node, $db), join("\n", 'MEMORY_USAGE 10 RESOLVED 10:09:00 10:09:00 10:15:00', 'MEMORY_USAGE 10 FIRING 10:16:00 10:16:00'),
		'3: a larger use alone fires');

	# A percentage by an expression that fails on some rows: those are skipped, the statement and its other rows are not.
	run_sql(q{SELECT alerting.attach_metrics('container_metrics', container => 'container_id', at => 'at',
		memory => '100 * mem_bytes / mem_limit_bytes', memory_used => '', memory_limit => '', max_age => NULL)});
	flush_ok($node, $db);
	my $skipped = run_sql('SELECT skipped FROM alerting.status()');  # of the rows above, read again
	my ($out, $err);
	is($node->psql($db, q{INSERT INTO container_metrics VALUES (11, '2026-03-02 10:00Z', 950, 0), (11, '2026-03-02 10:01Z', 950, 1000),
		(11, '2026-03-02 10:02Z', 950, 0), (11, '2026-03-02 10:03Z', 1, NULL)}, stdout => \$out, stderr => \$err), 0, '3: a division by zero fails no INSERT');
	like($err, qr/WARNING:.*could not be read and was not evaluated/, '3: it warns');
	like(alerts($node, $db), qr/^MEMORY_USAGE 11 FIRING 10:01:00 10:01:00$/m, '3: the other rows count');
	is(run_sql("SELECT skipped - $skipped, (SELECT count(*) FROM container_metrics WHERE container_id = 11) FROM alerting.status()"), '2|4',
		'3: two rows were skipped');
}

# 4. A missing sample is not a good sample
{
	begin_case('missing_sample');
	rule($node, $db, 1, 'CPU_USAGE', 80, 5);
	webhook($node, $db, 1);
	run_sql(map { sample(10, $_, cpu => 95) } qw(10:00 10:01 10:04 10:05));
	is(alerts($node, $db), 'CPU_USAGE 10 FIRING 10:00:00 10:05:00', '4: fires over the gap');
	run_sql(sample(10, '10:15', cpu => 95));
	is(alerts($node, $db), 'CPU_USAGE 10 FIRING 10:00:00 10:05:00', '4: fires on over a longer gap');
	is(events($node, $db), 'firing web(10) 10:00:00', '4: one event');

	# A gap up to stale_after breaks no run that is pending, a longer one does; a row without the reading is a gap.
	run_sql((map { sample(11, $_, cpu => 95) } qw(10:00 10:04:59.999999 10:09:59.999999)));
	like(alerts($node, $db), qr/^CPU_USAGE 11 FIRING 10:00:00 10:09:59$/m, '4: stale_after itself is no gap');
	run_sql("INSERT INTO containers VALUES (12, 1, 'cache');", sample(12, '10:00', cpu => 95),
		sample(12, '10:03', cpu => undef), sample(12, '10:05:00.000001', cpu => 95), sample(12, '10:09', cpu => 95));
	unlike(alerts($node, $db), qr/ 12 /, '4: more than stale_after starts the run again');
	run_sql(sample(12, '10:10:00.000001', cpu => 95));
	like(alerts($node, $db), qr/^CPU_USAGE 12 FIRING 10:05:00 10:10:00$/m, '4: and it fires from there');
}

# 4, by the clock: silence, what each rule makes of it, and its end.
{
	begin_case('silence', attach => q{, stale_after => '400 ms'});
	rule($node, $db, 1, 'CPU_USAGE', 80, 0, name => 'keeps');
	rule($node, $db, 1, 'CPU_USAGE', 80, 0, name => 'resolves', no_data => 'resolve');
	rule($node, $db, 1, 'CPU_USAGE', 90, 60, name => 'fires', no_data => 'fire');
	rule($node, $db, 1, 'MEMORY_USAGE', 80, 0, name => 'memory', no_data => 'fire');
	rule($node, $db, 2, 'CPU_USAGE', 1, 0, name => 'other', no_data => 'fire');
	# In one transaction: on a slow machine silence would begin between them.
	run_sql('BEGIN;', sample(10, '10:00', cpu => 85, running => undef, memory => undef), sample(10, '10:00:10', cpu => 95, memory => undef), 'COMMIT;');
	# Memory was never read, container 11 and 20 never reported: neither is silent.
	$node->poll_query_until($db, q{SELECT count(*) = 3 AND count(*) FILTER (WHERE status = 'RESOLVED') = 1 FROM alerting.alert})
	  or die 'silence never came';
	is(alerts($node, $db, reason => 1, format => 'HH24:MI:SS.MS'), join("\n",
		'fires 10 FIRING 10:00:10.000 10:00:10.400', 'keeps 10 FIRING 10:00:00.000 10:00:00.000',
		'resolves 10 RESOLVED 10:00:00.000 10:00:00.000 10:00:10.400 NO_DATA'), '4: silence keeps, resolves or fires');
	run_sql(sample(10, '10:00:20', cpu => undef, memory => 5));
	is(alerts($node, $db) =~ s/^memory.*\n?//mr, join("\n", 'fires 10 FIRING 10:00:10 10:00:10', 'keeps 10 FIRING 10:00:00 10:00:00',
		'resolves 10 RESOLVED 10:00:00 10:00:00 10:00:10'), '4: a row without the reading ends no silence');
	run_sql('BEGIN;', sample(10, '10:00:30', cpu => 50), 'COMMIT;');
	# On a slow machine the next silence, from 10:00:30 on, may have begun by now.
	like(alerts($node, $db, reason => 1) =~ s/^(?:fires|memory) 10 FIRING 10:00:30.*\n?//mgr, qr/^fires 10 RESOLVED 10:00:10 10:00:10 10:00:30 RECOVERED\nkeeps 10 RESOLVED 10:00:00 10:00:00 10:00:30 RECOVERED$/m,
		'4: a good sample after silence resolves');
}

# 5. RESTART_LOOP counts restarts in the window and survives a counter's reset
{
	begin_case('restarts');
	rule($node, $db, 1, 'RESTART_LOOP', 3, 10);
	run_sql(map { sample(10, $_, restarts => 40) } minutes('10:00', '10:20'));
	is(alerts($node, $db), '', '5: a high counter is no loop');
	run_sql(sample(10, '10:21', restarts => 42), sample(10, '10:22', restarts => 44), sample(10, '10:23', restarts => 46));
	is(alerts($node, $db), 'RESTART_LOOP 10 FIRING 10:22:00 10:22:00', '5: fires with the fourth restart in the window');
	run_sql(map { sample(10, $_, restarts => 0) } minutes('10:24', '10:31'));
	is(alerts($node, $db), 'RESTART_LOOP 10 FIRING 10:22:00 10:22:00', '5: the counter\'s reset ends nothing');
	run_sql(map { sample(10, $_, restarts => 0) } minutes('10:32', '10:40'));
	is(alerts($node, $db), 'RESTART_LOOP 10 RESOLVED 10:22:00 10:22:00 10:32:00', '5: resolves as the restarts leave the window');
	is(run_sql('SELECT value FROM alerting.alert'), 4, '5: and says how many there were');

	# A reset to more than 0 gained what it shows: 5 6 7 0 1 is three, 2 more is five.
	my @counts = (5, 6, 7, 0, 1, 2);
	run_sql(map { sample(11, "11:0$_", restarts => $counts[$_]) } 0 .. 5);
	like(alerts($node, $db), qr/^RESTART_LOOP 11 FIRING 11:05:00 11:05:00$/m, '5: 5 6 7 0 1 is three restarts, 2 the fourth');
	# Where samples come seldom, the window's end alone resolves, at its own time.
	run_sql(sample(11, '11:30', restarts => 2));
	like(alerts($node, $db), qr/^RESTART_LOOP 11 RESOLVED 11:05:00 11:05:00 11:11:00$/m, '5: resolved at the window\'s end');
}

# 6. The clock of a pending rule survives a restart
{
	begin_case('pending_restart');
	rule($node, $db, 1, 'CPU_USAGE', 80, 30);
	rule($node, $db, 1, 'MEMORY_USAGE', 80, 5);
	rule($node, $db, 1, 'CONTAINER_DOWN', undef, 25, no_data => 'keep');
	webhook($node, $db, 1, $receiver->url('/ok/6'));
	my @row = map { sample(10, $_, cpu => 95, memory => 90, running => 'false') } minutes('10:00', '10:31');
	run_sql(@row[ 0 .. 10 ]);
	is(events($node, $db), 'firing web(10) 10:00:00', '6: memory fires before');
	$node->stop('immediate');
	$node->start;
	run_sql(@row[ 11 .. 20 ]);
	flush_ok($node, $db);
	$node->restart;
	run_sql(@row[ 21 .. 31 ]);
	is(alerts($node, $db), join("\n", 'CONTAINER_DOWN 10 FIRING 10:00:00 10:25:00', 'CPU_USAGE 10 FIRING 10:00:00 10:30:00',
		'MEMORY_USAGE 10 FIRING 10:00:00 10:05:00'), '6: fired as if nothing had happened');
	is(events($node, $db), join("\n", ('firing web(10) 10:00:00') x 3), '6: each is told once');
	flush_ok($node, $db, 1);
	my %ids = map { $_->{json}{data}{alert}{id} => 1 } grep { $_->{path} eq '/ok/6' } $receiver->requests;
	is(keys %ids, 3, '6: and arrives');
}

# 8. Old points arriving late
{
	begin_case('late');
	rule($node, $db, 1, 'CPU_USAGE', 80, 5);
	webhook($node, $db, 1);
	run_sql((map { sample(10, $_, cpu => 95) } minutes('10:00', '10:10')), sample(10, '09:30', cpu => 5), sample(10, '10:03', cpu => 95),
		sample(10, '10:10', cpu => 95));
	is(alerts($node, $db), 'CPU_USAGE 10 FIRING 10:00:00 10:05:00', '8: still firing');
	is(events($node, $db), 'firing web(10) 10:00:00', '8: one event');
	is(run_sql('SELECT late FROM alerting.status()'), 2, '8: two were late, the repeated one was not');
	# Late good samples don't end what is pending, late bad ones begin nothing.
	run_sql((map { sample(11, $_, cpu => 95) } minutes('10:00', '10:04')), sample(11, '10:02:30', cpu => 5), sample(11, '10:05', cpu => 95),
		sample(11, '10:06', cpu => 5), sample(11, '10:05:30', cpu => 99));
	like(alerts($node, $db), qr/^CPU_USAGE 11 RESOLVED 10:00:00 10:05:00 10:06:00$/m, '8: late samples change nothing');

	# Backfill: older than the source's max_age, by arrival.
	run_sql(q{SELECT alerting.attach_metrics('container_metrics', max_age => '1 hour')});
	run_sql(q{INSERT INTO containers VALUES (12, 1, 'cache');
		INSERT INTO container_metrics (container_id, at, cpu_percent) SELECT 12, now() - g * interval '1 minute', 95 FROM generate_series(61, 100) g;});
	unlike(alerts($node, $db), qr/ 12 /, '8: backfill is not evaluated');
	is(run_sql('SELECT backfill FROM alerting.status()'), 40, '8: but counted');
	$node->wait_for_log(qr/WARNING:  alerting: rows of table public\.container_metrics are older than its max_age/);
	run_sql(q{INSERT INTO container_metrics (container_id, at, cpu_percent) SELECT 12, now() - g * interval '1 minute', 95 FROM generate_series(50, 59) g;});
	like(alerts($node, $db), qr/^CPU_USAGE 12 FIRING/m, '8: younger rows are');
}

# 9. No "back up" without a "down"; each incident exactly one pair
{
	begin_case('pairs');
	rule($node, $db, 1, 'CONTAINER_DOWN', 0, 3, no_data => 'keep');
	webhook($node, $db, 1, $receiver->url('/ok/9'));
	my %down = map { $_ => 1 } '10:00', '10:01', (grep { substr($_, 3) % 2 } minutes('10:03', '10:20')), minutes('10:21', '10:26');
	run_sql(map { sample(10, $_, running => $down{$_} ? 'false' : 'true') } minutes('10:00', '10:27'));
	is(alerts($node, $db), 'CONTAINER_DOWN 10 RESOLVED 10:21:00 10:24:00 10:27:00', '9: one alert');
	is(events($node, $db), "firing web(10) 10:21:00\nresolved web(10) 10:21:00 10:27:00 RECOVERED", '9: two events');
	flush_ok($node, $db, 1);
	is($receiver->events('/ok/9'), "firing web(10) 10:21:00\nresolved web(10) 10:21:00 RECOVERED", '9: and two requests');

	# Flapping around a threshold: as many ends as beginnings, in turn.
	rule($node, $db, 2, 'CPU_USAGE', 80, 0);
	my $hook = webhook($node, $db, 2);
	run_sql(map { sample(20, sprintf('11:%02d:%02d', $_ / 60, $_ % 60), cpu => $_ % 2 ? 80 : 80.01) } 0 .. 400);
	flush_ok($node, $db);
	is(run_sql(qq{SELECT count(*), count(*) FILTER (WHERE event = CASE n % 2 WHEN 1 THEN 'alert.firing' ELSE 'alert.resolved' END), count(DISTINCT alert_id)
		FROM (SELECT *, row_number() OVER (ORDER BY seq) AS n FROM alerting.delivery WHERE webhook_id = '$hook') d}), '401|401|201', '9: pairs, in turn');

	# A webhook made in between hears of no end whose beginning it has not heard.
	my $late = webhook($node, $db, 2);
	run_sql(sample(20, '12:00', cpu => 5), sample(20, '12:01', cpu => 99));
	flush_ok($node, $db);
	is(run_sql(qq{SELECT string_agg(event, ' ' ORDER BY seq) FROM alerting.delivery WHERE webhook_id = '$late'}), 'alert.firing',
		'9: no end without a beginning');
}

clean_log_ok($node);
$node->stop;
done_testing();

# Alerts that the evaluator hands over to the sender: each arrives as the table says, once, in order,
# by the webhook as it is now, and none of a transaction that was rolled back.
use strict;
use warnings FATAL => 'all';
use FindBin;
use JSON::PP qw(decode_json);
use lib $FindBin::RealBin;
use DeliveryTest;
use PostgreSQL::Test::Utils;
use Test::More;

# auto_explain tells which statements the sender has run.
my $node = new_node('handover', conf => [
	"shared_preload_libraries = 'auto_explain'", 'auto_explain.log_min_duration = 0',
	'auto_explain.log_nested_statements = on' ]);
my $receiver = start_receiver('handover');
my $readings = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A reading of container 10, later than the last one.
sub reading
{
	my ($cpu) = @_;
	++$readings;
	sql("INSERT INTO container_metrics VALUES (10, now() - interval '50 minutes' + $readings * interval '20 seconds', $cpu)");
	return;
}

sub flushed { return sql("SELECT alerting.flush('60s', deliveries => true)") eq 't'; }

sub requests_since
{
	my ($count, $path) = @_;
	my @requests = $receiver->requests($path);
	return @requests[ $count .. $#requests ];
}

sub count_since { my @requests = requests_since(@_); return scalar @requests; }

sub body { return decode_json($_[0]{raw}); }

sub types { return join ' ', map { body($_)->{type} =~ s/alert\.//r } @_; }

sql(<<'SQL');
CREATE TABLE container_metrics (container_id int, at timestamptz, cpu_percent float8);
SELECT alerting.attach_metrics('container_metrics', container => 'container_id', at => 'at', cpu => 'cpu_percent');
SELECT alerting.create_rule('1', 'cpu', 'CPU_USAGE', threshold => 90, duration => 0);
SQL
webhook($node, 'w', $receiver->url('/first'));

# --- without a look at the outbox --------------------------------------------------------------------
reading(99);
ok(flushed(), 'the sender knows the webhook');
is(types($receiver->requests('/first')), 'firing', 'its first delivery came');
my ($handed, $recorded);
for my $try (1 .. 20)
{
	my $offset = -s $node->logfile;
	my $count = () = $receiver->requests('/first');
	reading($try % 2 ? 5 : 99);
	ok(wait_until(sub { count_since($count, '/first') == 1 }), "try $try: arrives");
	# A look may be due by the clock, or by the one before.
	$handed = log_since($node, $offset) !~ /WITH RECURSIVE pending/;
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM alerting.delivery WHERE status = 'PENDING'");
	$recorded = log_since($node, $offset) !~ /SET attempts = /;
	last if $handed;
}
ok($handed, 'a known webhook is served without a look at the outbox');
ok($recorded, 'and recorded without a statement');
ok(flushed(), 'flushed');

# --- each once, a RESOLVED after its FIRING -----------------------------------------------------------
reading(5);
ok(flushed(), 'resolved');
my $before = () = $receiver->requests('/first');
reading($_ % 2 ? 99 : 5) for 1 .. 20;
ok(flushed(), 'all are sent');
my @requests = requests_since($before, '/first');
is(types(@requests), join(' ', ('firing resolved') x 10), 'in order');
my %ids = map { header($_, 'webhook-id') => 1 } @requests;
is(scalar keys %ids, 20, 'each once');
is(sql("SELECT count(*) FROM alerting.delivery d, jsonb_array_elements_text('["
		  . join(',', map { qq{"$_"} } sort keys %ids) . "]') AS k (id) WHERE d.id = k.id AND d.status = 'DELIVERED' AND d.attempts = 1"),
	20, 'and recorded');
is(join("\n", map { $_->{raw} } @requests),
	sql("SELECT payload FROM alerting.delivery ORDER BY seq DESC LIMIT 20") =~ s/\A(.*)\z/join "\n", reverse split m{\n}, $1/esr,
	'with the bodies of the table');

# --- many in one transaction, for two webhooks -------------------------------------------------------
webhook($node, 'second', $receiver->url('/second'));
sql('INSERT INTO containers SELECT n, 1, n::text FROM generate_series(100, 119) n');
for my $round (1 .. 2)
{
	my %had = map { $_ => scalar(() = $receiver->requests($_)) } '/first', '/second';
	sql("INSERT INTO container_metrics SELECT n, now() - interval '48 minutes' + interval '$round minutes' * 2, 99 FROM generate_series(100, 119) n");
	sql("INSERT INTO container_metrics SELECT n, now() - interval '47 minutes' + interval '$round minutes' * 2, 5 FROM generate_series(100, 119) n");
	ok(flushed(), "round $round: sent");
	for my $path ('/first', '/second')
	{
		my (%fired, %resolved, %seen);
		for my $request (requests_since($had{$path}, $path))
		{
			my $alert = body($request)->{data}{alert}{id};
			$seen{ header($request, 'webhook-id') }++;
			if (body($request)->{type} eq 'alert.firing') { $fired{$alert} = !$resolved{$alert}; }
			else { $resolved{$alert} = 1; }
		}
		is(scalar(grep { $_ } values %fired) . ' ' . scalar(keys %resolved) . ' ' . scalar(grep { $_ == 1 } values %seen),
			'20 20 40', "round $round, $path: all once, each RESOLVED after its FIRING");
	}
}
sql(q{DELETE FROM alerting.webhook WHERE id = 'second'});

# --- the webhook as it is now --------------------------------------------------------------------------
# Each change is followed at once by an alert.
sub after_change
{
	my ($change, $path) = @_;
	my $count = () = $receiver->requests($path);
	sql($change);
	reading(99);
	reading(5);
	ok(flushed(), "sent after: $change");
	return requests_since($count, $path);
}
is(types(after_change("UPDATE alerting.webhook SET url = '" . $receiver->url('/moved') . "'", '/moved')), 'firing resolved', 'to the new url');
my ($signed) = after_change("UPDATE alerting.webhook SET secret = 'a secret of some length, as random ones are'", '/moved');
is(header($signed, 'webhook-signature'), signature($signed, 'a secret of some length, as random ones are'), 'with the new secret');
my ($with) = after_change(q{UPDATE alerting.webhook SET headers = '{"X-Team": "storage"}'}, '/moved');
is(header($with, 'X-Team'), 'storage', 'with the new headers');
is(types(after_change('UPDATE alerting.webhook SET is_active = false', '/moved')), '', 'deactivated: nothing');
is(types(after_change('UPDATE alerting.webhook SET is_active = true', '/moved')), 'firing resolved', 'active again');
# No trigger runs, so that nobody is told.
is(types(after_change("SET session_replication_role = replica; UPDATE alerting.webhook SET url = '" . $receiver->url('/quietly') . "'", '/quietly')),
	'firing resolved', 'to the new url, although nobody told of it');
is(types(after_change("SET session_replication_role = replica; UPDATE alerting.webhook SET url = '" . $receiver->url('/moved') . "'", '/moved')),
	'firing resolved', 'and back');
sql(q{BEGIN; UPDATE alerting.webhook SET url = url || '?rolled=back'; ROLLBACK});
is(types(after_change('SELECT 1', '/moved')), 'firing resolved', 'a change that was rolled back is none');
# The delivery as it was written, by whatever users have put on the table.
sql(q{CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.payload := NEW.payload || '{"by": "trigger"}'; RETURN NEW; END $$});
is(join(' ', map { body($_)->{by} // 'nobody' } after_change('CREATE TRIGGER mark BEFORE INSERT ON alerting.delivery FOR EACH ROW EXECUTE FUNCTION mark()', '/moved')),
	'trigger trigger', 'with what a trigger has made of the payload');
sql('DROP TRIGGER mark ON alerting.delivery');
is(types(after_change(q{ALTER TABLE alerting.delivery ALTER status SET DEFAULT 'FAILED'}, '/moved')), '', 'given up by a default: nothing');
sql(q{ALTER TABLE alerting.delivery ALTER status SET DEFAULT 'PENDING'});
is(types(after_change('DELETE FROM alerting.webhook', '/moved')), '', 'deleted: nothing');

# --- a RESOLVED whose FIRING has failed ----------------------------------------------------------------
webhook($node, 'w', $receiver->url('/status/500,200,200'), retry_schedule => q{'{1 hour,1 hour}'});
reading(99);
ok($node->poll_query_until('postgres', q{SELECT attempts = 1 FROM alerting.delivery WHERE webhook_id = 'w'}), 'a FIRING has failed');
reading(5);
is(sql(q{SELECT alerting.flush('60s')}), 't', 'resolved meanwhile');
is(scalar(() = $receiver->requests('/status/500,200,200')), 1, 'its RESOLVED waits');
sql(q{UPDATE alerting.delivery SET next_attempt_at = now() WHERE status = 'PENDING'});
ok(flushed(), 'both are sent');
is(types($receiver->requests('/status/500,200,200')), 'firing firing resolved', 'in order');
is(header(($receiver->requests('/status/500,200,200'))[1], 'alerting-alert-status'), 'RESOLVED', 'the FIRING says that it is over');

# --- nothing of a transaction that was rolled back -----------------------------------------------------
# Fails at the very commit, when all has been handed over.
sql(q{UPDATE alerting.webhook SET url = '} . $receiver->url('/last') . q{'});
is(types(after_change('SELECT 1', '/last')), 'firing resolved', 'known');
sql(<<'SQL');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON alerting.delivery DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION refuse();
SQL
my $count = () = $receiver->requests('/last');
my $offset = -s $node->logfile;
reading(99);
ok($node->wait_for_log(qr/could not be written: not now/, $offset), 'the alert cannot be written');
# Wakes the sender, which finds what was handed over.
webhook($node, 'other', $receiver->url('/other'));
is(count_since($count, '/last'), 0, 'nothing is sent');
sql('DROP TRIGGER refuse ON alerting.delivery');
ok(wait_until(sub { count_since($count, '/last') == 1 }), 'written later, it is sent');
ok(flushed(), 'flushed');
is(count_since($count, '/last'), 1, 'once');

$receiver->stop;
done_testing();

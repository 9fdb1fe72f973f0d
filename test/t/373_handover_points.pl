# What is handed over to the sender before its transaction has ended: it is sent once that commits,
# never if it is rolled back, also when the sender that it was handed to is not there any more.
#
# Needs a library with freeze points (src/pg/freeze_point.h): test/run sanitize builds it.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'needs a library with freeze points; test/run sanitize builds one'
  unless $ENV{ALERTING_FREEZE_POINTS};

my $node = new_node('handover_points');
my $receiver = start_receiver('handover_points');
my $folder = $node->data_dir . '/alerting_freeze';
mkdir $folder;
my $minute = 0;
my $others = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub reading
{
	my ($cpu) = @_;
	++$minute;
	sql("INSERT INTO container_metrics VALUES (10, now() - interval '50 minutes' + interval '$minute minutes', $cpu)");
	return;
}

sub flushed { return sql("SELECT alerting.flush('60s', deliveries => true)") eq 't'; }

# Arms the point, does something, and waits until somebody stands there; gives the file to remove.
sub stop_at
{
	my ($point, $action) = @_;
	append_to_file("$folder/$point", '');
	$action->();
	my @taken;
	wait_until(sub { return @taken = glob "$folder/$point.*"; }) or die "nobody comes to $point";
	unlink "$folder/$point";
	return $taken[0];
}

# The sender does something else, and thereby meets what has been handed over.
sub busy_sender
{
	++$others;
	deliver($node, 'other');
	return wait_until(sub { my @requests = $receiver->requests('/other'); return @requests == $others; });
}

sub arrived { my @requests = $receiver->requests('/ok'); return scalar @requests; }

sub sender { return sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'alerting sender'"); }

sql(<<'SQL');
CREATE TABLE container_metrics (container_id int, at timestamptz, cpu_percent float8);
SELECT alerting.attach_metrics('container_metrics', container => 'container_id', at => 'at', cpu => 'cpu_percent');
SELECT alerting.create_rule('1', 'cpu', 'CPU_USAGE', threshold => 90, duration => 0);
INSERT INTO organizations VALUES (3, 'Others');
SQL
webhook($node, 'w', $receiver->url('/ok'));
sql(q{INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('other', 3, '} . $receiver->url('/other') . q{')});
reading(99);
reading(5);
ok(flushed() && busy_sender(), 'the sender knows the webhooks');
is(arrived(), 2, 'an alert came and went');

# --- it commits later ---------------------------------------------------------------------------------
my $file = stop_at('handed_over', sub { reading(99) });
ok(busy_sender(), 'committed later: the sender has seen it meanwhile');
is(arrived(), 2, 'committed later: nothing is sent before');
unlink $file;
ok(wait_until(sub { arrived() == 3 }), 'committed later: then it is sent');
ok(flushed(), 'committed later: flushed');
is(arrived(), 3, 'committed later: once');

# --- the sender finds it in the table before it finds it in the ring -----------------------------------
$file = stop_at('looking', sub { deliver($node, 'other') });
reading(5);
is(sql(q{SELECT alerting.flush('60s')}), 't', 'found in the table: committed behind the sender\'s back');
unlink $file;
++$others;
ok(flushed() && busy_sender(), 'found in the table: flushed');
is(arrived(), 4, 'found in the table: once');

# --- it is rolled back ---------------------------------------------------------------------------------
sql(<<'SQL');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON alerting.delivery DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (NEW.webhook_id = 'w') EXECUTE FUNCTION refuse();
SQL
my $offset = -s $node->logfile;
$file = stop_at('handed_over', sub { reading(99) });
ok(busy_sender(), 'rolled back: the sender has seen it meanwhile');
unlink $file;
ok($node->wait_for_log(qr/could not be written: not now/, $offset), 'rolled back: it is');
ok(busy_sender(), 'rolled back: the sender has looked at it again');
is(arrived(), 4, 'rolled back: nothing is sent');
sql('DROP TRIGGER refuse ON alerting.delivery');
ok(wait_until(sub { arrived() == 5 }), 'rolled back: written later, it is sent');
ok(flushed(), 'rolled back: flushed');
is(arrived(), 5, 'rolled back: once');

# --- the sender that it was handed to is gone when it commits ------------------------------------------
$file = stop_at('handed_over', sub { reading(5) });
ok(busy_sender(), 'another sender: the first one has seen it');
my $first = sender();
sql("SELECT pg_terminate_backend($first)");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'alerting sender' AND pid <> $first"),
	'another sender: is there');
ok(busy_sender(), 'another sender: has looked at the table');
is(arrived(), 5, 'another sender: nothing is sent before');
unlink $file;
ok(wait_until(sub { arrived() == 6 }), 'another sender: finds it once it is committed');
ok(flushed(), 'another sender: flushed');
is(arrived(), 6, 'another sender: once');

# --- it goes while it holds what is committed ----------------------------------------------------------
$file = stop_at('handed_drained', sub { reading(99) });
$first = sender();
sql("SELECT pg_terminate_backend($first)");
unlink $file;
ok(wait_until(sub { arrived() >= 7 }), 'a sender that goes: the next one sends it');
ok(flushed(), 'a sender that goes: flushed');
my %ids = map { header($_, 'webhook-id') => 1 } $receiver->requests('/ok');
is(scalar keys %ids, 7, 'a sender that goes: with the same id');

$receiver->stop;
$node->stop;
done_testing();

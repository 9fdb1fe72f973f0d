# Growing past one server: the statements of examples/logical-replication/README.md as they stand, with two
# publishers, row filters, one node that alerts, and its standby that takes its place.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest ();
use OperationsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $receiver = AlertingTest::start_receiver('scale_out');
my %node;
for my $name (qw(east west))
{
	$node{$name} = PostgreSQL::Test::Cluster->new($name);
	$node{$name}->init(allows_streaming => 'logical');
	$node{$name}->start;
}
$node{alerts} = new_server('alerts', preload => 1, init => { allows_streaming => 'logical' },
	conf => "alerting.allowed_networks = '127.0.0.0/8'\nwal_retrieve_retry_interval = 100ms\n");

my @blocks = slurp_file('examples/logical-replication/README.md') =~ /^```sql (.*?)\n(.*?)^```/msg;
is(scalar(@blocks), 22, 'the page has eleven blocks');

# Runs the next blocks, up to one that matches; names of servers become theirs.
sub run_blocks
{
	my ($last) = @_;
	while (my ($names, $block) = splice @blocks, 0, 2)
	{
		for my $name (split / /, $names)
		{
			my $text = $block =~ s{'host=(\w+) dbname=postgres'}{"'" . $node{$1}->connstr('postgres') =~ s/'/''/gr . "'"}ger
			  =~ s{https://example\.com/alerts}{$receiver->url}er;
			my ($stdout, $stderr);
			is($node{$name}->psql('postgres', $text, stdout => \$stdout, stderr => \$stderr, on_error_stop => 1), 0,
				"$name: " . ($text =~ /^(.*)$/m)[0]) or diag($stderr);
		}
		return if $block =~ $last;
	}
	return;
}

sub caught_up
{
	my ($to) = @_;
	$node{$_}->wait_for_catchup($_) for qw(east west);
	flush($node{$to}, 'postgres', deliveries => 1, name => "$to: evaluated and delivered");
	return;
}
my $active = "SELECT string_agg(container_name || ' of ' || organization_id || ' ' || value, ', ' ORDER BY container_id)"
  . ' FROM alerting.active_alert';

run_blocks(qr/CREATE EXTENSION/);
$node{alerts}->wait_for_subscription_sync($node{$_}, $_) for qw(east west);
run_blocks(qr/create_webhook/);
flush($node{alerts}, 'postgres');
$node{alerts}->backup('base');
$node{standby} = PostgreSQL::Test::Cluster->new('standby');
$node{standby}->init_from_backup($node{alerts}, 'base', has_streaming => 1);
$node{standby}->start;
run_blocks(qr/'w1'/);
caught_up('alerts');
is(sql($node{alerts}, 'postgres', $active), 'web of acme 97, web of globex 95', 'rows of both publishers are judged');
is(sql($node{alerts}, 'postgres', "SELECT count(*) FROM container_metrics WHERE organization_id = 'secret'"), 0, 'what is filtered does not come');

# A container is deleted on a publisher, one moves out of what the filter lets pass.
sql($node{east}, 'postgres', "INSERT INTO container_metrics VALUES ('e2', 'acme', now(), 99)");
caught_up('alerts');
sql($node{east}, 'postgres', "DELETE FROM container_metrics WHERE container_id = 'e2'; DELETE FROM containers WHERE id = 'e2';"
	  . " UPDATE containers SET organization_id = 'secret' WHERE id = 'e1'");
caught_up('alerts');
is(sql($node{alerts}, 'postgres', $active), 'web of globex 95', 'their alerts end');
is(join(' ', sort map { $_->{json}{type} } $receiver->requests), 'alert.firing ' x 3 . 'alert.resolved alert.resolved', 'which is told');

# The node dies; the publishers go on.
$node{alerts}->wait_for_catchup($node{standby});
$node{alerts}->stop('immediate');
sql($node{west}, 'postgres', "INSERT INTO container_metrics VALUES ('w1', 'globex', now(), 7), ('w2', 'globex', now(), 96)");
run_blocks(qr/pg_promote/);
ok($node{standby}->poll_query_until('postgres', "SELECT state = 'running' FROM alerting.status()"), 'the promoted standby runs');
caught_up('standby');
is(sql($node{standby}, 'postgres', $active), 'db of globex 96', 'and judges what the publishers bring');
my %seen;
$seen{"$_->{json}{type} $_->{json}{data}{container}{id}"}++ for $receiver->requests;
is(join(', ', map { "$_ $seen{$_}" } sort keys %seen),
	'alert.firing e1 1, alert.firing e2 1, alert.firing w1 1, alert.firing w2 1, alert.resolved e1 1, alert.resolved e2 1, alert.resolved w1 1',
	'each event was sent once');
is(scalar(@blocks), 0, 'all of the page was run');
$_->stop('fast') for @node{qw(standby east west)};
done_testing();

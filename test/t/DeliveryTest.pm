# What the tests of delivery share: a server that may send to loopback, a host with two
# organizations, receivers, and hand-made deliveries. Everything waits for an event, never for time.
package DeliveryTest;

use strict;
use warnings FATAL => 'all';
use Digest::SHA qw(hmac_sha256_base64);
use Encode qw(encode);
use Exporter 'import';
use FindBin;
use MIME::Base64 qw(decode_base64);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReceiverTest;
use Test::More;
use WaitTest;

our @EXPORT = qw(new_node webhook deliver settled wait_settled log_since start_receiver signature
  header wait_until preloaded);

my $host = <<'SQL';
SET client_min_messages = warning;
CREATE TABLE organizations (id int PRIMARY KEY, name text);
CREATE TABLE containers (id int PRIMARY KEY,
  organization_id int NOT NULL REFERENCES organizations ON DELETE CASCADE, name text);
INSERT INTO organizations VALUES (1, 'Initech'), (2, 'Hooli');
INSERT INTO containers VALUES (10, 1, 'web');
CREATE EXTENSION alerting;
SQL

# A started server whose database postgres is attached. allowed => '': nothing but public networks.
sub new_node
{
	my ($name, %options) = @_;
	my $allowed = $options{allowed} // '127.0.0.0/8,::1/128';
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	$node->append_conf('postgresql.conf', join "\n", 'timezone = UTC', 'log_statement = none',
		"alerting.allowed_networks = '$allowed'", @{ $options{conf} // [] });
	$node->start;
	$node->safe_psql('postgres', $host);
	return $node;
}

# Makes a webhook: id, url, and further columns as SQL literals.
sub webhook
{
	my ($node, $id, $url, %columns) = @_;
	my @names = sort keys %columns;
	$node->safe_psql('postgres',
		'INSERT INTO alerting.webhook (' . join(', ', 'id', 'organization_id', 'url', @names)
		  . ") VALUES ('$id', 1, '$url'" . join('', map { ", $columns{$_}" } @names) . ')');
	return $id;
}

# The library of test/preloaded, compiled into the folder, for LD_PRELOAD; skips the test where it can't be.
sub preloaded
{
	my ($name, $folder) = @_;
	plan skip_all => 'the server has a library preloaded' if $ENV{LD_PRELOAD};
	my $library = "$folder/$name.so";
	plan skip_all => 'no C compiler'
	  if system('cc', '-shared', '-fPIC', '-O1', '-o', $library, "$FindBin::RealBin/../preloaded/$name.c") != 0;
	return $library;
}

# Puts deliveries into a webhook's outbox. count, event, alert (id), payload (SQL).
sub deliver
{
	my ($node, $webhook, %options) = @_;
	my $count = $options{count} // 1;
	my $event = $options{event} // 'alert.firing';
	my $alert = defined $options{alert} ? "'$options{alert}'" : 'NULL';
	my $payload = $options{payload} // qq{jsonb_build_object('type', '$event', 'data', jsonb_build_object('n', n))};
	return $node->safe_psql('postgres',
		"INSERT INTO alerting.delivery (webhook_id, alert_id, event, payload)
		 SELECT '$webhook', $alert, '$event', $payload FROM generate_series(1, $count) n RETURNING id");
}

# "status attempts last_status last_error" of each delivery of a webhook, oldest first.
sub settled
{
	my ($node, $webhook) = @_;
	return $node->safe_psql('postgres',
		"SELECT concat_ws(' ', status, attempts, last_status, last_error) FROM alerting.delivery
		  WHERE webhook_id = '$webhook' ORDER BY seq");
}

# Waits until no delivery of the webhook is pending any more; gives settled().
sub wait_settled
{
	my ($node, $webhook) = @_;
	$node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM alerting.delivery WHERE webhook_id = '$webhook' AND status = 'PENDING'")
	  or diag("deliveries of $webhook stay pending:\n" . settled($node, $webhook));
	return settled($node, $webhook);
}

sub log_since
{
	my ($node, $offset) = @_;
	return substr(slurp_file($node->logfile), $offset // 0);
}

# What webhook-signature should be for a request, by Perl's own HMAC; $key is bytes.
sub signature
{
	my ($request, $key) = @_;
	my $signed = join '.', header($request, 'webhook-id'), header($request, 'webhook-timestamp'), $request->{raw};
	my $digest = hmac_sha256_base64($signed, $key);
	$digest .= '=' while length($digest) % 4;
	return "v1,$digest";
}

sub header
{
	my ($request, $name) = @_;
	my ($found) = grep { lc $_->[0] eq lc $name } @{ $request->{headers} };
	return $found ? $found->[1] : undef;
}

1;

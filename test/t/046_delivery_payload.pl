# What is in a webhook, from the metric row to the wire: strange names, other encodings; and who is
# told what of an incident that he joined late: field case 19 and the order of events.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use MIME::Base64 ();
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('payload', conf => [ "alerting.delivery_timeout = '60s'", 'max_worker_processes = 16' ]);
my $receiver = start_receiver('payload');

sub flush_ok
{
	my ($database) = @_;
	is($node->safe_psql($database, q{SELECT alerting.flush('60s', deliveries => true)}), 't', "$database: flushed");
	return;
}

sub events
{
	my ($path) = @_;
	return map { JSON::PP::decode_json($_->{raw}) } $receiver->requests($path);
}

# --- names -------------------------------------------------------------------------------------------------
$node->safe_psql('postgres', q{
	CREATE TABLE container_metrics (container_id int, at timestamptz, cpu_percent float8);
	SELECT alerting.attach_metrics('container_metrics', max_age => NULL);
	UPDATE organizations SET name = E'\\\\ " \u2028 </script> \U0001F6A8' WHERE id = 1;
	INSERT INTO containers VALUES (20, 2, repeat('ä"\\', 262144)), (11, 1, E'line\nbreak\ttab\u0001'), (12, 1, NULL), (13, 1, ''), (14, 1, '''; drop table --');
	SELECT alerting.create_rule(1, E'Größe "80 %"\n\\\\', 'CPU_USAGE', 80), alerting.create_rule(2, 'cpu', 'CPU_USAGE', 80)});
my $large = start_receiver('large');
$node->safe_psql('postgres', q{SELECT alerting.create_webhook(2, '} . $large->url('/large') . q{')});
webhook($node, 'names', $receiver->url('/names'), secret => "'key'");
$node->safe_psql('postgres', q{INSERT INTO container_metrics SELECT i, '2026-03-02 10:00Z', 97.25 FROM unnest(ARRAY[11, 12, 13, 14, 20]) i});
flush_ok('postgres');
my %by_id = map { $_->{data}{container}{id} => $_ } events('/names');
is(join(' ', sort keys %by_id), '11 12 13 14', 'all arrive');
# (Read without decoding the receiver's log as JSON, which takes a while.)
my ($bytes) = map { MIME::Base64::decode_base64($_) } slurp_file($large->{log}) =~ /"body_base64": "([^"]*)"/;
isnt(index($bytes, '"name": "' . ("\xc3\xa4\\\"\\\\" x 262_144) . '"'), -1, 'a name of a megabyte');
is($by_id{11}{data}{container}{name}, "line\nbreak\ttab\x{1}", 'line breaks and control characters');
is($by_id{11}{data}{summary}, "line\nbreak\ttab\x{1}: CPU usage 97.3 % is above 80 %", 'in the summary, too');
is($by_id{12}{data}{container}{name}, undef, 'no name');
is($by_id{12}{data}{summary}, '12: CPU usage 97.3 % is above 80 %', 'the id stands for it');
is($by_id{14}{data}{container}{name}, q{'; drop table --}, 'quotes');
is($by_id{14}{data}{organization}{name}, "\\ \" \x{2028} </script> \x{1f6a8}", 'an organization');
is($by_id{14}{data}{rule}{name}, "Gr\x{f6}\x{df}e \"80 %\"\n\\", 'a rule');
is(header($_, 'webhook-signature'), signature($_, 'key'), 'the signature is over the bytes that came') for $receiver->requests('/names');

# One alert's names are looked up in another way than those of several organizations.
$node->safe_psql('postgres', q{UPDATE organizations SET name = NULL;
	INSERT INTO containers VALUES (16, 1, NULL), (17, 1, 'x'), (21, 2, 'y'); SELECT alerting.create_webhook(2, '} . $receiver->url('/nameless') . q{');
	INSERT INTO container_metrics VALUES (16, '2026-03-02 10:00Z', 97)});
flush_ok('postgres');
$node->safe_psql('postgres', q{INSERT INTO container_metrics SELECT i, '2026-03-02 10:00Z', 97 FROM unnest(ARRAY[17, 21]) i});
flush_ok('postgres');
for my $event ((grep { $_->{data}{container}{id} =~ /^1[67]$/ } events('/names')), events('/nameless'))
{
	ok(exists $event->{data}{organization}{name} && !defined $event->{data}{organization}{name}, "$event->{data}{container}{id}: no name of the organization");
}
my ($out, $err);
$node->psql('postgres', q{INSERT INTO alerting.delivery (webhook_id, event, payload) VALUES ('names', 'ping', '{"name": "\ud83d"}')}, stderr => \$err);
like($err, qr/Unicode (?:low|high) surrogate/, 'a lone surrogate is refused where it is written');

# --- any document ------------------------------------------------------------------------------------------------
# What is sent are the bytes of payload::text. Texts with something to escape at each place of a word of eight bytes, and
# with what looks like it.
webhook($node, 'documents', $receiver->url('/documents'));
$node->safe_psql('postgres', q{INSERT INTO alerting.delivery (webhook_id, event, payload)
	SELECT 'documents', 'ping', document FROM unnest(ARRAY['{}', '[]', '""', '"\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u007f\\u00a2/"', 'null', 'true', 'false', '-0.0', '1.50',
		'123456789012345678901234567890.1234567890', '1e300', '[[], {}, [null, [true, {"": ""}], -1], "x", {"a": {"b": [1, {"c": []}]}}]',
		'{"a": 1, "bb": [2, 3], "\\"\\n": {"\\\\": false}, "ä": null, "c": {}, "d": []}']::jsonb[]) AS document
	UNION ALL SELECT 'documents', 'ping', jsonb_object_agg(repeat('k', n) || chr(c) || repeat('ä', m), repeat('v', m) || chr(c) || repeat('w', n))
		FROM generate_series(0, 9) n, generate_series(0, 3) m, unnest(ARRAY[1, 8, 9, 10, 12, 13, 31, 32, 33, 34, 35, 91, 92, 93, 127, 128, 160, 162, 220, 8218, 128308]) c GROUP BY n
	UNION ALL SELECT 'documents', 'ping', (repeat('[', 1000) || repeat(']', 1000))::jsonb});
flush_ok('postgres');
is_deeply([ sort map { $_->{raw} } $receiver->requests('/documents') ],
	[ sort split /\n/, $node->safe_psql('postgres', q{SELECT payload FROM alerting.delivery WHERE webhook_id = 'documents'}) ], 'the bytes of payload::text');

# --- who hears what ----------------------------------------------------------------------------------------------
webhook($node, 'asleep', $receiver->url('/asleep'), is_active => 'false');
webhook($node, 'before', $receiver->url('/before'));
$node->safe_psql('postgres', q{INSERT INTO containers VALUES (15, 1, 'incident'); INSERT INTO container_metrics VALUES (15, '2026-03-02 10:00Z', 99)});
flush_ok('postgres');
webhook($node, 'during', $receiver->url('/during'));
$node->safe_psql('postgres', q{UPDATE alerting.webhook SET is_active = true WHERE id = 'asleep'; UPDATE alerting.webhook SET is_active = false WHERE id = 'before';
	INSERT INTO container_metrics VALUES (15, '2026-03-02 10:01Z', 1)});
flush_ok('postgres');
is(join(' ', map { $_->{type} } events('/before')), 'alert.firing', 'switched off, a webhook is sent nothing');
$node->safe_psql('postgres', q{UPDATE alerting.webhook SET is_active = true WHERE id = 'before'});
flush_ok('postgres');
is(join(' ', map { $_->{type} } events('/before')), 'alert.firing alert.resolved', 'on again, it hears the end of what it knows');
is(scalar $receiver->requests('/during'), 0, 'one made during an incident hears nothing of it');
is(scalar $receiver->requests('/asleep'), 0, 'nor one switched on during it');

# --- other encodings ------------------------------------------------------------------------------------------
for my $case ([ 'LATIN1', '\xe4', "\x{e4}" ], [ 'EUC_JP', '\xc6fccbdc', "\x{65e5}\x{672c}" ], [ 'SQL_ASCII', '\xe4ff', undef ])
{
	my ($encoding, $bytes, $sent) = @$case;
	my $database = lc $encoding;
	$node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	my $url = $receiver->url("/$database");
	my $name = "convert_from('$bytes'::bytea, '$encoding')";
	$node->safe_psql($database, qq{SET client_min_messages = warning;
		CREATE TABLE organizations (id int PRIMARY KEY, name text);
		CREATE TABLE containers (id int PRIMARY KEY, organization_id int NOT NULL REFERENCES organizations, name text);
		CREATE TABLE container_metrics (container_id int, at timestamptz, cpu_percent float8);
		INSERT INTO organizations VALUES (1, 'one'); INSERT INTO containers VALUES (1, 1, $name), (2, 1, 'plain');
		CREATE EXTENSION alerting;
		SELECT alerting.create_rule(1, 'cpu', 'CPU_USAGE', 80);
		INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('w', 1, '$url');
		INSERT INTO container_metrics VALUES (1, now(), 90), (2, now(), 90)});
	flush_ok($database);
	my @names = sort map { $_->{data}{container}{name} } events("/$database");
	is_deeply(\@names, [ 'plain', $sent // () ], "$database: names are sent in UTF-8");
	is($node->safe_psql($database, q{SELECT string_agg(concat_ws(' ', status, last_error), ', ' ORDER BY status, last_error) FROM alerting.delivery}),
		defined $sent ? 'DELIVERED, DELIVERED' : 'DELIVERED, FAILED payload has no UTF-8 form', "$database: or a clear error");
}

$_->stop for $receiver, $large;
$node->stop('fast');
done_testing();

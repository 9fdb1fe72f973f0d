# What each answer of an endpoint means, what a request looks like, and order: field cases 17, 18,
# 19 and 21.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use Encode qw(encode);
use MIME::Base64 qw(decode_base64);
use Test::More;

my $node = new_node('answers', conf => ["alerting.delivery_timeout = '60s'"]);
my $receiver = start_receiver('answers');
my $quick = "'{50 milliseconds,50 milliseconds,50 milliseconds}'";

# --- what a request looks like ---------------------------------------------------------------------
my $key = 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
webhook($node, 'text', $receiver->url('/signed/text'), secret => "'schlüssel 🔑'");
webhook($node, 'base64', $receiver->url('/signed/base64'), secret => "'whsec_$key'");
webhook($node, 'unpadded', $receiver->url('/signed/unpadded'), secret => "'whsec_c2VjcmV0'");
webhook($node, 'unsigned', $receiver->url('/signed/none?a=b'));
my $name = q{jsonb_build_object('name', E'Größe "80 %" \\\\ 🚨\n\u2028', 'container', '''; drop table --', 'n', n)};
deliver($node, $_, payload => $name) for qw(text base64 unpadded unsigned);
wait_settled($node, $_) for qw(text base64 unpadded unsigned);

my ($text) = $receiver->requests('/signed/text');
is(DeliveryTest::header($text, 'webhook-signature'), signature($text, encode('UTF-8', "schl\x{fc}ssel \x{1f511}")),
	'a secret of any text signs with its UTF-8 bytes');
my ($base64) = $receiver->requests('/signed/base64');
is(header($base64, 'webhook-signature'), signature($base64, decode_base64($key)), 'a whsec_ secret is decoded');
my ($unpadded) = $receiver->requests('/signed/unpadded');
is(header($unpadded, 'webhook-signature'), signature($unpadded, 'secret'), 'whsec_ without padding');
my ($unsigned) = $receiver->requests('/signed/none?a=b');
is(header($unsigned, 'webhook-signature'), undef, 'no secret, no signature');
is($unsigned->{method}, 'POST', 'POST');
is(header($unsigned, 'content-type'), 'application/json', 'content type');
is(header($unsigned, 'content-length'), length $unsigned->{raw}, 'length in bytes');
is(header($unsigned, 'user-agent'), 'alerting/1.1', 'user agent');
is(header($unsigned, 'expect'), undef, 'no Expect');
like(header($unsigned, 'webhook-id'), qr/^c[0-9a-z]{24}$/, 'id');
cmp_ok(abs(header($unsigned, 'webhook-timestamp') - $unsigned->{at}), '<', 60, 'timestamp in seconds');
my $json = JSON::PP::decode_json($unsigned->{raw});
is($json->{name}, "Gr\x{f6}\x{df}e \"80 %\" \\ \x{1f6a8}\n\x{2028}", 'the body is JSON in UTF-8');

# --- replacing a secret ----------------------------------------------------------------------------
my $new = $node->safe_psql('postgres', 'SELECT alerting.generate_secret()');
like($new, qr/^whsec_[A-Za-z0-9+\/]{43}=$/, 'a new secret');
isnt($new, $node->safe_psql('postgres', 'SELECT alerting.generate_secret()'), 'is new each time');
webhook($node, 'rotating', $receiver->url('/rotating'), secret => "'$new whsec_$key'");
deliver($node, 'rotating');
wait_settled($node, 'rotating');
my ($rotating) = $receiver->requests('/rotating');
is(header($rotating, 'webhook-signature'),
	join(' ', map { signature($rotating, decode_base64($_)) } $new =~ s/^whsec_//r, $key), 'two live secrets, two signatures');
my $refused = $node->psql('postgres', "UPDATE alerting.webhook SET secret = '$new other' WHERE id = 'rotating'");
isnt($refused, 0, 'several secrets are all whsec_ ones');

# --- answers --------------------------------------------------------------------------------------
my %expected = (
	'/status/500,503,200' => 'DELIVERED 3 200',
	'/status/204' => 'DELIVERED 1 204',
	'/status/299' => 'DELIVERED 1 299',
	'/status/400' => 'FAILED 4 400 HTTP 400',
	'/status/404' => 'FAILED 4 404 HTTP 404',
	'/status/408,429,200' => 'DELIVERED 3 200',
	'/status/500' => 'FAILED 4 500 HTTP 500',
	'/redirect/301' => 'FAILED 4 301 HTTP 301 (redirects are not followed)',
	'/redirect/302' => 'FAILED 4 302 HTTP 302 (redirects are not followed)',
	'/redirect/307?to=http://169.254.169.254/' => 'FAILED 4 307 HTTP 307 (redirects are not followed)',
	'/redirect/308' => 'FAILED 4 308 HTTP 308 (redirects are not followed)',
	'/gone' => 'FAILED 1 410 HTTP 410',
	'/reset' => 'FAILED 4 receiving failed: connection reset by the endpoint',
	'/close' => 'FAILED 4 endpoint closed the connection without a response',
	'/garbage' => 'FAILED 4 response is not HTTP',
	'/binary' => 'FAILED 4 500 HTTP 500');
my %id_of = map { $_ => "answer-" . ($_ =~ tr{/,?:=.}{-}r) } keys %expected;
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN alerting');
webhook($node, $id_of{$_}, $receiver->url($_), retry_schedule => $quick) for sort keys %expected;
deliver($node, $id_of{$_}) for sort keys %expected;
is(wait_settled($node, $id_of{$_}), $expected{$_}, $_) for sort keys %expected;

my @retried = $receiver->requests('/status/500,503,200');
is(scalar @retried, 3, 'three requests');
is(scalar(keys %{ { map { header($_, 'webhook-id') => 1 } @retried } }), 1, 'one id over all retries');
is(scalar(keys %{ { map { $_->{raw} => 1 } @retried } }), 1, 'one body over all retries');
is(scalar $receiver->requests('/redirected'), 0, 'no redirect was followed');

is($node->safe_psql('postgres', "SELECT is_active, disabled_reason FROM alerting.webhook WHERE id = '$id_of{'/gone'}'"),
	'f|endpoint answered 410 Gone', '410 switches the webhook off');
# Who notifies has committed before those who listen are told.
my $told;
wait_until(sub { ($told) = $listener->query('SELECT 1') =~ /(\{.*webhook\.disabled.*\})/ });
is_deeply(JSON::PP::decode_json($told // '{}'), { event => 'webhook.disabled', webhookId => $id_of{'/gone'}, reason => 'endpoint answered 410 Gone' },
	'and tells whoever listens');
$listener->quit;
deliver($node, $id_of{'/gone'});
webhook($node, 'after-gone', $receiver->url('/after-gone'));
deliver($node, 'after-gone');
wait_settled($node, 'after-gone');
is(settled($node, $id_of{'/gone'}), "FAILED 1 410 HTTP 410\nPENDING 0", 'what comes later waits');

# --- the log of attempts --------------------------------------------------------------------------
is($node->safe_psql('postgres', "SELECT string_agg(concat_ws(' ', a.status_code, a.error, a.duration_ms >= 0, a.response), E'\\n' ORDER BY a.at)
	 FROM alerting.delivery_attempt a JOIN alerting.delivery d ON d.id = a.delivery_id WHERE d.webhook_id = '$id_of{'/status/500,503,200'}'"),
	qq{500 HTTP 500 t {"status": 500}\n503 HTTP 503 t {"status": 503}\n200 t {"status": 200}}, 'every attempt is kept');
is($node->safe_psql('postgres', "SELECT bool_and(octet_length(a.response) <= 4 * 1024 AND a.response LIKE '%ABC%')
	 FROM alerting.delivery_attempt a JOIN alerting.delivery d ON d.id = a.delivery_id WHERE d.webhook_id = '$id_of{'/binary'}'"),
	't', 'a response of arbitrary bytes is kept as text');

# --- Retry-After -----------------------------------------------------------------------------------
webhook($node, 'after-seconds', $receiver->url('/retry-after/2'), retry_schedule => $quick);
webhook($node, 'after-date', $receiver->url('/retry-after/date1/503'), retry_schedule => $quick);
deliver($node, $_) for qw(after-seconds after-date);
is(wait_settled($node, 'after-seconds'), 'DELIVERED 2 200', 'Retry-After in seconds');
is(wait_settled($node, 'after-date'), 'DELIVERED 2 200', 'Retry-After as a date');
my @seconds = $receiver->requests('/retry-after/2');
cmp_ok($seconds[1]{at} - $seconds[0]{at}, '>=', 2, 'not sooner than asked');
my @date = $receiver->requests('/retry-after/date1/503');
cmp_ok($date[1]{at} - $date[0]{at}, '>=', 1, 'not sooner than the date');

webhook($node, 'after-nothing', $receiver->url('/retry-after/0/503'), retry_schedule => "'{1 hour}'");
deliver($node, 'after-nothing');
ok($node->poll_query_until('postgres', q{SELECT attempts = 1 FROM alerting.delivery WHERE webhook_id = 'after-nothing'}), 'a failure');
is($node->safe_psql('postgres', q{SELECT next_attempt_at > now() + interval '10 minutes' FROM alerting.delivery WHERE webhook_id = 'after-nothing'}),
	't', 'Retry-After shortens no pause');
$node->safe_psql('postgres', q{DELETE FROM alerting.webhook WHERE id = 'after-nothing'});

# As many attempts as the column holds, by somebody's hand.
webhook($node, 'often', $receiver->url('/ok'));
webhook($node, 'often-failing', $receiver->url('/status/500/often'));
$node->safe_psql('postgres', q{INSERT INTO alerting.delivery (webhook_id, event, payload, attempts)
	SELECT w, 'alert.firing', '{}', 2147483647 FROM unnest(ARRAY['often', 'often-failing']) w});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM alerting.delivery WHERE webhook_id LIKE 'often%' AND status = 'PENDING'}), 'no attempts are left to count');
is($node->safe_psql('postgres', q{SELECT string_agg(status || ' ' || attempts, ', ' ORDER BY webhook_id) FROM alerting.delivery WHERE webhook_id LIKE 'often%'}),
	'DELIVERED 2147483647, FAILED 2147483647', 'which keeps nothing from its end');
$node->safe_psql('postgres', q{DELETE FROM alerting.webhook WHERE id LIKE 'often%'});

# --- order: RESOLVED never overtakes its FIRING ---------------------------------------------------------
webhook($node, 'order', $receiver->url('/status/500,500,200'), retry_schedule => "'{300 milliseconds,300 milliseconds}'");
deliver($node, 'order', alert => 'a1');
deliver($node, 'order', alert => 'a1', event => 'alert.resolved');
deliver($node, 'order', alert => 'a2');
wait_settled($node, 'order');
my ($resolved) = $node->safe_psql('postgres', "SELECT a.at > f.delivered_at FROM alerting.delivery d
	  JOIN alerting.delivery_attempt a ON a.delivery_id = d.id
	  JOIN alerting.delivery f ON f.alert_id = 'a1' AND f.event = 'alert.firing' AND f.webhook_id = 'order'
	 WHERE d.alert_id = 'a1' AND d.event = 'alert.resolved' AND d.webhook_id = 'order' ORDER BY a.at LIMIT 1");
is($resolved, 't', 'RESOLVED was first tried after its FIRING had arrived');

webhook($node, 'parked-firing', $receiver->url('/status/500,200'), retry_schedule => "'{}'");
deliver($node, 'parked-firing', alert => 'b1');
deliver($node, 'parked-firing', alert => 'b1', event => 'alert.resolved');
is(wait_settled($node, 'parked-firing'), "FAILED 1 500 HTTP 500\nDELIVERED 1 200", 'a RESOLVED goes after a parked FIRING');

# --- inactive webhooks, redelivery ----------------------------------------------------------------------
webhook($node, 'asleep', $receiver->url('/asleep'), is_active => 'false');
deliver($node, 'asleep', count => 2);
is($node->safe_psql('postgres', "SELECT alerting.flush('60s', deliveries => true)"), 't', 'flush does not wait for what is switched off');
is(settled($node, 'asleep'), "PENDING 0\nPENDING 0", 'deliveries of an inactive webhook wait');
$node->safe_psql('postgres', "UPDATE alerting.webhook SET is_active = true WHERE id = 'asleep'");
is(wait_settled($node, 'asleep'), "DELIVERED 1 200\nDELIVERED 1 200", 'and go when it is switched on');

my $failed = $node->safe_psql('postgres', "SELECT id FROM alerting.delivery WHERE webhook_id = 'parked-firing' AND status = 'FAILED'");
$node->safe_psql('postgres', "SELECT alerting.redeliver('$failed')");
is(wait_settled($node, 'parked-firing'), "DELIVERED 1 200\nDELIVERED 1 200", 'a parked delivery is sent again');
my ($out, $err);
$node->psql('postgres', q{SELECT alerting.redeliver('nobody')}, stderr => \$err);
like($err, qr/delivery "nobody" does not exist/, 'redeliver of an unknown id');

# --- test_webhook ------------------------------------------------------------------------------------
is($node->safe_psql('postgres', "SELECT delivered, status_code, error, duration_ms >= 0, response FROM alerting.test_webhook('text')"),
	't|200||t|{}', 'test_webhook shows the answer');
my ($ping) = grep { header($_, 'webhook-id') ne header($text, 'webhook-id') } $receiver->requests('/signed/text');
is(header($ping, 'webhook-signature'), signature($ping, encode('UTF-8', "schl\x{fc}ssel \x{1f511}")), 'the ping is signed');
is(JSON::PP::decode_json($ping->{raw})->{type}, 'ping', 'and a ping');
is($node->safe_psql('postgres', "SELECT d.event, d.status, d.attempts, a.status_code FROM alerting.delivery d
	JOIN alerting.delivery_attempt a ON a.delivery_id = d.id WHERE d.id = '" . header($ping, 'webhook-id') . "'"),
	'ping|DELIVERED|1|200', 'and in the delivery log');
is($node->safe_psql('postgres', "SELECT delivered, status_code, error FROM alerting.test_webhook('$id_of{'/status/500'}')"),
	'f|500|HTTP 500', 'a failing one shows why');
# What could not be written down afterwards is refused before anything is sent.
webhook($node, 'unsent', $receiver->url('/unsent'));
$node->psql('postgres', q{BEGIN READ ONLY; SELECT alerting.test_webhook('unsent')}, stderr => \$err);
like($err, qr/cannot execute alerting\.test_webhook\(\) in a read-only transaction/, 'test_webhook in a read-only transaction');
is(scalar $receiver->requests('/unsent'), 0, 'sends nothing');
webhook($node, 'hang', $receiver->url('/hang'));
$node->append_conf('postgresql.conf', "alerting.delivery_timeout = '500ms'\n");
$node->reload;
$node->poll_query_until('postgres', q{SELECT alerting.cuid() <> '' AND current_setting('alerting.delivery_timeout') = '500ms'});
is($node->safe_psql('postgres', "SELECT delivered, error ~ '^timeout after [0-9]+ ms waiting for a response' FROM alerting.test_webhook('hang')"),
	'f|t', 'a hanging one ends by the timeout');
$node->psql('postgres', q{SET statement_timeout = '100ms'; SELECT alerting.test_webhook('hang')}, stderr => \$err);
like($err, qr/canceling statement due to statement timeout/, 'test_webhook can be cancelled');
$node->psql('postgres', q{SELECT alerting.test_webhook('nobody')}, stderr => \$err);
like($err, qr/webhook "nobody" does not exist/, 'test_webhook of an unknown id');

$receiver->stop;
$node->stop('fast');
done_testing();

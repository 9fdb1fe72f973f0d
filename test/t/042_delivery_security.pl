# Webhooks are no way into the network, and nothing secret leaks: field cases 15, 18 and 20.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use Cwd qw(abs_path);
use DeliveryTest;
use PostgreSQL::Test::Utils;
use Test::More;

# What the server's environment says to other programs leads no request elsewhere, and writes no keys down.
my $session_keys = PostgreSQL::Test::Utils::tempdir() . '/session_keys';
$ENV{$_} = 'http://127.0.0.1:1/' for qw(http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY);
$ENV{SSLKEYLOGFILE} = $session_keys;
my $node = new_node('security', allowed => '', conf => ["alerting.delivery_timeout = '15s'", "shared_preload_libraries = 'pg_stat_statements'", "pg_stat_statements.track = 'all'"]);
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements');
my $receiver = start_receiver('security');
my $port = $receiver->port;

sub refused_ok
{
	my ($sql, $pattern, $name) = @_;
	my ($out, $err);
	my $code = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql", stdout => \$out, stderr => \$err);
	isnt($code, 0, "$name: refused") if $code == 0;
	like($err, $pattern, $name);
	return $err;
}

sub insert { return "INSERT INTO alerting.webhook (organization_id, url, secret) VALUES (1, $_[0], " . ($_[1] // 'NULL') . ')' }

# --- refused when written --------------------------------------------------------------------------
for my $host ('127.0.0.1', 'localhost', 'LOCALHOST.', 'a.localhost', '10.0.0.1', '172.16.0.1', '192.168.0.1', '100.64.0.1',
	'169.254.169.254', '0.0.0.0', '0', '127.1', '2130706433', '0x7f000001', '0x7f.1', '0177.0.0.1', '224.0.0.1', '255.255.255.255',
	'192.0.2.1', '198.18.0.1', '[::1]', '[::]', '[fd00::1]', '[fe80::1]', '[::ffff:127.0.0.1]', '[::ffff:8.8.8.8]', '[64:ff9b::7f00:1]',
	'[2002:7f00:1::]', '[2001::1]', '[ff02::1]', '[2001:db8::1]')
{
	refused_ok(insert("'https://$host:$port/x'"), qr/22023: +invalid webhook: URL leads to a network that webhooks must not reach/, "https to $host");
}
refused_ok(insert(q{'http://8.8.8.8/x'}), qr/URL is plain http to a network that is not listed/, 'plain http to a public address');
my %wrong = (
	q{'file:///etc/passwd'} => qr/not an absolute http or https URL/,
	q{'gopher://h/'} => qr/not an absolute http or https URL/,
	q{'/relative'} => qr/not an absolute http or https URL/,
	q{''} => qr/not an absolute http or https URL/,
	q{'https://'} => qr/no host/,
	q{E'http://h/ \r\nX: y'} => qr/holds a (space|control character)/,
	q{E'https://h/\u0001'} => qr/control character/,
	q{U&'https://h\00e4/'} => qr/outside ASCII.*\n.*Punycode/s,
	q{'https://user:hunter2@h/'} => qr/user name or password/,
	q{'https://h:0/'} => qr/invalid port/,
	q{'https://h:25/'} => qr/port 25, which belongs to another protocol/,
	q{'https://h:99999/'} => qr/invalid port/);
refused_ok(insert($_), $wrong{$_}, $_) for sort keys %wrong;
refused_ok(insert(q{'https://h/x'}, q{''}), qr/22023: +invalid webhook: secret is empty/, 'empty secret');
refused_ok(insert(q{'https://h/x'}, q{'whsec_hunter2!'}), qr/secret has no valid base64 after "whsec_"/, 'malformed secret');
refused_ok(insert(q{'https://h/x'}, q{'whsec_'}), qr/secret has no valid base64/, 'secret without a key');
for my $schedule (q{'{NULL}'}, q{'{-1 second}'}, q{'{2 years}'}, q{array_fill('1s'::interval, '{101}')})
{
	refused_ok("INSERT INTO alerting.webhook (organization_id, url, retry_schedule) VALUES (1, 'https://h/x', $schedule)",
		qr/22023: +invalid webhook: retry_schedule (holds|has)/, "schedule $schedule");
}

# --- refused when sent, whatever was written --------------------------------------------------------
# Names are judged after DNS: this one is in /etc/hosts on every machine, in no URL check.
my $alias = (grep { /^(?:127\.|::1)/ } split /\n/, slurp_file('/etc/hosts'))[0] // '';
my ($name) = grep { $_ !~ /localhost/ && /^[a-z]/ } split ' ', $alias;
for my $scheme ('http', 'https')
{
	$node->safe_psql('postgres', qq{
		ALTER TABLE alerting.webhook DISABLE TRIGGER alerting_check_webhook;
		INSERT INTO alerting.webhook (id, organization_id, url, retry_schedule)
		SELECT '$scheme' || host, 1, '$scheme://' || host || ':$port/ok', '{}'
		  FROM unnest(ARRAY['127.0.0.1', 'localhost', '2130706433', '[::1]', '[::ffff:127.0.0.1]', '0.0.0.0', '169.254.169.254']) host;
		ALTER TABLE alerting.webhook ENABLE TRIGGER alerting_check_webhook;
		INSERT INTO alerting.delivery (webhook_id, event, payload)
		SELECT id, 'alert.firing', '{}' FROM alerting.webhook WHERE id LIKE '$scheme%'});
}
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM alerting.delivery WHERE status = 'PENDING'}), 'all tried');
is($node->safe_psql('postgres', q{SELECT count(*), count(*) FILTER (WHERE status = 'FAILED' AND last_error LIKE 'refused network: %') FROM alerting.delivery}),
	'14|14', 'the worker refuses them by address');
if (defined $name)
{
	webhook($node, 'alias', "https://$name:$port/ok", retry_schedule => "'{}'");
	deliver($node, 'alias');
	like(wait_settled($node, 'alias'), qr/refused network: 127\.|refused network: ::1/, "a name for loopback ($name)");
}
is($node->safe_psql('postgres', q{SELECT delivered, error LIKE 'refused network: %' FROM alerting.test_webhook('http127.0.0.1')}),
	'f|t', 'so does test_webhook');
is(scalar $receiver->requests, 0, 'nobody was reached');

# --- the administrator's list ----------------------------------------------------------------------
for my $list ('10.0.0.0/33', 'localhost', '10.0.0.1/8', '10.0.0.0/8,')
{
	refused_ok("LOAD 'alerting'; ALTER SYSTEM SET alerting.allowed_networks = '$list'",
		qr/invalid value for parameter "alerting.allowed_networks"/, "list $list");
}
$node->safe_psql('postgres', 'CREATE ROLE tenant; GRANT USAGE ON SCHEMA alerting TO tenant; GRANT INSERT ON alerting.webhook TO tenant');
refused_ok("LOAD 'alerting'; SET ROLE tenant; SET alerting.allowed_networks = '127.0.0.0/8'", qr/permission denied to set parameter/, 'a user cannot list');
refused_ok("SET ROLE tenant; SET alerting.allowed_networks = '127.0.0.0/8'; INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('t', 1, 'https://127.0.0.1/')",
	qr/network that webhooks must not reach/, 'not before the library is loaded either');
$node->append_conf('postgresql.conf', "alerting.allowed_networks = '127.0.0.0/8, ::1'\n");
$node->reload;
ok(wait_until(sub { $node->psql('postgres', "INSERT INTO alerting.webhook (id, organization_id, url) VALUES ('listed', 1, '" . $receiver->url('/listed') . "')") == 0 }), 'listed');
deliver($node, 'listed');
is(wait_settled($node, 'listed'), 'DELIVERED 1 200', 'a listed network is reached after a reload');
$node->safe_psql('postgres', q{SELECT alerting.redeliver(id) FROM alerting.delivery WHERE webhook_id IN ('http127.0.0.1', 'http[::ffff:127.0.0.1]', 'http2130706433')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 3 FROM alerting.delivery WHERE webhook_id LIKE 'http%' AND event <> 'ping' AND status = 'DELIVERED'}),
	'in every spelling');
my $six = eval { start_receiver('six', '--host', '::1') };
SKIP:
{
	skip 'no IPv6 loopback', 1 unless $six;
	webhook($node, 'six', 'http://[::1]:' . $six->port . '/ok');
	deliver($node, 'six');
	is(wait_settled($node, 'six'), 'DELIVERED 1 200', 'IPv6');
	$six->stop;
}

# --- TLS, DNS ------------------------------------------------------------------------------------------
my $base = abs_path($PostgreSQL::Test::Utils::tmp_check) . '/delivery_tls';
system_or_bail('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1',
	'-days', '1', '-keyout', "$base.key", '-out', "$base.pem");
my $tls = start_receiver('tls', '--tls-cert', "$base.pem", '--tls-key', "$base.key");
webhook($node, 'selfsigned', $tls->url('/ok', 'https'), retry_schedule => "'{}'");
webhook($node, 'unknown', 'https://no-such-host.invalid/ok', retry_schedule => "'{}'");
webhook($node, 'plain', $receiver->url('/ok', 'https'), retry_schedule => "'{}'");
deliver($node, $_) for qw(selfsigned unknown plain);
like(wait_settled($node, 'selfsigned'), qr/^FAILED 1 TLS: .*self-signed certificate/, 'a self-signed certificate is refused');
is(wait_settled($node, 'unknown'), 'FAILED 1 DNS: host name could not be resolved', 'an unknown name');
like(wait_settled($node, 'plain'), qr/^FAILED 1 (TLS: |timeout after \d+ ms in the TLS handshake)/, 'https to a plain port');
is(scalar $tls->requests, 0, 'no request went out unverified');
$node->append_conf('postgresql.conf', "alerting.ca_file = '$base.pem'\n");
$node->reload;
ok(wait_until(sub { $node->safe_psql('postgres', q{SELECT delivered FROM alerting.test_webhook('selfsigned')}) eq 't' }), 'a private authority by setting');
$node->safe_psql('postgres', q{SELECT alerting.redeliver_failed('selfsigned')});
like(wait_settled($node, 'selfsigned'), qr/^DELIVERED 1 200$/m, 'the sender takes it, too');
like(join(' ', map { header($_, 'webhook-id') // '' } $tls->requests), qr/\S/, 'over TLS');

ok(!-e $session_keys, 'the keys of TLS sessions are written nowhere');

# An endpoint that asks for a certificate: the server's, by setting.
my $demanding = start_receiver('demanding', '--tls-cert', "$base.pem", '--tls-key', "$base.key", '--tls-client-ca', "$base.pem");
webhook($node, 'demanding', $demanding->url('/ok', 'https'), retry_schedule => "'{}'");
is($node->safe_psql('postgres', q{SELECT delivered, error <> '' FROM alerting.test_webhook('demanding')}), 'f|t', 'nothing without a certificate');
$node->append_conf('postgresql.conf', "alerting.client_certificate_file = '$base.pem'\nalerting.client_key_file = '$base.key'\n");
$node->reload;
ok(wait_until(sub { $node->safe_psql('postgres', q{SELECT delivered FROM alerting.test_webhook('demanding')}) eq 't' }), 'with one');
deliver($node, 'demanding');
is(wait_settled($node, 'demanding') =~ s/^FAILED .*\n//mgr =~ s/\n.*//sr, 'DELIVERED 1 200', 'from the sender, too');
refused_ok("LOAD 'alerting'; SET ROLE tenant; SHOW alerting.client_key_file", qr/must be superuser|permission denied/, 'a user cannot see where the key is');
refused_ok("LOAD 'alerting'; SET ROLE tenant; SET alerting.client_key_file = '/etc/passwd'", qr/cannot be changed now|permission denied/, 'or set it');
$demanding->stop;

# --- secrets ---------------------------------------------------------------------------------------------
webhook($node, 'private', $receiver->url('/status/500') . '/p4th?token=t0ken', secret => "'s3cret'", headers => q{'{"X-Key": "h3ader"}'}, retry_schedule => "'{1 millisecond}'");
deliver($node, 'private', count => 12);
ok($node->poll_query_until('postgres', q{SELECT count(*) >= 10 FROM alerting.delivery_attempt a JOIN alerting.delivery d ON d.id = a.delivery_id WHERE d.webhook_id = 'private'}), 'fails often');
# However else it fails.
my $refusing = start_receiver('refusing', '--tls-cert', "$base.pem", '--tls-key', "$base.key", '--http2', 99, '--http2-manner', 'refuse');
my %failing = (refused => $refusing->url('/', 'https'), plain => $receiver->url('/', 'https'), closed => 'http://127.0.0.1:1/',
	unresolved => 'https://no-such-host.invalid/', map { $_ => $receiver->url("/$_") } qw(garbage reset endless-headers redirect/302 hints));
for my $name (sort keys %failing)
{
	webhook($node, "private-$name", "$failing{$name}/p4th?token=t0ken", secret => "'s3cret'", headers => q{'{"X-Key": "h3ader"}'}, retry_schedule => "'{}'");
	deliver($node, "private-$name");
}
like(wait_settled($node, "private-$_"), qr/^FAILED 1 /, "$_ fails") for sort keys %failing;
$refusing->stop;
for my $sql (insert(q{'https://u:s3cret@h/p4th?token=t0ken'}), insert(q{'https://h:0/p4th?token=t0ken'}, q{'s3cret'}), insert(q{'https://h/'}, q{'whsec_s3cret!'}),
	q{SELECT alerting.test_webhook('private')})
{
	my ($out, $err);
	$node->psql('postgres', $sql, stdout => \$out, stderr => \$err);
	unlike("$out$err", qr/s3cret|p4th|t0ken|h3ader/, 'no secret in what the client sees');
}
unlike(log_since($node), qr/s3cret|p4th|t0ken|h3ader|hunter2/, 'no secret in the log');
is($node->safe_psql('postgres', q{SELECT count(*) FROM alerting.delivery d LEFT JOIN alerting.delivery_attempt a ON a.delivery_id = d.id
	WHERE concat(d, a) ~ 's3cret|p4th|t0ken|h3ader'}), '0', 'no secret in the delivery log');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE query ~ 's3cret|t0ken|h3ader' AND pid <> pg_backend_pid()}), '0', 'no secret in pg_stat_activity');
# The INSERTs of this test are constants, which pg_stat_statements replaces; the workers' own
# statements are there, with parameters.
is($node->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE query ~ 's3cret|t0ken|h3ader' AND query !~ 'pg_stat|concat'), count(*) FILTER (WHERE query ~ 'INSERT INTO alerting.delivery_attempt') > 0
	FROM pg_stat_statements}), '0|t', 'no secret in pg_stat_statements');

# --- header injection ------------------------------------------------------------------------------------
$node->safe_psql('postgres', qq{INSERT INTO alerting.delivery (id, webhook_id, event, payload) VALUES (E'x\\r\\nX-Evil: 1', 'listed', 'ping', '{}')});
$node->poll_query_until('postgres', q{SELECT attempts > 0 FROM alerting.delivery WHERE id LIKE 'x%'});
is(scalar(grep { header($_, 'x-evil') } $receiver->requests), 0, 'an id cannot inject a header');

$_->stop for $receiver, $tls;
$node->stop('fast');
done_testing();

# The README's session does what the README says: its statements are executed as they stand, and the
# webhook that arrives has the shape of the JSON shown there.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use Digest::SHA  qw(hmac_sha256_base64);
use JSON::PP     qw(decode_json);
use MIME::Base64 qw(decode_base64);
use PostgreSQL::Test::Utils;
use Test::More;

my $readme = slurp_file('README.md');
my ($session) = $readme =~ /^## A session\n(.*?)^## /ms;
my ($json)    = $session =~ /^```json\n(.*?)^```/ms;
my @blocks    = $session =~ /^```sql\n(.*?)^```/msg;
is(scalar @blocks, 3, 'the session has three parts');

# A receiver takes the place of the README's example.com.
my $receiver = start_receiver('readme');
my $url = $receiver->url('/ok/');
my $node = new_node('readme');

my @output;
my $urls = 0;
for my $block (@blocks)
{
	$urls += $block =~ s{https://example\.com/}{$url};
	my ($stdout, $stderr);
	is($node->psql('postgres', $block, stdout => \$stdout, stderr => \$stderr, on_error_stop => 1),
		0, 'the statements succeed')
	  or diag($stderr);
	push @output, $stdout;
}
is($urls, 1, 'one webhook was created');
like($output[1], qr/^t\nCPU above 90 %\|web-1\|97\.2$/m, 'judged, sent, and an active alert');
like($output[2], qr/^t\nRESOLVED\|RECOVERED$/m, 'resolved');

my @requests = $receiver->requests;
is(scalar @requests, 2, 'two webhooks came');
my ($firing, $resolved) = map { $_->{json} } @requests;
is($firing->{type},   'alert.firing',   'the first says firing');
is($resolved->{type}, 'alert.resolved', 'the second says resolved');

# Same keys, and the same values where they are not ids and times.
sub shape
{
	my ($value) = @_;
	return { map { $_ => shape($value->{$_}) } keys %$value } if ref $value eq 'HASH';
	return $value unless defined $value;
	return 'a time' if $value =~ /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
	return 'an id'  if $value =~ /^c[a-z0-9]{24}$/;
	return $value;
}
is_deeply(shape($firing), shape(decode_json($json)), 'the webhook looks as the README shows it');

my ($secret) = $session =~ /secret => 'whsec_([^']+)'/;
for my $request (@requests)
{
	my %headers = map { lc $_->[0] => $_->[1] } @{ $request->{headers} };
	my $signature = hmac_sha256_base64(
		"$headers{'webhook-id'}.$headers{'webhook-timestamp'}.$request->{body}", decode_base64($secret));
	$signature .= '=' while length($signature) % 4;
	is($headers{'webhook-signature'}, "v1,$signature", 'signed with the secret');
}

# The settings are those that there are, with their defaults.
my ($section) = $readme =~ /^## Settings\n(.*?)^## /ms;
my %documented;
while ($section =~ /^\| (`alerting.*?`) \| (\S+) \|/mg)
{
	my ($names, $default) = ($1, $2);
	$documented{$_} = $default for $names =~ /`(alerting\.\w+)`/g;
}
my %settings = map { split /=/, $_, 2 } split /\n/, $node->safe_psql('postgres', q{
	LOAD 'alerting';
	SET alerting.allowed_networks = '';
	SELECT name || '=' || coalesce('`' || nullif(current_setting(name), '') || '`', 'empty')
	  FROM pg_settings WHERE name LIKE 'alerting.%'});
is_deeply(\%documented, \%settings, 'settings and defaults');

$node->stop;
done_testing();

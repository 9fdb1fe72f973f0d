# A receiver of webhooks on loopback, test/receiver/receiver.py, as the tests see it.
package ReceiverTest;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use FindBin;
use IPC::Run qw(start pump timeout);
use JSON::PP ();
use MIME::Base64 ();
use PostgreSQL::Test::Utils;

our @EXPORT = qw(start_receiver);

# `options` are more options of the program. It ends with the object.
sub start_receiver
{
	my ($name, @options) = @_;
	my $log = "$PostgreSQL::Test::Utils::tmp_check/receiver_${name}_$$.log";
	unlink $log;
	my ($out, $err) = ('', '');
	my $run = start([ 'python3', "$FindBin::RealBin/../receiver/receiver.py", '--log', $log, @options ],
		'<', \undef, '>', \$out, '2>', \$err, timeout(10 * $PostgreSQL::Test::Utils::timeout_default));
	pump $run until $out =~ /^ready (\d+)$/m;
	my ($port) = $out =~ /^ready (\d+)$/m;
	return bless { run => $run, port => $port, log => $log }, __PACKAGE__;
}

sub port { return $_[0]{port} }

sub url
{
	my ($self, $path, $scheme) = @_;
	return ($scheme // 'http') . "://127.0.0.1:$self->{port}" . ($path // '/ok');
}

# What has come: hashes with at, method, path, headers, body, raw (its bytes) and json (the body decoded); `path` picks.
sub requests
{
	my ($self, $path) = @_;
	return () unless -e $self->{log};
	# Of the line that is being written a part may be there.
	my @requests = map { JSON::PP::decode_json($_) } slurp_file($self->{log}) =~ /^(.*)\n/mg;
	@requests = grep { $_->{path} eq $path } @requests if defined $path;
	for my $request (@requests)
	{
		$request->{raw} = MIME::Base64::decode_base64($request->{body_base64});
		$request->{json} = JSON::PP::decode_json($request->{raw}) if $request->{raw} =~ /^\{/;
	}
	return @requests;
}

# "event container started reason" of each request to a path, by the alerts' beginning: only events
# of one alert arrive in order.
sub events
{
	my ($self, $path) = @_;
	return join "\n", map {
		my $data = $_->{json}{data};
		join ' ', $_->{json}{type} =~ s/^alert\.//r, "$data->{container}{name}($data->{container}{id})",
		  substr($data->{alert}{startedAt}, 11, 8), $data->{alert}{resolveReason} // ()
	} sort { $a->{json}{data}{alert}{startedAt} cmp $b->{json}{data}{alert}{startedAt} } $self->requests($path);
}

sub stop
{
	my ($self) = @_;
	$self->{run}->kill_kill if $self->{run};
	$self->{run} = undef;
	return;
}

sub DESTROY { local ($@, $?); $_[0]->stop; return; }

1;

# Restarts, crashes and copies: nothing is lost, no deadline changes, and a copy of a database pages
# nobody.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use DeliveryTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('restart', conf => [ "alerting.delivery_timeout = '1min'", 'restart_after_crash = on' ]);
my $receiver = start_receiver('restart');
my $sender = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'alerting sender' AND datname = 'postgres'";

# --- a worker that is terminated comes back, with what was under way --------------------------------------
webhook($node, 'hang', $receiver->url('/hang'), retry_schedule => "'{1 hour}'");
webhook($node, 'ok', $receiver->url('/ok'));
deliver($node, 'hang');
ok(wait_until(sub { $receiver->requests('/hang') == 1 }), 'a request is under way');
my $pid = $node->safe_psql('postgres', $sender);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($sender) x WHERE pid <> $pid"), 'the sender is back');
ok(wait_until(sub { $receiver->requests('/hang') == 2 }), 'what was under way is sent again');
is(scalar(keys %{ { map { header($_, 'webhook-id') => 1 } $receiver->requests('/hang') } }), 1, 'with the same id');
deliver($node, 'ok');
is(wait_settled($node, 'ok'), 'DELIVERED 1 200', 'others go on');

# --- a restart changes no deadline --------------------------------------------------------------------
webhook($node, 'later', $receiver->url('/status/500,200'), retry_schedule => "'{1 hour}'");
deliver($node, 'later');
ok($node->poll_query_until('postgres', q{SELECT attempts = 1 FROM alerting.delivery WHERE webhook_id = 'later'}), 'failed once');
my $deadline = $node->safe_psql('postgres', q{SELECT next_attempt_at FROM alerting.delivery WHERE webhook_id = 'later'});
$node->restart;
deliver($node, 'ok');
is($node->safe_psql('postgres', q{SELECT alerting.start()}), '', 'started') if $node->safe_psql('postgres', $sender) eq '';
like(wait_settled($node, 'ok'), qr/^DELIVERED 1 200\nDELIVERED 1 200$/, 'the sender runs after a restart');
is($node->safe_psql('postgres', q{SELECT status, attempts, next_attempt_at FROM alerting.delivery WHERE webhook_id = 'later'}),
	"PENDING|1|$deadline", 'the deadline is as it was');
is(scalar $receiver->requests('/status/500,200'), 1, 'no request before it');
$node->safe_psql('postgres', q{UPDATE alerting.delivery SET next_attempt_at = now() WHERE webhook_id = 'later'});
is(wait_settled($node, 'later'), 'DELIVERED 2 200', 'a deadline moved by hand counts');

# --- a crash while requests are under way -----------------------------------------------------------------
webhook($node, 'crash', $receiver->url('/slow/1/crash'));
deliver($node, 'crash', count => 3);
ok(wait_until(sub { $receiver->requests('/slow/1/crash') >= 1 }), 'a request is under way');
$node->stop('immediate');
$node->start;
$node->safe_psql('postgres', q{SELECT alerting.start()});
is(wait_settled($node, 'crash'), "DELIVERED 1 200\nDELIVERED 1 200\nDELIVERED 1 200", 'all arrive');
cmp_ok(scalar(keys %{ { map { header($_, 'webhook-id') => 1 } $receiver->requests('/slow/1/crash') } }), '==', 3, 'three ids');

# --- a fast stop waits for no request ------------------------------------------------------------------
deliver($node, 'hang');
ok(wait_until(sub { $receiver->requests('/hang') >= 3 }), 'a request is under way');
$node->stop('fast');
$node->start;
is($node->safe_psql('postgres', q{SELECT max(attempts) FROM alerting.delivery WHERE webhook_id = 'hang'}), '0', 'a fast stop waits for no answer');
$node->safe_psql('postgres', q{DELETE FROM alerting.webhook WHERE id = 'hang'});

# --- a copy sends nothing --------------------------------------------------------------------------------
$node->safe_psql('postgres', q{SELECT alerting.stop()});
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type IN ('alerting sender', 'alerting evaluator')"), 'stopped');
webhook($node, 'copied', $receiver->url('/copied'));
deliver($node, 'copied', count => 2);
$node->safe_psql('template1', 'CREATE DATABASE copy TEMPLATE postgres');
my $offset = -s $node->logfile;
$node->safe_psql('copy', q{SELECT alerting.start()});
ok(wait_until(sub { log_since($node, $offset) =~ /WARNING: .*webhooks are held: this database is a copy/ }), 'a copy says that it holds its webhooks');
like(log_since($node, $offset), qr/HINT: .*alerting\.resume\(\)/, 'and what to do');
$node->safe_psql('copy', q{INSERT INTO alerting.delivery (webhook_id, event, payload) VALUES ('copied', 'alert.firing', '{}')});
is($node->safe_psql('copy', q{SELECT alerting.flush('1s', deliveries => true)}), 'f', 'nothing leaves');
is(scalar $receiver->requests('/copied'), 0, 'nobody was told');
$node->safe_psql('copy', q{SELECT alerting.resume()});
ok($node->poll_query_until('copy', q{SELECT count(*) = 3 FROM alerting.delivery WHERE webhook_id = 'copied' AND status = 'DELIVERED'}), 'resume() sends them');
is($node->safe_psql('copy', q{SELECT alerting.flush('60s', deliveries => true)}), 't', 'flushed');
my @warnings = log_since($node, $offset) =~ /webhooks are held/g;
is(scalar @warnings, 1, 'one warning');

$receiver->stop;
$node->stop('fast');
done_testing();

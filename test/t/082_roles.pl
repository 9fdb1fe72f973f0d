# The recipes of docs/roles.md: each kind of role can do what the page says, and nothing beyond it.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use AlertingTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('roles');
my $receiver = start_receiver('roles');
fixture($node, 'host');
my @blocks = slurp_file('docs/roles.md') =~ /^```sql\n(.*?)^```/msg;
is(scalar @blocks, 8, 'the page has eight recipes');
my ($tenants) = grep { /ROW LEVEL SECURITY/ } @blocks;
@blocks = grep { $_ ne $tenants } @blocks;
$node->safe_psql('host', $_) for @blocks;
$node->safe_psql('host', 'CREATE ROLE agent LOGIN; GRANT INSERT ON container_metrics TO agent');
my $url = $receiver->url('/ok/roles');

# Runs SQL as a role; gives its output, or the error's first line.
sub as
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');
	my $code = $node->psql('host', "SET ROLE $role; $sql", stdout => \$out, stderr => \$err, on_error_stop => 1);
	return $code == 0 ? $out : ($err =~ /ERROR:\s+(.*)/)[0];
}

sub refused
{
	my ($role, $name, @statements) = @_;
	like(as($role, $_), qr/^permission denied|^must be owner/, "$role may not: $name") for @statements;
	return;
}

# The application keeps rules and webhooks.
is(as('alerting_application', q{INSERT INTO alerting.alert_rule (organization_id, name, condition, threshold) VALUES (1, 'cpu', 'CPU_USAGE', 80) RETURNING name, no_data}), 'cpu|keep', 'a rule');
is(as('alerting_application', qq{INSERT INTO alerting.webhook (id, organization_id, url, secret) VALUES ('hook', 1, '$url', alerting.generate_secret()) RETURNING is_active}), 't', 'a webhook');
is(as('alerting_application', q{UPDATE alerting.alert_rule SET threshold = 90 RETURNING threshold}), 90, 'changes it');
for my $make (q{create_rule(1, 'made', 'MEMORY_USAGE', 0.9)}, q{create_webhook(1, 'https://example.com/', is_active => false)})
{
	is(as('alerting_application', "BEGIN; SELECT alerting.$make <> ''; ROLLBACK"), 't', "calls $make");
	like(as('alerting_application', 'SELECT alerting.' . $make =~ s/1/99/r), qr/^insert or update .* violates foreign key/, 'and is told what is wrong');
}
is(as('alerting_application', q{SELECT id FROM alerting.webhook_public}), 'hook', 'shows it without its secrets');
is(as('alerting_application', "SELECT count(*) FROM alerting.preview($_, 'CPU_USAGE', 90, 0, '-infinity')"), 0, "previews for $_ what is no rule yet") for q{1}, q{'1'};
is(as('alerting_application', q{SELECT delivered FROM alerting.test_webhook('hook')}), 't', 'tests a webhook');

# An agent only inserts.
is(as('agent', q{INSERT INTO container_metrics (container_id, at, cpu_percent) VALUES (10, '2026-03-02 10:00Z', 95)}), '', 'an agent inserts metrics');
is(alerts($node, 'host'), 'cpu 10 FIRING 10:00:00 10:00:00', 'and they are judged');
flush_ok($node, 'host', 1);
refused('agent', 'anything of alerting', 'SELECT * FROM alerting.alert', 'SELECT alerting.status()', 'SELECT secret FROM alerting.webhook');

# A reader reads.
is(as('alerting_reader', 'SELECT rule_name, container_name, value FROM alerting.active_alert'), 'cpu|web|95', 'active_alert');
is(as('alerting_reader', 'SELECT webhook_id, pending, failed FROM alerting.webhook_health'), 'hook|0|0', 'webhook_health');
is(as('alerting_reader', q{SELECT event, status FROM alerting.delivery WHERE event <> 'ping'}), 'alert.firing|DELIVERED', 'delivery');
is(as('alerting_reader', 'SELECT e.state FROM alerting.alert_rule r, alerting.explain(r.id, 10) e'), 'FIRING', 'explain');
is(as('alerting_reader', q{SELECT count(*) FROM alerting.alert_rule r, alerting.preview(r.id, '2026-03-02 09:00Z', '2026-03-02 11:00Z')}), 1, 'preview');
refused('alerting_reader', 'see secrets and URLs', 'SELECT secret FROM alerting.webhook', 'SELECT url FROM alerting.webhook', 'SELECT * FROM alerting.webhook_public');
refused('alerting_reader', 'preview for whom it likes', "SELECT * FROM alerting.preview(1, 'CPU_USAGE', 90, 0, '-infinity')");
refused('alerting_reader', 'write', 'DELETE FROM alerting.alert_rule', 'UPDATE alerting.webhook SET is_active = false', "SELECT alerting.create_rule(1, 'x', 'CPU_USAGE', 1)");
refused('alerting_reader', 'operate', 'SELECT alerting.stop()', 'SELECT * FROM alerting.doctor()', q{SELECT alerting.redeliver('x')}, q{SELECT * FROM alerting.test_webhook('hook')});

refused('alerting_application', 'write alerts and deliveries', 'DELETE FROM alerting.alert', 'UPDATE alerting.delivery SET attempts = 0',
	q{INSERT INTO alerting.delivery (webhook_id, event, payload) VALUES ('hook', 'ping', '{}')}, 'DELETE FROM alerting.series_state');
refused('alerting_application', 'operate', 'SELECT alerting.stop()', 'SELECT alerting.resume()', 'SELECT alerting.flush()', 'SELECT * FROM alerting.doctor()', q{SELECT alerting.attach('organizations', 'containers')});
is(as('alerting_application', q{SELECT alerting.redeliver(id) FROM alerting.delivery WHERE event = 'alert.firing'}), '', 'the application sends a delivery again');
flush_ok($node, 'host', 1);
is(scalar(grep { $_->{json}{type} eq 'alert.firing' } $receiver->requests), 2, 'and it came again');

# An operator operates.
is(as('alerting_operator', q{SELECT state FROM alerting.status()}), 'running', 'status');
is(as('alerting_operator', q{SELECT count(*) FROM alerting.doctor() WHERE status IN ('error', 'unknown')}), 0, 'doctor');
is(as('alerting_operator', q{SELECT alerting.stop(); SELECT alerting.start(); SELECT alerting.flush('60s', deliveries => true)}), "\n\nt", 'stop, start, flush');
is(as('alerting_operator', q{SELECT alerting.redeliver_failed()}), 0, 'redeliver_failed');
refused('alerting_operator', 'change rules, let a copy send, bind', 'DELETE FROM alerting.alert_rule', 'SELECT alerting.resume()', 'SELECT alerting.detach()');

# One tenant at a time.
$node->safe_psql('host', $tenants);
rule($node, 'host', 2, 'CPU_USAGE', 80, 0, name => 'other');
$node->safe_psql('host', q{INSERT INTO container_metrics (container_id, at, cpu_percent) VALUES (20, '2026-03-02 10:00Z', 95), (11, '2026-03-02 10:00Z', 95)});
is(alerts($node, 'host'), "cpu 10 FIRING 10:00:00 10:00:00\ncpu 11 FIRING 10:00:00 10:00:00\nother 20 FIRING 10:00:00 10:00:00", 'the workers see all');
is(as('alerting_application', q{SET app.organization = '2'; SELECT name FROM alerting.alert_rule; SELECT container_id FROM alerting.alert; SELECT count(*) FROM alerting.delivery; SELECT count(*) FROM alerting.webhook}),
	"other\n20\n0\n0", 'a tenant sees its own rows');
is(as('alerting_application', q{SET app.organization = '2'; UPDATE alerting.alert_rule SET enabled = false; SELECT count(*) FROM alerting.alert_rule}), 1, 'and changes its own');
is($node->safe_psql('host', 'SELECT name FROM alerting.alert_rule WHERE enabled'), 'cpu', 'only');
cmp_ok(as('alerting_application', q{SET app.organization = '1'; SELECT count(*) FROM alerting.delivery_attempt}), '>', 0, 'a tenant sees what came of its requests');
is(as('alerting_application', q{SET app.organization = '2'; SELECT count(*) FROM alerting.delivery_attempt; SELECT count(*) FROM alerting.webhook_health; SELECT count(*) FROM alerting.active_alert}), "0\n0\n0",
	'and not what came of those of others');
is(as('alerting_application', q{SET app.organization = '2'; SELECT count(*) FROM alerting.delivery d, alerting.redeliver(d.id); SELECT count(*) FROM alerting.webhook w, alerting.test_webhook(w.id)
	WHERE w.id = 'hook'; SELECT count(*) FROM alerting.alert_rule r, alerting.explain(r.id, 10)}), "0\n0\n1", 'a function that is given ids of rows it sees is kept to them');
like(as('alerting_application', q{SET app.organization = '2'; INSERT INTO alerting.alert_rule (organization_id, name, condition, threshold) VALUES (1, 'x', 'CPU_USAGE', 1)}),
	qr/violates row-level security/, 'no rule for another organization');
my $told = '';
$node->psql('host', q{SET ROLE alerting_application; SET app.organization = '2'; SELECT alerting.create_rule(2, 'x', 'CPU')}, stderr => \$told);
like($told, qr/is_known.*'CPU'.*^HINT: .*CPU_USAGE/ms, 'what is wrong with a rule is told, although PostgreSQL hides the row');
is(as('alerting_application', 'SELECT count(*) FROM alerting.alert_rule'), 0, 'without an organization: nothing');

# The tables' owner empties them.
$node->safe_psql('host', "ALTER TABLE $_ OWNER TO migrations") for qw(organizations containers container_metrics);
refused('agent', 'empty tables', 'TRUNCATE container_metrics', 'TRUNCATE alerting.alert');
is(as('migrations', 'TRUNCATE containers CASCADE; SELECT count(*) FROM containers'), 0, 'TRUNCATE of containers');
is(as('migrations', 'TRUNCATE organizations CASCADE; SELECT count(*) FROM organizations'), 0, 'and of organizations');
is($node->safe_psql('host', 'SELECT (SELECT count(*) FROM alerting.alert) + (SELECT count(*) FROM alerting.alert_rule) + (SELECT count(*) FROM alerting.webhook)'), 0, 'empties what belongs to them');

# Of each function that the reference names the page says who may call it.
my ($functions) = slurp_file('docs/sql-reference.md') =~ /(.*?)^## Triggers/ms;
my $roles = slurp_file('docs/roles.md');
for my $function ($functions =~ /^### (\w+)/mg)
{
	like($roles, qr/alerting\.$function\b|`$function(?:\(\))?`/, "docs/roles.md names $function");
}

$node->stop;
done_testing();

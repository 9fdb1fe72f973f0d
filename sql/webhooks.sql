-- What a webhook may be. Nothing of a secret reaches an error, and nothing is sent from here: every
-- webhook is switched off or lies in a transaction that rolls back.
\set SHOW_CONTEXT never
CREATE TABLE organizations (id int PRIMARY KEY, name text);
CREATE TABLE containers (id int PRIMARY KEY, organization_id int NOT NULL REFERENCES organizations ON DELETE CASCADE, name text);
INSERT INTO organizations VALUES (1, 'Initech');
SET client_min_messages = error;
CREATE EXTENSION alerting;
RESET client_min_messages;

BEGIN;
SELECT alerting.create_webhook(1, 'https://example.com/alerts') <> '' AS made;
SELECT alerting.create_webhook('1', 'HTTPS://Example.COM:8443/a?b=c', secret => 'whsec_c2VjcmV0IG9mIHRoZSByZWdyZXNzaW9uIHRlc3Q=') <> '' AS made;
SELECT alerting.create_webhook(1, 'https://[2606:4700::1111]/', secret => 'schlüssel 🔑', retry_schedule => '{0.5 s, 1 min}', is_active => false) <> '' AS made;
SELECT alerting.create_webhook(1, 'https://example.com/none', retry_schedule => '{}') <> '' AS made;
SET LOCAL alerting.allowed_networks = '10.0.0.0/8';
SELECT alerting.create_webhook(1, 'http://hooks.example.com/') <> '' AS made_and_judged_when_sent;
SELECT url, secret, retry_schedule, is_active FROM alerting.webhook ORDER BY url;
ROLLBACK;

-- URLs.
SELECT alerting.create_webhook(1, NULL, 'hidden');
INSERT INTO alerting.webhook (organization_id, url, secret) VALUES (NULL, 'https://example.com/', 'hidden');
INSERT INTO alerting.webhook (id, organization_id, url, secret) VALUES ('', 1, 'https://example.com/', 'hidden');
SELECT alerting.create_webhook(1, 'https://example.com/', 'hidden', is_active => NULL);
SELECT alerting.create_webhook(1, '');
SELECT alerting.create_webhook(1, 'example.com/alerts');
SELECT alerting.create_webhook(1, 'file:///etc/passwd');
SELECT alerting.create_webhook(1, 'gopher://example.com/');
SELECT alerting.create_webhook(1, 'https://');
SELECT alerting.create_webhook(1, 'https:///alerts');
SELECT alerting.create_webhook(1, 'https://user:hidden@example.com/');
SELECT alerting.create_webhook(1, E'https://example.com/ \r\nX: y');
SELECT alerting.create_webhook(1, E'https://example.com/a\tb');
SELECT alerting.create_webhook(1, 'https://example.com:99999/');
-- Networks that need an administrator's leave, and all of them by http.
SELECT alerting.create_webhook(1, 'http://hooks.example.com/');
SELECT alerting.create_webhook(1, u.url) FROM (VALUES ('https://127.0.0.1/')) AS u(url);
SELECT alerting.create_webhook(1, 'https://localhost/');
SELECT alerting.create_webhook(1, 'https://10.0.0.1/');
SELECT alerting.create_webhook(1, 'https://169.254.169.254/latest');
SELECT alerting.create_webhook(1, 'https://[::1]/');
SELECT alerting.create_webhook(1, 'https://[fd00::1]/');
SELECT alerting.create_webhook(1, 'https://[::ffff:10.0.0.1]/');
SELECT alerting.create_webhook(1, 'https://2130706433/');
-- Secrets.
SELECT alerting.create_webhook(1, 'https://example.com/', secret => '');
SELECT alerting.create_webhook(1, 'https://example.com/', secret => 'whsec_hidden!!!');
SELECT alerting.create_webhook(1, 'https://example.com/', secret => 'whsec_');
-- Schedules.
SELECT alerting.create_webhook(1, 'https://example.com/', retry_schedule => '{1 min, -5 s}');
SELECT alerting.create_webhook(1, 'https://example.com/', retry_schedule => '{1 min, NULL}');
-- An UPDATE is checked as well, and a constraint's message shows no secret.
BEGIN;
SELECT alerting.create_webhook(1, 'https://example.com/', 'hidden', is_active => false) <> '' AS made;
UPDATE alerting.webhook SET url = 'ftp://example.com/';
ROLLBACK;
SELECT alerting.create_webhook(2, 'https://example.com/', 'hidden');

-- The example of the Standard Webhooks specification, and a secret being replaced.
SELECT alerting.webhook_signature('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'msg_p5jXN8AQM9LWM0D4loKWxJek', to_timestamp(1614265330), '{"test": 2432232314}');
SELECT alerting.webhook_signature('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'msg_p5jXN8AQM9LWM0D4loKWxJek', to_timestamp(1614265330), '{"test": 2432232315}');
SELECT alerting.webhook_signature('whsec_c2VjcmV0 whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'msg_p5jXN8AQM9LWM0D4loKWxJek', to_timestamp(1614265330), '{"test": 2432232314}');
SELECT alerting.webhook_signature('whsec_hidden!', 'id', now(), '{}');

-- Headers, rate and concurrency.
SELECT alerting.create_webhook(1, 'https://example.com/', headers => '{"Authorization": "Bearer hidden", "X-Tenant": "a b"}', rate_limit => 60, max_concurrent => 4, is_active => false) AS made \gset
SELECT headers, rate_limit, max_concurrent FROM alerting.webhook WHERE id = :'made';
SELECT rate_limit, max_concurrent FROM alerting.webhook_public WHERE id = :'made';
UPDATE alerting.webhook SET headers = '[]' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '"X-A: hidden"' WHERE id = :'made';
UPDATE alerting.webhook SET headers = 'null' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"X-A": 1}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"X-A": null}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"X-A": {"hidden": "hidden"}}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"X-A": "hidden\r\nX-Evil: 1"}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"X-A\r\nX-Evil": "hidden"}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"X-A": "hidden\u00e4"}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"X-A": " hidden"}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"X A": "hidden"}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"": "hidden"}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"X-A": "hidden", "x-a": "hidden"}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"Webhook-Id": "hidden"}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"Host": "hidden"}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"content-length": "0"}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"Transfer-Encoding": "chunked"}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{"Connection": "close"}' WHERE id = :'made';
UPDATE alerting.webhook SET headers = jsonb_build_object('X-A', repeat('h', 4097)) WHERE id = :'made';
UPDATE alerting.webhook SET headers = (SELECT jsonb_object_agg('X-' || i, 'hidden') FROM generate_series(1, 21) i) WHERE id = :'made';
UPDATE alerting.webhook SET headers = (SELECT jsonb_object_agg('X-' || i, repeat('h', 4000)) FROM generate_series(1, 5) i) WHERE id = :'made';
UPDATE alerting.webhook SET rate_limit = 0 WHERE id = :'made';
UPDATE alerting.webhook SET max_concurrent = 1001 WHERE id = :'made';
UPDATE alerting.webhook SET headers = '{}', rate_limit = NULL, max_concurrent = NULL WHERE id = :'made';
-- The sender's note of a failing endpoint is no change; another URL, or switching on, forgets it.
UPDATE alerting.webhook SET updated_at = '2026-01-01Z' WHERE id = :'made';
UPDATE alerting.webhook SET probe_at = '2100-01-01Z' WHERE id = :'made';
SELECT updated_at = '2026-01-01Z' AS untouched FROM alerting.webhook WHERE id = :'made';
SELECT breaker, probe_at = '2100-01-01Z' AS as_noted, next_attempt_at FROM alerting.webhook_health WHERE webhook_id = :'made';
UPDATE alerting.webhook SET probe_at = '2026-01-01Z' WHERE id = :'made';
SELECT breaker FROM alerting.webhook_health WHERE webhook_id = :'made';
UPDATE alerting.webhook SET url = 'https://example.com/other' WHERE id = :'made';
SELECT breaker, probe_at FROM alerting.webhook_health WHERE webhook_id = :'made';

SET client_min_messages = warning;
DROP EXTENSION alerting CASCADE;
DROP SCHEMA alerting CASCADE;
DROP TABLE containers, organizations;

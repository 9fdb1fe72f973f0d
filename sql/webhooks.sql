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
-- Networks that need an administrator's leave.
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

SET client_min_messages = warning;
DROP EXTENSION alerting CASCADE;
DROP SCHEMA alerting CASCADE;
DROP TABLE containers, organizations;

-- What the functions that render payloads make of odd arguments, byte for byte: whoever reads
-- webhooks, and deliveries of a version before, relies on it.
SET client_min_messages = warning;
CREATE EXTENSION alerting;
RESET client_min_messages;
SET TimeZone = 'Asia/Tokyo';

-- Times: rounded down to milliseconds, years before 1 and after 9999, and none.
SELECT t.moment AT TIME ZONE 'UTC' AS moment, alerting.rfc3339(t.moment) FROM (VALUES
  ('2026-03-02 10:05:00.25Z'::timestamptz), ('2026-03-02 10:05:00.9999995Z'), ('1999-12-31 23:59:59.999999Z'), ('2000-01-01 00:00Z'),
  ('1969-12-31 23:59:59.9999Z'), ('2024-02-29 12:00:00.001Z'), ('0001-01-01 00:00Z'), ('9999-12-31 23:59:59.999Z'),
  ('10000-01-01 00:00Z'), ('294276-12-31 23:59:59.999Z'), ('0001-12-31 23:59:59.999Z BC'), ('4713-12-31 00:00Z BC'),
  ('infinity'), ('-infinity'), (NULL)) AS t(moment);

-- The summary: each condition, others, and each argument missing.
SELECT c.condition, v.threshold, d.duration, v.value, alerting.condition_summary(c.condition, v.threshold, d.duration, v.value)
  FROM unnest(ARRAY['CPU_USAGE', 'MEMORY_USAGE', 'CONTAINER_DOWN', 'RESTART_LOOP', 'ELSE "ß" 🚨', '', NULL]) WITH ORDINALITY AS c(condition, place),
       (VALUES (1, 0), (2, 5), (3, -1), (4, NULL)) AS d(place, duration),
       (VALUES (1, 80::float8, 97.25::float8), (2, 90.5, NULL), (3, NULL, 99.95)) AS v(place, threshold, value)
 ORDER BY c.place, d.place, v.place;
\a
SELECT v.value, alerting.condition_summary('CPU_USAGE', v.value, 2147483647, v.value) AS cpu, alerting.condition_summary('RESTART_LOOP', NULL, -2147483648, v.value) AS restarts
  FROM unnest(ARRAY['NaN', 'Infinity', '-Infinity', '-0', '0', '0.05', '0.15', '0.25', '-0.05', '99.949999999999999', '1e-300', '5e-324', '0.1', '100', '1e15', '1e16',
    '123456789012345678', '1.7e308', '33.333333333333336', '1e-7', '123456.7890123']::float8[]) WITH ORDINALITY AS v(value, place) ORDER BY v.place;

-- A beginning: as it is, with nothing at all, and what JSON has no form for.
SELECT alerting.firing_payload('a1', 'r1', E'Größe "80 %" \\ 🚨', 'CPU_USAGE', 80, 5, '10', E'line\nbreak\ttab\u0001', '1', E'\u2028 </script>', '2026-03-02 10:00Z', '2026-03-02 10:05:00.25Z', 97.25);
SELECT alerting.firing_payload(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT alerting.firing_payload('', '', '', '', 0, 0, '', '', '', '', 'infinity', '-infinity', 0);
SELECT alerting.firing_payload('a', 'r', 'n', 'CPU_USAGE', v.value, 1, 'c', NULL, 'o', NULL, '0044-03-15 12:00Z BC', '12345-06-07 08:09:10.1119Z', v.value)
  FROM unnest(ARRAY['NaN', 'Infinity', '-Infinity', '-0', '5e-324', '1.7976931348623157e308', '-1e22', '0.1', '33.333333333333336']::float8[]) WITH ORDINALITY AS v(value, place) ORDER BY v.place;
SELECT alerting.firing_payload('a', 'r', 'n', 'RESTART_LOOP', NULL, 10, 'c', 'web', 'o', 'Initech', '2026-03-02 10:00Z', '2026-03-02 10:00Z', 4),
       alerting.firing_payload('a', 'r', 'n', 'CONTAINER_DOWN', NULL, 3, 'c', 'web', NULL, NULL, '2026-03-02 10:00Z', '2026-03-02 10:00Z', NULL),
       alerting.firing_payload('a', 'r', 'n', 'SOMETHING', NULL, NULL, NULL, 'web', NULL, NULL, NULL, NULL, 1),
       alerting.firing_payload('a', 'r', 'n', 'CPU_USAGE', NULL, 3, 'c', 'web', NULL, NULL, NULL, NULL, 1);
-- Each argument missing alone.
SELECT i, alerting.firing_payload(CASE WHEN i <> 1 THEN 'a' END, CASE WHEN i <> 2 THEN 'r' END, CASE WHEN i <> 3 THEN 'n' END, CASE WHEN i <> 4 THEN 'CPU_USAGE' END,
    CASE WHEN i <> 5 THEN 80 END, CASE WHEN i <> 6 THEN 5 END, CASE WHEN i <> 7 THEN 'c' END, CASE WHEN i <> 8 THEN 'web' END, CASE WHEN i <> 9 THEN 'o' END,
    CASE WHEN i <> 10 THEN 'Initech' END, CASE WHEN i <> 11 THEN '2026-03-02 10:00Z'::timestamptz END, CASE WHEN i <> 12 THEN '2026-03-02 10:05Z'::timestamptz END, CASE WHEN i <> 13 THEN 97 END)
  FROM generate_series(1, 13) i;
SELECT length(alerting.firing_payload(n, n, n, 'CPU_USAGE', 80, 0, n, n, n, n, now(), now(), 1)::text), md5(alerting.firing_payload(n, n, n, n, 80, 0, n, n, n, n, '2026-03-02Z', '2026-03-02Z', 1)::text)
  FROM repeat('ä"\', 262144) n;
-- Numbers, as sessions say that they are to be written.
SET extra_float_digits = 0;
SELECT alerting.firing_payload('a', 'r', 'n', 'CPU_USAGE', 33.333333333333336, 1, 'c', 'web', 'o', 'Initech', '2026-03-02Z', '2026-03-02Z', 66.666666666666671);
RESET extra_float_digits;
-- Many, as one number.
SELECT count(*), md5(string_agg(p::text, '' ORDER BY i)), sum(pg_column_size(p))
  FROM (SELECT i, alerting.firing_payload('a' || i, md5(i::text), repeat(chr(32 + i % 500), i % 40), (ARRAY['CPU_USAGE', 'MEMORY_USAGE', 'CONTAINER_DOWN', 'RESTART_LOOP'])[1 + i % 4],
            (i * 7919) % 100000 / 1000.0, i % 100, i::text, nullif(repeat('x', i % 7), ''), (i % 5)::text, 'o' || i % 5,
            '2026-01-01Z'::timestamptz + i * interval '1 hour 7.654321 s', '1890-01-01Z'::timestamptz + i * interval '9 days 0.001234 s',
            CASE WHEN i % 11 > 0 THEN (i::float8 * 104729) ^ (i % 5 - 2) END) FROM generate_series(1, 10000) i) s(i, p);
SELECT count(*), count(DISTINCT t), md5(string_agg(t, '' ORDER BY i)) FROM (SELECT i, alerting.rfc3339('0300-02-28 23:59:59.999Z BC'::timestamptz + i * interval '19 hours 3 minutes 0.0317 s') FROM generate_series(1, 100000) i) s(i, t);
-- The same value, not only one that looks the same.
SELECT p = p::text::jsonb AS equal, p @> '{"data": {"rule": {"threshold": 80.0}, "alert": {"value": 9.7e1, "resolvedAt": null}}}' AS contains, pg_column_size(p) = pg_column_size(p::text::jsonb) AS as_large,
       p -> 'data' -> 'alert' ->> 'resolveReason' IS NULL AS none
  FROM alerting.firing_payload('a1', 'r1', 'cpu', 'CPU_USAGE', 80, 5, '10', 'web', '1', 'Initech', '2026-03-02 10:00Z', '2026-03-02 10:05Z', 97) p;

-- An end: of each reason, and of what is no beginning of ours.
SELECT alerting.resolved_payload(alerting.firing_payload('a1', 'r1', 'cpu', 'CPU_USAGE', 80, 5, '10', 'web', '1', 'Initech', '2026-03-02 10:00Z', '2026-03-02 10:05Z', 97.25), '2026-03-02 10:07:00.9999Z', r.reason)
  FROM unnest(ARRAY['RECOVERED', 'NO_DATA', 'RULE_DISABLED', 'RULE_CHANGED', 'RULE_DELETED', 'CONTAINER_MOVED', 'CONTAINER_DELETED', 'ALERT_DELETED', 'SOMETHING ELSE', 'X"y', '', NULL]) WITH ORDINALITY AS r(reason, place)
 ORDER BY r.place;
SELECT f.firing, alerting.resolved_payload(f.firing, m.moment, 'RECOVERED')
  FROM unnest(ARRAY['{}', '{"z": 1, "data": {}}', '{"data": null}', '{"data": 1}', '{"data": []}', '{"data": [1]}', '{"data": {"alert": null}}', '{"data": {"alert": [{"x": 1}], "more": true}}',
    '{"data": {"alert": {"status": 1, "more": {"a": [1, 2]}}, "container": {"id": 7}}}', '{"data": {"container": {"name": null, "id": "c"}, "rule": {"name": null}}}',
    '{"data": {"container": {"name": {"a": 1}, "id": "c"}, "rule": {"name": ["x", 1.50]}}}', '{"data": {"container": {"name": true}, "rule": {"name": 12.340}}}',
    '{"data": {"container": {"name": "", "id": "c"}, "rule": {"name": ""}}}', '{"data": {"container": "c", "rule": "r"}}', '{"type": 1, "timestamp": 2, "data": {"summary": 3}}',
    '[]', '[1, {"data": {}}]', '1', '"text"', 'null', NULL]::jsonb[]) WITH ORDINALITY AS f(firing, place), (VALUES ('2026-03-02 10:07Z'::timestamptz)) AS m(moment)
 ORDER BY f.place;
SELECT alerting.resolved_payload('{"data": {"container": {"id": "c"}, "rule": {"name": "n"}}}', t.moment, 'NO_DATA') FROM (VALUES ('infinity'::timestamptz), ('0001-01-01 00:00Z BC'), (NULL)) AS t(moment);
SELECT length(p::text), md5(p::text) FROM repeat('ä"\', 262144) n, alerting.resolved_payload(alerting.firing_payload(n, n, n, 'CPU_USAGE', 80, 0, n, n, n, n, '2026-03-02Z', '2026-03-02Z', 1), '2026-03-02Z', n) p;
SELECT count(*), md5(string_agg(p::text, '' ORDER BY i)), sum(pg_column_size(p))
  FROM (SELECT i, alerting.resolved_payload(alerting.firing_payload('a' || i, md5(i::text), repeat(chr(32 + i % 500), i % 40), 'CPU_USAGE', i, i % 100, i::text, nullif(repeat('x', i % 7), ''), (i % 5)::text, 'o' || i % 5,
            '2026-01-01Z', '2026-01-01Z', i), '1890-01-01Z'::timestamptz + i * interval '9 days 0.001234 s', (ARRAY['RECOVERED', 'NO_DATA', 'Other'])[1 + i % 3]) FROM generate_series(1, 3000) i) s(i, p);

-- Who calls them, and how.
SELECT p.proname, p.provolatile, p.proparallel, p.proisstrict, p.prosecdef, p.proconfig FROM pg_proc p
 WHERE p.pronamespace = 'alerting'::regnamespace AND p.proname IN ('rfc3339', 'condition_summary', 'firing_payload', 'resolved_payload') ORDER BY p.proname;

RESET TimeZone;
DROP EXTENSION alerting CASCADE;

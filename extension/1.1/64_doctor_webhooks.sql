-- The parts of doctor() that look at rules, webhooks and the way to them.

CREATE OR REPLACE FUNCTION alerting.doctor_rules()
RETURNS TABLE (topic text, object text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  enabled bigint := (SELECT count(*) FROM alerting.alert_rule r WHERE r.enabled);
  unfed record;
  odd record;
  good boolean := true;
BEGIN
  topic := 'rules';
  -- No reading of that kind comes from anywhere. (CONTAINER_DOWN goes by silence, too.)
  FOR unfed IN
    SELECT r.condition, count(*) AS rules FROM alerting.alert_rule r
     WHERE r.enabled AND CASE r.condition
             WHEN 'CPU_USAGE' THEN NOT EXISTS (SELECT FROM alerting.metric_source s WHERE s.cpu IS NOT NULL)
             WHEN 'MEMORY_USAGE' THEN NOT EXISTS (SELECT FROM alerting.metric_source s WHERE s.memory IS NOT NULL)
                  AND (NOT EXISTS (SELECT FROM alerting.metric_source s WHERE s.memory_used IS NOT NULL)
                       OR NOT EXISTS (SELECT FROM alerting.metric_source s WHERE s.memory_limit IS NOT NULL))
             WHEN 'RESTART_LOOP' THEN NOT EXISTS (SELECT FROM alerting.metric_source s WHERE s.restarts IS NOT NULL)
             ELSE false END
     GROUP BY 1 ORDER BY 1
  LOOP
    status := 'error';
    detail := format(CASE unfed.rules WHEN 1 THEN '%s enabled rule has' ELSE '%s enabled rules have' END || ' condition %s, but no metrics table maps what it needs.', unfed.rules, unfed.condition);
    hint := 'SELECT alerting.attach_metrics(''...'', ...); with the column or expression that holds it.';
    good := false;
    RETURN NEXT;
  END LOOP;
  FOR odd IN
    SELECT t.problem, t.hint, count(*) AS rules, min(r.id) AS example
      FROM alerting.alert_rule r, LATERAL alerting.odd_threshold(r.condition, r.threshold) t
     WHERE r.enabled AND t.problem IS NOT NULL GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT 3
  LOOP
    object := odd.example;
    status := 'warning';
    detail := format(CASE odd.rules WHEN 1 THEN '%s enabled rule, this one: %s.' ELSE '%s enabled rules, such as this one: %s.' END, odd.rules, odd.problem);
    hint := odd.hint;
    good := false;
    RETURN NEXT;
  END LOOP;
  IF enabled = 0 THEN
    RETURN QUERY SELECT 'rules', NULL, 'warning', 'There is no enabled rule.', 'SELECT alerting.create_rule(organization, name, condition, ...);';
  ELSIF good THEN
    RETURN QUERY SELECT 'rules', NULL, 'ok', format('%s enabled; %s alerts are FIRING.', enabled,
                        (SELECT count(*) FROM alerting.alert a WHERE a.status = 'FIRING')), NULL;
  END IF;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.doctor_webhooks()
RETURNS TABLE (topic text, object text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  most CONSTANT int := 50;
  active bigint := (SELECT count(*) FROM alerting.webhook w WHERE w.is_active);
  w record;
  found_some int := 0;
  untold bigint;
BEGIN
  topic := 'webhooks';
  FOR w IN
    WITH trouble AS MATERIALIZED (
      SELECT x.id FROM alerting.webhook x
       WHERE x.disabled_reason IS NOT NULL
          OR EXISTS (SELECT FROM alerting.delivery d WHERE d.webhook_id = x.id AND d.status = 'PENDING'
                        AND (d.attempts > 0 OR NOT x.is_active OR d.created_at < now() - interval '5 minutes'))
          -- (Who sent a ping that failed was told.)
          OR EXISTS (SELECT FROM alerting.delivery d WHERE d.webhook_id = x.id AND d.status = 'FAILED' AND d.event <> 'ping')
       ORDER BY x.id LIMIT most)
    SELECT h.*, p.origin FROM trouble t JOIN alerting.webhook_public p ON p.id = t.id,
           LATERAL (SELECT * FROM alerting.webhook_health h WHERE h.webhook_id = t.id OFFSET 0) h
     ORDER BY t.id
  LOOP
    object := w.webhook_id;
    found_some := found_some + 1;
    IF w.disabled_reason IS NOT NULL THEN
      status := 'error';
      detail := format('%s was switched off: %s.', w.origin, w.disabled_reason);
      hint := format('When the receiver is mended: UPDATE alerting.webhook SET is_active = true WHERE id = %L;', w.webhook_id);
    ELSIF NOT w.is_active THEN
      status := 'warning';
      detail := format('%s is switched off, %s deliveries wait and %s were given up.', w.origin, w.pending, w.failed);
      hint := format('UPDATE alerting.webhook SET is_active = true WHERE id = %L; or delete it.', w.webhook_id);
    ELSIF w.pending > 0 AND w.failures_in_a_row > 0 THEN
      status := 'error';
      detail := format('%s fails, %s times in a row, %s deliveries wait: %s', w.origin, w.failures_in_a_row, w.pending, w.last_failure)
                || CASE WHEN w.breaker <> 'closed' THEN ' (spared: single requests try whether it answers again)' ELSE '' END;
      hint := CASE WHEN w.last_failure LIKE 'refused network%' THEN 'If it shall be reached, a superuser lists its network in alerting.allowed_networks.'
                   ELSE format('SELECT * FROM alerting.test_webhook(%L); shows its answer.', w.webhook_id) END;
    ELSIF w.failed > 0 THEN
      status := 'warning';
      detail := format('%s: %s deliveries were given up%s.', w.origin, w.failed, coalesce(', the last because of: ' || w.last_failure, ''));
      hint := format('SELECT alerting.redeliver_failed(%L); sends them again; DELETE FROM alerting.delivery forgets them.', w.webhook_id);
    ELSE
      status := 'warning';
      detail := format('%s: %s deliveries wait, the oldest since %s.', w.origin, w.pending, w.oldest_pending_at);
      hint := 'See topics workers and copy, and alerting.delivery.';
    END IF;
    RETURN NEXT;
  END LOOP;
  IF found_some = most THEN
    RETURN QUERY SELECT 'webhooks', NULL, 'warning', format('More than %s have trouble; those are the first.', most - 1), 'SELECT * FROM alerting.webhook_health;';
  ELSIF active = 0 THEN
    RETURN QUERY SELECT 'webhooks', NULL, 'warning', 'There is no active webhook: nobody is told of alerts.', 'SELECT alerting.create_webhook(organization, url, secret => alerting.generate_secret());';
  ELSIF found_some = 0 THEN
    untold := (SELECT count(DISTINCT r.organization_id) FROM alerting.alert_rule r
                WHERE r.enabled AND NOT EXISTS (SELECT FROM alerting.webhook x WHERE x.organization_id = r.organization_id AND x.is_active));
    RETURN QUERY SELECT 'webhooks', NULL, 'ok', format('%s active, and all that is due was delivered.', active)
                        || CASE WHEN untold > 0 THEN format(' %s organizations have rules, but no active webhook.', untold) ELSE '' END, NULL;
  END IF;
END
$function$;

CREATE OR REPLACE FUNCTION alerting.doctor_network()
RETURNS TABLE (topic text, object text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $function$
DECLARE
  networks text := current_setting('alerting.allowed_networks');
  ca_file text := current_setting('alerting.ca_file');
  bundle text;
BEGIN
  topic := 'networks';
  status := CASE WHEN networks ~ '/0+\s*(,|$)' THEN 'warning' ELSE 'ok' END;
  detail := CASE WHEN networks = '' THEN 'Webhooks reach public addresses only, by https.'
                 ELSE format('Beside public addresses, webhooks reach %s.', networks) END;
  hint := CASE WHEN status = 'warning' THEN 'Whoever may create a webhook reaches every address of your network: list only what is needed.' END;
  RETURN NEXT;
  IF (SELECT s.source IN ('client', 'user', 'database user', 'session') FROM pg_settings s WHERE s.name = 'alerting.allowed_networks') THEN
    RETURN QUERY SELECT 'networks', NULL, 'error', 'alerting.allowed_networks is set for this role or session alone: the sender does not see it.',
                        format('ALTER SYSTEM SET alerting.allowed_networks = %L; SELECT pg_reload_conf();', networks);
  END IF;

  topic := 'certificates';
  object := nullif(ca_file, '');
  status := 'error';
  hint := NULL;
  IF ca_file <> '' THEN
    BEGIN
      IF pg_read_file(ca_file) LIKE '%-----BEGIN CERTIFICATE-----%' THEN
        status := 'ok';
        detail := 'The certificate authorities of alerting.ca_file are used.';
      ELSE
        detail := 'alerting.ca_file holds no certificate: every https request fails.';
      END IF;
    EXCEPTION WHEN OTHERS THEN
      detail := format('alerting.ca_file cannot be read, every https request fails: %s', SQLERRM);
    END;
    hint := CASE WHEN status = 'error' THEN 'Name a file of certificates in PEM format that the server''s user may read, or reset the setting.' END;
    RETURN NEXT;
    RETURN;
  END IF;
  SELECT f.path INTO bundle FROM unnest(ARRAY['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/ca-bundle.pem',
           '/etc/ssl/cert.pem', '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem']) AS f(path), pg_stat_file(f.path, true) st
   WHERE st.size > 0 LIMIT 1;
  status := CASE WHEN bundle IS NULL THEN 'warning' ELSE 'ok' END;
  detail := coalesce(format('The system''s certificate authorities are used (%s).', bundle), 'No file of the system''s certificate authorities is in a usual place.');
  hint := CASE WHEN bundle IS NULL THEN 'Install ca-certificates, or name a file in alerting.ca_file.' END;
  RETURN NEXT;
END
$function$;

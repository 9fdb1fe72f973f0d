-- The tables' manual, to be read with \d+ in psql.
CREATE OR REPLACE FUNCTION alerting.comment_tables() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  COMMENT ON TABLE alerting.host_binding IS 'The host''s tables that alerting is bound to: one row, written by alerting.attach()';
  COMMENT ON COLUMN alerting.host_binding.id IS 'Always true: there is one binding';
  COMMENT ON COLUMN alerting.host_binding.organizations IS 'Table of the organizations (tenants)';
  COMMENT ON COLUMN alerting.host_binding.containers IS 'Table of the containers';
  COMMENT ON COLUMN alerting.host_binding.organization IS 'A container''s organization: a quoted column of the containers table, or an SQL expression over its row c with all names qualified';
  COMMENT ON COLUMN alerting.host_binding.organization_is_column IS 'Whether organization is a plain column';
  COMMENT ON COLUMN alerting.host_binding.name IS 'Quoted column that names a container in alerts and webhooks, NULL for none';
  COMMENT ON COLUMN alerting.host_binding.organization_name IS 'Quoted column that names an organization in webhooks, NULL for none';
  COMMENT ON COLUMN alerting.host_binding.container_key IS 'Quoted key column of the containers table';
  COMMENT ON COLUMN alerting.host_binding.container_key_kind IS 'How keys of containers are handled: text, uuid or int8';
  COMMENT ON COLUMN alerting.host_binding.organization_key IS 'Quoted key column of the organizations table';
  COMMENT ON COLUMN alerting.host_binding.database_oid IS 'OID of the database that may send webhooks; a restored copy has another one and holds its deliveries until alerting.resume()';
  COMMENT ON COLUMN alerting.host_binding.alert_oid IS 'OID of table alert in the database that may send webhooks, see database_oid';
  COMMENT ON COLUMN alerting.host_binding.system_id IS 'System identifier of the server whose database may send webhooks, see database_oid';
  COMMENT ON COLUMN alerting.host_binding.written_by IS 'Transaction that recorded this; it tells a server that pg_upgrade made from one that a dump was restored in';
  COMMENT ON COLUMN alerting.host_binding.layout IS 'Version of the layout of alerting''s tables';
  COMMENT ON COLUMN alerting.host_binding.created_at IS 'When the tables were first attached';
  COMMENT ON COLUMN alerting.host_binding.updated_at IS 'When the binding was last changed';

  COMMENT ON TABLE alerting.metric_source IS 'The host''s metrics tables and how their rows are read, written by alerting.attach_metrics(). A mapping is a quoted column or an SQL expression over the metric''s row m; NULL: not mapped';
  COMMENT ON COLUMN alerting.metric_source.id IS 'Number of the source';
  COMMENT ON COLUMN alerting.metric_source.metrics IS 'The metrics table';
  COMMENT ON COLUMN alerting.metric_source.container IS 'Mapping: key of the container';
  COMMENT ON COLUMN alerting.metric_source.at IS 'Mapping: time of the sample';
  COMMENT ON COLUMN alerting.metric_source.cpu IS 'Mapping: CPU usage in percent';
  COMMENT ON COLUMN alerting.metric_source.memory IS 'Mapping: memory usage in percent';
  COMMENT ON COLUMN alerting.metric_source.memory_used IS 'Mapping: memory in use, in the unit of memory_limit';
  COMMENT ON COLUMN alerting.metric_source.memory_limit IS 'Mapping: limit of memory; 0, negative or absurdly large is no limit';
  COMMENT ON COLUMN alerting.metric_source.running IS 'Mapping: whether the container runs (boolean)';
  COMMENT ON COLUMN alerting.metric_source.restarts IS 'Mapping: counter of restarts; a fall is a reset';
  COMMENT ON COLUMN alerting.metric_source.max_age IS 'A sample older than this at its arrival is backfill and not evaluated; NULL: no limit';
  COMMENT ON COLUMN alerting.metric_source.stale_after IS 'A container silent for longer counts as without data, see alert_rule.no_data';
  COMMENT ON COLUMN alerting.metric_source.time_zone IS 'Time zone of a time given without one';
  COMMENT ON COLUMN alerting.metric_source.at_unit IS 'Unit of a time given as a number since 1970: s, ms or us';
  COMMENT ON COLUMN alerting.metric_source.level IS 'Capture triggers of the table: statement, or row (partitions, hypertables, logical replication)';
  COMMENT ON COLUMN alerting.metric_source.created_at IS 'When the table was first attached';
  COMMENT ON COLUMN alerting.metric_source.updated_at IS 'When its mapping was last changed';

  COMMENT ON TABLE alerting.series_state IS 'What the evaluator must remember over a restart, in its own format; nothing to read or write for anybody else';
  COMMENT ON COLUMN alerting.series_state.chunk IS 'Number of the chunk';
  COMMENT ON COLUMN alerting.series_state.state IS 'Last judged readings, pending runs and restart windows of the chunk''s containers';
  COMMENT ON COLUMN alerting.series_state.saved_at IS 'When the chunk was saved';

  COMMENT ON TABLE alerting.alert_rule IS 'What is watched for: one condition for all containers of one organization';
  COMMENT ON COLUMN alerting.alert_rule.id IS 'Any text; made by alerting.cuid() when left out';
  COMMENT ON COLUMN alerting.alert_rule.organization_id IS 'Organization whose containers are watched; its deletion deletes the rule';
  COMMENT ON COLUMN alerting.alert_rule.name IS 'Name for people, in alerts and webhooks';
  COMMENT ON COLUMN alerting.alert_rule.condition IS 'CPU_USAGE or MEMORY_USAGE (percent above threshold), CONTAINER_DOWN (not running), RESTART_LOOP (restarts in the last duration minutes above threshold)';
  COMMENT ON COLUMN alerting.alert_rule.threshold IS 'Breach strictly above: percent for CPU_USAGE and MEMORY_USAGE, restarts for RESTART_LOOP (3 when left out); unused by CONTAINER_DOWN';
  COMMENT ON COLUMN alerting.alert_rule.duration IS 'Minutes that a breach must persist before it fires, 0: at once; for RESTART_LOOP the window that restarts are counted in';
  COMMENT ON COLUMN alerting.alert_rule.no_data IS 'When a container is silent for longer than metric_source.stale_after: keep (an alert stays as it is), resolve, or fire; left out at INSERT: fire for CONTAINER_DOWN, else keep. An UPDATE of the condition leaves it as it is';
  COMMENT ON COLUMN alerting.alert_rule.enabled IS 'A disabled rule is not evaluated; its alerts are resolved';
  COMMENT ON COLUMN alerting.alert_rule.created_at IS 'When the rule was made';
  COMMENT ON COLUMN alerting.alert_rule.updated_at IS 'When the rule was last changed; kept by a trigger';

  COMMENT ON TABLE alerting.alert IS 'One row for each incident of a rule and a container, written by the evaluator';
  COMMENT ON COLUMN alerting.alert.id IS 'Identity, also in webhooks';
  COMMENT ON COLUMN alerting.alert.rule_id IS 'Rule that was breached; its deletion deletes the alert';
  COMMENT ON COLUMN alerting.alert.container_id IS 'Container that breached it; its deletion deletes the alert';
  COMMENT ON COLUMN alerting.alert.status IS 'FIRING or RESOLVED; one FIRING row at most for each rule and container';
  COMMENT ON COLUMN alerting.alert.started_at IS 'Time of the first sample of the breach';
  COMMENT ON COLUMN alerting.alert.fired_at IS 'Time at which the breach had lasted for the rule''s duration';
  COMMENT ON COLUMN alerting.alert.resolved_at IS 'Time of the sample, or deadline, that ended it; NULL while FIRING';
  COMMENT ON COLUMN alerting.alert.value IS 'The reading at fired_at: percent, or restarts in the window; NULL when there is none';
  COMMENT ON COLUMN alerting.alert.resolve_reason IS 'RECOVERED, NO_DATA, RULE_DISABLED, RULE_CHANGED or CONTAINER_MOVED; NULL while FIRING. (CONTAINER_DELETED, RULE_DELETED and ALERT_DELETED are in webhooks only: the row is gone)';
  COMMENT ON COLUMN alerting.alert.created_at IS 'When the row was written';

  PERFORM alerting.comment_delivery_tables();
END
$function$;

CREATE OR REPLACE FUNCTION alerting.comment_delivery_tables() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  COMMENT ON TABLE alerting.webhook IS 'Where an organization wants its alerts sent: a signed POST for each alert that fires or is resolved';
  COMMENT ON COLUMN alerting.webhook.id IS 'Any text; made by alerting.cuid() when left out';
  COMMENT ON COLUMN alerting.webhook.organization_id IS 'Organization whose alerts are sent; its deletion deletes the webhook';
  COMMENT ON COLUMN alerting.webhook.url IS 'https URL, or http to a network listed in setting alerting.allowed_networks; no userinfo. Checked by a trigger, and its addresses again at each connection';
  COMMENT ON COLUMN alerting.webhook.secret IS 'Key of the signature: whsec_ and base64, or any text; NULL: unsigned. Grant this column to nobody who only reads';
  COMMENT ON COLUMN alerting.webhook.is_active IS 'Whether anything is sent; what is pending waits while false';
  COMMENT ON COLUMN alerting.webhook.retry_schedule IS 'Pause before each retry of a failed delivery, instead of the default schedule; after the last one the delivery is FAILED';
  COMMENT ON COLUMN alerting.webhook.disabled_reason IS 'Why alerting switched is_active off (the receiver answered 410 Gone, or five days brought nothing but failures); cleared when it is switched on again';
  COMMENT ON COLUMN alerting.webhook.headers IS 'More headers of each request: an object of names and values, none of them reserved. Values may be secrets: grant this column to nobody who only reads';
  COMMENT ON COLUMN alerting.webhook.rate_limit IS 'Requests a minute at most, as many at once as a second brings; NULL: no limit';
  COMMENT ON COLUMN alerting.webhook.max_concurrent IS 'Requests under way at a time at most; NULL: as many as the endpoint proves to take, 32 at most';
  COMMENT ON COLUMN alerting.webhook.probe_at IS 'While the endpoint fails all the time: when a single request tests it next. NULL: it does not. Written by the sender; set it to NULL to have the endpoint tried at once';
  COMMENT ON COLUMN alerting.webhook.created_at IS 'When the webhook was made';
  COMMENT ON COLUMN alerting.webhook.updated_at IS 'When the webhook was last changed; kept by a trigger';

  COMMENT ON TABLE alerting.delivery IS 'Outbox: one row for each event and webhook, written with the alert''s change and sent at least once';
  COMMENT ON COLUMN alerting.delivery.id IS 'Header webhook-id, the same over all attempts';
  COMMENT ON COLUMN alerting.delivery.seq IS 'Order of the deliveries';
  COMMENT ON COLUMN alerting.delivery.webhook_id IS 'Webhook it goes to; its deletion deletes the delivery';
  COMMENT ON COLUMN alerting.delivery.alert_id IS 'Alert it is about, also when that is deleted; NULL for a ping';
  COMMENT ON COLUMN alerting.delivery.event IS 'alert.firing, alert.resolved or ping';
  COMMENT ON COLUMN alerting.delivery.payload IS 'Body, rendered once and never changed';
  COMMENT ON COLUMN alerting.delivery.status IS 'PENDING, DELIVERED, or FAILED (all retries used up; alerting.redeliver(id) sends it again)';
  COMMENT ON COLUMN alerting.delivery.attempts IS 'Attempts made';
  COMMENT ON COLUMN alerting.delivery.next_attempt_at IS 'Earliest time of the next attempt while PENDING';
  COMMENT ON COLUMN alerting.delivery.delivered_at IS 'When a 2xx answer came';
  COMMENT ON COLUMN alerting.delivery.last_status IS 'HTTP status of the last attempt, NULL when none came';
  COMMENT ON COLUMN alerting.delivery.last_error IS 'What failed at the last attempt';
  COMMENT ON COLUMN alerting.delivery.created_at IS 'When the event happened; delivered rows older than setting alerting.delivery_retention are removed, failed ones after four times as long';

  COMMENT ON TABLE alerting.delivery_attempt IS 'Log of every request: what to read when a webhook did not come';
  COMMENT ON COLUMN alerting.delivery_attempt.id IS 'Order of the attempts';
  COMMENT ON COLUMN alerting.delivery_attempt.delivery_id IS 'Delivery that was attempted';
  COMMENT ON COLUMN alerting.delivery_attempt.at IS 'When the attempt began';
  COMMENT ON COLUMN alerting.delivery_attempt.status_code IS 'HTTP status, NULL when none came';
  COMMENT ON COLUMN alerting.delivery_attempt.error IS 'What failed, NULL for a success';
  COMMENT ON COLUMN alerting.delivery_attempt.duration_ms IS 'Milliseconds from the start to the end of the attempt';
  COMMENT ON COLUMN alerting.delivery_attempt.dns_ms IS 'Milliseconds to resolve the host name; NULL where the phase was not reached or not needed (a kept connection)';
  COMMENT ON COLUMN alerting.delivery_attempt.connect_ms IS 'Milliseconds to connect after that';
  COMMENT ON COLUMN alerting.delivery_attempt.tls_ms IS 'Milliseconds of the TLS handshake after that';
  COMMENT ON COLUMN alerting.delivery_attempt.wait_ms IS 'Milliseconds from the request to the first byte of the answer';
  COMMENT ON COLUMN alerting.delivery_attempt.response IS 'Start of the answer''s body';

  COMMENT ON VIEW alerting.active_alert IS 'Alerts that are FIRING, with rule and container; since is started_at. Runs with the reader''s rights, who also needs SELECT on the containers table and EXECUTE on alerting.container_name(text)';
  COMMENT ON COLUMN alerting.active_alert.rule_name IS 'Name of the rule';
  COMMENT ON COLUMN alerting.active_alert.container_name IS 'Name of the container, where attach was told or found a column for it';
  COMMENT ON COLUMN alerting.active_alert.since IS 'The same as started_at';
  COMMENT ON VIEW alerting.webhook_public IS 'Webhooks without secret, headers, and path and query of the URL. Runs with the reader''s rights: SELECT on the columns of webhook other than secret and headers';
  COMMENT ON COLUMN alerting.webhook_public.origin IS 'Scheme, host and port of the URL';
  COMMENT ON VIEW alerting.webhook_health IS 'How each webhook fares. Runs with the reader''s rights: SELECT on delivery, delivery_attempt and the columns of webhook shown here';
  COMMENT ON COLUMN alerting.webhook_health.webhook_id IS 'webhook.id';
  COMMENT ON COLUMN alerting.webhook_health.pending IS 'Deliveries that wait';
  COMMENT ON COLUMN alerting.webhook_health.oldest_pending_at IS 'When the oldest of them was made';
  COMMENT ON COLUMN alerting.webhook_health.next_attempt_at IS 'When the next of them is due, not before probe_at';
  COMMENT ON COLUMN alerting.webhook_health.failed IS 'Deliveries that were given up and are kept for redeliver() and redeliver_failed()';
  COMMENT ON COLUMN alerting.webhook_health.last_success_at IS 'When a delivery arrived last';
  COMMENT ON COLUMN alerting.webhook_health.last_failure_at IS 'When an attempt failed last';
  COMMENT ON COLUMN alerting.webhook_health.last_failure IS 'Why it failed';
  COMMENT ON COLUMN alerting.webhook_health.failures_in_a_row IS 'Attempts that failed since the last success; from 10 on the endpoint is only probed, with pauses from 10 seconds to 5 minutes';
  COMMENT ON COLUMN alerting.webhook_health.attempts_24h IS 'Attempts of the last 24 hours';
  COMMENT ON COLUMN alerting.webhook_health.success_ratio_24h IS 'Share of them that succeeded';
  COMMENT ON COLUMN alerting.webhook_health.p50_ms_24h IS 'Median of their milliseconds';
  COMMENT ON COLUMN alerting.webhook_health.p95_ms_24h IS '95th percentile of their milliseconds';
  COMMENT ON COLUMN alerting.webhook_health.breaker IS 'closed; open after ten failures in a row: nothing is sent until probe_at; half-open: a single request is to test the endpoint now';
  COMMENT ON COLUMN alerting.webhook_health.probe_at IS 'When that request goes out';
END
$function$;

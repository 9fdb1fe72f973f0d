-- The functions' manual, to be read with \df+ in psql.

COMMENT ON FUNCTION alerting.attach(regclass, regclass, text, text) IS
'Binds alerting to the host''s tables, creating alerting''s own tables the first time. organizations, containers: tables with a key of one column, of nearly any type (docs/binding.md). organization: a containers column, or an SQL expression over its row c, that gives a container''s organization; guessed when left out. name: the column that names a container. Returns lines that say what is bound or what changed; calling it again changes nothing. Needs ownership of both tables';
COMMENT ON FUNCTION alerting.attach_metrics(regclass, text, text, text, text, text, text, text, text, interval, interval, text, text, text) IS
'Takes samples from a metrics table: every INSERT, COPY and UPDATE. Each mapping is a column or an SQL expression over one row m: container (its key), at (time of the sample), cpu and memory (percent), memory_used and memory_limit (same unit), running (boolean), restarts (a counter). What is left out is guessed from usual names, '''' maps nothing. max_age: older samples are not evaluated (NULL: no limit); stale_after: how long a container may be silent; time_zone: of times without one, also in expressions; at_unit: s, ms or us for times that are numbers; level: row or statement triggers. Returns lines that say what is attached or what changed. Needs ownership of the table';
COMMENT ON FUNCTION alerting.detach() IS
'Undoes attach and every attach_metrics: removes the triggers from the host''s tables and stops evaluation. Rules, webhooks, alerts and deliveries are kept, with their foreign keys. Returns lines that say what was detached';
COMMENT ON FUNCTION alerting.detach_metrics(regclass) IS
'Undoes attach_metrics for one table. Returns a line that says so; an error if the table is not attached';

COMMENT ON FUNCTION alerting.create_rule(text, text, text, float8, int, text, boolean) IS
'Makes a rule, as an INSERT into alerting.alert_rule does, and returns its id. organization: its key; condition: CPU_USAGE, MEMORY_USAGE, CONTAINER_DOWN or RESTART_LOOP; threshold: percent or restarts, above which it breaches; duration: minutes that a breach must last before it fires (0: at once), of RESTART_LOOP the window in which restarts are counted; no_data: what a container''s silence does: keep (nothing; default), resolve (ends the alert) or fire (default of CONTAINER_DOWN)';
COMMENT ON FUNCTION alerting.create_rule(bigint, text, text, float8, int, text, boolean) IS 'As create_rule(text, ...), for organizations with integer keys';
COMMENT ON FUNCTION alerting.create_rule(uuid, text, text, float8, int, text, boolean) IS 'As create_rule(text, ...), for organizations with uuid keys';
COMMENT ON FUNCTION alerting.import_prometheus_rule(text, text, text) IS
'Makes a rule of an alerting rule of Prometheus and returns its id. rule: one rule as a rule file holds it (YAML), as JSON, or its expression alone. name: instead of the rule''s own. Known shapes: CPU or memory in percent > number, increase(restarts[10m]) or changes(start_time[10m]) > number, up == 0 and absent(metric); "for" in whole minutes. A NOTICE says what it became; any other shape is an error that says why';
COMMENT ON FUNCTION alerting.import_prometheus_rule(bigint, text, text) IS 'As import_prometheus_rule(text, ...), for organizations with integer keys';
COMMENT ON FUNCTION alerting.import_prometheus_rule(uuid, text, text) IS 'As import_prometheus_rule(text, ...), for organizations with uuid keys';
COMMENT ON FUNCTION alerting.create_webhook(text, text, text, interval[], boolean, jsonb, int, int) IS
'Makes a webhook, as an INSERT into alerting.webhook does, and returns its id. organization: its key; url: https, or http to a network in alerting.allowed_networks; secret: signs the requests (whsec_ and base64, or any text); retry_schedule: pause before each retry; headers: more headers of each request; rate_limit: requests a minute; max_concurrent: requests at a time';
COMMENT ON FUNCTION alerting.create_webhook(bigint, text, text, interval[], boolean, jsonb, int, int) IS 'As create_webhook(text, ...), for organizations with integer keys';
COMMENT ON FUNCTION alerting.create_webhook(uuid, text, text, interval[], boolean, jsonb, int, int) IS 'As create_webhook(text, ...), for organizations with uuid keys';

COMMENT ON FUNCTION alerting.flush(interval, boolean) IS
'Waits until everything that was committed before is evaluated and, with deliveries, every webhook of it is delivered or parked. True when done, false (with a NOTICE) when the time ran out. Its statement''s snapshot is held meanwhile, as any query''s: give no time of hours';
COMMENT ON FUNCTION alerting.status() IS
'Workers, queue, lag and counters of this database, in one row. state: running, starting, stopped (by stop()), disabled (alerting.enabled), deliveries held (a copy: resume()), not attached, outdated (the extension and the library differ in version) or standby; problem: why a worker''s last step failed; lag: how far the evaluator is behind the newest commit; replay_pending: rows that had no room in the queue are read from their tables. Counters, since the workers first started: samples, among them late and backfill, which are not judged; skipped: rows that could not be read; unknown: rows of no known container; transitions: alerts that fired or were resolved';
COMMENT ON FUNCTION alerting.doctor() IS
'Checks what commonly goes wrong, from preloading to failing webhooks, and says what to do. A row for each check: topic; object: the table, webhook or file it is about; status: ok, warning (works, but), error (does not work) or unknown; detail: what was found; hint: what to do. Ask for what is wrong: SELECT * FROM alerting.doctor() WHERE status <> ''ok''. Runs with the rights of the extension''s owner, shows no secret and nothing of a URL but scheme, host and port; waits up to 5 seconds for workers that are starting';
COMMENT ON FUNCTION alerting.library_version() IS 'Version of the extension that the loaded library serves';
COMMENT ON FUNCTION alerting.start() IS 'Starts this database''s workers at commit, after stop() or a restart of the server';
COMMENT ON FUNCTION alerting.stop() IS 'Stops this database''s workers until start(): nothing is judged or sent meanwhile, and rows inserted meanwhile are read afterwards';
COMMENT ON FUNCTION alerting.resume() IS 'Lets a restored copy of a database send its webhooks: until then it holds them, so that a copy pages nobody';
COMMENT ON FUNCTION alerting.test_webhook(text) IS
'Sends a ping to a webhook by the way that real deliveries take, waits for the answer and shows it. id: webhook.id';
COMMENT ON FUNCTION alerting.generate_secret() IS
'A new secret for a webhook: whsec_ and 32 random bytes in base64. To replace one, let the webhook''s secret be the new and the old one, separated by a space, until the receiver knows the new one: requests bear both signatures';
COMMENT ON FUNCTION alerting.webhook_signature(text, text, timestamptz, text) IS
'The header webhook-signature of a request with this webhook-id, webhook-timestamp and body, to try a receiver out. Give it a secret made for that: arguments may be logged';
COMMENT ON FUNCTION alerting.redeliver(text) IS
'Sends a delivery again, whatever its status; its retries start anew. id: delivery.id';
COMMENT ON FUNCTION alerting.redeliver_failed(text, timestamptz, timestamptz) IS
'Sends again the deliveries that were given up: all, or those of one webhook, made in [since, until). Returns how many. Runs with the rights of the tables'' owner';
COMMENT ON FUNCTION alerting.preview(text, timestamptz, timestamptz) IS
'The alerts that a rule would have raised over the metrics stored from since to until (both included), judged as the evaluator judges, as if each row had arrived at its own time; writes nothing. One row for each alert: status FIRING when it had not ended by until; value is the reading at fired_at, peak the highest while it lasted. History does not record when rows arrived nor who owned a container: no_data counts as keep (silence raises and ends nothing), containers count for the organization they belong to now, and restarts and runs from before since are not known. A disabled rule is previewed as if it were enabled. Reads the metrics with their tables'' owners'' rights: grant EXECUTE to those who may see them';
COMMENT ON FUNCTION alerting.preview(text, text, float8, int, timestamptz, timestamptz) IS
'As preview(text, ...), for a rule that does not exist yet. organization: its key; condition, threshold and duration as in alerting.alert_rule';
COMMENT ON FUNCTION alerting.preview(bigint, text, float8, int, timestamptz, timestamptz) IS 'As preview(text, text, ...), for organizations with integer keys';
COMMENT ON FUNCTION alerting.preview(uuid, text, float8, int, timestamptz, timestamptz) IS 'As preview(text, text, ...), for organizations with uuid keys';
COMMENT ON FUNCTION alerting.explain(text, text) IS
'Why a rule does or does not fire on a container now. state: OK, PENDING, FIRING, NO_DATA (its metric was never read), DISABLED, or NOT_APPLICABLE (another organization''s container). since: begin of the breach; last_at, last_value: last reading (percent, restarts in the window, or 1 for running and 0 for not); fires_at, resolves_at: earliest time at which it may fire, or at which the clock alone resolves it; silent: nothing came for longer than stale_after; explanation: all of it in words, and what holds it up. Times are the samples'' own. Rows that the evaluator has not saved yet count as if they had arrived at their own time. container: its key as text';
COMMENT ON FUNCTION alerting.explain(text, bigint) IS 'As explain(text, text), for containers with integer keys';
COMMENT ON FUNCTION alerting.explain(text, uuid) IS 'As explain(text, text), for containers with uuid keys';
COMMENT ON FUNCTION alerting.cuid() IS
'A new id: 25 characters, sortable by time. Default of the id columns; a role that inserts without an id needs EXECUTE';

COMMENT ON FUNCTION alerting.firing_payload(text, text, text, text, float8, int, text, text, text, text, timestamptz, timestamptz, float8) IS
'Body of the webhook of an alert that fires';
COMMENT ON FUNCTION alerting.resolved_payload(jsonb, timestamptz, text) IS
'Body of the webhook of an alert that ends, made of the body sent when it fired; reason as in alert.resolve_reason';
COMMENT ON FUNCTION alerting.condition_summary(text, float8, int, float8) IS 'One line for people that says what was breached';
COMMENT ON FUNCTION alerting.rfc3339(timestamptz) IS 'A time as RFC 3339 writes it, in UTC with milliseconds';
COMMENT ON FUNCTION alerting.container_name(text) IS 'Name of the container with this key, by the column given as name to attach; NULL when there is none';
COMMENT ON FUNCTION alerting.describe_mapping(regclass, text, text, text, regtype, text) IS
'What a mapping means: its SQL with every name qualified, its type, the columns it reads, and whether it can be cast to target. what names it in errors; path is the search_path to look names up in. Errors when it is no single expression over one row without side effects';
COMMENT ON FUNCTION alerting.repair() IS
'Gives alerting''s and the host''s tables what DROP EXTENSION took from them: defaults, triggers, views. Returns how many things were missing';
COMMENT ON FUNCTION alerting.bind_host() IS 'What CREATE EXTENSION does at its end: adopts existing tables of alerting, or binds to the usual tables of the host';

COMMENT ON FUNCTION alerting.update_tables() IS 'What ALTER EXTENSION UPDATE does at its end: brings the tables to this version''s layout and repairs them';

COMMENT ON FUNCTION alerting.capture() IS 'Trigger on metrics tables: takes the new rows'' samples and hands them over at COMMIT. Never fails the statement';
COMMENT ON FUNCTION alerting.container_changed() IS 'Trigger on the containers table: tells the evaluator of deleted and moved containers';
COMMENT ON FUNCTION alerting.rule_changed() IS 'Trigger on alert_rule: tells the evaluator';
COMMENT ON FUNCTION alerting.binding_changed() IS 'Trigger on host_binding and metric_source: starts the workers and tells them';
COMMENT ON FUNCTION alerting.delivery_changed() IS 'Trigger on delivery and webhook: wakes the sender';
COMMENT ON FUNCTION alerting.check_webhook() IS 'Trigger on webhook: refuses a bad URL, secret or retry schedule';
COMMENT ON FUNCTION alerting.alert_deleted() IS 'Trigger on alert: tells the receivers that a FIRING alert which is deleted is over';
COMMENT ON FUNCTION alerting.alert_truncated() IS 'Trigger on alert: the same for TRUNCATE';
COMMENT ON FUNCTION alerting.rule_defaults() IS 'Trigger on alert_rule: fills no_data, a restart threshold and updated_at, and says what is wrong with a bad rule';
COMMENT ON FUNCTION alerting.check_mapping() IS 'Trigger on host_binding and metric_source: who writes a mapping must own the tables it is about, with whose owner''s rights it runs';
COMMENT ON FUNCTION alerting.webhook_touched() IS 'Trigger on webhook: keeps updated_at, clears disabled_reason';
COMMENT ON FUNCTION alerting.on_drop_extension() IS 'Event trigger: tells the workers that the extension is dropped';
COMMENT ON EVENT TRIGGER alerting_drop_extension IS 'Tells the workers that the extension is dropped';
COMMENT ON FUNCTION alerting.on_alter_table() IS 'Event trigger: has the rows judged that an attached partition brings into a metrics table';
COMMENT ON FUNCTION alerting.on_alter_schema() IS 'Event trigger: refuses another name for the extension''s schema';
COMMENT ON EVENT TRIGGER alerting_schema_altered IS 'Refuses another name for the extension''s schema';
COMMENT ON EVENT TRIGGER alerting_partition_attached IS 'Has the rows judged that an attached partition brings into a metrics table';
COMMENT ON SCHEMA alerting IS 'Rules, alerts, webhooks and deliveries of extension alerting, and its functions';

-- The rest take keys of other types, or are parts of attach, attach_metrics and detach.
DO $do$
DECLARE
  part record;
BEGIN
  FOR part IN
    SELECT p.oid::pg_catalog.regprocedure AS signature,
           EXISTS (SELECT FROM pg_catalog.pg_proc o
                    WHERE o.pronamespace OPERATOR(pg_catalog.=) p.pronamespace AND o.proname OPERATOR(pg_catalog.=) p.proname
                      AND o.oid OPERATOR(pg_catalog.<>) p.oid AND pg_catalog.obj_description(o.oid, 'pg_proc') IS NOT NULL) AS has_model
      FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid
     WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype OPERATOR(pg_catalog.=) 'e'
       AND d.refobjid OPERATOR(pg_catalog.=) (SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'alerting')
       AND pg_catalog.obj_description(p.oid, 'pg_proc') IS NULL
  LOOP
    EXECUTE pg_catalog.format('COMMENT ON FUNCTION %s IS %L', part.signature,
      CASE WHEN part.has_model THEN 'As the function of this name that takes a key as text'
           ELSE 'Internal: a part of alerting''s other functions' END);
  END LOOP;
END
$do$;

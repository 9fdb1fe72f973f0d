-- Everything lies in one JSONB document, some figures as strings, some absent.
SELECT alerting.attach(organizations => 'accounts', containers => 'services',
  organization => '(SELECT k.account_id FROM clusters k WHERE k.id = c.cluster_id)');
SELECT alerting.attach_metrics('metrics', container => 'service_id', at => '(metadata->>''sampled_at'')::timestamptz',
  cpu => '100.0 * (metadata->''cpu''->>''usage_millicores'')::float8 / nullif((metadata->''cpu''->>''limit_millicores'')::float8, 0)',
  memory => '100.0 * (metadata->''memory''->>''usage_bytes'')::float8 / nullif((metadata->''memory''->>''limit_bytes'')::float8, 0)',
  running => 'metadata->>''phase'' = ''Running''', restarts => '(metadata->>''restarts'')::float8', max_age => NULL);

SELECT alerting.create_rule(a.id, r.name, r.condition, r.threshold, r.duration, 'keep')
  FROM accounts a, (VALUES
    ('R1', 'RESTART_LOOP', 3, 10), ('R2', 'CONTAINER_DOWN', NULL, 3), ('R3', 'MEMORY_USAGE', 90, 5)) AS r(name, condition, threshold, duration)
 WHERE a.id = 1;

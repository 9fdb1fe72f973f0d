-- Organizations have uuid keys, containers integer ones. A missing or zero limit means one core.
SELECT alerting.attach(organizations => 'accounts_organization', containers => 'inventory_container', organization => 'organization_id');
SELECT alerting.attach_metrics('monitoring_containersample', container => 'container_id', at => '"timestamp"',
  cpu => '100 * cpu_usage / coalesce(nullif(cpu_limit, 0), 1)', memory => '100.0 * memory_usage / nullif(memory_limit, 0)',
  running => 'status = ''running''', restarts => 'restart_count', max_age => NULL);

SELECT alerting.create_rule(o.id, r.name, r.condition, r.threshold, r.duration, 'keep')
  FROM accounts_organization o, (VALUES
    ('R1', 'CPU_USAGE', 85, 5), ('R2', 'CONTAINER_DOWN', NULL, 1), ('R3', 'RESTART_LOOP', 4, 15)) AS r(name, condition, threshold, duration)
 WHERE o.name = 'Umbrella';

-- Partitions that come and go; a limit of 0 or the kernel's "unlimited" is none, which memory_used and memory_limit know.
SELECT alerting.attach(organizations => 'tenants', containers => 'workloads',
  organization => '(SELECT p.tenant_id FROM projects p WHERE p.id = c.project_id)');
SELECT alerting.attach_metrics('workload_samples', container => 'workload_id', at => 'sampled_at',
  cpu => '100 * cpu_cores / nullif(cpu_quota_cores, 0)', memory_used => 'mem_bytes', memory_limit => 'mem_limit_bytes',
  running => 'state = ''running''', restarts => 'restarts', max_age => NULL);

SELECT alerting.create_rule(t.id, r.name, r.condition, r.threshold, r.duration, 'keep')
  FROM tenants t, (VALUES
    ('R1', 'CPU_USAGE', 90, 5), ('R2', 'RESTART_LOOP', 3, 5), ('R3', 'CONTAINER_DOWN', NULL, 10),
    ('R4', 'MEMORY_USAGE', 90, 1)) AS r(name, condition, threshold, duration)
 WHERE t.slug = 'stark';

-- Two sources: a table of samples, and the containers' own rows, which the inventory sync updates in place.
SELECT alerting.attach(organizations => '"Organization"', containers => '"Container"',
  organization => '(SELECT h."organizationId" FROM "Host" h WHERE h.id = c."hostId")');
SELECT alerting.attach_metrics('"ContainerMetric"', container => '"containerId"', at => '"timestamp"', cpu => '"cpuPercent"',
  memory => '100.0 * m."memoryBytes" / (SELECT h."memoryTotalBytes" FROM "Host" h JOIN "Container" c ON c."hostId" = h.id WHERE c.id = m."containerId")',
  max_age => NULL);
SELECT alerting.attach_metrics('"Container"', container => 'id', at => '"updatedAt"',
  running => 'state = ''running''', restarts => '"restartCount"', max_age => NULL);

SELECT alerting.create_rule(o.id, r.name, r.condition, r.threshold, r.duration, 'keep')
  FROM "Organization" o JOIN (VALUES
    ('acme', 'R1', 'CPU_USAGE', 80, 5), ('acme', 'R2', 'MEMORY_USAGE', 90, 3),
    ('globex', 'R3', 'CONTAINER_DOWN', NULL, 2)) AS r(slug, name, condition, threshold, duration) ON r.slug = o.slug;

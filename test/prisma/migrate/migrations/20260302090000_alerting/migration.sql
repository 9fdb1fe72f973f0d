CREATE EXTENSION alerting;

SELECT alerting.attach('"Organization"', '"Container"',
  organization => '(SELECT h."organizationId" FROM "Host" h WHERE h.id = c."hostId")');

SELECT alerting.attach_metrics('"ContainerMetric"', container => '"containerId"', at => '"timestamp"',
  cpu => '"cpuPercent"', memory_used => '"memoryUsage"', memory_limit => '"memoryLimit"');

SELECT alerting.attach_metrics('"Container"', container => 'id', at => '"updatedAt"',
  running => 'state = ''running''', restarts => '"restartCount"');


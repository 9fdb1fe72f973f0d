-- One row per figure: every mapping picks the rows it is about. Names are looked up where that is clearer than a number.
SELECT alerting.attach(organizations => 'organizations', containers => 'containers',
  organization => '(SELECT a.organization_id FROM agents a WHERE a.id = c.agent_id)');
SELECT alerting.attach_metrics('samples', container => 'container_id', at => 'time',
  cpu => 'CASE metric_id WHEN 1 THEN value END', memory_used => 'CASE metric_id WHEN 2 THEN value END',
  memory_limit => 'CASE metric_id WHEN 3 THEN value END',
  running => 'CASE WHEN metric_id = (SELECT n.id FROM metric_names n WHERE n.name = ''up'') THEN value > 0 END',
  restarts => 'CASE WHEN (SELECT n.name FROM metric_names n WHERE n.id = m.metric_id) = ''restarts_total'' THEN value END',
  max_age => NULL);

SELECT alerting.create_rule(o.id, r.name, r.condition, r.threshold, r.duration, 'keep')
  FROM organizations o, (VALUES
    ('R1', 'CPU_USAGE', 95, 5), ('R2', 'MEMORY_USAGE', 90, 5), ('R3', 'CONTAINER_DOWN', NULL, 3)) AS r(name, condition, threshold, duration)
 WHERE o.name = 'Tyrell';

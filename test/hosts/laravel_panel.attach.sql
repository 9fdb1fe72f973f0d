-- Times without time zone are read as UTC whatever a session's TimeZone says.
SELECT alerting.attach(organizations => 'teams', containers => 'docker_containers',
  organization => '(SELECT s.team_id FROM servers s WHERE s.id = c.server_id)');
SELECT alerting.attach_metrics('container_stats', container => 'docker_container_id', at => 'recorded_at',
  cpu => 'cpu_percentage', memory => 'memory_percentage', running => 'state = ''running''', restarts => 'restarts', max_age => NULL);

SELECT alerting.create_rule(t.id, r.name, r.condition, r.threshold, r.duration, 'keep')
  FROM teams t, (VALUES
    ('R1', 'CPU_USAGE', 90, 15), ('R2', 'MEMORY_USAGE', 90, 5), ('R3', 'CONTAINER_DOWN', NULL, 5)) AS r(name, condition, threshold, duration)
 WHERE t.name = 'Cyberdyne';

-- import_prometheus_rule(): what has a meaning here is imported, everything else is an error that says why.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE organizations (id int PRIMARY KEY, name text);
CREATE TABLE containers (id int PRIMARY KEY, organization_id int NOT NULL REFERENCES organizations, name text);
INSERT INTO organizations VALUES (1, 'Initech');
CREATE EXTENSION alerting;
RESET client_min_messages;

SELECT alerting.import_prometheus_rule(1, $$
  - alert: ContainerHighCpu   # as in a rule file
    expr: 'sum(rate(container_cpu_usage_seconds_total{name!=""}[3m])) by (instance, name) * 100 > 80'
    for: 5m
    labels:
      severity: warning
    annotations:
      summary: "High CPU of {{ $labels.name }}"
      description: |
        For long.
        alert: still text
$$) IS NOT NULL AS imported;
SELECT alerting.import_prometheus_rule('1', $$
alert: ContainerHighMemory
expr: |
  100 * container_memory_working_set_bytes{name!=""}
    / container_spec_memory_limit_bytes > 90.5
for: 1h30m
$$) IS NOT NULL AS imported;
SELECT alerting.import_prometheus_rule(1, '{"alert": "Restarts", "expr": "increase(kube_pod_container_status_restarts_total[10m]) > 3"}') IS NOT NULL AS imported;
SELECT alerting.import_prometheus_rule(1, 'changes(container_start_time_seconds[1h]) >= 3', name => 'Restarts in an hour') IS NOT NULL AS imported;
SELECT alerting.import_prometheus_rule(1, '{"alert": "Down", "expr": "up == 0", "for": "2m"}') IS NOT NULL AS imported;
SELECT alerting.import_prometheus_rule(1, 'absent(container_last_seen)') IS NOT NULL AS imported;
SELECT name, condition, threshold, duration, no_data FROM alerting.alert_rule ORDER BY created_at, id;

-- What means something else here, or nothing.
SELECT alerting.import_prometheus_rule(1, 'rate(container_cpu_usage_seconds_total[5m]) > 0.8');
SELECT alerting.import_prometheus_rule(1, 'container_memory_usage_bytes > 1000000000');
SELECT alerting.import_prometheus_rule(1, 'container_cpu_percent{image="nginx"} > 80');
SELECT alerting.import_prometheus_rule(1, 'container_cpu_percent >= 80');
SELECT alerting.import_prometheus_rule(1, 'container_cpu_percent < 10');
SELECT alerting.import_prometheus_rule(1, 'cpu_percent > 80 and memory_percent > 80');
SELECT alerting.import_prometheus_rule(1, 'cpu_percent / memory_percent > 80');
SELECT alerting.import_prometheus_rule(1, 'node_filesystem_avail_bytes > 10');
SELECT alerting.import_prometheus_rule(1, 'increase(restarts[90s]) > 3');
SELECT alerting.import_prometheus_rule(1, 'increase(restarts[10m]) >= 0');
SELECT alerting.import_prometheus_rule(1, '{"expr": "increase(restarts[10m]) > 3", "for": "5m"}');
SELECT alerting.import_prometheus_rule(1, '{"expr": "up == 0", "for": "30s"}');
SELECT alerting.import_prometheus_rule(1, '{"expr": "up == 0", "for": "soon"}');
SELECT alerting.import_prometheus_rule(1, '{"alert": "nothing"}');
SELECT alerting.import_prometheus_rule(1, E'alert: a\nexpr: up == 0\nalert: b\nexpr: up == 0');
SELECT alerting.import_prometheus_rule(1, E'alert: a\nwhat is this');
SELECT alerting.import_prometheus_rule(1, '');
SELECT alerting.import_prometheus_rule(1, NULL);
SELECT alerting.import_prometheus_rule(1, 'increase(restarts[99999999999m]) > 3');
SELECT count(*) FROM alerting.alert_rule;

SET client_min_messages = warning;
DROP EXTENSION alerting CASCADE;
DROP SCHEMA alerting CASCADE;
DROP TABLE containers, organizations;

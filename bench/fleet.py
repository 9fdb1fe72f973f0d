"""A benchmark's database: containers in organizations, four rules each, metrics attached."""

RULES = """insert into alerting.alert_rule(organization_id, name, condition, threshold, duration)
  select o.id, k, k, case k when 'CPU_USAGE' then 90 when 'MEMORY_USAGE' then 90 when 'RESTART_LOOP' then 3 end,
         case k when 'CPU_USAGE' then 0 when 'RESTART_LOOP' then 10 else 5 end
    from organizations o, unnest(array['CPU_USAGE', 'MEMORY_USAGE', 'CONTAINER_DOWN', 'RESTART_LOOP']) k"""


def create(cluster, containers, organizations=100):
    """Tables, binding and rules; the metrics table is unlogged and has no index."""
    cluster.sql(f"""set client_min_messages = error;
      create table organizations(id int primary key, name text);
      create table containers(id text primary key, organization_id int not null references organizations, name text);
      insert into organizations select i, 'org ' || i from generate_series(0, {organizations - 1}) i;
      insert into containers select 'ctr-' || (1000000 + i), i % {organizations}, 'c' || i from generate_series(0, {containers - 1}) i;
      create unlogged table container_metrics(container_id text not null, at timestamptz not null, cpu_percent float8,
        memory_percent float8, running bool, restart_count int);
      create extension alerting;
      select alerting.attach('organizations', 'containers');
      select alerting.attach_metrics('container_metrics');
      {RULES};
      analyze;""")
    if cluster.sql("select alerting.flush('60s')") != "t":
        raise RuntimeError("the evaluator does not answer")


def round_of_metrics(containers, minutes_ago, cpu="20 + i % 50"):
    """One sample of each container, as an INSERT."""
    return (f"insert into container_metrics select 'ctr-' || (1000000 + i), now() - interval '{minutes_ago} minutes', {cpu},"
            f" 30 + i % 40, true, 0 from generate_series(0, {containers - 1}) i")


def cpu_nanoseconds(pid):
    with open(f"/proc/{pid}/schedstat") as file:
        return int(file.read().split()[0])

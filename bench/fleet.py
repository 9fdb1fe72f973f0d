"""A benchmark's database: containers in organizations, rules of each organization, metrics attached."""
import glob
import os
import subprocess

RULES = """insert into alerting.alert_rule(organization_id, name, condition, threshold, duration)
  select o.id, k, k, case k when 'CPU_USAGE' then 90 when 'MEMORY_USAGE' then 90 when 'RESTART_LOOP' then 3 end,
         case k when 'CPU_USAGE' then 0 when 'RESTART_LOOP' then 10 else 5 end
    from organizations o, unnest(array['CPU_USAGE', 'MEMORY_USAGE', 'CONTAINER_DOWN', 'RESTART_LOOP']) k"""


def cpu_rules(count):
    """So many CPU rules for each organization, each with a threshold of its own: one of 90, the others above 99."""
    return ("insert into alerting.alert_rule(organization_id, name, condition, threshold, duration)"
            f" select o.id, 'rule ' || k, 'CPU_USAGE', case k when 1 then 90 else 99 + k / 1000.0 end, 0 from organizations o, generate_series(1, {count}) k")


def configure(cluster, *settings):
    with open(cluster.data + "/postgresql.conf", "a") as conf:
        conf.write("\n" + "\n".join(settings) + "\n")
    cluster.sql("select pg_reload_conf()")


def create(cluster, containers, organizations=100, rules=RULES, metrics="create unlogged table container_metrics({})"):
    """Tables, binding and rules; without `metrics` of its own the table is unlogged and has no index."""
    columns = ("container_id text not null, at timestamptz not null, cpu_percent float8, memory_percent float8,"
               " running bool, restart_count int")
    cluster.sql(f"""set client_min_messages = error;
      create table organizations(id int primary key, name text);
      create table containers(id text primary key, organization_id int not null references organizations, name text);
      insert into organizations select i, 'org ' || i from generate_series(0, {organizations - 1}) i;
      insert into containers select 'ctr-' || (1000000 + i), i % {organizations}, 'c' || i from generate_series(0, {containers - 1}) i;
      {metrics.format(columns)};
      create extension alerting;
      select alerting.attach('organizations', 'containers');
      select alerting.attach_metrics('container_metrics');
      {rules};
      analyze;""")
    flush(cluster)


def flush(cluster, seconds=300):
    if cluster.sql(f"select alerting.flush('{seconds}s')") != "t":
        raise RuntimeError(f"not judged within {seconds} s")


def round_of_metrics(containers, minutes_ago, cpu="20 + i % 50"):
    """One sample of each container, as an INSERT."""
    return (f"insert into container_metrics select 'ctr-' || (1000000 + i), now() - interval '{minutes_ago} minutes', {cpu},"
            f" 30 + i % 40, true, 0 from generate_series(0, {containers - 1}) i")


def evaluator_pid(cluster):
    return int(cluster.sql("select evaluator_pid from alerting.status()"))


def cpu_nanoseconds(pid):
    """Of all threads of the process: its own schedstat is that of the first one alone."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as file:
            total += int(file.read().split()[0])
    return total


HERE = os.path.dirname(os.path.abspath(__file__))


def core_sources():
    return sorted(glob.glob(HERE + "/../src/core/*.cpp"))


def build(folder, name, *options):
    """Compiles a program of this folder, returns its path."""
    subprocess.run(["g++", "-O2", "-w", "-std=c++20", "-I" + HERE + "/../src", "-o", f"{folder}/{name}", f"{HERE}/{name}.cpp", *options],
                   check=True)
    return f"{folder}/{name}"

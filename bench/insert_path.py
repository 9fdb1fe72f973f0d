#!/usr/bin/env python3
"""What capture adds to an insert: backend CPU time (/proc/self/schedstat) of server-side inserts.

Usage: insert_path.py [repetitions=15] [workloads=one,mid,big,copy,pk,row]

Every variant of a workload runs in each repetition, in rotating order; printed are medians of the
differences to the same repetition's run without a trigger. Variant "none again" shows the noise.
The async floor (floor.c) walks the transition table, deforms each row, hashes the container id and
copies a 64-byte record: what handing a sample over costs at the very least. No index unless pk.
Timestamps lie in the last half hour, so that the evaluator judges every row while it is measured.
"""
import os
import subprocess
import sys
import tempfile

from pgtemp import Cluster, INC, stat

REPETITIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 15
WORKLOADS = sys.argv[2].split(",") if len(sys.argv) > 2 else ["one", "mid", "big", "copy", "pk", "row"]
ROWS = {"one": 20000, "mid": 100000, "big": 100000, "copy": 100000, "pk": 100000, "row": 100000}
NAMES = {"one": "1 row a statement", "mid": "1,000 rows a statement", "big": "100,000 rows a statement",
         "copy": "COPY of 100,000 rows", "pk": "100,000 rows, primary key", "row": "100,000 rows, row triggers"}
COLUMNS = "container_id, at, cpu_percent, memory_percent, running, restart_count"
TYPES = ("container_id text not null, at timestamptz not null, cpu_percent float8, memory_percent float8,"
         " running bool, restart_count int")
STATEMENT = "create trigger t after insert on {} referencing new table as alerting_new for each statement execute function {}"
ROW = "create trigger t after insert on {} for each row execute function {}"
CAPTURE = "alerting.capture('1','text','container_id','at','UTC','','cpu_percent','memory_percent','','','running','restart_count')"
VARIANTS = {"none": None, "none again": None, "async floor": (STATEMENT, "fl_async()"), "alerting": (STATEMENT, CAPTURE)}
ROW_VARIANTS = {"none": None, "none again": None, "empty C row trigger": (ROW, "fl_null()"), "alerting": (ROW, CAPTURE)}


def body(workload, table):
    select = f"insert into {table} select {COLUMNS} from src"
    if workload == "copy":
        return f"copy {table} from '{cluster.dir}/src.copy';"
    if workload == "mid":
        return f"do $$ begin for b in 0..99 loop {select} where k >= b * 1000 and k < (b + 1) * 1000; end loop; end $$;"
    if workload == "one":
        values = ", ".join("r." + c.strip() for c in COLUMNS.split(","))
        return f"do $$ declare r record; begin for r in select {COLUMNS} from src where k < 20000 loop insert into {table} values ({values}); end loop; end $$;"
    return select + ";"


cluster = Cluster(["fsync=off"])
files = tempfile.mkdtemp(prefix="alerting-bench.")
os.chmod(files, 0o755)
try:
    library = files + "/floor.so"
    subprocess.run(["cc", "-O2", "-fPIC", "-shared", "-I" + INC, "-o", library,
                    os.path.dirname(os.path.abspath(__file__)) + "/floor.c"], check=True)
    cluster.sql(f"""
      create table organizations(id int primary key, name text);
      create table containers(id text primary key, organization_id int not null references organizations, name text);
      insert into organizations select i, 'org ' || i from generate_series(0, 99) i;
      insert into containers select 'ctr-' || (100000 + i), i % 100, 'c' || i from generate_series(0, 9999) i;
      create unlogged table m({TYPES}); create unlogged table mp({TYPES}, primary key(container_id, at));
      create unlogged table src(k int primary key, {TYPES});
      insert into src select i, 'ctr-' || (100000 + i * 7919 % 10000), now() - interval '30 minutes' + make_interval(mins => i / 10000),
        20 + i % 5000 / 100.0, 30 + i % 4000 / 100.0, true, i % 3 from generate_series(0, 99999) i;
      vacuum analyze src;
      copy (select {COLUMNS} from src) to '{cluster.dir}/src.copy';
      create extension alerting;
      select alerting.attach('organizations', 'containers');
      select alerting.attach_metrics('m');
      insert into alerting.alert_rule(organization_id, name, condition, threshold, duration)
        select o, k, k, case k when 'CPU_USAGE' then 90 when 'MEMORY_USAGE' then 90 when 'RESTART_LOOP' then 3 end,
               case k when 'RESTART_LOOP' then 10 else 5 end
          from generate_series(0, 99) o, unnest(array['CPU_USAGE', 'MEMORY_USAGE', 'CONTAINER_DOWN', 'RESTART_LOOP']) k;
      drop trigger alerting_capture_insert on m; drop trigger alerting_capture_update on m;
      create function fl_async() returns trigger language c as '{library}', 'fl_async';
      create function fl_null() returns trigger language c as '{library}', 'fl_null';""")
    clock = "select pg_read_file('/proc/self/schedstat');\n"
    samples = {}
    for repetition in range(REPETITIONS + 1):
        script, keys = "select 1 from src limit 1;\n", []
        for workload in WORKLOADS:
            table = "mp" if workload == "pk" else "m"
            names = list(ROW_VARIANTS if workload == "row" else VARIANTS)
            shift = repetition % len(names)
            for name in names[shift:] + names[:shift]:
                trigger = (ROW_VARIANTS if workload == "row" else VARIANTS)[name]
                script += f"select alerting.flush('60s'); drop trigger if exists t on {table}; truncate {table};\n"
                if trigger:
                    script += trigger[0].format(table, trigger[1]) + ";\n"
                script += clock + body(workload, table) + "\n" + clock
                keys.append((workload, name))
        lines = cluster.sql("set client_min_messages = error;\n" + script).split("\n")
        times = [int(line.split()[0]) for line in lines if len(line.split()) == 3]
        if repetition == 0:
            continue  # warm-up
        for i, (workload, name) in enumerate(keys):
            samples.setdefault((workload, name), []).append((times[2 * i + 1] - times[2 * i]) / ROWS[workload] / 1e3)
    print("| workload | variant | us/row, median (min) | added us/row | of the floor |\n|---|---|---|---|---|")
    for workload in WORKLOADS:
        names = list(ROW_VARIANTS if workload == "row" else VARIANTS)
        base = samples[(workload, "none")]
        floor = stat([x - y for x, y in zip(samples[(workload, names[2])], base)])[1]
        for name in names:
            xs = samples[(workload, name)]
            added = stat([x - y for x, y in zip(xs, base)])[1]
            ratio = f"{added / floor:.2f}" if name == "alerting" else ""
            print(f"| {NAMES[workload]} | {name} | {stat(xs)[1]:.3f} ({min(xs):.3f}) | {added:+.3f} | {ratio} |")
finally:
    cluster.stop()
    subprocess.run(["rm", "-rf", files])

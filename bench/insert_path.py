#!/usr/bin/env python3
"""What capture adds to an insert: backend CPU time (/proc/self/schedstat) of server-side inserts.

Usage: insert_path.py [repetitions=15] [workloads=one,mid,big,copy,storm,row,expr,update,pk,peers]

Every variant of a workload runs in each repetition, in rotating order, all in one session, several
times where what is to be told apart is small; printed are medians of the differences to the run
without a trigger beside it. Variant "none again" shows the noise. The async floor (floor.c) walks the transition table, deforms each row, hashes the
container id and copies a 64-byte record: what handing a sample over costs at the very least. Rows lie
in the last half hour, so that the evaluator judges all of them while it is measured.

one, mid, big, copy  rows of 1, 1,000 and 100,000 a statement, COPY of 100,000; no index. Of one row also with the
                     trigger for updates that an attached table has besides: a statement copies all of them
storm                mid, with 5 % of the containers crossing their threshold with every round
row                  100,000 rows, row triggers, beside an empty C row trigger
expr                 rows mapped by two expressions, 100,000 and one a statement and by row triggers, beside
                     plpgsql triggers that evaluate them
update               an UPDATE of 100,000 rows that sets none of the columns read
pk                   COPY and 1,000 rows a statement into a table with a primary key
peers                evaluators in plpgsql (schema.sql), and the empty plpgsql row trigger
"""
import os
import re
import sys

import result
from pgtemp import Cluster, stat

REPETITIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 15
PARTS = ("one", "mid", "big", "copy", "storm", "row", "expr", "update", "pk", "peers")
CHOSEN = sys.argv[2].split(",") if len(sys.argv) > 2 else PARTS
HERE = os.path.dirname(os.path.abspath(__file__))
COLUMNS = "container_id, at, cpu_percent, memory_percent, running, restart_count"
TYPES = ("container_id text not null, at timestamptz not null, cpu_percent float8, memory_percent float8,"
         " running bool, restart_count int")
ROW_COLUMNS = r"\b(?=(cpu_percent|memory_percent|restart_count)\b)"
EXPRESSIONS = ("cpu_percent * 1.01", "100 * memory_percent / nullif(100, restart_count)")
STATEMENT = "create trigger t after insert on {0} referencing new table as alerting_new for each statement execute function {1}"
NEW_ROWS = "create trigger t after insert on {} referencing new table as new_rows for each statement execute function {}"
ROW = "create trigger t after insert on {} for each row execute function {}"
BOTH = STATEMENT + "; create trigger u after update on {0} referencing new table as alerting_new for each statement execute function {1}"
UPDATE = "create trigger t after update on {} referencing new table as alerting_new for each statement execute function {}"
CAPTURE = "alerting.capture('{{1,text,container_id,at,UTC,\"\",\"{}\",\"{}\",\"\",\"\",running,restart_count}}')"
PLAIN = CAPTURE.format("cpu_percent", "memory_percent")
EXPRESSED = CAPTURE.format(*EXPRESSIONS)
FLOOR = {"none": None, "none again": None, "async floor": (STATEMENT, "fl_async()"), "alerting": (STATEMENT, PLAIN)}


class Workload:
    """Statements over `rows` rows, `rounds` times a repetition; the variant whose ratio counts is
    "alerting", its floor the third."""

    def __init__(self, title, rows, statement, variants=FLOOR, table="m", rounds=1):
        self.title, self.rows, self.statement, self.variants, self.table, self.rounds = title, rows, statement, variants, table, rounds


def rows_of(table, source="src"):
    return f"insert into {table} select {COLUMNS} from {source}"


def in_thousands(table, source="src"):
    return f"do $$ begin for b in 0..99 loop {rows_of(table, source)} where k >= b * 1000 and k < (b + 1) * 1000; end loop; end $$"


def one_by_one(table, count):
    values = ", ".join("r." + column.strip() for column in COLUMNS.split(","))
    return (f"do $$ declare r record; begin for r in select {COLUMNS} from src where k < {count} loop"
            f" insert into {table} values ({values}); end loop; end $$")


def workloads(folder):
    copy = f"copy {{}} from '{folder}/src.copy'"
    empty = {"empty C row trigger": (ROW, "fl_null()")}
    base = {"none": None, "none again": None}
    peers = {"none": None, "empty plpgsql row trigger": (ROW, "pl_null()"), "careful plpgsql evaluator": (NEW_ROWS, "pl_stmt()"),
             "naive plpgsql evaluator": (ROW, "pl_row()")}
    evaluated = {**base, "evaluated by plpgsql": (STATEMENT, "pl_expressions()"), "alerting": (STATEMENT, EXPRESSED)}
    by_row = {**base, "evaluated by plpgsql": (ROW, "pl_row_expressions()"), "alerting": (ROW, EXPRESSED)}
    all_of = {
        "one": [Workload("1 row a statement", 4000, one_by_one("m", 4000), {**FLOOR, "alerting, as attached": (BOTH, PLAIN)}, rounds=15)],
        "mid": [Workload("1,000 rows a statement", 100000, in_thousands("m"), rounds=3)],
        "big": [Workload("100,000 rows a statement", 100000, rows_of("m"))],
        "copy": [Workload("COPY of 100,000 rows", 100000, copy.format("m"))],
        "storm": [Workload("1,000 rows a statement, storm", 100000, in_thousands("m", "storm"), rounds=3)],
        "row": [Workload("100,000 rows, row triggers", 100000, rows_of("m"), {**base, **empty, "alerting": (ROW, PLAIN)}, rounds=4)],
        "expr": [Workload("100,000 rows, two expressions", 100000, rows_of("m"), evaluated),
                 Workload("1 row a statement, two expressions", 20000, one_by_one("m", 20000), evaluated),
                 Workload("100,000 rows, two expressions, row triggers", 100000, rows_of("m"), by_row)],
        "update": [Workload("UPDATE of another column, 100,000 rows", 100000, "update u set note = note + 1",
                            {**base, "alerting": (UPDATE, PLAIN)}, "u")],
        "pk": [Workload("COPY, primary key", 100000, copy.format("mp"), FLOOR, "mp", rounds=2),
               Workload("1,000 rows a statement, primary key", 100000, in_thousands("mp"), FLOOR, "mp", rounds=2)],
        "peers": [Workload("1 row a statement, peers", 300, one_by_one("container_metric", 300), peers, "container_metric"),
                  Workload("10,000 rows a statement, peers", 10000, rows_of("container_metric") + " where k < 10000", peers, "container_metric")],
    }
    return [workload for part in CHOSEN for workload in all_of[part]]


SETUP = """
  create table organizations(id int primary key, name text);
  create table containers(id text primary key, organization_id int not null references organizations, name text);
  insert into organizations select i, 'org ' || i from generate_series(0, 99) i;
  insert into containers select 'ctr-' || (100000 + i), i % 100, 'c' || i from generate_series(0, 9999) i;
  create unlogged table m({types}); create table mp({types}, primary key(container_id, at));
  create unlogged table u({types}, note int); create unlogged table src(k int primary key, {types});
  insert into src select i, 'ctr-' || (100000 + i * 7919 % 10000), now() - interval '30 minutes' + make_interval(mins => i / 10000),
    20 + i % 5000 / 100.0, 30 + i % 4000 / 100.0, true, 1 from generate_series(0, 99999) i;
  create unlogged table storm (like src including all);
  insert into storm select k, container_id, at + interval '15 minutes', case when k % 20 = 0 and k / 10000 % 2 = 0 then 95 else cpu_percent end,
    memory_percent, running, restart_count from src;
  insert into u select {columns}, 0 from src;
  vacuum analyze src; vacuum analyze storm;
  copy (select {columns} from src) to '{folder}/src.copy';
  create extension alerting;
  select alerting.attach('organizations', 'containers');
  select alerting.attach_metrics('m');
  insert into alerting.alert_rule(organization_id, name, condition, threshold, duration)
    select o, k, k, case k when 'CPU_USAGE' then 90 when 'MEMORY_USAGE' then 90 when 'RESTART_LOOP' then 3 end,
           case k when 'CPU_USAGE' then 0 when 'RESTART_LOOP' then 10 else 5 end
      from generate_series(0, 99) o, unnest(array['CPU_USAGE', 'MEMORY_USAGE', 'CONTAINER_DOWN', 'RESTART_LOOP']) k;
  drop trigger alerting_capture_insert on m; drop trigger alerting_capture_update on m;
  create function fl_async() returns trigger language c as '{library}', 'fl_async';
  create function fl_null() returns trigger language c as '{library}', 'fl_null';
  create function pl_null() returns trigger language plpgsql as 'begin return null; end';
  create function pl_expressions() returns trigger language plpgsql as $$ begin
    perform container_id, at, {expressions}, running, restart_count from alerting_new; return null; end $$;
  create function pl_row_expressions() returns trigger language plpgsql as $$ declare figure float8; begin
    {assignments} return null; end $$;"""
CLOCK = "select pg_read_file('/proc/self/schedstat'), extract(epoch from clock_timestamp());\n"


def session(chosen):
    """The script of all repetitions, and whose each pair of clocks is."""
    script, keys = ["set client_min_messages = error;\nselect 1 from src limit 1;\n"], []
    for repetition in range(REPETITIONS + 1):
        for workload, turn in ((workload, repetition * workload.rounds + i) for workload in chosen for i in range(workload.rounds)):
            names = list(workload.variants)
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                trigger, table = workload.variants[name], workload.table
                script.append(f"select alerting.flush('60s'); drop trigger if exists t on {table}; drop trigger if exists u on {table};\n")
                script.append("truncate container_metric, alert_state, alert, outbox;\n" if table == "container_metric" else
                              "vacuum u;\n" if table == "u" else f"truncate {table};\n")
                if trigger:
                    script.append(trigger[0].format(table, trigger[1]) + ";\n")
                script.append(CLOCK + workload.statement + ";\n" + CLOCK)
                keys.append((repetition, workload, name))
    return "".join(script), keys


def measure(cluster, chosen):
    script, keys = session(chosen)
    clocks = [line for line in cluster.sql(script).split("\n") if line.count(" ") == 2 or line.startswith("|")]
    cpu = [int(line.split()[0]) for line in clocks if not line.startswith("|")]
    wall = [float(line[1:]) for line in clocks if line.startswith("|")]
    samples = {}
    for i, (repetition, workload, name) in enumerate(keys):
        if repetition > 0:  # the first is a warm-up
            samples.setdefault((workload, name), []).append(
                ((cpu[2 * i + 1] - cpu[2 * i]) / workload.rows / 1e3, (wall[2 * i + 1] - wall[2 * i]) / workload.rows * 1e6))
    return samples


def added(samples, workload, name):
    return [x[0] - y[0] for x, y in zip(samples[(workload, name)], samples[(workload, "none")])]


def tell(samples, workload):
    for name in workload.variants:
        cpus = [x[0] for x in samples[(workload, name)]]
        least, median, most = stat(added(samples, workload, name))
        print(f"| {workload.title} | {name} | {stat(cpus)[1]:.3f} | {median:+.3f} | {least:+.3f} to {most:+.3f} |")


def throughput(samples, workload, name):
    """Of the bare table's: by CPU, by wall clock."""
    pairs = list(zip(samples[(workload, name)], samples[(workload, "none")]))
    return [stat([bare[i] / own[i] for own, bare in pairs])[1] for i in (0, 1)]


def judge(samples, workload):
    if "alerting" not in workload.variants:
        return
    floor_name = list(workload.variants)[2]
    ours = stat(added(samples, workload, "alerting"))[1]
    if workload.table == "mp":
        (ratio, wall), floor = throughput(samples, workload, "alerting"), throughput(samples, workload, floor_name)
        result.goal(f"throughput, {workload.title}", f"wall clock {wall:.2f}", "at least 0.95 of the bare table's", ratio >= 0.95, ratio,
                    f"bare table (CPU); {floor_name} {floor[0]:.2f}")
    elif workload.table == "u":
        result.goal(f"insert path, {workload.title}", f"{ours:+.3f} µs a row", "under 0.3 µs", ours < 0.3)
    else:
        floor = stat(added(samples, workload, floor_name))[1]
        result.goal(f"insert path, {workload.title}", f"{ours:+.3f} µs a row", "at most 1.25 ×", ours <= 1.25 * floor,
                    ours / floor, f"{floor_name} {floor:+.3f}")


def main():
    cluster = Cluster(["fsync=off"])
    try:
        library = cluster.library("floor")
        expressions = ", ".join(f"({expression})::float8" for expression in EXPRESSIONS)
        assignments = " ".join(f"figure := {re.sub(ROW_COLUMNS, 'new.', expression)};" for expression in EXPRESSIONS)
        cluster.sql(SETUP.format(types=TYPES, columns=COLUMNS, folder=cluster.dir, library=library, expressions=expressions, assignments=assignments))
        cluster.file(HERE + "/schema.sql")
        chosen = workloads(cluster.dir)
        samples = measure(cluster, chosen)
        print("| workload | variant | CPU, µs a row | added, median of paired differences | range |\n|---|---|---|---|---|")
        for workload in chosen:
            tell(samples, workload)
        print()
        for workload in chosen:
            judge(samples, workload)
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()

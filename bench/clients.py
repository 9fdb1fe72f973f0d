#!/usr/bin/env python3
"""What clients lose that insert a row each at the same time, where they alone keep all cores busy: here
counts all that a row costs, in the sessions and in the evaluator, which takes its CPU from them.

Usage: clients.py [turns=8] [clients=16] [seconds=2]

pgbench with prepared statements into tables with a primary key, in turns: without a trigger, with the async
floor (floor.c: a C trigger that copies the rows and hands them to nobody), with alerting, with an evaluator in
plpgsql (the careful one of schema.sql). Printed are medians of what each reached beside
the bare table in the same turn.
"""
import os
import re
import subprocess
import sys

import fleet
import result
from pgtemp import Cluster, stat

TURNS, CLIENTS, SECONDS = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 8), (2, 16), (3, 2)))
FLEET = 10_000
HERE = os.path.dirname(os.path.abspath(__file__))
BARE, FLOOR, OURS, PEER = "bare", "floored", "container_metrics", "container_metric"
NAMES = {BARE: "no trigger", FLOOR: "async floor", OURS: "alerting", PEER: "careful plpgsql evaluator"}
METRICS = "create table container_metrics({}, primary key(container_id, at))" + "".join(
    f"; create table {table} (like container_metrics including all)" for table in (BARE, FLOOR))
TRIGGER = "create trigger t after insert on {} referencing new table as {} for each statement execute function {}()"


class Clients:
    def __init__(self, cluster):
        self.cluster = cluster
        self.evaluator = fleet.evaluator_pid(cluster)
        self.reached = {table: [] for table in NAMES}
        self.evaluator_cpu = []  # microseconds a row
        self.turns = []  # the evaluator's on a CPU, a row

    def switches(self):
        with open(f"/proc/{self.evaluator}/status") as file:
            return sum(map(int, re.findall(r"ctxt_switches:\s*(\d+)", file.read())))

    def run(self, table):
        script = f"{self.cluster.dir}/{table}.sql"
        # Container ids of fleet.py and of schema.sql; each client has some of its own, whose rows never share a time.
        first = 100000 if table == PEER else 1000000
        with open(script, "w") as file:
            file.write(f"\\set i random(0, {FLEET // CLIENTS - 1}) * {CLIENTS} + :client_id\ninsert into {table} values ('ctr-' || ({first} + :i), clock_timestamp(), 20, 30, true, 0);\n")
        cpu, switches = fleet.cpu_nanoseconds(self.evaluator), self.switches()
        command = ["pgbench", "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(SECONDS), "-f", script]
        output = subprocess.run(command, env=self.cluster.env, text=True, check=True, capture_output=True).stdout
        rate = float(re.search(r"tps = ([0-9.]+)", output).group(1))
        self.reached[table].append(rate)
        if table == OURS:
            fleet.flush(self.cluster)
            self.evaluator_cpu.append((fleet.cpu_nanoseconds(self.evaluator) - cpu) / 1e3 / (rate * SECONDS))
            self.turns.append((self.switches() - switches) / (rate * SECONDS))

    def tell(self):
        print("| what | rows a second | of the bare table's | range |\n|---|---|---|---|")
        shares = {table: [own / bare for own, bare in zip(rates, self.reached[BARE])] for table, rates in self.reached.items()}
        for table, name in NAMES.items():
            least, median, most = stat(shares[table])
            print(f"| {name} | {stat(self.reached[table])[1]:,.0f} | {median:.2f} | {least:.2f} to {most:.2f} |")
        print(f"\nThe evaluator's part: {stat(self.evaluator_cpu)[1]:.1f} µs of CPU a row, and {stat(self.turns)[1]:.2f} turns on a CPU.\n")
        result.figure(f"throughput, {CLIENTS} clients, a row each", f"{stat(self.reached[OURS])[1]:,.0f} rows/s", stat(shares[OURS])[1],
                      f"bare table {stat(self.reached[BARE])[1]:,.0f}/s; async floor {stat(shares[FLOOR])[1]:.2f}, careful plpgsql evaluator {stat(shares[PEER])[1]:.2f}")


def main():
    cluster = Cluster(["fsync=off"])
    try:
        fleet.create(cluster, FLEET, metrics=METRICS)
        cluster.file(HERE + "/schema.sql")
        cluster.sql(TRIGGER.format(PEER, "new_rows", "pl_stmt"))
        cluster.sql(f"create function fl_async() returns trigger as '{cluster.library('floor')}' language c")
        cluster.sql(TRIGGER.format(FLOOR, "alerting_new", "fl_async"))
        clients = Clients(cluster)
        tables = list(NAMES)
        for turn in range(TURNS):
            shift = turn % len(tables)
            for table in tables[shift:] + tables[:shift]:
                clients.run(table)
        clients.tell()
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()

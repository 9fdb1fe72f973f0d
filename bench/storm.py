#!/usr/bin/env python3
"""A storm: many containers cross their threshold in one statement.

Usage: storm.py [containers=20000] [webhooks per organization=5] [runs=3]

Printed: seconds from COMMIT until all alerts and deliveries are written, beside a plain
INSERT ... SELECT of the same rows into tables with the same indexes, and until the first webhook
arrives. Medians of the runs, each with a database of its own.
"""
import subprocess
import sys
import time
import urllib.request

import fleet
import result
from pgtemp import Cluster, stat

CONTAINERS = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
WEBHOOKS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
RUNS = int(sys.argv[3]) if len(sys.argv) > 3 else 3


def first_arrival(port):
    while True:
        stats = urllib.request.urlopen(f"http://127.0.0.1:{port}/stats").read().decode()
        first = int(stats.split('"first_ns":')[1].split(",")[0])
        if first:
            return first / 1e9
        time.sleep(0.005)


def storm():
    cluster = Cluster(["fsync=off"])
    sink = None
    try:
        sink = subprocess.Popen([fleet.build(cluster.dir, "sink")], stdout=subprocess.PIPE, text=True)
        port = int(sink.stdout.readline())
        fleet.configure(cluster, "alerting.allowed_networks = '127.0.0.0/8'")
        fleet.create(cluster, CONTAINERS)
        cluster.sql(f"insert into alerting.webhook(organization_id, url, secret) select o.id, 'http://127.0.0.1:{port}/' || w,"
                    f" 'a secret of some length' from organizations o, generate_series(1, {WEBHOOKS}) w")
        cluster.sql(fleet.round_of_metrics(CONTAINERS, 10))
        fleet.flush(cluster)
        pid = fleet.evaluator_pid(cluster)
        before = fleet.cpu_nanoseconds(pid)
        committed = float(cluster.sql(fleet.round_of_metrics(CONTAINERS, 5, cpu="99") + "; select extract(epoch from clock_timestamp())"))
        fleet.flush(cluster)
        written = time.time() - committed
        cpu = (fleet.cpu_nanoseconds(pid) - before) / 1e9
        count = cluster.sql("select (select count(*) from alerting.alert) || ' ' || (select count(*) from alerting.delivery)")
        if count != f"{CONTAINERS} {CONTAINERS * WEBHOOKS}":
            raise RuntimeError(f"alerts and deliveries: {count}")
        first = first_arrival(port) - committed
        # The workers leave, so that the rows and the machine are the plain statement's alone.
        cluster.sql("select alerting.stop()")
        cluster.sql("create table plain_alert (like alerting.alert including all);"
                    "create table plain_delivery (like alerting.delivery including all)")
        clocks = cluster.sql("create temp table a as select * from alerting.alert order by id; create temp table d as select * from alerting.delivery order by seq;"
                             "analyze a; analyze d; select pg_read_file('/proc/self/schedstat'), extract(epoch from clock_timestamp());"
                             "begin; insert into plain_alert select * from a; insert into plain_delivery select * from d; commit;"
                             "select pg_read_file('/proc/self/schedstat'), extract(epoch from clock_timestamp())").split("\n")
        cpus = [int(line.split()[0]) for line in clocks if not line.startswith("|") and line]
        walls = [float(line[1:]) for line in clocks if line.startswith("|")]
        return written, cpu, first, walls[1] - walls[0], (cpus[1] - cpus[0]) / 1e9
    finally:
        if sink:
            sink.kill()
        cluster.stop()


def main():
    written, cpu, first, plain, plain_cpu = (stat(column)[1] for column in zip(*(storm() for _ in range(RUNS))))
    rows = CONTAINERS * (1 + WEBHOOKS)
    print("| what | seconds | CPU seconds |\n|---|---|---|")
    print(f"| COMMIT until {CONTAINERS:,} alerts and {CONTAINERS * WEBHOOKS:,} deliveries are written | {written:.2f} | {cpu:.2f} |")
    print(f"| plain INSERT ... SELECT of the same rows | {plain:.2f} | {plain_cpu:.2f} |")
    print(f"| COMMIT until the first webhook arrives | {first:.3f} | |\n")
    limit = 2 * CONTAINERS / 20000
    result.goal(f"storm, {CONTAINERS:,} alerts and {CONTAINERS * WEBHOOKS:,} deliveries written",
                f"{written:.2f} s, {CONTAINERS / written:,.0f} transitions/s, {rows / written:,.0f} rows/s", f"within {limit:g} s", written <= limit,
                written / plain, "plain INSERT ... SELECT")
    result.goal("storm, first webhook", f"{first * 1000:.0f} ms after COMMIT", "within 50 ms", first <= 0.05)


if __name__ == "__main__":
    main()

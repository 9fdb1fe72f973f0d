#!/usr/bin/env python3
"""What the workers do when nothing happens: CPU, wake-ups (context switches) and WAL.

Usage: idle.py [seconds=10]

10,000 containers are known, some alerts fire, all is saved and delivered; no deadline is near.
"""
import sys
import time

import fleet
import result
from pgtemp import Cluster

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 10


def switches(pid):
    with open(f"/proc/{pid}/status") as file:
        return sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)


def main():
    cluster = Cluster(["shared_preload_libraries=alerting", "bgwriter_delay=10s", "wal_writer_delay=10s"])
    try:
        rules = fleet.RULES.replace("'CONTAINER_DOWN', ", "")  # a fleet that falls silent is no idle one
        fleet.create(cluster, 10_000, rules=rules)
        cluster.sql(fleet.round_of_metrics(10_000, 0, cpu="case when i % 100 = 0 then 95 else 40 end"))
        fleet.flush(cluster)
        time.sleep(12)  # state is saved every few seconds
        cluster.sql("checkpoint")
        workers = cluster.sql("select pid from pg_stat_activity where backend_type like 'alerting%' order by backend_type").split()
        wal = cluster.sql("select pg_current_wal_insert_lsn()")
        before = [(fleet.cpu_nanoseconds(pid), switches(pid)) for pid in workers]
        time.sleep(SECONDS)
        after = [(fleet.cpu_nanoseconds(pid), switches(pid)) for pid in workers]
        written = int(cluster.sql(f"select pg_current_wal_insert_lsn() - '{wal}'::pg_lsn"))
        cpu = sum(x[0] - y[0] for x, y in zip(after, before)) / 1e3
        wakes = sum(x[1] - y[1] for x, y in zip(after, before))
        result.goal(f"idle, {len(workers)} workers over {SECONDS:g} s", f"{cpu:.0f} µs of CPU, {wakes} context switches, {written} bytes of WAL",
                    "none", len(workers) == 3 and wakes == 0 and written <= 128)
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()

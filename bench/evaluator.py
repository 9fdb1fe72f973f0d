#!/usr/bin/env python3
"""How many samples a second the evaluator judges, by the CPU time of the real worker.

Usage: evaluator.py [containers,containers,... = 10000,100000,1000000]

Ten rounds of samples are queued while the worker is frozen, then judged in one go: queue -> look-up
-> four rules. Core alone is measured by engine_bench, the limit of the machine by evalbench.
"""
import os
import signal
import sys
import time

import fleet
from pgtemp import Cluster

SIZES = [int(x) for x in sys.argv[1].split(",")] if len(sys.argv) > 1 else [10000, 100000, 1000000]
ROUNDS = 10

print("| containers | samples | million samples a CPU second | nanoseconds a sample | resident MB of the evaluator |")
print("|---|---|---|---|---|")
for containers in SIZES:
    cluster = Cluster(["fsync=off"])
    try:
        with open(cluster.data + "/postgresql.conf", "a") as conf:
            conf.write("\nalerting.queue_size = '1GB'\n")
        cluster.sql("select pg_reload_conf()")
        fleet.create(cluster, containers)
        # Makes every container known, which costs a look-up in the host's table once.
        cluster.sql(fleet.round_of_metrics(containers, 50) + "; select alerting.flush('300s')")
        pid = int(cluster.sql("select evaluator_pid from alerting.status()"))
        rounds = max(1, min(ROUNDS, 5_000_000 // containers))
        os.kill(pid, signal.SIGSTOP)
        for k in range(rounds):
            cluster.sql(fleet.round_of_metrics(containers, 45 - k))
        before = fleet.cpu_nanoseconds(pid)
        os.kill(pid, signal.SIGCONT)
        if cluster.sql("select alerting.flush('300s')") != "t":
            raise RuntimeError("not judged in time")
        spent = fleet.cpu_nanoseconds(pid) - before
        replays = int(cluster.sql("select replays from alerting.status()"))
        samples = containers * rounds
        with open(f"/proc/{pid}/status") as file:
            resident = next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) // 1024
        note = "" if replays <= 2 else f" ({replays} replays: the queue was too small)"
        print(f"| {containers:,} | {samples:,} | {samples / spent * 1e3:.1f} | {spent / samples:.0f} | {resident}{note} |", flush=True)
    finally:
        cluster.stop()

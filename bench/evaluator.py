#!/usr/bin/env python3
"""How many samples a second the evaluator judges, by the CPU time of the real worker, beside the core
alone (core_speed.cpp) and the limit of the machine (evalbench.cpp); and how it keeps up.

Usage: evaluator.py [quick]

Samples are queued while the worker is stopped, then judged in one go: queue -> look-up -> four rules
-> saved state. Seven times, and the median of the last five counts: a process that has just started
touches the queue's memory for the first time. Keeping up: one client inserts 1,000 rows a statement as fast as it can.
"""
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import fleet
import result
from pgtemp import Cluster

QUICK = "quick" in sys.argv
SIZES = [10_000] if QUICK else [1_000, 10_000, 100_000, 1_000_000]
GOALS = {10_000: 5, 1_000_000: 2}
SECONDS = 3 if QUICK else 8


def judge_queued(cluster, containers, rounds, first=45, step=1):
    """CPU nanoseconds of the worker for each of the samples of `rounds` rounds, minutes ago."""
    fleet.flush(cluster)
    pid = fleet.evaluator_pid(cluster)
    replays = int(cluster.sql("select replays from alerting.status()"))
    os.kill(pid, signal.SIGSTOP)
    try:
        for k in range(rounds):
            cluster.sql(fleet.round_of_metrics(containers, first - k * step))
        before = fleet.cpu_nanoseconds(pid)
    finally:
        os.kill(pid, signal.SIGCONT)
    fleet.flush(cluster)
    if int(cluster.sql("select replays from alerting.status()")) != replays:
        raise RuntimeError("the queue was too small")
    return (fleet.cpu_nanoseconds(pid) - before) / containers / rounds


def real_worker(containers):
    cluster = Cluster(["fsync=off"])
    try:
        if containers > 100_000:
            fleet.configure(cluster, "alerting.queue_size = '128MB'")  # that of the default holds no round
        fleet.create(cluster, containers)
        # Makes every container known, which costs a look-up in the host's table once.
        cluster.sql(fleet.round_of_metrics(containers, 50))
        rounds = max(1, min(60, 300_000 // containers))
        return statistics.median([judge_queued(cluster, containers, rounds, minutes, step=0.1) for minutes in range(49, 0, -7)][2:])
    finally:
        cluster.stop()


def keeping_up():
    """Rows a second of a client that inserts as it can, and the milliseconds that judging lags behind."""
    cluster = Cluster(["fsync=off"])
    try:
        fleet.create(cluster, 10_000)
        cluster.sql(fleet.round_of_metrics(10_000, 30))
        fleet.flush(cluster)
        script = cluster.dir + "/insert.sql"
        with open(script, "w") as file:
            file.write("insert into container_metrics select 'ctr-' || (1000000 + i % 10000), clock_timestamp(), 20 + i % 50,"
                       " 30 + i % 40, true, 0 from generate_series(1, 1000) i;\n")
        client = subprocess.Popen(["pgbench", "-n", "-c", "1", "-T", str(SECONDS), "-f", script], env=cluster.env,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        watcher = "select extract(epoch from lag) * 1000, queue_bytes, replays from alerting.status(), pg_sleep(0.01);\n"
        seen = [line.split("|") for line in cluster.sql(watcher * (SECONDS * 80)).split("\n")]
        rows = float(re.search(r"tps = ([0-9.]+)", client.communicate()[0]).group(1)) * 1000
        lags = sorted(float(lag) for lag, _, _ in seen)
        started = time.time()
        fleet.flush(cluster)
        return rows, lags[len(lags) // 2], lags[int(len(lags) * 0.99)], max(int(q) for _, q, _ in seen), time.time() - started, \
            int(seen[-1][2]) - int(seen[0][2])
    finally:
        cluster.stop()


def program_output(program, *arguments):
    return subprocess.check_output([program, *map(str, arguments)], text=True)


def main():
    tools = tempfile.mkdtemp(prefix="alerting-bench.")
    core = fleet.build(tools, "core_speed", *fleet.core_sources())
    limit = fleet.build(tools, "evalbench")
    print("| containers | worker, million samples a CPU second | ns a sample | core alone | limit | bytes a container and its key of 11 |")
    print("|---|---|---|---|---|---|")
    measured = {}
    for containers in SIZES:
        spent = real_worker(containers)
        alone, size = map(float, program_output(core, containers).split())
        best = float(program_output(limit, containers, 11, 5_000_000, 0).split("|")[5])
        measured[containers] = spent, alone, best, size
        print(f"| {containers:,} | {1e3 / spent:.1f} | {spent:.0f} | {alone:.1f} | {best:.1f} | {size:.0f} |", flush=True)
        for name, value in (("real worker", spent), ("core alone", 1e3 / alone), ("limit", 1e3 / best)):
            result.point("containers", name, containers, value)
    rows, median, late, queue, rest, replays = keeping_up()
    print()
    for containers, (spent, alone, best, size) in measured.items():
        if containers >= 10_000:
            result.goal(f"memory, {containers:,} containers × 4 rules", f"{size - 11:.0f} bytes a container beside its key", "at most 200", size - 11 <= 200)
        if containers in GOALS:
            result.goal(f"evaluator, {containers:,} containers × 4 rules", f"{1e3 / spent:.1f} M samples/s", f"at least {GOALS[containers]} M/s",
                        1e3 / spent >= GOALS[containers], 1e3 / spent / alone, f"core alone {alone:.1f} M/s (limit {best:.1f} M/s)")
    result.goal("queue lag, one client inserting as fast as it can", f"p50 {median:.1f} ms, p99 {late:.1f} ms at {rows:,.0f} rows/s",
                "keeps up", replays == 0 and rest < 1, None,
                f"at most {queue / 1024:,.0f} kB queued; all judged {rest * 1000:.0f} ms after the last row")
    subprocess.run(["rm", "-rf", tools])


if __name__ == "__main__":
    main()

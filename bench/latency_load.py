#!/usr/bin/env python3
"""Latency while the machine works: from COMMIT until the alert can be seen and until its webhook has
arrived, idle and at half load, each beside its floor in turns.

Usage: latency_load.py [rounds=300]

Half load: pgbench inserts 1,000 metric rows a statement at half the rate that it reached alone.
"""
import re
import subprocess
import sys
import time

import result
from delivery import Bench, KEY, free_port

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 300
FLEET = 10_000


def pgbench(bench, script, *options):
    return subprocess.Popen(["pgbench", "-n", "-c", "1", "-f", script, *options], env=bench.cluster.env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def main():
    rows = []
    with Bench(4 * ROUNDS + FLEET) as bench:
        port = free_port()
        script = bench.cluster.dir + "/load.sql"
        with open(script, "w") as file:
            file.write(f"insert into container_metrics select {4 * ROUNDS} + 1 + i % {FLEET}, clock_timestamp(), 20 from generate_series(1, 1000) i;\n")
        visible = bench.build("visible", "-lpq")
        arrival = bench.build("latency", "-pthread", "-lpq", "-lcurl")
        whole = float(re.search(r"tps = ([0-9.]+)", pgbench(bench, script, "-T", "3").communicate()[0]).group(1))
        for load in ("idle", "half load"):
            first = 1 if load == "idle" else 2 * ROUNDS + 1
            client = None
            bench.sql("select alerting.flush('60s'); truncate container_metrics")
            if load != "idle":
                client = pgbench(bench, script, "-T", "600", "-R", str(whole / 2))
                time.sleep(1)
            try:
                for what, command in (("alert visible", (visible, ROUNDS, first)), ("webhook received", (arrival, ROUNDS, port, first + ROUNDS))):
                    if what == "webhook received" and load == "idle":
                        bench.sql(f"select alerting.create_webhook(1, 'http://127.0.0.1:{port}/a', '{KEY}')")
                    bench.sql(f"update alerting.webhook set is_active = {what == 'webhook received'}")
                    for line in bench.run(*command).splitlines():
                        name, p50, p99, *_ = line.split()
                        rows.append((what, load, name, float(p50), float(p99)))
            finally:
                if client:
                    client.terminate()
                    client.wait()
    print("| COMMIT until | load | what | p50, µs | p99, µs |\n|---|---|---|---|---|")
    for what, load, name, p50, p99 in rows:
        print(f"| {what} | {load} | {name} | {p50:,.0f} | {p99:,.0f} |")
    print()
    for what, load, name, p50, p99 in rows:
        if name == "alerting":
            floor = next(row for row in rows if row[:3] == (what, load, "floor"))
            result.goal(f"latency, {what}, {load}", f"p50 {p50 / 1000:.2f} ms, p99 {p99 / 1000:.1f} ms", "p50 under 2 ms, p99 under 20 ms",
                        p50 < 2000 and p99 < 20000, p50 / floor[3], f"floor {floor[3] / 1000:.2f} ms")


if __name__ == "__main__":
    main()

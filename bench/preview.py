#!/usr/bin/env python3
"""preview() over stored history, beside count(*) with the same filter and beside reading all columns.

Usage: preview.py [million rows=10]

1,000 containers of one organization, samples 10 seconds apart; the rule breaches now and then.
"""
import sys

import fleet
import result
from pgtemp import Cluster, stat

ROWS = int(float(sys.argv[1] if len(sys.argv) > 1 else 10) * 1e6)
CONTAINERS = 1000


def main():
    cluster = Cluster(["fsync=off", "max_parallel_workers_per_gather=0"])
    try:
        fleet.create(cluster, CONTAINERS, organizations=1)
        cluster.sql("select alerting.stop(); drop trigger alerting_capture_insert on container_metrics;"
                    "insert into container_metrics select 'ctr-' || (1000000 + c), timestamptz '2026-01-01' + make_interval(secs => t * 10),"
                    " case when (t + c) % 200 < 5 then 95 else 20 + t % 50 end, 30 + t % 40, true, 0"
                    f" from generate_series(0, {ROWS // CONTAINERS - 1}) t, generate_series(0, {CONTAINERS - 1}) c;"
                    "create index on container_metrics (at); vacuum analyze container_metrics")
        filter = f"at >= '2026-01-01' and at < timestamptz '2026-01-01' + make_interval(secs => {ROWS // CONTAINERS * 10})"
        statements = {
            "count(*) with the same filter": f"select count(*) from container_metrics where {filter}",
            "reading the columns, in order of time": "select count(cpu_percent), max(container_id) from (select container_id, at, cpu_percent from"
                                                     f" container_metrics where {filter} order by at offset 0) m",
            "preview": f"select count(*) from alerting.preview(organization => 0, condition => 'CPU_USAGE', threshold => 90, duration => 0,"
                       f" since => '2026-01-01', until => timestamptz '2026-01-01' + make_interval(secs => {ROWS // CONTAINERS * 10}))",
        }
        seconds = {}
        for turn in range(3 if ROWS <= 2_000_000 else 2):
            for name, statement in statements.items():
                clock = "select extract(epoch from clock_timestamp());\n"
                lines = cluster.sql(clock + statement + ";\n" + clock).split("\n")
                seconds.setdefault(name, []).append(float(lines[2]) - float(lines[0]))
                if name == "preview" and int(lines[1].split("|")[0]) < CONTAINERS:
                    raise RuntimeError("too few alerts: " + lines[1])
        medians = {name: stat(xs)[1] for name, xs in seconds.items()}
        print("| statement | seconds | million rows a second |\n|---|---|---|")
        for name, median in medians.items():
            print(f"| {name} | {median:.2f} | {ROWS / median / 1e6:.1f} |")
        print()
        ours, floor = medians["preview"], medians["count(*) with the same filter"]
        result.figure(f"preview, {ROWS / 1e6:g} million rows", f"{ROWS / ours / 1e6:.2f} M rows/s", ours / floor,
                      f"count(*), {ROWS / floor / 1e6:.1f} M rows/s")
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""From the start of the server until the evaluator has caught up, beside a plain sequential read of
the same rows.

Usage: restart.py [containers,containers,... = 10000,100000]

Ten minutes of metrics at ten seconds each are stored, with the usual index (primary key on container
and time). "After a shutdown": the state was saved, only newer rows are read. "After a crash, nothing
saved": the worst case, all rows within max_age are judged anew.
"""
import re
import subprocess
import sys
import time

import fleet
import result
from pgtemp import Cluster, BIN

SIZES = [int(x) for x in sys.argv[1].split(",")] if len(sys.argv) > 1 else [10_000, 100_000]
SAMPLES = 60
HISTORY_OF, HISTORY = 500, 5000
TABLE = "create table container_metrics({}, primary key (container_id, at))"


def restart(cluster, mode):
    """Stops the server in this mode and starts it; returns seconds until it answers and until it has caught up."""
    subprocess.run([BIN + "/pg_ctl", "-D", cluster.data, "-m", mode, "-w", "-t", "300", "stop"], check=True, stdout=subprocess.DEVNULL, **cluster.as_pg)
    cluster.p.wait()
    cluster.p = subprocess.Popen(cluster.p.args, stdout=cluster.log, stderr=cluster.log, cwd=cluster.dir, **cluster.as_pg)
    while subprocess.run([BIN + "/psql", "-XqAtc", "select 1"], env=cluster.env, capture_output=True).returncode:
        time.sleep(0.02)
    answers = time.time()
    fleet.flush(cluster)
    return time.time() - answers


def replayed(cluster):
    return int(cluster.sql("select samples from alerting.status()"))


def plan_of_history():
    """How the evaluator reads a table that holds ten times more history than what may be judged."""
    cluster = Cluster(["fsync=off", "shared_preload_libraries=alerting,auto_explain", "auto_explain.log_nested_statements=on"])
    try:
        fleet.create(cluster, HISTORY_OF, metrics=TABLE)
        cluster.sql("select alerting.stop(); insert into container_metrics select 'ctr-' || (1000000 + i), now() - make_interval(secs => k * 10),"
                    f" 20, 30, true, 0 from generate_series(1, {HISTORY}) k, generate_series(0, {HISTORY_OF - 1}) i; vacuum analyze container_metrics;"
                    "alter system set auto_explain.log_min_duration = 0; alter system set auto_explain.log_analyze = on;"
                    "alter system set auto_explain.log_timing = off; select alerting.start(); select pg_reload_conf()")
        fleet.flush(cluster)
        restart(cluster, "fast")
        with open(cluster.dir + "/log") as file:
            log = file.read()
        found = re.findall(r"Query Text: SELECT [^\n]*unnest[^\n]*ORDER BY 2[^\n]*\n((?:\t[^\n]*\n)+)", log)
        return f"{HISTORY_OF:,} containers, {HISTORY_OF * HISTORY:,} rows\n\n" + found[-1].replace("\t", "")
    finally:
        cluster.stop()


def main():
    print("| containers | rows | what | seconds | samples judged | million rows a second |\n|---|---|---|---|---|---|")
    goals = []
    for containers in SIZES:
        cluster = Cluster(["fsync=off", "shared_preload_libraries=alerting"])
        try:
            fleet.create(cluster, containers, metrics=TABLE)
            cluster.sql("select alerting.stop()")
            rows = containers * SAMPLES
            # Stored in order of time, as agents write.
            cluster.sql("insert into container_metrics select 'ctr-' || (1000000 + i), now() - interval '10 minutes' + make_interval(secs => k * 10),"
                        f" 20 + (i + k) % 50, 30 + i % 40, true, 0 from generate_series(0, {SAMPLES - 1}) k, generate_series(0, {containers - 1}) i;"
                        "vacuum analyze container_metrics; checkpoint; truncate alerting.series_state; select alerting.start()")
            fleet.flush(cluster)

            def tell(what, seconds, judged):
                print(f"| {containers:,} | {rows:,} | {what} | {seconds:.2f} | {judged:,} | {rows / seconds / 1e6:.1f} |", flush=True)

            read = "select count(*), max(container_id), max(cpu_percent), max(restart_count) from container_metrics"
            clock = "select extract(epoch from clock_timestamp());\n"
            lines = cluster.sql("set max_parallel_workers_per_gather = 0;\n" + read + ";\n" + clock + read + ";\n" + clock).split("\n")
            plain = float(lines[3]) - float(lines[1])
            tell("plain sequential read of the same rows", plain, 0)
            saved = restart(cluster, "fast")
            tell("after a shutdown", saved, replayed(cluster))
            cluster.sql("truncate alerting.series_state")
            nothing = restart(cluster, "immediate")
            judged = replayed(cluster)
            tell("after a crash, nothing saved", nothing, judged)
            if judged < rows:
                raise RuntimeError(f"{judged} of {rows} judged")
            goals.append((containers, rows, saved, nothing, plain))
        finally:
            cluster.stop()
    print()
    if len(SIZES) > 1:
        plan = plan_of_history()
        print("The plan of a table that holds more history is kept for the docs: " + plan.split("\n")[0] + "\n")
        result.text("explain", plan)
    for containers, rows, saved, nothing, plain in goals:
        result.figure(f"restart, {containers:,} containers, {rows:,} rows, after a shutdown", f"{saved:.2f} s", saved / plain, f"sequential read {plain:.2f} s")
        result.figure(f"restart, {containers:,} containers, {rows:,} rows, nothing saved", f"{nothing:.2f} s", nothing / plain, f"sequential read {plain:.2f} s")
        result.point("restart", "after a shutdown", containers, saved)
        result.point("restart", "nothing saved", containers, nothing)
        result.point("restart", "sequential read", containers, plain)


if __name__ == "__main__":
    main()

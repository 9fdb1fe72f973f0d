#!/usr/bin/env python3
"""How costs grow with rules and organizations (with containers: evaluator.py): capture, the evaluator
and a storm, each for one sample.

Usage: growth.py [quick]

Rules: 1 to 1,000 CPU rules on each of 10 organizations, each with a threshold of its own, none of them
breached; and all of them breached at once by 100 containers. Organizations: 10 to 10,000, four rules
each. 10,000 containers.
"""
import sys

import fleet
import result
from evaluator import judge_queued
from pgtemp import Cluster

QUICK = "quick" in sys.argv
RULES = [1, 1000] if QUICK else [1, 10, 100, 1000]
ORGANIZATIONS = [10, 10_000] if QUICK else [10, 100, 10_000]
CONTAINERS = 10_000
ROUNDS = 10


def captured(cluster):
    """Backend CPU nanoseconds for a row of an INSERT of 10,000, the table's own cost included."""
    clock = "select pg_read_file('/proc/self/schedstat');\n"
    lines = cluster.sql(clock.join(["", *((fleet.round_of_metrics(CONTAINERS, 30) + ";\n") for _ in range(6)), ""]))
    times = [int(line.split()[0]) for line in lines.split("\n") if line.count(" ") == 2]
    return sorted(b - a for a, b in zip(times[1:], times[2:]))[2] / CONTAINERS


def run(organizations, rules):
    cluster = Cluster(["fsync=off"])
    try:
        fleet.configure(cluster, "alerting.queue_size = '1GB'")
        fleet.create(cluster, CONTAINERS, organizations, rules)
        cluster.sql(fleet.round_of_metrics(CONTAINERS, 50))
        row = captured(cluster)
        judged = judge_queued(cluster, CONTAINERS, ROUNDS)
        # A storm: 100 containers cross all their thresholds; twice, so that plans are made.
        pid = fleet.evaluator_pid(cluster)
        for minutes in (5, 3):
            before = fleet.cpu_nanoseconds(pid)
            count = int(cluster.sql("select transitions from alerting.status()"))
            cluster.sql(fleet.round_of_metrics(100, minutes, cpu="99"))
            fleet.flush(cluster)
            transitions = int(cluster.sql("select transitions from alerting.status()")) - count
            storm = (fleet.cpu_nanoseconds(pid) - before) / max(transitions, 1)
            cluster.sql(fleet.round_of_metrics(100, minutes - 1))
            fleet.flush(cluster)
        return row, judged, storm, transitions
    finally:
        cluster.stop()


def main():
    print("| organizations | rules each | insert, ns a row | evaluator, ns a sample | storm, µs a transition | transitions |\n|---|---|---|---|---|---|")
    flat = {}
    for curve, sizes in (("rules", RULES), ("organizations", ORGANIZATIONS)):
        for size in sizes:
            organizations, rules = (10, fleet.cpu_rules(size)) if curve == "rules" else (size, fleet.RULES)
            row, judged, storm, transitions = run(organizations, rules)
            print(f"| {organizations:,} | {size if curve == 'rules' else 4:,} | {row:.0f} | {judged:.0f} | {storm / 1e3:.0f} | {transitions:,} |", flush=True)
            result.point(curve, "insert", size, row)
            result.point(curve, "evaluator", size, judged)
            flat.setdefault(curve, []).append(judged)
    print()
    for curve, costs in flat.items():
        sizes = RULES if curve == "rules" else ORGANIZATIONS
        name = "rules on each organization" if curve == "rules" else "organizations"
        result.goal(f"growth, {sizes[0]:,} to {sizes[-1]:,} {name}", f"{costs[0]:.0f} to {costs[-1]:.0f} ns a sample", "flat (at most 1.5 ×)",
                    costs[-1] <= 1.5 * costs[0], costs[-1] / costs[0], "that of the fewest")


if __name__ == "__main__":
    main()

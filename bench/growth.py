#!/usr/bin/env python3
"""How costs grow with containers, rules and organizations: capture, the evaluator, a storm, and the time
from COMMIT until an alert can be seen and until its webhook has arrived.

Usage: growth.py [quick]

Containers: 1,000 to 1,000,000, in 100 organizations of four rules. Rules: 1 to 1,000 CPU rules on each of
10 organizations, each with a threshold of its own. Organizations: 10 to 10,000, of four rules each. The
latter two with 10,000 containers.

Capture: CPU that is added to a row of an INSERT of 10,000, over one without triggers, in turns. Evaluator:
CPU of the worker for a sample that breaches nothing. Storm: CPU of the worker for each of 1,000 transitions
that one INSERT brings, of 1,000 containers, or of fewer that breach all their rules. Latency: one container
at a time breaches one rule; each organization has a webhook.
"""
import subprocess
import sys
import tempfile

import fleet
import result
from delivery import KEY, compile_into, free_port
from evaluator import judge_queued
from pgtemp import Cluster, stat

QUICK = "quick" in sys.argv
CONTAINERS, ORGANIZATIONS, RULES = 10_000, 100, 4
ROWS, PAIRS = 10_000, 21
TRANSITIONS = 1_000
ROUNDS = 200
FLAT = 1.5
# Curve: what is counted, its sizes.
CURVES = {
    "containers": ("containers", [1_000, 1_000_000] if QUICK else [1_000, 10_000, 100_000, 1_000_000]),
    "rules": ("rules on each organization", [1, 1_000] if QUICK else [1, 10, 100, 1_000]),
    "organizations": ("organizations", [10, 10_000] if QUICK else [10, 100, 10_000]),
}
COSTS = {"insert": "insert, ns a row", "evaluator": "evaluator, ns a sample", "storm": "storm, µs a transition",
         "visible": "alert visible, µs: p10", "visible p50": "p50", "visible p99": "p99",
         "webhook": "webhook there, µs: p10", "webhook p50": "p50", "webhook p99": "p99"}
# These decide whether a curve is flat: of latency the fastest tenth, which whatever else runs disturbs least.
JUDGED = ("insert", "evaluator", "storm", "visible", "webhook")
EXPLAINED = {("containers", "evaluator"): "states that no longer fit the CPU's cache come from memory",
             ("containers", "storm"): "what changed elsewhere is saved meanwhile, so much a second",
             ("organizations", "webhook"): "each is its endpoint's first, which the sender reads from the table"}


def judged(cluster, containers):
    """Nanoseconds of the worker's CPU for a sample: the least of six times, since what else the machine does costs
    up to half as much again for some seconds (and on some servers all the time, whatever the sizes)."""
    rounds = max(2, min(10, 2_000_000 // containers))
    return min(judge_queued(cluster, containers, rounds, minutes, step=0.2) for minutes in range(48, 30, -3))


def captured(cluster, containers):
    """Nanoseconds of the backend's CPU that capture adds to a row: of five sessions, since one swings by half."""
    return stat([captured_in_session(cluster, containers) for _ in range(5)])[1]


def captured_in_session(cluster, containers):
    step = max(1, containers // ROWS)
    insert = (f"insert into container_metrics select 'ctr-' || (1000000 + i * {step} % {containers}), clock_timestamp(), 20 + i % 50,"
              f" 30 + i % 40, true, 0 from generate_series(0, {ROWS - 1}) i;\n")
    clock = "select pg_read_file('/proc/self/schedstat');\n"
    script = "".join(f"set session_replication_role = {role};\n" + clock + insert + clock
                     for pair in range(PAIRS + 1) for role in (("replica", "origin"), ("origin", "replica"))[pair % 2])
    times = [int(line.split()[0]) for line in cluster.sql(script).split("\n") if line.count(" ") == 2]
    spent = [after - before for before, after in zip(times[::2], times[1::2])]
    added = [(spent[2 * pair + 1] - spent[2 * pair]) * (1 if pair % 2 == 0 else -1) for pair in range(1, PAIRS + 1)]
    return stat(added)[1] / ROWS


def storm(cluster, containers, fires):
    """Microseconds of the worker's CPU for a transition; `fires`: rules that a crossing container breaches."""
    pid = fleet.evaluator_pid(cluster)
    crossing = min(containers, max(1, TRANSITIONS // fires))
    costs = []
    for minutes in (8, 6, 4, 2):
        before = fleet.cpu_nanoseconds(pid)
        count = int(cluster.sql("select transitions from alerting.status()"))
        cluster.sql(fleet.round_of_metrics(crossing, minutes, cpu="150"))
        fleet.flush(cluster)
        transitions = int(cluster.sql("select transitions from alerting.status()")) - count
        if transitions != crossing * fires:
            raise RuntimeError(f"{transitions} transitions of {crossing} containers")
        costs.append((fleet.cpu_nanoseconds(pid) - before) / transitions / 1e3)
        cluster.sql(fleet.round_of_metrics(crossing, minutes - 1))
        fleet.flush(cluster)
    return stat(costs[1:])[1]  # the first one's plans are new


def latencies(cluster, programs, organizations):
    """Microseconds from COMMIT until an alert is visible and until its webhook is there: p10, p50 and p99 each."""
    port, seen = free_port(), {}
    cluster.sql(f"insert into containers select i::text, i % {organizations}, 'c' || i from generate_series(1, {2 * ROUNDS}) i")
    for what, program in (("visible", ["visible", ROUNDS, 1]), ("webhook", ["latency", ROUNDS, port, 1 + ROUNDS, "alone"])):
        if what == "webhook":
            # Analyzed as autovacuum would, which is off here.
            cluster.sql(f"insert into alerting.webhook(organization_id, url, secret) select id, 'http://127.0.0.1:{port}/a', '{KEY}'"
                        " from organizations; analyze alerting.webhook")
        fleet.flush(cluster)
        lines = subprocess.run([programs[program[0]], *map(str, program[1:])], env=cluster.env, text=True, check=True, stdout=subprocess.PIPE).stdout
        p50, p99, _, p10 = map(float, next(line.split()[1:] for line in lines.splitlines() if line.startswith("alerting")))
        seen.update({what: p10, what + " p50": p50, what + " p99": p99})
    return seen


def run(programs, containers, organizations, rules, fires):
    cluster = Cluster(["fsync=off"])
    try:
        fleet.configure(cluster, "alerting.queue_size = '1GB'", "alerting.allowed_networks = '127.0.0.0/8'")
        fleet.create(cluster, containers, organizations, rules)
        # Makes every container known, which costs a look-up in the host's table once.
        cluster.sql(fleet.round_of_metrics(containers, 50))
        costs = {"evaluator": judged(cluster, containers), "storm": storm(cluster, containers, fires),
                 "insert": captured(cluster, containers)}
        return costs | latencies(cluster, programs, organizations)
    finally:
        cluster.stop()


def judge(curve, measured):
    """Whether no cost of a curve grows to more than FLAT times what it is at the least size."""
    counted, sizes = CURVES[curve]
    ratios = {name: max(costs[name] for costs in measured) / measured[0][name] for name in JUDGED}
    grown = [name for name, ratio in ratios.items() if ratio > FLAT]
    result.goal(f"growth, {sizes[0]:,} to {sizes[-1]:,} {counted}", ", ".join(f"{name} {ratio:.2f} ×" for name, ratio in ratios.items()),
                f"flat (at most {FLAT} × the first) or explained", all((curve, name) in EXPLAINED for name in grown),
                beside="; ".join(f"{name}: {EXPLAINED[curve, name]}" for name in grown if (curve, name) in EXPLAINED))
    for size, costs in zip(sizes, measured):
        for name in JUDGED:
            result.point("growth-" + curve, name, size, costs[name] / measured[0][name])


def main():
    tools = tempfile.mkdtemp(prefix="alerting-bench.")
    programs = {"visible": compile_into(tools, "visible", "-lpq"), "latency": compile_into(tools, "latency", "-pthread", "-lpq", "-lcurl")}
    print("| containers | organizations | rules each | " + " | ".join(COSTS.values()) + " |\n" + "|---" * (3 + len(COSTS)) + "|")
    measured = {curve: [] for curve in CURVES}
    for curve, (_, sizes) in CURVES.items():
        for size in sizes:
            shape = {"containers": CONTAINERS, "organizations": ORGANIZATIONS, "rules": RULES, curve: size}
            if curve == "rules":
                shape["organizations"] = 10
            costs = run(programs, shape["containers"], shape["organizations"],
                        *((fleet.cpu_rules(size), size) if curve == "rules" else (fleet.RULES, 1)))
            measured[curve].append(costs)
            print(f"| {shape['containers']:,} | {shape['organizations']:,} | {shape['rules']:,} | "
                  + " | ".join(f"{costs[name]:,.0f}" for name in COSTS) + " |", flush=True)
    print()
    for curve in CURVES:
        judge(curve, measured[curve])
    subprocess.run(["rm", "-rf", tools])


if __name__ == "__main__":
    main()

"""What the benchmarks say: goals, a line each, and points of curves. Printed, and kept as a JSON line
each in the file that ALERTING_BENCH_RESULTS names, for bench/run's summary and bench/publish.py."""
import json
import os


VERDICTS = {True: "ok  ", False: "MISS", None: "note"}


def keep(**entry):
    path = os.environ.get("ALERTING_BENCH_RESULTS")
    if path:
        with open(path, "a") as file:
            file.write(json.dumps(entry) + "\n")


def line(entry):
    ratio = f", {entry['ratio']:.2f} × {entry['beside']}" if entry["ratio"] is not None else ""
    aside = f" ({entry['beside']})" if entry["ratio"] is None and entry["beside"] else ""
    return f"{VERDICTS[entry['ok']]} {entry['name']}: {entry['value']}{ratio}{aside}" + (f"; goal: {entry['goal']}" if entry["goal"] else "")


def goal(name, value, target, ok, ratio=None, beside=""):
    """One goal: its value with the unit, the ratio to what stands beside it, what was wanted."""
    entry = dict(kind="goal", name=name, value=value, ratio=ratio, beside=beside, goal=target, ok=bool(ok))
    print(line(entry), flush=True)
    keep(**entry)


def figure(name, value, ratio=None, beside=""):
    """A value that has no goal, for the same table."""
    entry = dict(kind="goal", name=name, value=value, ratio=ratio, beside=beside, goal="", ok=None)
    print(line(entry), flush=True)
    keep(**entry)


def point(curve, series, x, y):
    """A point of a plot; publish.py knows the plots by name."""
    keep(kind="point", curve=curve, series=series, x=x, y=y)


def text(name, content):
    """A text for the docs, such as a plan."""
    keep(kind="text", name=name, content=content)

#!/usr/bin/env python3
"""Puts the numbers of a benchmark run into docs/performance.md and draws docs/performance/*.svg.

Usage: publish.py [results = bench/results.jsonl]

Fills what stands between "<!-- NAME -->" and "<!-- end -->" in the page: "goals", "machine", and the
parts of bench/run. A part that the results lack keeps what it has. Standard library only.
"""
import json
import math
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = sys.argv[1] if len(sys.argv) > 1 else HERE + "/results.jsonl"
PAGE = HERE + "/../docs/performance.md"
PLOTS = HERE + "/../docs/performance"
# Curve of the results: title, x, y.
CURVES = {
    "containers": ("Judging a sample, four rules", "containers", "ns a sample"),
    "growth-containers": ("Growth with containers", "containers", "times the cost at 1,000 containers"),
    "growth-rules": ("Growth with rules", "rules on each of 10 organizations", "times the cost with one rule"),
    "growth-organizations": ("Growth with organizations", "organizations", "times the cost with 10 organizations"),
    "restart": ("Restart, 60 samples of each container stored", "containers", "seconds"),
}
COLORS = ("#1f6feb", "#d1242f", "#1a7f37", "#8250df", "#bf8700")


def nice_top(value):
    step = 10 ** math.floor(math.log10(value))
    return next(step * factor for factor in (1, 2, 5, 10) if step * factor >= value)


def short(value):
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def plot(title, x_label, y_label, series):
    """A line a series over a logarithmic x axis, y from 0."""
    width, height, left, right, top, bottom = 640, 360, 64, 150, 40, 52
    xs = sorted({x for points in series.values() for x, _ in points})
    peak = nice_top(max(y for points in series.values() for _, y in points))
    low, high = math.log10(xs[0]), math.log10(xs[-1])

    def place(x, y):
        share = (math.log10(x) - low) / (high - low) if high > low else 0.5
        return left + share * (width - left - right), height - bottom - y / peak * (height - top - bottom)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>', f'<text x="{left}" y="22" font-size="15">{title}</text>']
    for k in range(6):
        value = peak * k / 5
        _, y = place(xs[0], value)
        out.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{short(value)}</text>')
    for x in xs:
        at, _ = place(x, 0)
        out.append(f'<text x="{at:.1f}" y="{height - bottom + 18}" text-anchor="middle">{short(x)}</text>')
    out.append(f'<text x="{(left + width - right) / 2:.0f}" y="{height - 12}" text-anchor="middle">{x_label}</text>')
    out.append(f'<text transform="translate(16 {(top + height - bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">{y_label}</text>')
    for (name, points), color in zip(series.items(), COLORS):
        spots = [place(x, y) for x, y in sorted(points)]
        out.append(f'<polyline fill="none" stroke="{color}" stroke-width="2" points="' + " ".join(f"{x:.1f},{y:.1f}" for x, y in spots) + '"/>')
        out.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in spots)
    for k, (name, color) in enumerate(zip(series, COLORS)):
        out.append(f'<line x1="{width - right + 12}" y1="{top + 8 + k * 20}" x2="{width - right + 32}" y2="{top + 8 + k * 20}" stroke="{color}" stroke-width="2"/>')
        out.append(f'<text x="{width - right + 38}" y="{top + 12 + k * 20}">{name}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


VERDICTS = {True: "ok", False: "**missed**", None: ""}


def goals_table(entries):
    lines = ["| goal | value | beside | wanted | |", "|---|---|---|---|---|"]
    for entry in entries:
        beside = f"{entry['ratio']:.2f} × {entry['beside']}" if entry["ratio"] is not None else entry["beside"]
        lines.append(f"| {entry['name']} | {entry['value']} | {beside} | {entry['goal']} | {VERDICTS[entry['ok']]} |")
    return "\n".join(lines)


def tables_of(output):
    """What a part printed, without its goals, which stand in one table."""
    kept = [line for line in output.split("\n") if not re.match(r"(ok  |MISS|note) ", line)]
    return "\n".join(kept).strip()


def main():
    with open(RESULTS) as file:
        entries = [json.loads(line) for line in file]
    fills = {}
    goals = [entry for entry in entries if entry["kind"] == "goal"]
    if goals:
        fills["goals"] = goals_table(goals)
    for entry in entries:
        if entry["kind"] == "machine":
            busy = f"; it was busy otherwise (load average {entry['load']:.0f})" if entry["load"] > 2 else ""
            fills["machine"] = entry["text"] + busy + ("; the quick run." if entry["quick"] else ".")
        elif entry["kind"] == "output":
            fills[entry["part"]] = f"`{entry['command']}`\n\n" + tables_of(entry["text"])
        elif entry["kind"] == "text":
            fills[entry["name"]] = "```\n" + entry["content"].strip() + "\n```"
    with open(PAGE) as file:
        page = file.read()
    for name, content in fills.items():
        page, count = re.subn(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", lambda match: match.group(1) + "\n" + content + "\n\n" + match.group(2),
                              page, flags=re.S)
        if not count:
            print(f"docs/performance.md has no place for {name}")
    with open(PAGE, "w") as file:
        file.write(page)
    os.makedirs(PLOTS, exist_ok=True)
    for curve, (title, x_label, y_label) in CURVES.items():
        series = {}
        for entry in entries:
            if entry["kind"] == "point" and entry["curve"] == curve:
                series.setdefault(entry["series"], []).append((entry["x"], entry["y"]))
        if series and len({x for points in series.values() for x, _ in points}) > 1:
            with open(f"{PLOTS}/{curve}.svg", "w") as file:
                file.write(plot(title, x_label, y_label, series))


if __name__ == "__main__":
    main()

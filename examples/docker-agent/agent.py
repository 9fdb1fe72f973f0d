#!/usr/bin/env python3
"""Writes what Docker says of this host's containers into PostgreSQL, by COPY: cpu, memory, whether they
run, how often they were restarted. Needs Python's standard library, docker and psql.

  PGHOST=... PGDATABASE=... PGUSER=agent python3 agent.py --organization acme

Each round is one transaction: the containers that are new, then a row for each container. It holds no
state. If the database cannot be reached, a round is lost; the next one says how things are.
"""
import argparse
import datetime
import json
import re
import subprocess
import sys
import time

UNITS = {"B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
         "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
INSPECT = '{"id": {{json .Id}}, "name": {{json .Name}}, "running": {{json .State.Running}}, "restarts": {{json .RestartCount}}}'

# The host's tables are those of schema.sql; adapt the names to yours.
SCRIPT = r"""\set ON_ERROR_STOP on
BEGIN;
CREATE TEMP TABLE seen (id text, name text) ON COMMIT DROP;
COPY seen FROM STDIN;
%s\.
INSERT INTO containers (id, organization_id, name) SELECT id, :'organization', name FROM seen
    ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE containers.name <> excluded.name;
COPY container_metrics (container_id, at, cpu_percent, memory_used, memory_limit, running, restart_count) FROM STDIN;
%s\.
COMMIT;
"""


def percent(text):
    """'12.34%' as a number; None for what Docker does not know ('--')."""
    found = re.fullmatch(r"([0-9.]+)%", text.strip())
    return float(found.group(1)) if found else None


def size(text):
    """'1.944GiB' in bytes; None for what Docker does not know."""
    found = re.fullmatch(r"([0-9.]+)\s*([kKMGT]?i?B)", text.strip())
    return round(float(found.group(1)) * UNITS[found.group(2)]) if found else None


def lines(command):
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return [line for line in result.stdout.splitlines() if line.strip()]


def look(docker):
    """Everything there is to say, as (id, name, cpu, memory used, memory limit, running, restarts)."""
    ids = lines([docker, "ps", "--all", "--quiet", "--no-trunc"])
    if not ids:
        return []
    stats = {}
    for line in lines([docker, "stats", "--no-stream", "--no-trunc", "--format", "{{json .}}"]):
        row = json.loads(line)
        stats[row["ID"]] = row
    rows = []
    for line in lines([docker, "inspect", "--format", INSPECT, *ids]):
        container = json.loads(line)
        # Of what is not running there are no figures.
        row = stats.get(container["id"]) if container["running"] else None
        used, _, limit = (row["MemUsage"] if row else "").partition("/")
        rows.append((container["id"], container["name"].lstrip("/"), percent(row["CPUPerc"]) if row else None,
                     size(used), size(limit), container["running"], container["restarts"]))
    return rows


def field(value):
    """As COPY's text format writes it."""
    if value is None:
        return r"\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value).replace("\\", r"\\").replace("\t", r"\t").replace("\n", r"\n").replace("\r", r"\r")


def copied(rows):
    return "".join("\t".join(map(field, row)) + "\n" for row in rows)


def send(rows, organization):
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    script = SCRIPT % (copied((row[0], row[1]) for row in rows), copied((row[0], now, *row[2:]) for row in rows))
    subprocess.run(["psql", "-XAtq", "-v", f"organization={organization}", "-f", "-"], input=script, text=True, check=True, timeout=60)


def main():
    parser = argparse.ArgumentParser(description="Docker's figures into PostgreSQL, by COPY")
    parser.add_argument("--organization", required=True, help="key of the organization that owns the containers")
    parser.add_argument("--interval", type=float, default=10, help="seconds between rounds (default 10)")
    parser.add_argument("--docker", default="docker", help="the docker command")
    parser.add_argument("--once", action="store_true", help="one round only")
    options = parser.parse_args()
    while True:
        begin = time.monotonic()
        try:
            rows = look(options.docker)
            if rows:
                send(rows, options.organization)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            if options.once:
                sys.exit(f"agent: {error}")
            print(f"agent: {error}", file=sys.stderr, flush=True)
        if options.once:
            return
        time.sleep(max(0, options.interval - (time.monotonic() - begin)))


if __name__ == "__main__":
    main()

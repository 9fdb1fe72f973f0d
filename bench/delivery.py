#!/usr/bin/env python3
"""Latency from COMMIT to a local endpoint, and deliveries a second from a backlog, beside their floors.

Usage: delivery.py [alerts=300] [backlog=20000]

The latency's floor is a NOTIFY wake-up plus one libcurl request; the throughput's is raw libcurl
multi with the same bodies and an HMAC per request (curlbench.cpp) against the same sink.
"""
import os
import re
import subprocess
import sys
import time
import urllib.request

import fleet
from pgtemp import Cluster

ALERTS = int(sys.argv[1]) if len(sys.argv) > 1 else 300
BACKLOG = int(sys.argv[2]) if len(sys.argv) > 2 else 20000
HERE = os.path.dirname(os.path.abspath(__file__))
CONCURRENT = 64


def compile_into(folder, name, *libraries):
    include = subprocess.check_output(["pg_config", "--includedir"], text=True).strip()
    subprocess.run(["g++", "-O2", "-w", "-I" + include, "-o", f"{folder}/{name}", f"{HERE}/{name}.cpp", *libraries], check=True)
    return f"{folder}/{name}"


def get(path):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}").read().decode()


def delivered():
    return int(re.search(r'"count":(\d+)', get("/stats")).group(1))


cluster = Cluster(["fsync=off"])
sink = None
try:
    sink = subprocess.Popen([compile_into(cluster.dir, "sink")], stdout=subprocess.PIPE, text=True)
    port = int(sink.stdout.readline())
    latency = compile_into(cluster.dir, "latency", "-lpq")
    curlbench = compile_into(cluster.dir, "curlbench", "-lcurl", "-lcrypto")
    with open(cluster.data + "/postgresql.conf", "a") as conf:
        conf.write(f"\nalerting.allowed_networks = '127.0.0.0/8'\nalerting.max_concurrent_deliveries = {CONCURRENT}\n")
    cluster.sql(f"""select pg_reload_conf(); set client_min_messages = error;
      create table organizations(id int primary key, name text);
      create table containers(id int primary key, organization_id int not null references organizations, name text);
      create table container_metrics(container_id int not null references containers, at timestamptz not null, cpu_percent float8);
      insert into organizations values (1, 'one'), (2, 'two');
      insert into containers select i, 1, 'c' || i from generate_series(0, {ALERTS}) i;
      insert into containers select i, 2, 'c' || i from generate_series(1000000, {1000000 + BACKLOG - 1}) i;
      create extension alerting;
      select alerting.create_rule(1, 'cpu', 'CPU_USAGE', 90);
      select alerting.create_rule(2, 'cpu', 'CPU_USAGE', 90);
      select alerting.create_webhook(1, 'http://127.0.0.1:{port}/a', 'a secret of some length');""")
    cluster.sql("select alerting.flush('30s')")
    environment = dict(cluster.env)
    print("## Latency, microseconds")
    print("NOTIFY wake-up\n" + subprocess.check_output([latency, "notify", str(ALERTS)], env=environment, text=True), end="")
    print("alerting\n" + subprocess.check_output([latency, "alerting", str(ALERTS), str(port)], env=environment, text=True), end="")

    # Eight endpoints share the backlog, so that no single one's window is what is measured.
    cluster.sql(f"insert into alerting.webhook(organization_id, url, secret)"
                f" select 2, 'http://127.0.0.1:{port}/' || i, 'a secret of some length' from generate_series(1, 8) i")
    get("/reset")
    started = time.time()
    cluster.sql(f"insert into container_metrics select i, now(), 99 from generate_series(1000000, {1000000 + BACKLOG // 8 - 1}) i")
    total = BACKLOG // 8 * 8
    while delivered() < total:
        if time.time() - started > 300:
            raise RuntimeError(f"{delivered()} of {total} delivered")
        time.sleep(0.05)
    seconds = time.time() - started
    raw, bad = subprocess.check_output([curlbench, f"http://127.0.0.1:{port}/", str(total), str(CONCURRENT)], text=True).split()
    print("## Throughput, webhooks a second")
    print(f"alerting, from the INSERT that breaches to the last arrival: {total / seconds:,.0f}")
    print(f"raw libcurl, {CONCURRENT} at a time: {float(raw):,.0f} ({bad} failed)")
    print(f"ratio: {total / seconds / float(raw):.2f}")
finally:
    if sink:
        sink.kill()
    cluster.stop()

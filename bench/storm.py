#!/usr/bin/env python3
"""A storm: many containers cross their threshold in one statement.

Usage: storm.py [containers=20000] [webhooks per organization=5]

Printed: seconds from COMMIT until all alerts and deliveries are written, beside a plain
INSERT ... SELECT of as many rows of the same size, and until the first webhook arrives.
"""
import os
import subprocess
import sys
import time
import urllib.request

import fleet
from pgtemp import Cluster

CONTAINERS = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
WEBHOOKS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
HERE = os.path.dirname(os.path.abspath(__file__))

cluster = Cluster(["fsync=off"])
sink = None
try:
    binary = cluster.dir + "/sink"
    subprocess.run(["g++", "-O2", "-w", "-o", binary, HERE + "/sink.cpp"], check=True)
    sink = subprocess.Popen([binary], stdout=subprocess.PIPE, text=True)
    port = int(sink.stdout.readline())
    with open(cluster.data + "/postgresql.conf", "a") as conf:
        conf.write("\nalerting.allowed_networks = '127.0.0.0/8'\n")
    cluster.sql("select pg_reload_conf()")
    fleet.create(cluster, CONTAINERS)
    cluster.sql(f"insert into alerting.webhook(organization_id, url, secret) select o.id, 'http://127.0.0.1:{port}/' || w,"
                f" 'a secret of some length' from organizations o, generate_series(1, {WEBHOOKS}) w")
    cluster.sql(fleet.round_of_metrics(CONTAINERS, 10) + "; select alerting.flush('60s')")
    started = time.time()
    cluster.sql(fleet.round_of_metrics(CONTAINERS, 5, cpu="99"))
    committed = time.time()
    if cluster.sql("select alerting.flush('120s')") != "t":
        raise RuntimeError("not written in time")
    written = time.time()
    alerts, deliveries = cluster.sql("select (select count(*) from alerting.alert) || ' ' || (select count(*) from alerting.delivery)").split()
    while True:
        stats = urllib.request.urlopen(f"http://127.0.0.1:{port}/stats").read().decode()
        first = int(stats.split('"first_ns":')[1].split(",")[0])
        if first:
            break
        time.sleep(0.005)
    plain_started = time.time()
    cluster.sql("create table plain_alert (like alerting.alert including indexes);"
                "create table plain_delivery (like alerting.delivery including indexes);")
    plain_started = time.time()
    cluster.sql("begin; insert into plain_alert select * from alerting.alert; insert into plain_delivery select * from alerting.delivery; commit")
    plain = time.time() - plain_started
    print("| what | seconds |\n|---|---|")
    print(f"| statement of {CONTAINERS:,} rows | {committed - started:.2f} |")
    print(f"| COMMIT until {int(alerts):,} alerts and {int(deliveries):,} deliveries are written | {written - committed:.2f} |")
    print(f"| plain INSERT ... SELECT of the same rows | {plain:.2f} |")
    print(f"| COMMIT until the first webhook arrives | {first / 1e9 - committed:.3f} |")
finally:
    if sink:
        sink.kill()
    cluster.stop()

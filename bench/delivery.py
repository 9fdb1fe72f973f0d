#!/usr/bin/env python3
"""How soon, how fast and how undisturbed webhooks leave, each beside its floor in the same run.

Usage: delivery.py [latency|throughput|isolation|all] [quick]

latency     COMMIT of the breaching insert to arrival at a local endpoint, in turns with the floor: a
            LISTEN wake-up and one libcurl request over a kept connection.
throughput  webhooks a second from a backlog of 100,000 with the log of attempts, beside raw libcurl
            multi with the same bodies, headers and HMACs against the same sink; the evaluator works
            meanwhile, and its CPU a sample is taken alone, while webhooks leave, and while libcurl alone
            sends as many: what that adds, too, is the machine's doing (caches, cores), not ours.
isolation   latency of a healthy endpoint beside 1, 10 and 100 bad ones (hanging, refusing, resetting,
            dripping, endless, failing) with 10,000 webhooks queued for each.
"""
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import fleet
import result
from pgtemp import Cluster

PARTS = ("latency", "throughput", "isolation")
QUICK = "quick" in sys.argv
chosen = [part for part in sys.argv[1:] if part in PARTS] or PARTS
ROUNDS = 100 if QUICK else 500
BACKLOG = 30_000 if QUICK else 100_000
QUEUED = 1000 if QUICK else 10_000
ENDPOINTS = 8
CONCURRENT = 256
SAMPLES = 50_000
KEY = "a secret of some length, as random ones are"
HERE = os.path.dirname(os.path.abspath(__file__))


def compile_into(folder, name, *options):
    include = subprocess.check_output(["pg_config", "--includedir"], text=True).strip()
    subprocess.run(["g++", "-O2", "-w", "-I" + include, "-o", f"{folder}/{name}", f"{HERE}/{name}.cpp", *options], check=True)
    return f"{folder}/{name}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, seconds=300):
    deadline = time.time() + seconds
    while not condition():
        if time.time() > deadline:
            raise RuntimeError(f"not in {seconds} s")
        time.sleep(0.02)


class Bench:
    def __init__(self, containers):
        self.cluster = Cluster(["fsync=off"])
        self.children = []
        with open(self.cluster.data + "/postgresql.conf", "a") as conf:
            conf.write(f"\nalerting.allowed_networks = '127.0.0.0/8'\nalerting.max_concurrent_deliveries = {CONCURRENT}\n")
        self.sql = self.cluster.sql
        self.sql(f"""select pg_reload_conf(); set client_min_messages = error;
          create table organizations(id int primary key, name text);
          create table containers(id int primary key, organization_id int not null references organizations, name text);
          create table container_metrics(container_id int not null, at timestamptz not null, cpu_percent float8);
          insert into organizations select i, 'organization ' || i from generate_series(1, 3) i;
          insert into containers select i, 1, 'container-' || i from generate_series(1, {containers}) i;
          create extension alerting;
          select alerting.create_rule(o, 'CPU above 90 %', 'CPU_USAGE', 90) from generate_series(1, 2) o;
          select alerting.flush('30s')""")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in self.children:
            child.kill()
        self.cluster.stop()

    def build(self, name, *options):
        return compile_into(self.cluster.dir, name, *options)

    def start(self, *command):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.children.append(child)
        return int(re.search(r"(\d+)", child.stdout.readline()).group(1))

    def run(self, *command, **options):
        return subprocess.run([str(word) for word in command], env=self.cluster.env, text=True, check=True,
                              stdout=subprocess.PIPE, **options).stdout

    def pid(self, worker):
        return self.sql(f"select pid from pg_stat_activity where backend_type = 'alerting {worker}'")

    def queue(self, organization, url, webhooks, count):
        """A backlog of as large payloads as real ones, for webhooks that are switched off yet, and the alerts of so many
        containers that it tells of: FIRING ones, which the evaluator is not told of."""
        self.sql(f"""insert into alerting.webhook (id, organization_id, url, secret, is_active)
            select '{organization}-' || i, {organization}, {url}, '{KEY}', false from generate_series(1, {webhooks}) i;
          insert into alerting.alert (id, rule_id, container_id, status, started_at, fired_at, value)
            select alerting.cuid(), r.id, n, 'FIRING', now(), now(), 97.2
              from alerting.alert_rule r, generate_series(1, {count}) n where r.organization_id = {organization}
            on conflict do nothing;
          insert into alerting.delivery (webhook_id, alert_id, event, payload)
            select '{organization}-' || i, a.id, 'alert.firing', alerting.firing_payload(a.id, a.rule_id,
              'CPU above 90 %', 'CPU_USAGE', 90, 0, n::text, 'container-' || n, '2', 'organization 2', now(), now(), 97.2)
              from generate_series(1, {count}) n join alerting.alert a on a.container_id = n, generate_series(1, {webhooks}) i
              where a.rule_id in (select r.id from alerting.alert_rule r where r.organization_id = {organization}) order by n, i;
          vacuum analyze alerting.delivery, alerting.alert;""")


def report(line):
    print(line, flush=True)


def latency():
    report("## Latency: microseconds from COMMIT sent to arrival, in turns\n\n| what | p50 | p99 |\n|---|---|---|")
    with Bench(ROUNDS) as bench:
        port = free_port()
        bench.sql(f"select alerting.create_webhook(1, 'http://127.0.0.1:{port}/a', '{KEY}')")
        program = bench.build("latency", "-pthread", "-lpq", "-lcurl")
        results = dict(line.split(" ", 1) for line in bench.run(program, ROUNDS, port, 1).splitlines())
        floor, ours = (list(map(float, results[name].split())) for name in ("floor", "alerting"))
        report(f"| LISTEN wake-up and one libcurl request | {floor[0]:,.0f} | {floor[1]:,.0f} |")
        report(f"| alerting | {ours[0]:,.0f} | {ours[1]:,.0f} |")
        report(f"| ratio | {ours[0] / floor[0]:.2f} | {ours[1] / floor[1]:.2f} |\n")
        result.goal("delivery, COMMIT to arrival", f"p50 {ours[0] / 1000:.2f} ms, p99 {ours[1] / 1000:.1f} ms", "p50 under 2 ms and 2 × the floor",
                    ours[0] < 2000 and ours[0] <= 2 * floor[0], ours[0] / floor[0], f"wake-up and request {floor[0] / 1000:.2f} ms")


class Backlog:
    """A backlog that leaves twice from one server. The first time the server has touched none of its memory, of its log's
    nor of its files' pages, and each costs the kernel work that a server at work has long behind it; the second time
    retention has deleted the first."""

    def __init__(self, bench):
        self.bench = bench
        self.sink = bench.start(bench.build("sink"))
        self.url = f"http://127.0.0.1:{self.sink}/"
        self.curlbench = bench.build("curlbench", "-lcurl", "-lcrypto")
        self.sender = bench.pid("sender")

    def queue(self):
        self.bench.sql("delete from alerting.webhook; vacuum (truncate false) alerting.delivery, alerting.delivery_attempt")
        self.bench.queue(2, f"'{self.url}' || i", ENDPOINTS, BACKLOG // ENDPOINTS)
        self.bodies = self.bench.sql("select id || E'\\t' || payload from alerting.delivery")

    def arrived(self):
        answer = urllib.request.urlopen(self.url + "stats").read().decode()
        return {name: int(value) for name, value in re.findall(r'"(\w+)":(\d+)', answer)}

    def start_raw(self):
        """libcurl alone at work, with enough to do to be still at it after a round of samples."""
        with open(self.bench.cluster.dir + "/bodies", "w") as file:
            file.write((self.bodies + "\n") * 3)
        started = self.arrived()["count"]
        with open(file.name) as source:
            child = subprocess.Popen([self.curlbench, self.url, str(CONCURRENT), KEY], stdin=source, stdout=subprocess.DEVNULL)
        wait_for(lambda: self.arrived()["count"] > started + BACKLOG // 10)
        return child

    def send_raw(self):
        """Webhooks a second of libcurl alone, and its CPU for each in microseconds."""
        rate, cpu, _ = map(float, self.bench.run(self.curlbench, self.url, CONCURRENT, KEY, input=self.bodies).split())
        return rate, cpu / BACKLOG * 1e6

    def send(self):
        """The same two of the sender."""
        urllib.request.urlopen(self.url + "reset").read()
        before = fleet.cpu_nanoseconds(self.sender)
        self.bench.sql("update alerting.webhook set is_active = true")
        wait_for(lambda: self.arrived()["count"] >= BACKLOG)
        arrived = self.arrived()
        if self.bench.sql("select alerting.flush('60s', deliveries => true)") != "t":
            raise RuntimeError("not all recorded")
        cpu = fleet.cpu_nanoseconds(self.sender) - before
        logged = int(self.bench.sql("select count(*) from alerting.delivery_attempt where error is null"))
        if arrived["count"] != BACKLOG or logged != BACKLOG:
            raise RuntimeError(f"{arrived['count']} arrived and {logged} were logged")
        return BACKLOG / ((arrived["last_ns"] - arrived["first_ns"]) / 1e9), cpu / BACKLOG / 1e3

    def compare(self):
        """Rates of the sender and of libcurl alone, which is the mean of before and after."""
        runs = [self.send_raw(), self.send(), self.send_raw()]
        raw_rate, raw_cpu = ((before + after) / 2 for before, after in zip(runs[0], runs[2]))
        rate, cpu = runs[1]
        report("\n| what | webhooks a second | CPU, µs a webhook |\n|---|---|---|")
        report(f"| raw libcurl multi (mean of before and after) | {raw_rate:,.0f} | {raw_cpu:.1f} |")
        report(f"| alerting, each attempt logged | {rate:,.0f} | {cpu:.1f} |")
        report(f"| ratio | {rate / raw_rate:.2f} | {raw_cpu / cpu:.2f} |\n")
        return rate, raw_rate


def throughput():
    report(f"\n## Throughput: a backlog of {BACKLOG:,}, {ENDPOINTS} webhooks, {CONCURRENT} requests at a time")
    with Bench(SAMPLES) as bench:
        backlog = Backlog(bench)
        evaluator = bench.pid("evaluator")

        def judge(minute):
            """CPU of the evaluator for a round of samples that breach nothing, microseconds each."""
            before = fleet.cpu_nanoseconds(evaluator)
            bench.sql(f"insert into container_metrics select i, now() - interval '{minute} minutes', 20 from generate_series(1, {SAMPLES}) i;"
                      " select alerting.flush('60s')")
            return (fleet.cpu_nanoseconds(evaluator) - before) / SAMPLES / 1000

        backlog.queue()
        rate, raw_rate = backlog.compare()
        result.figure(f"delivery, the first {BACKLOG:,} of a fresh server", f"{rate:,.0f} webhooks/s", rate / raw_rate,
                      f"libcurl alone {raw_rate:,.0f}/s")
        backlog.queue()
        rate, raw_rate = backlog.compare()
        result.goal(f"delivery, a backlog of {BACKLOG:,}, each attempt logged", f"{rate:,.0f} webhooks/s", "at least 0.7 ×", rate >= 0.7 * raw_rate,
                    rate / raw_rate, f"libcurl alone {raw_rate:,.0f}/s")

        judge(9)
        alone = judge(8)
        child = backlog.start_raw()
        beside_raw = judge(6)
        if child.poll() is not None:
            raise RuntimeError("libcurl was done before the evaluator")
        child.wait()
        sent = backlog.arrived()["count"]
        bench.sql("update alerting.delivery set status = 'PENDING', attempts = 0")
        wait_for(lambda: backlog.arrived()["count"] >= sent + BACKLOG // 10)
        busy = judge(7)
        unfinished = int(bench.sql("select count(*) from alerting.delivery where status = 'PENDING'"))
        report(f"\nThe evaluator's CPU a sample: {alone:.2f} µs alone, {beside_raw:.2f} µs while libcurl alone sends,"
               f" {busy:.2f} µs while webhooks leave ({unfinished:,} still to go).")


def isolation():
    report(f"\n## Isolation: microseconds from COMMIT to arrival at a healthy endpoint, {QUEUED:,} queued for each bad one\n")
    report("| bad endpoints | p50 | p99 | attempts at the bad ones meanwhile |\n|---|---|---|---|")
    with Bench(max(4 * ROUNDS, QUEUED)) as bench:
        bad = bench.start("python3", HERE + "/../test/receiver/receiver.py", "--log", "/dev/null")
        nobody = free_port()
        port = free_port()
        bench.sql(f"select alerting.create_webhook(1, 'http://127.0.0.1:{port}/a', '{KEY}')")
        program = bench.build("latency", "-pthread", "-lpq", "-lcurl")
        paths = ("/hang", "/reset", "/drip", "/endless", "/status/500")
        urls = [f"http://127.0.0.1:{bad}{path}" for path in paths] + [f"http://127.0.0.1:{nobody}/refused"]
        listed = "(array[" + ", ".join(f"'{url}'" for url in urls) + f"])[i % {len(urls)} + 1] || '?' || i"
        bench.queue(2, listed, 100, QUEUED)
        for step, count in enumerate((0, 1, 10, 100)):
            bench.sql(f"update alerting.webhook set is_active = true where organization_id = 2 and substr(id, 3)::int <= {count}")
            started = int(bench.sql("select count(*) from alerting.delivery_attempt"))
            results = bench.run(program, ROUNDS, port, 1 + step * ROUNDS, "alone").split()
            attempts = int(bench.sql("select count(*) from alerting.delivery_attempt")) - started - ROUNDS
            report(f"| {count} | {float(results[1]):,.0f} | {float(results[2]):,.0f} | {attempts:,} |")


if __name__ == "__main__":
    for part in chosen:
        globals()[part]()

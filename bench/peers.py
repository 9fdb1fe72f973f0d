#!/usr/bin/env python3
"""The product beside others that send webhooks: Prometheus with Alertmanager, and triggers that call pg_net.

Usage: peers.py [turns=3] [quick]

Each turn runs them one after the other, with servers of its own, over 10,000 containers and four rules, into the
same sink. A breach is the COMMIT of a row or, for Prometheus, the moment from which a scrape finds the new value.
  load      100 such rows a second, alerting's and then pg_net's
  idle      commits of alerting and of pg_net in turns, so far apart that all workers sleep
  backlog   the same bodies, for both
Prometheus and Alertmanager are Debian's; pg_net is measured where the server has it (its own source, "make install").
"""
import os
import re
import subprocess
import sys
import time
import urllib.request

import fleet
import result
from delivery import Bench, wait_for
from pgtemp import Cluster, stat
from prometheus import Prometheus

QUICK = "quick" in sys.argv
TURNS = next((int(word) for word in sys.argv[1:] if word.isdigit()), 1 if QUICK else 3)
FLEET = 10_000
IDLE, LOAD, CROSSINGS = (10, 500, 50) if QUICK else (30, 1000, 200)
BACKLOG = 20_000 if QUICK else 40_000
SECONDS = 5 if QUICK else 10
BATCHES = {200: 2_000, 2_000: 10_000, 5_000: 20_000, 10_000: BACKLOG}  # of pg_net, 200 by default: one a second; how many requests
METRICS = {"alerting": "container_metrics", "pg_net": "net_metrics"}
TRIGGER = """create extension pg_net;
  create table net_metrics (like container_metrics);
  create function post_breach() returns trigger language plpgsql as $$
  begin
    perform net.http_post('{url}', alerting.firing_payload(gen_random_uuid()::text, gen_random_uuid()::text, 'CPU_USAGE', 'CPU_USAGE', 90, 0,
        c.id, c.name, o.id::text, o.name, new.at, now(), new.cpu_percent))
      from containers c join organizations o on o.id = c.organization_id where c.id = new.container_id;
    return null;
  end $$;
  create trigger post_breach after insert on net_metrics for each row when (new.cpu_percent > 90) execute function post_breach();"""


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def has_pg_net():
    return os.path.exists(output("pg_config", "--sharedir").strip() + "/extension/pg_net.control")


class Sink:
    def __init__(self, folder):
        self.child = subprocess.Popen([fleet.build(folder, "sink")], stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.child.stdout.readline())}/"

    def get(self, path):
        return urllib.request.urlopen(self.url + path).read().decode()

    def count(self):
        return int(re.search(r'"count":(\d+)', self.get("stats")).group(1))

    def await_count(self, count):
        wait_for(lambda: self.count() >= count)

    def arrivals(self):
        """Nanoseconds of each arrival, in order, and its container."""
        return [(int(at), int(container)) for at, _, container in map(str.split, self.get("dump").splitlines())]

    def milliseconds_since(self, breaches):
        """By container, from its breach at the given moment to the first webhook about it."""
        self.await_count(len(breaches))
        came = {}
        for at, container in self.arrivals():
            came.setdefault(container, at)
        return {container: (came[container] - at) / 1e6 for container, at in breaches.items()}


class Samples:
    """Values by name, those of each turn apart."""

    def __init__(self):
        self.turns = {}

    def add(self, name, values):
        self.turns.setdefault(name, []).append(values if isinstance(values, list) else [values])

    def has(self, name):
        return name in self.turns

    def median(self, name):
        return stat([stat(turn)[1] for turn in self.turns[name]])[1]

    def range(self, name, form):
        least, _, most = stat([stat(turn)[1] for turn in self.turns[name]])
        return f"{least:{form}} to {most:{form}}"

    def percentiles(self, name):
        """Of all turns together: how many, p50, p99."""
        values = sorted(value for turn in self.turns[name] for value in turn)
        return len(values), stat(values)[1], values[-1 - len(values) // 100]


class Postgres:
    def __init__(self, samples):
        self.samples = samples
        self.names = list(METRICS) if has_pg_net() else ["alerting"]
        self.cluster = Cluster(["fsync=off"] + (["shared_preload_libraries=pg_net"] if len(self.names) > 1 else []))
        self.sql = self.cluster.sql
        self.sink = Sink(self.cluster.dir)
        self.next = 1_000_000

    def __enter__(self):
        fleet.configure(self.cluster, "alerting.allowed_networks = '127.0.0.0/8'")
        fleet.create(self.cluster, FLEET, metrics="create table container_metrics({})")
        self.sql(f"insert into alerting.webhook(organization_id, url, secret) select id, '{self.sink.url}', 'a secret of some length' from organizations")
        if "pg_net" in self.names:
            self.sql(TRIGGER.format(url=self.sink.url))
        include = output("pg_config", "--includedir").strip()
        self.commits = fleet.build(self.cluster.dir, "commits", "-I" + include, "-lpq")
        return self

    def __exit__(self, *_):
        self.sink.child.kill()
        self.cluster.stop()

    def pids(self, name):
        return self.sql(f"select pid from pg_stat_activity where backend_type like '{name}%' order by backend_type").split()

    def cpu(self, name):
        return sum(map(fleet.cpu_nanoseconds, self.pids(name))) / 1e6

    def breach(self, label, names, rounds, least, most):
        self.sink.get("reset")
        tables = [METRICS[name] for name in names]
        printed = subprocess.run([self.commits, str(self.next), str(rounds), str(least), str(most), *tables], env=self.cluster.env, check=True,
                                 stdout=subprocess.PIPE, text=True).stdout
        self.next += rounds * len(tables)
        rows = [(table, int(container), int(begun), int(sent)) for table, container, begun, sent in map(str.split, printed.splitlines())]
        times = self.sink.milliseconds_since({container: sent for _, container, _, sent in rows})
        for name, table in zip(names, tables):
            self.samples.add(f"{name}, {label}", [times[container] for of, container, _, _ in rows if of == table])
            self.samples.add(f"INSERT of {name}, {label}", [(sent - begun) / 1e6 for of, _, begun, sent in rows if of == table])

    def drain(self, name, label, count, start, batch=0):
        """Requests a second of a backlog, from the end of the first batch on, and CPU of the workers for each in microseconds."""
        self.sink.get("reset")
        before = self.cpu(name)
        self.sql(start)
        self.sink.await_count(count)
        moments = [at for at, _ in self.sink.arrivals()]
        first = moments[batch - 1] if batch else moments[0]
        self.samples.add(f"rate of {name}, {label}", (count - batch) / ((moments[count - 1] - first) / 1e9))
        if name == "alerting":
            if self.sql("select alerting.flush('60s', deliveries => true)") != "t":
                raise RuntimeError("not all recorded")
        else:
            wait_for(lambda: self.sql("select count(*) from net.http_request_queue") == "0")
        self.samples.add(f"CPU of {name}, {label}", (self.cpu(name) - before) / count * 1000)

    def backlogs(self):
        Bench.queue(self.cluster, 2, f"'{self.sink.url}' || i", 8, BACKLOG // 8)
        self.drain("alerting", "default settings", BACKLOG, "update alerting.webhook set is_active = true")
        if "pg_net" not in self.names:
            return
        bodies = f"select net.http_post('{self.sink.url}', payload) from alerting.delivery where webhook_id like '2-%' limit "
        for batch, count in BATCHES.items():
            self.sql(f"alter system set pg_net.batch_size = {batch}")
            self.sql("select pg_reload_conf()")
            self.drain("pg_net", f"pg_net.batch_size = {batch}" + " (default)" * (batch == 200), count, bodies + str(count), batch)

    def all_is_well(self):
        """A sample of each container, so that none is unknown, firing or long silent."""
        self.sql(fleet.round_of_metrics(FLEET, 0))
        if self.sql("select alerting.flush('60s', deliveries => true)") != "t":
            raise RuntimeError("not all judged and sent")

    def passes(self):
        """A round of samples each second: the evaluator's CPU for each, and that of all that takes part in a second."""
        self.all_is_well()
        before = self.cpu("alerting")
        evaluated, inserted = [], 0
        pid = fleet.evaluator_pid(self.cluster)
        for _ in range(SECONDS):
            started = time.time()
            spent = fleet.cpu_nanoseconds(pid)
            clock = "select split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)"
            start, end = map(int, self.sql(f"{clock}; {fleet.round_of_metrics(FLEET, 0)}; {clock}").split())
            fleet.flush(self.cluster)
            evaluated.append((fleet.cpu_nanoseconds(pid) - spent) / 1e6)
            inserted += (end - start) / 1e6
            time.sleep(max(0, started + 1 - time.time()))
        self.samples.add("alerting, a pass", evaluated)
        self.samples.add("alerting, CPU", (self.cpu("alerting") - before) / SECONDS)
        self.samples.add("alerting, CPU of INSERT", inserted / SECONDS)

    def rest(self):
        time.sleep(12)  # state is saved every few seconds
        before = {name: self.cpu(name) for name in self.names}
        time.sleep(SECONDS)
        for name in self.names:
            self.samples.add(f"{name}, CPU at rest", (self.cpu(name) - before[name]) / SECONDS)
            self.samples.add(f"{name}, PSS", memory(self.pids(name), "Pss"))
            self.samples.add(f"{name}, private", memory(self.pids(name), "Pss_Anon"))
            self.samples.add(f"{name}, RSS", memory(self.pids(name), "Rss"))

    def turn(self):
        """Breaches come after much else, so that containers, endpoints and plans are known, as they are to a server at work."""
        self.passes()
        for name in self.names:
            self.breach("100 breaches a second", [name], LOAD, 5_000, 15_000)
        self.all_is_well()
        time.sleep(2.5)  # pg_net sleeps two seconds after its last request, not before
        self.breach("idle", self.names, IDLE, 1_050_000, 1_250_000)
        self.rest()
        self.backlogs()


def memory(pids, kind):
    """MB of the processes together, as /proc/PID/smaps_rollup counts them."""
    kilobytes = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            kilobytes += int(re.search(rf"^{kind}: *(\d+)", file.read(), re.M).group(1))
    return kilobytes / 1024


def prometheus_turn(samples, turn):
    cluster = Cluster()  # for its folder, which goes away with it
    prometheus = sink = None
    try:
        sink = Sink(cluster.dir)
        prometheus = Prometheus(cluster.dir, FLEET, sink.url, f"turn {turn}")
        prometheus.wait(FLEET)
        passed, scrape, cpu = prometheus.watch(SECONDS)
        samples.add("Prometheus, a pass", passed)
        samples.add("Prometheus, a scrape", scrape)
        samples.add("Prometheus, CPU", cpu)
        samples.add("Prometheus", list(sink.milliseconds_since(dict(prometheus.breaches(0, CROSSINGS))).values()))
        pids = [prometheus.prometheus.pid, prometheus.alertmanager.pid]
        for kind, name in (("Pss", "PSS"), ("Pss_Anon", "private"), ("Rss", "RSS")):
            samples.add("Prometheus, " + name, memory(pids, kind))
    finally:
        if prometheus:
            prometheus.stop()
        if sink:
            sink.child.kill()
        cluster.stop()


def version(*command):
    return re.search(r"\d+(?:\.\d+)+", output(*command)).group()


def report_latency(samples):
    print("| what | from | breaches | to its webhook, p50, ms | p99, ms | p50 of the turns | INSERT before it, p50, ms |\n|---|---|---|---|---|---|---|")
    for label in ("idle", "100 breaches a second"):
        for name in METRICS:
            if samples.has(f"{name}, {label}"):
                count, p50, p99 = samples.percentiles(f"{name}, {label}")
                print(f"| {name}, {label} | COMMIT | {count:,} | {p50:,.2f} | {p99:,.1f} | {samples.range(f'{name}, {label}', ',.2f')} |"
                      f" {samples.median(f'INSERT of {name}, {label}'):.2f} |")
                result.keep(kind="peer", name=f"{name}, {label}", p50=p50, p99=p99)
    count, p50, p99 = samples.percentiles("Prometheus")
    print(f"| Prometheus and Alertmanager, each second | new value | {count:,} | {p50:,.0f} | {p99:,.0f} | {samples.range('Prometheus', ',.0f')} | |\n")
    result.keep(kind="peer", name="Prometheus", p50=p50, p99=p99)


def report_backlogs(samples):
    print("| webhooks from a backlog | a second | of the turns | CPU, µs each |\n|---|---|---|---|")
    for name in samples.turns:
        if name.startswith("rate of "):
            print(f"| {name[8:]} | {samples.median(name):,.0f} | {samples.range(name, ',.0f')} | {samples.median('CPU of ' + name[8:]):.0f} |")
            result.keep(kind="peer", name=name[8:], rate=samples.median(name))
    print()


def report_fleet(samples):
    print(f"| {FLEET:,} containers, four rules | alerting | pg_net | Prometheus and Alertmanager |\n|---|---|---|---|")
    for title, kind, form in (("a pass over all rules, ms", "a pass", ".1f"), ("a scrape, ms", "a scrape", ".0f"),
                              ("CPU, ms a second, while a round of samples comes each second", "CPU", ".0f"),
                              ("CPU of the INSERT of that round, ms", "CPU of INSERT", ".0f"),
                              ("CPU, ms a second, while no sample comes", "CPU at rest", ".2f"),
                              ("memory, MB: proportional (PSS)", "PSS", ".0f"), ("of it private", "private", ".0f"), ("resident (RSS)", "RSS", ".0f")):
        names = [f"{name}, {kind}" for name in (*METRICS, "Prometheus")]
        print(f"| {title} | " + " | ".join(f"{samples.median(name):{form}}" if samples.has(name) else "" for name in names) + " |")
        for name in filter(samples.has, names):
            result.keep(kind="peer", name=name, value=samples.median(name))


def main():
    samples = Samples()
    load = os.getloadavg()[0]
    for turn in range(TURNS):
        with Postgres(samples) as postgres:
            versions = postgres.sql("select extname || ' ' || extversion from pg_extension where extname in ('alerting', 'pg_net') order by 1")
            postgres.turn()
        prometheus_turn(samples, turn)
    print(", ".join(versions.split("\n")) + f", PostgreSQL {version('pg_config', '--version')}, Prometheus {version('prometheus', '--version')},"
          f" Alertmanager {version('prometheus-alertmanager', '--version')}; {TURNS} turn{'s' * (TURNS > 1)}; load average at the start {load:.1f}."
          + ("" if has_pg_net() else " pg_net is not installed in this server: left out.") + "\n")
    report_latency(samples)
    report_backlogs(samples)
    report_fleet(samples)


if __name__ == "__main__":
    main()

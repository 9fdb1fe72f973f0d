"""Prometheus with Alertmanager, tuned for speed, over a fleet that a small exporter of this process serves. Both run
in the folder given, on loopback ports of their own, with Debian's binaries and nothing of Debian's configuration."""
import http.server
import json
import random
import re
import socket
import subprocess
import threading
import time
import urllib.request

import fleet

ORGANIZATIONS = 100
HISTORY = 60  # samples of the last ten minutes that the rule about restarts finds
CONFIG = """
global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}
rule_files: [ rules.yml ]
scrape_configs: [ {{ job_name: fleet, static_configs: [ {{ targets: [ "127.0.0.1:{exporter}" ] }} ] }} ]
alerting: {{ alertmanagers: [ {{ static_configs: [ {{ targets: [ "127.0.0.1:{alertmanager}" ] }} ] }} ] }}
"""
# The group's name decides when in each second it is evaluated.
RULES = """
groups:
- name: "{name}"
  rules:
  - {{ alert: CPU_USAGE, expr: container_cpu_percent > 90 }}
  - {{ alert: MEMORY_USAGE, expr: container_memory_percent > 90, for: 5m }}
  - {{ alert: CONTAINER_DOWN, expr: container_running == 0, for: 5m }}
  - {{ alert: RESTART_LOOP, expr: "increase(container_restarts[10m]) >= 3" }}
"""
# A group for each alert, sent at once: none waits for another.
ALERTMANAGER = """
route: {{ receiver: sink, group_by: [ "..." ], group_wait: 0s, group_interval: 1s, repeat_interval: 24h }}
receivers: [ {{ name: sink, webhook_configs: [ {{ url: "{sink}", send_resolved: false }} ] }} ]
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Exporter(http.server.ThreadingHTTPServer):
    """The fleet's metrics as text; only the CPU of a container ever changes, by `breach`."""

    def __init__(self, containers):
        self.labels = [f'{{container="ctr-{1000000 + i}",organization="{i % ORGANIZATIONS}"}}' for i in range(containers)]
        self.cpu = [f"container_cpu_percent{labels} {20 + i % 50}.42\n" for i, labels in enumerate(self.labels)]
        others = (("memory_percent", lambda i: f"{30 + i % 40}.42"), ("running", lambda i: 1), ("restarts", lambda i: 0))
        self.rest = "".join(f"container_{name}{labels} {value(i)}\n" for name, value in others for i, labels in enumerate(self.labels)).encode()
        super().__init__(("127.0.0.1", 0), self.Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def breach(self, i):
        """The moment from which on a scrape finds the container above its threshold."""
        self.cpu[i] = f"container_cpu_percent{self.labels[i]} 99\n"
        return time.time_ns()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = "".join(self.server.cpu).encode() + self.server.rest
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass


class Prometheus:
    def __init__(self, folder, containers, sink, name):
        self.folder, self.name = folder, name
        self.exporter = Exporter(containers)
        self.port, alertmanager = free_port(), free_port()
        self.write("prometheus.yml", CONFIG.format(exporter=self.exporter.server_port, alertmanager=alertmanager))
        self.write("rules.yml", RULES.format(name=name))
        self.write("alertmanager.yml", ALERTMANAGER.format(sink=sink))
        self.backfill()
        self.alertmanager = self.start("prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alertmanager",
                                       "--cluster.listen-address=", f"--web.listen-address=127.0.0.1:{alertmanager}")
        self.prometheus = self.start("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb",
                                     f"--web.listen-address=127.0.0.1:{self.port}")

    def write(self, name, content):
        with open(f"{self.folder}/{name}", "w") as file:
            file.write(content)

    def backfill(self):
        """Ten minutes of restart counts, ten seconds apart, of the very series that will be scraped."""
        newest = int(time.time()) - 5
        instance = f',instance="127.0.0.1:{self.exporter.server_port}",job="fleet"}} 0 '
        with open(self.folder + "/history", "w") as file:
            file.write("# TYPE container_restarts gauge\n")
            for labels in self.exporter.labels:
                series = "container_restarts" + labels[:-1] + instance
                file.writelines(f"{series}{newest - 10 * k}\n" for k in range(HISTORY - 1, -1, -1))
            file.write("# EOF\n")
        subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", "history", "tsdb"], cwd=self.folder, check=True,
                       stdout=subprocess.DEVNULL)

    def start(self, *command):
        with open(f"{self.folder}/{command[0]}.log", "w") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)

    def get(self, path):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}").read().decode()

    def metric(self, name):
        """Of its own, 0 while there is none."""
        return float((re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", self.get("/metrics"), re.M) or [0, 0])[1])

    def query(self, expression):
        found = json.loads(self.get("/api/v1/query?query=" + urllib.request.quote(expression)))["data"]["result"]
        return [float(entry["value"][1]) for entry in found]

    def wait(self, containers, seconds=60):
        """Until all series are there and are evaluated."""
        deadline = time.time() + seconds
        while True:
            try:
                if self.metric("prometheus_rule_evaluations_total") >= 20 and self.query("count(container_restarts)") == [containers]:
                    return
            except OSError:
                pass  # not up yet
            if time.time() > deadline:
                raise RuntimeError(f"Prometheus is not up within {seconds} s")
            time.sleep(0.1)

    def watch(self, seconds):
        """While nothing crosses: milliseconds of a pass over all rules and of a scrape, on average, and of CPU in a second."""
        def totals():
            spent = fleet.cpu_nanoseconds(self.prometheus.pid) + fleet.cpu_nanoseconds(self.alertmanager.pid)
            return spent / 1e6, *(self.metric("prometheus_rule_group_duration_seconds_" + name) for name in ("sum", "count"))
        before = totals()
        time.sleep(seconds)
        spent, passed, passes = (now - then for now, then in zip(totals(), before))
        scrape, = self.query("avg_over_time(scrape_duration_seconds[1m])")
        return passed * 1000 / passes, scrape * 1000, spent / seconds

    def breaches(self, first, count):
        """Containers that cross one after the other at random moments, five a second: number and moment of each."""
        for i in range(first, first + count):
            time.sleep(random.uniform(0.1, 0.3))
            yield 1000000 + i, self.exporter.breach(i)

    def stop(self):
        for child in (self.prometheus, self.alertmanager):
            child.kill()
            child.wait()
        self.exporter.shutdown()
        self.exporter.server_close()

"""What happened in the demo, as the alert table and the webhook receiver saw it, and how that
differs from what had to happen."""
import datetime
import json
import threading
import time

from database import DatabaseError
from display import clock
from fleet import Incident


def parse_time(text):
    """Seconds since the epoch of an RFC 3339 time in UTC."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Story:
    """What happened: alerts as the table shows them, webhooks as the receiver got them."""

    def __init__(self, screen, fleet):
        self.screen = screen
        self.names = {c.id: c.name for c in fleet.containers}
        self.lock = threading.Lock()
        self.begin(0, 0, 0)
        self.samples = 0
        self.commits = {}  # (host name, sample's story time) -> when its COMMIT was sent
        self.host_of = {c.id: c.host.name for c in fleet.containers}
        self.alerts = {}  # id -> row of alerting.alert
        self.webhooks = []
        self.latencies = []

    def begin(self, start, epoch, speed):
        """The story begins at `start` (monotonic clock); its samples say it began at `epoch`."""
        self.start, self.epoch, self.speed = start, epoch, speed

    def now(self):
        """How far the story has been told."""
        return (time.monotonic() - self.start) * self.speed

    def story_time(self, epoch_seconds):
        return None if epoch_seconds is None else round(epoch_seconds - self.epoch, 3)

    def latency(self, container, t, received):
        """Milliseconds from the COMMIT that brought the sample of time t; None: no sample did it."""
        sent = self.commits.get((self.host_of.get(container), t))
        return None if sent is None else (received - sent) * 1000

    def on_webhook(self, webhook):
        screen = self.screen
        with self.lock:
            self.webhooks.append(webhook)
        if webhook.problem:
            screen.line(f"{clock(self.now())}  webhook  {webhook.type:<15} {webhook.problem}", "red")
            return
        if webhook.type == "ping":
            screen.line("  the receiver got a ping, signature ok", "cyan")
            return
        alert = webhook.body["data"]["alert"]
        which = "firedAt" if webhook.type == "alert.firing" else "resolvedAt"
        t = self.story_time(parse_time(alert[which]))
        latency = self.latency(alert["containerId"], t, webhook.received)
        with self.lock:
            if latency is not None:
                self.latencies.append(latency)
        after = f"{latency:6.1f} ms after COMMIT" if latency is not None else "by the clock"
        screen.line(f"{clock(self.now())}  webhook  {webhook.type:<15} {self.names.get(alert['containerId'], '?'):<12}"
                    f" signature ok  {after}", "cyan")

    def on_alerts(self, rows):
        """Takes the alert table's rows and shows what is new."""
        for row in rows:
            before = self.alerts.get(row["id"])
            self.alerts[row["id"]] = row
            if before is None:
                self.show(row, "FIRING", "red")
            if row["status"] == "RESOLVED" and (before is None or before["status"] == "FIRING"):
                self.show(row, "RESOLVED", "green")

    def show(self, row, status, colour):
        text = f"since {clock(self.story_time(row['started_at'])).strip()}"
        if status == "RESOLVED":
            text = row["resolve_reason"]
        elif row["value"] is not None:
            text = f"{row['value']:.4g}{'' if row['condition'] == 'RESTART_LOOP' else ' %'}, {text}"
        self.screen.line(f"{clock(self.now())}  {self.screen.paint(f'{status:<8}', colour)} "
                         f"{row['condition']:<15} {self.names.get(row['container_id'], '?'):<12} {text}")

    def incidents(self):
        return sorted(Incident(self.names.get(a["container_id"], "?"), a["condition"],
                               *(self.story_time(a[k]) for k in ("started_at", "fired_at", "resolved_at")),
                               a["resolve_reason"]) for a in self.alerts.values())

    def summary(self):
        firing = sum(a["status"] == "FIRING" for a in self.alerts.values())
        return f"{self.samples:6,} samples, firing: {firing}, webhooks: {len(self.webhooks)}"


ALERTS = """SELECT coalesce(json_agg(t ORDER BY t.fired_at, t.id), '[]') FROM (
  SELECT a.id, a.container_id, a.status, r.condition, extract(epoch FROM a.started_at)::float8 AS started_at,
         extract(epoch FROM a.fired_at)::float8 AS fired_at, a.resolve_reason,
         extract(epoch FROM a.resolved_at)::float8 AS resolved_at,
         CASE WHEN a.value > '-Infinity' AND a.value < 'Infinity' THEN a.value END AS value
    FROM alerting.alert a JOIN alerting.alert_rule r ON r.id = a.rule_id) t"""


class Watcher(threading.Thread):
    """Looks at the alert table ten times a second, as a dashboard would."""

    def __init__(self, session, story):
        super().__init__(daemon=True)
        self.session, self.story = session, story
        self.stopped = threading.Event()
        self.error = None

    def look(self):
        # json_agg puts each row on a line of its own; psql prints them as they are.
        self.story.on_alerts(json.loads(self.session.run(ALERTS)))

    def run(self):
        try:
            while not self.stopped.wait(0.1):
                self.look()
        except (DatabaseError, ValueError) as error:
            self.error = error

    def finish(self):
        self.stopped.set()
        self.join()
        if self.error:
            raise self.error
        self.look()


def differences(story, fleet, database):
    """What came otherwise than expected, as lines to read."""
    expected, came = sorted(fleet.incidents()), story.incidents()
    problems = [f"expected, did not come: {i}" for i in expected if i not in came]
    problems += [f"came unexpected: {i}" for i in came if i not in expected]
    problems += [f"came twice: {i}" for i in set(came) if came.count(i) > 1]
    sequences = {}
    for webhook in story.webhooks:
        if webhook.problem:
            problems.append(f"webhook {webhook.id}: {webhook.problem}")
        elif webhook.type != "ping":
            sequences.setdefault(webhook.body["data"]["alert"]["id"], []).append(webhook.type)
    pings = sum(webhook.type == "ping" for webhook in story.webhooks)
    if pings != 1:
        problems.append(f"{pings} pings, expected the one of alerting.test_webhook")
    for alert in set(story.alerts) | set(sequences):
        if sequences.get(alert) != ["alert.firing", "alert.resolved"]:
            problems.append(f"webhooks of alert {alert}: {sequences.get(alert, 'none')}")
    undelivered = database.value("SELECT count(*) FROM alerting.delivery WHERE status <> 'DELIVERED'")
    if undelivered != "0":
        problems.append(f"{undelivered} deliveries are not DELIVERED")
    return problems

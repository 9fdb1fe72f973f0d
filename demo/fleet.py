"""The fleet that the demo plays: who runs where, how each metric moves, and which incidents come of it.

All times here are seconds since the start of the story; every host reports its containers every
PERIOD seconds, at an offset of its own. The numbers are the same in every run.
"""
import math
import random
from dataclasses import dataclass, field

MINUTE = 60.0
LENGTH = 40 * MINUTE
PERIOD = 30.0
MEMORY_LIMIT = 512 << 20
SILENCE = 6.0  # seconds after which a container that says nothing counts as down (real seconds)

ORGANIZATIONS = {
    "Aurora Shop": "0a0a0a0a-0000-4000-8000-000000000001",
    "Borealis Bank": "0b0b0b0b-0000-4000-8000-000000000002",
    "Cirrus Games": "0c0c0c0c-0000-4000-8000-000000000003",
}
SERVICES = ("web", "api", "auth", "cart", "search", "cache", "queue", "worker", "mailer", "images",
            "billing", "sessions", "proxy", "cron", "feed", "geo", "stock", "audit")
SMALL_HOST = 10  # the one that falls silent

# The rules of Aurora Shop, as rows for alerting.alert_rule.
RULES = (
    ("CPU above 90 % for 5 min", "CPU_USAGE", 90, 5),
    ("Memory above 85 % for 5 min", "MEMORY_USAGE", 85, 5),
    ("Down for 2 min", "CONTAINER_DOWN", None, 2),
    ("More than 3 restarts in 10 min", "RESTART_LOOP", 3, 10),
)


@dataclass
class Report:
    """What a host's agent says of one container."""
    cpu: float
    memory: int
    running: bool
    restarts: int


@dataclass(eq=False)
class Container:
    id: str
    name: str
    host: "Host"
    base_cpu: float
    base_memory: float
    phase: float
    noise: random.Random
    story: str = ""

    def report(self, t):
        wave = math.sin(t / (9 * MINUTE) + self.phase)
        cpu = self.base_cpu + 8 * wave + self.noise.gauss(0, 2)
        memory = self.base_memory + 3 * wave
        running, restarts = True, 0
        minute = t / MINUTE
        if self.story in ("spike", "unwatched") and 8 <= minute < 19:
            cpu = 97 + self.noise.uniform(-1.5, 1.5)
        elif self.story == "burst" and 10 <= minute < 13:
            cpu = 96 + self.noise.uniform(-1.5, 1.5)
        elif self.story == "leak":
            memory = min(50 + 2.2 * max(minute - 3, 0), 99.5) if minute < 31 else 35
            restarts = 0 if minute < 31 else 1  # the kernel killed it
        elif self.story == "crash loop":
            restarts = min(max(math.floor(minute) - 11, 0), 8)  # once a minute, from 12 to 19
        elif self.story == "deploy":
            restarts = min(max(math.floor(minute) - 14, 0), 2)
        elif self.story == "stopped" and 9.5 <= minute < 22:
            running, cpu, memory = False, 0.0, 0.0
        return Report(max(cpu, 0.0), int(memory / 100 * MEMORY_LIMIT), running, restarts)


@dataclass(eq=False)
class Host:
    number: int
    organization: str
    containers: list = field(default_factory=list)

    @property
    def name(self):
        return f"edge-{self.number}"

    def times(self):
        """When it reports. The small one is silent between minute 20 and 34."""
        offset = 2.5 * (self.number - 1)
        for i in range(int(LENGTH / PERIOD)):
            t = offset + i * PERIOD
            if not (self.number == SMALL_HOST and 20 * MINUTE <= t < 34 * MINUTE):
                yield t


@dataclass(frozen=True, order=True)
class Incident:
    """An alert that must come of the story."""
    container: str  # its name
    condition: str
    started: float
    fired: float
    resolved: float
    reason: str = "RECOVERED"


class Fleet:
    def __init__(self, seed=20):
        dice = random.Random(seed)
        names = list(ORGANIZATIONS)
        self.hosts = []
        for number in range(1, 13):
            host = Host(number, names[(number - 1) % 3])
            size = 6 if number == SMALL_HOST else 18 if number <= 7 else 17
            for service in SERVICES[:size]:
                host.containers.append(Container(
                    f"{dice.getrandbits(48):012x}", f"{service}-{number}", host, dice.uniform(8, 50),
                    dice.uniform(25, 60), dice.uniform(0, 6.28), random.Random(dice.random())))
            self.hosts.append(host)
        self.containers = [c for host in self.hosts for c in host.containers]
        self.by_name = {c.name: c for c in self.containers}
        # The last three must raise nothing: too short, too few, and of an organization without rules.
        for name, story in {"api-1": "spike", "worker-4": "leak", "mailer-7": "crash loop",
                            "cache-1": "stopped", "web-4": "burst", "auth-7": "deploy",
                            "api-2": "unwatched"}.items():
            self.by_name[name].story = story

    def reports(self):
        """(time, host) of all reports, in the order in which they come."""
        return sorted(((t, host) for host in self.hosts for t in host.times()),
                      key=lambda report: report[0])

    def incidents(self):
        """What the rules' definitions make of the story, by hand: see RULES and Container.report."""
        def first(name, after, test=lambda report: True):
            container = self.by_name[name]
            return next(t for t in container.host.times() if t >= after and test(container.report(t)))

        spike = first("api-1", 8 * MINUTE)
        leak = first("worker-4", 0, lambda r: r.memory / MEMORY_LIMIT > 0.85)
        stopped = first("cache-1", 0, lambda r: not r.running)
        loop = first("mailer-7", 0, lambda r: r.restarts > 3)
        # Eight restarts; the alert is over once at most three are left in the window.
        window_end = first("mailer-7", 0, lambda r: r.restarts == 5) + 10 * MINUTE
        incidents = [
            Incident("api-1", "CPU_USAGE", spike, spike + 5 * MINUTE, first("api-1", 19 * MINUTE)),
            Incident("worker-4", "MEMORY_USAGE", leak, first("worker-4", leak + 5 * MINUTE),
                     first("worker-4", 31 * MINUTE)),
            Incident("cache-1", "CONTAINER_DOWN", stopped, stopped + 2 * MINUTE,
                     first("cache-1", 22 * MINUTE)),
            Incident("mailer-7", "RESTART_LOOP", loop, loop, window_end),
        ]
        silent = self.hosts[SMALL_HOST - 1]
        last = max(t for t in silent.times() if t < 20 * MINUTE)
        back = min(t for t in silent.times() if t > last)
        return incidents + [Incident(c.name, "CONTAINER_DOWN", last, last + SILENCE, back)
                            for c in silent.containers]

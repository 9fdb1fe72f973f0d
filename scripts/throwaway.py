"""Throw-away PostgreSQL servers for the tests and the demo.

A server lives in a scratch folder and listens on a Unix socket there, nowhere else. Root cannot run
one, so root's run as user postgres.
"""
import os
import pwd
import subprocess
import sys


class Account:
    """Who runs servers: postgres when we are root, else ourselves."""

    def __init__(self):
        self.popen = {}  # more arguments for subprocess
        self.environment = {}
        if os.geteuid() == 0:
            try:
                entry = pwd.getpwnam("postgres")
            except KeyError:
                sys.exit("root cannot run a PostgreSQL server, and there is no user postgres")
            self.popen = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            self.environment = {"HOME": entry.pw_dir, "USER": "postgres", "LOGNAME": "postgres"}

    def give(self, path):
        """Hands a folder with all that is in it to the account."""
        if not self.popen:
            return
        for folder, _, files in os.walk(path):
            for name in [folder] + [os.path.join(folder, file) for file in files]:
                os.chown(name, self.popen["user"], self.popen["group"], follow_symlinks=False)


def bindir(pg_config=None):
    """Where the server's programs are; exits with a hint when there is no server."""
    pg_config = pg_config or os.environ.get("PG_CONFIG") or "pg_config"
    try:
        return subprocess.run([pg_config, "--bindir"], check=True, capture_output=True,
                              text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        sys.exit(f"{pg_config} does not work; scripts/install-dependencies installs what is missing")


class ServerError(Exception):
    pass


class Server:
    """`settings` are lines for postgresql.conf. Superuser: postgres."""

    def __init__(self, folder, account, settings="", pg_config=None):
        self.account = account
        self.bindir = bindir(pg_config)
        self.folder = folder
        self.data = os.path.join(folder, "data")
        self.log = os.path.join(folder, "server.log")
        self.environment = {"PGHOST": folder, "PGPORT": "5432", "PGUSER": "postgres"}
        os.makedirs(folder, exist_ok=True)
        account.give(folder)
        self._must("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                   "--locale=C.UTF-8", "--no-sync")
        with open(os.path.join(self.data, "postgresql.conf"), "a") as conf:
            conf.write(f"listen_addresses = ''\nunix_socket_directories = '{folder}'\n{settings}")

    def start(self):
        self._must("pg_ctl", "-D", self.data, "-l", self.log, "-w", "start")

    def stop(self, mode="immediate"):
        if os.path.exists(os.path.join(self.data, "postmaster.pid")):
            self._run("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    def environment_for_clients(self):
        """The caller's environment, pointed at this server and no other."""
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("PG") or name == "PG_CONFIG"}
        return {**environment, **self.account.environment, **self.environment, "LC_ALL": "C.UTF-8"}

    def _run(self, program, *arguments):
        # In a session of its own: Ctrl-C is ours to handle, the server must not see it.
        return subprocess.run([os.path.join(self.bindir, program), *arguments], cwd=self.folder,
                              env=self.environment_for_clients(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              start_new_session=True, **self.account.popen)

    def _must(self, program, *arguments):
        result = self._run(program, *arguments)
        if result.returncode != 0:
            log = ""
            if os.path.exists(self.log):
                with open(self.log, errors="replace") as file:
                    log = "".join(file.readlines()[-40:])
            raise ServerError(f"{program} failed\n{result.stdout}\n{log}")

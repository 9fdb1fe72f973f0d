"""psql, twice: one call per statement, and sessions that stay open."""
import os
import subprocess
import threading


class DatabaseError(Exception):
    pass


class Database:
    def __init__(self, server, name):
        self.server, self.name = server, name
        self.psql = os.path.join(server.bindir, "psql")

    def popen(self):
        return {"env": {**self.server.environment_for_clients(), "PGDATABASE": self.name,
                        "PGOPTIONS": "--client-min-messages=notice", "PGAPPNAME": "demo"},
                "cwd": self.server.folder, "stderr": subprocess.STDOUT, "text": True,
                "start_new_session": True, **self.server.account.popen}

    def run(self, sql, *options):
        """Runs statements, gives psql's output; raises when one fails."""
        result = subprocess.run([self.psql, "-X", "-v", "ON_ERROR_STOP=1", "-P", "footer=off", *options],
                                input=sql, stdout=subprocess.PIPE, **self.popen())
        if result.returncode != 0:
            raise DatabaseError(f"{sql}\n{result.stdout}")
        return result.stdout

    def value(self, sql):
        return self.run(sql, "-Atq").strip()


class Session:
    """A psql that stays open; statements go in, their lines come out. One user at a time."""

    def __init__(self, database, *options):
        self.process = subprocess.Popen(
            [database.psql, "-X", "-v", "ON_ERROR_STOP=1", *(options or ["-Atq"])], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, bufsize=1, **database.popen())
        self.lock = threading.Lock()

    def run(self, sql):
        with self.lock:
            try:
                self.process.stdin.write(sql.rstrip().removesuffix(";") + ";\n\\echo -- done\n")
                self.process.stdin.flush()
            except OSError as error:
                raise DatabaseError(f"the session has ended: {self.process.stdout.read()}") from error
            lines = []
            for line in self.process.stdout:
                if line == "-- done\n":
                    return "".join(lines).strip("\n")
                lines.append(line)
            raise DatabaseError("the session has ended: " + "".join(lines))

    def close(self):
        try:
            self.process.stdin.close()
            self.process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()

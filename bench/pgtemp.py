# Temporary PostgreSQL cluster for the bench scripts: initdb in mktemp -d as user postgres (when run as root),
# free port, unix socket only, fsync default on; stopped at the end by its own pid. Standard library only.
import os, pwd, shutil, signal, socket, subprocess, tempfile, time

BIN = subprocess.check_output(["pg_config", "--bindir"], text=True).strip()
INC = subprocess.check_output(["pg_config", "--includedir-server"], text=True).strip()

class Cluster:
    def __init__(self, extra=()):
        self.root = os.geteuid() == 0
        self.as_pg = dict(user="postgres", group="postgres", extra_groups=[]) if self.root else {}
        self.dir = tempfile.mkdtemp(prefix="alerting-bench.")
        if self.root:
            pw = pwd.getpwnam("postgres"); os.chown(self.dir, pw.pw_uid, pw.pw_gid)
        os.chmod(self.dir, 0o755)
        s = socket.socket(); s.bind(("127.0.0.1", 0)); self.port = s.getsockname()[1]; s.close()
        self.data = self.dir + "/data"
        subprocess.run([BIN + "/initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--locale=C.UTF-8", "-E", "UTF8"],
                       check=True, stdout=subprocess.DEVNULL, cwd=self.dir, **self.as_pg)
        conf = ["shared_buffers=1GB", "max_wal_size=8GB", "checkpoint_timeout=1h", "autovacuum=off", "jit=off",
                "listen_addresses=", "unix_socket_directories=" + self.dir, "max_connections=100", *extra]
        args = [BIN + "/postgres", "-D", self.data, "-p", str(self.port)]
        for c in conf: args += ["-c", c]
        self.log = open(self.dir + "/log", "wb")
        self.p = subprocess.Popen(args, stdout=self.log, stderr=self.log, cwd=self.dir, **self.as_pg)
        self.env = dict(os.environ, PGHOST=self.dir, PGPORT=str(self.port), PGUSER="postgres", PGDATABASE="postgres")
        for _ in range(300):
            if subprocess.run([BIN + "/pg_isready", "-q"], env=self.env).returncode == 0: break
            time.sleep(0.1)
        else:
            raise RuntimeError(open(self.dir + "/log").read())
    def sql(self, q):
        r = subprocess.run([BIN + "/psql", "-XqAt", "-v", "ON_ERROR_STOP=1"], input=q, env=self.env, text=True, capture_output=True)
        if r.returncode: raise RuntimeError(r.stderr)
        return r.stdout.strip()
    def file(self, path):
        r = subprocess.run([BIN + "/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", path], env=self.env, text=True, capture_output=True)
        if r.returncode: raise RuntimeError(r.stderr)
        return r.stdout.strip()
    def library(self, name):
        """Compiles name.c of this folder for the server; its path."""
        path = f"{self.dir}/{name}.so"
        subprocess.run(["cc", "-O2", "-fPIC", "-shared", "-I" + INC, "-o", path, f"{os.path.dirname(os.path.abspath(__file__))}/{name}.c"], check=True)
        return path
    def stop(self):
        self.p.send_signal(signal.SIGINT); self.p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

def stat(xs):
    s = sorted(xs); n = len(s)
    return s[0], (s[n // 2] if n % 2 else (s[n // 2 - 1] + s[n // 2]) / 2), s[-1]

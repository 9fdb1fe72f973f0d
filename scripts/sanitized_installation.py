"""A private copy of the PostgreSQL installation whose server runs the extension's test build.

The test build (make TEST_BUILD=1) is compiled with AddressSanitizer, UndefinedBehaviorSanitizer and
freeze points, and never comes where the system's servers would find it. PostgreSQL looks for its
folders relative to its programs, so the same folders below another root make an installation.
"""
import glob
import os
import shutil
import subprocess

# Loaded before everything else: some libraries of the server allocate while they are loaded and
# hold locks that the sanitizer's start needs as well.
FIRST = "#include <stdlib.h>\n__attribute__((constructor)) static void first(void) { free(malloc(1)); }\n"

# A report aborts the process, which takes the server down, and is written to a file besides. Leaks
# are not looked for: the server never frees what ends with the process.
# Under its own name, which "pg_ctl restart" starts again.
WRAPPER = """#!/bin/bash
case $1 in
  --boot | --single | --version | -V | -C) ;;
  *)
    export LD_PRELOAD="{libasan} {first}"
    export ASAN_OPTIONS="log_path={reports}/report:detect_leaks=0:abort_on_error=1:disable_coredump=0:detect_stack_use_after_return=0"
    export UBSAN_OPTIONS="log_path={reports}/report:print_stacktrace=1"
    ;;
esac
exec -a "$0" "$0-unwrapped" "$@"
"""


def _directory(pg_config, option):
    return subprocess.run([pg_config, option], check=True, capture_output=True, text=True).stdout.strip()


class SanitizedInstallation:
    def __init__(self, root, pg_config="pg_config"):
        self.reports = os.path.join(root, "reports")
        os.makedirs(self.reports, mode=0o777)
        os.chmod(self.reports, 0o1777)
        bindir = _directory(pg_config, "--bindir")
        self.pg_config = f"{root}{bindir}/pg_config"
        # Programs are copied, because they find their place by following symbolic links.
        shutil.copytree(bindir, root + bindir)
        for option in ("--pkglibdir", "--sharedir", "--includedir-server"):
            source = _directory(pg_config, option)
            shutil.copytree(source, root + source, copy_function=os.symlink, dirs_exist_ok=True)
        for file in [root + _directory(pg_config, "--pkglibdir") + "/alerting.so",
                     *glob.glob(root + _directory(pg_config, "--sharedir") + "/extension/alerting*")]:
            if os.path.lexists(file):
                os.remove(file)
        self._wrap_server(root + bindir, root)

    def _wrap_server(self, bindir, root):
        first = os.path.join(root, "first.so")
        subprocess.run(["gcc", "-xc", "-", "-shared", "-fPIC", "-Wl,-z,initfirst", "-o", first],
                       input=FIRST, text=True, check=True)
        libasan = subprocess.run(["gcc", "-print-file-name=libasan.so"], check=True,
                                 capture_output=True, text=True).stdout.strip()
        server = os.path.join(bindir, "postgres")
        os.rename(server, server + "-unwrapped")
        with open(server, "w") as file:
            file.write(WRAPPER.format(libasan=os.path.realpath(libasan), first=first, reports=self.reports))
        os.chmod(server, 0o755)

    def take_reports(self):
        """What the sanitizers have reported since the last time, "" if nothing."""
        text = ""
        for report in sorted(glob.glob(self.reports + "/*")):
            with open(report, errors="replace") as file:
                text += f"--- {os.path.basename(report)}\n{file.read()}\n"
            os.remove(report)
        return text

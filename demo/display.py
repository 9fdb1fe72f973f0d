"""What the demo shows. Colour and a status line only on a terminal."""
import os
import sys
import threading

from fleet import LENGTH, MINUTE

COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "grey": "90", "bold": "1"}
WIDTH = 40  # characters of a timeline: one a minute


def clock(t):
    """Story time as mm:ss."""
    return "  --:--" if t is None else f"{int(t // 60):4d}:{int(t % 60):02d}"


class Screen:
    def __init__(self):
        self.tty = sys.stdout.isatty()
        self.colour = self.tty and "NO_COLOR" not in os.environ
        unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        self.blocks = "█▒·" if unicode else "#-."
        self.lock = threading.RLock()
        self.status = ""

    def paint(self, text, colour):
        return f"\033[{COLOURS[colour]}m{text}\033[0m" if self.colour and colour else text

    def line(self, text="", colour=None):
        with self.lock:
            self._clear()
            print(self.paint(text, colour), flush=True)
            self._draw()

    def chapter(self, text):
        self.line()
        self.line(text, "bold")

    def sql(self, statement, output):
        """A statement as a user types it into psql, and what psql says."""
        rows = statement.strip("\n").splitlines()
        for number, row in enumerate(rows):
            self.line(("  shop=# " if number == 0 else "  shop-# ") + row, "cyan")
        for row in output.rstrip().splitlines():
            self.line("  " + row, "grey")

    def progress(self, t, text):
        """The status line on a terminal; else a line now and then (the caller's choice)."""
        done = int(WIDTH * min(t / LENGTH, 1))
        bar = self.blocks[0] * done + self.blocks[2] * (WIDTH - done)
        with self.lock:
            if not self.tty:
                print(f"{clock(t)}  [{bar}] {text}", flush=True)
                return
            self._clear()
            self.status = f"{clock(t)}  [{bar}] {text}"
            self._draw()

    def end_progress(self):
        with self.lock:
            self._clear()
            self.status = ""

    def timeline(self, started, fired, resolved):
        """One character a minute: pending, then firing."""
        row = ""
        for minute in range(WIDTH):
            middle = (minute + 0.5) * MINUTE
            if fired <= middle < (resolved if resolved is not None else LENGTH):
                row += self.paint(self.blocks[0], "red")
            elif started <= middle < fired:
                row += self.paint(self.blocks[1], "yellow")
            else:
                row += self.paint(self.blocks[2], "grey")
        return row

    def _clear(self):
        if self.tty and self.status:
            sys.stdout.write("\r\033[K")

    def _draw(self):
        if self.tty and self.status:
            sys.stdout.write(self.status)
            sys.stdout.flush()

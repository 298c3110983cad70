"""What a person feels: first paint, filled panels, key to paint, idle cost. Drives the real program in a pty.

    python tests/benchmarks/tui_terminal.py [--runs 1000000] [--rounds 7]

A minimal Textual app on the same machine is 1.0. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import psutil

_ESCAPES = re.compile(rb"\x1b\[[0-9;?<>=]*[a-zA-Z~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1bP.*?\x1b\\", re.S)
_ANSWERS = (
    (re.compile(rb"\x1b\[0?c"), b"\x1b[?62;22c"),
    (re.compile(rb"\x1b\[\?2026\$p"), b"\x1b[?2026;2$y"),
    (re.compile(rb"\x1b\[\?2048\$p"), b"\x1b[?2048;0$y"),
    (re.compile(rb"\x1b\]11;\?"), b"\x1b]11;rgb:0000/0000/0000\x1b\\"),
)
MINIMAL = """
from textual.app import App
from textual.widgets import Static
class Minimal(App):
    def compose(self):
        yield Static("READY")
Minimal().run()
"""
KEYS = {"down": b"\x1b[B", "pagedown": b"\x1b[6~", "end": b"G", "home": b"g"}


class Terminal:
    """A program in a pty of 120x36, whose output is stamped as it comes and whose questions are answered."""

    def __init__(self, argv: list[str], env: dict[str, str] | None = None) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
        full = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **(env or {})}
        # As it is installed, a program is compiled.
        for name in {"NO_COLOR", "TMUX", "COLUMNS", "LINES", "PYTHONDONTWRITEBYTECODE"} - set(env or {}):
            full.pop(name, None)
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=full, start_new_session=True, close_fds=True
        )
        os.close(slave)
        self.fd, self.seen = master, b""

    def pump(self, seconds: float) -> bytes:
        """Read what comes within some seconds, at least one chunk if there is one."""
        got = b""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0 and select.select([self.fd], [], [], left)[0]:
            try:
                chunk = os.read(self.fd, 65536)
            except OSError:
                break
            for question, answer in _ANSWERS:
                if question.search(chunk):
                    os.write(self.fd, answer)
            got += chunk
            break
        self.seen += got
        return got

    def until(self, marker: str, limit: float = 30.0) -> float | None:
        """Return the seconds from the start until a text was on the screen."""
        end = time.perf_counter() + limit
        while time.perf_counter() < end:
            self.pump(0.05)
            if marker.encode() in _ESCAPES.sub(b"", self.seen):
                return time.perf_counter() - self.began
        return None

    def quiet(self, seconds: float, limit: float = 5.0) -> None:
        """Wait until nothing has come for some seconds."""
        end = time.perf_counter() + limit
        while time.perf_counter() < end and self.pump(seconds):
            pass

    def key(self, name: str, settle: float = 0.08) -> tuple[float, float, int] | None:
        """Press a key; return milliseconds to the first and to the last byte of its paint, and the bytes."""
        began = time.perf_counter()
        os.write(self.fd, KEYS.get(name, name.encode()))
        first = last = None
        count = 0
        while True:
            got = self.pump(settle if last else 1.0)
            if not got:
                break
            last = time.perf_counter()
            first = first or last
            count += len(got)
        if first is None or last is None:
            return None
        return 1e3 * (first - began), 1e3 * (last - began), count

    def shows(self, name: str, marker: str, limit: float = 5.0) -> float:
        """Press a key and return the milliseconds until a text was painted."""
        self.quiet(0.3)
        self.seen, began = b"", time.perf_counter()
        os.write(self.fd, KEYS.get(name, name.encode()))
        while (spent := time.perf_counter() - began) < limit:
            self.pump(0.05)
            if marker.encode() in _ESCAPES.sub(b"", self.seen):
                return 1e3 * (time.perf_counter() - began)
        return 1e3 * spent

    def idle(self, seconds: float) -> tuple[float, float]:
        """Return per cent of a core and bytes a second while nobody presses a key."""
        process = psutil.Process(self.process.pid)
        before, size = process.cpu_times(), len(self.seen)
        began = time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            self.pump(0.2)
        after = process.cpu_times()
        busy = after.user + after.system - before.user - before.system
        return 100 * busy / spent, (len(self.seen) - size) / spent

    def close(self) -> None:
        """End the program."""
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(3)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.fd)


def starts(argv: list[str], markers: list[str], rounds: int, env: dict[str, str]) -> list[float]:
    """Return the median seconds until each marker, over some starts."""
    times: list[list[float]] = []
    for _ in range(rounds + 1):
        terminal = Terminal(argv, env)
        try:
            times.append([terminal.until(marker) or float("nan") for marker in markers])
        finally:
            terminal.close()
    return [statistics.median(column) for column in zip(*times[1:], strict=True)]


def pressed(terminal: Terminal, name: str, times: int) -> dict[str, float]:
    """Press a key many times and return its quantiles.

    A paint is over when nothing has come for 45 ms; the preview beside the list waits for the cursor to rest
    80 ms, and its paint is let pass before the next key.
    """
    got = []
    for _ in range(times):
        terminal.quiet(0.3)
        if one := terminal.key(name, 0.045):
            got.append(one)
    first, last = sorted(one[0] for one in got), sorted(one[1] for one in got)
    return {
        "n": len(got),
        "first_p50_ms": round(statistics.median(first), 1),
        "last_p50_ms": round(statistics.median(last), 1),
        "last_p95_ms": round(last[int(0.95 * (len(last) - 1))], 1),
        "bytes": int(statistics.median(one[2] for one in got)),
    }


def to_the_end(app: list[str], env: dict[str, str]) -> float:
    """Return the milliseconds from G to the last row, the oldest run, in a list that has read no page of its end."""
    terminal = Terminal(app, env)
    try:
        terminal.until("CPU")
        terminal.quiet(0.3)
        terminal.shows("2", "resnet-")
        return terminal.shows("end", "resnet-000000")
    finally:
        terminal.close()


def seed(home: Path, runs: int) -> None:
    """Put many runs into the store of a home, through the store itself: no client could write them in time."""
    env = {**os.environ, "MLOPS_HOME": str(home)}
    fill = Path(__file__).with_name("tui_seed.py")
    subprocess.run([sys.executable, str(fill), str(runs)], env=env, check=True, timeout=600)


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keys", type=int, default=60)
    parser.add_argument("--idle", type=float, default=15.0)
    given = parser.parse_args()
    result: dict[str, object] = {"size": "120x36", "runs": given.runs}
    with tempfile.TemporaryDirectory() as folder:
        env = {"MLOPS_HOME": folder, "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}
        if given.runs:
            seed(Path(folder), given.runs)
        app = [sys.executable, "-P", "-m", "mlops_tui.tui"]
        warm = Terminal(app, env)
        warm.until("CPU")
        warm.close()
        (minimal,) = starts([sys.executable, "-c", MINIMAL], ["READY"], given.rounds, env)
        paint, filled = starts(app, ["Needs you", "CPU"], given.rounds, env)
        result |= {
            "minimal_ms": round(1e3 * minimal),
            "first_paint_ms": round(1e3 * paint),
            "first_paint_ratio": round(paint / minimal, 2),
            "filled_ms": round(1e3 * filled),
            "filled_ratio": round(filled / minimal, 2),
        }
        terminal = Terminal(app, env)
        try:
            terminal.until("CPU")
            terminal.quiet(0.5)
            cpu, rate = terminal.idle(given.idle)
            result |= {"home_idle_cpu_pct": round(cpu, 1), "home_idle_bytes_s": round(rate)}
            terminal.key("2", 0.5)
            terminal.quiet(0.5)
            for name in ("down", "pagedown"):
                result[name] = pressed(terminal, name, given.keys)
            result["sort_ms"] = round(statistics.median(one[1] for _ in range(3) if (one := terminal.key("s", 2.0))), 1)
        finally:
            terminal.close()
        ends = sorted(to_the_end(app, env) for _ in range(given.rounds + 3))
        result["end"] = {"p50_ms": round(statistics.median(ends), 1), "slowest_ms": round(ends[-1], 1)}
        subprocess.run([sys.executable, "-m", "mlops_tui", "agent", "stop"], env={**os.environ, **env}, timeout=30)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

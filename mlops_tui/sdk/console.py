"""The console of a run outside a job: what the program prints goes on to where it went, and line by line to the run.

Only ``sys.stdout`` and ``sys.stderr`` are listened to: what a C library writes past them is not heard, and nothing that
this module does can hold up or lose what the program prints. A progress bar that rewrites its line is kept as it stood
when the line ended.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

LIMIT_BYTES = 64_000_000
"""Characters of one process that are kept, so that a chatty program does not fill the disk."""
LINE = 16_384
"""Characters after which a line is cut."""
SWITCH = "MLOPS_CONSOLE"


class Listener(Protocol):
    """Who keeps the lines: a run."""

    def printed(self, line: str, stream: str) -> None:
        """Take one line; ``stream`` is ``out`` or ``err``."""

    def silenced(self, why: str) -> None:
        """Hear that nothing more is kept."""


class Tee:
    """A text stream that passes everything on to the one before it, and tells whole lines."""

    def __init__(self, before: Any, name: str) -> None:
        self.before, self._name = before, name

    def write(self, text: str) -> int:
        """Write to the stream before, as if we were not here."""
        written: int = self.before.write(text)
        _console.take(self._name, text)
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.before, name)

    def __iter__(self) -> Any:
        return iter(self.before)


class _Console:
    """The state of this module; one a process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # re-entrant: a signal handler may print in the middle of a print
        self.busy = threading.local()
        self.open: list[Listener] = []
        self.ask: Callable[[], Any] = lambda: None
        self.rest = {"out": "", "err": ""}
        self.kept = 0

    def take(self, stream: str, text: str) -> None:
        """Tell the lines that a text ends; never raises, and hears nothing of what it causes itself."""
        if not self.open or getattr(self.busy, "here", False):
            return
        self.busy.here = True
        try:
            with self.lock:
                *lines, rest = (self.rest[stream] + text).split("\n")
                self.rest[stream] = _unfinished(rest)
                for line in lines:
                    self.tell(stream, line)
        except Exception:  # whatever it is, the program prints on
            pass
        finally:
            self.busy.here = False

    def tell(self, stream: str, line: str) -> None:
        """Tell one line to the active run, or to the one that listens longest."""
        active = self.ask()
        listener = active if active in self.open else self.open[0]
        if self.kept > LIMIT_BYTES:
            return
        self.kept += len(line) + 1
        if self.kept > LIMIT_BYTES:
            listener.silenced(f"the console is no longer kept: it has more than {LIMIT_BYTES // 1_000_000} MB")
            return
        listener.printed(line.rstrip("\r").rpartition("\r")[2][:LINE], stream)


_console = _Console()


def wanted(console: bool | None, in_job: bool) -> bool:
    """Tell whether a run keeps what is printed: by wish, by ``MLOPS_CONSOLE``, else in a script that no job runs."""
    if console is not None:
        return console
    if said := os.environ.get(SWITCH, "").strip().lower():
        return said not in ("0", "false", "no", "off")
    return not in_job and not hasattr(sys, "ps1") and "ipykernel" not in sys.modules


def listen(listener: Listener, ask: Callable[[], Any]) -> None:
    """Begin to keep what is printed.

    Args:
        listener: the run.
        ask: returns the run that is active on this thread.
    """
    with _console.lock:
        _console.open.append(listener)
        _console.ask = ask
        for name, stream in (("out", "stdout"), ("err", "stderr")):
            before = getattr(sys, stream)
            if before is not None and not isinstance(before, Tee):
                setattr(sys, stream, tee := Tee(before, name))
                _hand_over(before, tee)


def leave(listener: Listener) -> None:
    """Tell what was begun, and stop; with the last run the streams are put back unless somebody took their place."""
    with _console.lock, suppress(ValueError):
        _console.open.index(listener)
        for stream, rest in _console.rest.items():
            if rest.strip("\r"):
                with suppress(Exception):
                    _console.tell(stream, rest)
            _console.rest[stream] = ""
        _console.open.remove(listener)
        if _console.open:
            return
        for stream in ("stdout", "stderr"):
            if isinstance(tee := getattr(sys, stream), Tee):
                setattr(sys, stream, tee.before)
                _hand_over(tee, tee.before)


def tell_error(listener: Listener, error: BaseException) -> None:
    """Tell the traceback of what ends a run: Python prints it when the run is over, or somebody catches it."""
    if listener in _console.open:
        import traceback

        with suppress(Exception):  # an exception whose own words fail
            for line in "".join(traceback.format_exception(error)).splitlines():
                listener.printed(line, "err")


def _hand_over(old: Any, new: Any) -> None:
    """Let the handlers of ``logging`` that write to one stream write to another: they are older than the run."""
    logging = sys.modules.get("logging")
    if logging is None:
        return
    with suppress(Exception):
        loggers = [logging.root, *logging.Logger.manager.loggerDict.values()]
        for handler in {one for logger in loggers for one in getattr(logger, "handlers", ())}:
            if isinstance(handler, logging.StreamHandler) and handler.stream is old:
                handler.setStream(new)


def _unfinished(rest: str) -> str:
    """Return what must be remembered of a line that has not ended: of one that is rewritten, the last writing."""
    if "\r" in rest:
        head, _, tail = rest.rpartition("\r")
        rest = tail or head.rpartition("\r")[2] + "\r"
    return rest[-LINE:]


def _after_fork() -> None:
    _console.lock = threading.RLock()  # another thread of the parent may have held it
    _console.rest = {"out": "", "err": ""}


os.register_at_fork(after_in_child=_after_fork)

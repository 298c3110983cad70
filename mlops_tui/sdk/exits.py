"""How a run ends when nobody says so: normal exit, exception, interrupt, signal.

While a run is open, this module listens at the four places where Python shows how a process ends: a ``with`` block's
exception, ``sys.excepthook``, ``sys.exit`` (and ``exit``, ``quit``) and the signals. Handlers that somebody else
installed are kept. A ``SystemExit`` that is raised outside of a block by itself shows nowhere; of a job the runner
knows better.
"""

from __future__ import annotations

import atexit
import builtins
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol

from mlops_tui.sdk.facts import word

PREEMPTED = 75
"""Exit code (EX_TEMPFAIL) of a program that wrote its checkpoint because it was asked to stop: run it again."""


class Verdict(NamedTuple):
    """How a run ended: ``done``, ``failed`` or ``killed``; the exit code as far as it is known; the error."""

    status: str = "done"
    exit: int | None = None
    error: str = ""


class Open(Protocol):
    """A run that is not over."""

    def finish(self, verdict: Verdict) -> None:
        """End the run."""


class _Watch:
    """The state of this module; one a process."""

    def __init__(self) -> None:
        self.runs: list[Open] = []
        self.stop = False
        self.pid = 0
        self.noted = Verdict()
        self.signals: dict[int, Any] = {}
        self.exits: list[tuple[Any, str, Any, Any]] = []  # where, name, what stood there, what we put there
        self.hook: Callable[..., Any] | None = None
        self.registered = False


_watch = _Watch()


def verdict(error: BaseException | None) -> Verdict:
    """Return how a run ended that was left by this exception."""
    if error is None:
        return Verdict()
    if isinstance(error, KeyboardInterrupt):
        return Verdict("killed", 130, "KeyboardInterrupt")
    if isinstance(error, SystemExit):
        return _exit_verdict(error.code)
    return Verdict("failed", None, f"{type(error).__name__}: {word(error)}"[:4_000].rstrip(": "))


def _exit_verdict(code: object) -> Verdict:
    if code is None or code == 0:
        return Verdict("done", 0)
    if code == PREEMPTED:
        return Verdict("killed", PREEMPTED, "preempted")
    if isinstance(code, int):
        return Verdict("failed", int(code), f"exit {int(code)}")
    return Verdict("failed", 1, word(code)[:4_000])  # sys.exit("what is wrong") prints it and exits with 1


def stop_asked() -> bool:
    """Tell whether this process was asked to stop at the next step (SIGTERM or SIGUSR1 with ``MLOPS_GRACE_S``)."""
    return _watch.stop


def listen(run: Open) -> None:
    """Begin to listen for the end of this run."""
    if _watch.pid != os.getpid():  # the first run, or the first of a forked child
        _watch.pid, _watch.runs = os.getpid(), []
    if not _watch.runs:
        _watch.noted = Verdict()
    _watch.runs.append(run)
    if not _watch.registered:
        atexit.register(_at_exit)
        _watch.registered = True
    if threading.current_thread() is threading.main_thread():
        _take_signals()
    if _watch.hook is None:
        _watch.hook, sys.excepthook = sys.excepthook, _on_uncaught
        for where, name in ((sys, "exit"), (builtins, "exit"), (builtins, "quit")):
            if before := getattr(where, name, None):  # the latter two come from site
                ours = partial(_on_exit, before)
                setattr(where, name, ours)
                _watch.exits.append((where, name, before, ours))


def forget(run: Open) -> None:
    """Stop listening for a run; with the last one everything is put back as it was found."""
    with suppress(ValueError):
        _watch.runs.remove(run)
    if _watch.runs:
        return
    if threading.current_thread() is threading.main_thread():
        for number, before in list(_watch.signals.items()):
            if signal.getsignal(number) is _on_signal:
                signal.signal(number, before)
            del _watch.signals[number]
    ours = all(getattr(where, name) is put for where, name, _, put in _watch.exits)
    if ours and sys.excepthook is _on_uncaught and _watch.hook:
        for where, name, before, _ in _watch.exits:
            setattr(where, name, before)
        sys.excepthook = _watch.hook
        _watch.exits, _watch.hook = [], None


def _take_signals() -> None:
    graceful = _graceful()
    for number in (signal.SIGTERM, signal.SIGUSR1) if graceful else (signal.SIGTERM, signal.SIGHUP):
        before = signal.getsignal(number)
        # Without a grace period only the default (to die at once) is ours to refine; nohup and handlers stay.
        if number not in _watch.signals and before is not None and (graceful or before is signal.SIG_DFL):
            _watch.signals[number] = before
            signal.signal(number, _on_signal)


def _graceful() -> bool:
    return bool(os.environ.get("MLOPS_GRACE_S"))


def _on_signal(number: int, frame: Any) -> None:
    before = _watch.signals.get(number, signal.SIG_DFL)
    if os.getpid() != _watch.pid:  # a forked child: what its parent agreed to is not for it
        _again(number, before)
    elif _graceful():
        _watch.stop = True
        if callable(before):
            before(number, frame)
    else:
        _end_all(Verdict("killed", 128 + number, signal.Signals(number).name))
        _again(number, signal.SIG_DFL)


def _again(number: int, handler: Any) -> None:
    """Have a signal do what it would have done without us, so that the exit status tells the truth."""
    signal.signal(number, handler)
    os.kill(os.getpid(), number)


def _on_exit(before: Callable[..., Any], code: Any = None) -> None:
    if threading.current_thread() is threading.main_thread():  # elsewhere it ends a thread
        _watch.noted = _exit_verdict(code)
    before(code)


def _on_uncaught(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    how = verdict(error)
    _watch.noted = how if how.exit is not None else how._replace(exit=1)
    (_watch.hook or sys.__excepthook__)(kind, error, traceback)


def _at_exit() -> None:
    _end_all(_watch.noted)


_fork = threading.local()


def _before_fork() -> None:
    """Keep our signals waiting: Python forgets what comes to a child before it is a process of its own."""
    _fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _watch.signals)


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _fork.mask)


def _after_fork_in_child() -> None:
    """Give a forked child the signals back as they were: what its parent agreed to is not for it.

    A handler of ours would not do: one that Python runs waits until a blocked child wakes up, and a pool that ends its
    workers by SIGTERM would wait for ever.
    """
    for number, before in _watch.signals.items():
        with suppress(ValueError):
            if signal.getsignal(number) is _on_signal:
                signal.signal(number, before)
    _watch.signals = {}
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


def _end_all(how: Verdict) -> None:
    for run in reversed(list(_watch.runs)):
        run.finish(how)

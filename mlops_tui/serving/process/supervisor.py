"""The supervisor of a deployment: ``python -m mlops_tui.serving.process.supervisor --dir DIR``.

It holds the listening sockets and the unsealed models, starts the workers and starts them again, follows
``routes.json`` and says in ``state.json`` what is served. It needs no agent, and workers need no supervisor to go on:
one that comes after a ``kill -9`` takes the living workers over, with their sockets and models, so no connection is
lost and no key is needed. A worker of another program version, or of other facts, is asked to drain and is replaced.

SIGTERM drains and ends, SIGHUP reads the routes again; a changed file is seen within 0.1 s anyway.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from mlops_tui.core.config import load
from mlops_tui.core.errors import Conflict, MlopsError, NotFound
from mlops_tui.core.paths import home
from mlops_tui.serving.control import Message
from mlops_tui.serving.deployment import COUNTERS, LOCK, read_deployment, read_state, write_port
from mlops_tui.serving.models.unseal import Vault
from mlops_tui.serving.process.changeover import Changeover
from mlops_tui.serving.process.engines import Engines
from mlops_tui.serving.process.fleet import Fleet
from mlops_tui.serving.process.loading import Loading
from mlops_tui.serving.process.seats import Seat
from mlops_tui.serving.process.statement import Statement
from mlops_tui.serving.record.columns import Columns
from mlops_tui.serving.record.counters import Counters

_HOPELESS = 3
_log = logging.getLogger("mlops.serving")


class Supervisor:
    """One deployment, from start to drain.

    Args:
        folder: the deployment's, absolute.

    Attributes:
        stopping: whether it has been told to end.
        loading: what clients may have loaded and unloaded.

    Raises:
        Conflict: another supervisor has the folder.
        BadInput: ``deployment.json`` is not what it should be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._deployment = read_deployment(folder)
        self._lock = _locked(folder)
        self._former = read_state(folder)
        counters = Counters(folder / COUNTERS, self._deployment.workers)
        columns, vault = Columns(counters, self._former.get("columns", ())), Vault(home())
        self._engines = Engines(self._deployment, vault, self._former.get("engines", {}))
        self._fleet = Fleet(folder, self._deployment, counters, _spool_bytes(), self)
        self._changeover = Changeover(folder, self._fleet, vault, self._engines, columns, self._former)
        self.loading = Loading(self._fleet, self._changeover)
        self._statement = Statement(folder, self._deployment, self._fleet, self._changeover, self._engines, columns)
        self.stopping = False

    def run(self) -> int:
        """Serve until SIGTERM; returns the exit code.

        Raises:
            Conflict: the port is another program's.
        """
        self.begin()
        while not self.stopping:
            self.turn()
        self.end()
        return 0

    def begin(self) -> None:
        """Open the sockets, and take over what a supervisor that died has left.

        Raises:
            Conflict: the port is another program's.
        """
        self._fleet.open(self._former.get("workers", ()))
        if self._deployment.port != self._fleet.port:
            write_port(self._folder, self._fleet.port)

    def turn(self) -> None:
        """Do what is to be done now; takes about 0.1 s."""
        self._changeover.watch()
        self._changeover.tend_engines()
        self._fleet.fill()
        self._statement.publish()
        self._fleet.listen()
        self._fleet.bury()
        self.loading.answer()

    def end(self) -> None:
        """Have every request answered and every worker leave."""
        self._fleet.drain()
        self._engines.end()
        self._statement.publish()

    @property
    def state(self) -> dict[str, Any]:
        """What ``state.json`` says."""
        return self._statement.said

    @property
    def hopeless(self) -> bool:
        """Tell whether workers die again and again without ever having served."""
        return not self._fleet.serving and any(seat.failures >= _HOPELESS for seat in self._fleet.seats)

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Begin to drain; a signal handler."""
        self.stopping = True

    def look_again(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Read the routes at the next turn, changed or not; a signal handler."""
        self._changeover.look_again()

    # What the fleet tells.

    def greeted(self, seat: Seat, hello: Message, models: dict[str, int]) -> None:
        """Take over what an orphan serves, and tell the worker what to serve."""
        self._changeover.greeted(seat, hello, models)

    def told(self, seat: Seat, message: Message) -> None:
        """Note what a worker serves, or why it does not, or what a client wants of it."""
        if message["op"] == "repository":
            self.loading.wish(seat, message)
        elif message["op"] == "condition":
            seat.conditions = message["models"]
        else:
            self._changeover.told(seat, message)

    def lost(self, seat: Seat, expected: bool) -> None:
        """Give up new routes when a worker dies over them."""
        self._changeover.lost(seat, expected)


def _locked(folder: Path) -> int:
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise Conflict(f"another supervisor serves {folder}", "", "mlops deploy list") from error
    return fd


def _spool_bytes() -> int:
    try:
        return int(load().get("spool.max_bytes"))
    except MlopsError as error:
        _log.error("%s; keeping 2 GB of inference log", error)
        return 2_000_000_000


def main(argv: list[str] | None = None) -> int:
    """Run a supervisor; its exit codes are those of ``mlops_tui.core.errors.ExitCode``."""
    parser = argparse.ArgumentParser(prog="python -m mlops_tui.serving.process.supervisor")
    parser.add_argument("--dir", type=Path, required=True, help="the deployment's folder")
    folder = parser.parse_args(argv).dir.absolute()
    logging.basicConfig(format="%(asctime)s supervisor %(levelname)s %(message)s", level=logging.INFO)
    try:
        if not folder.is_dir():
            raise NotFound(f"there is no folder {folder}", "", "mlops deploy list")
        os.chdir(folder)
        supervisor = Supervisor(folder)
        signal.signal(signal.SIGTERM, supervisor.stop)
        signal.signal(signal.SIGINT, supervisor.stop)
        signal.signal(signal.SIGHUP, supervisor.look_again)
        return supervisor.run()
    except OSError as error:
        _log.error("cannot serve %s: %s", folder, error)
        return 1
    except MlopsError as error:
        _log.error("%s", error)
        return int(error.exit_code)


if __name__ == "__main__":
    sys.exit(main())

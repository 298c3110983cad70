"""The supervisor of a deployment: ``python -m mlops_tui.serving.process.supervisor --dir DIR``.

It holds the listening sockets and the unsealed models, starts the workers and starts them again, follows
``routes.json`` and says in ``state.json`` what is served. It needs no agent, and workers need no supervisor to go on:
one that comes after a ``kill -9`` takes the living workers over, with their sockets and models, so no connection is
lost and no key is needed. A worker of another program version, or of other facts, is asked to drain and is replaced.

SIGTERM drains and ends, SIGHUP reads the routes again; a changed file is seen within 0.1 s anyway.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from mlops_tui import __version__
from mlops_tui.core.clock import now_us
from mlops_tui.core.config import load
from mlops_tui.core.errors import Conflict, MlopsError, NotFound, Refused
from mlops_tui.core.paths import home
from mlops_tui.serving.control import Message
from mlops_tui.serving.deployment import (
    COUNTERS,
    LOCK,
    ROUTES,
    STATE,
    Generation,
    Routes,
    fence,
    read_deployment,
    read_routes,
    read_state,
    write_json,
    write_port,
)
from mlops_tui.serving.models.unseal import Vault
from mlops_tui.serving.process.engines import Engines
from mlops_tui.serving.process.fleet import Fleet
from mlops_tui.serving.process.seats import Seat
from mlops_tui.serving.process.shelf import Shelf
from mlops_tui.serving.record.columns import Columns
from mlops_tui.serving.record.counters import Counters
from mlops_tui.spool.process import this_process

_HOPELESS = 3
_log = logging.getLogger("mlops.serving")


class Supervisor:
    """One deployment, from start to drain.

    ``_current`` is the route set that at least one worker serves, ``_candidate`` the one that is being loaded: first by
    engines of its models that need any, then by the workers, who were told of ``_offered``.

    Args:
        folder: the deployment's, absolute.

    Attributes:
        stopping: whether it has been told to end.
        shelf: the models that clients may have loaded and unloaded; None: routes are somebody else's.

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
        self._columns = Columns(counters, self._former.get("columns", ()))
        self._vault = Vault(home())
        self._engines = Engines(self._deployment, self._vault, self._former.get("engines", {}))
        self._engines_told: dict[str, Any] = {}
        self._fleet = Fleet(folder, self._deployment, counters, _spool_bytes(), self)
        self._floor: Generation = (self._former.get("epoch", -1), self._former.get("generation", -1))
        self._reverted: Generation | None = self._floor if self._former.get("reverted") else None
        self._current: Routes | None = None
        self._candidate: Routes | None = None
        self._offered: Generation | None = None
        self._refused: dict[str, Any] | None = None
        self._seen: tuple[int, ...] | None = None
        self.stopping = False
        self.shelf: Shelf | None = None
        self._wishes: list[tuple[Seat, int, Generation]] = []
        self._identity = _identity()
        self._published: dict[str, Any] = {}

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
        self._watch_routes()
        self._tend_engines()
        self._fleet.fill()
        self._publish()
        self._fleet.listen()
        self._fleet.bury()
        self._answer_wishes()

    def end(self) -> None:
        """Have every request answered and every worker leave."""
        self._fleet.drain()
        self._engines.end()
        self._publish()

    @property
    def state(self) -> dict[str, Any]:
        """What ``state.json`` says."""
        return self._published

    @property
    def hopeless(self) -> bool:
        """Tell whether workers die again and again without ever having served."""
        return not self._fleet.serving and any(seat.failures >= _HOPELESS for seat in self._fleet.seats)

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Begin to drain; a signal handler."""
        self.stopping = True

    def look_again(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Read the routes at the next turn, changed or not; a signal handler."""
        self._seen = None

    # What the fleet tells.

    def greeted(self, seat: Seat, hello: Message, models: dict[str, int]) -> None:
        """Take over what an orphan serves, and tell the worker what to serve."""
        for key, fd in models.items():
            self._vault.adopt(key, fd)
        if hello["routes"] is not None:
            routes = msgspec.convert(hello["routes"], Routes)
            seat.at, seat.reverted = routes.at, hello["reverted"]
            if self._current is None or routes.at > self._current.at:
                self._current, self._floor = routes, max(self._floor, routes.at)
                self._reverted = routes.at if hello["reverted"] else None
                self._columns.take_in(routes.everyone, ())
        if self._seen is not None:
            self._order(seat)

    def told(self, seat: Seat, message: Message) -> None:
        """Note what a worker serves, or why it does not."""
        if message["op"] == "repository":
            self._change(seat, message)
            return
        if message["op"] == "condition":
            seat.conditions = message["models"]
            return
        at = (int(message["at"][0]), int(message["at"][1]))
        if message["op"] == "refused":
            self._refuse(at, message["why"])
            return
        if message["op"] == "loaded":
            seat.loaded = at
            self._switch_when_all_have()
            return
        seat.at, seat.reverted = at, message["reverted"]
        if seat.reverted:
            self._reverted = at
        if self._candidate is not None and at == self._candidate.at:
            self._current, self._candidate, self._refused = self._candidate, None, None
            self._floor = max(self._floor, at)
            self._vault.keep(self._current.models)
            self._tell_all({"op": "switch", "at": list(at)})
            _log.info("routes %s are served", at)

    def lost(self, seat: Seat, expected: bool) -> None:
        """Give up new routes when a worker dies over them: those before are known to be good."""
        if self._candidate is not None and self._on_offer and self._current is not None and not expected:
            self._refuse(self._candidate.at, "a worker died while it was taking the routes in")
        self._switch_when_all_have()

    # Loading and unloading.

    def _change(self, seat: Seat, message: Message) -> None:
        """Carry a wish out; whoever sent it waits until every worker shows the result."""
        try:
            if self.shelf is None:
                raise Refused("the models of this server are those of its deployment", "", "mlops rollout start")
            if self._wishes:
                raise Conflict("another model is being loaded or unloaded", "", "try again")
            self._wishes.append(
                (seat, message["id"], self.shelf.change(message["do"], message["name"], message["version"]))
            )
        except MlopsError as error:
            self._reply(seat, message["id"], {NotFound: 404, Conflict: 409}.get(type(error), 400), str(error))

    def _answer_wishes(self) -> None:
        for wish in list(self._wishes):
            seat, number, at = wish
            refused = self._refused or {}
            if (refused.get("epoch"), refused.get("generation")) == at:
                assert self.shelf is not None
                self.shelf.undo()
                self._reply(seat, number, 400, str(refused["why"]))
            elif self._fleet.serving and all(one.at is not None and one.at >= at for one in self._fleet.serving):
                self._reply(seat, number, 200, "")
            else:
                continue
            self._wishes.remove(wish)

    def _reply(self, seat: Seat, number: int, status: int, why: str) -> None:
        if seat.channel is not None:
            with contextlib.suppress(OSError):
                seat.channel.send({"op": "repository", "id": number, "status": status, "why": why})

    # Routes.

    def _watch_routes(self) -> None:
        signature = _signature(self._folder / ROUTES)
        if signature == self._seen:
            return
        first, self._seen = self._seen is None, signature
        try:
            news = self._take(read_routes(self._folder))
        except NotFound:
            news = False
        except MlopsError as error:
            self._refuse((-1, -1), str(error))
            news = False
        if first or (news and self._on_offer):
            for seat in self._fleet.seats:
                self._order(seat)

    def _take(self, routes: Routes) -> bool:
        """Make a route set the candidate if it is news that can be served."""
        served = self._candidate or self._current
        try:
            if not fence(routes, served, self._floor, served is not None and self._reverted == served.at):
                return False
            for model in routes.models.values():
                self._vault.open(model)
        except Exception as error:
            self._refuse(routes.at, str(error))
            return False
        known = [r for r in (self._current, self._candidate) if r is not None]
        self._columns.take_in(routes.everyone, {r.id for one in known for r in one.everyone})
        if self._current is not None and routes.at == self._current.at:
            self._current = routes
        else:
            self._candidate = routes
        return True

    def _refuse(self, at: Generation, why: str) -> None:
        self._refused = {"epoch": at[0], "generation": at[1], "why": why}
        _log.error("routes %s refused: %s", at, why)
        if self._candidate is not None and self._candidate.at == at:
            self._candidate = self._offered = None
            self._tell_all({"op": "drop", "at": list(at)})
        if self._candidate is None and self._current is not None:
            self._vault.keep(self._current.models)  # a file may be mended before it is asked for again

    def _switch_when_all_have(self) -> None:
        """Let every worker that serves go over to new routes in the same moment: when the last one has loaded them."""
        if self._candidate is not None and (serving := self._fleet.serving):
            at = self._candidate.at
            if all(at in (seat.loaded, seat.at) for seat in serving):
                self._tell_all({"op": "switch", "at": list(at)})

    def _tell_all(self, message: Message) -> None:
        for seat in self._fleet.serving:
            assert seat.channel is not None
            try:
                seat.channel.send(message)
            except OSError:
                _log.warning("worker %d does not listen", seat.number)

    def _tend_engines(self) -> None:
        """Have the engines that routes need, and offer new routes to the workers when theirs are loaded."""
        routes = [one for one in (self._current, self._candidate) if one is not None]
        try:
            for one in routes:
                self._engines.want(one.models)
        except MlopsError as error:
            _log.error("%s", error)
        self._engines.turn()
        if all(self._current is not None and seat.at == self._current.at for seat in self._fleet.serving):
            self._engines.keep({key for one in routes for key in one.models})
        self._offer()
        if (told := self._engines.told()) != self._engines_told:
            self._engines_told = told
            self._tell_all({"op": "engines", "engines": told})

    @property
    def _on_offer(self) -> bool:
        """Tell whether workers know of the newest routes."""
        return self._candidate is None or self._candidate.at == self._offered

    def _offer(self) -> None:
        candidate = self._candidate
        if candidate is None or self._on_offer:
            return
        if why := self._engines.refusal(candidate.models):
            self._refuse(candidate.at, why)
        elif self._engines.loaded(candidate.models):
            self._offered = candidate.at
            for seat in self._fleet.seats:
                self._order(seat)

    def _order(self, seat: Seat) -> None:
        """Tell a worker what to serve."""
        if seat.channel is None or seat.leaving:
            return
        routes = self._candidate if self._candidate is not None and self._on_offer else self._current
        order: Message = {"op": "routes", "routes": None, "models": [], "columns": self._columns.listed()}
        order["engines"] = self._engines.told()
        files: list[int] = []
        try:
            if routes is not None:
                files = [self._vault.open(model) for model in routes.models.values()]
                order |= {"routes": msgspec.to_builtins(routes), "models": list(routes.models)}
                order |= {"reverted": self._reverted == routes.at, "together": routes is self._candidate}
            seat.channel.send(order, files)
        except (OSError, MlopsError) as error:
            _log.error("cannot send routes to worker %d: %s", seat.number, error)

    def _publish(self) -> None:
        """Write ``state.json`` when there is something new to say."""
        serving = self._fleet.serving
        at = min((seat.at for seat in serving if seat.at is not None), default=self._floor)
        state = {
            **self._identity,
            "version": __version__,
            "deployment": self._deployment.deployment,
            "host": self._deployment.host,
            "port": self._fleet.port,
            "tls": self._deployment.tls is not None,
            "epoch": at[0],
            "generation": at[1],
            "ready": bool(serving),
            "reverted": all(seat.reverted for seat in serving) if serving else self._reverted == at,
            "refused": self._refused,
            "workers": [
                {"slot": s.number, "process": s.process, "ready": s.serving, "restarts": max(0, s.starts - 1)}
                for s in self._fleet.seats
            ],
            "columns": self._columns.listed(),
            "models": self._conditions(),
            "engines": self._engines.known,
        }
        if state != self._published:
            try:
                write_json(self._folder / STATE, state)
                self._published = state
            except MlopsError as error:
                _log.error("%s", error)

    def _conditions(self) -> dict[str, dict[str, Any]]:
        """Return how each revision's engine fares, by its id: of several workers the one that fares worst."""
        found: dict[str, dict[str, Any]] = {}
        for revision in self._current.everyone if self._current is not None else ():
            told = [one for seat in self._fleet.seats if (one := seat.conditions.get(revision.model.key))]
            if told:
                worst = min(told, key=lambda one: not one.get("why"))
                found[revision.id] = worst | self._engines.condition(revision.model.key)
        return found


def _signature(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return (0,)
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def _identity() -> dict[str, Any]:
    """Return who this process is: ``create_time`` as psutil has it, ``process`` for :mod:`mlops_tui.spool.process`."""
    import psutil

    process = this_process()
    created = psutil.Process().create_time()
    return {"pid": process["pid"], "create_time": created, "process": process, "started_us": now_us()}


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

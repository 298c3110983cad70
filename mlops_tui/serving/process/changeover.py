"""From one route set to the next: read, made ready by engines and workers, and switched to in one moment.

``routes.json`` is watched. What is news and can be served becomes the candidate: it is loaded first by the engines of
its models that need any, then by every worker, and when the last has it, all go over. What cannot be served, or kills
a worker, is refused, and the routes before stay in force.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec

from mlops_tui.core.errors import MlopsError, NotFound
from mlops_tui.serving.control import Message
from mlops_tui.serving.deployment import ROUTES, Generation, Routes, fence, read_routes
from mlops_tui.serving.models.unseal import Vault
from mlops_tui.serving.process.engines import Engines
from mlops_tui.serving.process.fleet import Fleet
from mlops_tui.serving.process.seats import Seat
from mlops_tui.serving.record.columns import Columns

_log = logging.getLogger("mlops.serving")


class Changeover:
    """The routes that are served, and those that are about to be.

    ``_candidate`` is the route set that is being loaded: first by engines, then by the workers, who were told of
    ``_offered``.

    Args:
        folder: the deployment's.
        fleet: its workers.
        vault: the unsealed models.
        engines: the processes of models that run in ones of their own.
        columns: where revisions are counted.
        former: what ``state.json`` of the supervisor before says.

    Attributes:
        current: the route set that at least one worker serves.
        floor: the newest that was ever served: older ones are fenced off.
        reverted: the routes whose lease ran out.
        refused: the last that could not be served, and why.
    """

    def __init__(
        self, folder: Path, fleet: Fleet, vault: Vault, engines: Engines, columns: Columns, former: dict[str, Any]
    ) -> None:
        self._folder, self._fleet, self._vault, self._engines, self._columns = folder, fleet, vault, engines, columns
        self._engines_told: dict[str, Any] = {}
        self._owing = False  # a worker came up before the engines of what it is to serve
        self.floor: Generation = (former.get("epoch", -1), former.get("generation", -1))
        self.reverted: Generation | None = self.floor if former.get("reverted") else None
        self.current: Routes | None = None
        self._candidate: Routes | None = None
        self._offered: Generation | None = None
        self.refused: dict[str, Any] | None = None
        self._seen: tuple[int, ...] | None = None

    def look_again(self) -> None:
        """Read the routes at the next :meth:`watch`, changed or not."""
        self._seen = None

    # What workers say.

    def greeted(self, seat: Seat, hello: Message, models: dict[str, int]) -> None:
        """Take over what an orphan serves, and tell the worker what to serve."""
        for key, fd in models.items():
            self._vault.adopt(key, fd)
        if hello["routes"] is not None:
            routes = msgspec.convert(hello["routes"], Routes)
            seat.at, seat.reverted = routes.at, hello["reverted"]
            if self.current is None or routes.at > self.current.at:
                self.current, self.floor = routes, max(self.floor, routes.at)
                self.reverted = routes.at if hello["reverted"] else None
                self._columns.take_in(routes.everyone, ())
        if self._seen is not None:
            self._order(seat)

    def told(self, seat: Seat, message: Message) -> None:
        """Note what a worker serves, or why it does not."""
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
            self.reverted = at
        if self._candidate is not None and at == self._candidate.at:
            self.current, self._candidate, self.refused = self._candidate, None, None
            self.floor = max(self.floor, at)
            self._vault.keep(self.current.models)
            self._tell_all({"op": "switch", "at": list(at)})
            _log.info("routes %s are served", at)

    def lost(self, seat: Seat, expected: bool) -> None:
        """Give up new routes when a worker dies over them: those before are known to be good."""
        if self._candidate is not None and self._on_offer and self.current is not None and not expected:
            self._refuse(self._candidate.at, "a worker died while it was taking the routes in")
        self._switch_when_all_have()

    # New routes.

    def watch(self) -> None:
        """Take the routes in when their file has changed."""
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
        served = self._candidate or self.current
        try:
            if not fence(routes, served, self.floor, served is not None and self.reverted == served.at):
                return False
            for model in routes.models.values():
                self._vault.open(model)
        except Exception as error:
            self._refuse(routes.at, str(error))
            return False
        known = [r for r in (self.current, self._candidate) if r is not None]
        self._columns.take_in(routes.everyone, {r.id for one in known for r in one.everyone})
        if self.current is not None and routes.at == self.current.at:
            self.current = routes
        else:
            self._candidate = routes
        return True

    def _refuse(self, at: Generation, why: str) -> None:
        self.refused = {"epoch": at[0], "generation": at[1], "why": why}
        _log.error("routes %s refused: %s", at, why)
        if self._candidate is not None and self._candidate.at == at:
            self._candidate = self._offered = None
            self._tell_all({"op": "drop", "at": list(at)})
        if self._candidate is None and self.current is not None:
            self._vault.keep(self.current.models)  # a file may be mended before it is asked for again

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

    def tend_engines(self) -> None:
        """Have the engines that routes need, and offer new routes to the workers when theirs are loaded."""
        routes = [one for one in (self.current, self._candidate) if one is not None]
        try:
            for one in routes:
                self._engines.want(one.models)
        except MlopsError as error:
            _log.error("%s", error)
        self._engines.turn()
        if all(self.current is not None and seat.at == self.current.at for seat in self._fleet.serving):
            self._engines.keep({key for one in routes for key in one.models})
        self._offer()
        if self._owing and self.current is not None and self._engines.loaded(self.current.models):
            self._owing = False
            for seat in self._fleet.seats:
                if seat.at is None:
                    self._order(seat)
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
        routes = self._candidate if self._candidate is not None and self._on_offer else self.current
        if routes is not None and not self._engines.loaded(routes.models):
            routes, self._owing = None, True
        order: Message = {"op": "routes", "routes": None, "models": [], "columns": self._columns.listed()}
        order["engines"] = self._engines.told()
        files: list[int] = []
        try:
            if routes is not None:
                files = [self._vault.open(model) for model in routes.models.values()]
                order |= {"routes": msgspec.to_builtins(routes), "models": list(routes.models)}
                order |= {"reverted": self.reverted == routes.at, "together": routes is self._candidate}
            seat.channel.send(order, files)
        except (OSError, MlopsError) as error:
            _log.error("cannot send routes to worker %d: %s", seat.number, error)


def _signature(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return (0,)
    return (found.st_mtime_ns, found.st_ino, found.st_size)

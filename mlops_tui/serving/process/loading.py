"""What clients want loaded and unloaded: the repository API, as far as the supervisor has to do with it."""

from __future__ import annotations

import contextlib

from mlops_tui.core.errors import Conflict, MlopsError, NotFound, Refused
from mlops_tui.serving.control import Message
from mlops_tui.serving.deployment import Generation
from mlops_tui.serving.process.changeover import Changeover
from mlops_tui.serving.process.fleet import Fleet
from mlops_tui.serving.process.seats import Seat
from mlops_tui.serving.process.shelf import Shelf


class Loading:
    """Wishes of clients, each open until every worker shows what it wants.

    Args:
        fleet: the workers, by whom wishes come.
        changeover: who carries routes out.

    Attributes:
        shelf: the models that clients may have loaded and unloaded; None: routes are somebody else's.
    """

    def __init__(self, fleet: Fleet, changeover: Changeover) -> None:
        self._fleet, self._changeover = fleet, changeover
        self.shelf: Shelf | None = None
        self._wishes: list[tuple[Seat, int, Generation]] = []

    def wish(self, seat: Seat, message: Message) -> None:
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

    def answer(self) -> None:
        """Tell who waits what came of it."""
        for wish in list(self._wishes):
            seat, number, at = wish
            refused = self._changeover.refused or {}
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

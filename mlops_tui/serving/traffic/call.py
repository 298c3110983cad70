"""A request on its way through the server: what a protocol has read of it, and who answers it."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from mlops_tui.serving.bodies import Envelope
from mlops_tui.serving.models.model import Feed, Model
from mlops_tui.serving.models.pool import TooLate
from mlops_tui.serving.problem import Answer, Problem
from mlops_tui.serving.record.segments import NOBODY
from mlops_tui.serving.tensors import Rows
from mlops_tui.serving.traffic.results import Results, Writer
from mlops_tui.serving.traffic.routing import Arm


class Call(Protocol):
    """A request that a protocol has read."""

    id: str | None

    @property
    def together(self) -> Writer | None:
        """What answers it beside the others of a run; None: it wants something special, see :meth:`answer`."""

    @property
    def rows(self) -> Rows | None:
        """Its only input, if that is rows of finite numbers and no output was named."""

    def feed(self, model: Model) -> Feed:
        """Return the tensors for a model."""

    def first(self, name: str, model: Model) -> Any:
        """Return the first value of an input, column or feature; None when there is none of that name."""

    def answer(self, arm: Arm, results: Results, ident: str, fallback: bool) -> Answer:
        """Return the results as the protocol writes them."""


class Reader(Protocol):
    """A protocol: reads a decompressed body into a call."""

    def __call__(self, envelope: Envelope, body: bytes) -> Call:
        """Return the call.

        Raises:
            Problem: the client's mistake.
        """


class Owner(Protocol):
    """Whoever carries answers away."""

    def deliver(self) -> None:
        """Take the answers that are there."""


class Ticket(msgspec.Struct, eq=False):
    """One request from its arrival to its answer. A struct, because it is made in a tenth of the time of an object.

    Attributes:
        call: what it asks.
        arm: the revision that answers.
        rescuer: the revision that answers when that one cannot, or None.
        ident: the client's id, or one of ours.
        started: when it was whole, by ``perf_counter_ns``.
        size: bytes of its body.
        taken: its tensors for ``arm``, see :attr:`feed`.
        packed: its only tensor, when nobody has asked for an array yet.
        rows: how many rows they hold.
        answer: None until there is one.
        envelope: what its head said.
        owner: whoever carries the answer away, if the transport has noted it.
        rescued: ``arm`` stands in for another one.
        logged: it is in the inference log.
        shadowed: it may be repeated on shadows.
        away: a pool runs it already; the end of the loop's turn has nothing to do for it.
        chosen: ``arm`` was named by the path or picked by a toggle, not drawn.
        client: whose it is, as a number; ``NOBODY`` when that was not asked.
    """

    call: Call
    envelope: Envelope
    arm: Arm
    rescuer: Arm | None
    ident: str
    started: int
    size: int
    taken: Feed | None = None
    packed: Rows | None = None
    rows: int = 0
    answer: Answer | None = None
    owner: Owner | None = None
    rescued: bool = False
    logged: bool = True
    shadowed: bool = True
    away: bool = False
    chosen: bool = False
    client: int = NOBODY

    def read(self, arm: Arm) -> None:
        """Read the tensors for a revision.

        Raises:
            Problem: it refuses them.
        """
        self.taken, self.packed, self.rows = None, self.call.rows, 0
        if self.packed is not None and arm.model.takes(self.packed):
            self.rows = self.packed.count
            return
        self.packed, self.taken = None, self.call.feed(arm.model)
        self.rows = arm.model.check(self.taken)

    @property
    def feed(self) -> Feed:
        """Its tensors for ``arm``, once they were read."""
        if self.taken is None:
            self.taken = {} if self.packed is None else {self.packed.name: self.packed.array()}
        return self.taken


class Failure(Exception):
    """A model failed on tensors that it said it takes; ``cause`` is a word of ``deployment.CAUSES``."""

    def __init__(self, error: Exception, feed: Feed, rows: int) -> None:
        super().__init__(str(error)[:300])
        self.feed, self.rows = feed, rows
        late = isinstance(error, TooLate) or (isinstance(error, Problem) and error.status == 504)
        self.cause = "timeout" if late else "error"
        self.problem = (
            error if isinstance(error, Problem) else Problem(f"the model failed: {self}", 504 if late else 500)
        )

"""Answered requests once more, on revisions whose answers nobody gets: when nothing else waits, or not at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from time import perf_counter_ns

from mlops_tui.serving.models.pool import Pool
from mlops_tui.serving.problem import Problem
from mlops_tui.serving.record.counters import Gauge, Slot
from mlops_tui.serving.record.segments import SHADOW
from mlops_tui.serving.tensors import Array
from mlops_tui.serving.traffic.call import Failure, Ticket
from mlops_tui.serving.traffic.results import Shared
from mlops_tui.serving.traffic.routing import Arm
from mlops_tui.serving.traffic.witness import Witness

_WAITING = 64
_BYTES = 64 << 20


class Shadows:
    """Keeps a few requests until their shadows have run; more are left out and counted.

    Args:
        slot: the worker's counters.
        witness: who counts and logs.

    Attributes:
        pool: where models that take long run, after those of real requests.
    """

    def __init__(self, slot: Slot, witness: Witness) -> None:
        self.pool: Pool | None = None
        self._slot, self._witness = slot, witness
        self._waiting: deque[tuple[Arm, Ticket]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def remember(self, arms: Sequence[Arm], ticket: Ticket) -> None:
        """Note an answered request for each shadow."""
        for arm in arms:
            if len(self._waiting) >= _WAITING or self._bytes + ticket.size > _BYTES:
                self._slot.add(Gauge.SHADOW_DROPPED)
                continue
            again = Ticket(ticket.call, ticket.envelope, arm, None, ticket.ident, 0, ticket.size)
            again.logged, again.chosen, again.client = ticket.logged, ticket.chosen, ticket.client
            self._waiting.append((arm, again))
            self._bytes += ticket.size

    def run_one(self) -> None:
        """Run the oldest."""
        arm, ticket = self._waiting.popleft()
        self._bytes -= ticket.size
        ticket.started = perf_counter_ns()
        try:
            ticket.read(arm)
        except Problem as refusal:
            self._witness.failed(arm, ticket, refusal, SHADOW)
            return
        if self.pool is None or not arm.model.takes_long(ticket.rows):
            try:
                outcome: Sequence[Array] | Exception = arm.model.run(ticket.feed)
            except Exception as error:
                outcome = error
            self._note(arm, ticket, outcome)
            return
        lane = arm.model.lane or self.pool
        if lane.busy or not lane.submit(lambda: arm.model.run(ticket.feed), partial(self._note, arm, ticket)):
            self._slot.add(Gauge.SHADOW_DROPPED)

    def _note(self, arm: Arm, ticket: Ticket, outcome: Sequence[Array] | Exception) -> None:
        if isinstance(outcome, Exception):
            self._witness.failed(arm, ticket, Failure(outcome, ticket.feed, ticket.rows), SHADOW)
        else:
            self._witness.shadowed(arm, ticket, ticket.feed, Shared(outcome, [ticket.rows]))

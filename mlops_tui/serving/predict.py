"""From a request to an answer: pick a revision, run it, fall back, count, log, and repeat it on shadows afterwards.

Requests that came in one turn of the event loop wait for each other: those for one revision run together when its
model allows that, and their log is written at once. Nothing ever waits for requests that have not come yet.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter_ns

import numpy as np

from mlops_tui.serving.bodies import Envelope, plain
from mlops_tui.serving.call import Failure, Reader, Ticket
from mlops_tui.serving.counters import Gauge, Slot
from mlops_tui.serving.inference_log import InferenceLog
from mlops_tui.serving.model import Feed, Model
from mlops_tui.serving.pool import Pool
from mlops_tui.serving.problem import Problem
from mlops_tui.serving.results import Shared
from mlops_tui.serving.routing import Arm, Router
from mlops_tui.serving.segments import SHADOW
from mlops_tui.serving.tensors import Array
from mlops_tui.serving.witness import Witness

TOGETHER = 256
"""Rows of one run at most, of several requests."""
_ALONE = 64
_SHADOWS = 64
_SHADOW_BYTES = 64 << 20


class Predictor:
    """Answers inference requests by the routes in force.

    Args:
        slot: the worker's counters.
        log: where predictions go, or None.
        max_body: bytes of a decompressed body at most.

    Attributes:
        router: the routes in force; None before the first.
        pool: where models that take long run; None: nothing else goes on meanwhile.
    """

    def __init__(self, slot: Slot, log: InferenceLog | None, max_body: int) -> None:
        self.router: Router | None = None
        self.pool: Pool | None = None
        self._slot, self._max_body = slot, max_body
        self._witness = Witness(slot, log)
        self._ids, self._prefix = 0, os.urandom(6).hex()
        self._turn: dict[Arm, list[Ticket]] = {}
        self._settled: list[Ticket] = []
        self._shadows: deque[tuple[Arm, Ticket]] = deque()
        self._shadow_bytes = 0

    def submit(self, reader: Reader, version: str | None, envelope: Envelope, body: bytes) -> Ticket:
        """Take a request in; :meth:`settle` answers it. With a version by that revision alone, without fallback.

        Raises:
            Problem: 4xx for the client's mistakes, 503 before there are routes.
        """
        started = perf_counter_ns()
        router = self.router
        if router is None:
            raise Problem("no model is loaded yet", 503, ((b"retry-after", b"1"),))
        pinned = router.named(version) if version is not None else None
        try:
            if envelope.encoded:
                body = plain(envelope.headers, body, self._max_body)
            call = reader(envelope, body)
        except Problem:
            self._witness.unreadable(router, self._new_id(), started)
            raise
        arm = pinned or router.pick(envelope.headers, call.id)
        ident = call.id if call.id is not None else self._new_id()
        ticket = Ticket(call, arm, None if pinned else router.fallback(arm), ident, started, len(body))
        try:
            _read(ticket, arm)
        except Problem as mistake:
            self._rescue(ticket, mistake)
        else:
            self._turn.setdefault(arm, []).append(ticket)
        return ticket

    def settle(self) -> list[Ticket]:
        """Run what has come in; returns the requests that have an answer now. The rest is the pool's."""
        turn, self._turn = self._turn, {}
        for arm, tickets in turn.items():
            for batch, rows in _batches(arm.model, tickets):
                if self.pool is not None and arm.model.takes_long(rows):
                    self._send_away(arm, batch)
                else:
                    self._run(arm, batch)
        settled, self._settled = self._settled, []
        if self.router is not None and self.router.shadows:
            for ticket in settled:
                if ticket.answer is not None and ticket.answer.status == 200:
                    self._remember(self.router.shadows, ticket)
        return settled

    def _run(self, arm: Arm, batch: list[Ticket]) -> None:
        feed = _joined(arm.model, batch)
        try:
            arrays = arm.model.run(feed)
        except Exception as error:
            self._blame(arm, batch, error)
        else:
            self._answer(arm, batch, feed, arrays)

    def _send_away(self, arm: Arm, batch: list[Ticket]) -> None:
        """Let the pool run requests, or turn them away when too many wait there."""
        assert self.pool is not None
        feed = _joined(arm.model, batch)

        def done(arrays: Sequence[Array] | Exception) -> None:
            if isinstance(arrays, Exception):
                self._blame(arm, batch, arrays)
            else:
                self._answer(arm, batch, feed, arrays)

        if not self.pool.submit(lambda: arm.model.run(feed), done):
            busy = Problem("too many requests wait for this model", 429, ((b"retry-after", b"1"),))
            self._slot.add(Gauge.TURNED_AWAY, len(batch))
            for ticket in batch:
                self._settle(ticket, busy)

    def _answer(self, arm: Arm, batch: Sequence[Ticket], feed: Feed, arrays: Sequence[Array]) -> None:
        shared = Shared(arrays, [ticket.rows for ticket in batch])
        for ticket, results in zip(batch, shared.each(), strict=True):
            ticket.answer = ticket.call.answer(arm, results, ticket.ident, False)
        self._witness.answered(arm, batch, feed, shared)
        self._settled += batch

    def _blame(self, arm: Arm, batch: list[Ticket], error: Exception) -> None:
        """One request of several may be at fault: each is tried by itself; a single one goes to the rescuer."""
        if len(batch) == 1:
            self._rescue(batch[0], Failure(error, batch[0].feed, batch[0].rows))
            return
        for ticket in batch:
            self._run(arm, [ticket])

    def _rescue(self, ticket: Ticket, failure: Problem | Failure) -> None:
        """Answer by another arm, if any. Whether a refusal was the client's mistake is for the rescuer to say."""
        witness, arm, rescuer = self._witness, ticket.arm, ticket.rescuer
        if rescuer is None:
            self._give_up(arm, ticket, failure)
            return
        try:
            shared = _alone(ticket, rescuer)
        except Problem as mistake:
            self._give_up(arm, ticket, failure, failure if isinstance(failure, Failure) else mistake)
        except Failure as second:
            witness.failed(arm, ticket, failure)
            self._give_up(rescuer, ticket, second)
        else:
            witness.failed(arm, ticket, failure)
            (results,) = shared.each()
            ticket.answer = ticket.call.answer(rescuer, results, ticket.ident, True)
            witness.answered(rescuer, [ticket], ticket.feed, shared, rescued=True)
            self._settled.append(ticket)

    def _give_up(
        self, arm: Arm, ticket: Ticket, failure: Problem | Failure, told: Problem | Failure | None = None
    ) -> None:
        """Blame an arm or the client, and tell the client."""
        if isinstance(failure, Failure):
            self._witness.failed(arm, ticket, failure)
        else:
            self._witness.refused(arm, ticket)
        self._settle(ticket, told or failure)

    def _settle(self, ticket: Ticket, told: Problem | Failure) -> None:
        problem = told if isinstance(told, Problem) else told.problem
        ticket.answer = problem.answer()
        self._settled.append(ticket)

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._prefix}-{self._ids:x}"

    # Shadows.

    def _remember(self, shadows: Sequence[Arm], ticket: Ticket) -> None:
        for arm in shadows:
            if len(self._shadows) >= _SHADOWS or self._shadow_bytes + ticket.size > _SHADOW_BYTES:
                self._slot.add(Gauge.SHADOW_DROPPED)
                continue
            again = Ticket(ticket.call, arm, None, ticket.ident, 0, ticket.size)
            self._shadows.append((arm, again))
            self._shadow_bytes += ticket.size

    @property
    def owes_shadows(self) -> bool:
        """Tell whether :meth:`run_shadow` has something to do."""
        return bool(self._shadows)

    def run_shadow(self) -> None:
        """Repeat the oldest answered request on a shadow; call it when the answer is on its way."""
        arm, ticket = self._shadows.popleft()
        self._shadow_bytes -= ticket.size
        ticket.started = perf_counter_ns()
        try:
            shared = _alone(ticket, arm)
        except (Problem, Failure) as failure:
            self._witness.failed(arm, ticket, failure, SHADOW)
        else:
            self._witness.shadowed(arm, ticket, ticket.feed, shared)
        self.flush()

    def flush(self) -> None:
        """Bring the log to the disk's cache; to be called before answers leave, so that no answered row is unlogged."""
        self._witness.flush()


def _read(ticket: Ticket, arm: Arm) -> None:
    """Read the request's tensors for a revision, which may refuse them."""
    ticket.rows = 0
    ticket.feed = ticket.call.feed(arm.model)
    ticket.rows = arm.model.check(ticket.feed)


def _alone(ticket: Ticket, arm: Arm) -> Shared:
    _read(ticket, arm)
    try:
        return Shared(arm.model.run(ticket.feed), [ticket.rows])
    except Exception as error:
        raise Failure(error, ticket.feed, ticket.rows) from error


def _batches(model: Model, tickets: list[Ticket]) -> Iterator[tuple[list[Ticket], int]]:
    """Divide requests into those that run together, with their rows."""
    if len(tickets) == 1:
        yield tickets, tickets[0].rows
        return
    batch: list[Ticket] = []
    rows = 0
    for ticket in tickets:
        if not model.joins or ticket.rows > _ALONE:
            yield [ticket], ticket.rows
            continue
        if rows + ticket.rows > TOGETHER:
            yield batch, rows
            batch, rows = [], 0
        batch.append(ticket)
        rows += ticket.rows
    if batch:
        yield batch, rows


def _joined(model: Model, batch: Sequence[Ticket]) -> Feed:
    if len(batch) == 1:
        return batch[0].feed
    feeds: Iterable[Feed] = [ticket.feed for ticket in batch]
    return {tensor.name: np.concatenate([feed[tensor.name] for feed in feeds]) for tensor in model.inputs}

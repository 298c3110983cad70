"""From a request to an answer: pick a revision, run it, fall back, count, log, and repeat it on shadows afterwards.

Requests that came in one turn of the event loop wait for each other: those for one revision run together when its
model allows that, and their log is written at once. Nothing waits for requests that have not come yet, unless the
deployment says so (``gather_ms``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import count
from time import perf_counter_ns

import numpy as np

from mlops_tui.serving.bodies import Envelope, plain
from mlops_tui.serving.models.model import Feed, Model
from mlops_tui.serving.models.pool import Pool, TooLate
from mlops_tui.serving.problem import Answer, Problem
from mlops_tui.serving.record.counters import Gauge, Slot
from mlops_tui.serving.record.inference_log import InferenceLog
from mlops_tui.serving.record.segments import NOBODY
from mlops_tui.serving.tensors import Array, joined
from mlops_tui.serving.traffic.call import Failure, Reader, Ticket
from mlops_tui.serving.traffic.results import Results, Shared
from mlops_tui.serving.traffic.routing import Arm, Router
from mlops_tui.serving.traffic.shadows import Shadows
from mlops_tui.serving.traffic.toggling import Choice, Switches
from mlops_tui.serving.traffic.witness import Witness

TOGETHER = 256
"""Rows of one run at most, of several requests."""
_ALONE = 64
_REPEATED = (200, 500, 504)
"""Answers whose requests go to shadows: whether stable could answer must not decide what a shadow is asked."""


class Predictor:
    """Answers inference requests by the routes in force.

    Args:
        slot: the worker's counters.
        log: where predictions go, or None.
        max_body: bytes of a decompressed body at most.

    Attributes:
        router: the routes in force; None before the first, and while the own model is unloaded.
        kept: the routes in force, whether the own model is unloaded or not.
        others: who answers for further models, by their names.
        pool: where models that take long run; None: nothing else goes on meanwhile.
        switches: what toggles want of requests; None: nothing.
    """

    def __init__(self, slot: Slot, log: InferenceLog | None, max_body: int) -> None:
        self.router: Router | None = None
        self.kept: Router | None = None
        self.others: dict[str, Router] = {}
        self.pool: Pool | None = None
        self.switches: Switches | None = None
        self._slot, self._max_body = slot, max_body
        self._witness = Witness(slot, log)
        self._ids = map(f"{os.urandom(6).hex()}-%x".__mod__, count(1))
        self._turn: dict[Arm, list[Ticket]] = {}
        self._apart: dict[tuple[Arm, bool, bool], list[Ticket]] = {}
        self._settled: list[Ticket] = []
        self._shadows = Shadows(slot, self._witness)

    def submit(
        self, reader: Reader, version: str | None, envelope: Envelope, body: bytes, name: str | None = None
    ) -> Ticket:
        """Take a request in; :meth:`settle` answers it. With a version by that revision alone, without fallback.

        Args:
            reader: the protocol.
            version: what the path says of it, or None.
            envelope: what the head said.
            body: as it came.
            name: of another model than the deployment's own.

        Raises:
            Problem: 4xx for the client's mistakes, 404 and 503 when there is no model.
        """
        started = perf_counter_ns()
        router = (self.router or self.own()) if name is None else self.other(name)
        pinned = router.named(version) if version is not None else None
        try:
            if envelope.encoded:
                body = plain(envelope.headers, body, self._max_body)
            call = reader(envelope, body)
        except Problem:
            self._witness.unreadable(router, next(self._ids), started)
            raise
        ident = call.id if call.id is not None else next(self._ids)
        if self.switches is not None and name is None:
            choice = self.switches.choose(envelope.headers, body, call, pinned)
            ticket = Ticket(call, envelope, choice.arm, choice.rescuer, ident, started, len(body))
            ticket.chosen, ticket.client = choice.chosen, choice.client
            self._switch(ticket, choice)
            return ticket
        arm, client = (pinned, NOBODY) if pinned else router.pick(envelope.headers, body, call)
        ticket = Ticket(call, envelope, arm, None if pinned else router.fallback(arm), ident, started, len(body))
        ticket.chosen, ticket.client = pinned is not None, client
        try:
            ticket.read(arm)
        except Problem as mistake:
            self._rescue(ticket, mistake)
        else:
            if ticket.rows > _ALONE and self._takes_long(arm, ticket.rows):
                # It runs with no other: the end of the turn would only wake one loop more.
                ticket.away = self._send_away(arm, [ticket])
            else:
                self._turn.setdefault(arm, []).append(ticket)
        return ticket

    def own(self) -> Router:
        """Return who answers for the deployment's own model.

        Raises:
            Problem: 503 before there are routes, 404 when it was unloaded.
        """
        if self.router is not None:
            return self.router
        if self.kept is None:
            raise Problem("no model is loaded yet", 503, ((b"retry-after", b"1"),))
        raise Problem("this model was unloaded", 404)

    def other(self, name: str) -> Router:
        """Return who answers for another model.

        Raises:
            Problem: 404, there is none of that name, or not now.
        """
        try:
            return self.others[name]
        except KeyError:
            raise Problem(f"there is no model {name[:200]!r}", 404) from None

    def loaded(self, name: str) -> dict[str, Router]:
        """Return who answers, by what clients call each model; ``name`` is that of the deployment's own."""
        return {**({} if self.router is None else {name: self.router}), **self.others}

    def fulfil(self, ticket: Ticket, answer: Answer) -> None:
        """Give a request the answer that somebody else found; :meth:`settle` hands it over."""
        ticket.answer, ticket.shadowed = answer, False
        self._settled.append(ticket)

    def _switch(self, ticket: Ticket, choice: Choice) -> None:
        """Take a request in as the toggles want it."""
        ticket.shadowed, ticket.logged = choice.shadow, choice.log
        if choice.diverted and ticket.rescuer is not None:
            ticket.arm, ticket.rescuer, ticket.rescued = ticket.rescuer, None, True
        elif choice.off and not (choice.diverted and self._holds_constant(ticket.arm)):
            self._slot.add(Gauge.SWITCHED_OFF)
            self._settle(ticket, Problem(choice.off, 503, ((b"retry-after", b"5"),)))
            return
        try:
            ticket.read(ticket.arm)
        except Problem as mistake:
            self._rescue(ticket, mistake)
            return
        if choice.diverted and not ticket.rescued and self._constant(ticket):
            self._slot.add(Gauge.SWITCHED_OFF)
            return
        self._apart.setdefault((ticket.arm, ticket.rescued, ticket.logged), []).append(ticket)

    def settle(self) -> list[Ticket]:
        """Run what has come in; returns the requests that have an answer now. The rest is the pool's."""
        turn, self._turn = self._turn, {}
        for arm, tickets in turn.items():
            self._together(arm, tickets)
        if self._apart:
            apart, self._apart = self._apart, {}
            for (arm, _, _), tickets in apart.items():
                self._together(arm, tickets)
        settled, self._settled = self._settled, []
        if self.router is not None and self.router.shadows:
            for ticket in settled:
                if ticket.answer is not None and ticket.answer.status in _REPEATED and ticket.shadowed:
                    self._shadows.remember(self.router.shadows, ticket)
        return settled

    def _together(self, arm: Arm, tickets: list[Ticket]) -> None:
        for batch, rows in _batches(arm.model, tickets):
            self._start(arm, batch, rows)

    def _start(self, arm: Arm, batch: list[Ticket], rows: int) -> None:
        if self._takes_long(arm, rows):
            self._send_away(arm, batch)
        else:
            self._run(arm, batch)

    def _takes_long(self, arm: Arm, rows: int) -> bool:
        return self.pool is not None and arm.model.takes_long(rows)

    def _run(self, arm: Arm, batch: list[Ticket]) -> None:
        feed = _joined(arm.model, batch)
        try:
            arrays = arm.model.run(feed)
        except Exception as error:
            self._blame(arm, batch, error)
        else:
            self._answer(arm, batch, feed, arrays)

    def _send_away(self, arm: Arm, batch: list[Ticket]) -> bool:
        """Let a pool run requests; when too many wait there they are turned away, and this returns False."""
        pool = arm.model.lane or self.pool
        assert pool is not None
        feed = _joined(arm.model, batch)

        def done(arrays: Sequence[Array] | Exception) -> None:
            if isinstance(arrays, Exception):
                self._blame(arm, batch, arrays)
            else:
                self._answer(arm, batch, feed, arrays)

        limit = self.router.rescue.timeout_s if self.router is not None else None
        if pool.submit(lambda: arm.model.run(feed), done, limit):
            return True
        busy = Problem("too many requests wait for this model", 429, ((b"retry-after", b"1"),))
        self._slot.add(Gauge.TURNED_AWAY, len(batch))
        for ticket in batch:
            self._settle(ticket, busy)
        return False

    def _answer(self, arm: Arm, batch: Sequence[Ticket], feed: Feed, arrays: Sequence[Array]) -> None:
        rows, idents = [ticket.rows for ticket in batch], [ticket.ident for ticket in batch]
        shared = Shared(arrays, rows, idents, batch[0].rescued)
        for number, ticket in enumerate(batch):
            if (writer := ticket.call.together) is not None:
                ticket.answer = shared.written(writer, arm)[number]
            else:
                ticket.answer = ticket.call.answer(arm, Results(shared, number), ticket.ident, ticket.rescued)
        self._witness.answered(arm, batch, feed, shared)
        self._settled += batch

    # When a revision does not answer.

    def _blame(self, arm: Arm, batch: list[Ticket], error: Exception) -> None:
        """One request of several may be at fault: each is tried by itself; a single one goes to the rescuer."""
        if len(batch) == 1 or isinstance(error, TooLate):
            for ticket in batch:
                self._rescue(ticket, Failure(error, ticket.feed, ticket.rows))
            return
        for ticket in batch:
            self._start(arm, [ticket], ticket.rows)

    def _rescue(self, ticket: Ticket, failure: Problem | Failure) -> None:
        """Answer by another arm, if any. Whether a refusal was the client's mistake is for the rescuer to say."""
        arm, rescuer = ticket.arm, ticket.rescuer
        if rescuer is None or not self._rescues(failure):
            self._give_up(ticket, failure)
            return
        ticket.rescuer = None
        try:
            ticket.read(rescuer)
        except Problem as mistake:
            self._give_up(ticket, failure, failure if isinstance(failure, Failure) else mistake)
            return
        self._witness.failed(arm, ticket, failure)
        ticket.arm, ticket.rescued = rescuer, True
        self._start(rescuer, [ticket], ticket.rows)

    def _rescues(self, failure: Problem | Failure) -> bool:
        cause = failure.cause if isinstance(failure, Failure) else "error"
        return self.router is not None and cause in self.router.rescue.on

    def _give_up(self, ticket: Ticket, failure: Problem | Failure, told: Problem | Failure | None = None) -> None:
        """Blame the arm and give the constant answer, or the client's mistake; tell the client."""
        if isinstance(failure, Failure):
            self._witness.failed(ticket.arm, ticket, failure)
            ticket.taken, ticket.rows = failure.feed, failure.rows
            if self._rescues(failure) and self._constant(ticket):
                return
        else:
            self._witness.refused(ticket.arm, ticket)
        self._settle(ticket, told or failure)

    def _holds_constant(self, arm: Arm) -> bool:
        return (
            self.router is not None and self.router.last_resort is not None and self.router.last_resort.fits(arm.model)
        )

    def _constant(self, ticket: Ticket) -> bool:
        """Give the answer of last resort; False when there is none."""
        if not self._holds_constant(ticket.arm):
            return False
        assert self.router is not None and self.router.last_resort is not None
        ticket.rescued = True
        self._answer(ticket.arm, [ticket], ticket.feed, self.router.last_resort.arrays(ticket.arm.model, ticket.rows))
        return True

    def _settle(self, ticket: Ticket, told: Problem | Failure) -> None:
        problem = told if isinstance(told, Problem) else told.problem
        ticket.answer = problem.answer()
        self._settled.append(ticket)

    @property
    def owes_shadows(self) -> bool:
        """Tell whether :meth:`run_shadow` has something to do."""
        return len(self._shadows) > 0

    def run_shadow(self) -> None:
        """Repeat the oldest answered request on a shadow; call it when the answer is on its way."""
        self._shadows.pool = self.pool
        self._shadows.run_one()
        self.flush()

    def flush(self) -> None:
        """Bring the log to the disk's cache; to be called before answers leave, so that no answered row is unlogged."""
        self._witness.flush()


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
    packed = [ticket.packed for ticket in batch if ticket.packed is not None]
    if len(packed) == len(batch):
        return {packed[0].name: joined(packed)}
    feeds = [ticket.feed for ticket in batch]
    return {tensor.name: np.concatenate([feed[tensor.name] for feed in feeds]) for tensor in model.inputs}

"""What became of each request: counted for /metrics and written to the inference log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import perf_counter_ns, time_ns

import numpy as np

from mlops_tui.serving.models.model import Feed
from mlops_tui.serving.problem import Problem
from mlops_tui.serving.record.counters import Count, Gauge, Slot
from mlops_tui.serving.record.inference_log import InferenceLog
from mlops_tui.serving.record.rows import MANY, records
from mlops_tui.serving.record.segments import (
    CHOSEN,
    CLIENT_ERROR,
    FALLBACK,
    MODEL_ERROR,
    NOBODY,
    OK,
    SHADOW,
    Piece,
    record,
)
from mlops_tui.serving.tensors import Array
from mlops_tui.serving.traffic.call import Failure, Ticket
from mlops_tui.serving.traffic.results import Shared
from mlops_tui.serving.traffic.routing import Arm, Router

_WARN_NS = 10**9
_logger = logging.getLogger("mlops.serving")


class Witness:
    """Counts and logs.

    Args:
        slot: the worker's counters.
        log: where predictions go, or None.
    """

    def __init__(self, slot: Slot, log: InferenceLog | None) -> None:
        self._slot, self._log = slot, log
        self._silent, self._warned_at = 0, -_WARN_NS

    def answered(self, arm: Arm, tickets: Sequence[Ticket], feed: Feed, shared: Shared) -> None:
        """Note requests that one run of a revision has answered.

        Args:
            arm: the revision.
            tickets: the requests, in the order of their rows; all rescued and logged, or none.
            feed: the tensors of all of them.
            shared: what the run gave.
        """
        now, rescued = perf_counter_ns(), tickets[0].rescued
        spent = [now - ticket.started for ticket in tickets]
        self._slot.observe(arm.column, Count.FALLBACK if rescued else Count.OK, shared.rows, spent)
        self._write(arm, tickets, shared.rows, FALLBACK if rescued else OK, 0, feed, shared.arrays)

    def shadowed(self, arm: Arm, ticket: Ticket, feed: Feed, shared: Shared) -> None:
        """Note a run whose answer nobody gets."""
        self._slot.count(arm.column, Count.SHADOW_OK)
        self._write(arm, [ticket], [ticket.rows], OK, SHADOW, feed, shared.arrays)

    def refused(self, arm: Arm, ticket: Ticket) -> None:
        """Note a client's mistake that a revision has found."""
        self._slot.count(arm.column, Count.CLIENT_ERROR)
        self._write(arm, [ticket], [0], CLIENT_ERROR)

    def failed(self, arm: Arm, ticket: Ticket, failure: Problem | Failure, flags: int = 0) -> None:
        """Note that a revision could not answer what it should have."""
        self._slot.count(arm.column, Count.SHADOW_ERROR if flags else Count.MODEL_ERROR)
        feed, rows = (failure.feed, failure.rows) if isinstance(failure, Failure) else ({}, 0)
        self._write(arm, [ticket], [rows], MODEL_ERROR, flags, feed)
        self._warn(arm, ticket.ident, failure)

    def unreadable(self, router: Router, ident: str, started: int) -> None:
        """Note a request that nobody could read: revision 0, no rows."""
        self._slot.count(0, Count.CLIENT_ERROR)
        log, stream = self._log, router.lead.stream
        if log is not None and stream is not None and log.keeping.keeps(ident.encode()):
            spent = (perf_counter_ns() - started) // 1000
            log.add(stream, record(time_ns() // 1000, 0, CLIENT_ERROR, 0, spent, 0, ident.encode()), 0)

    def flush(self) -> None:
        """Bring the log to the disk's cache; to be called before answers leave, so that no answered row is unlogged."""
        if self._log is not None:
            self._log.flush()

    def _write(
        self,
        arm: Arm,
        tickets: Sequence[Ticket],
        rows: Sequence[int],
        status: int,
        flags: int = 0,
        feed: Feed | None = None,
        arrays: Sequence[Array] = (),
    ) -> None:
        """Give each request its record: its rows of the tensors, which all of them share."""
        log, stream, every = self._log, arm.stream, sum(rows)
        if log is None or stream is None:
            return
        try:
            features = arm.model.feature_bytes(feed, every) if feed else b""
            outputs = arm.model.output_bytes(arrays, every) if arrays else b""
            if stream.header.redacted:
                features = _without(features, every, stream.hidden_features)
                outputs = _without(outputs, every, stream.hidden_outputs)
        except Exception as error:
            # Whatever a model gives that has no place in the log: its answer goes out all the same.
            self._slot.add(Gauge.LOG_DROPPED_ROWS, every)
            self._warn(arm, tickets[0].ident, error)
            return
        ts, now = time_ns() // 1000, perf_counter_ns()
        spent = [(now - ticket.started) // 1000 for ticket in tickets]
        if len(tickets) >= MANY and every == len(tickets) and log.keeping.share >= 1.0:
            alike = [t.ident for t in tickets if t.logged and not t.chosen and t.client == NOBODY]
            idents = [ident.encode("utf-8", "replace") for ident in alike]
            if len(idents) == every and len(set(map(len, idents))) == 1:
                log.add(stream, [records(ts, arm.no, status, flags, spent, idents, features, outputs)], every)
                return
        wide, deep = (len(features) // every, len(outputs) // every) if every else (0, 0)
        pieces: list[Piece] = []
        kept = at = 0
        for ticket, n, latency in zip(tickets, rows, spent, strict=True):
            ident, end = ticket.ident.encode("utf-8", "replace"), at + n
            if ticket.logged and log.keeping.keeps(ident):
                own = features[at * wide : end * wide], outputs[at * deep : end * deep]
                marks = flags | CHOSEN if ticket.chosen else flags
                pieces += record(ts, arm.no, status, marks, latency, n, ident, *own, ticket.client)
                kept += n
            at = end
        log.add(stream, pieces, kept)

    def _warn(self, arm: Arm, ident: str, failure: Exception) -> None:
        """Say it once a second; the inference log has every case."""
        self._silent += 1
        if (now := perf_counter_ns()) - self._warned_at >= _WARN_NS:
            _logger.warning("%d failures; revision %s on request %s: %s", self._silent, arm.label, ident, failure)
            self._silent, self._warned_at = 0, now


def _without(data: Piece, rows: int, hidden: Sequence[int]) -> Piece:
    """Return columns with some of them missing in every row."""
    if not hidden or not data:
        return data
    table = np.frombuffer(data, np.float32).reshape(rows, -1).copy()
    table[:, hidden] = np.nan
    return table.tobytes()

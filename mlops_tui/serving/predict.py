"""From a request to an answer: pick a revision, run it, fall back, count, log, and repeat it on shadows afterwards."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Mapping, Sequence
from time import perf_counter_ns, time_ns
from typing import NamedTuple, Protocol

from mlops_tui.serving.bodies import plain
from mlops_tui.serving.counters import Count, Gauge, Slot
from mlops_tui.serving.inference_log import InferenceLog
from mlops_tui.serving.model import Feed, Model
from mlops_tui.serving.problem import Answer, Problem
from mlops_tui.serving.routing import Arm, Router
from mlops_tui.serving.segments import CLIENT_ERROR, FALLBACK, MODEL_ERROR, OK, SHADOW, record
from mlops_tui.serving.tensors import Array

_SHADOWS = 64
_SHADOW_BYTES = 64 << 20
_WARN_NS = 10**9
_log = logging.getLogger("mlops.serving")


class Call(Protocol):
    """A request that a protocol has read."""

    id: str | None

    def feed(self, model: Model) -> Feed:
        """Return the tensors for a model."""

    def answer(self, arm: Arm, results: Sequence[Array], ident: str, fallback: bool) -> Answer:
        """Return the results as the protocol writes them."""


class Reader(Protocol):
    """A protocol: reads a decompressed body into a call."""

    def __call__(self, headers: Mapping[bytes, bytes], body: bytes) -> Call:
        """Return the call.

        Raises:
            Problem: the client's mistake.
        """


class _Failure(Exception):
    """A model failed on tensors that it said it takes."""

    def __init__(self, error: Exception, feed: Feed, rows: int) -> None:
        super().__init__(str(error)[:300])
        self.feed, self.rows = feed, rows


class _Run(NamedTuple):
    feed: Feed
    rows: int
    results: list[Array]


class _Shadow(NamedTuple):
    call: Call
    arm: Arm
    ident: str
    size: int


class Predictor:
    """Answers inference requests by the routes in force.

    Args:
        slot: the worker's counters.
        log: where predictions go, or None.
        max_body: bytes of a decompressed body at most.
    """

    def __init__(self, slot: Slot, log: InferenceLog | None, max_body: int) -> None:
        self.router: Router | None = None
        self._slot, self._log, self._max_body = slot, log, max_body
        self._ids, self._prefix = 0, os.urandom(6).hex()
        self._shadows: deque[_Shadow] = deque()
        self._shadow_bytes = 0
        self._silent, self._warned_at = 0, -_WARN_NS

    def serve(self, reader: Reader, version: str | None, headers: Mapping[bytes, bytes], body: bytes) -> Answer:
        """Answer one request; with a version by that revision alone, without fallback.

        Raises:
            Problem: 4xx for the client's mistakes, 500 when the model failed, 503 before there are routes.
        """
        started = perf_counter_ns()
        router = self.router
        if router is None:
            raise Problem("no model is loaded yet", 503, ((b"retry-after", b"1"),))
        pinned = router.named(version) if version is not None else None
        try:
            call = reader(headers, plain(headers, body, self._max_body))
        except Problem:
            self._unreadable(router, started)
            raise
        ident = call.id if call.id is not None else self._new_id()
        arm = pinned or router.pick(headers, call.id)
        answer = self._predict(call, arm, None if pinned else router.fallback(arm), ident, started)
        if router.shadows:
            self._remember(router.shadows, call, ident, len(body))
        return answer

    def _predict(self, call: Call, arm: Arm, rescuer: Arm | None, ident: str, started: int) -> Answer:
        try:
            run = _run(call, arm.model)
        except (Problem, _Failure) as failure:
            if rescuer is None:
                self._blame(arm, ident, failure, started)
                raise _told(failure) from None
            return self._rescue(call, arm, rescuer, ident, failure, started)
        answer = call.answer(arm, run.results, ident, False)
        self._answered(arm, run, ident, OK, started)
        return answer

    def _rescue(
        self, call: Call, arm: Arm, rescuer: Arm, ident: str, failure: Problem | _Failure, started: int
    ) -> Answer:
        """Answer by another arm. Whether a refusal was the client's mistake is for the rescuer to say."""
        try:
            run = _run(call, rescuer.model)
        except Problem as mistake:
            self._blame(arm, ident, failure, started)
            raise (_told(failure) if isinstance(failure, _Failure) else mistake) from None
        except _Failure as second:
            self._failed(arm, ident, failure, started)
            self._blame(rescuer, ident, second, started)
            raise _told(second) from None
        self._failed(arm, ident, failure, started)
        answer = call.answer(rescuer, run.results, ident, True)
        self._answered(rescuer, run, ident, FALLBACK, started)
        return answer

    def _answered(self, arm: Arm, run: _Run, ident: str, status: int, started: int) -> None:
        spent = perf_counter_ns() - started
        self._slot.observe(arm.column, Count.FALLBACK if status == FALLBACK else Count.OK, run.rows, spent)
        self._write(arm, status, 0, spent, run.rows, ident, run.feed, run.results)

    def _blame(self, arm: Arm, ident: str, failure: Problem | _Failure, started: int) -> None:
        if isinstance(failure, _Failure):
            self._failed(arm, ident, failure, started)
            return
        self._slot.count(arm.column, Count.CLIENT_ERROR)
        self._write(arm, CLIENT_ERROR, 0, perf_counter_ns() - started, 0, ident)

    def _failed(self, arm: Arm, ident: str, failure: Problem | _Failure, started: int, flags: int = 0) -> None:
        feed, rows = (failure.feed, failure.rows) if isinstance(failure, _Failure) else (None, 0)
        self._slot.count(arm.column, Count.SHADOW_ERROR if flags else Count.MODEL_ERROR)
        self._write(arm, MODEL_ERROR, flags, perf_counter_ns() - started, rows, ident, feed)
        self._warn(arm, ident, failure)

    def _warn(self, arm: Arm, ident: str, failure: Exception) -> None:
        """Say it once a second; the inference log has every case."""
        self._silent += 1
        if (now := perf_counter_ns()) - self._warned_at >= _WARN_NS:
            _log.warning("%d failures; revision %s on request %s: %s", self._silent, arm.label, ident, failure)
            self._silent, self._warned_at = 0, now

    def _unreadable(self, router: Router, started: int) -> None:
        """Log a request that nobody could read: revision 0, no rows."""
        self._slot.count(0, Count.CLIENT_ERROR)
        if self._log is not None and (stream := router.lead.stream) is not None:
            spent = (perf_counter_ns() - started) // 1000
            ident = self._new_id().encode()
            self._log.add(stream, record(time_ns() // 1000, 0, CLIENT_ERROR, 0, spent, 0, ident), 0)

    def _write(
        self,
        arm: Arm,
        status: int,
        flags: int,
        spent_ns: int,
        rows: int,
        ident: str,
        feed: Feed | None = None,
        results: Sequence[Array] = (),
    ) -> None:
        if self._log is None or arm.stream is None:
            return
        try:
            features = arm.model.feature_bytes(feed, rows) if feed is not None else b""
            outputs = arm.model.output_bytes(results, rows) if results else b""
            ts, latency = time_ns() // 1000, spent_ns // 1000
            name = ident.encode("utf-8", "replace")
            self._log.add(arm.stream, record(ts, arm.no, status, flags, latency, rows, name, features, outputs), rows)
        except Exception as error:
            # Whatever a model gives that has no place in the log: its answer goes out all the same.
            self._slot.add(Gauge.LOG_DROPPED_ROWS, rows)
            self._warn(arm, ident, error)

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._prefix}-{self._ids:x}"

    def _remember(self, shadows: Sequence[Arm], call: Call, ident: str, size: int) -> None:
        for arm in shadows:
            if len(self._shadows) >= _SHADOWS or self._shadow_bytes + size > _SHADOW_BYTES:
                self._slot.add(Gauge.SHADOW_DROPPED)
                continue
            self._shadows.append(_Shadow(call, arm, ident, size))
            self._shadow_bytes += size

    @property
    def owes_shadows(self) -> bool:
        """Tell whether :meth:`run_shadow` has something to do."""
        return bool(self._shadows)

    def run_shadow(self) -> None:
        """Repeat the oldest answered request on a shadow; call it when the answer is on its way."""
        call, arm, ident, size = self._shadows.popleft()
        self._shadow_bytes -= size
        started = perf_counter_ns()
        try:
            run = _run(call, arm.model)
        except (Problem, _Failure) as failure:
            self._failed(arm, ident, failure, started, SHADOW)
        else:
            self._slot.count(arm.column, Count.SHADOW_OK)
            self._write(arm, OK, SHADOW, perf_counter_ns() - started, run.rows, ident, run.feed, run.results)
        self.flush()

    def flush(self) -> None:
        """Bring the log to the disk's cache; to be called before answers leave, so that no answered row is unlogged."""
        if self._log is not None:
            self._log.flush()


def _run(call: Call, model: Model) -> _Run:
    feed = call.feed(model)
    rows = model.check(feed)
    try:
        return _Run(feed, rows, model.run(feed))
    except Exception as error:
        raise _Failure(error, feed, rows) from error


def _told(failure: Problem | _Failure) -> Problem:
    return failure if isinstance(failure, Problem) else Problem(f"the model failed: {failure}", 500)

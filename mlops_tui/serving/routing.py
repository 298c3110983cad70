"""Who answers a request: a weighted draw, or the same revision for the same key."""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from math import log

import orjson

from mlops_tui.serving.deployment import Generation, Revision
from mlops_tui.serving.inference_log import Stream
from mlops_tui.serving.model import Model
from mlops_tui.serving.problem import JSON, Headers, Problem

STICKY_ID = ("id", "request-id", "x-request-id")


class Arm:
    """A revision that can answer: its model, where it is counted and logged, and what its answers begin with."""

    def __init__(self, name: str, revision: Revision, model: Model, column: int, stream: Stream | None) -> None:
        self.id, self.no, self.label, self.role = revision.id, revision.no, revision.label, revision.role
        self.weight, self.model, self.column, self.stream = revision.weight, model, column, stream
        # Labels are people's words, headers are ASCII.
        mark = (b"x-mlops-revision", re.sub(r"[^\x21-\x7e]", "_", revision.label).encode())
        self.headers: Headers = (*JSON, mark)
        self.binary_headers: Headers = ((b"content-type", b"application/octet-stream"), mark)
        said = {"revision": revision.label, "revision_id": revision.id}
        self.head, self.fallback_head = (
            orjson.dumps({"model_name": name, "model_version": revision.label, "parameters": parameters})[:-1]
            for parameters in (said, {**said, "fallback": True})
        )

    def names(self) -> set[str]:
        """Return what a client may call this revision in a path."""
        return {self.label, str(self.no), self.id}


class Router:
    """A route set in force.

    With a sticky key each arm draws a number from (arm, key) and the largest, stretched by the weights, wins (weighted
    rendezvous hashing: Schindelhauer and Schomaker 2005). Raising one arm's weight, or lowering others', can only bring
    keys to it: nobody who was on it is moved away.

    Args:
        at: epoch and generation.
        arms: every revision, shadows and weight 0 included.
        sticky: the header that carries the key, or ``id`` for the request id; None draws anew each time.
        fallback: id of the arm that answers when another fails; None: the one whose role is ``stable``, if any.
    """

    def __init__(self, at: Generation, arms: Sequence[Arm], sticky: str | None, fallback: str | None) -> None:
        self.at, self.arms = at, list(arms)
        self.shadows = [arm for arm in arms if arm.role == "shadow"]
        self.by_name = {name: arm for arm in arms for name in arm.names()}
        self._live = [arm for arm in arms if arm.weight > 0 and arm.role != "shadow"]
        self._bounds = list(accumulate(arm.weight for arm in self._live))
        self._only = self._live[0] if len(self._live) == 1 else None
        self._salts = [blake2b(arm.id.encode(), digest_size=16).digest() for arm in self._live]
        by_id = sticky is not None and sticky.lower() in STICKY_ID
        self._header = sticky.lower().encode("latin-1", "replace") if sticky and not by_id else None
        self._by_id = by_id
        stable = [arm for arm in arms if (arm.id == fallback if fallback else arm.role == "stable")]
        self._fallback = stable[0] if stable else None

    @property
    def lead(self) -> Arm:
        """The arm whose model stands for the deployment: the fallback, else the heaviest."""
        return self._fallback or max(self._live, key=lambda arm: arm.weight)

    def pick(self, headers: Mapping[bytes, bytes], request_id: str | None) -> Arm:
        """Return the arm for a request; without the key that it should stick to, any by weight."""
        if self._only is not None:
            return self._only
        if self._by_id:
            key = request_id.encode() if request_id else None
        else:
            key = headers.get(self._header) if self._header else None
        return self._stick(key) if key else self._draw()

    def _draw(self) -> Arm:
        return self._live[min(bisect_right(self._bounds, random.random() * self._bounds[-1]), len(self._live) - 1)]

    def _stick(self, key: bytes) -> Arm:
        best, score = self._live[0], float("inf")
        for arm, salt in zip(self._live, self._salts, strict=True):
            draw = int.from_bytes(blake2b(key, digest_size=8, salt=salt).digest(), "big")
            # Exponential with rate ``weight``: the smallest of several falls on each with the share of its weight.
            wait = -log((draw + 1) / (2**64 + 1)) / arm.weight
            if wait < score:
                best, score = arm, wait
        return best

    def fallback(self, failed: Arm) -> Arm | None:
        """Return who answers in place of an arm that failed, or None."""
        return self._fallback if self._fallback is not failed else None

    def named(self, name: str) -> Arm:
        """Return the arm that a path names by label, number or id.

        Raises:
            Problem: 404, there is none.
        """
        try:
            return self.by_name[name]
        except KeyError:
            labels = ", ".join(arm.label for arm in self.arms)
            raise Problem(f"there is no version {name!r}; there are {labels}", 404) from None

"""Who answers a request: a weighted draw, or the same revision for the same key."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from hashlib import blake2b
from math import log

import numpy as np
import orjson

from mlops_tui.serving.deployment import Generation, Rescue, Revision
from mlops_tui.serving.models.model import Model
from mlops_tui.serving.problem import JSON, Headers, Problem
from mlops_tui.serving.record.inference_log import Stream
from mlops_tui.serving.record.segments import NOBODY
from mlops_tui.serving.traffic.rescue import last_resort
from mlops_tui.serving.traffic.sticky import Asked, Sticky

_LOTS = 512
_chance = np.random.default_rng()


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

        self.forms: dict[Hashable, bytes] = {}
        """What a protocol remembers of the answers of this revision."""

    def names(self) -> list[str]:
        """Return what a client may call this revision in a path."""
        return list(dict.fromkeys((self.label, str(self.no), self.id)))


class Draw:
    """Who answers, among arms with weights: a weighted draw, or the same arm for the same key.

    With a key each arm draws a number from (arm, key) and the largest, stretched by the weights, wins (weighted
    rendezvous hashing: Schindelhauer and Schomaker 2005). Raising one arm's weight, or lowering others', can only bring
    keys to it: nobody who was on it is moved away.

    Args:
        shares: arms with their weights; at least one is above 0.
    """

    def __init__(self, shares: Iterable[tuple[Arm, float]]) -> None:
        live = [(arm, weight) for arm, weight in shares if weight > 0]
        self.arms, self._weights = [arm for arm, _ in live], [weight for _, weight in live]
        self._lots: list[Arm] = []
        self.only = self.arms[0] if len(live) == 1 else None
        self._salts = [blake2b(arm.id.encode(), digest_size=16).digest() for arm in self.arms]

    def pick(self, key: bytes | None) -> Arm:
        """Return an arm: for a key always the same one, without any by weight."""
        if self.only is not None:
            return self.only
        return self._stick(key) if key else self.draw()

    def draw(self) -> Arm:
        """Return an arm by weight."""
        if not self._lots:
            # By the hundreds, 0.1 µs each; one by one they are 0.6.
            shares = np.array(self._weights) / sum(self._weights)
            self._lots = [self.arms[i] for i in _chance.choice(len(self.arms), _LOTS, p=shares).tolist()]
        return self._lots.pop()

    def _stick(self, key: bytes) -> Arm:
        best, score = self.arms[0], float("inf")
        for arm, weight, salt in zip(self.arms, self._weights, self._salts, strict=True):
            draw = int.from_bytes(blake2b(key, digest_size=8, salt=salt).digest(), "big")
            # Exponential with rate ``weight``: the smallest of several falls on each with the share of its weight.
            wait = -log((draw + 1) / (2**64 + 1)) / weight
            if wait < score:
                best, score = arm, wait
        return best


class Router:
    """A route set in force.

    Args:
        at: epoch and generation.
        arms: every revision, shadows and weight 0 included.
        sticky: what carries the key, see :mod:`mlops_tui.serving.traffic.sticky`; None draws anew each time.
        fallback: id of the arm that answers when another fails; None: the one whose role is ``stable``, if any.
        rescue: when that is, and what answers at last.
        salt: the deployment's secret by which clients get numbers; without one nobody is numbered.

    Raises:
        BadInput: the constant that answers at last does not fit the outputs.
    """

    def __init__(
        self,
        at: Generation,
        arms: Sequence[Arm],
        sticky: str | None,
        fallback: str | None,
        rescue: Rescue = Rescue(),
        salt: bytes = b"",
    ) -> None:
        self.at, self.arms, self.rescue = at, list(arms), rescue
        self.last_resort = last_resort(rescue, [arm.model for arm in arms])
        self.shadows = [arm for arm in arms if arm.role == "shadow"]
        self.by_name = {name: arm for arm in arms for name in arm.names()}
        self._live = Draw((arm, arm.weight) for arm in arms if arm.role != "shadow")
        self._only = self._live.only
        self._sticky, self._sticks = Sticky(sticky, salt), bool(sticky)
        stable = [arm for arm in arms if (arm.id == fallback if fallback else arm.role == "stable")]
        self._fallback = stable[0] if stable else None

    @property
    def lead(self) -> Arm:
        """The arm whose model stands for the deployment: the fallback, else the heaviest."""
        return self._fallback or max(self._live.arms, key=lambda arm: arm.weight)

    def pick(self, headers: Mapping[bytes, bytes], body: bytes, call: Asked) -> tuple[Arm, int]:
        """Return the arm for a request, and whose it is where that had a say.

        Without the key that it should stick to, any by weight.
        """
        if self._only is not None:
            return self._only, NOBODY
        if not self._sticks:
            return self._live.draw(), NOBODY
        key = self.key(headers, body, call)
        return self._live.pick(key), self._sticky.client(key)

    def key(self, headers: Mapping[bytes, bytes], body: bytes, call: Asked) -> bytes | None:
        """Return what a request sticks to an arm by, if the routes are sticky and it has that."""
        return self._sticky.key(headers, body, call, self.lead.model)

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

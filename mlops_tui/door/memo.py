"""Answers that are kept until something that they are made of has changed: what many screens ask for every second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mlops_tui.store.feed import Feed

T = TypeVar("T")


@dataclass(frozen=True)
class _Kept:
    version: tuple[int, ...]
    until: float
    answer: object


class Memo:
    """Keeps answers by name, each with the version that its topics had on the feed *before* it was made.

    What is committed while an answer is being made is published afterwards, and so outdates it.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._kept: dict[tuple[str, ...], _Kept] = {}

    def forget(self) -> None:
        """Forget every answer."""
        self._kept.clear()

    def get(self, name: tuple[str, ...], topics: tuple[str, ...], make: Callable[[], T], age_s: float = 30.0) -> T:
        """Return the kept answer, or make it anew.

        Args:
            name: of the answer; with the tenant in it.
            topics: a change to any of them outdates it.
            make: makes it; from any thread, perhaps twice at once.
            age_s: seconds after which it is outdated in any case, for what changes with time alone.
        """
        version, now = self._feed.version(topics), time.monotonic()
        kept = self._kept.get(name)
        if kept is None or kept.version != version or now > kept.until:
            kept = self._kept[name] = _Kept(version, now + age_s, make())
        return kept.answer  # type: ignore[return-value]

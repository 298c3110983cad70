"""The live hub: one listener on the agent's change feed, which wakes only what is seen and only when it changed.

It polls nothing. Events are gathered and handed on at most once a period; a screen that is hidden gets nothing
until it is shown again, and then one piece of news for all that it missed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from mlops_tui.core.errors import MlopsError, Unreachable
from mlops_tui.tui.news.door import Door, Event

PERIOD_S = 1.0
STALE_AFTER = 3


@dataclass(frozen=True)
class News:
    """What changed since a listener heard last.

    Args:
        objects: ids of objects that something happened to, by noun; there may be new ones among them.
        touched: ids of objects that only have new points or lines, by noun.
        all: anything may have changed.
    """

    objects: dict[str, frozenset[str]] = field(default_factory=dict)
    touched: dict[str, frozenset[str]] = field(default_factory=dict)
    all: bool = False

    def touches(self, *topics: str) -> bool:
        """Tell whether any of these nouns changed."""
        return self.all or any(topic in self.objects or topic in self.touched for topic in topics)

    def of(self, *topics: str) -> frozenset[str]:
        """Return the ids that changed among these nouns."""
        return frozenset().union(*(found.get(topic, ()) for topic in topics for found in (self.objects, self.touched)))

    def happened(self, *topics: str) -> frozenset[str]:
        """Return the ids that something happened to, more than new points or lines."""
        return frozenset().union(*(self.objects.get(topic, ()) for topic in topics))

    def and_then(self, other: News) -> News:
        """Return two pieces of news as one."""
        return News(_merged(self.objects, other.objects), _merged(self.touched, other.touched), self.all or other.all)


def _merged(one: dict[str, frozenset[str]], other: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    return {key: one.get(key, frozenset()) | other.get(key, frozenset()) for key in one.keys() | other.keys()}


class Listener(Protocol):
    """A screen that wants news."""

    @property
    def topics(self) -> frozenset[str]:
        """The nouns whose changes concern it."""
        ...

    @property
    def seen(self) -> bool:
        """Whether somebody looks at it now."""
        ...

    async def hear(self, news: News) -> None:
        """Take in what changed."""
        ...


@dataclass(frozen=True)
class Contact:
    """How the line to the agent is: connecting, live or lost, since when (monotonic seconds), and why."""

    state: str
    since: float
    problem: MlopsError | None = None

    @property
    def age(self) -> float:
        """Seconds since this state began."""
        return time.monotonic() - self.since


class Hub:
    """Listens to the feed and wakes listeners.

    Args:
        door: the client.
        on_contact: called when the line to the agent comes, goes, or has been gone for another period.
        on_event: called with each kept event, for toasts.
        period: seconds between two wakings of one listener.
    """

    def __init__(
        self,
        door: Door,
        on_contact: Callable[[Contact], None],
        on_event: Callable[[Event], None] = lambda event: None,
        period: float = PERIOD_S,
    ) -> None:
        self._door, self._on_contact, self._on_event = door, on_contact, on_event
        self.period = period
        self.paused = False
        self.contact = Contact("connecting", time.monotonic())
        self._listeners: dict[Listener, News] = {}
        self._woken = 0.0
        self._bell = asyncio.Event()
        self._last = 0
        self._all: set[Listener] = set()

    def join(self, listener: Listener) -> None:
        """Begin to gather news for a listener."""
        self._listeners.setdefault(listener, News())
        self._all.add(listener)
        self._bell.set()

    def leave(self, listener: Listener) -> None:
        """Forget a listener."""
        self._listeners.pop(listener, None)
        self._all.discard(listener)

    def ring(self) -> None:
        """Look at once whether anyone who is seen has news."""
        self._bell.set()

    async def run(self) -> None:
        """Listen for ever: follow the feed, and find the agent again when it is gone."""
        waker = asyncio.create_task(self._wake_for_ever())
        pause = 0.2
        try:
            while True:
                try:
                    await self._door.reach()
                    # Whatever happened while nobody listened may concern everyone.
                    self._all.update(self._listeners)
                    self._turn("live")
                    pause = 0.2
                    async for raw in self._door.events(self._last or None):
                        self._gather(Event.read(raw))
                    raise Unreachable("the agent closed the change feed", "", "mlops agent status")
                except MlopsError as problem:
                    self._turn("lost", problem)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
        finally:
            waker.cancel()

    def _gather(self, event: Event) -> None:
        self._last = max(self._last, event.seq)
        if event.seq:
            self._on_event(event)
        ids = frozenset((event.object,))
        # What is kept is also an event, for those who list events.
        news = (
            News({event.topic: ids, "event": frozenset((str(event.seq),))})
            if event.seq
            else News({}, {event.topic: ids})
        )
        for listener, waiting in self._listeners.items():
            if news.touches(*listener.topics):
                self._listeners[listener] = waiting.and_then(news)
        self._bell.set()

    async def _wake_for_ever(self) -> None:
        while True:
            try:
                # While the line is down the age of what is shown grows, and is said.
                await asyncio.wait_for(self._bell.wait(), None if self.contact.state == "live" else self.period)
            except TimeoutError:
                self._on_contact(self.contact)
                continue
            self._bell.clear()
            wait = self._woken + self.period - time.monotonic()
            # A screen that has shown nothing yet does not wait. The first news after a quiet while comes almost at
            # once; a little waiting puts a burst together.
            if not any(listener.seen for listener in self._all):
                await asyncio.sleep(wait if wait > 0 else 0.05)
            if self.contact.state == "live" and not self.paused:
                self._woken = time.monotonic()
                await self._wake()

    async def _wake(self) -> None:
        calls: list[Awaitable[None]] = []
        for listener, waiting in list(self._listeners.items()):
            if listener.seen and (waiting != News() or listener in self._all):
                self._listeners[listener] = News()
                calls.append(listener.hear(waiting.and_then(News(all=listener in self._all))))
                self._all.discard(listener)
        await asyncio.gather(*calls, return_exceptions=True)

    def _turn(self, state: str, problem: MlopsError | None = None) -> None:
        if state != self.contact.state:
            self.contact = Contact(state, time.monotonic(), problem)
        self._bell.set()
        self._on_contact(self.contact)

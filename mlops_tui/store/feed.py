"""The change feed: what happened, in order, to everyone who listens. Screens learn from it and never poll."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable

import msgspec


class Event(msgspec.Struct, kw_only=True):
    """One change. ``seq`` is 0 for a touch (new points, new log lines), which is not kept."""

    seq: int
    ts: int
    actor: str
    topic: str
    object: str
    action: str
    text: str = ""
    link: str = ""
    tenant: str = "default"


class Feed:
    """Fans events out to listeners on any thread; keeps the last thousand for those who reconnect."""

    KEEP = 1000

    def __init__(self) -> None:
        self._recent: deque[Event] = deque(maxlen=self.KEEP)
        self._listeners: set[Callable[[Event], None]] = set()
        self._guard = threading.Lock()
        self._versions: Counter[str] = Counter()

    def version(self, topics: Iterable[str]) -> tuple[int, ...]:
        """Return how often each topic has been published; ``*`` counts every event that is kept, whatever its topic."""
        return tuple(self._versions[topic] for topic in topics)

    def publish(self, events: list[Event]) -> None:
        """Hand events to every listener, in order; a listener must not block."""
        with self._guard:
            self._recent.extend(event for event in events if event.seq)
            for event in events:
                self._versions.update((event.topic, "*") if event.seq else (event.topic,))
            listeners = list(self._listeners)
        for listener in listeners:
            for event in events:
                listener(event)

    def listen(self, listener: Callable[[Event], None], since: int | None = None) -> Callable[[], None]:
        """Call ``listener`` for every event after ``since`` that is still kept, then for each new one.

        Returns a function that ends the listening.
        """
        with self._guard:
            if since is not None:
                for event in self._recent:
                    if event.seq > since:
                        listener(event)
            self._listeners.add(listener)

        def leave() -> None:
            with self._guard:
                self._listeners.discard(listener)

        return leave

    @property
    def readers(self) -> int:
        """How many listen."""
        return len(self._listeners)

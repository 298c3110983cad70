"""The change feed: what happened, in order, to everyone who listens. Screens learn from it and never poll."""

from __future__ import annotations

import threading
from collections import Counter
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
    """Fans events out to listeners on any thread, each event once and in the order in which they were committed."""

    def __init__(self) -> None:
        self._listeners: set[Callable[[Event], None]] = set()
        self._guard = threading.Lock()
        self._versions: Counter[str] = Counter()
        self._told = self._inside = 0

    def version(self, topics: Iterable[str]) -> tuple[int, ...]:
        """Return how often each topic has been published; ``*`` counts every event that is kept, whatever its topic."""
        return tuple(self._versions[topic] for topic in topics)

    def publish(self, events: list[Event]) -> None:
        """Hand events to every listener, in order; one that was handed over before is skipped.

        Listeners must not block: this runs on the writer thread.
        """
        with self._guard:
            fresh = [event for event in events if not event.seq or event.seq > self._told]
            for event in fresh:
                self._told = max(self._told, event.seq)
                self._versions.update((event.topic, "*") if event.seq else (event.topic,))
            listeners = list(self._listeners)
        for listener in listeners:
            for event in fresh:
                listener(event)

    def listen(self, listener: Callable[[Event], None], *, inside: bool = False) -> Callable[[], None]:
        """Call ``listener`` for every new event; what came before is read from the store.

        Args:
            listener: called on the thread that publishes.
            inside: whether the house itself listens, who is no reader that it waits for.

        Returns:
            A function that ends the listening.
        """
        with self._guard:
            self._listeners.add(listener)
            self._inside += inside

        def leave() -> None:
            with self._guard:
                self._listeners.discard(listener)

        return leave

    @property
    def readers(self) -> int:
        """How many listen from outside of the house."""
        return len(self._listeners) - self._inside

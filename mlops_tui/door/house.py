"""The house: what every room shares while the agent runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_tui.core.clock import now_us
from mlops_tui.core.config import Config
from mlops_tui.core.paths import Home
from mlops_tui.door.memo import Memo
from mlops_tui.store.feed import Event, Feed
from mlops_tui.store.listing import Views
from mlops_tui.store.series import SeriesBook
from mlops_tui.store.session import Session
from mlops_tui.store.store import Store

if TYPE_CHECKING:
    from mlops_tui.blobs import Blobs
    from mlops_tui.door.context import Guard
    from mlops_tui.keys import Keys

T = TypeVar("T")


@dataclass
class House:
    """Store, artifacts, keys, feed and settings of one running agent; safe to use from any thread."""

    home: Home
    config: Config
    store: Store
    keys: Keys
    blobs: Blobs
    guard: Guard
    stay: bool = False
    started: int = field(default_factory=now_us)
    feed: Feed = field(default_factory=Feed)
    views: Views = field(default_factory=Views)
    series: SeriesBook = field(default_factory=SeriesBook)
    leaving: threading.Event = field(default_factory=threading.Event)
    _counters: dict[str, int] = field(default_factory=dict)
    _wakers: dict[str, Callable[[], None]] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    ingestor: Any = None
    loopback: Any = None
    journal: Any = None

    def __post_init__(self) -> None:
        self.memo = Memo(self.feed)
        self._outbox: list[Event] = []
        self.store.settled = self._settled

    def read(self, ask: Callable[[Session], T], limit_s: float = 5.0) -> T:
        """Ask the store something on this thread's session."""
        with self.store.read(limit_s) as session:
            return ask(session)

    def next(self, session: Session, table: str) -> int:
        """Return the next sequence number of an append-only table; writer thread only. Gaps may occur."""
        if table not in self._counters:
            self._counters[table] = session.value(f"SELECT coalesce(max(seq), 0) FROM {table}")
        self._counters[table] += 1
        return self._counters[table]

    def post(self, event: Event) -> None:
        """Have an event told as soon as the transaction that is under way is committed; writer thread only."""
        self._outbox.append(event)

    def _settled(self, committed: bool) -> None:
        # On the writer thread, before anybody hears of the commit: so events are told in the order of their numbers.
        self.series.settled(committed)
        events, self._outbox = self._outbox, []
        if committed and events:
            self.feed.publish(events)

    def emptied(self) -> None:
        """Forget what was remembered of a store whose rows are gone."""
        self.series.forget()
        self.memo, self.views = Memo(self.feed), Views()

    def touch(self, topic: str, object: str, tenant: str = "default") -> None:
        """Tell listeners that an object has new points or lines; nothing is kept of it."""
        self.feed.publish(
            [Event(seq=0, ts=now_us(), actor="", topic=topic, object=object, action="touch", tenant=tenant)]
        )

    def wake(self, schedule: str) -> None:
        """Make a schedule run now instead of at its next turn."""
        if waker := self._wakers.get(schedule):
            waker()

    def on_wake(self, schedule: str, waker: Callable[[], None]) -> None:
        """Register how a schedule is woken; the agent does this."""
        self._wakers[schedule] = waker

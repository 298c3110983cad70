"""What an operation's code is given: who calls, the session of its transaction, and ways to tell others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mlops_tui.contracts.operation import Operation, Plan
from mlops_tui.core.clock import now_us
from mlops_tui.core.ids import uuid7
from mlops_tui.store.feed import Event
from mlops_tui.store.session import Session

if TYPE_CHECKING:
    from mlops_tui.blobs import Blobs
    from mlops_tui.core.config import Config
    from mlops_tui.core.paths import Home
    from mlops_tui.door.house import House
    from mlops_tui.keys import Keys

T = TypeVar("T")


@dataclass(frozen=True)
class Caller:
    """Who asks. ``uid`` comes from the socket; ``system`` is the agent itself."""

    name: str
    uid: int
    tenant: str = "default"
    on_behalf_of: str = ""
    reason: str = ""
    request_id: str = field(default_factory=uuid7)
    cwd: str = ""

    @classmethod
    def system(cls, reason: str = "", tenant: str = "default") -> Caller:
        """Return the agent acting by itself, for schedules and reconcilers."""
        return cls("system", -1, tenant, reason=reason)


class Guard(Protocol):
    """What the door asks of governance."""

    def check(self, session: Session, caller: Caller, permission: str) -> None:
        """Return when the caller may, raise NotAllowed with the rule otherwise."""

    def record(self, ctx: Context, operation: Operation[Any, Any], plan: Plan, outcome: str) -> None:
        """Append a call to the audit chain in the caller's transaction."""

    def note(self, ctx: Context, action: str, object: str, outcome: str, text: str) -> None:
        """Append what the agent decided by itself to the audit chain in the caller's transaction."""


@dataclass
class Context:
    """One call. ``session`` belongs to its transaction; ``now`` is one moment for the whole call (µs)."""

    house: House
    caller: Caller
    session: Session
    now: int = field(default_factory=now_us)
    after: list[Callable[[], None]] = field(default_factory=list)

    @property
    def home(self) -> Home:
        return self.house.home

    @property
    def config(self) -> Config:
        return self.house.config

    @property
    def blobs(self) -> Blobs:
        return self.house.blobs

    @property
    def keys(self) -> Keys:
        return self.house.keys

    @property
    def tenant(self) -> str:
        return self.caller.tenant

    def next(self, table: str) -> int:
        """Return the next sequence number of an append-only table."""
        return self.house.next(self.session, table)

    def emit(self, topic: str, object: str, action: str, text: str, link: str = "") -> None:
        """Write an event into the store and hand it to the feed after the commit.

        Args:
            topic: the noun that changed.
            object: its id.
            action: what happened, one past-tense word.
            text: a sentence for the event list.
            link: deep link to the object.
        """
        seq = self.next("event")
        event = Event(
            seq=seq,
            ts=self.now,
            actor=self.caller.name,
            topic=topic,
            object=object,
            action=action,
            text=text,
            link=link,
            tenant=self.tenant,
        )
        self.session.insert(
            "event",
            seq=seq,
            ts_us=self.now,
            tenant=self.tenant,
            actor=self.caller.name,
            topic=topic,
            object=object,
            action=action,
            text=text,
            link=link,
        )
        self.house.post(event)

    def wake(self, schedule: str) -> None:
        """Make a schedule run once this call is committed."""
        self.after.append(lambda: self.house.wake(schedule))

    def link(self, src: str, rel: str, dst: str) -> None:
        """Add an edge to the lineage graph; ids are ``kind:id``."""
        self.session.insert("link", src=src, rel=rel, dst=dst, ts_us=self.now)


def act(house: House, caller: Caller, work: Callable[[Context], T]) -> T:
    """Do ``work`` as ``caller`` in one transaction, and once it is committed what ``work`` has left for then.

    Raises:
        Exception: whatever ``work`` raises; nothing of it remains.
    """
    after: list[Callable[[], None]] = []

    def transaction(session: Session) -> T:
        ctx = Context(house, caller, session)
        answer = work(ctx)
        after.extend(ctx.after)
        return answer

    answer = house.store.write(transaction)
    for step in after:
        step()
    return answer

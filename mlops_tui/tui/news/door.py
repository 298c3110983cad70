"""What the screens need of a client: calls, plans and the change feed. The agent's asynchronous client is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mlops_tui.contracts import Plan


@dataclass(frozen=True)
class Event:
    """One change: ``object`` of noun ``topic`` did ``action``. A touch (new points or lines) has ``seq`` 0."""

    seq: int
    ts: int
    topic: str
    object: str = ""
    action: str = ""
    actor: str = ""
    text: str = ""
    link: str = ""

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Event:
        """Read an event as the feed sends it; what a newer agent adds is left out."""
        return cls(**{name: raw[name] for name in cls.__dataclass_fields__ if name in raw})


class Door(Protocol):
    """The typed, asynchronous client of an agent."""

    async def call(self, operation: str, request: dict[str, Any] | None = None, *, digest: str = "") -> Any:
        """Perform an operation and return its answer; ``digest`` is that of the plan a person has seen."""
        ...

    async def plan(self, operation: str, request: dict[str, Any] | None = None) -> Plan:
        """Return what a change would do, without doing it."""
        ...

    async def reach(self) -> Any:
        """Connect, starting the agent when it is absent."""
        ...

    def events(self, since: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """Follow the change feed from ``since`` on."""
        ...

    async def close(self) -> None:
        """Let the connections go."""
        ...


class LateDoor:
    """A door that is made by its first use: to import the client takes as long as a paint, and the paint goes first."""

    def __init__(self, make: Callable[[], Door]) -> None:
        self._make = make
        self._made: Door | None = None
        self._guard = asyncio.Lock()

    async def _door(self) -> Door:
        async with self._guard:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
        return self._made

    async def call(self, operation: str, request: dict[str, Any] | None = None, *, digest: str = "") -> Any:
        """Perform an operation and return its answer."""
        return await (await self._door()).call(operation, request, digest=digest)

    async def plan(self, operation: str, request: dict[str, Any] | None = None) -> Plan:
        """Return what a change would do."""
        return await (await self._door()).plan(operation, request)

    async def reach(self) -> Any:
        """Connect, starting the agent when it is absent."""
        return await (await self._door()).reach()

    async def events(self, since: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """Follow the change feed."""
        async for event in (await self._door()).events(since):
            yield event

    async def close(self) -> None:
        """Let the connections go, if there are any."""
        if self._made is not None:
            await self._made.close()


def command(name: str, fields: Mapping[str, Any]) -> str:
    """Return the command line that does the same as a call: ``mlops noun verb positional --flag value``."""
    from mlops_tui.contracts import OPERATIONS

    operation = OPERATIONS[name]
    words = ["mlops", operation.noun, operation.verb]
    for key in operation.request.positional:
        words += _words(fields.get(key))
    for key, value in fields.items():
        if key in operation.request.positional or value in ("", None, False):
            continue
        flag = "--" + key.replace("_", "-")
        words += [flag] if value is True else [word for each in _words(value) for word in (flag, each)]
    return " ".join(words)


def _words(value: Any) -> Iterable[str]:
    import shlex

    if value is None or value == "":
        return []
    if isinstance(value, Mapping):
        return [shlex.quote(f"{key}={one}") for key, one in value.items()]
    if isinstance(value, list | tuple):
        return [shlex.quote(str(one)) for one in value]
    return [shlex.quote(str(value))]

"""What the screens need of a client: calls, plans and the change feed. The agent's asynchronous client is one."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from mlops_tui.contracts import OPERATIONS, Plan


class Event(msgspec.Struct, frozen=True):
    """One change: ``object`` of noun ``topic`` did ``action``. A touch (new points or lines) has ``seq`` 0."""

    seq: int
    ts: int
    topic: str
    object: str = ""
    action: str = ""
    actor: str = ""
    text: str = ""
    link: str = ""


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


def command(name: str, fields: Mapping[str, Any]) -> str:
    """Return the command line that does the same as a call: ``mlops noun verb positional --flag value``."""
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
    if value is None or value == "":
        return []
    if isinstance(value, Mapping):
        return [shlex.quote(f"{key}={one}") for key, one in value.items()]
    if isinstance(value, list | tuple):
        return [shlex.quote(str(one)) for one in value]
    return [shlex.quote(str(value))]

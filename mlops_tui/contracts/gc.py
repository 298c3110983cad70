"""Removing for good what was deleted, and files that nothing refers to any more."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from mlops_tui.contracts.operation import Answer, Request, Started, operation


class Collect(Request, frozen=True):
    """What to remove."""

    older_than: Annotated[
        str, Meta(description="only what was deleted, or last stored, so long ago: 30d, 12h, 0d, 2026-11-01")
    ] = "30d"


class Sweep(Request, frozen=True):
    """Where to go on; empty at the beginning."""

    table: str = ""
    below: int = -1


class Swept(Answer):
    """What one piece removed, where the next one begins, and how far the work is, 0 to 1; no table at the end."""

    removed: int
    what: str
    table: str
    below: int
    share: float


collect = operation(
    "gc.run",
    Collect,
    Started,
    permission="gc:run",
    effect="change",
    kind="job",
    help="Remove deleted runs for good, and files that nothing refers to.",
    example="mlops gc --older-than 30d --dry-run",
)
sweep = operation(
    "gc.sweep",
    Sweep,
    Swept,
    permission="gc:run",
    effect="append",
    help="Remove a piece of what belonged to runs that are gone.",
    internal=True,
)

"""Removing for good what was deleted, and files that nothing refers to any more."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from mlops_tui.contracts.operation import Answer, Request, operation


class Collect(Request, frozen=True):
    """What to remove."""

    older_than: Annotated[
        str, Meta(description="only what was deleted, or last stored, so long ago: 30d, 12h, 0d, 2026-11-01")
    ] = "30d"


class Collected(Answer):
    """What was removed; ``bytes`` is what the files took up on disk."""

    runs: int
    experiments: int
    models: int
    points: int
    files: int
    bytes: int
    text: str


collect = operation(
    "gc.run",
    Collect,
    Collected,
    permission="gc:run",
    effect="change",
    help="Remove deleted runs for good, and files that nothing refers to.",
    example="mlops gc --older-than 30d --dry-run",
)

"""Lists: every noun is listed, filtered, sorted and paged the same way, by ``<noun>.list`` or a view."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mlops_tui.contracts.operation import Answer, Operation, Request, operation


class Column(msgspec.Struct, kw_only=True):
    """One column of a list.

    ``kind`` says how a value is shown: text, id, int, float, percent, bytes, time (µs), duration (µs),
    status, flag or spark (a list of numbers).
    """

    name: str
    label: str
    kind: str = "text"
    unit: str = ""


class List(Request, frozen=True):
    """Which rows, in which order."""

    positional = ("filter",)

    filter: Annotated[
        str, Meta(description="words and conditions: 'status:done auc>0.9 (~resnet or lr:1e-4..1e-2)'")
    ] = ""
    sort: Annotated[str, Meta(description="column to sort by; a leading '-' reverses")] = ""
    limit: Annotated[int, Meta(ge=1, le=10_000, description="rows at most")] = 50
    offset: Annotated[int, Meta(ge=0, description="rows to skip")] = 0
    columns: Annotated[list[str], Meta(description="one more column: a metric, parameter, tag or other key")] = (
        msgspec.field(default_factory=list)
    )


class Table(Answer):
    """Rows of a list; the first column is always the id. ``total`` counts all that the filter lets through."""

    noun: str
    columns: list[Column]
    rows: list[list[Any]]
    total: int


def listing(noun: str, help: str, example: str = "") -> Operation[List, Table]:
    """Declare ``<noun>.list``."""
    return operation(f"{noun}.list", List, Table, help=help, example=example)


class OpenView(Request, frozen=True):
    """Ask for an ordered list to be kept, so that pages of it stay the same while one scrolls.

    ``within`` is a filter of the screen, which that of the person narrows; ``columns`` are keys to show beside the
    list's own columns.
    """

    noun: str
    filter: str = ""
    sort: str = ""
    within: str = ""
    columns: list[str] = msgspec.field(default_factory=list)


class View(Answer):
    """A list held by the agent for a while; it expires ten minutes after its last page."""

    view: str
    noun: str
    total: int
    columns: list[Column]


class PageOf(Request, frozen=True):
    """A window of a view."""

    view: str
    offset: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class Page(Answer):
    """Rows ``offset … offset+limit`` in the view's order; a row deleted since is a list of its id and nulls.

    Nobody knows the id of a run that was deleted before it was ever shown: it is empty.
    """

    rows: list[list[Any]]


open_view = operation("view.open", OpenView, View, help="Hold an ordered list for paging.", internal=True)
page_view = operation("view.page", PageOf, Page, help="Read a page of a held list.", internal=True)

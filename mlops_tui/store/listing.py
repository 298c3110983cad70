"""Lists over the store: a room says once how its noun is listed; paging, filtering, sorting and views follow."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from mlops_tui.contracts.listing import Column, Page, Table, View
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.store.filter import compile_filter
from mlops_tui.store.session import Session


@dataclass(frozen=True)
class Listing:
    """How one noun is listed.

    Args:
        noun: the noun.
        source: FROM clause (tables, joins, perhaps a subquery); sees every tenant, ``tenant`` filters it.
        columns: the columns shown; the first is the id.
        expressions: SQL of each column by name; times as ``epoch_us(…)``.
        sort: default order, ``-started`` style.
        tenant: SQL expression of the row's tenant, or empty when the noun has none.
        where: a condition that always holds.
        other: gives SQL and kind of a key that is no column but may be filtered and sorted by, or None.
    """

    noun: str
    source: str
    columns: list[Column]
    expressions: dict[str, str]
    sort: str
    tenant: str = ""
    where: str = "true"
    other: Callable[[Session, str], tuple[str, str] | None] = lambda _session, _key: None

    def select(self, session: Session, tenant: str, filter: str, sort: str, limit: int, offset: int) -> Table:
        """Return a page and the total.

        Raises:
            BadInput: the filter or the sort column cannot be read.
        """
        condition, params = self._condition(session, tenant, filter)
        wanted = ", ".join(self.expressions[column.name] for column in self.columns)
        order = f"ORDER BY {self._order(session, sort)} LIMIT {limit} OFFSET {offset}"
        rows = session.rows(f"SELECT {wanted} FROM {self.source} WHERE {condition} {order}", params)
        total = (
            len(rows)
            if offset == 0 and len(rows) < limit
            else session.value(f"SELECT count(*) FROM {self.source} WHERE {condition}", params)
        )
        return Table(noun=self.noun, columns=self.columns, rows=[list(row) for row in rows], total=total)

    def ids(self, session: Session, tenant: str, filter: str, sort: str) -> Any:
        """Return the ids of all rows in order, as an object array."""
        condition, params = self._condition(session, tenant, filter)
        first = self.expressions[self.columns[0].name]
        return np.array(
            session.column(
                f"SELECT {first} FROM {self.source} WHERE {condition} ORDER BY {self._order(session, sort)}", params
            ),
            dtype=object,
        )

    def page(self, session: Session, ids: list[Any]) -> list[list[Any]]:
        """Return the rows of these ids in this order; a vanished row is its id and nulls."""
        if not ids:
            return []
        wanted = ", ".join(self.expressions[column.name] for column in self.columns)
        first = self.expressions[self.columns[0].name]
        found = {
            row[0]: list(row)
            for row in session.rows(f"SELECT {wanted} FROM {self.source} WHERE {first} IN (SELECT unnest(?))", [ids])
        }
        return [found.get(one) or [one, *[None] * (len(self.columns) - 1)] for one in ids]

    def _condition(self, session: Session, tenant: str, filter: str) -> tuple[str, list[Any]]:
        other = partial(self.other, session)
        condition, params = compile_filter(filter, self.columns, self.expressions, other)
        parts = [f"({self.where})", f"({condition})"]
        if self.tenant:
            parts.append(f"{self.tenant} = ?")
            params = [*params, tenant]
        return " AND ".join(parts), params

    def _order(self, session: Session, sort: str) -> str:
        wanted = sort or self.sort
        name, down = wanted.removeprefix("-"), wanted.startswith("-")
        by = self.expressions.get(name) or (self.other(session, name) or ("",))[0]
        if not by:
            raise BadInput(
                f"cannot sort {self.noun} by {name!r}",
                "there is no such column",
                "sort by one of: " + ", ".join(self.expressions),
            )
        first = self.expressions[self.columns[0].name]
        return f"{by} {'DESC' if down else 'ASC'} NULLS LAST, {first}"


LISTINGS: dict[str, Listing] = {}


def lists(listing: Listing) -> Listing:
    """Enter a listing in the table, so that ``<noun>.list`` and views of it exist."""
    if listing.noun in LISTINGS:
        raise ValueError(f"{listing.noun} is listed twice")
    LISTINGS[listing.noun] = listing
    return listing


@dataclass
class _Held:
    listing: Listing
    ids: Any
    used: float = field(default_factory=time.monotonic)


class Views:
    """Ordered ids that screens page through; a few are kept, each for ten minutes after its last page."""

    KEEP, EXPIRE_S = 16, 600.0

    def __init__(self) -> None:
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._guard = threading.Lock()

    def open(self, session: Session, tenant: str, noun: str, filter: str, sort: str) -> View:
        """Order the noun's rows and keep their ids.

        Raises:
            BadInput: no such noun, filter or sort column.
        """
        listing = LISTINGS.get(noun)
        if listing is None:
            raise BadInput(f"there is no list of {noun!r}", "", "one of: " + ", ".join(sorted(LISTINGS)))
        held = _Held(listing, listing.ids(session, tenant, filter, sort))
        name = uuid7()
        with self._guard:
            self._held[name] = held
            stale = [key for key, other in self._held.items() if time.monotonic() - other.used > self.EXPIRE_S]
            for key in stale:
                del self._held[key]
            while len(self._held) > self.KEEP:
                self._held.popitem(last=False)
        return View(view=name, noun=noun, total=len(held.ids), columns=listing.columns)

    def page(self, session: Session, view: str, offset: int, limit: int) -> Page:
        """Return a window of a held list.

        Raises:
            NotFound: the view has expired; open it again.
        """
        with self._guard:
            held = self._held.get(view)
            if held is None:
                raise NotFound("this list is no longer held", "it expired or the agent was restarted", "open it again")
            held.used = time.monotonic()
            self._held.move_to_end(view)
        return Page(rows=held.listing.page(session, held.ids[offset : offset + limit].tolist()))

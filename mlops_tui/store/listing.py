"""Lists over the store: a room says once how its noun is listed; paging, filtering, sorting and views follow."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlops_tui.contracts.listing import Column, Page, Table, View
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.store.search import Compare, Field, Key, Order, Query, compile_order, compile_query, parse, parse_order
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
        ties: what decides between rows that a sort finds equal; default, the id.
        hidden: keys that are no columns but may be filtered and sorted by.
        other: says what a key is that is neither, or None.
    """

    noun: str
    source: str
    columns: list[Column]
    expressions: dict[str, str]
    sort: str
    tenant: str = ""
    where: str = "true"
    ties: tuple[str, ...] = ()
    hidden: Mapping[str, Field] = field(default_factory=dict)
    other: Callable[[Session, Key], Field | None] = lambda _session, _key: None

    def select(self, session: Session, tenant: str, filter: str, sort: str, limit: int, offset: int) -> Table:
        """Return a page and the total.

        Raises:
            BadInput: the filter or the sort column cannot be read.
        """
        condition, params = self._condition(session, tenant, filter)
        order = self._order(session, sort)
        # Ids first, the rest for the page alone: counting meanwhile costs nearly nothing, counting again costs as much.
        found = session.rows(
            f"SELECT {self.id}, count(*) OVER () FROM {self.source} {order.joins} WHERE {condition}"
            f" ORDER BY {order.by} LIMIT {limit} OFFSET {offset}",
            [*order.params, *params],
        )
        total = found[0][1] if found else 0
        if offset and not found:
            total = session.value(f"SELECT count(*) FROM {self.source} WHERE {condition}", params)
        return Table(
            noun=self.noun, columns=self.columns, rows=self.page(session, [row[0] for row in found]), total=total
        )

    def ids(self, session: Session, tenant: str, filter: str, sort: str) -> Any:
        """Return the ids of all rows in order, as an object array."""
        condition, params = self._condition(session, tenant, filter)
        order = self._order(session, sort)
        sql = f"SELECT {self.id} FROM {self.source} {order.joins} WHERE {condition} ORDER BY {order.by}"
        return np.array(session.column(sql, [*order.params, *params]), dtype=object)

    def page(self, session: Session, ids: list[Any]) -> list[list[Any]]:
        """Return the rows of these ids in this order; a vanished row is its id and nulls."""
        if not ids:
            return []
        wanted = ", ".join(self.expressions[column.name] for column in self.columns)
        found = {
            row[0]: list(row)
            for row in session.rows(f"SELECT {wanted} FROM {self.source} WHERE {self.id} IN (SELECT unnest(?))", [ids])
        }
        return [found.get(one) or [one, *[None] * (len(self.columns) - 1)] for one in ids]

    @property
    def id(self) -> str:
        """SQL of the id: the first column."""
        return self.expressions[self.columns[0].name]

    def _condition(self, session: Session, tenant: str, filter: str) -> tuple[str, list[Any]]:
        condition, params = compile_query(parse(filter), _Keys(self, session))
        parts = [f"({self.where})", f"({condition})"]
        if self.tenant:
            parts.append(f"{self.tenant} = ?")
            params = [*params, tenant]
        return " AND ".join(parts), params

    def _order(self, session: Session, sort: str) -> Order:
        return compile_order(parse_order(sort or self.sort), _Keys(self, session), self.ties or (self.id,))


class _Keys:
    """The keys of a listing: columns, what is hidden beside them, and what the room knows besides."""

    def __init__(self, listing: Listing, session: Session) -> None:
        self.listing, self.session = listing, session
        self.id = listing.id
        self.kinds = {column.name: column.kind for column in listing.columns}

    def field(self, key: Key) -> Field | None:
        names = [key.raw, *([key.name] if key.scope == "attribute" else [])]
        for name in [] if key.figure else names:
            if name in self.kinds:
                return Field(self.listing.expressions[name], self.kinds[name])
            if name in self.listing.hidden:
                return self.listing.hidden[name]
        return self.listing.other(self.session, key)

    def words(self) -> Sequence[str]:
        plain = (column.name for column in self.listing.columns if column.kind in ("text", "id", "status"))
        return [self.listing.expressions[name] for name in plain]

    def known(self) -> Sequence[str]:
        return [*self.kinds, *self.listing.hidden]

    def check(self, query: Query, compare: Compare, field: Field) -> None:
        """Refuse nothing: a list compares whatever can be compared."""


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

"""Lists over the store: a room says once how its noun is listed; paging, filtering, sorting and views follow."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlops_tui.contracts.listing import Column, List, OpenView, Page, Table, View
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.store.extra import COURSE, Course, Extra
from mlops_tui.store.search import (
    Compare,
    Field,
    Key,
    Order,
    Query,
    as_key,
    compile_order,
    compile_query,
    field_of,
    parse,
    parse_order,
)
from mlops_tui.store.search.rows import Question, Wrap, asked, plain, texts
from mlops_tui.store.session import Session

_DELETED = "deleted"
"""The key that speaks of deleted rows, in every list whose rows are deleted softly."""


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
        deleted: SQL of when a row was deleted, NULL if it was not: deleted rows are there only for a filter that speaks
            of them, ``deleted:yes``.
        ties: what decides between rows that a sort finds equal; default, the id.
        hidden: keys that are no columns but may be filtered and sorted by.
        other: says what a key is that is neither, or None.
        curves: the courses of a metric for some ids, for ``metrics.KEY.curve`` as a column.
        place: SQL of where the database has the row, ``r.rowid``. A held list then keeps places and 64-bit hashes
            of ids, 16 bytes a row and no text. Places change now and then: who is not found there, by the hash, is
            looked for by it.
        words: by column, what others call its values: MLflow's FINISHED is our done.
    """

    noun: str
    source: str
    columns: list[Column]
    expressions: dict[str, str]
    sort: str
    tenant: str = ""
    where: str = "true"
    deleted: str = ""
    ties: tuple[str, ...] = ()
    hidden: Mapping[str, Field] = field(default_factory=dict)
    other: Callable[[Session, Key], Field | None] = lambda _session, _key: None
    curves: Callable[[Session, str, list[Any]], dict[Any, list[float | None]]] | None = None
    place: str = ""
    words: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    def select(self, session: Session, tenant: str, request: List) -> Table:
        """Return a page and the total.

        Raises:
            BadInput: the filter, the order or a column cannot be read.
        """
        extra = self.more(session, request.columns)

        def page(wrap: Wrap, source: str) -> Question:
            condition, params = self.condition(session, tenant, request.filter, wrap=wrap)
            order = self._order(session, request.sort, wrap)
            first = order.first(self.id, source, condition, request.limit, request.offset)
            return first, [*order.params, *params]

        # Ids first, the rest for the page alone: counting meanwhile costs nearly nothing, counting again costs as much.
        found = texts(session.rows(*asked(session, self.rows_from(), page)))
        total = found[0][1] if found else 0
        if request.offset and not found:
            condition, params = self.condition(session, tenant, request.filter)
            total = session.value(f"SELECT count(*) FROM {self.rows_from()} WHERE {condition}", params)
        rows = self.page(session, [row[0] for row in found], extra)
        return Table(noun=self.noun, columns=[*self.columns, *(one.column for one in extra)], rows=rows, total=total)

    def ids(self, session: Session, tenant: str, filter: str, sort: str, within: str = "") -> Any:
        """Return the ids of all rows in order, as an array; ``within`` is a filter that ``filter`` narrows."""
        return self.ordered(session, tenant, filter, sort, f"({self.id}) AS id", within)["id"]

    def ordered(
        self, session: Session, tenant: str, filter: str, sort: str, chosen: str, within: str = ""
    ) -> dict[str, Any]:
        """Return what is chosen of all rows in order, as arrays; see :meth:`ids`."""

        def all_rows(wrap: Wrap, source: str) -> Question:
            condition, params = self.condition(session, tenant, filter, within, wrap)
            order = self._order(session, sort, wrap)
            sql = f"SELECT {chosen} FROM {source} {order.joins} WHERE {condition} ORDER BY {order.by}"
            return sql, [*order.params, *params]

        return session.columns(*asked(session, self.rows_from(), all_rows))

    def after(
        self, session: Session, tenant: str, filter: str, order: str, limit: int, token: str = ""
    ) -> tuple[list[Any], str]:
        """Return ids from a place on, and the token of the place after them; empty at the end.

        A token names the last row by what it is ordered by, so that rows that come or go move no page.

        Args:
            session: where to look.
            tenant: whose rows.
            filter: which rows.
            order: as :func:`parse_order` takes it; the list's own order when empty.
            limit: ids at most.
            token: from the call before.

        Raises:
            BadInput: filter, order or token cannot be read.
        """

        def page(wrap: Wrap, source: str) -> Question:
            condition, params = self.condition(session, tenant, filter, wrap=wrap)
            by = self._order(session, order, wrap)
            if token:
                past, places = by.after(by.keyset(token))
                condition, params = f"{condition} AND ({past})", [*params, *places]
            return by.first(self.id, source, condition, limit + 1), [*by.params, *params]

        rows = texts(session.rows(*asked(session, self.rows_from(), page)))
        more = len(rows) > limit
        return [row[0] for row in rows[:limit]], self._order(session, order).token(rows[limit - 1][2:]) if more else ""

    def page(self, session: Session, ids: list[Any], extra: Sequence[Extra | Course] = ()) -> list[list[Any]]:
        """Return the rows of these ids in this order; a vanished row is its id and nulls."""
        return self.shown(session, ids, self._rows(session, self.id, self.id, ids), extra) if ids else []

    def marked(self, session: Session, marks: list[int], places: list[int]) -> dict[int, list[Any]]:
        """Return rows by the hash of their id; see ``place``."""
        mark = f"hash({self.id})"
        found = self._rows(session, mark, self.place, places)
        if missing := [one for one in marks if one not in found]:
            found |= self._rows(session, mark, mark, missing)
        return found

    def shown(
        self, session: Session, ids: list[Any], found: Mapping[Any, list[Any]], extra: Sequence[Extra | Course]
    ) -> list[list[Any]]:
        """Return rows that were found by id in this order, with more columns; a vanished row is its id and nulls."""
        rows = [found.get(one) or [one, *[None] * (len(self.columns) - 1)] for one in ids]
        for values in (one.of(session, self, ids) for one in extra):
            for one, row in zip(ids, rows, strict=True):
                row.append(values.get(one))
        return rows

    def _rows(self, session: Session, by: str, key: str, values: Sequence[Any]) -> dict[Any, list[Any]]:
        wanted = ", ".join(self.expressions[column.name] for column in self.columns)
        sql = f"SELECT {by}, {wanted} FROM {self.rows_from()} WHERE {key} IN (SELECT unnest(?))"
        return {row[0]: list(row[1:]) for row in session.rows(sql, [values])}

    def more(self, session: Session, keys: Sequence[str]) -> list[Extra | Course]:
        """Return columns for keys that are not the list's own.

        Raises:
            BadInput: there is no such key.
        """
        known, resolver = {column.name for column in self.columns}, Keys(self, session)
        found: list[Extra | Course] = []
        for by in parse_order([as_key(key) for key in keys]):
            if by.key.raw in known:
                continue
            if self.curves and by.key.scope == "metric" and by.key.name.endswith(COURSE):
                found.append(Course(Column(name=by.key.raw, label=by.key.raw, kind="spark"), by.key.name))
            elif field := field_of(by.query, by.key, resolver, "column"):
                found.append(Extra(Column(name=by.key.raw, label=by.key.raw, kind=field.kind), field))
        return found

    def rows_from(self) -> str:
        """Return the FROM clause; a list whose rows do not come from the store makes its own."""
        return self.source

    @property
    def id(self) -> str:
        """SQL of the id: the first column."""
        return self.expressions[self.columns[0].name]

    def condition(
        self, session: Session, tenant: str, filter: str, within: str = "", wrap: Wrap = plain
    ) -> tuple[str, list[Any]]:
        """Return the WHERE clause of the rows that a tenant sees, with its parameters; see :func:`asked`."""
        queries = [parse(text) for text in (within, filter) if text]
        made = [compile_query(query, wrap(Keys(self, session))) for query in queries]
        parts = [f"({self.where})", *(f"({one.sql})" for one in made)]
        if self.deleted and not any(_speaks_of_deleted(query) for query in queries):
            parts.append(f"{self.deleted} IS NULL")
        params = [param for one in made for param in one.params]
        if self.tenant:
            parts.append(f"{self.tenant} = ?")
            params = [*params, tenant]
        return " AND ".join(parts), params

    def _order(self, session: Session, sort: str, wrap: Wrap = plain) -> Order:
        return compile_order(parse_order(sort or self.sort), wrap(Keys(self, session)), self.ties or (self.id,))


def _speaks_of_deleted(query: Query) -> bool:
    return any(one.key.raw == _DELETED for one in query.comparisons())


class Keys:
    """The keys of a listing: columns, what is hidden beside them, and what the room knows besides."""

    def __init__(self, listing: Listing, session: Session) -> None:
        self.listing, self.session = listing, session
        self.id = listing.id
        self.kinds = {column.name: column.kind for column in listing.columns}

    def field(self, key: Key) -> Field | None:
        names = [key.raw, *([key.name] if key.scope == "attribute" else [])]
        for name in [] if key.figure else names:
            if name in self.kinds:
                words = self.listing.words.get(name, {})
                return Field(self.listing.expressions[name], self.kinds[name], words=words)
            if name in self.listing.hidden:
                return self.listing.hidden[name]
        if self.listing.deleted and key.raw == _DELETED:
            return Field(f"{self.listing.deleted} IS NOT NULL", "flag")
        if found := self.listing.other(self.session, key):
            return found
        labelled = next((column for column in self.listing.columns if column.label == key.raw), None)
        return Field(self.listing.expressions[labelled.name], labelled.kind) if labelled else None

    def words(self) -> Sequence[str]:
        plain = (column.name for column in self.listing.columns if column.kind in ("text", "id", "status"))
        return [self.listing.expressions[name] for name in plain]

    def known(self) -> Sequence[str]:
        return [*self.kinds, *self.listing.hidden, *([_DELETED] if self.listing.deleted else [])]

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
    """A held list: of its rows the ids, or their hashes and places; then ids of those alone that were shown."""

    listing: Listing
    rows: dict[str, Any]
    extra: list[Extra | Course]
    seen: dict[int, Any] = field(default_factory=dict)
    used: float = field(default_factory=time.monotonic)

    def page(self, session: Session, offset: int, limit: int) -> list[list[Any]]:
        part = {name: column[offset : offset + limit].tolist() for name, column in self.rows.items()}
        if "id" in part:
            return self.listing.page(session, part["id"], self.extra)
        found = self.listing.marked(session, part["mark"], part["place"])
        for at, mark in enumerate(part["mark"], offset):
            if mark in found:
                self.seen[at] = found[mark][0]
        ids = [self.seen.get(at, "") for at in range(offset, offset + len(part["mark"]))]
        return self.listing.shown(session, ids, {row[0]: row for row in found.values()}, self.extra)


class Views:
    """Ordered ids that screens page through; a few are kept, each for ten minutes after its last page."""

    KEEP, EXPIRE_S = 16, 600.0

    def __init__(self) -> None:
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._guard = threading.Lock()

    def open(self, session: Session, tenant: str, request: OpenView) -> View:
        """Order the noun's rows and keep their ids.

        Raises:
            BadInput: no such noun, filter, sort or column.
        """
        listing = LISTINGS.get(request.noun)
        if listing is None:
            raise BadInput(f"there is no list of {request.noun!r}", "", "one of: " + ", ".join(sorted(LISTINGS)))
        extra = listing.more(session, request.columns)
        chosen = f"hash({listing.id}) AS mark, {listing.place} AS place" if listing.place else f"{listing.id} AS id"
        rows = listing.ordered(session, tenant, request.filter, request.sort, chosen, request.within)
        held = _Held(listing, rows, extra)
        name = uuid7()
        with self._guard:
            self._held[name] = held
            stale = [key for key, other in self._held.items() if time.monotonic() - other.used > self.EXPIRE_S]
            for key in stale:
                del self._held[key]
            while len(self._held) > self.KEEP:
                self._held.popitem(last=False)
        columns = [*listing.columns, *(one.column for one in extra)]
        return View(view=name, noun=request.noun, total=len(next(iter(rows.values()))), columns=columns)

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
        return Page(rows=held.page(session, offset, limit))

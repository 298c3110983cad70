"""Searching hot rows: the same question as of the store, asked of one table in memory instead of a join of several.

A question is compiled as ever, by a resolver whose keys are columns of hot rows. What it says of a run ``r`` and its
experiment ``e`` is then put as those columns, and the columns that it needs tell whether a table has them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mlops_tui.store.search.compiler import Field, Resolver
from mlops_tui.store.search.source import Column, column
from mlops_tui.store.search.tree import Compare, Key, Query

if TYPE_CHECKING:
    from mlops_tui.store.session import Session

SOURCE = "run r JOIN experiment e ON e.id = r.experiment_id"
"""The FROM clause whose questions hot rows may answer."""
_WORD = "r.id::VARCHAR"
"""What a question says that looks for a word in every text: of texts the store has dictionaries, and is faster."""
Question = tuple[str, list[Any]]
Wrap = Callable[[Resolver], Resolver]
_SAID = re.compile(r"\bhash\((r)\.id\)|\br\.id(?= (?:AS|ASC|DESC|IS NULL)\b)|\br\.id ([<>]) \?|\b([re])\.(\w+)")


def asked(session: Session, source: str, make: Callable[[Wrap, str], Question]) -> Question:
    """Return a question as it is best asked: of hot rows where there are some, else of the store.

    Args:
        session: where it will be asked, before anything is written in its transaction.
        source: the FROM clause.
        make: returns the question. It compiles with what its first argument makes of a resolver, and its FROM clause is
            its second argument.
    """
    if session.hot is not None and source == SOURCE and session.hot.many:
        warm = _Words()
        sql, params = make(warm.resolver, "hot_rows r")
        put, needed = warm.put(sql)
        if _WORD not in sql and (name := session.hot.rows(needed)) is not None:
            return put.replace("hot_rows r", f"{name} r", 1), params
    return make(plain, source)


def plain(resolver: Resolver) -> Resolver:
    """Return a resolver as it is."""
    return resolver


def texts(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows with ids as the store has them."""
    return [tuple(str(value) if isinstance(value, UUID) else value for value in row) for row in rows]


class _Words:
    """Puts questions as hot rows understand them."""

    def __init__(self) -> None:
        self._known: dict[str, Column] = {}

    def resolver(self, inner: Resolver) -> Resolver:
        return _Warm(inner, self)

    def field(self, field: Field) -> Field:
        """Return a field whose values stand in the row; itself where hot rows have none of its kind."""
        value, there = self._said(field, field.sql), self._said(field, "true")
        if not value:
            return field
        number = field.number and self._said(field, field.number)
        return Field(value, field.kind, number, there=there, source=field.source)

    def _said(self, field: Field, sql: str) -> str:
        if (found := column(field, sql)) is None:
            return ""
        self._known[found.name] = found
        return f"r.{found.name}"

    def put(self, sql: str) -> tuple[str, set[Column]]:
        """Return the question, and the columns that it needs."""
        needed: set[Column] = set()

        def said(match: re.Match[str]) -> str:
            mark, order, of, name = match.groups()
            if mark:
                return "r.h"
            if not name:  # it sorts as its text does, but faster
                return f"r.r_id {order} try_cast(? AS UUID)" if order else "r.r_id"
            if of == "r" and name == "id":
                return "r.r_id::VARCHAR"
            one = self._known.get(name) if of == "r" else None
            one = one or Column("run" if of == "r" else "experiment", name)
            needed.add(one)
            return f"r.{one.name}"

        return _SAID.sub(said, sql), needed


class _Warm:
    """A resolver whose keys in narrow tables are columns of hot rows."""

    def __init__(self, inner: Resolver, words: _Words) -> None:
        self._inner, self._words = inner, words

    @property
    def id(self) -> str:
        return self._inner.id

    def field(self, key: Key) -> Field | None:
        found = self._inner.field(key)
        return found and self._words.field(found)

    def words(self) -> Sequence[str]:
        return self._inner.words()

    def known(self) -> Sequence[str]:
        return self._inner.known()

    def check(self, query: Query, compare: Compare, field: Field) -> None:
        self._inner.check(query, compare, field)

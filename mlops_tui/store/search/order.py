"""Orders: ``-started,auc`` as people write them, ``metrics.auc DESC`` as MLflow's clients do."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from mlops_tui.core.errors import BadInput
from mlops_tui.store.search.compiler import Field, Resolver, field_of
from mlops_tui.store.search.parser import read_key
from mlops_tui.store.search.tree import And, Key, Query, wrong

_DIRECTION = re.compile(r"\s+(asc|desc)\s*$", re.IGNORECASE)

CUT = 10_000
"""Rows up to which the limit of an order's first column is found beforehand."""


class By(NamedTuple):
    """One key of an order, and whether the greatest comes first."""

    query: Query
    key: Key
    down: bool


class Order(NamedTuple):
    """An order in SQL: joins that bring the keys, parameters of the joins, and (expression, down) from first to last.

    Every expression sorts nulls last, whichever its direction. ``said`` are the keys that were asked for.
    """

    joins: str
    params: list[Any]
    columns: list[tuple[str, bool]]
    said: tuple[tuple[str, str, str, bool], ...] = ()

    @property
    def by(self) -> str:
        """The ORDER BY list."""
        return _by(self.columns)

    def first(self, id: str, source: str, where: str, limit: int, offset: int = 0) -> str:
        """Return the SELECT of the first rows: id, how many rows there are in all, the keyset for :meth:`after`.

        A heap that keeps the first rows takes up every row where each is before the last one, as where the newest are
        wanted of rows that lie as they came. So the first column's limit is found alone; what is past it is no row.

        Args:
            id: SQL of the id.
            source: FROM clause; its joins are added. Their parameters come before those of ``where``.
            where: the condition.
            limit: rows at most.
            offset: rows to leave out.
        """
        keys = [(f"k{i}", sql, down) for i, (sql, down) in enumerate(self.columns)]
        (first, _, down), last = keys[0], limit + offset
        past = f"(SELECT {'max' if down else 'min'}({first}, {last})[{last}] FROM found)"
        cut = f"WHERE coalesce({first} {'>=' if down else '<='} {past}, true)" if 0 < last <= CUT else ""
        return f"""
            WITH found AS MATERIALIZED (
              SELECT {id} AS id, {", ".join(f"{sql} AS {name}" for name, sql, _ in keys)}
              FROM {source} {self.joins} WHERE {where})
            SELECT id, (SELECT count(*) FROM found), {", ".join(name for name, _, _ in keys)} FROM found {cut}
            ORDER BY {_by((name, down) for name, _, down in keys)} LIMIT {limit} OFFSET {offset}"""

    def token(self, keyset: Sequence[Any]) -> str:
        """Return a page token: a keyset as text, which means something to the same order alone."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode([self._mark(), *keyset])).decode()

    def keyset(self, token: str) -> list[Any]:
        """Return the keyset of a page token.

        Raises:
            BadInput: it is none, or that of another order.
        """
        try:
            found = msgspec.msgpack.decode(base64.urlsafe_b64decode(token), type=list[int | float | str | bool | None])
            if found[:1] != [self._mark()] or len(found) != len(self.columns) + 1:
                raise ValueError("it belongs to another order")
        except ValueError as error:
            raise BadInput("Invalid page token", str(error), "begin at the first page, and keep the order") from error
        return found[1:]

    def _mark(self) -> int:
        return zlib.crc32(msgspec.json.encode(self.said))

    def after(self, keyset: Sequence[Any]) -> tuple[str, list[Any]]:
        """Return the WHERE clause, with its parameters, of the rows that come after one."""
        either, params, before = [], [], list[Any]()
        equal = ""
        for (sql, down), value in zip(self.columns, keyset, strict=True):
            if value is not None:
                either.append(f"({equal}({sql} {'<' if down else '>'} ? OR {sql} IS NULL))")
                params += [*before, value]
            equal += f"{sql} IS NOT DISTINCT FROM ? AND "
            before.append(value)
        return " OR ".join(either) or "false", params


_TWICE = "`order_by` contains duplicate fields: {}"


def _by(columns: Iterable[tuple[str, bool]]) -> str:
    return ", ".join(f"{sql} {'DESC' if down else 'ASC'} NULLS LAST" for sql, down in columns)


def parse_order(clauses: Sequence[str] | str, dialect: str = "mlops") -> list[By]:
    """Read an order.

    Args:
        clauses: a text with keys and commas between them, or MLflow's list of clauses. ``-key`` or ``key DESC`` puts
            the greatest first.
        dialect: mlops or mlflow.

    Raises:
        BadInput: it cannot be read, or names a key twice.
    """
    texts = _split(clauses) if isinstance(clauses, str) else list(clauses)
    found = [_clause(text, dialect) for text in texts if text.strip() or not isinstance(clauses, str)]
    seen: set[tuple[str, str, str]] = set()
    for by in found:
        name = (by.key.scope, by.key.name, by.key.figure)
        if name in seen:
            raise wrong(by.query.text, by.key.at, _TWICE.format(by.key.raw), dialect, "order")
        seen.add(name)
    return found


def compile_order(order: Sequence[By], resolver: Resolver, ties: Sequence[str]) -> Order:
    """Turn an order into SQL: values first, then NaN, then what has none, whichever direction; then the ties.

    Args:
        order: from :func:`parse_order`.
        resolver: knows the keys.
        ties: expressions that decide between equals, those that go down with `` DESC`` behind them.

    Raises:
        BadInput: there is no such key.
    """
    joins: list[str] = []
    params: list[Any] = []
    columns: list[tuple[str, bool]] = []
    seen: list[Field] = []
    for n, by in enumerate(order):
        field = field_of(by.query, by.key, resolver, "order")
        if field in seen:  # the same key by another of its names
            raise wrong(by.query.text, by.key.at, _TWICE.format(by.key.raw), by.query.dialect, "order")
        seen.append(field)
        if field.many:
            why = f"a row may have several values of {by.key.raw!r}"
            raise wrong(by.query.text, by.key.at, why, by.query.dialect, "order")
        wanted = [field.number, field.sql] if field.number and by.query.dialect == "mlops" else [field.sql]
        join, wanted = bring(f"o{n}", field, wanted, resolver)
        joins.append(join)
        params += field.params if field.table else ()
        for sql in wanted:
            if field.kind == "float":
                columns.append((f"CASE WHEN {sql} IS NULL THEN 2 WHEN isnan({sql}) THEN 1 ELSE 0 END", False))
            columns.append((sql, by.down))
    for tie in ties:
        columns.append((tie.removesuffix(" DESC"), tie.endswith(" DESC")))
    said = tuple((by.key.scope, by.key.name, by.key.figure, by.down) for by in order)
    return Order(" ".join(joins), params, columns, said)


def bring(name: str, field: Field, wanted: Sequence[str], resolver: Resolver) -> tuple[str, list[str]]:
    """Return the join that brings columns of a field's narrow table beside each row, and what they are called then.

    The parameters of the join are those of the field; a field of the row itself needs no join.
    """
    if not field.table:
        return "", list(wanted)
    columns = ", ".join(f"{sql} AS v{i}" for i, sql in enumerate(wanted))
    inside = f"SELECT {field.owner} AS owner, {columns} FROM {field.table} WHERE {field.where}"
    return f"LEFT JOIN ({inside}) {name} ON {name}.owner = {resolver.id}", [f"{name}.v{i}" for i in range(len(wanted))]


def _split(text: str) -> list[str]:
    """Split at commas that stand outside of quotes."""
    return re.findall(r"(?:`[^`]*`|\"[^\"]*\"|[^,])+", text)


def _clause(text: str, dialect: str) -> By:
    found = _DIRECTION.search(text)
    body = text[: found.start()] if found else text
    down = bool(found and found[1].lower() == "desc")
    if dialect == "mlops" and body.lstrip().startswith("-"):
        at = body.index("-")
        body, down = body[:at] + " " + body[at + 1 :], not down
    key, end = read_key(body, dialect)
    if key is None or body[end:].strip():
        raise wrong(text, end, f"Invalid order_by clause {text!r}", dialect, "order")
    return By(Query(text, dialect, And(())), key, down)

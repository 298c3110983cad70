"""Trees into SQL: a resolver says what a key is, this says how a condition on it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, Protocol

from mlops_tui.store.search import values
from mlops_tui.store.search.tree import And, Compare, Key, Node, Not, Or, Query, Value, Word, wrong

TEXT_ENOUGH = 12
"""Columns that an error names before it says that there are more."""
_TEXTS = frozenset(("text", "id", "status"))


class Condition(NamedTuple):
    """A WHERE clause and its parameters."""

    sql: str
    params: list[Any]


class Field(NamedTuple):
    """What a key is in SQL.

    Args:
        sql: the expression to compare.
        kind: text, id, status, flag, int, float, percent, bytes, duration (µs), time (µs), ms (time in ms).
        number: of a text that may be a number, the expression of that number; NULL where it is none.
        table: a narrow table that holds the values, one row an object and key; ``sql`` is then one of its columns.
            Empty: the value stands in the row that is searched.
        owner: column of the narrow table that names the object.
        where: condition that chooses the key's rows of the narrow table.
        params: parameters of ``where``.
        many: an object may have several rows in the narrow table, so that nothing can be sorted by it.
        there: of a value that stands in the row, but is a key's: the expression that is not NULL where the row has it.
        source: what the key turned out to be, for the resolver's own checks.
        words: of a text, what others call one or several of its values.
    """

    sql: str
    kind: str = "text"
    number: str = ""
    table: str = ""
    owner: str = ""
    where: str = "true"
    params: tuple[Any, ...] = ()
    many: bool = False
    there: str = ""
    source: str = ""
    words: Mapping[str, Sequence[str]] = {}


class Resolver(Protocol):
    """Knows the keys of one noun."""

    @property
    def id(self) -> str:
        """SQL of the id of the row that is searched; narrow tables are matched with it."""

    def field(self, key: Key) -> Field | None:
        """Return what a key is, or None when there is nothing of that name."""

    def words(self) -> Sequence[str]:
        """Return the expressions of text in which loose words are looked for."""

    def known(self) -> Sequence[str]:
        """Return the keys to name in an error."""

    def check(self, query: Query, compare: Compare, field: Field) -> None:
        """Refuse a comparison that the dialect does not have."""


def compile_query(query: Query, resolver: Resolver) -> Condition:
    """Turn a filter that was read into SQL.

    Args:
        query: the filter.
        resolver: knows the keys.

    Raises:
        BadInput: an unknown key, or a value that does not fit it, with a caret under the place.
    """
    return _Compiler(query, resolver).node(query.root)


def field_of(query: Query, key: Key, resolver: Resolver, what: str = "filter") -> Field:
    """Return what a key of a filter or an order is.

    Raises:
        BadInput: nothing has that name; the error names what is near.
    """
    if field := resolver.field(key):
        return field
    known = list(resolver.known())
    near = get_close_matches(key.raw, known, n=3, cutoff=0.6)
    more = ", …" if len(known) > TEXT_ENOUGH else ""
    mlflows = query.dialect == "mlflow"
    if mlflows:
        why, listed = f"Invalid attribute key {key.name!r} specified", "Valid keys are"
    else:
        why, listed = f"there is no column {key.raw!r}", "there are"
    hint = f"did you mean {' or '.join(near)}?" if near else f"{listed} {', '.join(known[:TEXT_ENOUGH])}{more}"
    raise wrong(query.text, key.at, f"{why}{'.' if mlflows else ';'} {hint}", query.dialect, what)


class _Compiler:
    def __init__(self, query: Query, resolver: Resolver) -> None:
        self.query, self.resolver = query, resolver

    def node(self, node: Node) -> Condition:
        match node:
            case And(parts) | Or(parts):
                made = [self.node(part) for part in parts]
                joined = (" AND " if isinstance(node, And) else " OR ").join(f"({one.sql})" for one in made)
                return Condition(joined or "true", [param for one in made for param in one.params])
            case Not(part):
                inside = self.node(part)
                return Condition(f"NOT coalesce({inside.sql}, false)", inside.params)
            case Word(value, regex):
                columns = self.resolver.words()
                test = "regexp_matches({}::VARCHAR, ?, 'i')" if regex else "contains(lower({}::VARCHAR), ?)"
                sought = value.text if regex else value.text.lower()
                sql = " OR ".join(test.format(column) for column in columns) or "false"
                return Condition(sql, [sought] * len(columns))
            case Compare():
                return self.compare(node)

    def compare(self, node: Compare) -> Condition:
        field = field_of(self.query, node.key, self.resolver)
        self.resolver.check(self.query, node, field)
        if node.op == "null":
            return self.presence(node, field)
        test = self.test(node, field)
        return self.among(field, Condition(f"NOT ({test.sql})", test.params) if node.negated else test)

    def presence(self, node: Compare, field: Field) -> Condition:
        if field.table or field.there:
            found = self.among(field, Condition("true" if field.table else f"{field.there} IS NOT NULL", []))
            return found if node.negated else Condition(f"NOT ({found.sql})", found.params)
        empty = f"{field.sql} IS NULL"
        if field.kind == "text" and self.query.dialect == "mlops":
            empty = f"coalesce({field.sql}, '') = ''"
        return Condition(f"NOT ({empty})" if node.negated else empty, [])

    def among(self, field: Field, test: Condition) -> Condition:
        """Ask for the objects one of whose rows in the key's narrow table passes the test."""
        if not field.table:
            return test
        sql = f"{self.resolver.id} IN (SELECT {field.owner} FROM {field.table} WHERE {field.where} AND ({test.sql}))"
        return Condition(sql, [*field.params, *test.params])

    def test(self, node: Compare, field: Field) -> Condition:
        text = f"{field.sql}::VARCHAR" if field.kind not in _TEXTS else field.sql
        match node.op:
            case "regex":
                return Condition(f"regexp_matches({text}, ?, 'i')", [node.values[0].text])
            case "like" | "ilike":
                return Condition(f"{text} {node.op.upper()} ?", [node.values[0].text])
            case "between":
                low, high = (self.one(field, op, value) for op, value in zip((">=", "<="), node.values, strict=True))
                return Condition(f"{low.sql} AND {high.sql}", low.params + high.params)
            case ":" | "in":
                return self.any(field, node)
        return self.one(field, node.op, node.values[0])

    def any(self, field: Field, node: Compare) -> Condition:
        """Ask whether one of several values or ranges fits."""
        if field.kind in _TEXTS and not field.number:
            return _among(field, [value.text for value in node.values])
        tests = [self.range(field, value) if node.op == ":" else self.one(field, "=", value) for value in node.values]
        return Condition(" OR ".join(f"({test.sql})" for test in tests), [p for test in tests for p in test.params])

    def range(self, field: Field, value: Value) -> Condition:
        """Ask for ``low..high``, either of which may be left out, or for the value itself."""
        low, dots, high = value.text.partition("..")
        if not dots or value.quoted or not (low or high) or not self.measures(field, low or high):
            return self.one(field, "=", value)
        ends = [(">=", low, value.at), ("<=", high, value.at + len(low) + 2)]
        tests = [self.one(field, op, Value(text, False, at)) for op, text, at in ends if text]
        return Condition(" AND ".join(test.sql for test in tests), [p for test in tests for p in test.params])

    def measures(self, field: Field, text: str) -> bool:
        return field.kind not in _TEXTS or bool(field.number and values.number(text, "") is not None)

    def one(self, field: Field, op: str, value: Value) -> Condition:
        """Ask for one value with = != < <= > >=."""
        if field.kind in values.TIMES:
            return self.time(field, op, value)
        if field.kind == "flag":
            if (said := values.flag(value.text)) is None:
                raise self.query.wrong(value.at, f"{value.text!r} is neither yes nor no")
            return Condition(f"{field.sql} {op} ?", [said])
        if field.kind in values.NUMBERS:
            if (number := values.number(value.text, field.kind)) is None:
                raise self.query.wrong(value.at, f"{value.text!r} is not a number")
            return _number(field.sql, op, number)
        if value.text in field.words and op in ("=", "!="):
            return _among(field, [value.text], "NOT IN" if op == "!=" else "IN")
        number = None if value.quoted or not field.number else values.number(value.text, "")
        if number is None:
            return Condition(f"{field.sql} {op} ?", [value.text])
        as_number = _number(field.number, op, number)
        if op == "=":
            return Condition(f"({as_number.sql} OR {field.sql} = ?)", [*as_number.params, value.text])
        if op == "!=":
            return Condition(f"(coalesce({as_number.sql}, true) AND {field.sql} != ?)", [*as_number.params, value.text])
        return as_number

    def time(self, field: Field, op: str, value: Value) -> Condition:
        """Compare with a span: after a day is after its end, since it is from its beginning on."""
        if field.kind == "ms" and (number := values.number(value.text, "")) is not None:
            return _number(field.sql, op, number)
        if (said := values.span(value.text)) is None:
            raise self.query.wrong(value.at, f"{value.text!r} is no time: -7d, today, 2026-11-26, 2026-11-26T08:10")
        unit = 1000 if field.kind == "ms" else 1
        begin, end = (-(-edge // unit) for edge in said)
        match op:
            case "=":
                return Condition(f"({field.sql} >= ? AND {field.sql} < ?)", [begin, end])
            case "!=":
                return Condition(f"({field.sql} < ? OR {field.sql} >= ?)", [begin, end])
            case ">" | "<=":
                return Condition(f"{field.sql} {'>=' if op == '>' else '<'} ?", [end])
            case _:
                return Condition(f"{field.sql} {op} ?", [begin])


def _among(field: Field, said: Sequence[str], op: str = "IN") -> Condition:
    meant = [one for text in said for one in field.words.get(text, (text,))]
    return Condition(f"{field.sql} {op} ({', '.join('?' * len(meant))})", meant)


def _number(sql: str, op: str, number: float) -> Condition:
    """Compare numbers as IEEE and MLflow do: NaN is greater than nothing, though the database sorts it last."""
    if op in (">", ">="):
        return Condition(f"({sql} {op} ? AND {sql} <= 'infinity'::DOUBLE)", [number])
    return Condition(f"{sql} {op} ?", [number])

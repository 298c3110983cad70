"""What MLflow's own search allows, entity by entity: its attributes, its comparators, and which values they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlops_tui.store.search.compiler import Field
from mlops_tui.store.search.tree import Compare, Key, Query, Value
from mlops_tui.store.search.values import NUMBERS, TIMES, number, span

_ORDERED = frozenset(("<", "<=", ">", ">="))


@dataclass(frozen=True)
class Entity:
    """A kind of thing as MLflow's clients search it; a :class:`Resolver` for the dialect ``mlflow``.

    Args:
        id: SQL of the id of the row that is searched.
        attributes: what ``attributes.KEY`` or a bare ``KEY`` may be. Text compares as text, ``ms`` and numbers want a
            number without quotes.
        metrics: rows of a metric: its ``where`` gets the key as its last parameter; None: it has no metrics.
        params: rows of a parameter, likewise.
        tags: rows of a tag, likewise.
        datasets: rows of a used data set by key (name, digest, context).
        special: fields of single tags that are kept elsewhere (``mlflow.runName``).
        aliases: other names of attributes.
    """

    id: str
    attributes: Mapping[str, Field]
    metrics: Mapping[str, Field] = field(default_factory=dict)
    params: Field | None = None
    tags: Field | None = None
    datasets: Mapping[str, Field] = field(default_factory=dict)
    special: Mapping[str, Field] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def field(self, key: Key) -> Field | None:
        """Return what a key is, or None when the entity has nothing of that name."""
        match key.scope:
            case "metric":
                found = self.metrics.get(key.figure or "last")
            case "param":
                found = self.params
            case "tag":
                if special := self.special.get(key.name):
                    return special._replace(source="tag")
                found = self.tags
            case "dataset":
                found = self.datasets.get(key.name)
                return found and found._replace(source="dataset")
            case _:
                found = self.attributes.get(self.aliases.get(key.name, key.name))
                return found and found._replace(source="attribute")
        return found and found._replace(source=key.scope, params=(*found.params, key.name))

    def words(self) -> Sequence[str]:
        """Return nothing: this dialect has no loose words."""
        return ()

    def known(self) -> Sequence[str]:
        """Return the keys that do not depend on what was logged."""
        return [*self.attributes, *(f"dataset.{key}" for key in self.datasets)]

    def check(self, query: Query, compare: Compare, field: Field) -> None:
        """Refuse what MLflow refuses: a comparator that a key does not take, a value of the wrong kind."""
        if compare.op == "null" and field.source not in ("tag", "param"):
            why = "IS NULL / IS NOT NULL is only supported for tags and params"
            raise query.wrong(compare.at, f"{why}, not for {_said(compare.key, field)}")
        measured = field.kind in NUMBERS or field.kind in TIMES
        if measured and compare.op in ("like", "ilike"):
            raise query.wrong(compare.at, f"Invalid comparator {compare.op.upper()!r} for a number")
        for value in compare.values:
            if measured and not _is_number(value, field):
                raise query.wrong(value.at, f"Expected numeric value type for {_said(compare.key, field)}")
            if not measured and not value.quoted and not self._numeric(compare, field, value):
                if compare.op == "in":
                    why = "expected string value, punctuation, or whitespace, but got different type in list"
                    raise query.wrong(value.at, f"While parsing a list in the query, {why}")
                if number(value.text, "") is None:
                    why = "is either not quoted or unidentified quote types used for string value"
                    raise query.wrong(value.at, f"Parameter value {why} {value.text}")
                raise query.wrong(value.at, f"Expected a quoted string value for {_said(compare.key, field)}")
            if not measured and value.quoted and compare.op in _ORDERED:
                raise query.wrong(compare.at, f"Invalid comparator {compare.op!r} for text")

    def _numeric(self, compare: Compare, field: Field, value: Value) -> bool:
        """Tell whether a text is compared as a number: ``params.lr > 0.01``, which MLflow does not have."""
        comparable = compare.op in _ORDERED or compare.op in ("between", "in", "=", "!=")
        return bool(field.number) and comparable and number(value.text, "") is not None


def _is_number(value: Value, field: Field) -> bool:
    """Tell whether a value fits a number; a date in quotes fits a time, which MLflow does not have."""
    if value.quoted:
        return field.kind in TIMES and number(value.text, "") is None and span(value.text) is not None
    return number(value.text, "") is not None


def _said(key: Key, field: Field) -> str:
    return f"{field.source or 'attribute'} {key.name!r}"

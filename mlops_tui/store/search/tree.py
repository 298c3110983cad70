"""What a filter says, as a tree. Every key, value and operator remembers where it stands, for the caret of an error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from mlops_tui.core.errors import BadInput

SCOPES = {
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), "param"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
    **dict.fromkeys(("dataset", "datasets"), "dataset"),
}
"""What may stand before the dot of a key, and what it means."""

FIGURES = ("last", "min", "max", "count")
"""Figures of a metric over its run: ``min(loss)``, or ``loss.min`` where nothing is called that."""


class Key(NamedTuple):
    """The left side of a comparison.

    ``scope`` is metric, param, tag, attribute, dataset or empty; ``raw`` the key as it was typed, with its scope and
    without quotes; ``figure`` one of :data:`FIGURES` or empty; ``at`` where it begins.
    """

    scope: str
    name: str
    raw: str
    figure: str
    at: int


class Value(NamedTuple):
    """A right side, without its quotes."""

    text: str
    quoted: bool
    at: int


@dataclass(frozen=True)
class Compare:
    """A condition: ``op`` is = != < <= > >= : like ilike regex in between null.

    ``:`` takes one value or several, each of which may be a range ``low..high``. ``negated`` is that of *not in*,
    *not like*, ``!~`` and *is not null*: the key is there, and its value does not fit.
    """

    key: Key
    op: str
    values: tuple[Value, ...]
    negated: bool
    at: int


@dataclass(frozen=True)
class Word:
    """Text, or a regular expression, that may stand in any column of text."""

    value: Value
    regex: bool


@dataclass(frozen=True)
class And:
    """All of these; none of them is everything."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Or:
    """Any of these."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Not:
    """What this does not choose, also for want of a value."""

    part: Node


Node = Compare | Word | And | Or | Not


@dataclass(frozen=True)
class Query:
    """A filter that was read: its text, the dialect it was read in, and its tree."""

    text: str
    dialect: str
    root: Node

    def comparisons(self) -> Iterator[Compare]:
        """Yield the comparisons in it, from left to right."""
        pending: list[Node] = [self.root]
        while pending:
            node = pending.pop()
            if isinstance(node, Compare):
                yield node
            elif isinstance(node, Not):
                pending.append(node.part)
            elif isinstance(node, And | Or):
                pending.extend(reversed(node.parts))

    def wrong(self, at: int, why: str) -> BadInput:
        """Return the error that points at a place of it."""
        return wrong(self.text, at, why, self.dialect)


def wrong(text: str, at: int, why: str, dialect: str = "mlops", what: str = "filter") -> BadInput:
    """Return the error for a filter or an order that cannot be read, with a caret under the place."""
    line = "".join(" " if c.isspace() else c for c in text)
    example = _EXAMPLES[what, dialect]
    head = "Invalid filter string" if (what, dialect) == ("filter", "mlflow") else f"cannot read the {what}"
    return BadInput(f"{head}: {why}", f"{line}\n{' ' * at}^", f"for example: {example}")


_EXAMPLES = {
    ("filter", "mlops"): "status:done auc>0.9 (lr:1e-4..1e-2 or ~resnet) started>-7d",
    ("filter", "mlflow"): "metrics.auc > 0.9 AND params.lr = '0.1' AND attributes.status = 'FINISHED'",
    ("order", "mlops"): "-started, auc",
    ("order", "mlflow"): "metrics.auc DESC",
    ("column", "mlops"): "metrics.auc, params.lr, git.branch",
}

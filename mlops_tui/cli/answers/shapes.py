"""What an answer looks like before any format: facts, tables and lines of text, made from its fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mlops_tui.contracts.agent import HomeSnapshot, Rows
from mlops_tui.contracts.analysis import ImportanceAnswer, Trials
from mlops_tui.contracts.listing import Column, Table
from mlops_tui.contracts.load import ServedCurves
from mlops_tui.contracts.model import LineageGraph
from mlops_tui.contracts.monitor import Bins
from mlops_tui.contracts.operation import Done, Plan, Started
from mlops_tui.contracts.rollout import Check, Rollout
from mlops_tui.contracts.run import CompareRow, Comparison, Curves, LogLines
from mlops_tui.core.figures import odds, share
from mlops_tui.core.kinds import kind_of, label_of

_IN_GRIDS = {"run": "id", "digest": "digest"}
LONG = 600
"""Characters of one value that a screen still shows."""
BAR = 20
"""Cells of the longest bar."""


@dataclass
class Facts:
    """Named values of one thing; a value is (label, kind, value)."""

    title: str
    values: list[tuple[str, str, Any]] = field(default_factory=list)


@dataclass
class Grid:
    """Rows under columns."""

    title: str
    columns: list[Column]
    rows: list[list[Any]]


@dataclass
class Lines:
    """Text as it is."""

    text: list[str]


Block = Facts | Grid | Lines


def blocks_of(answer: Any) -> list[Block]:
    """Return the blocks of an answer, in the order in which a person wants to read them."""
    for kind, make in _SPECIAL.items():
        if isinstance(answer, kind):
            return make(answer)
    values = answer if isinstance(answer, dict) else msgspec.to_builtins(answer)
    return _generic(values)


def _generic(values: dict[str, Any], title: str = "") -> list[Block]:
    facts = Facts(title)
    rest: list[Block] = []
    for name, value in values.items():
        label = f"{title} {label_of(name)}".strip()
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rest.append(grid_of(label, value))
        elif isinstance(value, dict) and value and not title:
            rest.extend(_dictionary(label, value))
        else:
            # A nested dictionary's keys are people's own names: parameters, metrics, tags.
            facts.values.append(_fact(name, value, name if title else label_of(name)))
    return [facts, *rest] if facts.values else rest


def grid_of(title: str, rows: list[dict[str, Any]]) -> Grid:
    """Return records as a grid of the fields that any of them has; what is nested deeper is left to JSON."""
    order = list(dict.fromkeys(name for row in rows for name in row))
    deep = {name for row in rows for name, value in row.items() if _deep(value)}
    names: dict[str, str] = {}
    for row in rows:
        names |= {
            name: _IN_GRIDS.get(name) or kind_of(name, value) for name, value in row.items() if value or value == 0
        }
    known = [name for name in order if name in names and name not in deep]
    columns = [Column(name=name, label=label_of(name), kind=names[name]) for name in known]
    return Grid(title, columns, [[row.get(name) for name in known] for row in rows])


def _deep(value: Any) -> bool:
    """Tell whether a value holds more than one level: no line of a screen shows that."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(isinstance(one, dict | list) for one in inner)


def _dictionary(title: str, values: dict[str, Any]) -> list[Block]:
    inner = [value for value in values.values() if isinstance(value, dict)]
    if len(inner) == len(values):
        names = {name for value in inner for name in value}
        if sum(map(len, inner)) * 2 > len(inner) * len(names):
            return [grid_of(title, [{"name": name, **value} for name, value in values.items()])]
        values = {f"{outer} {name}": one for outer, value in values.items() for name, one in value.items()}
    return _generic(values, title)


def _fact(name: str, value: Any, label: str) -> tuple[str, str, Any]:
    """Return a named value; a yes or no is a word here, not a mark as in a column."""
    kind = kind_of(name, value)
    if _deep(value):
        return label, "text", f"{len(value)} values, in --json"
    text = value if isinstance(value, str) else "".join(map(str, value.values())) if isinstance(value, dict) else ""
    if len(text) > LONG:
        return label, "text", f"{len(text):,} characters, in --json"
    return label, "text" if kind == "flag" else kind, value


def _table(answer: Table) -> list[Block]:
    return [Grid("", answer.columns, answer.rows)]


def _rows(answer: Rows) -> list[Block]:
    names: list[str] = []
    for name in answer.columns:
        names.append(name if name not in names else f"{name}_{sum(one.startswith(name) for one in names) + 1}")
    firsts = [next((row[i] for row in answer.rows if row[i] is not None), None) for i in range(len(names))]
    kinds = ["float" if type(value) is float else "text" for value in firsts]
    columns = [Column(name=name, label=name, kind=kind) for name, kind in zip(names, kinds, strict=True)]
    return [Grid("", columns, answer.rows)]


def _home(answer: HomeSnapshot) -> list[Block]:
    """What needs a person first, what runs next, how much there is last."""
    values = msgspec.to_builtins(answer)
    order = ("attention", "jobs", "traffic", "drift", "runs", "host", "events")
    blocks = [block for name in order if (inner := values.pop(name)) for block in _generic({name: inner})]
    if not answer.attention:
        blocks.insert(0, Lines(["nothing needs you"]))
    return [*blocks, *_generic(values)]


def _comparison(answer: Comparison) -> list[Block]:
    columns = [Column(name="what", label=""), Column(name="key", label="")]
    columns += [
        Column(name=run, label=name or run, kind="number") for run, name in zip(answer.runs, answer.names, strict=True)
    ]
    others = list(zip(answer.runs, answer.names, strict=True))[1:] if len(answer.runs) < 5 else []
    columns += [Column(name=f"{run} Δ", label=f"Δ {name or run}", kind="float") for run, name in others]
    rows = [[row.what, row.key, *row.values, *(_changes(row) if others else ())] for row in answer.rows]
    return [Grid("", columns, rows)]


def _changes(row: CompareRow) -> list[float | None]:
    """Return how far a metric of each other run is from that of the first."""
    base, *others = row.values
    known = row.what == "metric" and isinstance(base, int | float)
    return [other - base if known and isinstance(other, int | float) else None for other in others]


def _curves(answer: Curves) -> list[Block]:
    figures = [
        {
            "metric": curve.key,
            "points": curve.n,
            "first step": curve.step[0] if curve.step else None,
            "last step": curve.step[-1] if curve.step else None,
            "min": min((one for one in curve.min if one is not None), default=None),
            "max": max((one for one in curve.max if one is not None), default=None),
            "last": curve.mean[-1] if curve.mean else None,
            "curve": curve.mean,
        }
        for curve in answer.curves
    ]
    grid = grid_of("", figures)
    for column in grid.columns:
        column.kind = "spark" if column.name == "curve" else column.kind
    return [grid]


def _served(answer: ServedCurves) -> list[Block]:
    """A line a revision: its sums, its newest latencies, and their course; the points are in the JSON."""
    points = [one for one in answer.points if one.requests]
    rows: list[list[Any]] = []
    for name in dict.fromkeys(one.revision for one in points):
        own = [one for one in points if one.revision == name]
        asked, failed = sum(one.requests for one in own), sum(one.errors for one in own)
        course = [one.p95_ms for one in own]
        rate = [one.requests / answer.width_s for one in own]
        rows.append(
            [name, asked, failed, 100 * failed / asked, own[-1].p50_ms, own[-1].p95_ms, course, rate, own[-1].ts]
        )
    kinds = {"requests": "int", "errors": "int", "%": "percent", "last": "time", "p95 course": "spark"}
    kinds |= {"p50 ms": "float", "p95 ms": "float", "requests/s": "spark"}
    names = ("revision", "requests", "errors", "%", "p50 ms", "p95 ms", "p95 course", "requests/s", "last")
    columns = [Column(name=name, label=name, kind=kinds.get(name, "text")) for name in names]
    facts = [
        ("deployment", "text", answer.deployment),
        ("since", "time", answer.since),
        ("until", "time", answer.until),
    ]
    points_are = ("a point is", "duration", int(answer.width_s * 1e6))
    return [Facts("", [*facts, points_are]), Grid("", columns, rows)]


def _importance(answer: ImportanceAnswer) -> list[Block]:
    """How well the parameters explain the metric, then each with a bar."""
    widest = max((one.importance for one in answer.params), default=0.0) or 1.0
    rows: list[list[Any]] = [
        [one.param, "█" * round(BAR * one.importance / widest), 100 * one.importance, 100 * one.error,
         one.correlation, one.values, one.best]
        for one in answer.params
    ]  # fmt: skip
    kinds = {"importance": "percent", "±": "percent", "correlation": "float", "values": "int"}
    names = ("param", "bar", "importance", "±", "correlation", "values", "best")
    columns = [Column(name=name, label="" if name == "bar" else name, kind=kinds.get(name, "text")) for name in names]
    facts = [("metric", "text", answer.metric), ("runs", "int", answer.runs)]
    facts += [("explained", "percent", 100 * answer.explained), ("method", "text", answer.method)]
    return [Facts("", facts), Grid("", columns, rows)]


def _trials(answer: Trials) -> list[Block]:
    """A line a run, the best first: its metric, then the parameters that differ."""
    rows: list[list[Any]] = [
        [name, value, *(values[i] for values in answer.params.values())]
        for i, (name, value) in enumerate(zip(answer.names, answer.values, strict=True))
    ]
    metric = answer.metric.strip("`").removeprefix("metrics.")
    columns = [Column(name="run", label="run"), Column(name=metric, label=metric, kind="float")]
    return [Grid("", [*columns, *(Column(name=key, label=key) for key in answer.params)], rows)]


def _bins(answer: Bins) -> list[Block]:
    rows: list[list[Any]] = [
        [label, 100 * reference, 100 * live, 100 * (live - reference)]
        for label, reference, live in zip(answer.labels, answer.reference, answer.live, strict=True)
    ]
    columns = [Column(name="bin", label=answer.feature)]
    columns += [Column(name=name, label=name, kind="percent") for name in ("reference", "live", "difference")]
    facts = Facts("", [("rows of the reference", "int", answer.n_reference), ("live rows", "int", answer.n_live)])
    return [facts, Grid("", columns, rows)]


def _lineage(answer: LineageGraph) -> list[Block]:
    lines = []
    for node in answer.nodes:
        relation = f"{node.relation} " if node.relation else ""
        lines.append("  " * node.depth + f"{relation}{node.kind} {node.name or node.id}")
    return [Lines(lines)]


def _plan(answer: Plan) -> list[Block]:
    blocks: list[Block] = [Lines([answer.text])]
    if answer.changes:
        columns = [Column(name=name, label=name) for name in ("object", "field", "before", "after")]
        blocks.append(Grid("", columns, [[one.object, one.field, one.before, one.after] for one in answer.changes]))
    notes = [f"! {warning}" for warning in answer.warnings]
    if answer.approvals:
        notes.append(f"! needs {answer.approvals} approval{'s' if answer.approvals > 1 else ''}")
    return [*blocks, Lines(notes)] if notes else blocks


def track(answer: Rollout) -> str:
    """Return the steps of a rollout with the one where it stands in brackets: ``5 % [25 %] 50 % 100 %``."""
    stops = [*(step.text for step in answer.steps), "100 %"]
    at = len(stops) - 1 if answer.state in ("Promoting", "Baking", "Succeeded") else answer.step
    return " ".join(f"[{stop}]" if number == at else stop for number, stop in enumerate(stops))


def check_cells(check: Check) -> list[str]:
    """Return a check of a rollout in words: its name, both sides, evidence of harm and of safety, what is needed."""
    name = check.event if check.kind == "harm" else f"{check.kind} {check.event}"
    sides = ((check.bad_stable, check.n_stable), (check.bad_canary, check.n_canary))
    shares = [f"{share(bad / n, 2)} of {n:,}" if n else "–" for bad, n in sides]
    return [name, *shares, *(odds(log_e) for log_e in (check.log_e_harm, check.log_e_safe, check.log_needed))]


CHECK = ("check", "stable", "new version", "harm e", "safe e", "needed")
"""What :func:`check_cells` returns."""


def _rollout(answer: Rollout) -> list[Block]:
    """Return where a rollout stands and why, its checks as e-values, and what happened; its looks are in the JSON."""
    facts = Facts("")
    facts.values = [
        ("id", "id", answer.id),
        ("deployment", "text", answer.deployment),
        ("change", "text", f"{answer.stable} → {answer.canary}, {answer.digest[:12]}"),
        ("strategy", "text", answer.strategy),
        ("state", "status", answer.state),
        ("steps", "text", track(answer)),
        ("why", "text", answer.why),
        *([("shadow", "text", answer.compared)] if answer.compared else []),
        *([("can see", "text", answer.sees)] if answer.sees else []),
        ("started", "time", answer.started),
        ("by", "text", answer.actor),
        ("watched", "duration", int(answer.watched_s * 1e6)),
        ("deadline", "duration", int(answer.deadline_s * 1e6)),
    ]
    columns = [Column(name=name, label=name, kind="text") for name in CHECK]
    columns += [Column(name="verdict", label="verdict", kind="status"), Column(name="text", label="text", kind="text")]
    rows = [[*check_cells(one), one.verdict, one.text.partition(": ")[2]] for one in answer.checks]
    checks = [Grid("checks", columns, rows)] if rows else []
    return [facts, *checks, grid_of("events", msgspec.to_builtins(answer.events))]


_SPECIAL: dict[type, Callable[[Any], list[Block]]] = {
    Table: _table,
    Rows: _rows,
    LogLines: lambda answer: [Lines(answer.lines)],
    Done: lambda answer: [Lines([answer.text])],
    Started: lambda answer: [Lines([answer.text])],
    Plan: _plan,
    HomeSnapshot: _home,
    Comparison: _comparison,
    Curves: _curves,
    ServedCurves: _served,
    ImportanceAnswer: _importance,
    Trials: _trials,
    Bins: _bins,
    LineageGraph: _lineage,
    Rollout: _rollout,
}

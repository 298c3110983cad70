"""A run as lines: what it is, its figures, its files, where it came from and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_tui.contracts.run import ArtifactRef, Metric, Run
from mlops_tui.core import clock
from mlops_tui.core.ids import short
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing import words
from mlops_tui.tui.drawing.text import Line, Part, grid, join, line, width, wrap
from mlops_tui.tui.widgets.lines import Row

_OURS = ("mlflow.", "mlops.", "env.")
"""What the names of tags begin with that no person has set."""


def drawable(metrics: Sequence[Metric]) -> list[str]:
    """Return the metrics with more than one point, a loss before the others, then by name."""
    found = [one.key for one in metrics if one.n > 1]
    return sorted(found, key=lambda key: ("loss" not in key, key.rpartition("/")[2] == "epoch", key))


def about(run: Run) -> list[Line]:
    """Return state, place and origin in one line, and what went wrong or was run in the other."""
    facts = [
        words.state(run.status),
        line(("experiment ", "dim"), run.experiment),
        line(("took ", "dim"), fmt.duration(took(run))),
        line((fmt.when(run.started), "dim")),
        line(("by ", "dim"), run.actor),
        line(("on ", "dim"), run.host),
        code(run),
        line(("★ ", "accent"), ", ".join(run.models)) if run.models else (),
        line(("deleted", "fail")) if run.deleted else (),
    ]
    return [join(facts, "   "), line((f"✖ {run.error}", "fail")) if run.error else line((run.command, "dim"))]


def outline(run: Run, cells: int) -> list[Line]:
    """Return a run's state and last figures as a column."""
    head: list[list[Part]] = [
        [("state", "dim"), words.state(run.status)],
        [("took", "dim"), fmt.duration(took(run))],
        [("by", "dim"), line(run.actor, (f"  {run.host}", "dim"))],
    ]
    if run.error:
        head.append([("error", "dim"), (run.error, "fail")])
    if run.git_sha:
        head.append([("code", "dim"), code(run)])
    if run.note:
        head.append([("note", "dim"), run.note])
    found = sorted(run.metrics, key=lambda metric: metric.key)
    last: list[list[Part]] = [[(one.key, "dim"), fmt.number(one.last, 4), _odd(one)] for one in found]
    return [*grid(head), (), *grid(last, "lrl", room=cells, give=0)]


def took(run: Run) -> int:
    """Return how long a run took, or has taken until now (or until it was heard of last, if it is lost), in µs."""
    until = clock.now_us() if run.status == "running" else run.ended or run.heartbeat or run.started
    return max(0, until - run.started)


def code(run: Run) -> Line:
    """Return the commit that a run was made from, and whether the files were as committed."""
    if not run.git_sha:
        return ()
    return line(run.git_sha[:8], (" dirty", "warn") if run.git_dirty else (" clean", "dim"))


def figures(metrics: Sequence[Metric], cells: int) -> list[Row]:
    """Return the last figure of each metric, its range where there is room; curves lead to their drawing."""
    if not metrics:
        return []
    found = sorted(metrics, key=lambda metric: metric.key)
    body: list[list[Part]] = [["", ("last", "dim"), "", ("min", "dim"), ("max", "dim")]]
    for one in found:
        ends: list[Part] = [(fmt.number(one.min), "dim"), (fmt.number(one.max), "dim")] if one.n > 1 else ["", ""]
        body.append([one.key, fmt.number(one.last, 4), _odd(one), *ends])
    if not any(one.nonfinite for one in found):
        body = [[*row[:2], *row[3:]] for row in body]
    aligned = "lrlrr" if any(one.nonfinite for one in found) else "lrrr"
    if not any(one.n > 1 for one in found) or max(map(width, grid(body, aligned))) > cells:
        body = [row[:-2] for row in body]
    head, *made = grid(body, aligned, room=cells, give=0)
    rows = [
        Row(told, one.key if one.n > 1 else "", "" if one.last is None else repr(one.last))
        for told, one in zip(made, found, strict=True)
    ]
    return [Row(head), *rows]


def params(run: Run, cells: int) -> list[Row]:
    """Return the parameters by name; each row has its value whole."""
    return _pairs(sorted(run.params.items()), cells)


def _pairs(pairs: Sequence[tuple[str, str]], cells: int) -> list[Row]:
    rows: list[list[Part]] = [[(key, "dim"), value] for key, value in pairs]
    return [Row(made, value=value) for made, (_, value) in zip(grid(rows, room=cells), pairs, strict=True)]


def files(found: Sequence[ArtifactRef], cells: int) -> list[Row]:
    """Return a line a file; each leads to what is in it."""
    rows: list[list[Part]] = [[one.path, (fmt.size(one.size), "dim")] for one in found]
    return [Row(made, one.path) for made, one in zip(grid(rows, "lr", room=cells, give=0), found, strict=True)]


def lineage(run: Run, cells: int) -> list[Row]:
    """Return where a run came from and what came of it, its note, and the tags that people set."""
    rows = [
        Row(line(("data   ", "dim"), one.name, (f"  {one.context}", "faint")), f"data:{one.name}")
        for one in run.datasets
    ]
    rows += [Row(line(("model  ", "dim"), name), f"version:{name}") for name in run.models]
    rows += [Row(line(("made   ", "dim"), one.name, (f"  {one.id}", "faint")), value=one.id) for one in run.logged]
    if run.children:
        rows.append(Row(line(("parts  ", "dim"), f"{run.children:,} runs")))
    if run.job:
        rows.append(Row(line(("job    ", "dim"), short(run.job)), f"job:{run.job}"))
    if run.parent:
        rows.append(Row(line(("parent ", "dim"), short(run.parent)), f"run:{run.parent}"))
    if fork := run.tags.get("mlops.fork"):
        other, _, step = fork.partition("@")
        at = ((f"  up to step {step}", "faint"),) if step else ()
        rows.append(Row(line(("fork   ", "dim"), short(other), *at), f"run:{other}"))
    told = wrap(run.note, cells) if run.note else [line(("no note yet", "faint"))]
    note = [Row(each, value=run.note) for each in told]
    tags = [(key, value) for key, value in sorted(run.tags.items()) if not key.startswith(_OURS)]
    return [*rows, *note, *_pairs(tags, cells)]


def _odd(metric: Metric) -> Line:
    return line((f"✖ {metric.nonfinite:,} NaN/inf", "fail")) if metric.nonfinite else ()

"""Groups of runs and what a metric hangs on, as lines."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from mlops_tui.contracts.analysis import ImportanceAnswer, ParamImportance, Trials
from mlops_tui.contracts.listing import Table
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing import words
from mlops_tui.tui.drawing.parallel import Axis
from mlops_tui.tui.drawing.text import Line, Part, grid, line, pad, width
from mlops_tui.tui.widgets.lines import Row

_BARS = (6, 8, 12)
_INTERVALS = (9, 21)
"""Cells of the longest bar, and of the scale of the means: at least and at most."""
_MOST_KEYS = 3
"""Parameters that runs are grouped by at first, at most."""
_SEEDS = ("seed", "random_state")
_NOWHERE: tuple[float | None, float] = (None, 0.0)
_SIGNS = {True: "- ", False: "+ "}
"""What stands before a group: its runs are shown, or not."""


def plain_name(key: str) -> str:
    """Return what a person calls a key: without its scope and the back quotes around it."""
    scope, dot, name = _bare(key).partition(".")
    return _bare(name) if dot and scope in ("params", "metrics") else _bare(key)


def _bare(key: str) -> str:
    return key[1:-1].replace("``", "`") if key.startswith("`") and key.endswith("`") else key


def param(name: str) -> str:
    """Return a parameter as a filter has it."""
    return "params.`" + name.replace("`", "``") + "`"


def first_keys(trials: Trials, order: Sequence[str]) -> list[str]:
    """Return the parameters to group by at first: what matters but the seed, so long as groups have several runs.

    Args:
        trials: the runs.
        order: parameters that are known to matter, the most first; none: all are tried in their order.
    """
    runs, keys = len(trials.runs), list[str]()
    rows: list[tuple[str | None, ...]] = [()] * runs
    for name in order or trials.params:
        values = trials.params.get(name, [])
        if not values or any(word in name.lower() for word in _SEEDS) or len(set(values)) > max(2, runs // 2):
            continue
        finer = [(*row, value) for row, value in zip(rows, values, strict=True)]
        if len(set(finer)) > max(2, runs // 2):
            continue
        rows, keys = finer, [*keys, name]
        if len(keys) == _MOST_KEYS:
            break
    return keys or list(order or trials.params)[:1]


def axes(trials: Trials, order: Sequence[str]) -> list[Axis]:
    """Return an axis a parameter, those that matter most first, and the metric's last."""
    known = [name for name in order if name in trials.params]
    names = [*known, *(name for name in trials.params if name not in known)]
    made = [Axis(name, param(name), trials.params[name]) for name in names]
    return [*made, Axis(plain_name(trials.metric), trials.metric, [repr(value) for value in trials.values])]


class Group(NamedTuple):
    """A group: the filter that finds its runs, the values of its keys, how many runs, mean and deviation."""

    filter: str
    values: list[Any]
    runs: int
    mean: float | None
    std: float | None


def groups_of(table: Table, keys: int) -> list[Group]:
    """Return the groups of an answer; without a metric there is no mean."""
    return [
        Group(row[0], row[1 : 1 + keys], row[1 + keys], *(row[2 + keys : 4 + keys] or (None, None)))
        for row in table.rows
    ]


def groups(
    found: Sequence[Group],
    keys: Sequence[str],
    metric: str,
    members: Mapping[str, Table],
    selected: Collection[str],
    cells: int,
) -> list[Row]:
    """Return a heading, a line a group, and under one that is unfolded a line a run.

    Args:
        found: the groups.
        keys: what they are grouped by.
        metric: whose mean it is.
        members: the runs of the groups that are unfolded, by the group's filter.
        selected: ids of the selected runs.
        cells: room.
    """
    head: list[Part] = [*(line((("  " if not i else "") + key, "dim")) for i, key in enumerate(keys))]
    head += [("runs", "dim"), ("mean", "dim"), ("± std", "dim")]
    body, links, ends = [head], [""], [_NOWHERE]
    for one in found:
        unfolded = one.filter in members
        named = [line((fmt.NONE, "faint")) if value is None else line(str(value)) for value in one.values]
        named[0] = line((_SIGNS[unfolded], "accent"), named[0])
        spread = "" if one.std is None else f"± {fmt.number(one.std, 2)}"
        body.append([*named, f"{one.runs:,}", fmt.number(one.mean, 4), (spread, "dim")])
        links.append(f"fold:{one.filter}")
        ends.append((one.mean, one.std or 0.0))
        for row in _members(members.get(one.filter), metric):
            mark = ("  ● ", "accent") if row.id in selected else "    "
            body.append([line(mark, row.name), *("" for _ in keys[1:]), row.state, fmt.number(row.value, 4), ""])
            links.append(f"run:{row.id}")
            ends.append((row.value, 0.0))
    made = grid(body, "l" * len(keys) + "rrl", room=cells, give=0)
    wide = max(map(width, made)) + 3
    if cells - wide >= _INTERVALS[0]:
        scale = _scale(ends, min(cells - wide, _INTERVALS[1]))
        made = [line(pad(told, wide), drawn) for told, drawn in zip(made, scale, strict=True)]
    return [Row(told, link) for told, link in zip(made, links, strict=True)]


class _Member(NamedTuple):
    id: str
    name: str
    state: Line
    value: float | None


def _members(table: Table | None, metric: str) -> list[_Member]:
    if table is None:
        return []
    names = [column.name for column in table.columns]
    name, status = names.index("name"), names.index("status")
    return [
        _Member(row[0], str(row[name]), words.symbol(str(row[status])), _finite(row[-1]) if metric else None)
        for row in table.rows
    ]


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _scale(ends: Sequence[tuple[float | None, float]], cells: int) -> list[Line]:
    """Return means with their deviations as intervals on one scale; what has no mean is blank."""
    sides = [mid + sign * std for mid, std in ends if mid is not None for sign in (-1, 1)]
    low, high = min(sides, default=0.0), max(sides, default=0.0)
    if high <= low:
        return [() for _ in ends]
    return [
        ()
        if mid is None
        else line((fmt.interval(mid - std, mid, mid + std, low, high, cells), "accent" if std else "dim"))
        for mid, std in ends
    ]


def importance(found: ImportanceAnswer, grouped: Collection[str], cells: int) -> list[Row]:
    """Return a line a parameter: its share as a bar, the direction, its best values; each leads to its groups."""
    for bar, error in ((_BARS[2], True), (_BARS[1], False), (_BARS[0], False)):
        made = _shares(found.params, grouped, bar, error)
        if max(map(width, made)) <= cells:
            break
    else:
        made = _shares(found.params, grouped, bar, error, cells)
    return [Row(made[0]), *(Row(told, one.param, one.best) for told, one in zip(made[1:], found.params, strict=True))]


def _shares(
    params: Sequence[ParamImportance], grouped: Collection[str], bar: int, error: bool, room: int = 0
) -> list[Line]:
    widest = max((one.importance for one in params), default=0.0) or 1.0
    body: list[list[Part]] = [["", "", *((head, "dim") for head in ("share", "±", "corr", "best at"))]]
    for one in params:
        body.append(
            [
                line((one.param, "accent" if one.param in grouped else "text")),
                (fmt.bar(one.importance / widest, bar), "series-0"),
                fmt.percent(100 * one.importance, 0),
                (f"{100 * one.error:.0f}", "dim"),
                _lean(one.correlation),
                (one.best, "dim"),
            ]
        )
    if not error:
        body = [[*row[:3], *row[4:]] for row in body]
    return grid(body, "llrrrl" if error else "llrrl", room=room, give=0)


def _lean(correlation: float | None) -> Part:
    """Return the direction of a parameter: whether the metric rises with it, and how steadily."""
    if correlation is None:
        return ""
    return f"{'▲' if correlation > 0 else '▼' if correlation < 0 else '='} {fmt.fixed(abs(correlation))}"

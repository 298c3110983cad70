"""Figures of many runs: curves over each other, and parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mlops_tui.contracts import analysis as contract
from mlops_tui.core.clock import SECOND
from mlops_tui.core.errors import NotFound
from mlops_tui.door import Context, implements
from mlops_tui.store import series
from mlops_tui.store.listing import LISTINGS
from mlops_tui.tracking.analysis import svg
from mlops_tui.tracking.analysis.importance import ENOUGH, MOST, Sweep, as_numbers, ranked, sweep_of
from mlops_tui.tracking.runs.find import find_run, row_of
from mlops_tui.tracking.runs.headline import lower_is_better

POINTS, AXES = 400, 8
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, svg.WIDTH - 30, 60, svg.HEIGHT - 60


@implements(contract.figure)
def figure(ctx: Context, request: contract.FigureRequest) -> contract.Figure:
    """Draw a metric's curves over each other."""
    curves = []
    for row in _runs(ctx, request):
        found = series.curve(ctx.session, "run", row["id"], request.metric, POINTS)
        if found and (points := _points(found, row["started"], request)):
            curves.append((row["name"], points))
    if not curves:
        raise NotFound(f"none of these runs has a curve of {request.metric!r}", "", "mlops run curve RUN")
    x = svg.scale((p[0] for _, points in curves for p in points), _LEFT, _RIGHT)
    y = svg.scale((p[1] for _, points in curves for p in points), _BOTTOM, _TOP, request.log)
    parts = [
        *svg.axis(x, across=_BOTTOM, upto=_TOP, vertical=False),
        *svg.axis(y, across=_LEFT, upto=_RIGHT, vertical=True),
    ]
    parts.append(svg.text((_LEFT + _RIGHT) / 2, _BOTTOM + 42, _AXES[request.axis], "middle"))
    for i, (name, points) in enumerate(curves):
        colour, dash = svg.COLOURS[i % len(svg.COLOURS)], svg.DASHES[i // len(svg.COLOURS) % len(svg.DASHES)]
        parts.append(svg.line([(x.place(a), y.place(b)) for a, b in points], colour, dash=dash))
        at = svg.HEIGHT + 16 * (i // 3) - 4
        left = _LEFT + (i % 3) * 290
        parts += [svg.line([(left, at), (left + 24, at)], colour, dash=dash), svg.text(left + 32, at + 4, name, cut=34)]
    height = svg.HEIGHT + 16 * (-(-len(curves) // 3)) + 8
    title = (
        request.metric + (" (log)" if request.log else "") + (f", smoothed {request.smooth:g}" * bool(request.smooth))
    )
    content = svg.document(title, parts, height)
    return contract.Figure(name=f"{_safe(request.metric)}.svg", content=content, title=title, runs=len(curves))


@implements(contract.parallel)
def parallel(ctx: Context, request: contract.ParallelRequest) -> contract.Figure:
    """Draw a line a run through its parameters, coloured by the metric; the best are drawn last."""
    sweep = sweep_of(ctx, request.metric, request.filter, request.limit)
    names = request.params or _telling(sweep, request.metric)
    if missing := [name for name in names if name not in sweep.params]:
        raise NotFound(
            f"{missing[0]!r} does not differ between these {len(sweep.ids)} runs",
            "an axis shows a parameter that has several values",
            "one of: " + ", ".join(list(sweep.params)[:12]),
        )
    if not names:
        raise NotFound(f"no parameter differs between these {len(sweep.ids)} runs", "", "widen the filter")
    columns = [sweep.params[name] for name in names] + [[repr(float(value)) for value in sweep.y]]
    left = [_LEFT + i * (_RIGHT - 60 - _LEFT) / len(names) for i in range(len(columns))]
    axes = [_Axis(values) for values in columns]
    worst_first = sorted(range(len(sweep.ids)), key=lambda i: sweep.y[i], reverse=lower_is_better(request.metric))
    parts = []
    for rank, i in enumerate(worst_first):
        share = rank / max(1, len(worst_first) - 1)
        points = [(x, axis.place(values[i])) for x, axis, values in zip(left, axes, columns, strict=True)]
        best = rank >= len(worst_first) - max(1, len(worst_first) // 20)
        colour = svg.BEST if best else _blue(share)
        parts.append(svg.line(points, colour, width=2.2 if best else 1.2, alpha=1 if best else 0.25 + 0.5 * share))
    for x, axis, name in zip(left, axes, [*names, request.metric], strict=True):
        parts += [svg.line([(x, _TOP + 20), (x, _BOTTOM)], svg.INK, width=1.2), *axis.marks(x)]
        parts.append(svg.text(x, _BOTTOM + 26, name, "middle", cut=max(6, 100 // len(left))))
    title = f"{request.metric} of {len(sweep.ids)} runs; the best twentieth in orange"
    return contract.Figure(
        name=f"{_safe(request.metric)}-parallel.svg",
        content=svg.document(title, parts),
        title=title,
        runs=len(sweep.ids),
    )


class _Axis:
    """One axis: numbers by their size, on a logarithm when they span orders; words and few numbers in even steps."""

    def __init__(self, values: Sequence[str | None]) -> None:
        figures = as_numbers([value for value in values if value is not None])
        self.missing = None in values
        bottom = _BOTTOM - 24 * self.missing
        self.words: dict[str, float] = {}
        if figures and len(set(figures)) > 6:
            wide = min(figures) > 0 and max(figures) / min(figures) > 50
            self.scale: svg.Scale | None = svg.scale(figures, bottom, _TOP + 20, wide)
        else:
            self.scale = None
            names = sorted({value for value in values if value is not None}, key=float if figures else str)
            step = (bottom - _TOP - 20) / max(1, len(names) - 1)
            self.words = {name: bottom - i * step for i, name in enumerate(names)}

    def place(self, value: str | None) -> float:
        if value is None:
            return _BOTTOM
        return self.scale.place(float(value)) if self.scale else self.words[value]

    def marks(self, x: float) -> list[str]:
        if self.scale:
            ticks = [(self.scale.place(tick), f"{tick:g}") for tick in self.scale.ticks()]
        else:
            stride = max(1, len(self.words) // 20)
            ticks = [(place, name) for name, place in list(self.words.items())[::stride]]
        ticks += [(_BOTTOM, "(none)")] if self.missing else []
        return [svg.text(x + 6, place + 4, name, size=11, cut=14) for place, name in ticks]


_AXES = {"step": "step", "time": "time, s since 1970", "relative": "seconds since the run began"}


def _runs(ctx: Context, request: contract.FigureRequest) -> list[dict[str, Any]]:
    if request.runs:
        return [find_run(ctx.session, ctx.tenant, typed) for typed in request.runs[: request.limit]]
    ids = LISTINGS["run"].ids(ctx.session, ctx.tenant, request.filter, "")[: request.limit].tolist()
    return [row for run in ids if (row := row_of(ctx.session, run))]


def _points(curve: dict[str, Any], started: int, request: contract.FigureRequest) -> list[tuple[float, float]]:
    """Return the points to draw: what is finite, and above 0 on a logarithm; smoothed by an unbiased running mean."""
    places = curve["step"] if request.axis == "step" else [
        (ts - (started if request.axis == "relative" else 0)) / SECOND for ts in curve["ts"]
    ]  # fmt: skip
    made, total, weight = [], 0.0, 0.0
    for place, value in zip(places, curve["mean"], strict=True):
        if value is None or not math.isfinite(value):
            continue
        total, weight = request.smooth * total + value, request.smooth * weight + 1
        if total > 0 or not request.log:
            made.append((float(place), total / weight))
    return made


def _telling(sweep: Sweep, metric: str) -> list[str]:
    """Return the parameters that matter most, as many as there is room for; few runs show what there is."""
    if len(sweep.ids) < ENOUGH or not sweep.params:
        return list(sweep.params)[:AXES]
    some = Sweep(sweep.ids[:MOST], sweep.y[:MOST], {key: values[:MOST] for key, values in sweep.params.items()}, MOST)
    return [one.param for one in ranked(some, metric).params[:AXES]]


def _blue(share: float) -> str:
    ends = ((0xB8, 0xC7, 0xDB), (0x0B, 0x3C, 0x8C))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(*ends, strict=True))


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-.") or "figure"

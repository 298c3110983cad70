"""From the agent's curves to series that the chart widget draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_tui.contracts.run import Curve, Curves, Run
from mlops_tui.core.errors import MlopsError
from mlops_tui.tui.drawing.theme import MARKS
from mlops_tui.tui.news.door import Door

if TYPE_CHECKING:
    from mlops_tui.tui.app import MlopsApp
    from mlops_tui.tui.drawing.raster import Floats, Series

POINTS = 400
"""Buckets of a curve: two dots a cell of the widest chart."""
_EPOCH = "epoch"
"""The metric that says which epoch of the training a step belongs to; also ``train/epoch`` and the like."""


def axes(*runs: Run) -> list[str]:
    """Return the x axes over which any of these runs can be drawn."""
    return ["step", "elapsed", *(["epoch"] if any(_epoch_of(run) for run in runs) else [])]


async def curves_of(
    door: Door,
    run: Run,
    keys: Sequence[str],
    axis: str = "step",
    place: int | None = None,
    part: tuple[int, int] | None = None,
) -> dict[str, Series]:
    """Read curves of a run as series by metric.

    Args:
        door: the client.
        run: whose curves.
        keys: metrics; one that the run does not have is left out.
        axis: x as ``step``, ``elapsed`` time since the start (µs) or ``epoch``; a run that counts none has no curve.
        place: the run's place among several, which decides on mark and colour.
        part: the steps that are looked at: there the curves have all their points, or as many as make a bucket a dot.
    """
    clock = _epoch_of(run) if axis == "epoch" else ""
    if axis == "epoch" and not clock:
        return {}
    wanted = list(dict.fromkeys([*keys, *([clock] if clock else [])]))
    got: Curves = await door.call("run.curve", {"run": run.id, "keys": wanted, "points": POINTS})
    by_key = {one.key: one for one in got.curves}
    if part is not None:
        ask = {"run": run.id, "keys": wanted, "points": POINTS, "first": part[0], "last": part[1]}
        near: Curves = await door.call("run.curve", ask)
        by_key |= {one.key: spliced(by_key[one.key], one) for one in near.curves if one.step}
    name = "" if place is None else run.name
    newest = {one.key: one.last for one in (*run.metrics, *run.system)}
    return {
        key: replace(
            series_of(one, name, axis=axis, start=run.started, epochs=by_key.get(clock), place=place),
            newest=newest.get(key),
        )
        for key, one in by_key.items()
        if key in keys
    }


async def pinned_beside(
    app: MlopsApp, run: Run, keys: Sequence[str], axis: str = "step", part: tuple[int, int] | None = None
) -> dict[str, Series]:
    """Read the same curves of the pinned run, to be drawn beside those of another; none if there is no pinned one."""
    if not app.pinned or app.pinned == run.id:
        return {}
    try:
        pinned: Run = await app.door.call("run.show", {"run": app.pinned})
        return await curves_of(app.door, pinned, keys, axis, MARKS.index("★"), part)
    except MlopsError:
        # It may be gone for good; the run that is looked at is drawn all the same.
        return {}


def series_of(
    curve: Curve,
    name: str = "",
    *,
    axis: str = "step",
    start: int = 0,
    epochs: Curve | None = None,
    place: int | None = None,
) -> Series:
    """Return a curve as a series over an axis, see :func:`curves_of`."""
    from mlops_tui.tui.drawing.raster import series

    x = _x(curve, axis, start, epochs)
    return series(name or curve.key, x, curve.mean, curve.min, curve.max, place=place)


def spliced(far: Curve, near: Curve) -> Curve:
    """Return a curve that has the points of ``near`` where it lies, and those of ``far`` before and behind."""
    before = [i for i, step in enumerate(far.step) if step < near.step[0]]
    behind = [i for i, step in enumerate(far.step) if step > near.step[-1]]

    def joined(name: str) -> list[Any]:
        old, new = getattr(far, name), getattr(near, name)
        return [*(old[i] for i in before), *new, *(old[i] for i in behind)]

    columns = {name: joined(name) for name in ("step", "ts", "min", "max", "mean")}
    return Curve(key=far.key, n=far.n, **columns)


def steps(name: str, values: Sequence[float | None]) -> Series:
    """Return plain values as a series over their places, from 1 on."""
    from mlops_tui.tui.drawing.raster import series

    return series(name, list(range(1, len(values) + 1)), values)


def _epoch_of(run: Run) -> str:
    return next((one.key for one in run.metrics if one.key.rpartition("/")[2] == _EPOCH and one.n > 1), "")


def _x(curve: Curve, axis: str, start: int, epochs: Curve | None) -> Sequence[float]:
    import numpy as np

    from mlops_tui.tui.drawing.raster import floats

    x: Floats
    if axis == "elapsed" and curve.ts:
        # A clock that was set back must not fold the line over itself.
        x = np.maximum.accumulate(np.array(curve.ts, np.float64) - start)
    elif axis == "epoch" and epochs is not None and epochs.step:
        x = np.interp(curve.step, epochs.step, np.maximum.accumulate(floats(epochs.mean)))
    else:
        return curve.step
    found: list[float] = x.tolist()
    return found

"""Curves at 100x30 cells: raster alone, and new data to painted strips in the widget. Prints one JSON object."""

from __future__ import annotations

import asyncio
import json
import statistics
import time

import numpy as np
from textual.app import App

from mlops_tui.tui.drawing import raster
from mlops_tui.tui.drawing.theme import textual_themes
from mlops_tui.tui.widgets.curve import Curve

CELLS, ROWS, ROUNDS = 100, 30, 15


def noisy(points: int) -> raster.Series:
    """A falling loss with noise, as training makes it."""
    rng = np.random.default_rng(0)
    x = np.arange(points, dtype=np.float64)
    y = 2.3 * np.exp(-4 * x / points) + 0.1 + rng.normal(0, 0.03, points)
    return raster.Series("loss", x, y, y, y, key=points)


def drawn(one: raster.Series) -> list[str]:
    """Rasterise a series for one size."""
    low, high = raster.columns(one, 0, float(one.x[-1]), CELLS)
    return raster.text(raster.dots(low, high, *raster.bounds([one.low, one.high]), ROWS))


class Chart(App[None]):
    """An app around one curve."""

    def __init__(self) -> None:
        super().__init__()
        for theme in textual_themes():
            self.register_theme(theme)
        self.theme = "mlops-dark"

    def compose(self):
        yield Curve("loss", ident="c")


async def painted(one: raster.Series) -> list[float]:
    """Return the milliseconds from new data to every strip of the chart."""
    app, times = Chart(), []
    async with app.run_test(size=(CELLS + 16, ROWS + 4)) as pilot:
        chart = app.query_one(Curve)
        for i in range(ROUNDS):
            again = raster.Series(one.name, one.x, one.low, one.high, one.mid, key=i)
            began = time.perf_counter()
            chart.show([again])
            for y in range(chart.size.height):
                chart.render_line(y)
            times.append(1e3 * (time.perf_counter() - began))
            await pilot.pause()
    return times


def main() -> None:
    """Measure 10 thousand and a million points, one and four series."""
    result: dict[str, float] = {}
    for points in (10_000, 1_000_000):
        one = noisy(points)
        drawn(one)
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            drawn(one)
            times.append(1e3 * (time.perf_counter() - began))
        result[f"raster_{points}_ms"] = round(statistics.median(times), 2)
        result[f"painted_{points}_ms"] = round(statistics.median(asyncio.run(painted(one))), 2)
    print(json.dumps({"cells": f"{CELLS}x{ROWS}", **result}, indent=1))


if __name__ == "__main__":
    main()

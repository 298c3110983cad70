"""The candidates drawn by latency and throughput: as SVG, or in cells for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlops_tui.core.figures import number
from mlops_tui.tracking.analysis.svg import BEST, COLOURS, FAINT, HEIGHT, INK, WIDTH, axis, document, line, scale, text

Rows = Sequence[Mapping[str, Any]]
_MARKS = ("o", "x", "+", "#")
_COLUMNS, _LINES = 72, 18


def _precision(row: Mapping[str, Any]) -> str:
    return str(row["candidate"]).partition(" ")[0]


def _front(rows: Rows) -> list[tuple[float, float]]:
    """Return those that are quicker or carry more than every other, from the quickest on."""
    found: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda one: (one["p50_ms"], -one["rate"])):
        if not found or row["rate"] > found[-1][1]:
            found.append((row["p50_ms"], row["rate"]))
    return found


def svg(title: str, rows: Rows) -> bytes:
    """Return the figure."""
    left, right, top, bottom = 90.0, WIDTH - 200.0, 60.0, HEIGHT - 60.0
    across = scale([row["p50_ms"] for row in rows], left, right, log=True)
    up = scale([row["rate"] for row in rows], bottom, top, log=True)
    kinds = list(dict.fromkeys(map(_precision, rows)))
    parts = axis(across, across=bottom, upto=top, vertical=False)
    parts += axis(up, across=left, upto=right, vertical=True)
    parts.append(line([(across.place(x), up.place(y)) for x, y in _front(rows)], FAINT))
    for row in rows:
        x, y = across.place(row["p50_ms"]), up.place(row["rate"])
        colour = COLOURS[kinds.index(_precision(row)) % len(COLOURS)]
        chosen = row["note"] == "chosen"
        ring = f' stroke="{BEST}" stroke-width="3"' if chosen else ""
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{8 if chosen else 5}" fill="{colour}"{ring}/>')
        if row["pareto"] or chosen:
            parts.append(text(x + 9, y - 7, str(row["candidate"]), size=11, colour=INK))
    for at, kind in enumerate(kinds):
        parts.append(f'<circle cx="{right + 30}" cy="{top + 22 * at}" r="5" fill="{COLOURS[at % len(COLOURS)]}"/>')
        parts.append(text(right + 42, top + 22 * at + 4, kind, size=13, colour=INK))
    parts.append(text((left + right) / 2, HEIGHT - 14, "median latency, ms", size=13, colour=INK))
    parts.append(text(left, top - 14, "requests a second", size=13, colour=INK))
    return document(title, parts)


def cells(title: str, rows: Rows) -> str:
    """Return the figure as text: a mark a candidate, ``*`` the chosen one."""
    across = scale([row["p50_ms"] for row in rows], 0, _COLUMNS - 1, log=True)
    up = scale([row["rate"] for row in rows], _LINES - 1, 0, log=True)
    kinds = list(dict.fromkeys(map(_precision, rows)))
    grid = [[" "] * _COLUMNS for _ in range(_LINES)]
    for row in sorted(rows, key=lambda one: one["note"] == "chosen"):
        mark = "*" if row["note"] == "chosen" else _MARKS[kinds.index(_precision(row)) % len(_MARKS)]
        grid[round(up.place(row["rate"]))][round(across.place(row["p50_ms"]))] = mark
    high, low = (number(value) for value in (up.high, up.low))
    wide = max(len(high), len(low))
    lines = ["".join(one).rstrip() for one in grid]
    margin = [high, *[""] * (_LINES - 2), low]
    drawn = [f"{side:>{wide}} │{one}" for side, one in zip(margin, lines, strict=True)]
    legend = "  ".join([*(f"{_MARKS[at % len(_MARKS)]} {kind}" for at, kind in enumerate(kinds)), "* chosen"])
    scale_line = f"{number(across.low)} ms".ljust(_COLUMNS - 10) + f"{number(across.high)} ms".rjust(10)
    return "\n".join(
        [title, f"{'':>{wide}}  requests a second by median latency", *drawn,
         f"{'':>{wide}} └{'─' * _COLUMNS}", f"{'':>{wide}}  {scale_line}", f"{'':>{wide}}  {legend}", ""]
    )  # fmt: skip

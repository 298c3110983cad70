"""Drawing in SVG: scales with readable ticks, text that can hold anything, and the frame of a figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from mlops_tui.core.printable import clean

WIDTH, HEIGHT = 960, 540
INK, FAINT, BEST = "#1f2933", "#d5dbe1", "#d55e00"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b4fa3", "#6b6b6b")
"""Told apart by people who see colours differently (after Okabe and Ito); dashes go on where they end."""
DASHES = ("", "7 4", "2 3", "9 3 2 3", "1 5", "12 5")


class Scale(NamedTuple):
    """From values to places; ``log`` takes what is above 0 only."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return where a value stands."""
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.begin + (self.end - self.begin) * ((value - low) / (high - low) if high > low else 0.5)

    def ticks(self, wanted: int = 6) -> list[float]:
        """Return round values, about as many as wanted."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            stride = max(1, (last - first) // wanted)
            powers = [10.0**power for power in range(first, last + 1, stride)]
            inside = [power for power in powers if self.low <= power <= self.high]
            return inside if len(inside) > 1 else [self.low, self.high]
        spread = self.high - self.low
        if spread <= 0:
            return [self.low]
        rough = spread / wanted
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def scale(values: Iterable[float], begin: float, end: float, log: bool = False) -> Scale:
    """Return the scale of finite values with a little room at both ends; logarithmic only where all are above 0."""
    known = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if log and known:
        return Scale(low, high if high > low else low * 10, begin, end, True)
    room = 0.03 * (high - low) or abs(high) * 0.1 or 1.0
    return Scale(low - room, high + room, begin, end)


def text(
    x: float, y: float, words: str, anchor: str = "start", size: int = 13, colour: str = INK, cut: int = 60
) -> str:
    """Return a line of text; what could not stand in a document is left out."""
    whole = clean(words)
    shown = whole if len(whole) <= cut else whole[: cut - 1] + "…"
    look = f'text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(shown)}</text>'


def line(
    points: Sequence[tuple[float, float]], colour: str, *, dash: str = "", width: float = 1.8, alpha: float = 1
) -> str:
    """Return a line through points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-opacity="{alpha:.2f}"'
        f' stroke-linejoin="round"{dashed}/>'
    )


def axis(at: Scale, *, across: float, upto: float, vertical: bool) -> list[str]:
    """Return ticks with their figures, and a faint line each from ``across`` to ``upto``."""
    made = []
    for tick in at.ticks():
        place = at.place(tick)
        if vertical:
            made += [
                line([(across, place), (upto, place)], FAINT, width=1),
                text(across - 8, place + 4, f"{tick:g}", "end", 12),
            ]
        else:
            made += [
                line([(place, across), (place, upto)], FAINT, width=1),
                text(place, across + 18, f"{tick:g}", "middle", 12),
            ]
    return made


def document(title: str, parts: Iterable[str], height: float = HEIGHT) -> bytes:
    """Return the whole figure with its title, on white."""
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif">'
    paper = f'<title>{escape(clean(title))}</title><rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, paper, text(24, 32, title, size=18, cut=100), *parts, "</svg>\n"]).encode()

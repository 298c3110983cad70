"""A picture as cells: two pixels a cell in their colours, or shades where the theme has no colours of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from mlops_tui.tui.drawing.text import BLANK, line, strip
from mlops_tui.tui.widgets.panel import Panel

if TYPE_CHECKING:
    from mlops_tui.tui.drawing.png import Pixels

_SHADES = " ░▒▓█"


class Picture(Panel):
    """A panel around a picture, as large as it gets without losing its proportions."""

    def __init__(self, title: str = "", hints: str = "", *, ident: str | None = None) -> None:
        super().__init__(title, hints, ident=ident)
        self._pixels: Pixels | None = None
        self._strips: list[Strip] = []
        self._made: tuple[tuple[int, int], str] | None = None

    @property
    def count(self) -> int:
        """Nothing to scroll: it always fits."""
        return self.room[1] if self._pixels is not None else 0

    def show(self, pixels: Pixels) -> None:
        """Show a picture."""
        self._pixels, self._made = pixels, None
        self.refresh()

    def body(self, y: int, cells: int) -> Strip:
        """Draw one row of the picture."""
        made = (self.room, self.app.theme)
        if self._pixels is not None and self._made != made:
            self._made, self._strips = made, self._draw(*self.room)
        return self._strips[y] if y < len(self._strips) else strip(BLANK, self.ink, cells=cells)

    def _draw(self, width: int, height: int) -> list[Strip]:
        assert self._pixels is not None
        pixels = fitted(self._pixels, width, 2 * height)
        if self.app.theme.startswith("ansi") or getattr(self.app, "ascii", False):
            return [strip(line(text), self.ink, cells=width) for text in shades(pixels)]
        ground = self.ink.style("text")
        strips = []
        for upper, lower in zip(pixels[::2].tolist(), pixels[1::2].tolist(), strict=True):
            row = [
                Segment("▀", Style(color=_hex(above), bgcolor=_hex(below)))
                for above, below in zip(upper, lower, strict=True)
            ]
            rest = width - len(row)
            strips.append(Strip([*row, Segment(" " * rest, ground)] if rest > 0 else row, width))
        return strips


def fitted(pixels: Pixels, width: int, height: int) -> Pixels:
    """Return a picture in at most ``width`` × ``height`` pixels, in an even number of rows; each is a mean."""
    import numpy as np

    rows, columns = pixels.shape[:2]
    scale = min(width / columns, height / rows)
    wide, high = max(1, min(width, round(columns * scale))), max(2, min(height, round(rows * scale)))
    high -= high % 2
    y, x = np.arange(high + 1) * rows // high, np.arange(wide + 1) * columns // wide
    if high >= rows or wide >= columns:
        near: Pixels = pixels[y[:-1]][:, x[:-1]]
        return near
    # Sums up to each corner: that of a part is a difference of four.
    sums = np.zeros((rows + 1, columns + 1, pixels.shape[2]), np.int64)
    sums[1:, 1:] = pixels.cumsum(0, dtype=np.int64).cumsum(1)
    corners = sums[y][:, x]
    total = corners[1:, 1:] - corners[:-1, 1:] - corners[1:, :-1] + corners[:-1, :-1]
    area = (np.diff(y)[:, None] * np.diff(x)[None, :])[:, :, None]
    mean: Pixels = (total // area).astype(np.uint8)
    return mean


def shades(pixels: Pixels) -> list[str]:
    """Return a picture as blocks of five shades, two rows of pixels a line."""
    import numpy as np

    light = pixels.astype(np.float64) @ (0.2126, 0.7152, 0.0722)
    pairs = light.reshape(-1, 2, light.shape[1]).mean(axis=1)
    return ["".join(_SHADES[min(4, int(value / 51.2))] for value in row) for row in pairs.tolist()]


def _hex(colour: list[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)

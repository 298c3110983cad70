"""What the terminal is told of a paint: exactly the cells that changed, and of a colour only what differs.

Textual draws a stretch of a line from the left edge of its widget on, and tells every run of one colour both its
colours and their end. Over ssh that is most of what a key costs; here a colour lasts until another one comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from rich.color import Color, ColorSystem
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from mlops_tui.tui.terminal.changed import Cell, cells_of, stretches

_DEFAULT = ("39", "49")
"""The codes of the terminal's own ink and ground."""

Piece = tuple[int, int, Strip]


class Shown:
    """What is on the terminal, as far as it was told by paints: of the next one only the difference is sent.

    Whatever else writes there is unknown to it; after :meth:`forget` everything is sent anew.
    """

    def __init__(self) -> None:
        self._lines: dict[int, list[Cell | None]] = {}
        self._size = (0, 0)

    def forget(self) -> None:
        """Take nothing for granted."""
        self._lines.clear()

    def thrifty(self, update: RenderableType | None, size: tuple[int, int]) -> RenderableType | None:
        """Return a paint that costs less; what is not Textual's own paint stays as it is.

        Args:
            update: what Textual would draw.
            size: of the terminal, in cells; another one than before, and it has cleared or moved what it shows.
        """
        if size != self._size:
            self._size = size
            self.forget()
        if isinstance(update, ChopsUpdate | LayoutUpdate):
            return Thrifty(update, self)
        self.forget()
        return update

    def changed(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Yield what of some pieces is not on the terminal yet; from now on it is."""
        for x, y, strip in pieces:
            line = self._lines.setdefault(y, [None] * self._size[0])
            cells = cells_of(strip)
            there = line[x : x + strip.cell_length]
            if len(there) == len(cells):
                for start, count in stretches(there, cells):
                    yield x + start, y, strip.crop(start, start + count)
                line[x : x + len(cells)] = cells
            else:  # it reaches over the edge of the terminal: nobody knows what that shows of it
                yield x, y, strip
                line[x:] = [None] * len(line[x:])


class Thrifty(CompositorUpdate):
    """A paint of some stretches of lines, or of the whole screen."""

    def __init__(self, update: ChopsUpdate | LayoutUpdate, shown: Shown) -> None:
        self._update, self._shown = update, shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw as Textual would; only :meth:`render_segments` is for the terminal."""
        return self._update.__rich_console__(console, options)

    def render_segments(self, console: Console) -> str:
        """Return what is sent to the terminal."""
        pen = _Pen(console._color_system or ColorSystem.TRUECOLOR)
        pieces = _chops(self._update) if isinstance(self._update, ChopsUpdate) else _lines(self._update)
        for x, y, strip in self._shown.changed(pieces):
            pen.move(x, y)
            pen.draw(strip)
        return pen.end()


def _chops(update: ChopsUpdate) -> Iterator[Piece]:
    """Yield the parts of the stretches that lie in each fragment of a line."""
    for y, x1, x2 in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            first, last = max(x, x1), min(end, x2)
            if strip is not None and first < last:
                yield first, y, strip if (first, last) == (x, end) else strip.crop(first - x, last - x)


def _lines(update: LayoutUpdate) -> Iterator[Piece]:
    for y, line in enumerate(update.strips, update.region.y):
        x = update.region.x
        for strip in line:
            yield x, y, strip
            x += strip.cell_length


class _Sgr(NamedTuple):
    """The codes of a style: its attributes, its ink and its ground."""

    attributes: str
    ink: str
    ground: str


class _Pen:
    """Writes text at places, and remembers where it stands and which colours are on."""

    def __init__(self, system: ColorSystem) -> None:
        self._system = system
        self._out: list[str] = []
        self._at = (-1, -1)
        self._on: _Sgr | None = None

    def move(self, x: int, y: int) -> None:
        """Go to a place, unless it is where the last text ended."""
        if self._at != (x, y):
            self._out.append(f"\x1b[{y + 1};{x + 1}H")
            self._at = (x, y)

    def draw(self, strip: Strip) -> None:
        """Write a strip where the pen stands."""
        for text, style, _ in strip:
            if not text:
                continue
            if style is None or style._link:
                self._off()
                self._out.append(text if style is None else Strip.render_style(style, text, self._system))
            else:
                self._turn(_codes(style, self._system))
                self._out.append(text)
        self._at = (self._at[0] + strip.cell_length, self._at[1])

    def _turn(self, wanted: _Sgr) -> None:
        on = self._on
        if on == wanted:
            return
        if on is None or on.attributes != wanted.attributes:
            codes = [*(["0"] if on is not None else []), *(one for one in wanted if one not in ("", *_DEFAULT))]
        else:
            codes = [new for old, new in zip(on[1:], wanted[1:], strict=True) if old != new]
        self._out.append(f"\x1b[{';'.join(codes)}m" if codes else "")
        self._on = wanted

    def _off(self) -> None:
        if self._on is not None:
            self._out.append("\x1b[0m")
            self._on = None

    def end(self) -> str:
        """Return all that was written, with no colour left on."""
        self._off()
        return "".join(self._out)


@lru_cache(maxsize=4096)
def _codes(style: Style, system: ColorSystem) -> _Sgr:
    ink, ground = _colour(style.color, system, True), _colour(style.bgcolor, system, False)
    plain = Strip.render_ansi(Style.combine([style, Style(color="default", bgcolor="default")]), ColorSystem.STANDARD)
    return _Sgr(plain.removesuffix("39;49").rstrip(";"), ink, ground)


def _colour(colour: Color | None, system: ColorSystem, foreground: bool) -> str:
    if colour is None:
        return _DEFAULT[not foreground]
    return ";".join(colour.downgrade(system).get_ansi_codes(foreground))

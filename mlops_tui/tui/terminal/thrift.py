"""What the terminal is told of a paint: exactly the cells that changed, and of a colour only what differs.

Textual draws a stretch of a line from the left edge of its widget on, and tells every run of one colour both its
colours and their end. Over ssh that is most of what a key costs; here a colour lasts until another one comes.
What did not change is not even looked at: of a paint of two rows, widgets are asked for two rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from rich.color import ColorSystem
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from textual._compositor import ChopsUpdate, Compositor, CompositorUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from mlops_tui.tui.terminal.changed import PLAIN, Cell, Look, cells_of, look_of, loose, stretches, text_of

Piece = tuple[int, int, Strip]


class Looker(Compositor):
    """Asks widgets for those of their lines that a paint shows; Textual asks whatever lies in the same container."""

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        crop = crop or self.size.region
        lines = Region(0, crop.y, self.size.width, crop.height)
        for widget, (region, clip) in self.visible_widgets.items():
            seen = clip.intersection(lines)
            if (part := region.intersection(seen)) and part.overlaps(crop):
                yield region, seen, widget.render_lines(part.translate(-region.offset))


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

    def changed(self, pieces: Iterator[Piece], system: ColorSystem) -> Iterator[tuple[int, int, list[Cell]]]:
        """Yield what of some pieces is not on the terminal yet, as places and cells; from now on it is."""
        for x, y, strip in pieces:
            line = self._lines.setdefault(y, [None] * self._size[0])
            cells = cells_of(strip, system)
            there = line[x : x + len(cells)]
            if len(there) == len(cells):
                # Nobody knows where on a line letters end that terminals draw as wide as they like.
                moved = loose(line) or loose(cells)
                for start, end in [(0, len(cells))] if moved else stretches(there, cells):
                    yield x + start, y, cells[start:end]
                line[x : x + len(cells)] = cells
            else:  # it reaches over the edge of the terminal: nobody knows what that shows of it
                yield x, y, cells
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
        pen = _Pen()
        pieces = _chops(self._update) if isinstance(self._update, ChopsUpdate) else _lines(self._update)
        for x, y, cells in self._shown.changed(pieces, console._color_system or ColorSystem.TRUECOLOR):
            pen.draw(x, y, cells)
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


class _Pen:
    """Writes cells at places, and remembers where it stands and which colours are on."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._at = (-1, -1)
        self._on = PLAIN

    def draw(self, x: int, y: int, cells: list[Cell]) -> None:
        """Write cells at a place; the pen goes there, unless it is where the last ones ended."""
        if self._at != (x, y):
            self._out.append(_to(x, y))
        self._at = (x + len(cells), y)
        moving = loose(cells)
        for look, alike in groupby(cells, look_of):
            run = list(alike)
            self._turn(look)
            self._out += _apart(run, x, y) if moving and loose(run) else map(text_of, run)
            x += len(run)

    def _turn(self, wanted: Look) -> None:
        on = self._on
        if on == wanted:
            return
        if on.link != wanted.link:
            self._out.append(f"\x1b]8;;{wanted.link}\x1b\\")
        codes = []
        if (on.attributes and on.attributes != wanted.attributes) or wanted == PLAIN:
            on, codes = PLAIN, ["0"]
        codes += [new for old, new in zip(on[:3], wanted[:3], strict=True) if old != new]
        if codes:
            self._out.append(f"\x1b[{';'.join(codes)}m")
        self._on = wanted

    def end(self) -> str:
        """Return all that was written, with no colour left on."""
        self._turn(PLAIN)
        return "".join(self._out)


def _to(x: int, y: int) -> str:
    return f"\x1b[{y + 1};{x + 1}H"


def _apart(cells: list[Cell], x: int, y: int) -> Iterator[str]:
    """Yield letters some of which terminals draw wider or narrower than others do.

    Words get blank cells first, and what stands two blanks behind them is told where it is: they may be too long for
    their cells, and nothing moves.
    """
    start, texts = 0, [text for text, _ in cells]
    for end in [*range(2, len(texts)), len(texts)]:
        if end == len(texts) or (texts[end] != " " and texts[end - 2 : end] == [" ", " "]):
            yield " " * (end - start) + _to(x + start, y) + "".join(texts[start:end]).rstrip() + _to(x + end, y)
            start = end

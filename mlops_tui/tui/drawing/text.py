"""Coloured text as plain data: a line is a tuple of (text, token) spans, so that two lines compare with ``==``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.strip import Strip

from mlops_tui.core.printable import clean
from mlops_tui.tui.drawing.theme import Ink

Span = tuple[str, str]
Line = tuple[Span, ...]
Part = str | Span | Line

BLANK: Line = ()
_PROSE = 30
"""Cells that a sentence needs to stand beside what it is said of."""


def line(*parts: Part) -> Line:
    """Put a line together from plain strings (token ``text``), spans and other lines."""
    spans: list[Span] = []
    for part in parts:
        if isinstance(part, str):
            spans.append((clean(part), "text"))
        elif len(part) == 2 and isinstance(part[0], str):
            spans.append((clean(part[0]), str(part[1])))
        else:
            spans.extend(part)
    return tuple([span for span in spans if span[0]])


def width(of: Line) -> int:
    """Return how many cells a line takes."""
    return sum([len(text) if text.isascii() else cell_len(text) for text, _ in of])


def plain(of: Line) -> str:
    """Return a line's text without its colours."""
    return "".join(text for text, _ in of)


def join(lines: Iterable[Line], between: Part = "  ") -> Line:
    """Put lines after each other; empty ones are left out."""
    parts: list[Part] = []
    for each in lines:
        if each:
            parts += [between, each] if parts else [each]
    return line(*parts)


def cut(of: Line, cells: int) -> Line:
    """Shorten a line to ``cells``, ending in ``…`` where something was lost."""
    if width(of) <= cells:
        return of
    kept: list[Span] = []
    room = cells - 1
    for text, token in of:
        taken = cell_len(text)
        if taken > room:
            kept.append((set_cell_size(text, max(0, room)) + "…", token))
            break
        kept.append((text, token))
        room -= taken
    return tuple(kept) if cells > 0 else BLANK


def parts_in(of: Line, cells: int, between: Sequence[str] = (" · ", "  ")) -> Line:
    """Shorten a line of several things to ``cells`` by leaving out the last ones whole; half a figure would lie."""
    if width(of) <= cells:
        return of
    text = plain(of)
    ends = [place for sep in between for place in _places(text, sep) if cell_len(text[:place]) <= cells]
    return _first(of, max(ends)) if ends else cut(of, cells)


def _places(text: str, sep: str) -> list[int]:
    return [at for at in range(1, len(text)) if text.startswith(sep, at)]


def _first(of: Line, letters: int) -> Line:
    kept: list[Span] = []
    for text, token in of:
        kept.append((text[:letters], token))
        letters -= len(text)
        if letters <= 0:
            break
    return tuple(kept)


def middle(text: str, cells: int) -> str:
    """Shorten a name to about ``cells`` in its middle, for names that begin alike often end otherwise."""
    if len(text) <= max(cells, 9):
        return text
    left = max(cells, 9) // 2
    return f"{text[:left]}…{text[left + 1 - max(cells, 9) :]}"


def pad(of: Line, cells: int, align: str = "left") -> Line:
    """Bring a line to exactly ``cells``: cut it, or fill it on the side that ``align`` leaves free."""
    missing = cells - width(of)
    if missing < 0:
        of = cut(of, cells)
        missing = cells - width(of)
    if missing <= 0:
        return of
    blank = (" " * missing, "text")
    return (blank, *of) if align == "right" else (*of, blank)


def spread(left: Line, right: Line, cells: int, gap: int = 2) -> Line:
    """Put one line at the left end and one at the right end of ``cells``; the left one gives way."""
    if width(right) + gap > cells:
        return pad(left, cells)
    return line(pad(cut(left, cells - width(right) - gap), cells - width(right)), right)


def runs(glyphs: Sequence[str], tokens: Sequence[str]) -> Line:
    """Put cells of one colour together, so that the terminal is told each colour once."""
    spans: list[Span] = []
    start = 0
    for c in range(1, len(glyphs) + 1):
        if c == len(glyphs) or tokens[c] != tokens[start]:
            spans.append(("".join(glyphs[start:c]), tokens[start]))
            start = c
    return tuple(spans)


def grid(
    rows: Sequence[Sequence[Part]], align: str = "", gap: int = 2, room: int = 0, give: int | None = None
) -> list[Line]:
    """Lay rows out in columns as wide as their widest cell.

    Args:
        rows: cells; a row may be shorter than the others.
        align: a letter a column, ``l`` or ``r``; what is missing counts as ``l``.
        gap: cells between columns.
        room: cells in all; where it is too little the widest column gives way. 0: no limit.
        give: the column that gives way before the widest one, down to ten cells.
    """
    cells = [[line(cell) for cell in row] for row in rows]
    columns = max((len(row) for row in cells), default=0)
    widths = [max((width(row[i]) for row in cells if i < len(row)), default=0) for i in range(columns)]
    excess = sum(widths) + gap * (columns - 1) - room if room else 0
    if give is not None and columns and excess > 0:
        taken = max(0, min(excess, widths[give] - 10))
        widths[give] -= taken
        excess -= taken
    while excess > 0 and max(widths) > 4:
        widths[widths.index(max(widths))] -= 1
        excess -= 1
    out = []
    for row in cells:
        parts = []
        for i, cell in enumerate(row):
            right = align[i : i + 1] == "r"
            end = i == len(row) - 1 and not right
            parts.append(cut(cell, widths[i]) if end else pad(cell, widths[i], "right" if right else "left"))
        out.append(join(parts, " " * gap))
    return out


def wrap(text: str, cells: int, token: str = "text") -> list[Line]:
    """Break a sentence into lines of at most ``cells``, at blanks where there are any."""
    lines: list[Line] = []
    for paragraph in text.splitlines() or [""]:
        current = ""
        for word in clean(paragraph).split(" "):
            while cell_len(word) > cells:
                if current:
                    lines.append(line((current, token)))
                    current = ""
                lines.append(line((word[:cells], token)))
                word = word[cells:]
            joined = f"{current} {word}" if current else word
            if cell_len(joined) > cells:
                lines.append(line((current, token)))
                current = word
            else:
                current = joined
        lines.append(line((current, token)))
    return lines


def beside(heads: Sequence[Line], texts: Sequence[tuple[str, str]], cells: int) -> list[Line]:
    """Put each text (and its token) beside its head, on as many lines as it needs; under it where room is short."""
    room = max(map(width, heads), default=0) + 2
    indent = room if cells - room >= _PROSE else 2
    lines: list[Line] = []
    for head, (text, token) in zip(heads, texts, strict=True):
        told = wrap(text, cells - indent, token) if text else [BLANK]
        lines.append(line(pad(head, room), told.pop(0)) if indent == room else head)
        lines += [line(" " * indent, more) for more in told if more]
    return lines


def strip(of: Line, ink: Ink, ground: str = "surface", cells: int | None = None) -> Strip:
    """Return a line as Textual paints it: on a ground, brought to ``cells`` if given.

    Blanks show no colour of their own, so they join their neighbour: the terminal is told each colour once.
    """
    return _strip(of, ink, ground, cells)


@lru_cache(maxsize=1024)
def _strip(of: Line, ink: Ink, ground: str, cells: int | None) -> Strip:
    exact = of if cells is None else pad(of, cells)
    runs: list[list[str]] = []
    for text, token in exact:
        if runs and (token == runs[-1][1] or text.isspace()):
            runs[-1][0] += text
        elif runs and runs[-1][0].isspace():
            runs[-1] = [runs[-1][0] + text, token]
        else:
            runs.append([text, token])
    segments = [Segment(text, ink.style(token, ground)) for text, token in runs]
    return Strip(segments, width(exact) if cells is None else cells)

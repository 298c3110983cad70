"""Parallel coordinates that are walked through with keys: from axis to axis, along one, and narrowed to a range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.message import Message
from textual.strip import Strip

from mlops_tui.tui.drawing.text import BLANK, Line, join, line, strip
from mlops_tui.tui.drawing.theme import MARKS
from mlops_tui.tui.widgets.panel import Panel

if TYPE_CHECKING:
    from mlops_tui.tui.drawing.parallel import Axis, Ink, Limits, Pose, Stop


class Parallel(Panel):
    """A line a run through the axes, of which the last one is the metric's. Runs come the best first."""

    class Narrowed(Message):
        """Another range holds; the runs within are :attr:`Parallel.kept`."""

        def __init__(self, panel: Parallel) -> None:
            super().__init__()
            self.panel = panel

    def __init__(self, title: str = "", hints: str = "", *, empty: str = "", ident: str | None = None) -> None:
        from mlops_tui.tui.drawing.parallel import Pose

        super().__init__(title, hints, empty=empty, ident=ident)
        self.axes: tuple[Axis, ...] = ()
        self.pose = Pose()
        self.runs = 0
        self.told = False
        self._first = 0
        self._ink: tuple[object, Ink] | None = None
        self._rows: list[Line] | None = None

    @property
    def count(self) -> int:
        """Nothing to scroll: what is drawn always fits."""
        return self.room[1] if self.runs else 0

    @property
    def seen(self) -> list[Axis]:
        """The axes that there is room for: those around the cursor, and the metric's."""
        from mlops_tui.tui.drawing import parallel

        most = parallel.fits(self.room[0]) - 1
        return [*self.axes[:-1][self._first : self._first + most], *self.axes[-1:]]

    @property
    def here(self) -> Axis | None:
        """The axis under the cursor."""
        seen = self.seen
        return seen[self.pose.axis] if seen else None

    @property
    def kept(self) -> int:
        """How many runs are within the ranges."""
        from mlops_tui.tui.drawing import parallel

        return int(parallel.inside(self.axes, self.pose.limits, self.runs).sum())

    @property
    def narrowing(self) -> list[str]:
        """The ranges that hold, as filters."""
        return [self.pose.limits[axis.key].filter(axis.key) for axis in self.axes if axis.key in self.pose.limits]

    def show(self, axes: Sequence[Axis], runs: int) -> None:
        """Show axes with their values of so many runs; ranges of axes that are still there stay."""
        from mlops_tui.tui.drawing.parallel import Pose

        self.told, self.problem = True, None
        here = self.here.key if self.here and (self.has_focus or self.pose.limits) else ""
        self.axes, self.runs, self._first, self._ink = tuple(axes), runs, 0, None
        keys = [axis.key for axis in axes]
        self.pose = Pose(limits={key: one for key, one in self.pose.limits.items() if key in keys})
        if here in keys:
            self._to(keys.index(here))
        self._tell()

    def forget(self) -> None:
        """Take back all ranges, since what they were of is no longer shown."""
        self.pose = replace(self.pose, begun=None, limits={})

    def on_resize(self) -> None:
        """Lay the axes out anew: there is room for more of them, or for fewer."""
        self.pose = replace(self.pose, axis=min(self.pose.axis, max(0, len(self.seen) - 1)), begun=None)
        self._tell()

    def body(self, y: int, cells: int) -> Strip:
        """Draw one row."""
        if self._rows is None:
            self._rows = self.drawn()
        rows = self._rows
        return strip(rows[y] if y < len(rows) else BLANK, self.ink, cells=cells)

    def drawn(self) -> list[Line]:
        """Return the rows, drawn for the room that there is; the lines only where they differ from before."""
        from mlops_tui.tui.drawing import parallel

        cells, rows = self.room[0], self._deep
        seen = self.seen
        key = ([axis.key for axis in seen], self.pose.limits, cells, rows, self.runs)
        if self._ink is None or self._ink[0] != key:
            kept = parallel.inside(self.axes, self.pose.limits, self.runs)
            self._ink = (key, parallel.ink(seen, kept, cells, rows))
        plain = bool(getattr(self.app, "ascii", False))
        stop = max(0, min(self.pose.stop, len(self.stops) - 1))
        return parallel.draw(seen, self._ink[1], replace(self.pose, stop=stop), self.has_focus, plain)

    @property
    def unread(self) -> bool:
        """Whether nothing has been shown yet."""
        return not self.told

    @property
    def stops(self) -> list[Stop]:
        """Where the cursor can stand on its axis."""
        return self.here.stops(self._deep) if self.here else []

    @property
    def _deep(self) -> int:
        return max(2, self.room[1] - 1)

    def _tell(self) -> None:
        """Say in the frame what is under the cursor, how many runs are within the ranges, and what the marks mean."""
        from mlops_tui.tui.drawing import parallel

        within = f"{self.kept:,} of {self.runs:,} runs" if self.pose.limits else f"{self.runs:,} runs"
        marks = [line((mark, f"series-{i}"), (f" {parallel.CLASSES[i]}", "dim")) for i, mark in enumerate(MARKS[:3])]
        self.figure = join([line((within, "accent" if self.pose.limits else "dim")), *marks]) if self.runs else BLANK
        self._rows = None
        self.refresh()

    def watch_has_focus(self, _has_focus: bool) -> None:
        """Show the cursor, or hide it."""
        self._rows = None
        super().watch_has_focus(_has_focus)

    # Keys

    def action_move(self, by: int) -> None:
        """Move the cursor along its axis."""
        stop = max(0, min(self.pose.stop + by, len(self.stops) - 1))
        self._pose(replace(self.pose, stop=stop))

    def action_page(self, by: int) -> None:
        """Move it by a third of the axis."""
        self.action_move(by * max(1, len(self.stops) // 3))

    def action_edge(self, by: int) -> None:
        """Move it to the head or the foot."""
        self.action_move(by * len(self.stops))

    def action_aside(self, by: int) -> None:
        """Go to the next axis, and bring it into sight."""
        if self.here is not None:
            self._to(self.axes.index(self.here) + by)
            self._tell()

    def _to(self, index: int) -> None:
        index = max(0, min(index, len(self.axes) - 1))
        before, params = self.pose, len(self.axes) - 1
        most = max(1, len(self.seen) - 1)
        if index < params:
            first = self._first if self._first <= index < self._first + most else max(0, index - most + 1)
            self._first, place = min(first, index), index - min(first, index)
        else:
            place = len(self.seen) - 1
        self.pose = replace(before, axis=place, begun=None)
        self.pose = replace(self.pose, stop=max(0, min(before.stop, len(self.stops) - 1)))

    def action_mark(self) -> None:
        """Begin a range where the cursor is; where one was begun, narrow to what lies between."""
        axis, pose = self.here, self.pose
        if axis is None:
            return
        if pose.begun is None:
            self._pose(replace(pose, begun=pose.stop))
            return
        limits = axis.limits(self.stops, pose.begun, pose.stop)
        self._narrow({**pose.limits, axis.key: limits})

    def action_widen(self) -> None:
        """Take back the range of this axis, or the one that was begun; where there is none, all of them."""
        axis, pose = self.here, self.pose
        if pose.begun is not None or axis is None:
            self._pose(replace(pose, begun=None))
        elif pose.limits:
            left = {key: one for key, one in pose.limits.items() if key != axis.key}
            self._narrow(left if len(left) < len(pose.limits) else {})

    def _narrow(self, limits: Mapping[str, Limits]) -> None:
        self.pose = replace(self.pose, begun=None, limits=limits)
        self._tell()
        self.post_message(self.Narrowed(self))

    def _pose(self, pose: Pose) -> None:
        if pose != self.pose:
            self.pose = pose
            self._tell()

    def copied(self) -> str:
        """Return what ``y`` copies: the ranges as a filter."""
        return " ".join(self.narrowing)

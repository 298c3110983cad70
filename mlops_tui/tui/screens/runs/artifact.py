"""A run's files, one after the other: pictures, tables, matrices and text as cells."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from mlops_tui.contracts.artifact import Content
from mlops_tui.contracts.run import Run
from mlops_tui.core.errors import BadInput, MlopsError
from mlops_tui.tui.drawing import contents
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing.text import join, line
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.frame.base import Face
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.picture import Picture
from mlops_tui.tui.work import start

if TYPE_CHECKING:
    from mlops_tui.tui.drawing.png import Pixels


class ArtifactScreen(Face):
    """One file of a run; keys lead to the next and the one before.

    Args:
        run: the run.
        path: the file to begin with; its first one when empty.
    """

    SCOPE = "artifact"
    MODE = "runs"
    BINDINGS = bindings("artifact")
    DEFAULT_CSS = "ArtifactScreen #picture { display: none; }"

    def __init__(self, run: Run, path: str = "") -> None:
        super().__init__()
        self.run_of = run
        self.paths = [one.path for one in run.artifacts]
        self.path = path or next(iter(self.paths), "")
        self.content: Content | None = None

    @property
    def crumb(self) -> str:
        """The file's path."""
        return self.path or "files"

    @property
    def topics(self) -> frozenset[str]:
        """A file may be replaced while its run goes on."""
        return frozenset(("run",))

    def panels(self) -> ComposeResult:
        """Yield the two ways to show a file, of which one is seen."""
        hints = "artifact.before artifact.next artifact.save"
        yield Lines("File", hints, empty="this run keeps no files", ident="text")
        yield Picture("File", hints, ident="picture")

    async def load(self, news: News) -> None:
        """Read the file and show it as what it is."""
        if not (news.all or self.run_of.id in news.of("run")):
            return
        panel = self.lines("text")
        if not self.path:
            panel.show([])
            return
        request = {"of": self.run_of.id, "path": self.path, "part": True}
        got: Content | None = await self.fill(panel, self.door.call("artifact.read", request))
        if got is None or (self.content and got.digest == self.content.digest and got.name == self.content.name):
            return
        self.content = got
        try:
            await self._show(got)
        except MlopsError as problem:
            self._see("text")
            panel.show([])
            panel.show_problem(problem)

    async def _show(self, got: Content) -> None:
        place = f"  ({self.paths.index(self.path) + 1} of {len(self.paths)})" if self.path in self.paths else ""
        whole = len(got.content) == got.size
        told = join([line((fmt.size(got.size), "dim")), line(("" if whole else "only its beginning", "warn"))])
        shown = self._see("picture" if contents.is_picture(self.path) else "text")
        shown.title, shown.figure = self.path + place, told
        if isinstance(shown, Picture):
            shown.show(await asyncio.to_thread(pixels_of, got.content))
        elif isinstance(shown, Lines):
            write = await asyncio.to_thread(contents.writer_of, self.path, got.content)
            shown.show(write)
            shown.scroll_rows(-shown.top)

    def _see(self, name: str) -> Lines | Picture:
        lines, picture = self.lines("text"), self.query_one(Picture)
        lines.display, picture.display = name == "text", name == "picture"
        shown = lines if name == "text" else picture
        shown.focus()
        return shown

    def action_turn(self, by: int) -> None:
        """Show the next file; after the last comes the first."""
        if self.path in self.paths:
            self.path = self.paths[(self.paths.index(self.path) + by) % len(self.paths)]
            self.content = None
            self.restate()
            self.reload()

    def action_save(self) -> None:
        """Write the file into the working folder; one that is there already is not replaced."""
        start(self, self._save)

    async def _save(self) -> None:
        if not self.path:
            return
        got: Content = await self.door.call("artifact.read", {"of": self.run_of.id, "path": self.path})
        path = Path.cwd() / got.name
        try:
            with path.open("xb") as file:
                file.write(got.content)
        except OSError as error:
            raise BadInput(
                f"{path} cannot be written", error.strerror or str(error), "start mlops elsewhere"
            ) from error
        self.notify(str(path), title="written", markup=False)

    def cli(self) -> str:
        """The file as a command."""
        return shlex.join(["mlops", "artifact", "get", self.run_of.name, *([self.path] if self.path else [])])

    def subject(self) -> tuple[str, str]:
        """The run."""
        return "run", self.run_of.id


def pixels_of(content: bytes) -> Pixels:
    """Return the pixels of a picture; what is no PNG needs Pillow.

    Raises:
        BadInput: it cannot be read.
    """
    from mlops_tui.tui.drawing import png

    if content.startswith(b"\x89PNG"):
        return png.read(content)
    try:
        import io

        import numpy as np
        from PIL import Image
    except ImportError as error:
        raise BadInput("only PNG pictures are shown here", "", "pip install pillow shows the others too") from error
    try:
        with Image.open(io.BytesIO(content)) as opened:
            return np.asarray(opened.convert("RGB"))
    except (OSError, ValueError) as error:
        raise BadInput("this picture cannot be read", str(error)) from error

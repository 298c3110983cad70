"""What a person writes on a run: its note and its tags. Both go through a plan, like any change."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from mlops_tui.tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from mlops_tui.contracts.run import Run
    from mlops_tui.tui.screens.base import Face


def note(face: Face, run: Run) -> None:
    """Edit the note of a run."""

    def done(text: str) -> None:
        if text != run.note:
            face.change("run.note", {"run": run.id, "text": text}, "keep the note")

    face.mount(Prompt(f"note on {run.name}", run.note, done, hint="what is worth remembering"))


def tags(face: Face, run: Run) -> None:
    """Set or remove tags of a run, ``key=value`` and more of them with blanks between."""

    def done(text: str) -> None:
        try:
            words = [word.partition("=") for word in shlex.split(text)]
        except ValueError as error:
            face.complain(f"this cannot be read: {error}")
            return
        if any(not key or not sign for key, sign, _ in words):
            face.complain("tags are written as key=value; key= removes one")
        elif words:
            face.change("run.tag", {"run": run.id, "tags": {key: value for key, _, value in words}}, "keep the tags")

    own = [f"{key}=" for key in run.tags]
    face.mount(Prompt(f"tags of {run.name}", "", done, hint="stage=candidate; stage= removes it", words=own))

"""What a person writes on runs, one or many: a note and tags. Both go through a plan, like any change."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlops_tui.tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from mlops_tui.contracts.run import Run
    from mlops_tui.tui.screens.frame.base import Face


def note(face: Face, runs: Sequence[Run]) -> None:
    """Edit the note of runs; where they have different ones, one begins with none."""
    notes = {run.note for run in runs}
    now = notes.pop() if len(notes) == 1 else ""

    def done(text: str) -> None:
        if notes or text != now:
            face.change("run.note", {**these([run.id for run in runs]), "text": text}, "keep the note")

    face.mount(Prompt(f"note on {_called(runs)}", now, done, hint="what is worth remembering"))


def tags(face: Face, runs: Sequence[Run]) -> None:
    """Set or remove tags of runs, ``key=value`` and more of them with blanks between."""

    def done(text: str) -> None:
        try:
            words = [word.partition("=") for word in shlex.split(text)]
        except ValueError as error:
            face.complain(f"this cannot be read: {error}")
            return
        if any(not key or not sign for key, sign, _ in words):
            face.complain("tags are written as key=value; key= removes one")
        elif words:
            tagged = {key: value for key, _, value in words}
            face.change("run.tag", {**these([run.id for run in runs]), "tags": tagged}, "keep the tags")

    own = list(dict.fromkeys(f"{key}=" for run in runs for key in run.tags))
    face.mount(Prompt(f"tags of {_called(runs)}", "", done, hint="stage=candidate; stage= removes it", words=own))


def stop(face: Face, runs: Sequence[Run]) -> None:
    """Stop the job that a run belongs to; a process that the agent did not start is not its to stop."""
    run = runs[0]
    if len(runs) > 1:
        face.complain("one run is stopped at a time")
    elif run.status != "running":
        face.complain(f"{run.name} is over already")
    elif run.job:
        face.change("job.stop", {"job": run.job})
    else:
        process = f": process {run.pid} on {run.host}" if run.pid else f" on {run.host}"
        face.complain(f"{run.name} was not started by mlops train, so stop it where it runs{process}")


def register(face: Face, runs: Sequence[Run]) -> None:
    """Register the model of a run; its name and file are what they probably are until the person says otherwise."""
    from mlops_tui.tui.commands import plan

    run = runs[0]
    if len(runs) > 1:
        face.complain("one run is registered at a time: each becomes a version of its own")
        return
    file = next((one.path for one in run.artifacts if one.path.endswith(".onnx")), "")
    name = run.models[0].partition("@")[0] if run.models else run.experiment
    made = next((one.id for one in run.logged if one.status == "ready"), "")
    if made and not file:  # what MLflow's clients log is a folder, not a file
        source = {"source": f"models:/{made}", "run": run.id}
        plan(face.mlops, "version.create", source, {"name": name}, ("name", "description"))
    elif file:
        plan(face.mlops, "model.register", {"run": run.id}, {"name": name, "artifact": file})
    else:
        face.complain(f"{run.name} made no model: log an ONNX file, or a model through MLflow")


def these(runs: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a request that name these runs."""
    first, *also = runs
    return {"run": first, **({"also": also} if also else {})}


def _called(runs: Sequence[Run]) -> str:
    return runs[0].name if len(runs) == 1 else f"{len(runs)} runs"

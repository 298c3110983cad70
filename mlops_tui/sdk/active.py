"""Starting a run, and the run that is active: ``with mlops.start_run(...) as run`` and ``mlops.log(...)``."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_tui.core.ids import matches, uuid7
from mlops_tui.core.paths import home
from mlops_tui.sdk import exits, facts
from mlops_tui.sdk.git import git_state
from mlops_tui.sdk.run import Run
from mlops_tui.spool.notice import Notices, say
from mlops_tui.spool.writer import Writer

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_open: list[Run] = []
_mine: set[str] = set()
_notices = Notices()


def start_run(
    experiment: str = "",
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    resume: str | None = None,
    kind: str = "train",
) -> Run:
    """Start a run, or join one, and make it the active run.

    A process that a job started joins the run of ``MLOPS_RUN_ID``; its further runs are children of that one. Inside
    a ``with`` block a new run is a child of the block's. A run of this thread that was neither entered nor ended, as
    a notebook's cell leaves behind, ends as done.

    Git state, command line, environment, seeds and hardware are noted without being asked. Never raises.

    Args:
        experiment: what the run belongs to; default ``MLOPS_EXPERIMENT``, else ``Default``.
        name: a name; default, one is made.
        params: parameters, kept as text and in their order.
        tags: tags, kept as text.
        resume: id of a run to go on with, whole or as much as names one run that has not been taken in yet.
        kind: what the run does, e.g. ``train`` or ``evaluate``.
    """
    notices = Notices()
    parent = _make_room()
    spool = facts.safely(lambda: home().spool, otherwise=Path("/nonexistent/mlops/spool"))
    owner, joined, parent = _which(spool, facts.word(resume), parent, notices)
    _mine.add(owner)
    experiment = facts.word(experiment)
    if not joined:
        experiment = experiment or os.environ.get("MLOPS_EXPERIMENT") or "Default"
    member = joined and owner == _given() and os.environ.get("RANK", "0") != "0"
    given = {
        "experiment": experiment,
        "name": facts.word(name) or None,
        "parent": parent,
        "kind": facts.word(kind) or "train",
    }
    known = {} if member else _captured()
    noted = {"params": {} if params is None else params, "tags": _tags(tags, notices)}
    writer = Writer(
        spool, owner, run={**given, **noted, **known}, start=not member, heartbeat=not member, notices=notices
    )
    run = Run(writer, experiment=experiment, name=given["name"], member=member, on_end=_ended)
    _open.append(run)
    exits.listen(run)
    if not member:
        run.tag_later(facts.later)
        _announce(run)
    return run


def active_run() -> Run | None:
    """Return the run that was started last and is not over: of this thread, else of any."""
    if len(_open) > 1:
        here = threading.get_ident()
        return next((run for run in reversed(_open) if run.thread == here), _open[-1])
    return _open[0] if _open else None


def log(metrics: Mapping[str, Any], step: int | None = None) -> None:
    """Log metrics to the active run; see :meth:`Run.log`."""
    if run := _active():
        run.log(metrics, step)


def log_param(key: str, value: Any) -> None:
    """Log a parameter to the active run."""
    if run := _active():
        run.log_param(key, value)


def log_params(params: Mapping[str, Any]) -> None:
    """Log parameters to the active run."""
    if run := _active():
        run.log_params(params)


def set_tag(key: str, value: Any) -> None:
    """Set a tag of the active run."""
    if run := _active():
        run.set_tag(key, value)


def set_tags(tags: Mapping[str, Any]) -> None:
    """Set tags of the active run."""
    if run := _active():
        run.set_tags(tags)


def log_artifact(source: str | os.PathLike[str] | bytes, path: str | None = None) -> None:
    """Keep a file, a folder or bytes with the active run; see :meth:`Run.log_artifact`."""
    if run := _active():
        run.log_artifact(source, path)


def use_dataset(name: str, digest: str | None = None, context: str = "training") -> None:
    """Note that the active run used a data set version, e.g. ``census@3``."""
    if run := _active():
        run.use_dataset(name, digest, context)


def should_stop() -> bool:
    """Tell whether the job was asked to stop: write a checkpoint and exit with ``PREEMPTED``."""
    return exits.stop_asked()


def _active() -> Run | None:
    run = active_run()
    if run is None:
        _notices.once("no run", "nothing is logged: there is no active run; begin with mlops.start_run()")
    return run


def _make_room() -> str | None:
    """End what this thread left behind, and return the id of the run whose block we are in."""
    here = threading.get_ident()
    for run in [run for run in _open if run.thread == here and not run.entered]:
        run.end("done")
    return next((run.id for run in reversed(_open) if run.thread == here), None)


def _ended(run: Run) -> None:
    if run in _open:
        _open.remove(run)
    exits.forget(run)


def _given() -> str:
    return os.environ.get("MLOPS_RUN_ID", "").strip().lower()


def _captured() -> dict[str, Any]:
    return {
        "git": git_state(facts.code_folder()) or git_state(Path.cwd()),
        "env": facts.safely(facts.environment, otherwise={}),
        "hardware": facts.safely(facts.hardware, otherwise={}),
        "command": facts.safely(facts.command, otherwise=""),
        "actor": facts.safely(facts.actor, otherwise=""),
    }


def _tags(tags: Any, notices: Notices) -> dict[Any, Any]:
    variables = {"mlops.job": "MLOPS_JOB_ID", "mlops.attempt": "MLOPS_ATTEMPT"}
    found = {tag: os.environ[variable] for tag, variable in variables.items() if os.environ.get(variable)}
    try:
        return {**found, **(tags or {})}
    except Exception:  # no mapping
        notices.once("tag", "the tags of start_run are no mapping; dropped")
        return found


def _which(spool: Path, resume: str, parent: str | None, notices: Notices) -> tuple[str, bool, str | None]:
    """Return the id to write under, whether that run exists already, and the parent of a new one."""
    if resume:
        if found := _resumed(spool, resume.strip().lower(), notices):
            return found, True, None
        return uuid7(), False, parent
    given = _given()
    if given and not _ID.fullmatch(given):
        notices.once("run id", f"MLOPS_RUN_ID={given!r:.80} is no run id; a new run is started")
        given = ""
    if given and given not in _mine:
        return given, True, None
    return uuid7(), False, parent or given or None


def _resumed(spool: Path, typed: str, notices: Notices) -> str | None:
    typed = typed.removeprefix("run:")
    if _ID.fullmatch(typed):
        return typed
    names: list[str] = facts.safely(os.listdir, spool, otherwise=[])
    found = [name for name in names if _ID.fullmatch(name) and matches(name, typed)]
    if len(found) == 1:
        return found[0]
    why = "several runs are" if found else "no run here is"
    notices.once("resume", f"{why} called {typed!r:.80}; a new run is started (a whole run id always resumes)")
    return None


def _announce(run: Run) -> None:
    if os.environ.get("MLOPS_QUIET", "").lower() not in ("1", "true", "yes", "on"):
        name = f" {run.name}" if run.name else ""
        where = f" of {run.experiment}" if run.experiment else ""
        say(f"run{name}{where} · mlops open {run.link}")

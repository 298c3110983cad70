"""Starting a run, and the run that is active: ``with mlops.start_run(...) as run`` and ``mlops.log(...)``."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from mlops_tui.core.ids import dashed, matches, uuid7
from mlops_tui.core.paths import home
from mlops_tui.sdk import again, exits, facts
from mlops_tui.sdk import console as tee
from mlops_tui.sdk.git import git_state
from mlops_tui.sdk.run import Run
from mlops_tui.spool import usage
from mlops_tui.spool.notice import Notices, say
from mlops_tui.spool.writer import Writer

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEX = re.compile(r"[0-9a-f]{32}")
_NOWHERE = Path("/nonexistent/mlops/spool")
_open: list[Run] = []
_begun: ContextVar[tuple[Run, ...]] = ContextVar("mlops_runs", default=())
"""What this thread began or, of asyncio, this task and those that made it."""
_mine: set[str] = set()


def start_run(
    experiment: str = "",
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    resume: bool | str | None = None,
    kind: str = "train",
    *,
    run_id: str | None = None,
    parent: Run | str | None = None,
    nested: bool | None = None,
    fork_from: Run | str | None = None,
    step: int | None = None,
    console: bool | None = None,
) -> Run:
    """Start a run, or go on with one, and make it the active run. What is logged to a resumed run is appended.

    A process that a job started joins the run of ``MLOPS_RUN_ID``; its further runs are children of that one. Inside
    a ``with`` block a new run is a child of the block's. A run of this thread (of asyncio: this task) that was
    neither entered nor ended, as a notebook's cell leaves behind, ends as done.

    Git state, command line, environment, seeds and hardware are noted without being asked. Never raises.

    Args:
        experiment: what the run belongs to; default ``MLOPS_EXPERIMENT``, else ``Default``.
        name: a name; default, one is made.
        params: parameters, kept as text and in their order.
        tags: tags, kept as text.
        resume: id of a run to go on with, whole or as much as names one run that has not been taken in yet; or True:
            the run of ``run_id``, else the one that this script began last with ``resume=True`` and did not finish.
        kind: what the run does, e.g. ``train`` or ``evaluate``.
        run_id: id of the run: a run that is there goes on, else one is started under this id (a UUID).
        parent: the run, or its whole id, that this one is a part of; default, the block that we are in.
        fork_from: the run, or its whole id, whose history and parameters the new run begins with; a metric without a
            step counts on from there.
        step: the last step of that history; default, all of it.
        console: whether the run keeps what is printed; default, in a script (not in a notebook) that is no job, whose
            runner keeps it.
        nested: True makes it a child of the active run also outside of a block; False makes it nobody's child.
    """
    notices = Notices()
    above = _above(parent, nested, notices)
    spool = facts.safely(lambda: home().spool, otherwise=_NOWHERE)
    mark = again.mark(experiment, name) if resume is True and not run_id else None
    wanted = run_id or (again.left(mark) if mark else resume if resume is not True else "")
    owner, joined, above = _which(spool, facts.word(wanted), above, notices)
    if mark:
        again.note(mark, owner)
    _mine.add(owner)
    experiment = facts.word(experiment)
    if not joined or run_id:  # the run of that id may be a new one
        experiment = experiment or os.environ.get("MLOPS_EXPERIMENT") or "Default"
    member = joined and owner == _given() and os.environ.get("RANK", "0") != "0"
    given = {
        "experiment": experiment,
        "name": facts.word(name) or None,
        "parent": above,
        "kind": facts.word(kind) or "train",
        **_forked(fork_from, step, notices),
    }
    known = {} if member else _captured()
    noted = {"params": {} if params is None else params, "tags": _tags(tags, notices)}
    goes_on = joined and not member and (wanted or os.environ.get("MLOPS_ATTEMPT", "1") != "1")
    before = again.left_off(spool, owner) if goes_on else again.LeftOff(None, 0)
    facts_of_it = {**given, **noted, **known}
    writer = Writer(
        spool, owner, run=facts_of_it, start=not member, heartbeat=not member, notices=notices, after=before.ts
    )
    if given.get("fork"):
        step = given["fork_step"]
        writer.go_on(again.left_off(spool, given["fork"]).step if step is None else step)
    writer.go_on(before.step)
    run = Run(writer, experiment=experiment, name=given["name"], member=member, on_end=_ended)
    run.mark, run.place = mark, _place()
    _open.append(run)
    _begun.set((*(one for one in _begun.get() if not one.ended), run))
    in_job = bool(os.environ.get("MLOPS_JOB_ID")) and owner == _given()
    if tee.wanted(console, in_job):
        tee.listen(run, active_run)
    exits.listen(run)
    if not member:
        run.tag_later(facts.later)
        if usage.wanted() and not in_job:  # there the runner measures
            run.usage = facts.safely(usage.Usage, writer, os.getpid(), otherwise=None)
        _announce(run)
    return run


def joined(owner: str, experiment: str, name: str | None, next_step: int) -> Run:
    """Return a run that was handed to this process (pickled): it writes a file of its own here, and ends nothing."""
    if here := next((run for run in _open if run.id == owner), None):
        return here
    spool = facts.safely(lambda: home().spool, otherwise=_NOWHERE)
    writer = Writer(spool, owner, start=False)
    writer.go_on(next_step - 1)
    run = Run(writer, experiment=experiment, name=name, member=True, on_end=_ended)
    _open.insert(0, run)  # active where there is no other: it may have come out of an old checkpoint
    return run


def active_run() -> Run | None:
    """Return the run that was started last and is not over: of this thread or task, else of any."""
    if len(_open) > 1:
        return next((run for run in reversed(_begun.get()) if not run.ended), _open[-1])
    return _open[0] if _open else None


def should_stop() -> bool:
    """Tell whether the job was asked to stop: write a checkpoint and exit with ``PREEMPTED``."""
    return exits.stop_asked()


def _above(parent: Run | str | None, nested: bool | None, notices: Notices) -> str | None:
    """Return the id of the run that a new one is a part of; a run that this thread left behind is ended first."""
    if nested and parent is None:
        parent = active_run()
    block = None if nested else _make_room()
    if parent is None:
        return None if nested is False else block
    return _whole(parent, "the new run is nobody's child", notices)


def _forked(run: Run | str | None, step: int | None, notices: Notices) -> dict[str, Any]:
    """Return what the start of a run says of the run that it forks."""
    if run is None or (found := _whole(run, "the new run begins empty", notices)) is None:
        return {}
    return {"fork": found, "fork_step": facts.safely(lambda: None if step is None else int(step), otherwise=None)}


def _whole(run: Run | str, otherwise: str, notices: Notices) -> str | None:
    found = run.id if isinstance(run, Run) else facts.word(run).strip().lower().removeprefix("run:")
    if not _ID.fullmatch(found) and _HEX.fullmatch(found):  # as MLflow's clients write it
        found = dashed(found)
    if not _ID.fullmatch(found):
        notices.once("run id", f"{found!r:.80} is no whole run id; {otherwise}")
        return None
    return found


def _make_room() -> str | None:
    """End what this thread or task left behind, and return the id of the run whose block we are in."""
    here = _place()
    for run in [run for run in _open if run.place == here and not run.entered]:
        run.end("done")
    return next((run.id for run in reversed(_begun.get()) if run.entered and not run.ended), None)


def _place() -> tuple[int, int]:
    """Return which thread runs, and which task of asyncio: but a notebook's cells go on with each other."""
    task = None
    if "asyncio" in sys.modules and "ipykernel" not in sys.modules:
        task = facts.safely(sys.modules["asyncio"].current_task, otherwise=None)  # raises where no loop runs
    return threading.get_ident(), id(task)


def _ended(run: Run) -> None:
    if run in _open:
        _open.remove(run)
    if run.mark and run.status == "done":
        again.forget(run.mark)
    exits.forget(run)


def _given() -> str:
    return os.environ.get("MLOPS_RUN_ID", "").strip().lower()


def _captured() -> dict[str, Any]:
    return {
        "git": facts.safely(_git, otherwise={}),
        "env": facts.safely(facts.environment, otherwise={}),
        "hardware": facts.safely(facts.hardware, otherwise={}),
        "command": facts.safely(facts.command, otherwise=""),
        "actor": facts.safely(facts.actor, otherwise=""),
    }


def _git() -> dict[str, Any]:
    return git_state(facts.code_folder()) or git_state(Path.cwd())


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

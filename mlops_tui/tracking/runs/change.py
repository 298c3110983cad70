"""Changing what is kept of runs: their notes, their tags, and whether they are shown at all; many by one plan."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from mlops_tui.contracts import run as contract
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import BadInput, Conflict
from mlops_tui.door import Context, implements
from mlops_tui.spool.text import is_name
from mlops_tui.tracking.runs.contents import tag_all
from mlops_tui.tracking.runs.find import find_runs
from mlops_tui.tracking.runs.read import versions_of

_MAX_TEXT = 100_000
_NAMED = 3
"""Runs that are called by name where many are changed at once."""


@implements(contract.note)
class Note:
    """Keep a note with runs; an empty text removes it."""

    def plan(self, ctx: Context, request: contract.NoteRequest) -> Plan:
        """Say the note before and after."""
        rows = _rows(ctx, request.run, request.also)
        if len(request.text) > _MAX_TEXT:
            raise BadInput(
                "the note is too long", f"it has more than {_MAX_TEXT:,} characters", "log it as an artifact"
            )
        changes = [Change(object=_link(row), field="note", before=row["note"], after=request.text) for row in rows]
        return _plan("note", rows, f"note on {_named(rows)}", changes, [request.text])

    def apply(self, ctx: Context, request: contract.NoteRequest, plan: Plan) -> Done:
        """Write it."""
        ids = plan.data["ids"]
        ctx.session.change("run", ids, "UPDATE run SET note = ? WHERE id IN (SELECT unnest(?))", [request.text, ids])
        return _done(ctx, plan, "noted")


@implements(contract.tag)
class Tag:
    """Set tags; an empty value removes one."""

    def plan(self, ctx: Context, request: contract.TagRequest) -> Plan:
        """Say each tag before and after."""
        rows = _rows(ctx, request.run, request.also)
        for key in request.tags:
            if not is_name(key):
                raise BadInput(f"{key!r:.80} is no name for a tag", "", "mlops run tag RUN stage=candidate")
        if not request.tags:
            raise BadInput("no tag is given", "", "mlops run tag RUN stage=candidate")
        now = _tags(ctx, rows)
        changes = [
            Change(object=_link(row), field=key, before=now.get((row["id"], key)), after=value or None)
            for row in rows
            for key, value in request.tags.items()
        ]
        pairs = [f"{key}={value}" for key, value in request.tags.items()]
        return _plan("tag", rows, f"tag {_named(rows)}: {', '.join(pairs)}", changes, pairs)

    def apply(self, ctx: Context, request: contract.TagRequest, plan: Plan) -> Done:
        """Write them."""
        runs, kept = plan.data["ids"], {key: value for key, value in request.tags.items() if value}
        old = "DELETE FROM tag WHERE object IN (SELECT unnest(?)) AND key IN (SELECT unnest(?))"
        ctx.session.change("tag", runs, old, [runs, [*request.tags]])
        tag_all(ctx, runs, kept)
        return _done(ctx, plan, "tagged")


@implements(contract.delete)
class Delete:
    """Hide runs from every list. Their data stays, and so does what was made from it."""

    def plan(self, ctx: Context, request: contract.DeleteRun) -> Plan:
        """Refuse what runs unless told to; warn when model versions came from it."""
        rows = _rows(ctx, request.run, request.also)
        for row in rows:
            if row["deleted"] is not None:
                raise Conflict(f"the run {row['name']} is deleted already", "", f"mlops run restore {row['id']}")
            if row["status"] == "running" and not request.force:
                raise Conflict(f"the run {row['name']} is running", "", "stop it first: mlops job stop, or Ctrl-C")
        changes = [_hidden(row, False, True) for row in rows]
        plan = _plan("delete", rows, f"delete {_named(rows)}", changes, [])
        names = {row["id"]: row["name"] for row in rows}
        made = versions_of(ctx.session, [*names])
        plan.warnings = [f"{name} was made by {names[run]} and stays" for run, name in made]
        return plan

    def apply(self, ctx: Context, request: contract.DeleteRun, plan: Plan) -> Done:
        """Hide them."""
        ids, hide = plan.data["ids"], "UPDATE run SET deleted = make_timestamp(?) WHERE id IN (SELECT unnest(?))"
        ctx.session.change("run", ids, hide, [ctx.now, ids])
        return _done(ctx, plan, "deleted")


@implements(contract.restore)
class Restore:
    """Show deleted runs again."""

    def plan(self, ctx: Context, request: contract.RestoreRun) -> Plan:
        """Refuse what is not deleted."""
        rows = _rows(ctx, request.run, request.also)
        for row in rows:
            if row["deleted"] is None:
                raise Conflict(f"the run {row['name']} is not deleted")
        return _plan("restore", rows, f"restore {_named(rows)}", [_hidden(row, True, False) for row in rows], [])

    def apply(self, ctx: Context, request: contract.RestoreRun, plan: Plan) -> Done:
        """Show them."""
        ids = plan.data["ids"]
        ctx.session.change("run", ids, "UPDATE run SET deleted = NULL WHERE id IN (SELECT unnest(?))", [ids])
        return _done(ctx, plan, "restored")


def _rows(ctx: Context, first: str, also: Sequence[str]) -> list[dict[str, Any]]:
    """Return the runs that are meant, each once, in the order in which they were named."""
    return find_runs(ctx.session, ctx.tenant, [first, *also])


def _tags(ctx: Context, rows: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    sql = "SELECT object, key, value FROM tag WHERE object IN (SELECT unnest(?))"
    return {(run, key): value for run, key, value in ctx.session.rows(sql, [[row["id"] for row in rows]])}


def _named(rows: list[dict[str, Any]]) -> str:
    """Return what a person calls these runs: one by its name, many by how many and the first few."""
    names = [str(row["name"]) for row in rows]
    if len(names) == 1:
        return f"the run {names[0]}"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} runs ({', '.join(names[:_NAMED])}{more})"


def _link(row: dict[str, Any]) -> str:
    return f"run:{row['id']}"


def _hidden(row: dict[str, Any], before: bool, after: bool) -> Change:
    return Change(object=_link(row), field="deleted", before=before, after=after)


def _plan(verb: str, rows: list[dict[str, Any]], text: str, changes: list[Change], words: list[str]) -> Plan:
    first, *also = ids = [row["id"] for row in rows]
    # What the command takes last may be any number of words: there more runs need their flag.
    more = [word for run in also for word in (("--also", run) if words else (run,))]
    cli = shlex.join(["mlops", "run", verb, first, *words, *more])
    return Plan(operation=f"run.{verb}", object=_link(rows[0]), text=text, changes=changes, cli=cli, data={"ids": ids})


def _done(ctx: Context, plan: Plan, action: str) -> Done:
    for run in plan.data["ids"]:
        ctx.emit("run", run, action, plan.text, f"run:{run}")
    return Done(object=plan.object, text=plan.text)

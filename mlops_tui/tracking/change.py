"""Changing what is kept of a run: its note, its tags, and whether it is shown at all."""

from __future__ import annotations

import shlex
from typing import Any

from mlops_tui.contracts import run as contract
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import BadInput, Conflict
from mlops_tui.door import Context, implements
from mlops_tui.spool.text import is_name
from mlops_tui.tracking.contents import put_tags
from mlops_tui.tracking.find import find_run
from mlops_tui.tracking.read import models_of

_MAX_TEXT = 100_000


@implements(contract.note)
class Note:
    """Keep a note with a run; an empty text removes it."""

    def plan(self, ctx: Context, request: contract.NoteRequest) -> Plan:
        """Say the note before and after."""
        row = find_run(ctx.session, ctx.tenant, request.run)
        if len(request.text) > _MAX_TEXT:
            raise BadInput(
                "the note is too long", f"it has more than {_MAX_TEXT:,} characters", "log it as an artifact"
            )
        changes = [Change(object=_link(row), field="note", before=row["note"], after=request.text)]
        return _plan("note", row, f"note on {row['name']}", changes, [request.text])

    def apply(self, ctx: Context, request: contract.NoteRequest, plan: Plan) -> Done:
        """Write it."""
        ctx.session.execute("UPDATE run SET note = ? WHERE id = ?", [request.text, plan.data["id"]])
        return _done(ctx, plan, "noted")


@implements(contract.tag)
class Tag:
    """Set tags; an empty value removes one."""

    def plan(self, ctx: Context, request: contract.TagRequest) -> Plan:
        """Say each tag before and after."""
        row = find_run(ctx.session, ctx.tenant, request.run)
        for key in request.tags:
            if not is_name(key):
                raise BadInput(f"{key!r:.80} is no name for a tag", "", "mlops run tag RUN stage=candidate")
        if not request.tags:
            raise BadInput("no tag is given", "", "mlops run tag RUN stage=candidate")
        now = dict(ctx.session.rows("SELECT key, value FROM tag WHERE object = ?", [row["id"]]))
        changes = [
            Change(object=_link(row), field=key, before=now.get(key), after=value or None)
            for key, value in request.tags.items()
        ]
        pairs = [f"{key}={value}" for key, value in request.tags.items()]
        return _plan("tag", row, f"tag {row['name']}: {', '.join(pairs)}", changes, pairs)

    def apply(self, ctx: Context, request: contract.TagRequest, plan: Plan) -> Done:
        """Write them."""
        run = plan.data["id"]
        old = "DELETE FROM tag WHERE object = ? AND key IN (SELECT unnest(?))"
        ctx.session.change("tag", [run], old, [run, [*request.tags]])
        put_tags(ctx, run, [(ctx.now, {key: value for key, value in request.tags.items() if value})])
        return _done(ctx, plan, "tagged")


@implements(contract.delete)
class Delete:
    """Hide a run from every list. Its data stays, and so does what was made from it."""

    def plan(self, ctx: Context, request: contract.DeleteRun) -> Plan:
        """Refuse while it runs unless told to; warn when model versions came from it."""
        row = find_run(ctx.session, ctx.tenant, request.run)
        if row["deleted"] is not None:
            raise Conflict(f"the run {row['name']} is deleted already", "", f"mlops run restore {row['id']}")
        if row["status"] == "running" and not request.force:
            raise Conflict(f"the run {row['name']} is running", "", "stop it first: mlops job stop, or Ctrl-C")
        plan = _plan("delete", row, f"delete the run {row['name']}", [_hidden(row, False, True)], [])
        plan.warnings = [f"{name} was made by it and stays" for name in models_of(ctx.session, row["id"])]
        return plan

    def apply(self, ctx: Context, request: contract.DeleteRun, plan: Plan) -> Done:
        """Hide it."""
        ctx.session.execute("UPDATE run SET deleted = make_timestamp(?) WHERE id = ?", [ctx.now, plan.data["id"]])
        return _done(ctx, plan, "deleted")


@implements(contract.restore)
class Restore:
    """Show a deleted run again."""

    def plan(self, ctx: Context, request: contract.OneRun) -> Plan:
        """Refuse what is not deleted."""
        row = find_run(ctx.session, ctx.tenant, request.run)
        if row["deleted"] is None:
            raise Conflict(f"the run {row['name']} is not deleted")
        return _plan("restore", row, f"restore the run {row['name']}", [_hidden(row, True, False)], [])

    def apply(self, ctx: Context, request: contract.OneRun, plan: Plan) -> Done:
        """Show it."""
        ctx.session.execute("UPDATE run SET deleted = NULL WHERE id = ?", [plan.data["id"]])
        return _done(ctx, plan, "restored")


def _link(row: dict[str, Any]) -> str:
    return f"run:{row['id']}"


def _hidden(row: dict[str, Any], before: bool, after: bool) -> Change:
    return Change(object=_link(row), field="deleted", before=before, after=after)


def _plan(verb: str, row: dict[str, Any], text: str, changes: list[Change], words: list[str]) -> Plan:
    cli = shlex.join(["mlops", "run", verb, row["id"], *words])
    return Plan(operation=f"run.{verb}", object=_link(row), text=text, changes=changes, cli=cli, data={"id": row["id"]})


def _done(ctx: Context, plan: Plan, action: str) -> Done:
    ctx.emit("run", plan.data["id"], action, plan.text, plan.object)
    return Done(object=plan.object, text=plan.text)

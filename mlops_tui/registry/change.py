"""Changing what is kept of a model or a version: its description, its tags, and whether it is shown at all."""

from __future__ import annotations

import shlex
from typing import Any, NamedTuple

from mlops_tui.contracts import model as contract
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import BadInput, Conflict
from mlops_tui.door import Context, implements
from mlops_tui.registry.aliases import drop
from mlops_tui.registry.models import check_free, touch
from mlops_tui.registry.versions import find_model, label, names_version, resolve_version
from mlops_tui.spool.text import is_name
from mlops_tui.store.tags import change_tags, tag_changes


class Subject(NamedTuple):
    """A model or a version: its table, its row, its model's id and what people call it."""

    table: str
    row: dict[str, Any]
    model: str
    name: str

    @property
    def link(self) -> str:
        return f"model:{self.name}"

    @property
    def words(self) -> str:
        return f"the model {self.name}" if self.table == "model" else self.name


@implements(contract.note)
class Note:
    """Describe a model or a version; an empty text removes the description."""

    def plan(self, ctx: Context, request: contract.NoteModel) -> Plan:
        """Say the description before and after."""
        found = _subject(ctx, request.model)
        changes = [Change(object=found.link, field="description", before=found.row["description"], after=request.text)]
        return _plan("note", found, f"describe {found.words}", changes, [request.text])

    def apply(self, ctx: Context, request: contract.NoteModel, plan: Plan) -> Done:
        """Write it."""
        found: Subject = plan.data["subject"]
        ctx.session.execute(
            f"UPDATE {found.table} SET description = ?, updated = make_timestamp(?) WHERE id = ?",
            [request.text, ctx.now, found.row["id"]],
        )
        return _done(ctx, plan, "noted")


@implements(contract.tag)
class Tag:
    """Set and remove tags of a model or a version."""

    def plan(self, ctx: Context, request: contract.TagModel) -> Plan:
        """Say each tag before and after."""
        found = _subject(ctx, request.model)
        if not request.tags and not request.remove:
            raise BadInput("no tag is given", "", f"mlops model tag {request.model} reviewed=yes")
        for key in request.tags:
            if not is_name(key):
                raise BadInput(f"{key!r:.80} is no name for a tag", "", f"mlops model tag {request.model} reviewed=yes")
        changes = tag_changes(ctx.session, found.row["id"], found.link, request.tags, request.remove)
        pairs = [f"{key}={value}" for key, value in request.tags.items()]
        words = [*pairs, *(part for key in request.remove for part in ("--remove", key))]
        return _plan("tag", found, f"tag {found.words}: {', '.join(words)}", changes, words)

    def apply(self, ctx: Context, request: contract.TagModel, plan: Plan) -> Done:
        """Write them."""
        change_tags(ctx.session, plan.data["subject"].row["id"], request.tags, request.remove, ctx.now)
        return _done(ctx, plan, "tagged")


@implements(contract.delete)
class Delete:
    """Hide a model or a version; its name is free again, a version's number is not. Aliases that point at it go."""

    def plan(self, ctx: Context, request: contract.OneModel) -> Plan:
        """Refuse while it is served; warn of the aliases."""
        found = _subject(ctx, request.model)
        serving = ctx.session.column(
            f"""SELECT DISTINCT d.name FROM revision r JOIN deployment d ON d.id = r.deployment_id
                JOIN model_version v ON v.id = r.version_id
                WHERE d.removed IS NULL AND v.{"model_id" if found.table == "model" else "id"} = ? ORDER BY d.name""",
            [found.row["id"]],
        )
        if serving:
            raise Conflict(
                f"{found.words} cannot be deleted", f"it is served by {', '.join(serving)}", "mlops deploy remove NAME"
            )
        changes = [Change(object=found.link, field="deleted", before=False, after=True)]
        plan = _plan("delete", found, f"delete {found.words}", changes, [])
        if found.table == "model_version":
            names = ctx.session.column("SELECT alias FROM alias WHERE version_id = ? ORDER BY alias", [found.row["id"]])
            plan.warnings = [f"the alias {name} points at it and goes" for name in names]
        return plan

    def apply(self, ctx: Context, request: contract.OneModel, plan: Plan) -> Done:
        """Hide it."""
        found: Subject = plan.data["subject"]
        ctx.session.execute(
            f"UPDATE {found.table} SET deleted = make_timestamp(?) WHERE id = ?", [ctx.now, found.row["id"]]
        )
        if found.table == "model_version":
            drop(ctx, found.row["id"])
            touch(ctx, found.model)
        return _done(ctx, plan, "deleted")


@implements(contract.restore)
class Restore:
    """Show a deleted model or version again."""

    def plan(self, ctx: Context, request: contract.OneModel) -> Plan:
        """Find it among what is deleted; its name must still be free."""
        found = _deleted(ctx, request.model)
        if found.table == "model":
            check_free(ctx, found.name)
        changes = [Change(object=found.link, field="deleted", before=True, after=False)]
        return _plan("restore", found, f"restore {found.words}", changes, [])

    def apply(self, ctx: Context, request: contract.OneModel, plan: Plan) -> Done:
        """Show it."""
        found: Subject = plan.data["subject"]
        ctx.session.execute(f"UPDATE {found.table} SET deleted = NULL WHERE id = ?", [found.row["id"]])
        touch(ctx, found.model)
        return _done(ctx, plan, "restored")


def _subject(ctx: Context, reference: str) -> Subject:
    if names_version(ctx.session, ctx.tenant, reference):
        return _version(resolve_version(ctx.session, ctx.tenant, reference))
    return _model(find_model(ctx.session, ctx.tenant, reference))


def _deleted(ctx: Context, reference: str) -> Subject:
    """Return the deleted model that is meant, or with an ``@`` the deleted version of a model that is there."""
    if "@" in reference:
        return _version(resolve_version(ctx.session, ctx.tenant, reference, deleted=True))
    return _model(find_model(ctx.session, ctx.tenant, reference, deleted=True))


def _version(row: dict[str, Any]) -> Subject:
    return Subject("model_version", row, row["model_id"], label(row))


def _model(row: dict[str, Any]) -> Subject:
    return Subject("model", row, row["id"], row["name"])


def _plan(verb: str, found: Subject, text: str, changes: list[Change], words: list[str]) -> Plan:
    return Plan(
        operation=f"model.{verb}",
        object=found.link,
        text=text,
        changes=changes,
        cli=shlex.join(["mlops", "model", verb, found.name, *words]),
        data={"subject": found},
    )


def _done(ctx: Context, plan: Plan, action: str) -> Done:
    ctx.emit("model", plan.data["subject"].model, action, plan.text, plan.object)
    return Done(object=plan.object, text=plan.text)

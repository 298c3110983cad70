"""Models themselves: made before their first version, renamed."""

from __future__ import annotations

import shlex

from mlops_tui.contracts import model as contract
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import AlreadyExists, BadInput, Conflict
from mlops_tui.core.ids import uuid7
from mlops_tui.door import Context, implements
from mlops_tui.registry.versions import find_model
from mlops_tui.store.tags import add_tags


@implements(contract.create)
class Create:
    """Make a model that has no version yet."""

    def plan(self, ctx: Context, request: contract.CreateModel) -> Plan:
        """Refuse a name that is taken or that no reference could say."""
        check_free(ctx, request.name)
        return Plan(
            operation="model.create",
            object=f"model:{request.name}",
            text=f"make the model {request.name}",
            changes=[Change(object=f"model:{request.name}", field="name", after=request.name)],
            cli=shlex.join(["mlops", "model", "create", request.name]),
        )

    def apply(self, ctx: Context, request: contract.CreateModel, plan: Plan) -> Done:
        """Insert it."""
        model = insert_model(ctx, request.name, request.description)
        add_tags(ctx.session, model, request.tags, ctx.now)
        ctx.emit("model", model, "created", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


@implements(contract.rename)
class Rename:
    """Give a model another name. Versions, aliases and deployments are found by its id and stay."""

    def plan(self, ctx: Context, request: contract.RenameModel) -> Plan:
        """Refuse a name that is taken."""
        model = find_model(ctx.session, ctx.tenant, request.model)
        if request.name != model["name"]:
            check_free(ctx, request.name)
        return Plan(
            operation="model.rename",
            object=f"model:{model['name']}",
            text=f"rename the model {model['name']} to {request.name}",
            changes=[Change(object=f"model:{model['name']}", field="name", before=model["name"], after=request.name)],
            cli=shlex.join(["mlops", "model", "rename", model["name"], request.name]),
            data={"id": model["id"]},
        )

    def apply(self, ctx: Context, request: contract.RenameModel, plan: Plan) -> Done:
        """Write the name."""
        model, session = plan.data["id"], ctx.session
        session.execute(
            "UPDATE model SET name = ?, updated = make_timestamp(?) WHERE id = ?", [request.name, ctx.now, model]
        )
        session.execute("UPDATE model_version SET updated = make_timestamp(?) WHERE model_id = ?", [ctx.now, model])
        link = f"model:{request.name}"
        ctx.emit("model", model, "renamed", plan.text, link)
        return Done(object=link, text=plan.text)


def check_free(ctx: Context, name: str) -> None:
    """Return when a model may be called so.

    Raises:
        BadInput: it is no name.
        AlreadyExists: another model has it.
    """
    if not name.strip() or not name.isprintable() or name == "." or name.startswith(".."):
        raise BadInput(f"{name!r:.80} is no name for a model", "", "use letters, digits, spaces, . _ or -")
    if "@" in name:
        raise BadInput(f"{name!r:.80} is no name for a model", "what follows an @ names a version", "leave the @ out")
    if ctx.session.value(
        "SELECT count(*) > 0 FROM model WHERE tenant = ? AND name = ? AND deleted IS NULL", [ctx.tenant, name]
    ):
        raise AlreadyExists(f"there is a model {name} already", "", f"mlops model show {name}")


def insert_model(ctx: Context, name: str, description: str = "") -> str:
    """Insert a model and return its id."""
    made = uuid7()
    ctx.session.insert(
        "model", id=made, tenant=ctx.tenant, name=name, created_us=ctx.now, actor=ctx.caller.name,
        description=description,
    )  # fmt: skip
    return made


def next_version(ctx: Context, name: str, wanted: int = 0) -> tuple[str | None, int]:
    """Return a model's id, if there is one, and the number of its next version; no number is ever given twice.

    Raises:
        Conflict: the number that is wanted is not beyond the last one.
    """
    model: str | None = ctx.session.value(
        "SELECT id FROM model WHERE tenant = ? AND name = ? AND deleted IS NULL", [ctx.tenant, name]
    )
    if model is None:
        check_free(ctx, name)
    last = ctx.session.value("SELECT max(version) FROM model_version WHERE model_id = ?", [model]) or 0
    if 0 < wanted <= last:
        raise Conflict(f"{name} has a version {last} already", f"{wanted} is not beyond it", "leave the number out")
    return model, wanted or last + 1


def version_change(name: str, version: int) -> Change:
    """Return the line of a plan that makes a version."""
    return Change(object=f"model:{name}", field="version", before=version - 1 or None, after=version)


def touch(ctx: Context, model: str) -> None:
    """Note that a model has changed now."""
    ctx.session.execute("UPDATE model SET updated = make_timestamp(?) WHERE id = ?", [ctx.now, model])

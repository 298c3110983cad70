"""Experiments: made, renamed, tagged, deleted with their runs and restored."""

from __future__ import annotations

import shlex
from typing import Any

from mlops_tui.contracts import experiment as contract
from mlops_tui.contracts.experiment import DEFAULT
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import AlreadyExists, BadInput, Conflict, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.door import Context, implements
from mlops_tui.store.session import Session
from mlops_tui.tracking.runs.contents import NOTE, put_tags

_ROW = """
SELECT id, tenant, name, number, place, note, epoch_us(created) AS created,
       epoch_us(coalesce(updated, created)) AS updated, epoch_us(deleted) AS deleted
FROM experiment
"""


def find_experiment(session: Session, tenant: str, typed: str) -> dict[str, Any]:
    """Return the row of the experiment that a name, a number or an id means; a name before a number.

    Raises:
        NotFound: there is none.
    """
    typed = typed.strip().removeprefix("experiment:")
    number = int(typed) if typed.isdecimal() and len(typed) < 19 else -1
    found = session.dict(
        f"{_ROW} WHERE tenant = ? AND (id = ? OR name = ? OR number = ?) ORDER BY name = ? DESC, id = ? DESC LIMIT 1",
        [tenant, typed, typed, number, typed, typed],
    )
    if found is None:
        raise NotFound(f"there is no experiment {typed!r}", "", "mlops experiment list shows them")
    return found


def experiments_by_id(session: Session, ids: list[str]) -> list[dict[str, Any]]:
    """Return the rows of experiments, as :func:`find_experiment` does, in the order of their ids."""
    rows = {row["id"]: row for row in session.dicts(f"{_ROW} WHERE id IN (SELECT unnest(?))", [ids])}
    return [rows[one] for one in ids if one in rows]


def tags_of(session: Session, object: str) -> dict[str, str]:
    """Return the tags of a run or an experiment by key."""
    return dict(session.rows("SELECT key, value FROM tag WHERE object = ? ORDER BY key", [object]))


def ensure(ctx: Context, tenant: str, name: str) -> tuple[str, int]:
    """Return id and number of the experiment of that name; it is made when it is first named.

    ``Default`` means number 0, whatever that is called now, unless another has taken the name.
    """
    sql = """SELECT id, number FROM experiment WHERE tenant = ? AND (name = ? OR (number = 0 AND ?))
             ORDER BY name = ? DESC LIMIT 1"""
    found = ctx.session.row(sql, [tenant, name, name in (DEFAULT, DEFAULT.lower()), name])
    if found:
        return str(found[0]), int(found[1])
    return _make(ctx, tenant, DEFAULT if name == DEFAULT.lower() else name)


def _make(ctx: Context, tenant: str, name: str, place: str = "") -> tuple[str, int]:
    """Insert an experiment; the first that is called ``Default`` has the number 0."""
    highest, first = ctx.session.row(
        "SELECT coalesce(max(number), 0), count(*) FILTER (number = 0) = 0 FROM experiment WHERE tenant = ?", [tenant]
    ) or (0, True)
    number = 0 if name == DEFAULT and first else max(highest, 0) + 1
    made = uuid7()
    ctx.session.insert(
        "experiment",
        id=made, tenant=tenant, name=name, number=number, place=place, created_us=ctx.now, updated_us=ctx.now,
    )  # fmt: skip
    ctx.emit("experiment", made, "created", f"experiment {name}", f"experiment:{name}")
    return made, number


@implements(contract.show)
def show(ctx: Context, request: contract.OneExperiment) -> contract.Experiment:
    """Show an experiment."""
    row = find_experiment(ctx.session, ctx.tenant, request.experiment)
    runs = ctx.session.value("SELECT count(*) FROM run WHERE experiment_id = ? AND deleted IS NULL", [row["id"]])
    shown = ("id", "number", "name", "created", "updated", "place", "note")
    return contract.Experiment(
        **{key: row[key] for key in shown},
        deleted=row["deleted"] is not None,
        tags=tags_of(ctx.session, row["id"]),
        runs=runs,
    )


@implements(contract.create)
class Create:
    """Make an experiment; a name stays taken after its experiment was deleted."""

    def plan(self, ctx: Context, request: contract.CreateExperiment) -> Plan:
        """Refuse a name that is taken."""
        _free(ctx, request.name)
        link = f"experiment:{request.name}"
        cli = shlex.join(["mlops", "experiment", "create", request.name])
        change = Change(object=link, field="name", after=request.name)
        text = f"make the experiment {request.name}"
        return Plan(operation=contract.create.name, object=link, text=text, changes=[change], cli=cli)

    def apply(self, ctx: Context, request: contract.CreateExperiment, plan: Plan) -> contract.ExperimentMade:
        """Make it."""
        made, number = _make(ctx, ctx.tenant, request.name, request.place)
        put_tags(ctx, made, [(ctx.now, request.tags)], "experiment")
        return contract.ExperimentMade(object=plan.object, text=plan.text, id=made, number=number)


@implements(contract.rename)
class Rename:
    """Give an experiment another name."""

    def plan(self, ctx: Context, request: contract.RenameExperiment) -> Plan:
        """Refuse a name that is taken, and a deleted experiment."""
        row = find_experiment(ctx.session, ctx.tenant, request.experiment)
        if row["deleted"] is not None:
            raise Conflict(f"the experiment {row['name']} is deleted", "", f"mlops experiment restore {row['number']}")
        if request.name != row["name"]:
            _free(ctx, request.name)
        change = Change(object=f"experiment:{row['id']}", field="name", before=row["name"], after=request.name)
        return _plan("rename", row, f"rename the experiment {row['name']} to {request.name}", [change], [request.name])

    def apply(self, ctx: Context, request: contract.RenameExperiment, plan: Plan) -> Done:
        """Rename it."""
        one = plan.data["id"]
        ctx.session.change("experiment", [one], "UPDATE experiment SET name = ? WHERE id = ?", [request.name, one])
        return _done(ctx, plan, "renamed")


@implements(contract.tag)
class Tag:
    """Set and remove tags."""

    def plan(self, ctx: Context, request: contract.TagExperiment) -> Plan:
        """Say each tag before and after."""
        row = find_experiment(ctx.session, ctx.tenant, request.experiment)
        if not request.tags and not request.remove:
            raise BadInput("no tag is given", "", "mlops experiment tag EXPERIMENT team=growth")
        now = tags_of(ctx.session, row["id"]) | ({NOTE: row["note"]} if row["note"] else {})
        if missing := [key for key in request.remove if key not in now]:
            raise NotFound(f"the experiment {row['name']} has no tag {missing[0]!r:.80}")
        after: dict[str, str | None] = {**request.tags, **dict.fromkeys(request.remove)}
        link = f"experiment:{row['id']}"
        changes = [Change(object=link, field=key, before=now.get(key), after=value) for key, value in after.items()]
        pairs = [f"{key}={value}" for key, value in request.tags.items()]
        words = [*pairs, *[word for key in request.remove for word in ("--remove", key)]]
        text = f"tag {row['name']}: {', '.join([*pairs, *[f'-{key}' for key in request.remove]])}"
        return _plan("tag", row, text, changes, words)

    def apply(self, ctx: Context, request: contract.TagExperiment, plan: Plan) -> Done:
        """Write them."""
        gone = [plan.data["id"], [*request.tags, *request.remove]]
        old = "DELETE FROM tag WHERE object = ? AND key IN (SELECT unnest(?))"
        ctx.session.change("tag", [plan.data["id"]], old, gone)
        if NOTE in request.remove:
            ctx.session.execute("UPDATE experiment SET note = '' WHERE id = ?", [plan.data["id"]])
        put_tags(ctx, plan.data["id"], [(ctx.now, request.tags)], "experiment")
        return _done(ctx, plan, "tagged")


@implements(contract.delete)
class Delete:
    """Hide an experiment and its runs. Their data stays."""

    def plan(self, ctx: Context, request: contract.OneExperiment) -> Plan:
        """Refuse what is deleted already; warn of runs that go on."""
        row = find_experiment(ctx.session, ctx.tenant, request.experiment)
        if row["deleted"] is not None:
            raise Conflict(f"the experiment {row['name']} is deleted already", "", _restore(row))
        runs, running = ctx.session.row(
            """SELECT count(*), count(*) FILTER (status = 'running') FROM run
               WHERE experiment_id = ? AND deleted IS NULL""",
            [row["id"]],
        ) or (0, 0)
        plan = _plan(
            "delete",
            row,
            f"delete the experiment {row['name']} with {runs} {'run' if runs == 1 else 'runs'}",
            _hidden(row, True),
            [],
        )
        plan.warnings = [f"{running} of its runs are running and go on"] if running else []
        return plan

    def apply(self, ctx: Context, request: contract.OneExperiment, plan: Plan) -> Done:
        """Hide them, all at one moment, which tells them from runs that were deleted before."""
        one, at = plan.data["id"], [ctx.now, plan.data["id"]]
        ctx.session.change("experiment", [one], "UPDATE experiment SET deleted = make_timestamp(?) WHERE id = ?", at)
        hide = "UPDATE run SET deleted = make_timestamp(?) WHERE experiment_id = ? AND deleted IS NULL"
        ctx.session.change("run", _runs(ctx, one), hide, at)
        return _done(ctx, plan, "deleted")


@implements(contract.restore)
class Restore:
    """Show a deleted experiment again with all its runs, those that were deleted before it too, as MLflow does."""

    def plan(self, ctx: Context, request: contract.OneExperiment) -> Plan:
        """Refuse what is not deleted."""
        row = find_experiment(ctx.session, ctx.tenant, request.experiment)
        if row["deleted"] is None:
            raise Conflict(f"the experiment {row['name']} is not deleted")
        earlier = ctx.session.value(
            "SELECT count(*) FROM run WHERE experiment_id = ? AND deleted < make_timestamp(?)",
            [row["id"], row["deleted"]],
        )
        plan = _plan("restore", row, f"restore the experiment {row['name']}", _hidden(row, False), [])
        runs = "1 run that was" if earlier == 1 else f"{earlier} runs that were"
        plan.warnings = [f"{runs} deleted before it come back too"] if earlier else []
        return plan

    def apply(self, ctx: Context, request: contract.OneExperiment, plan: Plan) -> Done:
        """Show them."""
        one = plan.data["id"]
        show = "UPDATE run SET deleted = NULL WHERE experiment_id = ? AND deleted IS NOT NULL"
        ctx.session.change("run", _runs(ctx, one), show, [one])
        ctx.session.change("experiment", [one], "UPDATE experiment SET deleted = NULL WHERE id = ?", [one])
        return _done(ctx, plan, "restored")


def _runs(ctx: Context, experiment: str) -> list[str]:
    return ctx.session.column("SELECT id FROM run WHERE experiment_id = ?", [experiment])


def _free(ctx: Context, name: str) -> None:
    taken = ctx.session.row("SELECT number, deleted FROM experiment WHERE tenant = ? AND name = ?", [ctx.tenant, name])
    if taken is not None:
        why = "it was deleted and can be restored" if taken[1] else ""
        raise AlreadyExists(f"an experiment {name!r} already exists", why, "choose another name")


def _restore(row: dict[str, Any]) -> str:
    return f"mlops experiment restore {row['number']}"


def _hidden(row: dict[str, Any], after: bool) -> list[Change]:
    return [Change(object=f"experiment:{row['id']}", field="deleted", before=not after, after=after)]


def _plan(verb: str, row: dict[str, Any], text: str, changes: list[Change], words: list[str]) -> Plan:
    cli = shlex.join(["mlops", "experiment", verb, row["name"], *words])
    link = f"experiment:{row['id']}"
    return Plan(
        operation=f"experiment.{verb}", object=link, text=text, changes=changes, cli=cli, data={"id": row["id"]}
    )


def _done(ctx: Context, plan: Plan, action: str) -> Done:
    one, now = plan.data["id"], "UPDATE experiment SET updated = make_timestamp(?) WHERE id = ?"
    ctx.session.change("experiment", [one], now, [ctx.now, one])
    ctx.emit("experiment", plan.data["id"], action, plan.text, plan.object)
    return Done(object=plan.object, text=plan.text)

"""Logged models: what a run made. Parameters and tags lie in the tables of runs, under the logged model's own id."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from mlops_tui.contracts import logged as contract
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.door import Context, absorbs, implements
from mlops_tui.door.lookup import by_name_or_id
from mlops_tui.spool.records import Measure
from mlops_tui.store.session import Session
from mlops_tui.store.tags import add_tags, change_tags, tag_changes, tags_by
from mlops_tui.tracking.experiments import find_experiment
from mlops_tui.tracking.life.names import name_for
from mlops_tui.tracking.runs.contents import number_of
from mlops_tui.tracking.runs.find import find_run

_ROW = """
SELECT l.* REPLACE (epoch_us(l.created) AS created, epoch_us(l.updated) AS updated), e.name AS experiment
FROM logged_model l JOIN experiment e ON e.id = l.experiment_id
"""
_REFUSED = frozenset("/:.%\"'")
_MEASURED = ("model_id", "key", "value", "step", "ts_us", "run_id", "dataset", "digest")


@implements(contract.show)
def show(ctx: Context, request: contract.OneLogged) -> contract.Logged:
    """Show a logged model whole."""
    row = find_logged(ctx.session, ctx.tenant, request.model, deleted=request.deleted)
    return shown(ctx.session, [row["id"]])[0]


@implements(contract.create)
class Create:
    """Begin a logged model: pending until its files are there."""

    def plan(self, ctx: Context, request: contract.CreateLogged) -> Plan:
        """Find experiment and run."""
        experiment = find_experiment(ctx.session, ctx.tenant, request.experiment)
        if experiment["deleted"] is not None:
            raise Conflict(f"the experiment {experiment['name']} is deleted")
        identifier = "m-" + uuid7().replace("-", "")
        name = request.name or name_for(identifier)
        if _REFUSED & set(name):
            raise BadInput(
                f"Invalid model name ({name!r}) provided. Model name must be a non-empty string and cannot contain the"
                f" following characters: {tuple(sorted(_REFUSED))}"
            )
        run = _run(ctx, request.run)
        return Plan(
            operation="logged.create",
            object=f"logged:{name}",
            text=f"begin the logged model {name} in {experiment['name']}",
            changes=[Change(object=f"logged:{name}", field="status", after="pending")],
            cli=shlex.join(["mlops", "logged", "create", experiment["name"], name]),
            data={"id": identifier, "name": name, "experiment": experiment["id"], "run": run},
        )

    def apply(self, ctx: Context, request: contract.CreateLogged, plan: Plan) -> contract.Logged:
        """Insert it with what it says of itself."""
        data, made = plan.data, plan.data["id"]
        ctx.session.insert(
            "logged_model", id=made, tenant=ctx.tenant, experiment_id=data["experiment"], name=data["name"],
            kind=request.kind, status="pending", run_id=data["run"], created_us=ctx.now, updated_us=ctx.now,
            actor=ctx.caller.name,
        )  # fmt: skip
        put_params(ctx.session, made, request.params)
        add_tags(ctx.session, made, request.tags, ctx.now)
        if data["run"]:
            ctx.link(f"logged:{made}", "made_by", f"run:{data['run']}")
        ctx.emit("logged", made, "created", plan.text, plan.object)
        return shown(ctx.session, [made])[0]


@implements(contract.finish)
class Finish:
    """Say how the writing of its files ended."""

    def plan(self, ctx: Context, request: contract.FinishLogged) -> Plan:
        """Say the status before and after."""
        if request.status not in contract.STATUSES:
            raise BadInput(f"there is no status {request.status!r}", "", "one of: " + ", ".join(contract.STATUSES))
        row = find_logged(ctx.session, ctx.tenant, request.model)
        change = Change(object=_link(row), field="status", before=row["status"], after=request.status)
        return _plan("finish", row, f"{row['name']} is {request.status}", [change], [request.status])

    def apply(self, ctx: Context, request: contract.FinishLogged, plan: Plan) -> contract.Logged:
        """Write it."""
        ctx.session.execute("UPDATE logged_model SET status = ? WHERE id = ?", [request.status, plan.data["id"]])
        _done(ctx, plan, "finished")
        return shown(ctx.session, [plan.data["id"]])[0]


@implements(contract.param)
class Param:
    """Note parameters; the first value of a key stays."""

    def plan(self, ctx: Context, request: contract.ParamLogged) -> Plan:
        """Say what is new."""
        row = find_logged(ctx.session, ctx.tenant, request.model)
        known = _params(ctx.session, [row["id"]])[row["id"]]
        fresh = {key: value for key, value in request.params.items() if key not in known}
        changes = [Change(object=_link(row), field=key, after=value) for key, value in fresh.items()]
        words = [f"{key}={value}" for key, value in request.params.items()]
        return _plan("param", row, f"note parameters of {row['name']}", changes, words)

    def apply(self, ctx: Context, request: contract.ParamLogged, plan: Plan) -> Done:
        """Write them."""
        put_params(ctx.session, plan.data["id"], {one.field: one.after for one in plan.changes})
        return _done(ctx, plan, "noted")


@implements(contract.tag)
class Tag:
    """Set and remove tags."""

    def plan(self, ctx: Context, request: contract.TagLogged) -> Plan:
        """Say each tag before and after."""
        row = find_logged(ctx.session, ctx.tenant, request.model)
        changes = tag_changes(ctx.session, row["id"], _link(row), request.tags, request.remove)
        removed = {one.field for one in changes if one.after is None}
        if gone := [key for key in request.remove if key not in removed]:
            raise NotFound(f"{row['name']} has no tag {gone[0]!r:.80}")
        pairs = [f"{key}={value}" for key, value in request.tags.items()]
        words = [*pairs, *(part for key in request.remove for part in ("--remove", key))]
        return _plan("tag", row, f"tag {row['name']}", changes, words)

    def apply(self, ctx: Context, request: contract.TagLogged, plan: Plan) -> Done:
        """Write them."""
        change_tags(ctx.session, plan.data["id"], request.tags, request.remove, ctx.now)
        return _done(ctx, plan, "tagged")


@implements(contract.delete)
class Delete:
    """Hide a logged model. Versions that were made from it keep their files."""

    def plan(self, ctx: Context, request: contract.OneLogged) -> Plan:
        """Find it."""
        row = find_logged(ctx.session, ctx.tenant, request.model)
        change = Change(object=_link(row), field="deleted", before=False, after=True)
        return _plan("delete", row, f"delete the logged model {row['name']}", [change], [])

    def apply(self, ctx: Context, request: contract.OneLogged, plan: Plan) -> Done:
        """Hide it."""
        ctx.session.execute(
            "UPDATE logged_model SET deleted = make_timestamp(?) WHERE id = ?", [ctx.now, plan.data["id"]]
        )
        return _done(ctx, plan, "deleted")


@implements(contract.restore)
class Restore:
    """Show a deleted logged model again."""

    def plan(self, ctx: Context, request: contract.OneLogged) -> Plan:
        """Refuse what is not deleted."""
        row = find_logged(ctx.session, ctx.tenant, request.model, deleted=True)
        if row["deleted"] is None:
            raise Conflict(f"the logged model {row['name']} is not deleted")
        change = Change(object=_link(row), field="deleted", before=True, after=False)
        return _plan("restore", row, f"restore the logged model {row['name']}", [change], [])

    def apply(self, ctx: Context, request: contract.OneLogged, plan: Plan) -> Done:
        """Show it."""
        ctx.session.execute("UPDATE logged_model SET deleted = NULL WHERE id = ?", [plan.data["id"]])
        return _done(ctx, plan, "restored")


@absorbs("measure")
def measured(ctx: Context, owner: str, records: list[Measure]) -> None:
    """Take figures; one that is there already, by model, key, time, step and run, is not taken again."""
    rows = [
        (record.model, key, value, record.s, record.t, owner, record.dataset, record.digest)
        for record in records
        for key, value in {**record.m, **{key: float(word) for key, word in (record.x or {}).items()}}.items()
    ]
    put_figures(ctx.session, rows)
    for model in {record.model for record in records}:
        ctx.house.touch("logged", model, ctx.tenant)


def put_figures(session: Session, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write figures of logged models that are not there yet; a row has the columns of ``_MEASURED``."""
    if not rows:
        return
    columns = dict(zip(_MEASURED, zip(*rows, strict=True), strict=True))
    with session.incoming({key: list(column) for key, column in columns.items()}) as wanted:
        names = ", ".join(key.removesuffix("_us") for key in _MEASURED)
        given = ", ".join(f"{sql} AS {key.removesuffix('_us')}" for sql, key in zip(wanted, _MEASURED, strict=True))
        session.execute(
            f"""INSERT INTO logged_metric ({names}) SELECT DISTINCT {names} FROM (SELECT {given} FROM incoming) i
                WHERE NOT EXISTS (SELECT 1 FROM logged_metric o WHERE (o.model_id, o.key, o.step, o.ts, o.run_id)
                                  = (i.model_id, i.key, i.step, i.ts, i.run_id))"""
        )


def find_logged(session: Session, tenant: str, typed: str, *, deleted: bool = False) -> dict[str, Any]:
    """Return the row of a logged model by id, name, or part of its id; times in µs.

    Args:
        session: where to look.
        tenant: whose.
        typed: what was typed.
        deleted: whether one that is deleted may be found.

    Raises:
        NotFound: there is none.
        BadInput: a part of an id fits several.
    """
    where = "true" if deleted else "deleted IS NULL"
    typed = typed.removeprefix("logged:")
    found = by_name_or_id(session, "logged", "logged_model", typed, tenant, newest="created", where=where)
    row = session.dict(_ROW + "WHERE l.id = ?", [found["id"]])
    assert row is not None
    return row


def shown(session: Session, ids: Sequence[str]) -> list[contract.Logged]:
    """Return logged models whole, in the order of their ids, with a handful of queries for all."""
    rows = {row["id"]: row for row in session.dicts(_ROW + "WHERE l.id IN (SELECT unnest(?))", [list(ids)])}
    params, tags, metrics = _params(session, ids), tags_by(session, ids), _metrics(session, ids)
    versions = session.rows(
        """SELECT v.logged_id, m.name || '@' || v.version FROM model_version v JOIN model m ON m.id = v.model_id
           WHERE v.logged_id IN (SELECT unnest(?)) AND v.deleted IS NULL AND m.deleted IS NULL
           ORDER BY m.name, v.version""",
        [list(ids)],
    )
    return [
        contract.Logged(
            **{key: row[key] for key in ("id", "name", "experiment", "kind", "status", "created", "updated", "actor")},
            run=row["run_id"],
            deleted=row["deleted"] is not None,
            params=params[one],
            tags=tags[one],
            metrics=metrics[one],
            versions=[name for model, name in versions if model == one],
        )
        for one in ids
        if (row := rows.get(one))
    ]


def put_params(session: Session, model: str, given: dict[str, str]) -> None:
    """Write parameters of a logged model."""
    session.insert_columns(
        "param",
        {
            "run": [model] * len(given),
            "key": list(given),
            "value": list(given.values()),
            "num": [number_of(value) for value in given.values()],
        },
    )


def _params(session: Session, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {one: {} for one in ids}
    for owner, key, value in session.rows(
        "SELECT run, key, value FROM param WHERE run IN (SELECT unnest(?)) ORDER BY rowid", [list(ids)]
    ):
        found[owner][key] = value
    return found


def _metrics(session: Session, ids: Sequence[str]) -> dict[str, list[contract.LoggedMetric]]:
    found: dict[str, list[contract.LoggedMetric]] = {one: [] for one in ids}
    for row in session.dicts(
        """SELECT model_id, key, value, step, epoch_us(ts) AS ts, run_id AS run, dataset, digest FROM logged_metric
           WHERE model_id IN (SELECT unnest(?)) ORDER BY key, ts, step, run""",
        [list(ids)],
    ):
        found[row.pop("model_id")].append(contract.LoggedMetric(**row))
    return found


def _run(ctx: Context, typed: str) -> str:
    """Return the id of the run that is meant; a name that nobody has is kept as it was given."""
    if not typed:
        return ""
    try:
        return str(find_run(ctx.session, ctx.tenant, typed)["id"])
    except (NotFound, BadInput):
        return typed


def _link(row: dict[str, Any]) -> str:
    return f"logged:{row['id']}"


def _plan(verb: str, row: dict[str, Any], text: str, changes: list[Change], words: list[str]) -> Plan:
    return Plan(
        operation=f"logged.{verb}",
        object=_link(row),
        text=text,
        changes=changes,
        cli=shlex.join(["mlops", "logged", verb, row["id"], *words]),
        data={"id": row["id"]},
    )


def _done(ctx: Context, plan: Plan, action: str) -> Done:
    ctx.session.execute("UPDATE logged_model SET updated = make_timestamp(?) WHERE id = ?", [ctx.now, plan.data["id"]])
    ctx.emit("logged", plan.data["id"], action, plan.text, plan.object)
    return Done(object=plan.object, text=plan.text)

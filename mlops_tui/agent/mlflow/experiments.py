"""Experiments on the wire: named by a number, deleted softly, their names never free again."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from mlops_tui.agent.mlflow.coding import Ask
from mlops_tui.agent.mlflow.errors import WireError, invalid, missing
from mlops_tui.agent.mlflow.names import MAX_EXPERIMENT, MAX_EXPERIMENT_TAG, check_name, too_long
from mlops_tui.agent.mlflow.pages import Slice, wrong_size
from mlops_tui.agent.mlflow.router import Call, route
from mlops_tui.agent.peers import folder_of
from mlops_tui.contracts import experiment as contract
from mlops_tui.contracts.experiment import DEFAULT
from mlops_tui.core.errors import AlreadyExists, NotFound
from mlops_tui.door.context import Caller, act
from mlops_tui.store.search import Field, compile_order, compile_query, parse, parse_order
from mlops_tui.store.session import Session
from mlops_tui.store.tags import tags_by
from mlops_tui.tracking import experiments as room
from mlops_tui.tracking.runs.contents import NOTE
from mlops_tui.tracking.search.keys import EXPERIMENT

PAGE = 1000
"""Experiments in a page when the client does not say how many."""
STAGES = {1: "deleted IS NULL", 2: "deleted IS NOT NULL", 3: "true"}
_VIEWS = {"ACTIVE_ONLY": 1, "DELETED_ONLY": 2, "ALL": 3}
_ORDER = replace(EXPERIMENT, attributes={**EXPERIMENT.attributes, "experiment_id": Field("e.number", "int")})
_NEWEST, _TIES = ["epoch_ms(e.created) DESC", "e.number"], ["e.number DESC"]


class Pair(Ask):
    """A key and a value; the value may be empty."""

    key: str | None = None
    value: str | None = None


class CreateExperiment(Ask):
    """``experiments/create``."""

    required = ("name",)
    name: str | None = None
    artifact_location: str | None = None
    tags: list[Pair] | None = None


class OneExperiment(Ask):
    """Names an experiment by its number."""

    required = ("experiment_id",)
    experiment_id: str | None = None


class ByName(Ask):
    """``experiments/get-by-name``."""

    required = ("experiment_name",)
    experiment_name: str | None = None


class Rename(Ask):
    """``experiments/update``."""

    required = ("experiment_id", "new_name")
    experiment_id: str | None = None
    new_name: str | None = None


class SetTag(Ask):
    """``experiments/set-experiment-tag``."""

    required = ("experiment_id", "key")
    experiment_id: str | None = None
    key: str | None = None
    value: str | None = None


class DeleteTag(Ask):
    """``experiments/delete-experiment-tag``."""

    required = ("experiment_id", "key")
    experiment_id: str | None = None
    key: str | None = None


class Search(Ask):
    """``experiments/search``."""

    max_results: int | None = None
    page_token: str | None = None
    filter: str | None = None
    order_by: list[str] | None = None
    view_type: int | str | None = None


@route("POST", "experiments/create", CreateExperiment)
def create(call: Call, ask: CreateExperiment) -> dict[str, Any]:
    """Make an experiment; answer its number."""
    name = ask.name or ""
    if len(name) > MAX_EXPERIMENT:
        raise too_long("name", MAX_EXPERIMENT)
    tags = {checked_tag(one): one.value or "" for one in ask.tags or []}
    _with_default(call)
    request = contract.CreateExperiment(name=name, place=_place(call, ask.artifact_location or ""), tags=tags)
    try:
        made = call.perform(contract.create, request)
    except AlreadyExists as error:
        raise _taken(name) from error
    return {"experiment_id": str(made.number)}


@route("GET", "experiments/get", OneExperiment)
def get(call: Call, ask: OneExperiment) -> dict[str, Any]:
    """Show one, deleted or not."""
    row = found(call, ask.experiment_id)
    with call.reading("experiment:read") as session:
        return {"experiment": _one(session, row)}


@route("GET", "experiments/get-by-name", ByName)
def get_by_name(call: Call, ask: ByName) -> dict[str, Any]:
    """Show one, deleted or not; clients branch on the 404."""
    _with_default(call)
    with call.reading("experiment:read") as session:
        row = session.row(
            "SELECT id FROM experiment WHERE tenant = ? AND name = ?", [call.caller.tenant, ask.experiment_name]
        )
        if row is None:
            raise missing(f"Could not find experiment with name '{ask.experiment_name}'")
        return {"experiment": _one(session, room.find_experiment(session, call.caller.tenant, row[0]))}


@route("POST", "experiments/delete", OneExperiment)
def delete(call: Call, ask: OneExperiment) -> None:
    """Hide it and its runs."""
    call.journal.drain()
    call.perform(contract.delete, contract.OneExperiment(experiment=active(call, ask.experiment_id, "delete")))


@route("POST", "experiments/restore", OneExperiment)
def restore(call: Call, ask: OneExperiment) -> None:
    """Show it and its runs again."""
    row = found(call, ask.experiment_id)
    if row["deleted"] is None:
        raise missing(f"No Experiment with id={ask.experiment_id} exists among the deleted ones")
    call.perform(contract.restore, contract.OneExperiment(experiment=row["id"]))


@route("POST", "experiments/update", Rename)
def update(call: Call, ask: Rename) -> None:
    """Rename it."""
    row = found(call, ask.experiment_id)
    if row["deleted"] is not None:
        raise WireError("INVALID_STATE", "Cannot rename a non-active experiment.")
    if len(ask.new_name or "") > MAX_EXPERIMENT:
        raise too_long("name", MAX_EXPERIMENT)
    try:
        call.perform(contract.rename, contract.RenameExperiment(experiment=row["id"], name=ask.new_name or ""))
    except AlreadyExists as error:
        raise _taken(ask.new_name) from error


@route("POST", "experiments/set-experiment-tag", SetTag)
def set_tag(call: Call, ask: SetTag) -> None:
    """Set one tag."""
    key = checked_tag(Pair(key=ask.key, value=ask.value))
    active_id = active(call, ask.experiment_id, "tag")
    call.perform(contract.tag, contract.TagExperiment(experiment=active_id, tags={key: ask.value or ""}))


@route("POST", "experiments/delete-experiment-tag", DeleteTag)
def delete_tag(call: Call, ask: DeleteTag) -> None:
    """Remove one tag."""
    active_id = active(call, ask.experiment_id, "tag")
    try:
        call.perform(contract.tag, contract.TagExperiment(experiment=active_id, remove=[ask.key or ""]))
    except NotFound as error:
        raise missing(f"No tag with name: {ask.key} in experiment with id {ask.experiment_id}") from error


def search(call: Call, ask: Search) -> dict[str, Any]:
    """List a page, newest first."""
    size = PAGE if ask.max_results is None else ask.max_results
    if not 0 < size <= 50_000:
        raise wrong_size(size, 50_000)
    condition = compile_query(parse(ask.filter or "", "mlflow"), EXPERIMENT)
    order = compile_order(parse_order(ask.order_by or [], "mlflow"), _ORDER, _TIES if ask.order_by else _NEWEST)
    part, stage = Slice.of(ask.page_token, size), STAGES[view_of(ask.view_type)]
    _with_default(call)
    with call.reading("experiment:read") as session:
        ids = session.column(
            f"""SELECT e.id FROM experiment e {order.joins} WHERE e.tenant = ? AND {stage} AND ({condition.sql})
                ORDER BY {order.by} LIMIT ? OFFSET ?""",
            [*order.params, call.caller.tenant, *condition.params, part.size + 1, part.offset],
        )
        page = part.answer("experiments", ids)
        if ids:
            page["experiments"] = experiments_json(session, room.experiments_by_id(session, page["experiments"]))
        return page


for _method in ("GET", "POST"):
    route(_method, "experiments/search", Search)(search)


def view_of(given: int | str | None) -> int:
    """Return a view type as a number: 1 active, 2 deleted, 3 all.

    Raises:
        WireError: it is none.
    """
    view = _VIEWS.get(given, 0) if isinstance(given, str) and not given.isdecimal() else int(given or 1)
    if view not in STAGES:
        raise invalid(f"Invalid value {given} for parameter 'view_type' supplied.")
    return view


def active(call: Call, number: str | None, what: str) -> str:
    """Return the id of an experiment that is not deleted.

    Raises:
        WireError: there is none.
    """
    row = found(call, number)
    if row["deleted"] is not None:
        if what == "delete":
            raise missing(f"No Experiment with id={number} exists that is not deleted")
        raise invalid(f"The experiment {number} must be in the 'active' state. Current state is deleted.")
    return str(row["id"])


def found(call: Call, number: str | None) -> dict[str, Any]:
    """Return the row of an experiment, deleted or not; the default one is there when it is first named.

    Raises:
        WireError: there is none of that number.
    """
    if number == "0":
        _with_default(call)
    with call.reading("experiment:read") as session:
        return row_by_number(session, call.caller.tenant, number)


def row_by_number(session: Session, tenant: str, number: str | None) -> dict[str, Any]:
    """Return an experiment's row.

    Raises:
        WireError: there is none of that number.
    """
    row = session.row("SELECT id FROM experiment WHERE tenant = ? AND number = ?", [tenant, number_of(number)])
    if row is None:
        raise missing(f"No Experiment with id={number} exists")
    return room.find_experiment(session, tenant, row[0])


def number_of(typed: str | None) -> int:
    """Return the number that stands in a request.

    Raises:
        WireError: it is none.
    """
    try:
        return min(int(typed or ""), 2**62)
    except ValueError:
        raise invalid(f"Invalid experiment ID '{typed}'. Experiment ID must be a valid integer.") from None


def _taken(name: str | None) -> WireError:
    return WireError("RESOURCE_ALREADY_EXISTS", f"Experiment(name={name}) already exists; deleted ones keep theirs.")


def _one(session: Session, row: dict[str, Any]) -> dict[str, Any]:
    return experiments_json(session, [row])[0]


def experiments_json(session: Session, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return experiments as the wire shows them, with one query for the tags of all."""
    tags = tags_by(session, [row["id"] for row in rows])
    for row in rows:
        if row["note"]:
            tags[row["id"]][NOTE] = row["note"]
    return [
        {
            "experiment_id": str(row["number"]),
            "name": row["name"],
            "artifact_location": place_of(row),
            "lifecycle_stage": "active" if row["deleted"] is None else "deleted",
            "last_update_time": row["updated"] // 1000,
            "creation_time": row["created"] // 1000,
            **({"tags": [{"key": k, "value": v} for k, v in said.items()]} if (said := tags[row["id"]]) else {}),
        }
        for row in rows
    ]


def place_of(row: dict[str, Any]) -> str:
    """Return where an experiment's artifacts lie: a place of its own, or this server."""
    return row["place"] or f"mlflow-artifacts:/{row['number']}"


def _place(call: Call, typed: str) -> str:
    """Return where artifacts shall lie; a path without a scheme is seen from the folder of the client's process.

    Raises:
        WireError: it has a fragment or parameters, so that no path could follow it.
    """
    if urlsplit(typed).scheme in ("runs", "models"):
        raise invalid(f"'artifact_location' is where artifacts lie, not where they are listed: {typed:.200}")
    if "#" in typed or ";" in posixpath.basename(urlsplit(typed).path):
        raise invalid(f"'artifact_location' URL can't include fragments or params, as {typed!r:.200} does.")
    path, scheme = typed.removeprefix("file:"), "file://" * typed.startswith("file:")
    if not path or path.startswith("/") or urlsplit(path).scheme:
        return typed
    folder = folder_of(call.pid())
    return scheme + posixpath.normpath(posixpath.join(folder, path)) if folder else typed


def checked_tag(tag: Pair) -> str:
    """Return a tag's key when key and value can be kept.

    Raises:
        WireError: they cannot.
    """
    key = check_name(tag.key or "", "key")
    if len(tag.value or "") > MAX_EXPERIMENT_TAG:
        raise too_long("value", MAX_EXPERIMENT_TAG)
    return key


def _with_default(call: Call) -> None:
    """Make the default experiment of a tenant when a client first looks at experiments: they count on it."""
    tenant = call.caller.tenant
    if tenant not in call.journal.greeted:
        act(call.house, Caller.system("the default experiment", tenant), lambda ctx: room.ensure(ctx, tenant, DEFAULT))
        call.journal.greeted.add(tenant)

"""Logged models on the wire: what a run made, before anybody registers it."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from mlops_tui.agent.mlflow.artifacts import entries_json
from mlops_tui.agent.mlflow.coding import Ask, number
from mlops_tui.agent.mlflow.errors import WireError, invalid, missing
from mlops_tui.agent.mlflow.experiments import Pair, number_of
from mlops_tui.agent.mlflow.experiments import found as found_experiment
from mlops_tui.agent.mlflow.names import as_sent, as_stored
from mlops_tui.agent.mlflow.router import Call, route
from mlops_tui.contracts import logged as contract
from mlops_tui.core.errors import NotFound
from mlops_tui.store.session import Session
from mlops_tui.tracking.artifacts.places import address_of
from mlops_tui.tracking.logged.models import shown
from mlops_tui.tracking.logged.search import By, Data, search_logged

STATUS = {"pending": "LOGGED_MODEL_PENDING", "ready": "LOGGED_MODEL_READY", "failed": "LOGGED_MODEL_UPLOAD_FAILED"}
_NUMBERS = {1: "pending", 2: "ready", 3: "failed"}


class CreateLogged(Ask):
    """``logged-models``."""

    required = ("experiment_id",)
    experiment_id: str | None = None
    name: str | None = None
    model_type: str | None = None
    source_run_id: str | None = None
    params: list[Pair] | None = None
    tags: list[Pair] | None = None


class OneLogged(Ask):
    """Names a logged model, in the path."""

    model_id: str | None = None
    allow_deleted: bool | None = None


class FinishLogged(OneLogged):
    """Ends the writing of a logged model."""

    required = ("model_id", "status")
    status: str | int | None = None


class ManyPairs(OneLogged):
    """Parameters or tags of a logged model."""

    params: list[Pair] | None = None
    tags: list[Pair] | None = None


class OneTag(OneLogged):
    """Names a tag of a logged model, in the path."""

    tag_key: str | None = None


class Listing(OneLogged):
    """Names a folder of a logged model."""

    artifact_directory_path: str | None = None


class DataSet(Ask):
    """A data set by name, and by digest if one is given."""

    dataset_name: str | None = None
    dataset_digest: str | None = None


class Order(DataSet):
    """One key of an order."""

    field_name: str | None = None
    ascending: bool | None = None


class Search(Ask):
    """``logged-models/search``."""

    required = ("experiment_ids",)
    experiment_ids: list[str] | None = None
    filter: str | None = None
    datasets: list[DataSet] | None = None
    max_results: int | None = None
    order_by: list[Order] | None = None
    page_token: str | None = None


@route("POST", "logged-models", CreateLogged)
def create(call: Call, ask: CreateLogged) -> dict[str, Any]:
    """Begin one: pending until it is finished."""
    row = found_experiment(call, ask.experiment_id)
    if row["deleted"] is not None:
        raise invalid(f"The experiment {ask.experiment_id} must be in the 'active' state. Current state is deleted.")
    made = call.perform(
        contract.create,
        contract.CreateLogged(
            experiment=row["id"], name=ask.name or "", kind=ask.model_type or "", 
            run=as_stored(ask.source_run_id or ""),
            params=_pairs(ask.params), tags=_pairs(ask.tags),
        ),
    )  # fmt: skip
    return _shown(call, made.id)


@route("POST", "logged-models/search", Search)
def search(call: Call, ask: Search) -> dict[str, Any]:
    """List a page, the newest first unless ordered otherwise."""
    datasets = [Data(one.dataset_name or "", one.dataset_digest or "") for one in ask.datasets or []]
    if not all(one.name for one in datasets):
        raise invalid("`dataset_name` in the `datasets` clause must be specified.")
    order = [_by(one) for one in ask.order_by or []]
    token = _Token.of(ask)
    call.journal.drain()
    size = ask.max_results or 100
    with call.reading("run:read") as session:
        experiments = session.column(
            "SELECT id FROM experiment WHERE tenant = ? AND number IN (SELECT unnest(?::BIGINT[]))",
            [call.caller.tenant, [number_of(one) for one in ask.experiment_ids or []]],
        )
        ids = search_logged(
            session, call.caller.tenant, experiments, ask.filter or "", datasets, order, size + 1, token.offset
        )
        found = _models(session, call.caller.tenant, ids[:size])
    page: dict[str, Any] = {"models": found} if found else {}
    if len(ids) > size:
        page["next_page_token"] = token.after(size)
    return page


@route("GET", "logged-models/{model_id}", OneLogged)
def get(call: Call, ask: OneLogged) -> dict[str, Any]:
    """Show one."""
    return _shown(call, ask.model_id or "", deleted=bool(ask.allow_deleted))


@route("PATCH", "logged-models/{model_id}", FinishLogged)
def finish(call: Call, ask: FinishLogged) -> dict[str, Any]:
    """Say how its writing ended."""
    status = _status(ask.status)
    _known(call, ask.model_id)
    made = call.perform(contract.finish, contract.FinishLogged(model=ask.model_id or "", status=status))
    return _shown(call, made.id)


@route("DELETE", "logged-models/{model_id}", OneLogged)
def delete(call: Call, ask: OneLogged) -> None:
    """Hide it; once more changes nothing, as a client that heard no answer asks again."""
    with call.reading("run:read") as session:
        model = known_logged(call, session, ask.model_id or "", deleted=True)
        hidden = session.value("SELECT deleted IS NOT NULL FROM logged_model WHERE id = ?", [model])
    if not hidden:
        call.perform(contract.delete, contract.OneLogged(model=model))


@route("POST", "logged-models/{model_id}/params", ManyPairs)
def log_params(call: Call, ask: ManyPairs) -> None:
    """Note parameters; another value of a known one is refused."""
    asked = _pairs(ask.params)
    with call.reading("run:read") as session:
        model = known_logged(call, session, ask.model_id or "")
        known = dict(session.rows("SELECT key, value FROM param WHERE run = ?", [model]))
    if changed := [key for key, value in asked.items() if known.get(key, value) != value]:
        raise invalid(f"Changing param values is not allowed. {model} has others already: {changed[:20]}")
    call.perform(contract.param, contract.ParamLogged(model=model, params=asked))


@route("PATCH", "logged-models/{model_id}/tags", ManyPairs)
def set_tags(call: Call, ask: ManyPairs) -> None:
    """Set tags."""
    _known(call, ask.model_id)
    call.perform(contract.tag, contract.TagLogged(model=ask.model_id or "", tags=_pairs(ask.tags)))


@route("DELETE", "logged-models/{model_id}/tags/{tag_key}", OneTag)
def delete_tag(call: Call, ask: OneTag) -> None:
    """Remove one tag."""
    _known(call, ask.model_id)
    try:
        call.perform(contract.tag, contract.TagLogged(model=ask.model_id or "", remove=[ask.tag_key or ""]))
    except NotFound as error:
        raise missing(f"No tag with key {ask.tag_key!r} found for model with ID {ask.model_id!r}.") from error


@route("GET", "logged-models/{model_id}/artifacts/directories", Listing)
def list_files(call: Call, ask: Listing) -> dict[str, Any]:
    """List a folder of its files."""
    _known(call, ask.model_id)
    return entries_json(call, ask.model_id or "", ask.artifact_directory_path or "")


def _shown(call: Call, model: str, *, deleted: bool = False) -> dict[str, Any]:
    call.journal.drain()
    with call.reading("run:read") as session:
        if found := _models(session, call.caller.tenant, [known_logged(call, session, model, deleted)]):
            return {"model": found[0]}
    raise _absent(model)


def _known(call: Call, model: str | None) -> None:
    """Return when a logged model is there and not deleted.

    Raises:
        WireError: it is not.
    """
    with call.reading("run:read") as session:
        known_logged(call, session, model or "")


def known_logged(call: Call, session: Session, model: str, deleted: bool = False) -> str:
    """Return the id of a logged model that is there, deleted ones on request only.

    Raises:
        WireError: it is not.
    """
    hidden = "" if deleted else "AND deleted IS NULL"
    if not session.row(f"SELECT 1 FROM logged_model WHERE id = ? AND tenant = ? {hidden}", [model, call.caller.tenant]):
        raise _absent(model)
    return model


def _absent(model: str) -> WireError:
    return missing(f"Logged model with ID '{model}' not found.")


def _models(session: Session, tenant: str, ids: list[str]) -> list[dict[str, Any]]:
    numbers = dict(
        session.rows(
            """SELECT l.id, e.number FROM logged_model l JOIN experiment e ON e.id = l.experiment_id
               WHERE l.id IN (SELECT unnest(?))""",
            [ids],
        )
    )
    return [_model_json(one, str(numbers[one.id]), address_of(session, tenant, one.id)) for one in shown(session, ids)]


def _model_json(model: contract.Logged, experiment: str, address: str) -> dict[str, Any]:
    return {
        "info": {
            "model_id": model.id,
            "experiment_id": experiment,
            "name": model.name,
            "creation_timestamp_ms": model.created // 1000,
            "last_updated_timestamp_ms": model.updated // 1000,
            "artifact_uri": address,
            "status": STATUS[model.status],
            "model_type": model.kind,
            "source_run_id": as_sent(model.run),
            **({"tags": [{"key": k, "value": v} for k, v in model.tags.items()]} if model.tags else {}),
        },
        "data": {
            **({"params": [{"key": k, "value": v} for k, v in model.params.items()]} if model.params else {}),
            **({"metrics": [_metric_json(model.id, one) for one in model.metrics]} if model.metrics else {}),
        },
    }


def _metric_json(model: str, metric: contract.LoggedMetric) -> dict[str, Any]:
    data = {"dataset_name": metric.dataset, "dataset_digest": metric.digest}
    return {
        "key": metric.key,
        "value": number(metric.value),
        "timestamp": metric.ts // 1000,
        "step": metric.step,
        "model_id": model,
        "run_id": as_sent(metric.run),
        **{key: value for key, value in data.items() if value},
    }


def _status(given: str | int | None) -> str:
    words = {word: status for status, word in STATUS.items()}
    text = str(given)
    found = _NUMBERS.get(int(text)) if text.isdecimal() else words.get(text)
    if found is None:
        raise invalid(f"Invalid value {given!r} for parameter 'status' supplied.")
    return found


def _by(order: Order) -> By:
    if not order.field_name:
        raise invalid("`field_name` in the `order_by` clause must be specified.")
    data = Data(order.dataset_name or "", order.dataset_digest or "")
    return By(order.field_name, order.ascending is False, data if any(data) else None)


def _pairs(pairs: list[Pair] | None) -> dict[str, str]:
    return {one.key or "": one.value or "" for one in pairs or []}


class _Token(msgspec.Struct):
    """Where the next page of a search begins, and of which search."""

    offset: int
    experiments: list[str]
    filter: str = ""
    order: list[list[Any]] = []

    @classmethod
    def of(cls, ask: Search) -> _Token:
        """Return the token of a request; without one, that of the first page.

        Raises:
            WireError: it is none, or that of another search.
        """
        order = [[one.field_name, one.ascending, one.dataset_name, one.dataset_digest] for one in ask.order_by or []]
        fresh = cls(0, ask.experiment_ids or [], ask.filter or "", order)
        if not ask.page_token:
            return fresh
        try:
            given = msgspec.json.decode(base64.b64decode(ask.page_token, validate=True), type=cls)
        except (binascii.Error, msgspec.MsgspecError, ValueError) as error:
            raise invalid("Invalid page token, the value is not one that a search answered with") from error
        for part, what in (
            ("experiments", "Experiment IDs in the page token do"),
            ("filter", "Filter string in the page token does"),
            ("order", "Order by in the page token does"),
        ):
            if getattr(given, part) != getattr(fresh, part):
                raise invalid(f"{what} not match the search: the token is that of another one.")
        return given

    def after(self, size: int) -> str:
        """Return the token of the page after this one."""
        return base64.b64encode(msgspec.json.encode(msgspec.structs.replace(self, offset=self.offset + size))).decode()

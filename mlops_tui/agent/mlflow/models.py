"""Registered models on the wire, with their tags and aliases."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from mlops_tui.agent.mlflow.coding import Ask
from mlops_tui.agent.mlflow.errors import invalid, missing
from mlops_tui.agent.mlflow.experiments import Pair
from mlops_tui.agent.mlflow.names import check_name, too_long
from mlops_tui.agent.mlflow.pages import Slice
from mlops_tui.agent.mlflow.registry_json import (
    check_model_name,
    check_tag,
    model_row,
    models_json,
    taken,
    version_number,
    version_row,
    versions_json,
)
from mlops_tui.agent.mlflow.router import Call, route
from mlops_tui.contracts import model as contract
from mlops_tui.core.errors import AlreadyExists, NotFound
from mlops_tui.registry.lists import PROMPT
from mlops_tui.registry.search import search_models
from mlops_tui.registry.stages import canonical
from mlops_tui.registry.versions import models_by_id, resolve_version, versions_by_id
from mlops_tui.store.session import Session
from mlops_tui.store.tags import tags_of

MAX_RESULTS, MAX_ALIAS = 1000, 255
_ALIAS = re.compile(r"[\w-]*")
_RESERVED = re.compile(r"v\d+", re.IGNORECASE)


class CreateModel(Ask):
    """``registered-models/create``."""

    required = ("name",)
    name: str | None = None
    description: str | None = None
    tags: list[Pair] | None = None


class OneModel(Ask):
    """Names a model."""

    required: ClassVar[tuple[str, ...]] = ("name",)
    name: str | None = None


class UpdateModel(OneModel):
    """``registered-models/update``."""

    description: str | None = None


class RenameModel(OneModel):
    """``registered-models/rename``."""

    required = ("name", "new_name")
    new_name: str | None = None


class Latest(OneModel):
    """``registered-models/get-latest-versions``."""

    stages: list[str] | None = None


class TagOfModel(OneModel):
    """``registered-models/set-tag`` and ``delete-tag``."""

    required = ("name", "key")
    key: str | None = None
    value: str | None = None


class AliasOfModel(OneModel):
    """``registered-models/alias``."""

    required: ClassVar[tuple[str, ...]] = ("name", "alias")
    alias: str | None = None


class SetAlias(AliasOfModel):
    """``registered-models/alias``, to set it."""

    required = ("name", "alias", "version")
    version: str | None = None


class Search(Ask):
    """``registered-models/search``."""

    filter: str | None = None
    max_results: int | None = None
    order_by: list[str] | None = None
    page_token: str | None = None


@route("POST", "registered-models/create", CreateModel)
def create(call: Call, ask: CreateModel) -> dict[str, Any]:
    """Make a model without versions."""
    name = check_model_name(ask.name)
    tags = dict(check_tag(one.key, one.value) for one in ask.tags or [])
    try:
        call.perform(contract.create, contract.CreateModel(name=name, description=ask.description or "", tags=tags))
    except AlreadyExists as error:
        with call.reading("model:read") as session:
            other = tags_of(session, model_row(session, call.caller.tenant, name)["id"])
        raise taken(name, prompt=_is_prompt(tags), by_prompt=_is_prompt(other)) from error
    return _shown(call, name)


@route("GET", "registered-models/get", OneModel)
def get(call: Call, ask: OneModel) -> dict[str, Any]:
    """Show one."""
    return _shown(call, ask.name)


@route("PATCH", "registered-models/update", UpdateModel)
def update(call: Call, ask: UpdateModel) -> dict[str, Any]:
    """Describe it."""
    name = _known(call, ask.name)
    call.perform(contract.note, contract.NoteModel(model=name, text=ask.description or ""))
    return _shown(call, name)


@route("POST", "registered-models/rename", RenameModel)
def rename(call: Call, ask: RenameModel) -> dict[str, Any]:
    """Give it another name."""
    new = check_model_name(ask.new_name, "new_name")
    try:
        call.perform(contract.rename, contract.RenameModel(model=_known(call, ask.name), name=new))
    except AlreadyExists as error:
        raise taken(new, prompt=False, by_prompt=False) from error
    return _shown(call, new)


@route("DELETE", "registered-models/delete", OneModel)
def delete(call: Call, ask: OneModel) -> None:
    """Hide it and its versions; its name is free again."""
    call.perform(contract.delete, contract.OneModel(model=_known(call, ask.name)))


@route("GET", "registered-models/search", Search)
def search(call: Call, ask: Search) -> dict[str, Any]:
    """List a page, by name unless ordered otherwise."""
    size = 100 if ask.max_results is None else ask.max_results
    if not 0 <= size <= MAX_RESULTS:
        raise invalid(
            f"Invalid value for request parameter max_results. It must be at most {MAX_RESULTS}, but got value {size}"
        )
    part = Slice.of(ask.page_token, size)
    with call.reading("model:read") as session:
        ids = search_models(
            session, call.caller.tenant, ask.filter or "", ask.order_by or [], part.size + 1, part.offset
        )
        page = part.answer("registered_models", ids)
        found = models_json(session, models_by_id(session, page.pop("registered_models", [])))
        return {**page, **({"registered_models": found} if found else {})}


def latest(call: Call, ask: Latest) -> dict[str, Any]:
    """Show the newest version of each stage, or of those that are asked for."""
    with call.reading("model:read") as session:
        row = model_row(session, call.caller.tenant, ask.name)
        wanted = {canonical(stage) for stage in ask.stages or []}
        versions = models_json(session, [row])[0].get("latest_versions", [])
    found = [one for one in versions if not wanted or one["current_stage"] in wanted]
    return {"model_versions": found} if found else {}


for _method in ("GET", "POST"):
    route(_method, "registered-models/get-latest-versions", Latest)(latest)


@route("POST", "registered-models/set-tag", TagOfModel)
def set_tag(call: Call, ask: TagOfModel) -> None:
    """Set one tag."""
    key, value = check_tag(ask.key, ask.value)
    call.perform(contract.tag, contract.TagModel(model=_known(call, ask.name), tags={key: value}))


@route("DELETE", "registered-models/delete-tag", TagOfModel)
def delete_tag(call: Call, ask: TagOfModel) -> None:
    """Remove one tag; one that is not there is no mistake."""
    key = check_name(ask.key or "", "key")
    call.perform(contract.tag, contract.TagModel(model=_known(call, ask.name), remove=[key]))


@route("POST", "registered-models/alias", SetAlias)
def set_alias(call: Call, ask: SetAlias) -> None:
    """Point an alias at a version."""
    check_model_name(ask.name)
    alias = _check_alias(ask.alias)
    if alias.lower() == "latest":
        raise invalid("'latest' alias name (case insensitive) is reserved.")
    if _RESERVED.fullmatch(alias):
        raise invalid(f"Version alias name '{alias}' is reserved.")
    with call.reading("model:read") as session:
        version_row(session, call.caller.tenant, ask.name, ask.version)
    reference = f"{ask.name}@{version_number(ask.version)}"
    call.perform(contract.alias, contract.SetAlias(model=reference, alias=alias))


@route("DELETE", "registered-models/alias", AliasOfModel)
def delete_alias(call: Call, ask: AliasOfModel) -> None:
    """Remove an alias; one that is not there is no mistake."""
    alias = _check_alias(ask.alias)
    with call.reading("model:read") as session:
        row = model_row(session, call.caller.tenant, ask.name)
        there = _version_at(session, row, alias)
    if there:
        call.perform(contract.alias, contract.SetAlias(model=row["name"], alias=alias, remove=True))


@route("GET", "registered-models/alias", AliasOfModel)
def by_alias(call: Call, ask: AliasOfModel) -> dict[str, Any]:
    """Show the version that an alias points at; ``latest`` is the newest."""
    alias = _check_alias(ask.alias)
    with call.reading("model:read") as session:
        row = model_row(session, call.caller.tenant, ask.name)
        if alias.lower() == "latest":
            try:
                rows = [resolve_version(session, call.caller.tenant, row["name"])]
            except NotFound as error:
                raise missing(f"Latest version not found for model {ask.name}.") from error
        else:
            rows = versions_by_id(session, [_version_at(session, row, alias) or ""])
        if not rows:
            raise invalid(f"Registered model alias {alias} not found.")
        return {"model_version": versions_json(session, rows)[0]}


def _version_at(session: Session, row: dict[str, Any], alias: str) -> str | None:
    found: str | None = session.value(
        "SELECT version_id FROM alias WHERE model_id = ? AND alias = ?", [row["id"], alias]
    )
    return found


def _check_alias(alias: str | None) -> str:
    if not alias:
        raise invalid("Registered model alias name cannot be empty.")
    if not _ALIAS.fullmatch(alias):
        raise invalid(
            f"Invalid alias name: '{alias}'. Names may only contain alphanumerics, underscores (_), and dashes (-)."
        )
    if len(alias) > MAX_ALIAS:
        raise too_long("Registered model alias name", MAX_ALIAS)
    return alias


def _known(call: Call, name: str | None) -> str:
    """Return the name of a model that is there."""
    with call.reading("model:read") as session:
        return str(model_row(session, call.caller.tenant, name)["name"])


def _shown(call: Call, name: str | None) -> dict[str, Any]:
    with call.reading("model:read") as session:
        return {"registered_model": models_json(session, [model_row(session, call.caller.tenant, name)])[0]}


def _is_prompt(tags: dict[str, str]) -> bool:
    return tags.get(PROMPT, "").lower() == "true"

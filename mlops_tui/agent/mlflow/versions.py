"""Model versions on the wire."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

from mlops_tui.agent.mlflow.coding import Ask
from mlops_tui.agent.mlflow.errors import WireError, invalid
from mlops_tui.agent.mlflow.experiments import Pair
from mlops_tui.agent.mlflow.logged import known_logged
from mlops_tui.agent.mlflow.names import as_stored, check_name
from mlops_tui.agent.mlflow.pages import Slice
from mlops_tui.agent.mlflow.registry_json import check_tag, model_row, version_row, versions_encoded, versions_json
from mlops_tui.agent.mlflow.router import Call, route
from mlops_tui.contracts import model as models
from mlops_tui.contracts import version as contract
from mlops_tui.registry.lists import PROMPT
from mlops_tui.registry.make import download_address
from mlops_tui.registry.search import search_versions
from mlops_tui.registry.sources import lies_in
from mlops_tui.registry.stages import canonical
from mlops_tui.registry.versions import versions_by_id
from mlops_tui.store.session import Session

MAX_RESULTS = 200_000


class CreateVersion(Ask):
    """``model-versions/create``."""

    required = ("name", "source")
    name: str | None = None
    source: str | None = None
    run_id: str | None = None
    run_link: str | None = None
    description: str | None = None
    model_id: str | None = None
    tags: list[Pair] | None = None


class OneVersion(Ask):
    """Names a version."""

    required: ClassVar[tuple[str, ...]] = ("name", "version")
    name: str | None = None
    version: str | None = None


class UpdateVersion(OneVersion):
    """``model-versions/update``."""

    description: str | None = None


class MoveVersion(OneVersion):
    """``model-versions/transition-stage``."""

    required = ("name", "version", "stage")
    stage: str | None = None
    archive_existing_versions: bool | None = None


class TagOfVersion(OneVersion):
    """``model-versions/set-tag`` and ``delete-tag``."""

    required = ("name", "version", "key")
    key: str | None = None
    value: str | None = None


class Search(Ask):
    """``model-versions/search``."""

    filter: str | None = None
    max_results: int | None = None
    order_by: list[str] | None = None
    page_token: str | None = None


@route("POST", "model-versions/create", CreateVersion)
def create(call: Call, ask: CreateVersion) -> dict[str, Any]:
    """Make the next version of a model that is there."""
    source, run, logged = ask.source or "", as_stored(ask.run_id or ""), ask.model_id or ""
    tags = dict(check_tag(one.key, one.value) for one in ask.tags or [])
    call.journal.drain_uploads()  # its files may have come a moment ago
    with call.reading("model:read") as session:
        if tags.get(PROMPT, "").lower() != "true" and not lies_in(session, call.caller.tenant, source, run, logged):
            raise _elsewhere(source, "model_id" if logged else "run_id")
        if logged:
            known_logged(call, session, logged)
        name = model_row(session, call.caller.tenant, ask.name)["name"]
    made = call.perform(
        contract.create,
        contract.CreateVersion(
            name=name, source=source, run=run, logged=logged, run_link=ask.run_link or "",
            description=ask.description or "", tags=tags,
        ),
    )  # fmt: skip
    return _made(call, made.id)


@route("GET", "model-versions/get", OneVersion)
def get(call: Call, ask: OneVersion) -> dict[str, Any]:
    """Show one."""
    with call.reading("model:read") as session:
        return {"model_version": versions_json(session, [_row(call, session, ask)])[0]}


@route("PATCH", "model-versions/update", UpdateVersion)
def update(call: Call, ask: UpdateVersion) -> dict[str, Any]:
    """Describe it."""
    version = _known(call, ask)
    call.perform(models.note, models.NoteModel(model=version, text=ask.description or ""))
    return _made(call, version)


@route("POST", "model-versions/transition-stage", MoveVersion)
def move(call: Call, ask: MoveVersion) -> dict[str, Any]:
    """Move it to another stage."""
    stage, version = canonical(ask.stage or ""), _known(call, ask)
    call.perform(
        contract.stage,
        contract.MoveVersion(model=version, stage=stage, archive=bool(ask.archive_existing_versions)),
    )
    return _made(call, version)


@route("DELETE", "model-versions/delete", OneVersion)
def delete(call: Call, ask: OneVersion) -> None:
    """Hide it; its number is never given again."""
    call.perform(models.delete, models.OneModel(model=_known(call, ask)))


@route("GET", "model-versions/get-download-uri", OneVersion)
def download_uri(call: Call, ask: OneVersion) -> dict[str, Any]:
    """Say where its files can be read."""
    with call.reading("model:read") as session:
        return {"artifact_uri": download_address(session, call.caller.tenant, _row(call, session, ask))}


@route("GET", "model-versions/search", Search)
def search(call: Call, ask: Search) -> dict[str, Any]:
    """List a page, those that changed last first unless ordered otherwise."""
    size = 10_000 if ask.max_results is None else ask.max_results
    if size < 1:
        raise invalid(f"Invalid value for max_results. It must be a positive integer, but got {size}")
    if size > MAX_RESULTS:
        raise invalid(
            f"Invalid value for request parameter max_results. It must be at most {MAX_RESULTS}, but got value {size}"
        )
    part = Slice.of(ask.page_token, size)
    with call.reading("model:read") as session:
        ids = search_versions(
            session, call.caller.tenant, ask.filter or "", ask.order_by or [], part.size + 1, part.offset
        )
        page = part.answer("model_versions", ids)
        found = versions_encoded(session, page.pop("model_versions", []))
        return {**page, **({"model_versions": found} if found else {})}


@route("POST", "model-versions/set-tag", TagOfVersion)
def set_tag(call: Call, ask: TagOfVersion) -> None:
    """Set one tag."""
    key, value = check_tag(ask.key, ask.value)
    call.perform(models.tag, models.TagModel(model=_known(call, ask), tags={key: value}))


@route("DELETE", "model-versions/delete-tag", TagOfVersion)
def delete_tag(call: Call, ask: TagOfVersion) -> None:
    """Remove one tag; one that is not there is no mistake."""
    key = check_name(ask.key or "", "key")
    call.perform(models.tag, models.TagModel(model=_known(call, ask), remove=[key]))


def _elsewhere(source: str, which: str) -> WireError:
    """Return the error for a source that is not among the files of the run or the logged model that is named."""
    parts = urlsplit(source)
    host = f" · 'source' cannot use the '{parts.scheme}' scheme for another host" * bool(parts.netloc)
    return invalid(
        f"Invalid model version source: '{source}'. The {which} request parameter must identify the resource"
        f" that contains the source.{host}"
    )


def _row(call: Call, session: Session, ask: OneVersion) -> dict[str, Any]:
    return version_row(session, call.caller.tenant, ask.name, ask.version)


def _known(call: Call, ask: OneVersion) -> str:
    """Return the id of a version that is there."""
    with call.reading("model:read") as session:
        return str(_row(call, session, ask)["id"])


def _made(call: Call, version: str) -> dict[str, Any]:
    with call.reading("model:read") as session:
        return {"model_version": versions_json(session, versions_by_id(session, [version]))[0]}

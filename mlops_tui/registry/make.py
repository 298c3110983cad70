"""A folder of files becomes the next version of a model: kept as it is, whatever happens to where it came from."""

from __future__ import annotations

import json
import posixpath
import shlex
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from mlops_tui.contracts import version as contract
from mlops_tui.contracts.operation import Plan
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.door import Context, implements
from mlops_tui.registry.lists import PROMPT
from mlops_tui.registry.models import insert_model, next_version, touch, version_change
from mlops_tui.registry.sources import Source, describe, find_source, is_local
from mlops_tui.registry.versions import resolve_version
from mlops_tui.store.session import Session
from mlops_tui.store.tags import add_tags, change_tags, tags_of
from mlops_tui.tracking.artifacts.places import address_of
from mlops_tui.tracking.runs.headline import headline
from mlops_tui.tracking.runs.read import metrics_of

VERSIONS_TAG = "mlflow.modelVersions"


@implements(contract.create)
class CreateVersion:
    """Make the next version of a model from a source."""

    def plan(self, ctx: Context, request: contract.CreateVersion) -> Plan:
        """Find the files, and refuse an origin that the source belies."""
        source = find_source(ctx, request.source)
        run, logged = _origin(ctx.session, request, source)
        if request.tags.get(PROMPT, "").lower() != "true":  # a prompt has no files, and a word in place of its source
            _check_local(ctx.session, request.source, run)
        model, version = next_version(ctx, request.name, request.number)
        format_, digest, signature = describe(ctx, source.files)
        warnings = [] if source.files else [f"no file of {request.source} lies in this store; only its place is noted"]
        if "not_served" in signature:
            warnings.append(f"it cannot be served by us: {signature['not_served']}")
        return Plan(
            operation="version.create",
            object=f"model:{request.name}@{version}",
            text=f"register {request.name}@{version} from {request.source}",
            changes=[version_change(request.name, version)],
            warnings=warnings,
            cli=shlex.join(["mlops", "version", "create", request.name, request.source]),
            data={
                "source": source, "run": run, "logged": logged, "model": model, "version": version, "format": format_,
                "digest": digest, "signature": signature,
            },
        )  # fmt: skip

    def apply(self, ctx: Context, request: contract.CreateVersion, plan: Plan) -> contract.VersionMade:
        """Insert the version; its files are noted once more, under it."""
        data, session, made = plan.data, ctx.session, uuid7()
        model = data["model"] or insert_model(ctx, request.name)
        files, run = data["source"].files, data["run"]
        metrics = {one.key: one.last for one in metrics_of(session, run) if one.last is not None} if run else {}
        metric = headline(metrics) or ""
        session.insert(
            "model_version", id=made, model_id=model, version=data["version"], run_id=run or None,
            digest=data["digest"], size=sum(one["size"] for one in files), format=data["format"],
            description=request.description, signature=_json(data["signature"]), created_us=ctx.now,
            actor=ctx.caller.name, metrics=_json(metrics), metric=metric, value=metrics.get(metric),
            source=data["source"].uri, run_link=request.run_link, logged_id=data["logged"],
        )  # fmt: skip
        session.insert_columns(
            "run_artifact",
            {
                "run": [made] * len(files),
                "path": [one["path"] for one in files],
                "digest": [one["digest"] for one in files],
                "size": [one["size"] for one in files],
                "ts_us": [ctx.now] * len(files),
            },
        )
        add_tags(session, made, request.tags, ctx.now)
        touch(ctx, model)
        if data["logged"]:
            ctx.link(f"model_version:{made}", "is", f"logged:{data['logged']}")
            _note_on(session, data["logged"], request.name, data["version"], ctx.now)
        if run and session.value("SELECT count(*) > 0 FROM run WHERE id = ?", [run]):
            ctx.link(f"model_version:{made}", "made_by", f"run:{run}")
        ctx.emit("model", model, "registered", f"{request.name}@{data['version']} registered", plan.object)
        return contract.VersionMade(object=plan.object, text=plan.text, id=made, version=data["version"])


def download_address(session: Session, tenant: str, row: dict[str, Any]) -> str:
    """Return where the files of a version can be read: under the version itself where this store keeps them.

    Args:
        session: where to look.
        tenant: whose models.
        row: of :func:`resolve_version`.
    """
    if session.value("SELECT count(*) > 0 FROM run_artifact WHERE run = ?", [row["id"]]):
        return address_of(session, tenant, row["id"])
    name, _, number = row["source"].removeprefix("models:/").partition("/")
    if row["source"].startswith("models:/"):
        with suppress(NotFound):
            if not number:
                return address_of(session, tenant, name)
            return download_address(session, tenant, resolve_version(session, tenant, f"{name}@{number}"))
    if not row["source"] and row["run_id"]:  # one from before versions kept their file under their own name
        return address_of(session, tenant, row["run_id"])
    return str(row["source"])


def _note_on(session: Session, logged: str, name: str, version: int, ts: int) -> None:
    """Note a version on the logged model that it was, in the tag that MLflow's clients read."""
    known = json.loads(tags_of(session, logged).get(VERSIONS_TAG) or "[]")
    text = json.dumps([*known, {"name": name, "version": version}])  # with the spaces that clients compare
    change_tags(session, logged, {VERSIONS_TAG: text}, (), ts)


def _origin(session: Session, request: contract.CreateVersion, source: Source) -> tuple[str, str]:
    """Return run and logged model of a version.

    Raises:
        BadInput: the caller names a run or a logged model that this store knows, and the source lies in another.
    """
    for what, table, given, found in (
        ("run_id", "run", request.run, source.run),
        ("model_id", "logged_model", request.logged, source.logged),
    ):
        if given and found and _plain(given) != _plain(found):
            known = session.value(f"SELECT count(*) FROM {table} WHERE id IN (?, ?)", [given, found])
            if known:
                raise BadInput(
                    f"Invalid model version source: '{request.source}'",
                    f"the {what} must identify what contains the source",
                    f"it lies in {found}",
                )
    return request.run or source.run, request.logged or source.logged


def _check_local(session: Session, uri: str, run: str) -> None:
    """Return when a source is no path of this machine, or lies among the artifacts of its run.

    Raises:
        BadInput: it is any other path: whoever names it might not be allowed to read it.
    """
    if not is_local(uri):
        return
    parts = urlsplit(uri)
    place = session.value("SELECT e.place FROM run r JOIN experiment e ON e.id = r.experiment_id WHERE r.id = ?", [run])
    root = urlsplit(place or "")
    if place and root.scheme in ("", "file"):
        top = PurePosixPath(unquote(root.path), run.replace("-", ""), "artifacts")
        path = PurePosixPath(posixpath.normpath(unquote(parts.path)))
        if top == path or top in path.parents:
            return
    host = f"{uri} is not a valid remote uri. " * bool(parts.netloc)
    raise BadInput(
        f"Invalid model version source: '{uri}'",
        f"{host}To use a local path as a model version source, the run_id request parameter has to be specified and the"
        " local path has to be contained within the artifact directory of the run specified by the run_id",
        "log the files as artifacts of a run: runs:/RUN/PATH",
    )


def _plain(identifier: str) -> str:
    return identifier.replace("-", "").removeprefix("m")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()

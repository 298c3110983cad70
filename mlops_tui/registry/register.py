"""A run's artifact becomes the next version of a model: checked, numbered, linked to where it came from."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec

from mlops_tui.blobs import Blob, Damaged
from mlops_tui.contracts import model as contract
from mlops_tui.contracts.operation import Done, Plan
from mlops_tui.core.errors import BadInput, Conflict, MlopsError, NotFound, Refused
from mlops_tui.core.ids import uuid7
from mlops_tui.door import Context, implements
from mlops_tui.registry.formats import examine
from mlops_tui.registry.models import insert_model, next_version, touch, version_change
from mlops_tui.registry.sources import files_of, manifest_digest
from mlops_tui.registry.versions import label, latest_gates, resolve_version, shown
from mlops_tui.store.session import Session
from mlops_tui.tracking.artifacts.files import put_file
from mlops_tui.tracking.runs.find import find_run
from mlops_tui.tracking.runs.headline import headline
from mlops_tui.tracking.runs.read import metrics_of

SIGNATURE = "signature.json"
"""Artifact beside the model in which training says more than the model file does: features, classes, preprocessing."""
_MAX_SIGNATURE = 1_000_000


@implements(contract.register)
class Register:
    """Make the next version of a model."""

    def plan(self, ctx: Context, request: contract.RegisterModel) -> Plan:
        """Look at run, file, gates and earlier versions; every reason against it is told here."""
        run = find_run(ctx.session, ctx.tenant, request.run)
        if run["status"] != "done":
            raise Conflict(
                f"the run {run['name']} is {run['status']}",
                "a version comes from a run that is done",
                f"mlops run show {run['id']}",
            )
        file = _artifact(ctx.session, run, request)
        model, version = _next(ctx, request.name, file["digest"])
        gates = _gates(ctx.session, run, file["digest"], request.require_gates)
        format_, signature = _examined(ctx, file)
        object_ = f"model:{request.name}@{version}"
        return Plan(
            operation="model.register",
            object=object_,
            text=f"register {request.name}@{version} from {run['name']}",
            changes=[version_change(request.name, version)],
            warnings=gates,
            cli=shlex.join(["mlops", "model", "register", request.name, run["id"]]),
            data={
                "run": run,
                "file": file,
                "model": model,
                "version": version,
                "format": format_,
                "signature": signature,
            },
        )

    def apply(self, ctx: Context, request: contract.RegisterModel, plan: Plan) -> contract.ModelVersion:
        """Insert the version with its figures and its lineage."""
        run, file, session, identifier = plan.data["run"], plan.data["file"], ctx.session, uuid7()
        model = plan.data["model"] or insert_model(ctx, request.name)
        touch(ctx, model)
        metrics = {one.key: one.last for one in metrics_of(session, run["id"]) if one.last is not None}
        metric = headline(metrics) or ""
        session.insert(
            "model_version", id=identifier, model_id=model, version=plan.data["version"], run_id=run["id"],
            digest=file["digest"], size=file["size"], format=plan.data["format"], description=request.description,
            signature=_json(plan.data["signature"]), created_us=ctx.now,
            actor=ctx.caller.name, metrics=_json(metrics), metric=metric, value=metrics.get(metric),
        )  # fmt: skip
        put_file(ctx, identifier, file["path"].rpartition("/")[2], Blob(file["digest"], file["size"]), ctx.now)
        ctx.link(f"model_version:{identifier}", "made_by", f"run:{run['id']}")
        ctx.emit("model", model, "registered", f"{request.name}@{plan.data['version']} registered", plan.object)
        return shown(session, [resolve_version(session, ctx.tenant, identifier)])[0]


@implements(contract.verify)
class Verify:
    """Read a version's file back and compare its content hash."""

    def plan(self, ctx: Context, request: contract.OneModel) -> Plan:
        """Find the version."""
        row = resolve_version(ctx.session, ctx.tenant, request.model)
        name = label(row)
        cli = shlex.join(["mlops", "model", "verify", name])
        return Plan(operation="model.verify", object=f"model:{name}", text=f"verify {name}", cli=cli, data={"row": row})

    def apply(self, ctx: Context, request: contract.OneModel, plan: Plan) -> Done:
        """Read it whole.

        Raises:
            Damaged: a file is not what was registered.
            Refused: nothing of it lies in this store.
            NotFound: the file is gone.
        """
        row = plan.data["row"]
        kept = files_of(ctx.session, row["id"])
        if not kept and not row["digest"]:
            raise Refused(
                f"{label(row)} cannot be verified", f"its files lie elsewhere: {row['source']}", "register its files"
            )
        digests = [one["digest"] for one in kept] or [row["digest"]]
        size = sum(ctx.blobs.verify(digest).size for digest in digests)
        if kept and row["format"] != "onnx" and manifest_digest(kept) != row["digest"]:
            raise Damaged(f"{label(row)} has not the files that were registered", "", "restore it from a backup")
        ctx.emit("model", row["model_id"], "verified", f"{label(row)} is what was registered", plan.object)
        what = f"{len(kept)} files, " if kept else ""
        text = f"{label(row)}: {what}{size:,} bytes, BLAKE3 {row['digest'][:12]}, as registered"
        return Done(object=plan.object, text=text)


def _artifact(session: Session, run: dict[str, Any], request: contract.RegisterModel) -> dict[str, Any]:
    """Return path, digest and size of the artifact at its path, or else of the only one whose file is called so."""
    path = request.artifact
    fits = session.dicts(
        """SELECT path, digest, size FROM run_artifact
           WHERE run = $run AND (path = $path OR ends_with(path, '/' || $path))
           ORDER BY path = $path DESC, path""",
        {"run": run["id"], "path": path},
    )
    if len(fits) > 1 and fits[0]["path"] != path:
        names = ", ".join(one["path"] for one in fits)
        raise BadInput(f"the run {run['name']} has several {path}", names, "--artifact PATH says which")
    if not fits:
        there = session.column("SELECT path FROM run_artifact WHERE run = ? ORDER BY path LIMIT 10", [run["id"]])
        why = f"it has {', '.join(there)}" if there else "it has none"
        logged = session.value(
            "SELECT id FROM logged_model WHERE run_id = ? AND deleted IS NULL ORDER BY created DESC", [run["id"]]
        )
        if logged and not there:
            why = "it logged a model through MLflow, which is a folder"
        folder = shlex.join(["mlops", "version", "create", request.name, f"models:/{logged}"])
        hint = folder if logged else "--artifact PATH names another"
        raise NotFound(f"the run {run['name']} has no artifact {path}", why, hint)
    return {**fits[0], "run": run["id"]}


def _next(ctx: Context, name: str, digest: str) -> tuple[str | None, int]:
    """Return the model's id, if there is one, and the number of its next version.

    Raises:
        Conflict: a version of this model has the same content.
    """
    model, number = next_version(ctx, name)
    if same := ctx.session.column(
        "SELECT version FROM model_version WHERE model_id = ? AND digest = ? AND deleted IS NULL", [model, digest]
    ):
        raise Conflict(
            f"this model file is registered already as {name}@{same[0]}",
            f"both have the content {digest[:12]}",
            f"mlops version show {name}@{same[0]}",
        )
    return model, number


def _gates(session: Session, run: dict[str, Any], digest: str, required: bool) -> list[str]:
    """Return warnings about gates.

    Raises:
        Refused: gates are required, and one failed or none ran over this file.
    """
    results = latest_gates(session, run["id"], digest)
    failed = [f"{one.gate}: {one.text}" for one in results if not one.passed]
    if results and not failed:
        return []
    why = "; ".join(failed) if failed else "no gate has run over this file"
    if required:
        what = f"{len(failed)} of {len(results)} gates failed" if failed else "its gates are missing"
        raise Refused(f"the model of {run['name']} is not registered: {what}", why, f"mlops gate run {run['id']}")
    return [f"gates are not required: {why}"]


def _examined(ctx: Context, file: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return format and signature; what ``signature.json`` beside the model says goes before the file's own words."""
    with ctx.blobs.open(file["digest"]) as reader:
        format_, signature = examine(reader, file["size"], file["path"])
    beside = file["path"].rpartition("/")[0]
    wanted = f"{beside}/{SIGNATURE}" if beside else SIGNATURE
    row = ctx.session.row("SELECT digest, size FROM run_artifact WHERE run = ? AND path = ?", [file["run"], wanted])
    if row is None or row[1] > _MAX_SIGNATURE:
        return format_, signature
    try:
        said = msgspec.json.decode(ctx.blobs.read_bytes(row[0]), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MlopsError(f"cannot read {wanted} of the run", str(error), "it should hold one JSON object") from error
    return format_, {**signature, **said}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()

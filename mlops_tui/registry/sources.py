"""What a version is made from: a run's files, a logged model, another version, or a place that the caller knows."""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import yaml
from blake3 import blake3

from mlops_tui.contracts.artifact import ROOT
from mlops_tui.core.errors import BadInput, MlopsError, NotFound
from mlops_tui.door import Context
from mlops_tui.registry.formats import examine
from mlops_tui.registry.versions import resolve_version
from mlops_tui.store.session import Session
from mlops_tui.tracking.artifacts.places import find_place

PROXY = "/api/2.0/mlflow-artifacts/artifacts/"
_CARD = "MLmodel"
_MAX_CARD = 1_000_000


class Source(NamedTuple):
    """Where the files of a version come from.

    ``uri`` is the source as it is noted; ``files`` those that this store has, each with path, digest and size; ``run``
    and ``logged`` what the source itself says of its origin. ``version`` is the row of the version that is copied.
    """

    uri: str
    files: list[dict[str, Any]]
    run: str = ""
    logged: str = ""
    version: dict[str, Any] | None = None


def find_source(ctx: Context, uri: str) -> Source:
    """Return what a source URI stands for; one that leads nowhere in this store has no files.

    Raises:
        BadInput: it leads out of a folder with ``..``.
        NotFound: it names a model or a logged model that is not there.
    """
    if is_local(uri):
        return Source(uri, [])
    plain = _plain(uri)
    scheme, rest = urlsplit(plain).scheme, plain.partition(":")[2].lstrip("/")
    if scheme == "models":
        return _model(ctx, uri, rest)
    if scheme == "runs":
        run, _, path = rest.partition("/")
        return _files_at(ctx, uri, run, path)._replace(run=run)
    if address := _address(plain):
        return _files_at(ctx, uri, address, "")
    return Source(uri, [])


def is_local(uri: str) -> bool:
    """Tell whether a source is a path of the machine that its caller has in mind."""
    scheme = urlsplit(uri).scheme
    return scheme in ("", "file") or len(scheme) == 1  # a drive's letter


def lies_in(session: Session, tenant: str, uri: str, run: str, logged: str) -> bool:
    """Tell whether an address of this server is one of the files of a run or a logged model.

    Any other source is taken at its word: nobody can read through it what they could not read anyway.
    """
    if is_local(uri) or not (address := _address(_plain(uri))):
        return True
    at = find_place(session, tenant, address, "")
    return at.owner in (run, logged) and at.kind in ("run", "logged")


def manifest_digest(files: list[dict[str, Any]]) -> str:
    """Return the digest of a folder: BLAKE3 over each path and the digest of its content, in order of the paths."""
    lines = sorted(f"{one['path']}\0{one['digest']}\n" for one in files)
    return str(blake3("".join(lines).encode()).hexdigest())


def describe(ctx: Context, files: list[dict[str, Any]]) -> tuple[str, str, dict[str, Any]]:
    """Return format, digest and signature of a folder that becomes a version.

    One with a single ONNX file is a model that our servers run: its digest is that of the file. An MLflow model says
    its flavours and its signature in ``MLmodel``.
    """
    if not files:
        return "elsewhere", "", {}
    onnx = [one for one in files if one["path"].endswith(".onnx")]
    card = _card(ctx, files)
    if len(onnx) == 1:
        try:
            with ctx.blobs.open(onnx[0]["digest"]) as reader:
                format_, signature = examine(reader, onnx[0]["size"], onnx[0]["path"])
        except MlopsError as error:
            # Weights in another file, or no ONNX at all: kept like any other folder, and the reason with it.
            card = {**card, "not_served": str(error)}
        else:
            return format_, onnx[0]["digest"], {**card, **signature}
    return "mlflow" if card.get("flavors") else "files", manifest_digest(files), card


def files_of(session: Session, owner: str, folder: str = "") -> list[dict[str, Any]]:
    """Return path (from the folder on), digest and size of each file that a run, logged model or version keeps."""
    prefix = f"{folder}/" if folder else ""
    return session.dicts(
        """SELECT substr(path, ?) AS path, digest, size FROM run_artifact
           WHERE run = ? AND starts_with(path, ?) ORDER BY path""",
        [len(prefix) + 1, owner, prefix],
    )


def _plain(uri: str) -> str:
    """Return a URI with its escapes undone.

    Raises:
        BadInput: a part of it is ``..``, or a control character hides in it.
    """
    while (plain := unquote(uri)) != uri:
        uri = plain
    if ".." in uri.split("/") or "\0" in uri:
        scheme = urlsplit(uri).scheme
        raise BadInput(
            f"Invalid model version source: '{uri:.200}'",
            f"'source' cannot use the '{scheme}' scheme so. If supplying a source as an http, https, local file path,"
            " ftp, objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path"
            " references present",
            "give a path without '..'",
        )
    return uri


def _address(plain: str) -> str:
    """Return a URI as an address of this server; empty when it is none."""
    parts = urlsplit(plain)
    if parts.scheme == "mlflow-artifacts":
        return ROOT + parts.path.lstrip("/")
    if parts.scheme in ("http", "https") and PROXY in plain:
        return ROOT + plain.partition(PROXY)[2]
    return ""


def _model(ctx: Context, uri: str, rest: str) -> Source:
    """Return what ``models:/ID``, ``models:/NAME/7`` or ``models:/NAME@ALIAS`` stands for."""
    name, _, number = rest.rstrip("/").partition("/")
    logged = ctx.session.dict(
        "SELECT id, run_id FROM logged_model WHERE tenant = ? AND id = ? AND deleted IS NULL", [ctx.tenant, name]
    )
    if logged:
        return _files_at(ctx, uri, logged["id"], number)._replace(run=logged["run_id"], logged=logged["id"])
    row = resolve_version(ctx.session, ctx.tenant, f"{name}@{number}" if number else name)
    files = files_of(ctx.session, row["id"])
    canonical = f"models:/{row['model']}/{row['version']}"
    return Source(canonical, files, row["run_id"] or "", row["logged_id"], row)


def _files_at(ctx: Context, uri: str, of: str, path: str) -> Source:
    try:
        at = find_place(ctx.session, ctx.tenant, of, path)
    except NotFound:
        return Source(uri, [])
    if at.kind == "files":
        return Source(uri, [])
    files = files_of(ctx.session, at.owner, at.path)
    return Source(uri, files, at.owner if at.kind == "run" else "", at.owner if at.kind == "logged" else "")


def _card(ctx: Context, files: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what ``MLmodel`` at the top says: flavours, loader and signature. One that cannot be read says nothing."""
    row = next((one for one in files if one["path"] == _CARD and one["size"] <= _MAX_CARD), None)
    if row is None:
        return {}
    try:
        said = yaml.safe_load(ctx.blobs.read_bytes(row["digest"]))
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    if not isinstance(said, dict) or not isinstance(said.get("flavors"), dict):
        return {}
    python = said["flavors"].get("python_function")
    loader = python.get("loader_module") if isinstance(python, dict) else None
    return {
        "flavors": sorted(str(name) for name in said["flavors"]),
        **({"loader": str(loader)} if loader else {}),
        **_signature(said.get("signature")),
    }


def _signature(said: Any) -> dict[str, Any]:
    """Return an MLflow signature's inputs and outputs as ours: name, dtype and shape of each."""
    found = {}
    for side in ("inputs", "outputs"):
        try:
            columns = json.loads(said[side])
            found[side] = [_column(one) for one in columns]
        except (TypeError, KeyError, ValueError, AttributeError):
            continue
    return found


def _column(one: dict[str, Any]) -> dict[str, Any]:
    tensor = one.get("tensor-spec") or {}
    shape = [None if size == -1 else size for size in tensor.get("shape", [])] or None
    return {"name": one.get("name", ""), "dtype": tensor.get("dtype") or one.get("type"), "shape": shape}

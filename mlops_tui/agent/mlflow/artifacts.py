"""Artifacts on the wire: clients put, get, list and delete files through the agent. Nothing is held in memory whole.

A file's bytes go sealed to the disk as they come and get their name when the last one is there; a client that goes away
leaves nothing behind.
"""

from __future__ import annotations

import mimetypes
import posixpath
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, BinaryIO, TypeVar
from unicodedata import normalize
from urllib.parse import quote, unquote

from mlops_tui.agent.mlflow.coding import Ask
from mlops_tui.agent.mlflow.errors import WireError, invalid, missing
from mlops_tui.agent.mlflow.names import as_stored
from mlops_tui.agent.mlflow.registry_json import version_row
from mlops_tui.agent.mlflow.router import Call, Reply, route
from mlops_tui.agent.mlflow.runs import OneRun
from mlops_tui.blobs import Blob
from mlops_tui.contracts import artifact as contract
from mlops_tui.contracts.artifact import ROOT
from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.registry.make import download_address
from mlops_tui.store.session import Session
from mlops_tui.tracking.artifacts.files import entries, stored_at, writable
from mlops_tui.tracking.artifacts.places import Place, find_place, top_of

T = TypeVar("T")
PROXIES = ("/api/2.0/mlflow-artifacts/artifacts", "/ajax-api/2.0/mlflow-artifacts/artifacts")
PIECE = 1 << 20
JOURNALED = ("run", "logged")
"""Whose files the journal tells of. Like all that it holds they outlive the agent at once, and a power cut after
seconds: their bytes are on the disk before the store refers to them."""
_DRIVE = re.compile(r"[A-Za-z]:/")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TEXTS = (
    ".txt .log .err .cfg .conf .cnf .cf .ini .properties .prop .hocon .toml .yaml .yml .xml .json .js .py .py3 .csv"
    " .tsv .md .rst .ipynb MLmodel mlproject"
)
"""Endings, and whole names, of files that are shown as text, as MLflow's server does."""


class AtPath(Ask):
    """A path below the root of all artifacts."""

    path: str | None = None


class OfRun(OneRun):
    """A path of a run's artifacts."""

    path: str | None = None
    page_token: str | None = None


class OfVersion(Ask):
    """A path of a version's files."""

    required = ("name", "version", "path")
    name: str | None = None
    version: str | None = None
    path: str | None = None


class OfLogged(Ask):
    """A path of a logged model's files, whose id is in the path."""

    model_id: str | None = None
    artifact_file_path: str | None = None


def put(call: Call, ask: AtPath) -> dict[str, Any]:
    """Take a file as it comes."""
    return _taken(call, ROOT, plain(ask.path))


def _taken(call: Call, of: str, path: str) -> dict[str, Any]:
    with call.reading("run:write") as session:
        at = writable(session, find_place(session, call.caller.tenant, of, path))
    with call.house.blobs.writer() as writer:
        try:
            for piece in call.body:
                writer.write(piece)
        except ConnectionError as error:
            raise WireError(
                "BAD_REQUEST", f"the client went away before the end of {path}: nothing was kept"
            ) from error
        blob = writer.finish(durable=at.kind not in JOURNALED)
    keep_at(call, at, blob)
    return {}


def keep_at(call: Call, at: Place, blob: Blob) -> None:
    """Let a blob lie at a place of which was found out that its caller may put files there.

    What belongs to a run or a logged model goes into the journal like everything that is logged: no upload waits for
    a transaction of its own.
    """
    if at.kind in JOURNALED:
        record = {"v": 1, "e": "artifact", "t": now_us(), "path": at.path, "digest": blob.digest, "size": blob.size}
        call.journal.upload(at.owner, record)
    else:
        kept = contract.KeepFile(of=ROOT, path=at.path, digest=blob.digest, size=blob.size)
        call.perform(contract.keep, kept)


def get(call: Call, ask: AtPath) -> Reply:
    """Send a file."""
    return _sent(call, ROOT, ask.path)


def listed(call: Call, ask: AtPath) -> dict[str, Any]:
    """List a folder; names are without the folder's own."""
    found = entries_json(call, ROOT, ask.path or "")
    for one in found.get("files", []):
        one["path"] = posixpath.basename(one["path"])
    return {"files": found["files"]} if "files" in found else {}


def delete(call: Call, ask: AtPath) -> None:
    """Delete a file or a folder; what is not there is no mistake."""
    call.journal.drain_uploads()
    try:
        call.perform(contract.delete, contract.Folder(of=ROOT, place=plain(ask.path)))
    except NotFound:
        return


for _root in PROXIES:
    route("GET", _root, AtPath)(listed)
    route("GET", _root + "/{path:path}", AtPath)(get)
    route("PUT", _root + "/{path:path}", AtPath, stream=True)(put)
    route("DELETE", _root + "/{path:path}", AtPath)(delete)


@route("GET", "artifacts/list", OfRun)
def of_run(call: Call, ask: OfRun) -> dict[str, Any]:
    """List a folder of a run."""
    return {"root_uri": "", **entries_json(call, _run(call, ask.run), ask.path or "")}


@route("POST", "upload-artifact", OfRun, stream=True)
def put_of_run(call: Call, ask: OfRun) -> dict[str, Any]:
    """Take a file of a run, as MLflow's pages send it."""
    if not (ask.run_id or ask.run_uuid):
        raise invalid("Request must specify run_uuid.")
    if not ask.path:
        raise invalid("Request must specify path.")
    path, first = plain(ask.path), next(call.body, b"")
    if not first:
        raise invalid("Request must specify data.")
    call.body = chain([first], call.body)
    return keep_of_run(call, ask.run, path)


def keep_of_run(call: Call, run: str, path: str) -> dict[str, Any]:
    """Keep the body as a file of a run.

    Raises:
        WireError: there is no such run, or the client went away.
    """
    return _taken(call, _run(call, run), path)


def get_of_run(call: Call, ask: OfRun) -> Reply:
    """Send a file of a run."""
    return _sent(call, _run(call, ask.run), ask.path)


def get_of_version(call: Call, ask: OfVersion) -> Reply:
    """Send a file of a registered version."""
    plain(ask.path)  # a path that leads out is refused whether there is such a version or not
    with call.reading("model:read") as session:
        row = version_row(session, call.caller.tenant, ask.name, ask.version)
        address = download_address(session, call.caller.tenant, row)
    if not address.startswith(ROOT):
        raise missing(f"the files of this version lie elsewhere: {address}")
    return _sent(call, address, ask.path)


def get_of_logged(call: Call, ask: OfLogged) -> Reply:
    """Send a file of a logged model."""
    if not ask.artifact_file_path:
        raise WireError("BAD_REQUEST", 'Request must include the "artifact_file_path" query parameter.')
    return _sent(call, ask.model_id or "", ask.artifact_file_path)


for _path in ("/get-artifact", "get-artifact"):
    route("GET", _path, OfRun)(get_of_run)
for _path in ("/model-versions/get-artifact", "model-versions/get-artifact"):
    route("GET", _path, OfVersion)(get_of_version)
route("GET", "logged-models/{model_id}/artifacts/files", OfLogged)(get_of_logged)


def entries_json(call: Call, of: str, path: str) -> dict[str, Any]:
    """Return what lies in a folder as the wire shows it; ``files`` is left out when it is empty.

    Raises:
        WireError: the path leads out of its owner.
    """

    def look(session: Session, at: Place) -> dict[str, Any]:
        found = [
            {"path": one.path, "is_dir": one.folder, **({"file_size": one.size} if one.size else {})}
            for one in entries(session, at)
        ]
        return {"root_uri": top_of(session, at), **({"files": found} if found else {})}

    return _looked(call, of, path, look)


def _looked(call: Call, of: str, path: str | None, look: Callable[[Session, Place], T]) -> T:
    """Return what is found at a place, once all that was put there is taken in."""
    with call.reading("run:read") as session:
        at = _at(call, session, of, path)
        if not call.journal.owes(at.owner):
            return look(session, at)
    call.journal.drain(at.owner)
    with call.reading("run:read") as session:
        return look(session, at)


def plain(path: str | None) -> str:
    """Return a path with its escapes undone, however often it was escaped; control characters stay escaped.

    Raises:
        WireError: it leads out of its folder.
    """
    text = path or ""
    while (undone := unquote(text)) != text:
        text = undone
    if text.startswith("/") or "//" in text or "#" in text or ".." in text.split("/") or _DRIVE.match(text):
        raise invalid("Invalid path")
    return _CONTROL.sub(lambda found: f"%{ord(found[0]):02X}", text)


def _run(call: Call, run: str) -> str:
    found = as_stored(run)
    with call.reading("run:read") as session:
        if not session.row("SELECT 1 FROM run WHERE id = ? AND tenant = ?", [found, call.caller.tenant]):
            raise missing(f"Run with id={run:.100} not found")
    return found


def _at(call: Call, session: Session, of: str, path: str | None) -> Place:
    try:
        return find_place(session, call.caller.tenant, of, plain(path))
    except BadInput as error:
        raise invalid("Invalid path") from error


def file_at(call: Call, of: str, path: str | None) -> tuple[str, str, int]:
    """Return path, digest and size of a file.

    Raises:
        WireError: there is none.
    """

    def look(session: Session, at: Place) -> tuple[str, str, int]:
        try:
            return at.path, *stored_at(session, at)
        except NotFound as error:
            raise missing(f"No such artifact: '{at.path}'") from error
        except BadInput as error:
            raise invalid(f"Artifact path refers to a directory, not a file: '{at.path}'") from error

    return _looked(call, of, path, look)


def _sent(call: Call, of: str, path: str | None) -> Reply:
    found, digest, size = file_at(call, of, path)
    name = posixpath.basename(found)
    headers = {
        "content-type": _kind(name),
        "content-disposition": _disposition(name),
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
        "etag": f'"{digest}"',
    }
    part = _range(call.headers.get(b"range", b"").decode("latin-1"), size)
    begin, end = part or (0, size)
    if part:
        headers["content-range"] = f"bytes {begin}-{end - 1}/{size}"
    headers["content-length"] = str(end - begin)
    return Reply(_pieces(call.house.blobs.open(digest), begin, end), 206 if part else 200, headers)


def _pieces(file: BinaryIO, begin: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(begin)
        while begin < end and (piece := file.read(min(PIECE, end - begin))):
            begin += len(piece)
            yield piece


def _range(wanted: str, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last that a Range header asks for.

    Several ranges, and what is no range, mean the whole: None.

    Raises:
        WireError: there are no such bytes.
    """
    unit, _, spec = wanted.partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip() != "bytes" or not dash or not (first or last).isdecimal() or not (last or "0").isdecimal():
        return None
    begin = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if begin >= end:
        raise WireError("RANGE_NOT_SATISFIABLE", f"the file has {size} bytes, {wanted} asks for others")
    return begin, end


def _kind(name: str) -> str:
    if (posixpath.splitext(name)[1] or name) in _TEXTS.split():
        return "text/plain"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _disposition(name: str) -> str:
    safe = normalize("NFKD", name).encode("ascii", "ignore").decode().replace('"', "").replace("\\", "") or "download"
    text = f'attachment; filename="{safe}"' if set(safe) & set(" ;,=()<>@:/[]?{}\t") else f"attachment; filename={safe}"
    return text if safe == name else f"{text}; filename*=UTF-8''{quote(name, safe='')}"

"""Files in parts, for clients that are told to: parts of an upload side by side, ranges of a download.

A client gets addresses of ours where a cloud would give it signed ones, with its own authorisation to send along.
"""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import quote

from mlops_tui.agent.mlflow.artifacts import AtPath, file_at, keep_at, plain
from mlops_tui.agent.mlflow.coding import Ask
from mlops_tui.agent.mlflow.errors import WireError, invalid
from mlops_tui.agent.mlflow.router import Call, Reply, route
from mlops_tui.blobs.parts import Parts
from mlops_tui.contracts.artifact import ROOT
from mlops_tui.core.ids import uuid7
from mlops_tui.tracking.artifacts.files import writable
from mlops_tui.tracking.artifacts.places import find_place

BASE = "/api/2.0/mlflow-artifacts"
MAX_PARTS = 10_000


class Begin(Ask):
    """``mpu/create``; the file's name is the end of ``path``, its folder stands in the address."""

    required = ("path",)
    folder: str | None = None
    path: str | None = None
    num_parts: int | None = None


class OnePart(Ask):
    """Names a part, in the address."""

    upload: str | None = None
    number: int | None = None


class Part(Ask):
    """A part that was sent."""

    part_number: int | None = None
    etag: str | None = None
    url: str | None = None


class Finish(Ask):
    """``mpu/complete`` and ``mpu/abort``."""

    required = ("path", "upload_id")
    folder: str | None = None
    path: str | None = None
    upload_id: str | None = None
    parts: list[Part] | None = None


@route("POST", BASE + "/mpu/create/{folder:path}", Begin)
def begin(call: Call, ask: Begin) -> dict[str, Any]:
    """Say where each part goes."""
    count = 1 if ask.num_parts is None else ask.num_parts
    if not 1 <= count <= MAX_PARTS:
        raise invalid(f"Invalid value {count} for parameter 'num_parts' supplied: a file has 1 to {MAX_PARTS} parts.")
    with call.reading("run:write") as session:
        writable(session, find_place(session, call.caller.tenant, ROOT, _target(ask)))
    upload = uuid7()
    return {
        "upload_id": upload,
        "credentials": [
            {"url": _url(call, f"mpu/part/{upload}/{number}"), "part_number": number, "headers": _headers(call)}
            for number in range(1, count + 1)
        ],
    }


@route("PUT", BASE + "/mpu/part/{upload}/{number}", OnePart, stream=True)
def take(call: Call, ask: OnePart) -> Reply:
    """Take a part as it comes."""
    with call.reading("run:write"):
        parts = Parts(call.house.blobs, ask.upload or "")
    if not 1 <= (ask.number or 0) <= MAX_PARTS:
        raise invalid(f"there is no part {ask.number}")
    try:
        digest = parts.put(ask.number or 0, call.body)
    except ConnectionError as error:
        raise WireError("BAD_REQUEST", f"the client went away before the end of part {ask.number}") from error
    return Reply(b"", headers={"etag": f'"{digest}"'})


@route("POST", BASE + "/mpu/complete/{folder:path}", Finish)
def finish(call: Call, ask: Finish) -> dict[str, Any]:
    """Join the parts."""
    path = _target(ask)
    with call.reading("run:write") as session:
        at = writable(session, find_place(session, call.caller.tenant, ROOT, path))
    parts = Parts(call.house.blobs, ask.upload_id or "")
    blob = parts.join([(one.part_number or 0, (one.etag or "").strip('"')) for one in ask.parts or []])
    keep_at(call, at, blob)
    parts.drop()
    return {}


@route("POST", BASE + "/mpu/abort/{folder:path}", Finish)
def abort(call: Call, ask: Finish) -> dict[str, Any]:
    """Forget the parts."""
    with call.reading("run:write"):
        Parts(call.house.blobs, ask.upload_id or "").drop()
    return {}


@route("GET", BASE + "/presigned/{path:path}", AtPath)
def presigned(call: Call, ask: AtPath) -> dict[str, Any]:
    """Say where a file can be read in ranges."""
    _, size = file_at(call, ROOT, ask.path)[1:]
    return {"url": _url(call, "artifacts/" + quote(ask.path or "")), "headers": _headers(call), "file_size": size}


def _target(ask: Begin | Finish) -> str:
    return plain(posixpath.join(ask.folder or "", posixpath.basename((ask.path or "").replace("\\", "/"))))


def _url(call: Call, path: str) -> str:
    host = call.headers.get(b"host", b"").decode("latin-1")
    if not host:
        raise invalid("the request has no Host header, so that no address can be given")
    return f"http://{host}{BASE}/{path}"


def _headers(call: Call) -> dict[str, str]:
    """Return what the client must send along: what it has shown for this request."""
    shown = call.headers.get(b"authorization", b"").decode("latin-1")
    return {"Authorization": shown} if shown else {}

"""What ``mlops serve`` says when it serves: the address, what the model takes and gives, and a line to try it."""

from __future__ import annotations

import http.client
import json
import shlex
from typing import Any
from urllib.parse import quote

from mlops_tui.core.errors import MlopsError
from mlops_tui.serving import exposure
from mlops_tui.serving.deployment import Deployment
from mlops_tui.serving.models.sources import Source

_ASK_S = 10.0
_WIDE = 4096
"""Values in an example at most: a wider row is shown by its shape alone."""
_UNKNOWN: dict[str, Any] = {
    "versions": [],
    "platform": "clients need a certificate",
    "inputs": [],
    "outputs": [],
    "parameters": {},
}
"""What can be said of a server that this process may not ask either."""


def ask(deployment: Deployment, port: int) -> dict[str, Any]:
    """Return what the server says of its model, with its address and an example request.

    Raises:
        MlopsError: it does not answer.
    """
    path = f"/v2/models/{quote(deployment.name)}"
    url = exposure.url(deployment.host, port, deployment.tls is not None)
    body = _UNKNOWN if deployment.tls and deployment.tls.client_ca else _about(deployment, url, path)
    example = _example(body["inputs"]) if body["inputs"] else None
    return {
        "schema": "serve/1",
        "url": url,
        "infer": url + path + "/infer",
        "name": deployment.name,
        "versions": body["versions"],
        "platform": body["platform"],
        "provider": body["parameters"].get("provider", ""),
        "inputs": body["inputs"],
        "outputs": body["outputs"],
        "features": body["parameters"].get("features", []),
        "example": example,
        "curl": _curl(url + path + "/infer", example, bool(deployment.token)) if example else None,
    }


def _about(deployment: Deployment, url: str, path: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {deployment.token}"} if deployment.token else {}
    line = exposure.own_line(url, _ASK_S)
    try:
        line.request("GET", path, headers=headers)
        answer = line.getresponse()
        body = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise MlopsError("the server does not answer", str(error)) from error
    finally:
        line.close()
    if answer.status != 200:
        raise MlopsError("the server does not say what it serves", str(body.get("error", body)))
    found: dict[str, Any] = body
    return found


def told(said: dict[str, Any], source: Source, deployment: Deployment) -> str:
    """Return the same for a person."""
    workers = "1 worker" if deployment.workers == 1 else f"{deployment.workers} workers"
    runs = f"{said['platform']} on {said['provider']}"
    lines = [" · ".join([source.name, *said["versions"], said["url"], workers, runs, "Ctrl-C drains and ends"])]
    for side in ("inputs", "outputs"):
        lines += [f"  {side[:-1]:7} {_tensor(one)}" for one in said[side]]
    if said["features"]:
        lines.append(f"  row     {', '.join(said['features'])}")
    if said["curl"]:
        lines.append(f"  try     {said['curl']}")
    if source.also:
        lines.append(
            f"  models  {', '.join(source.also)}, each at /v2/models/NAME; POST /v2/repository/index lists all"
        )
    if source.signed_by:
        lines.append(f"  signed  {source.signed_by}")
    lines.append("  also    /invocations · /v2/health/ready · /metrics")
    return "\n".join(lines)


def _tensor(one: dict[str, Any]) -> str:
    shape = " × ".join("n" if d < 0 else str(d) for d in one["shape"])
    return f"{one['name']}  {one['datatype']}  {shape}"


def _example(inputs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return a request of one row; None when a row is too wide to be read."""
    tensors = []
    for one in inputs:
        shape = [1 if d < 0 else d for d in one["shape"]]
        count = 1
        for d in shape:
            count *= d
        if count > _WIDE:
            return None
        value: Any = {"BYTES": "a", "BOOL": False}.get(one["datatype"], 0)
        tensors.append({"name": one["name"], "datatype": one["datatype"], "shape": shape, "data": [value] * count})
    return {"inputs": tensors}


def _curl(url: str, example: dict[str, Any], token: bool) -> str:
    words = ["curl", "-s", url, "-d", json.dumps(example, separators=(",", ":"))]
    line = shlex.join(words)
    return line + ' -H "Authorization: Bearer $TOKEN"' if token else line

"""Warming a version up before anybody meets it: requests that stable has answered are replayed to it alone.

It is asked by its own address (``/v2/models/NAME/versions/LABEL/infer``), which gets no share of the traffic; what it
answers is thrown away, and belongs to no step, so no check counts it. A version that fails on what stable could answer
goes no further. A model that fails at random now and then does so here too: a failed request is sent once more, and
only more that fail twice than stable's own share of errors explains end the rollout. What cannot be replayed (redacted
or missing values, words, several inputs) is left out, and said.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from mlops_tui.deploy.find import labels_of, shut_to_us, url_of
from mlops_tui.door import House
from mlops_tui.serving.deployment import own_certificate, own_headers
from mlops_tui.serving.exposure import own_line
from mlops_tui.serving.record.segments import OK
from mlops_tui.store.session import Session

TIMEOUT_S = 10.0
LONGEST_S = 30.0
"""A model that needs long for a request is warm before it has had them all."""
_SPARE = 0.01
"""Share of failures beyond stable's that is left to the looks, which judge by many more requests."""
_UNLIKELY = 0.001
_BUSY = (http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE)


class Warm(NamedTuple):
    """How it went: a sentence, empty when nothing was replayed, and whether the version failed on a request."""

    text: str
    failed: bool = False


class _Replay(threading.Thread):
    """Sends rows one by one, on a thread of its own: the engine never waits for a server."""

    def __init__(self, url: str, path: str, rows: list[list[float]], folder: Path, errors: float = 0.0) -> None:
        super().__init__(name="warm-up", daemon=True)
        self.warm: Warm | None = None
        self._url, self._path, self._rows = url, path, rows
        self._headers, self._certificate = own_headers(folder), own_certificate(folder)
        self._errors = errors
        self.start()

    def run(self) -> None:
        try:
            self.warm = self._sent()
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            self.warm = Warm(f"the servers did not answer: {error}", True)

    def _sent(self) -> Warm:
        connection = own_line(self._url, TIMEOUT_S, self._certificate)
        with contextlib.closing(connection):
            inputs = self._asked(connection, "GET", self._path)[1].get("inputs", [])
            if len(inputs) != 1:
                return Warm(f"not warmed up: it takes {len(inputs)} inputs")
            if (why := _unfit(inputs[0])) or not self._rows:
                return Warm(f"not warmed up: {why or 'no logged request has all its values'}")
            whole = not inputs[0]["datatype"].startswith("FP")
            began, spent, failed, why = time.monotonic(), [], 0, ""
            for number, row in enumerate(self._rows):
                if time.monotonic() - began > LONGEST_S:
                    break
                data = [int(value) for value in row] if whole else row
                tensor = {**{key: inputs[0][key] for key in ("name", "datatype")}, "shape": [1, len(row)], "data": data}
                body = json.dumps({"id": f"warm-up-{number}", "inputs": [tensor]})
                at = time.monotonic()
                status, said = self._asked(connection, "POST", f"{self._path}/infer", body)
                if status in _BUSY:  # clients come first
                    continue
                spent.append(1000 * (time.monotonic() - at))
                if status != http.client.OK:
                    status, said = self._asked(connection, "POST", f"{self._path}/infer", body)
                if status not in (http.client.OK, *_BUSY):
                    failed, why = failed + 1, str(said.get("error", status))
        return _told(spent, failed, why, self._errors, time.monotonic() - began)

    def _asked(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        connection.request(method, path, body, self._headers | ({"content-type": "application/json"} if body else {}))
        answer = connection.getresponse()
        said = json.loads(answer.read())
        return answer.status, said


def _told(spent: list[float], failed: int, why: str, errors: float, took: float) -> Warm:
    """Return how a warm-up went: milliseconds of each request, how many failed twice and why, and stable's errors."""
    if not spent:
        return Warm("not warmed up: the servers were busy")
    from scipy import special

    often = min(1.0, errors + _SPARE) ** 2
    if failed and special.bdtrc(failed - 1, len(spent), often) < _UNLIKELY:
        return Warm(f"it failed on {failed} of {len(spent)} requests that stable answered: {why}", True)
    text = f"warmed up by {len(spent):,} replayed requests in {took:.1f} s, p99 {np.quantile(spent, 0.99):.2g} ms"
    return Warm(text + (f"; it failed on {failed}: {why}" if failed else ""))


def _unfit(given: dict[str, Any]) -> str:
    """Return why logged rows cannot be sent to an input; empty when they can."""
    if given["datatype"] in ("BYTES", "BOOL"):
        return f"it takes {given['datatype']}, the log has numbers"
    return "" if len(given["shape"]) == 2 else f"its input has the shape {given['shape']}, the log has rows"


_replays: dict[str, _Replay] = {}


def done(house: House, row: dict[str, Any], count: int) -> Warm | None:
    """Return how the warm-up of a rollout went; None while it is under way. The first call begins it."""
    if not count:
        return Warm("")
    if row["id"] not in _replays:
        folder = house.home.deployments / row["deployment_id"]
        begun = house.read(lambda s: _begun(s, row, count, folder))
        if begun is None:
            return Warm("")
        _replays[row["id"]] = begun
    warm = _replays[row["id"]].warm
    if warm is not None:
        del _replays[row["id"]]
    return warm


def _begun(session: Session, row: dict[str, Any], count: int, folder: Path) -> _Replay | None:
    """Begin a replay of the newest requests; None when there is none, or no server of ours."""
    (served,) = session.dicts("SELECT name, host, port, facts FROM deployment WHERE id = ?", [row["deployment_id"]])
    url = url_of(served)
    rows = session.column(
        f"""SELECT features FROM inference WHERE deployment_id = ? AND revision_no = ? AND status = {OK}
              AND "row" = 0 AND NOT shadow AND len(features) > 0 ORDER BY ts DESC LIMIT {count}""",
        [row["deployment_id"], row["stable_no"]],
    )
    if not url or not rows or shut_to_us(served, folder):
        return None
    errors = session.value(
        "SELECT sum(errors) / sum(requests) FROM revision_total WHERE deployment_id = ? AND revision_no = ?",
        [row["deployment_id"], row["stable_no"]],
    )
    rows = [row for row in rows if all(map(math.isfinite, row))]
    label = labels_of(session, row["deployment_id"])[row["canary_no"]]
    return _Replay(url, f"/v2/models/{quote(served['name'])}/versions/{quote(label)}", rows, folder, float(errors or 0))

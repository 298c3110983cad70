"""The replay worker: a stored data set as live traffic, through the same features, with labels that come later."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from mlops_tui.core.errors import BadInput, MlopsError, NotFound, Unreachable
from mlops_tui.core.paths import home
from mlops_tui.data import training_set
from mlops_tui.data.online.duck import open_locked, quote
from mlops_tui.data.online.transform import FeatureSet
from mlops_tui.data.schema import probe
from mlops_tui.data.worker import unsealed
from mlops_tui.jobs.worker import WorkerJob, serve
from mlops_tui.serving.deployment import own_certificate, own_headers
from mlops_tui.serving.exposure import own_line
from mlops_tui.spool.writer import Writer

DEFINITIONS = "mlops.feature_set"
"""Where a model's metadata keeps the definitions that it was trained with."""
WAIT_S = 30.0
TELL_S = 0.5
TRIES = 3


def work(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Send every row, spread over the requests' rate; labels follow after their delay."""
    rows = _rows(request, job)
    writer = Writer(home().spool, request["deployment"], kind="label")
    labels = _LateLabels(writer, float(request["label_delay_s"]))
    prefix = request["prefix"] or f"{job.id[-8:]}-"
    began = time.monotonic()
    requests, failed = _send(request, rows, prefix, _Server(job, request["deployment"]), labels, job)
    labels.finish()
    writer.end("done", 0)
    return {
        "rows": len(rows.ids),
        "requests": requests,
        "failed": failed,
        "seconds": time.monotonic() - began,
        "labels": labels.written,
        "prefix": prefix,
    }


def _send(
    request: dict[str, Any],
    rows: training_set.TrainingSet,
    prefix: str,
    server: _Server,
    labels: _LateLabels,
    job: WorkerJob,
) -> tuple[int, int]:
    """Send the rows and return how many requests that took and how many were not answered."""
    size, rate, count = int(request["batch"]), float(request["rate"]), len(rows.ids)
    failed, began, told = 0, time.monotonic(), 0.0
    for number, at in enumerate(range(0, count, size)):
        if rate:
            labels.until(began + number / rate)
        name = f"{prefix}{rows.ids[at]}"
        if not server.infer(name, rows.x[at : at + size]):
            failed += 1
        elif len(rows.label):
            labels.later(name, rows.label[at : at + size])
        if time.monotonic() - told > TELL_S:
            told = time.monotonic()
            with contextlib.suppress(MlopsError):  # traffic does not wait for an agent that is away
                job.progress(at / count)
    return -(-count // size), failed


def _rows(request: dict[str, Any], job: WorkerJob) -> training_set.TrainingSet:
    """Compute the features of the rows to send, through the definitions that the served model was trained with.

    Raises:
        BadInput: no row is to be sent.
    """
    record = _definitions(job, request["deployment"])
    record["label"] = request["label_column"] or record["label"]
    record["key"] = request["id_column"] or record["key"]
    with ExitStack() as stack:
        paths = {
            name: stack.enter_context(unsealed(job, file["digest"], file["format"]))
            for name, file in request["files"].items()
        }
        source = training_set.Source(paths["data"], paths.get("labels"))
        out = paths["data"].with_name("replay.parquet")
        rows = _computed(FeatureSet.from_record(record), source, out, request["where"])
        rows = _in_file_order(rows, str(record["key"]), paths["data"])
    if not len(rows.ids):
        raise BadInput("no row is to be sent", f"none fits {request['where']!r}", "look at the condition")
    most = int(request["rows"])
    return rows.take(np.arange(most)) if 0 < most < len(rows.ids) else rows


def _in_file_order(rows: training_set.TrainingSet, key: str, data: Path) -> training_set.TrainingSet:
    """Return the rows as they came: a training set is ordered by key, and keys often tell where a row is from."""
    con = open_locked([data])
    try:
        keys = con.execute(f"SELECT {quote(key)} FROM {probe(con, data).relation}").fetchnumpy()[key]
    finally:
        con.close()
    sorter = np.argsort(keys, kind="stable")
    return rows.take(np.argsort(sorter[np.searchsorted(keys, rows.ids, sorter=sorter)]))


def _computed(features: FeatureSet, source: training_set.Source, out: Path, where: str) -> training_set.TrainingSet:
    return training_set.read(training_set.write(features, [source], out, where).path)


def _definitions(job: WorkerJob, deployment: str) -> dict[str, Any]:
    """Return the definitions that travel inside the model which gets the most traffic.

    Raises:
        NotFound: it carries none.
    """
    shown = job.client.call("deploy.show", {"deployment": deployment})
    serving = max(shown.revisions, key=lambda revision: revision.weight)
    version = job.client.call("version.show", {"model": f"{serving.model}@{serving.version}"})
    text = version.signature.get("metadata", {}).get(DEFINITIONS)
    if not text:
        raise NotFound(
            f"{serving.model}@{serving.version} does not say how its features are computed",
            f"its metadata has no {DEFINITIONS}",
            "export it with metadata={'feature_set': training_set.features}",
        )
    found: dict[str, Any] = json.loads(text)
    return found


class _Server:
    """The deployment's server; a connection that breaks is made anew, since servers may be replaced under way."""

    def __init__(self, job: WorkerJob, deployment: str) -> None:
        self._job, self._deployment = job, deployment
        self._url = ""
        self._name = ""
        self._input: dict[str, Any] = {}
        self._headers: dict[str, str] = {}
        self._connection = self._connected()

    def infer(self, request: str, rows: Any) -> bool:
        """Send one request and tell whether it was answered well."""
        body, fields = self._message(request, rows)
        for _ in range(TRIES):
            try:
                self._connection.request("POST", f"/v2/models/{self._name}/infer", body, fields)
                answer = self._connection.getresponse()
                answer.read()
                return answer.status == http.client.OK
            except (OSError, http.client.HTTPException):
                self._connection.close()
                self._connection = self._connected()
        return False

    def _message(self, request: str, rows: Any) -> tuple[bytes, dict[str, str]]:
        """Return body and header fields of a request in the binary form of the Open Inference Protocol."""
        tensor = {
            "name": self._input["name"],
            "datatype": self._input["datatype"],
            "shape": list(rows.shape),
            "parameters": {"binary_data_size": rows.nbytes},
        }
        head = json.dumps({"id": request, "inputs": [tensor]}).encode()
        fields = {
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(len(head)),
            "x-request-id": request,
            **self._headers,
        }
        return head + np.ascontiguousarray(rows).tobytes(), fields

    def _connected(self) -> http.client.HTTPConnection:
        """Return a connection to a server that answers.

        Raises:
            Unreachable: none did within ``WAIT_S``.
        """
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError, MlopsError):
                return self._tried()
            time.sleep(0.1)
        raise Unreachable(
            "the deployment does not answer", f"waited {WAIT_S:g} s", f"mlops deploy logs {self._deployment}"
        )

    def _tried(self) -> http.client.HTTPConnection:
        """Connect to where the server was, or where the agent says that it is now."""
        if not self._name:
            shown = self._job.client.call("deploy.show", {"deployment": self._deployment})
            self._url, self._name = shown.url, shown.name
        folder = home().deployments / self._deployment
        connection = own_line(self._url, 10.0, own_certificate(folder))
        self._headers = own_headers(folder)
        connection.request("GET", f"/v2/models/{self._name}", headers=self._headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        if answer.status != http.client.OK:
            raise OSError(f"the server answered {answer.status}")
        self._input = said["inputs"][0]
        return connection


class _LateLabels:
    """Writes each label into the spool once its delay is over."""

    def __init__(self, writer: Writer, delay_s: float) -> None:
        self._writer, self._delay = writer, delay_s
        self._waiting: deque[tuple[float, str, Any]] = deque()
        self.written = 0

    def later(self, request: str, truth: Any) -> None:
        """Take the labels of one request; write those whose time has come."""
        self._waiting.append((time.monotonic() + self._delay, request, truth))
        self._write()

    def until(self, moment: float) -> None:
        """Wait for a moment, and write what falls due meanwhile."""
        while (left := moment - time.monotonic()) > 0:
            due = self._waiting[0][0] - time.monotonic() if self._waiting else left
            time.sleep(max(0.0, min(left, due)))
            self._write()

    def finish(self) -> None:
        """Write the labels that are left, each when its delay is over."""
        if self._waiting:
            self.until(self._waiting[-1][0])
        self._write()

    def _write(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, request, truth = self._waiting.popleft()
            for row, value in enumerate(truth):
                if np.isfinite(value):
                    self._writer.label(request, row, float(value))
                    self.written += 1


if __name__ == "__main__":
    serve(work)

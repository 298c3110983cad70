"""The replay worker: a stored data set as live traffic, through the same features, with labels that come later."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from mlops_tui.core.errors import BadInput, Unreachable
from mlops_tui.core.paths import home
from mlops_tui.data import training_set
from mlops_tui.data.online.transform import FeatureSet
from mlops_tui.data.worker import unsealed
from mlops_tui.jobs.worker import WorkerJob, serve
from mlops_tui.spool.writer import Writer

WAIT_S = 30.0


def work(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Send every row, spread over the requests' rate; labels follow after their delay."""
    rows = _rows(request, job)
    server = _Server(job, request["deployment"])
    writer = Writer(home().spool, request["deployment"], kind="label")
    labels = _LateLabels(writer, float(request["label_delay_s"]))
    batch, rate = int(request["batch"]), float(request["rate"])
    count, failed, began = len(rows.ids), 0, time.monotonic()
    for number, at in enumerate(range(0, count, batch)):
        if rate and (early := began + number / rate - time.monotonic()) > 0:
            time.sleep(early)
        part = rows.x[at : at + batch]
        name = f"{request['prefix']}{rows.ids[at]}"
        failed += not server.infer(name, part)
        if len(rows.label):
            labels.later(name, rows.label[at : at + batch])
        if number % 50 == 0:
            job.progress(at / count)
    labels.finish()
    writer.end("done", 0)
    took = time.monotonic() - began
    return {
        "rows": count,
        "requests": -(-count // batch),
        "failed": int(failed),
        "seconds": took,
        "labels": labels.written,
    }


def _rows(request: dict[str, Any], job: WorkerJob) -> training_set.TrainingSet:
    """Compute the features of the rows to send, through the definitions that training used."""
    features = FeatureSet.from_record(_definitions(job, request["deployment"]))
    with unsealed(job, request["files"]["data"]["digest"], request["files"]["data"]["format"]) as data:
        if "labels" in request["files"]:
            with unsealed(job, request["files"]["labels"]["digest"], request["files"]["labels"]["format"]) as labels:
                written = _compute(features, training_set.Source(data, labels), data.parent, request["where"])
        else:
            written = _compute(features, training_set.Source(data), data.parent, request["where"])
        rows = training_set.read(written)
    if not len(rows.ids):
        raise BadInput("no row is to be sent", f"none fits {request['where']!r}", "look at the condition")
    return rows.take(np.arange(int(request["rows"]))) if 0 < int(request["rows"]) < len(rows.ids) else rows


def _definitions(job: WorkerJob, deployment: str) -> dict[str, Any]:
    """Return the definitions that the served model was trained with; they travel inside it."""
    import onnxruntime

    shown = job.client.call("deploy.show", {"deployment": deployment})
    serving = max(shown.revisions, key=lambda revision: revision.weight)
    version = job.client.call("version.show", {"model": f"{serving.model}@{serving.version}"})
    session = onnxruntime.InferenceSession(job.blobs.read_bytes(version.digest), providers=["CPUExecutionProvider"])
    record = session.get_modelmeta().custom_metadata_map.get("mlops.feature_set")
    found: dict[str, Any] = json.loads(record) if record else job.client.call("feature.view", {}).record
    return found


def _compute(features: FeatureSet, source: training_set.Source, folder: Path, where: str) -> Path:
    return training_set.write(features, [source], folder / "replay.parquet", where).path


class _Server:
    """The deployment's server; a connection that breaks is made anew, since servers may be replaced under way."""

    def __init__(self, job: WorkerJob, deployment: str) -> None:
        self._job, self._deployment = job, deployment
        self._connection: http.client.HTTPConnection | None = None
        self._tensor: dict[str, Any] = {}
        self._path = ""
        self._connect()

    def infer(self, request: str, rows: Any) -> bool:
        """Send one request and tell whether it was answered well."""
        head = json.dumps(
            {
                "id": request,
                "inputs": [
                    {
                        "name": self._tensor["name"],
                        "datatype": self._tensor["datatype"],
                        "shape": list(rows.shape),
                        "parameters": {"binary_data_size": rows.nbytes},
                    }
                ],
            }
        ).encode()
        fields = {
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(len(head)),
            "x-request-id": request,
        }
        for attempt in (1, 2):
            try:
                assert self._connection
                self._connection.request("POST", self._path, head + np.ascontiguousarray(rows).tobytes(), fields)
                answer = self._connection.getresponse()
                answer.read()
                return answer.status == 200
            except (OSError, http.client.HTTPException):
                if attempt == 2:
                    return False
                self._connect()
        return False

    def _connect(self) -> None:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                shown = self._job.client.call("deploy.show", {"deployment": self._deployment})
                host, _, port = shown.url.removeprefix("http://").partition(":")
                connection = http.client.HTTPConnection(host, int(port), timeout=10)
                connection.request("GET", f"/v2/models/{shown.name}")
                answer = connection.getresponse()
                body = json.loads(answer.read())
                if answer.status == 200:
                    self._connection, self._tensor, self._path = (
                        connection,
                        body["inputs"][0],
                        f"/v2/models/{shown.name}/infer",
                    )
                    return
            except (OSError, http.client.HTTPException, ValueError):
                pass  # not up yet; the deadline decides
            if time.monotonic() > deadline:
                raise Unreachable(
                    "the deployment does not answer", f"waited {WAIT_S:g} s", f"mlops deploy logs {self._deployment}"
                )
            time.sleep(0.2)


class _LateLabels:
    """Writes each label into the spool once its delay is over."""

    def __init__(self, writer: Writer, delay_s: float) -> None:
        self._writer, self._delay = writer, delay_s
        self._waiting: deque[tuple[float, str, Any]] = deque()
        self._guard = threading.Lock()
        self.written = 0

    def later(self, request: str, truth: Any) -> None:
        """Take the labels of one request; write those whose time has come."""
        self._waiting.append((time.monotonic() + self._delay, request, truth))
        self._write(time.monotonic())

    def finish(self) -> None:
        """Wait for the last delay and write what is left."""
        if self._waiting:
            time.sleep(max(0.0, self._waiting[-1][0] - time.monotonic()))
        self._write(float("inf"))

    def _write(self, now: float) -> None:
        with self._guard:
            while self._waiting and self._waiting[0][0] <= now:
                _, request, truth = self._waiting.popleft()
                for row, value in enumerate(truth):
                    if value == value:
                        self._writer.label(request, row, float(value))
                        self.written += 1


if __name__ == "__main__":
    serve(work)

"""The worker of the data room: reads users' files in a process of its own and commits what it found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from mlops_tui.core.errors import Conflict
from mlops_tui.data import checks, training_set
from mlops_tui.data.online import table
from mlops_tui.data.online.transform import FeatureSet
from mlops_tui.data.profile import profile
from mlops_tui.data.schema import read_schema
from mlops_tui.data.scratch import scratch
from mlops_tui.jobs.worker import WorkerJob, serve


def add(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Check a file, keep its content, commit the version."""
    path = Path(request["path"])
    report, before = None, _state(path)
    if request["checks"]:
        report = checks.run_checks(path, checks.load_checks(Path(request["checks"])))
        checks.require(report)
    taken = _take(job, path)
    if _state(path) != before:
        raise Conflict(f"{path.name} changed while it was read", "", "try again when nobody writes to it")
    return _commit(job, taken, {**_facts(request), "path": str(path), "checks": msgspec.to_builtins(report)})


def check(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Check a stored version and refuse it when a check fails."""
    with unsealed(job, request["digest"], request["format"]) as path:
        report = checks.run_checks(path, checks.load_checks(Path(request["checks"])))
    report.file = request["data"]
    checks.require(report)
    found: dict[str, Any] = msgspec.to_builtins(report)
    return found


def verify(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Read a stored version back and compare its content hash."""
    job.blobs.verify(request["digest"])
    return {"data": request["data"], "digest": request["digest"], "ok": True}


def make_training_set(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Compute features over stored versions and commit the result as a data set."""
    features = FeatureSet.from_record(request["record"])
    if request["picked"]:
        features = FeatureSet(features.file, request["picked"])
    with scratch() as folder:
        sources = []
        for index, files in enumerate(request["sources"]):
            paths = [
                _unseal(job, file["digest"], folder / f"{index}-{at}.{file['format']}") for at, file in enumerate(files)
            ]
            sources.append(training_set.Source(*paths))
        written = training_set.write(features, sources, folder / f"{request['name']}.parquet", request["where"])
        taken = _take(job, written.path)
    origin = f"features {features.digest[:12]} over {request['parent']}"
    found = _commit(job, taken, {**_facts(request), "path": origin})
    return {**found, "unlabelled": written.unlabelled, "features": features.digest}


def materialize(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Compute a view over a stored version and hand the table in."""
    features = FeatureSet.from_record(request["record"])
    if request["picked"]:
        features = FeatureSet(features.file, request["picked"])
    with scratch() as folder:
        source = _unseal(job, request["digest"], folder / f"data.{request['format']}")
        keys, ts, matrix = training_set.rows_of(features, source, request["time"], request["made_us"])
        target = folder / "online"
        with target.open("wb") as file:
            facts = {"view": request["view"], "data": request["data"], "made_us": request["made_us"]}
            entities = table.write(file, keys, ts, matrix, features.record(), **facts)
        blob = job.blobs.put_file(target)
    found = {"view": request["view"], "digest": blob.digest, "size": blob.size, "entities": entities}
    said = {**found, "newest": int(ts.max()), "data": request["data"]}
    job.client.call("feature.online", said, request_id=job.request_id("online"))
    return found


def _state(path: Path) -> tuple[int, int, int] | None:
    """Return what differs when somebody has written to a file; None when it is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _facts(request: dict[str, Any]) -> dict[str, Any]:
    return {key: request[key] for key in ("name", "parent", "residency", "classification")}


def _take(job: WorkerJob, path: Path) -> dict[str, Any]:
    """Keep a file's content and return what is to be known of it."""
    schema, found, blob = read_schema(path), profile(path), job.blobs.put_file(path)
    return {
        "digest": blob.digest,
        "size": blob.size,
        "rows": schema.rows,
        "format": schema.format,
        "schema": msgspec.to_builtins(schema.columns),
        "profile": msgspec.to_builtins(found),
    }


def _commit(job: WorkerJob, taken: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    request = {**taken, **facts, "made_by": f"job:{job.id}"}
    version = job.client.call("data.commit", request, request_id=job.request_id("commit"))
    return {
        "id": version.id,
        "data": f"{version.name}@{version.version}",
        "rows": version.rows,
        "size": version.size,
        "digest": version.digest,
    }


@contextmanager
def unsealed(job: WorkerJob, digest: str, form: str) -> Iterator[Path]:
    """Yield a stored artifact as a file in memory (or in a private folder that is removed again)."""
    with scratch() as folder:
        yield _unseal(job, digest, folder / f"{digest[:12]}.{form}")


def _unseal(job: WorkerJob, digest: str, target: Path) -> Path:
    with job.blobs.open(digest) as source, target.open("wb") as file:
        while block := source.read(1 << 20):
            file.write(block)
    return target


WORK = {"add": add, "check": check, "verify": verify, "training-set": make_training_set, "materialize": materialize}

if __name__ == "__main__":
    serve(lambda request, job: WORK[request["work"]](request, job))

"""The worker of the data room: reads users' files in a process of its own and commits what it found."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from mlops_tui.core.errors import Conflict
from mlops_tui.data import checks, training_set
from mlops_tui.data.online.transform import FeatureSet
from mlops_tui.data.profile import profile
from mlops_tui.data.schema import read_schema
from mlops_tui.jobs.worker import WorkerJob, serve


def add(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Check a file, keep its content, commit the version."""
    path = Path(request["path"])
    report = None
    if request["checks"]:
        report = checks.run_checks(path, checks.load_checks(Path(request["checks"])))
        checks.require(report)
    return _commit(job, path, request["name"], origin=str(path), report=report, request=request)


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
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        sources = []
        for index, files in enumerate(request["sources"]):
            paths = [
                _unseal(job, file["digest"], Path(folder, f"{index}-{at}.{file['format']}"))
                for at, file in enumerate(files)
            ]
            sources.append(training_set.Source(*paths))
        written = training_set.write(features, sources, Path(folder, f"{request['name']}.parquet"), request["where"])
        parents = ",".join(file["data"] for files in request["sources"] for file in files)
        body = {"parent": parents, "residency": "", "classification": "internal"}
        found = _commit(
            job,
            written.path,
            request["name"],
            origin=f"features {features.digest[:12]} over {parents}",
            report=None,
            request=body,
        )
    return {**found, "unlabelled": written.unlabelled, "features": features.digest}


def _commit(
    job: WorkerJob, path: Path, name: str, *, origin: str, report: checks.CheckReport | None, request: dict[str, Any]
) -> dict[str, Any]:
    schema, found, blob = read_schema(path), profile(path), job.blobs.put_file(path)
    if blob.size != schema.size:
        raise Conflict(f"{path.name} changed while it was read", "", "try again when nobody writes to it")
    version = job.client.call(
        "data.commit",
        {
            "name": name, "path": origin, "digest": blob.digest, "size": blob.size, "rows": schema.rows, "format": schema.format,
            "schema": msgspec.to_builtins(schema.columns), "profile": msgspec.to_builtins(found),
            "checks": msgspec.to_builtins(report) if report else None, "parent": request["parent"], "residency": request["residency"],
            "classification": request["classification"], "made_by": f"job:{job.id}",
        },
        request_id=job.request_id("commit"),
    )  # fmt: skip
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
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        yield _unseal(job, digest, Path(folder, f"{digest[:12]}.{form}"))


def _unseal(job: WorkerJob, digest: str, target: Path) -> Path:
    with job.blobs.open(digest) as source, target.open("wb") as file:
        while block := source.read(1 << 20):
            file.write(block)
    return target


def _scratch() -> str | None:
    """Plaintext of stored data goes to memory where the system has a place for that."""
    return "/dev/shm" if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK) else None


WORK = {"add": add, "check": check, "verify": verify, "training-set": make_training_set}

if __name__ == "__main__":
    serve(lambda request, job: WORK[request["work"]](request, job))

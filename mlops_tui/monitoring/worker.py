"""The profiling worker: reads the reference rows once and freezes their profiles."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.core.errors import NotFound
from mlops_tui.data import training_set
from mlops_tui.data.worker import unsealed
from mlops_tui.jobs.worker import WorkerJob, serve
from mlops_tui.stats import calibration, profile, quality

SCORE = "prediction"


def work(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Profile every feature, the scores and what they promise; begin the watch."""
    scores = None
    with unsealed(job, _digest(request, job), "parquet") as path:
        if request["reference"]:
            rows = training_set.read(path)
        else:
            rows, scores = training_set.read_evaluation(path)
    profiles: dict[str, Any] = {"features": {}, "names": rows.names}
    for at, name in enumerate(rows.names):
        profiles["features"][name] = msgspec.to_builtins(profile.build(rows.x[:, at], "numeric"))
    if scores is not None:
        found = quality.evaluate(rows.label, scores)
        profiles["score"] = msgspec.to_builtins(profile.build(scores, "numeric"))
        profiles["calibrator"] = msgspec.to_builtins(calibration.calibrate(rows.label, scores))
        profiles["accuracy"], profiles["auc"] = found.accuracy.value, found.roc_auc.value
    reference = request["reference"] or f"{request['run']} evaluation"
    body = {"deployment": request["deployment"], "spec": request["spec"], "reference": reference, "profiles": profiles}
    job.client.call("monitor.commit", body, request_id=job.request_id("commit"))
    return {"deployment": request["name"], "reference": reference, "features": len(rows.names), "rows": len(rows.ids)}


def _digest(request: dict[str, Any], job: WorkerJob) -> str:
    if request["reference"]:
        return str(job.client.call("data.show", {"data": request["reference"]}).digest)
    run = job.client.call("run.show", {"run": request["run"]})
    for artifact in run.artifacts:
        if artifact.path.endswith("evaluation.parquet"):
            return str(artifact.digest)
    raise NotFound(f"the run {run.name} has no evaluation to compare with", "", "name a training set with --reference")


if __name__ == "__main__":
    serve(work)

"""The profiling worker: reads the reference rows once and freezes their profiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlops_tui.data import training_set
from mlops_tui.data.worker import unsealed
from mlops_tui.jobs.worker import WorkerJob, serve
from mlops_tui.stats import calibration, profile, quality


def work(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Profile every feature, the scores and what they promise; begin the watch."""
    reference = request["reference"]
    with unsealed(job, reference["digest"], "parquet") as path:
        rows, profiles = _profiled(path, with_scores=reference["kind"] == "evaluation")
    body = {
        "deployment": request["deployment"],
        "spec": request["spec"],
        "reference": reference["name"],
        "profiles": profiles,
    }
    job.client.call("monitor.commit", body, request_id=job.request_id("commit"))
    return {
        "deployment": request["name"],
        "reference": reference["name"],
        "features": len(profiles["names"]),
        "rows": rows,
    }


def _profiled(path: Path, *, with_scores: bool) -> tuple[int, dict[str, Any]]:
    """Return how many rows there are, and their profiles as ``monitoring.reference.Reference`` takes them."""
    if with_scores:
        rows, scores = training_set.read_evaluation(path)
    else:
        rows, scores = training_set.read(path), np.empty(0, np.float32)
    found: dict[str, Any] = {
        "names": rows.names,
        "features": {name: _profile(rows.x[:, at]) for at, name in enumerate(rows.names)},
    }
    if len(scores):
        found["score"] = _profile(scores)
    known = np.isfinite(rows.label) & np.isfinite(scores) if len(scores) == len(rows.label) else np.zeros(0, bool)
    if known.any():
        label, score = rows.label[known].astype(int), scores[known]
        found["calibrator"] = msgspec.to_builtins(calibration.calibrate(label, score))
        found["accuracy"] = float(((score >= 0.5) == (label == 1)).mean())
        found["auc"] = quality.roc_auc(label, score)
    return len(rows.ids), found


def _profile(values: Any) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(profile.build(values, "numeric"))
    return built


if __name__ == "__main__":
    serve(work)

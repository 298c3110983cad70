"""The gate worker: fetches what a run left, asks every gate, hands in the verdicts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlops_tui.contracts.model import GateResult
from mlops_tui.core.errors import BadInput, MlopsError, NotFound
from mlops_tui.data import training_set
from mlops_tui.data.online.transform import FeatureSet
from mlops_tui.jobs.worker import WorkerJob, serve
from mlops_tui.pipelines import gates
from mlops_tui.pipelines.gates.policy import load_policy
from mlops_tui.plugins.hookspecs import Candidate
from mlops_tui.plugins.loader import brought, register_builtin


def work(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Judge one run's candidate by every gate that is wanted."""
    register_builtin(gates)
    known, policy = brought("gates"), load_policy(request["policy"])
    wanted = request["gates"] or [name for name in known if name in policy]
    if missing := [name for name in wanted if name not in known]:
        raise BadInput(f"there is no gate {missing[0]!r}", "", "one of: " + ", ".join(known))
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        candidate = _candidate(request, job, Path(folder))
        results = []
        for index, name in enumerate(wanted):
            job.progress(index / len(wanted))
            results.append(_judge(known[name], replace(candidate, bounds=policy.get(name, {}))))
    report = job.client.call(
        "gate.record",
        {"run": request["run"], "results": msgspec.to_builtins(results)},
        request_id=job.request_id("record"),
    )
    found: dict[str, Any] = msgspec.to_builtins(report)
    return found


def _judge(gate: Any, candidate: Candidate) -> GateResult:
    """Ask one gate; one that breaks has not been passed."""
    try:
        verdict: GateResult = gate.judge(candidate)
    except Exception as error:
        return GateResult(
            gate=gate.name,
            passed=False,
            value=None,
            threshold=None,
            text=f"the gate broke: {type(error).__name__}: {error}",
        )
    return verdict


def _candidate(request: dict[str, Any], job: WorkerJob, folder: Path) -> Candidate:
    run = job.client.call("run.show", {"run": request["run"]})
    artifacts = {artifact.path: artifact.digest for artifact in run.artifacts}
    evaluation = _fetch(job, artifacts, lambda path: path.endswith("evaluation.parquet"), folder / "evaluation.parquet")
    if evaluation is None:
        raise NotFound(
            f"the run {run.name} has no evaluation",
            "no artifact is called evaluation.parquet",
            "write it with training_set.write_evaluation",
        )
    rows, scores = training_set.read_evaluation(evaluation)
    model = _fetch(job, artifacts, lambda path: path.endswith(".onnx"), folder / "model.onnx")
    names = rows.names
    features = FeatureSet.from_record(rows.features)
    forbidden = set(features.file.forbidden) | {
        name for name, reads in features.reads.items() if set(reads) & set(features.file.forbidden)
    }
    columns: dict[str, Any] = {**{name: rows.x[:, at] for at, name in enumerate(names)}, **rows.groups}
    return Candidate(
        run=run.id,
        labels=rows.label,
        scores=np.asarray(scores, dtype=np.float64),
        columns=columns,
        champion=_champion(request, job, folder, rows),
        predict=_predictor(model, names) if model else None,
        inputs=names,
        groups=tuple(rows.groups),
        forbidden=tuple(forbidden),
        model=model,
    )


def _champion(request: dict[str, Any], job: WorkerJob, folder: Path, rows: training_set.TrainingSet) -> Any:
    """Return the champion's scores on the candidate's rows; None when there is none or it takes other features."""
    if not request["champion"]:
        return None
    version = job.client.call("version.show", {"model": request["champion"]})
    path = folder / "champion.onnx"
    path.write_bytes(job.blobs.read_bytes(version.digest))
    try:
        return _predictor(path, rows.names)({name: rows.x[:, at] for at, name in enumerate(rows.names)})
    except MlopsError:
        return None


def _predictor(model: Path, names: list[str]) -> Callable[[Mapping[str, Any]], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    if given.shape[-1] != len(names):
        raise BadInput(f"the model takes {given.shape[-1]} features, the rows have {len(names)}")

    def predict(columns: Mapping[str, Any]) -> Any:
        x = np.stack([np.asarray(columns[name], dtype=np.float32) for name in names], axis=1)
        return np.asarray(session.run(None, {given.name: x})[0], dtype=np.float64).reshape(len(x), -1)[:, -1]

    return predict


def _fetch(job: WorkerJob, artifacts: dict[str, str], fits: Callable[[str], bool], target: Path) -> Path | None:
    for path, digest in sorted(artifacts.items()):
        if fits(path):
            target.write_bytes(job.blobs.read_bytes(digest))
            return target
    return None


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    serve(work)

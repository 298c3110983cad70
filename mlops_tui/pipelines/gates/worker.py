"""The gate worker: fetches what a run left, asks every gate, hands in the verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlops_tui.contracts.model import GateResult
from mlops_tui.core.errors import BadInput, MlopsError, NotFound
from mlops_tui.data import training_set
from mlops_tui.data.online.transform import FeatureSet
from mlops_tui.data.scratch import scratch
from mlops_tui.jobs.worker import WorkerJob, serve
from mlops_tui.pipelines import gates
from mlops_tui.pipelines.gates.model import Model
from mlops_tui.pipelines.gates.policy import load_policy
from mlops_tui.pipelines.gates.verdict import unjudged
from mlops_tui.plugins.hookspecs import Candidate, Gate
from mlops_tui.plugins.loader import brought, register_builtin


def work(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Judge one run's candidate by every gate that is wanted."""
    register_builtin(gates)
    known, policy = brought("gates"), load_policy(request["policy"])
    wanted = request["gates"] or list(policy)
    if missing := [name for name in wanted if name not in known]:
        raise BadInput(f"there is no gate {missing[0]!r}", "", "one of: " + ", ".join(known))
    with scratch() as folder:
        candidate, digest = _candidate(request, job, folder)
        results = []
        for index, name in enumerate(wanted):
            job.progress(index / len(wanted))
            results.append(judge(known[name], replace(candidate, bounds=policy.get(name, {}))))
    report = job.client.call(
        "gate.record",
        {"run": request["run"], "digest": digest, "results": msgspec.to_builtins(results)},
        request_id=job.request_id("record"),
    )
    found: dict[str, Any] = msgspec.to_builtins(report)
    return found


def judge(gate: Gate, candidate: Candidate) -> GateResult:
    """Ask one gate; one that breaks, or answers with something that is no verdict of its own, has not been passed."""
    try:
        verdict = gate.judge(candidate)
        msgspec.json.encode(verdict)
    except Exception as error:
        return unjudged(gate.name, f"the gate broke: {type(error).__name__}: {error}")
    if not isinstance(verdict, GateResult) or verdict.gate != gate.name:
        return unjudged(gate.name, "the gate broke: it gave no verdict of its own")
    return verdict


def _candidate(request: dict[str, Any], job: WorkerJob, folder: Path) -> tuple[Candidate, str]:
    """Return what the gates judge, and the digest of its model file (empty: the run has none)."""
    run = job.client.call("run.show", {"run": request["run"]})
    artifacts = {artifact.path: artifact.digest for artifact in run.artifacts}
    evaluation = pick(artifacts, "evaluation.parquet", ".parquet")
    if evaluation is None:
        raise NotFound(
            f"the run {run.name} has no evaluation",
            "no artifact is called evaluation.parquet",
            "write it with training_set.write_evaluation",
        )
    rows, scores = _labelled(_unsealed(job, artifacts[evaluation], folder / "evaluation.parquet"))
    file = pick(artifacts, "model.onnx", ".onnx")
    path = _unsealed(job, artifacts[file], folder / "model.onnx") if file else None
    model = Model(path, rows.names) if path else None
    features = FeatureSet.from_record(rows.features)
    banned = set(features.file.forbidden)
    champion, note = _champion(request, job, folder, rows)
    candidate = Candidate(
        run=run.id,
        labels=rows.label,
        scores=scores,
        columns={**rows.groups, **_features(rows)},
        champion=champion,
        champion_note=note,
        predict=model,
        inputs=model.inputs if model else rows.names,
        groups=tuple(rows.groups),
        forbidden=tuple(banned | {name for name, reads in features.reads.items() if banned & set(reads)}),
        model=path,
    )
    return candidate, artifacts[file] if file else ""


def pick(artifacts: Mapping[str, str], name: str, ending: str) -> str | None:
    """Return the path of the artifact of that name, in whatever folder, or else of the only one with that ending.

    Raises:
        BadInput: several could be meant.
    """
    named = [path for path in artifacts if Path(path).name == name]
    fits = named or [path for path in artifacts if path.endswith(ending)]
    if len(fits) > 1:
        raise BadInput(f"the run has several artifacts {name}", ", ".join(sorted(fits)), f"log one as {name}")
    return fits[0] if fits else None


def _labelled(evaluation: Path) -> tuple[training_set.TrainingSet, Any]:
    """Return the rows whose truth is known, and their scores."""
    rows, scores = training_set.read_evaluation(evaluation)
    known = np.isfinite(rows.label)
    if not known.any():
        raise BadInput("the evaluation has no labels", "nothing can be judged without the truth")
    return rows.take(known), np.asarray(scores, dtype=np.float64)[known]


def _champion(request: dict[str, Any], job: WorkerJob, folder: Path, rows: training_set.TrainingSet) -> tuple[Any, str]:
    """Return the champion's scores on the candidate's rows; None, with the reason, when it cannot be asked."""
    if not request["champion"]:
        return None, ""
    version = job.client.call("version.show", {"model": request["champion"]})
    name = f"{version.model}@{version.version}"
    try:
        return Model(_unsealed(job, version.digest, folder / "champion.onnx"), rows.names)(_features(rows)), ""
    except MlopsError as error:
        return None, f"not compared with {name}: {error.what}"


def _features(rows: training_set.TrainingSet) -> dict[str, Any]:
    return {name: rows.x[:, at] for at, name in enumerate(rows.names)}


def _unsealed(job: WorkerJob, digest: str, target: Path) -> Path:
    target.write_bytes(job.blobs.read_bytes(digest))
    return target


if __name__ == "__main__":
    serve(work)

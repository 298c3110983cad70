"""What MLflow says of a run, in our words; the same whether a server, a folder or a database says it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlops_tui.contracts.exchange import FoundData, FoundLink, FoundRun
from mlops_tui.tracking.exchange.source import marked, run_id

STATUS = {"FINISHED": "done", "FAILED": "failed", "KILLED": "killed"}
LOGGED_STATUS = {
    "1": "pending", "2": "ready", "3": "failed",
    "LOGGED_MODEL_PENDING": "pending", "LOGGED_MODEL_READY": "ready", "LOGGED_MODEL_UPLOAD_FAILED": "failed",
}  # fmt: skip
UNFINISHED = "it had not ended when it was imported"
OWN = "mlops.run."
"""Tags in which an export of ours keeps what MLflow has no field for; they become fields again."""
LARGEST = sys.float_info.max
"""What MLflow's databases hold for an infinity."""


def found_run(
    *,
    source_id: str,
    experiment: str,
    name: str,
    status: str,
    started: int | None,
    ended: int | None,
    user: str,
    deleted: bool,
    params: Mapping[str, str],
    tags: Mapping[str, str],
    data: list[FoundData],
    models: list[FoundLink],
    latest: Mapping[str, Any],
) -> FoundRun:
    """Return a run from MLflow's facts; times in ms. ``latest`` is what is known of its metrics before reading them."""
    own = {key.removeprefix(OWN): text for key, text in tags.items() if key.startswith(OWN)}
    parent = tags.get("mlflow.parentRunId", "")
    known = own.get("status") or STATUS.get(status, "lost")
    run = FoundRun(
        id=run_id(source_id, "mlflow"),
        source_id=source_id,
        experiment=experiment,
        name=name or tags.get("mlflow.runName") or f"run-{source_id[:8]}",
        status=known,
        started=(started or 0) * 1000,
        ended=ended * 1000 if ended else None,
        actor=tags.get("mlflow.user") or user or "",
        parent=run_id(parent, "mlflow") if parent else None,
        kind=own.get("kind", "train"),
        command=tags.get("mlflow.source.name", ""),
        git_sha=tags.get("mlflow.source.git.commit", ""),
        git_branch=tags.get("mlflow.source.git.branch", ""),
        host=own.get("host", ""),
        error=own.get("error") or (UNFINISHED if known == "lost" else ""),
        note=tags.get("mlflow.note.content", ""),
        facts=own.get("facts", "{}"),
        deleted=deleted,
        params=dict(params),
        tags={key: text for key, text in tags.items() if not key.startswith(OWN)},
        data=data,
        models=models,
    )
    return marked(run, latest)


def ieee(value: Any) -> Any:
    """Return an array of values as they were logged: MLflow's databases hold the largest double for an infinity."""
    value = np.asarray(value, dtype=np.float64)
    return np.where(np.abs(value) == LARGEST, np.copysign(np.inf, value), value)

"""A digest over what a run holds: equal when nothing was lost or added on the way out and in again.

Times count in whole milliseconds and equal points count once: that is how much MLflow keeps of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from blake3 import blake3

from mlops_tui.contracts.exchange import FoundRun
from mlops_tui.core.jsonx import canonical
from mlops_tui.tracking.exchange.source import Points

OURS = "mlops.import."
"""Tags that say where a run came from: they are not of the run itself."""
DERIVED = frozenset(("mlflow.runName", "mlflow.note.content", "mlflow.parentRunId", "mlflow.user"))
"""Tags in which MLflow repeats a run's name, note, parent and user."""


def run_digest(run: FoundRun, points: Points) -> str:
    """Return the digest of a run with its points; files count by path and content."""
    snapshot = run.status in ("running", "scheduled", "lost")
    body = {
        "id": run.id,
        "experiment": run.experiment,
        "name": run.name,
        "status": "" if snapshot else run.status,
        "started": run.started // 1000,
        "ended": run.ended // 1000 if run.ended is not None and not snapshot else None,
        "actor": run.actor,
        "parent": run.parent,
        "note": run.note,
        "params": run.params,
        "tags": {key: text for key, text in run.tags.items() if not key.startswith(OURS) and key not in DERIVED},
        "data": sorted([one.name, one.digest, one.context] for one in run.data),
        "files": sorted([one.path, one.digest] for one in run.files),
        "metrics": points_digests(points),
        "deleted": run.deleted,
    }
    return blake3(canonical(body)).hexdigest()


def points_digests(points: Points) -> dict[str, str]:
    """Return the digest of each metric's points by name."""
    ms = points.ts // 1000
    value = np.where(np.isnan(points.value), np.nan, points.value)
    order = np.lexsort((value.view(np.int64), ms, points.step, points.which))
    which, step, ms, value = points.which[order], points.step[order], ms[order], value[order]
    fresh = np.ones(len(which), dtype=bool)
    fresh[1:] = (
        (np.diff(which) != 0)
        | (np.diff(step) != 0)
        | (np.diff(ms) != 0)
        | (value[1:].view(np.int64) != value[:-1].view(np.int64))
    )
    which, step, ms, value = which[fresh], step[fresh], ms[fresh], value[fresh]
    bounds = np.searchsorted(which, np.arange(len(points.names) + 1))
    found = {}
    for index, name in enumerate(points.names):
        part = slice(bounds[index], bounds[index + 1])
        found[name] = blake3(step[part].tobytes() + ms[part].tobytes() + value[part].tobytes()).hexdigest()[:32]
    return found


def whole_digest(digests: Mapping[str, Any]) -> str:
    """Return one digest over the digests of runs by their ids."""
    return blake3(canonical(sorted(digests.items()))).hexdigest()

"""What the servers logged and the labels that came later, taken into the store."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlops_tui.door import Context, absorbs, absorbs_segments
from mlops_tui.serving.segments import SHADOW, Batch
from mlops_tui.spool.records import Label


@absorbs_segments
def predictions(ctx: Context, deployment: str, batch: Batch) -> None:
    """Insert a row for each predicted row; a request that failed before it had rows counts as one."""
    record = batch.record
    features: Any = batch.features
    outputs: Any = batch.outputs
    bare = np.setdiff1d(np.arange(len(batch.ts_us)), record)
    rows = [
        (record, batch.row, outputs[:, 0] if outputs.shape[1] else np.full(len(record), np.nan, np.float32), features)
    ]
    if len(bare):
        none = np.full(len(bare), np.nan, np.float32)
        rows.append(
            (bare, np.zeros(len(bare), np.int64), none, np.full((len(bare), features.shape[1]), np.nan, np.float32))
        )
    requests = np.array(batch.request_id, dtype=object)
    for which, row, score, matrix in rows:
        if not len(which):
            continue
        ctx.session.insert_columns(
            "inference",
            {
                "ts_us": batch.ts_us[which],
                "deployment_id": [deployment] * len(which),
                "revision_no": batch.revision_no[which].astype(np.int32),
                "request_id": requests[which],
                "row": row,
                "latency": batch.latency_us[which].astype(np.int64),
                "status": batch.status[which].astype(np.int32),
                "shadow": (batch.flags[which] & SHADOW) != 0,
                "score": score,
                **({"features": matrix} if matrix.shape[1] else {}),
            },
        )


@absorbs("label")
def labels(ctx: Context, deployment: str, records: list[Label]) -> None:
    """Insert late truths of a deployment's predictions."""
    ctx.session.insert_columns(
        "label",
        {
            "deployment_id": [deployment] * len(records),
            "request_id": [record.id for record in records],
            "row": [record.row for record in records],
            "ts_us": [record.t for record in records],
            "truth": [record.y for record in records],
        },
    )

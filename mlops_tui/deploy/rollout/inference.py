"""What the servers logged and the labels that came later, taken into the store."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlops_tui.deploy.rollout.evidence import NEWS
from mlops_tui.door import Context, absorbs, absorbs_segments
from mlops_tui.serving.record.segments import CHOSEN, SHADOW, Batch
from mlops_tui.spool.records import Label


@absorbs_segments
def predictions(ctx: Context, deployment: str, batch: Batch) -> None:
    """Insert a row for each predicted row; a request that failed before it had rows counts as one."""
    if not len(batch.ts_us):
        return
    bare = np.setdiff1d(np.arange(len(batch.ts_us)), batch.record)
    which = np.concatenate([batch.record, bare])
    columns: dict[str, Any] = {
        "seq": np.full(len(which), ctx.next("inference")),
        "ts_us": batch.ts_us[which],
        "deployment_id": [deployment] * len(which),
        "revision_no": batch.revision_no[which].astype(np.int32),
        "request_id": np.array(batch.request_id, dtype=object)[which],
        "row": np.concatenate([batch.row, np.zeros(len(bare), np.int64)]),
        "latency": np.minimum(batch.latency_us[which], 2**31 - 1).astype(np.int64),
        "status": batch.status[which].astype(np.int32),
        "shadow": (batch.flags[which] & SHADOW) != 0,
        "chosen": (batch.flags[which] & CHOSEN) != 0,
        "client": batch.client[which],
        "score": _padded(batch.outputs[:, :1] if batch.outputs.shape[1] else np.empty((0, 1)), len(which))[:, 0],
    }
    if batch.features.shape[1]:
        columns["features"] = _padded(batch.features, len(which))
    ctx.session.insert_columns("inference", columns)
    ctx.after.append(NEWS.set)


def _padded(table: Any, rows: int) -> Any:
    """Return a table [n, k] with rows of NaN below it, for the requests that have none of their own."""
    whole = np.full((rows, table.shape[1]), np.nan, np.float32)
    whole[: len(table)] = table
    return whole


@absorbs("label")
def labels(ctx: Context, deployment: str, records: list[Label]) -> None:
    """Insert late truths of a deployment's predictions."""
    ctx.session.insert_columns(
        "label",
        {
            "seq": [ctx.next("label")] * len(records),
            "deployment_id": [deployment] * len(records),
            "request_id": [record.id for record in records],
            "row": [record.row for record in records],
            "ts_us": [record.t for record in records],
            "truth": [record.y for record in records],
        },
    )
    ctx.after.append(NEWS.set)

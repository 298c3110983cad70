"""The worker of ``mlops gc``: asks the agent for one piece after the other, and says how far it is."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from mlops_tui.jobs.worker import WorkerJob, serve

TELL_S = 0.25


def sweep(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Sweep until nothing is left; an attempt before this one may have done some of it."""
    began, told = time.monotonic(), 0.0
    removed: Counter[str] = Counter()
    table, below = "", -1
    while True:
        piece = job.client.call("gc.sweep", {"table": table, "below": below})
        removed[piece.what] += piece.removed
        table, below = piece.table, piece.below
        if not table:
            break
        if time.monotonic() - told > TELL_S:
            told = time.monotonic()
            job.progress(piece.share)
    rows = {"points": removed["point"], "lines": removed["log_line"], "series": removed["series"]}
    return {**request, **rows, "seconds": round(time.monotonic() - began, 2)}


if __name__ == "__main__":
    serve(sweep)

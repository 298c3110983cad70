"""The lists of runs and experiments. Each reads one table of runs, so that 100,000 of them sort at once."""

from __future__ import annotations

from mlops_tui.contracts.listing import Column
from mlops_tui.store import series
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.search.rows import SOURCE
from mlops_tui.tracking.runs.headline import LOWER_IS_BETTER_SQL
from mlops_tui.tracking.search.keys import HIDDEN, MLFLOW_STATUS, run_field

_NOW = "CASE WHEN r.status IN ('running', 'scheduled') THEN epoch_us(now()) END"
"""Until when a run without an end goes on; of one that came from elsewhere without its end nobody knows how long."""

lists(
    Listing(
        noun="run",
        source=SOURCE,
        place="r.rowid",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="name", label="name"),
            Column(name="experiment", label="experiment"),
            Column(name="status", label="status", kind="status"),
            Column(name="metric", label="metric"),
            Column(name="value", label="value", kind="float"),
            Column(name="nan", label="NaN", kind="flag"),
            Column(name="started", label="started", kind="time"),
            Column(name="duration", label="took", kind="duration"),
            Column(name="params", label="parameters"),
            Column(name="git", label="git"),
            Column(name="actor", label="by"),
            Column(name="host", label="host"),
            Column(name="kind", label="kind"),
            Column(name="note", label="note"),
        ],
        expressions={
            "id": "r.id",
            "name": "r.name",
            "experiment": "e.name",
            "status": "r.status",
            "metric": "r.metric",
            "value": "r.value",
            "nan": "r.value IS NOT NULL AND NOT isfinite(r.value)",
            "started": "epoch_us(r.started)",
            "duration": f"coalesce(epoch_us(r.ended), {_NOW}) - epoch_us(r.started)",
            "params": "r.summary",
            "git": "left(r.git_sha, 8) || CASE WHEN r.git_dirty THEN '+' ELSE '' END",
            "actor": "r.actor",
            "host": "r.host",
            "kind": "r.kind",
            "note": "r.note",
        },
        sort="-started",
        tenant="r.tenant",
        deleted="r.deleted",
        ties=("epoch_us(r.started) DESC", "r.id"),
        hidden=HIDDEN,
        words={"status": MLFLOW_STATUS},
        other=run_field,
        curves=lambda session, key, runs: series.courses(session, "run", key, runs),
    )
)

_BEST = f"""
(SELECT experiment_id, metric, CASE WHEN {LOWER_IS_BETTER_SQL} THEN min(value) ELSE max(value) END AS best
 FROM run WHERE deleted IS NULL AND isfinite(value) GROUP BY experiment_id, metric)
"""

lists(
    Listing(
        noun="experiment",
        source=f"""
        experiment e
        LEFT JOIN (SELECT experiment_id, count(*) AS runs, count(*) FILTER (status = 'running') AS running,
                          count(*) FILTER (status IN ('failed', 'lost')) AS failed, max(started) AS latest,
                          mode(metric) FILTER (metric <> '') AS metric
                   FROM run WHERE deleted IS NULL GROUP BY experiment_id) t ON t.experiment_id = e.id
        LEFT JOIN {_BEST} b ON b.experiment_id = e.id AND b.metric = t.metric
        """,
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="name", label="name"),
            Column(name="runs", label="runs", kind="int"),
            Column(name="running", label="running", kind="int"),
            Column(name="failed", label="failed", kind="int"),
            Column(name="metric", label="metric"),
            Column(name="best", label="best", kind="float"),
            Column(name="latest", label="latest", kind="time"),
            Column(name="created", label="created", kind="time"),
            Column(name="note", label="note"),
        ],
        expressions={
            "id": "e.id",
            "name": "e.name",
            "runs": "coalesce(t.runs, 0)",
            "running": "coalesce(t.running, 0)",
            "failed": "coalesce(t.failed, 0)",
            "metric": "coalesce(t.metric, '')",
            "best": "b.best",
            "latest": "epoch_us(t.latest)",
            "created": "epoch_us(e.created)",
            "note": "e.note",
        },
        sort="-latest",
        tenant="e.tenant",
        deleted="e.deleted",
    )
)

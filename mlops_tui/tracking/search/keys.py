"""The keys of runs for the search language: what stands in the row, and what lies in narrow tables beside it."""

from __future__ import annotations

from mlops_tui.store.search import Entity, Field, Key
from mlops_tui.store.search.tree import FIGURES
from mlops_tui.store.session import Session

_SERIES = Field("last", "float", table="series", owner="owner", where="scope = 'run' AND key = ?")
METRICS = {
    "last": _SERIES,
    "min": _SERIES._replace(sql="low"),
    "max": _SERIES._replace(sql="high"),
    "count": _SERIES._replace(sql="n", kind="int"),
}
"""Figures of a metric; the key is their parameter. NaN and infinities count in ``last`` only."""

PARAM = Field("value", number="num", table="param", owner="run", where="key = ?")
TAG = Field("value", number="try_cast(value AS DOUBLE)", table="tag", owner="object", where="key = ?")
DATASETS = {
    name: Field(name, table="run_data", owner="run", many=True, where=f"{name} <> ''")
    for name in ("name", "digest", "context")
}
"""What a run says of the data sets that it used; one of whose context it says nothing has none."""

STATUS = """CASE r.status WHEN 'done' THEN 'FINISHED' WHEN 'failed' THEN 'FAILED' WHEN 'running' THEN 'RUNNING'
WHEN 'scheduled' THEN 'SCHEDULED' ELSE 'KILLED' END"""
"""A run's status in MLflow's words; what was lost or preempted is killed for its clients."""

MLFLOW_STATUS = {
    **{"FINISHED": ("done",), "FAILED": ("failed",), "RUNNING": ("running",), "SCHEDULED": ("scheduled",)},
    "KILLED": ("killed", "lost"),
}
"""The same the other way round, for people who are used to them."""

_SHARED = {
    "run_id": Field("r.id", "id"),
    "run_name": Field("r.name"),
    "start_time": Field("epoch_ms(r.started)", "ms"),
    "end_time": Field("epoch_ms(r.ended)", "ms"),
    "user_id": Field("r.actor"),
}

HIDDEN = {
    **_SHARED,
    "user": Field("r.actor"),
    "ended": Field("epoch_us(r.ended)", "time"),
    "git.sha": Field("r.git_sha"),
    "git.branch": Field("r.git_branch"),
    "git.dirty": Field("r.git_dirty", "flag"),
    "parent": Field("r.parent_id", "id"),
    "job": Field("r.job_id", "id"),
    "command": Field("r.command"),
    "error": Field("r.error"),
    "data": DATASETS["name"],
    "artifact": Field("path", table="run_artifact", owner="run", many=True),
    "model": Field(
        "m.name",
        table="model_version v JOIN model m ON m.id = v.model_id",
        owner="v.run_id",
        where="v.run_id IS NOT NULL",
        many=True,
    ),
    "log": Field("text", table="log_line", owner="owner", many=True),
}
"""Keys of a run that its list has no column for."""

RUN = Entity(
    id="r.id",
    attributes={**_SHARED, "status": Field(STATUS)},
    metrics=METRICS,
    params=PARAM,
    tags=TAG,
    datasets=DATASETS,
    special={"mlflow.runName": Field("r.name"), "mlflow.note.content": Field("nullif(r.note, '')")},
    aliases={"created": "start_time", "Created": "start_time"}
    | dict.fromkeys(("run name", "Run name", "Run Name"), "run_name"),
)
"""Runs as MLflow's clients search them, over ``run r``."""

EXPERIMENT = Entity(
    id="e.id",
    attributes={
        "name": Field("e.name"),
        "experiment_id": Field("e.number::VARCHAR"),
        "creation_time": Field("epoch_ms(e.created)", "ms"),
        "last_update_time": Field("epoch_ms(e.updated)", "ms"),
    },
    tags=TAG,
)
"""Experiments as MLflow's clients search them, over ``experiment e``."""


def run_field(session: Session, key: Key) -> Field | None:
    """Return what a key of a run is that is no column: a metric, else a parameter, else a tag that some run has.

    ``metrics.KEY``, ``params.KEY`` and ``tags.KEY`` need no run that has it. ``loss.min`` is the smallest loss unless
    something is called that.
    """
    match key.scope:
        case "metric":
            return _metric(session, key)
        case "param":
            return PARAM._replace(params=(key.name,))
        case "tag":
            return TAG._replace(params=(key.name,))
        case "dataset":
            return DATASETS.get(key.name)
    name = key.raw
    if key.figure or _has(session, "series WHERE scope = 'run' AND", name):
        return METRICS[key.figure or "last"]._replace(params=(name,))
    if _has(session, "param WHERE", name):
        return PARAM._replace(params=(name,))
    if _has(session, "tag WHERE", name):
        return TAG._replace(params=(name,))
    stem, _, figure = name.rpartition(".")
    if figure in FIGURES and _has(session, "series WHERE scope = 'run' AND", stem):
        return METRICS[figure]._replace(params=(stem,))
    return None


def _metric(session: Session, key: Key) -> Field:
    stem, _, figure = key.name.rpartition(".")
    ends_so = not key.figure and stem and figure in FIGURES
    if ends_so and not _has(session, "series WHERE scope = 'run' AND", key.name):
        return METRICS[figure]._replace(params=(stem,))
    return METRICS[key.figure or "last"]._replace(params=(key.name,))


def _has(session: Session, rows: str, key: str) -> bool:
    return session.row(f"SELECT 1 FROM {rows} key = ? LIMIT 1", [key]) is not None

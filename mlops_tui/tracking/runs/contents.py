"""What a run says of itself: parameters, tags, data sets used, and the metric that stands for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from mlops_tui.core.ids import dashed
from mlops_tui.door import Context, absorbs, absorbs_points
from mlops_tui.spool.reader import Points
from mlops_tui.spool.records import Dataset, Param, Tag, UsedModel
from mlops_tui.store.session import Session
from mlops_tui.tracking.runs.find import elsewhere
from mlops_tui.tracking.runs.headline import headline

CONFLICT = "mlops.conflict.param."
NAME, NOTE = "mlflow.runName", "mlflow.note.content"
UNNAMED = "mlops.unnamed"
"""A tag of runs whose name MLflow's clients took from the tags; it goes when the run is named again."""
_SAID = {
    "run": {NAME: "name", NOTE: "note", "mlflow.parentRunId": "parent_id"},
    "experiment": {NOTE: "note"},
}
"""Tags by which MLflow's clients say what a run or an experiment has a column for."""
_MOVED = frozenset({NAME, NOTE})
"""Of these the tags that are not kept beside it: people change what they say elsewhere too."""
_SUMMARY_CHARS = 200


@absorbs("param")
def params(ctx: Context, owner: str, records: list[Param]) -> None:
    """Take parameters: the first writer wins."""
    if not elsewhere(ctx.session, owner):
        put_params(ctx, owner, [(record.t, record.p) for record in records])


@absorbs("tag")
def tags(ctx: Context, owner: str, records: list[Tag]) -> None:
    """Take tags: the last write wins."""
    if not elsewhere(ctx.session, owner):
        put_tags(ctx, owner, [(record.t, record.g) for record in records])


@absorbs("data")
def data(ctx: Context, owner: str, records: list[Dataset]) -> None:
    """Note the data set versions that a run used, and link those that this store knows."""
    if elsewhere(ctx.session, owner):
        return
    for record in records:
        put_data(ctx, owner, record)


@absorbs("model")
def models(ctx: Context, owner: str, records: list[UsedModel]) -> None:
    """Note the logged models that a run read or made, each once."""
    for record in records:
        same = [owner, record.model, record.way, record.step]
        if not ctx.session.row("SELECT 1 FROM run_model WHERE run = ? AND model = ? AND way = ? AND step = ?", same):
            ctx.session.insert(
                "run_model", run=owner, model=record.model, way=record.way, step=record.step, ts_us=record.t
            )


@absorbs_points
def headlines(ctx: Context, points: Mapping[str, Points]) -> None:
    """Keep the headline metric's latest value with each run; latest is the greatest (step, time), as in the series."""
    known = ctx.session.rows("SELECT id, metric, value_step FROM run WHERE id IN (SELECT unnest(?))", [[*points]])
    found = {run: best for run, before, step in known if (best := _headline(points[run], before, step))}
    if not found:
        return
    names, values, steps = zip(*found.values(), strict=True)
    columns = {
        "id": [*found],
        "metric": names,
        "value": np.array(values, np.float64),
        "step": np.array(steps, np.int64),
    }
    with ctx.session.incoming(columns) as (run, name, value, step):
        ctx.session.change(
            "run",
            found,
            f"""UPDATE run SET metric = b.metric, value = b.value, value_step = b.step
                FROM (SELECT {run} AS id, {name} AS metric, {value} AS value, {step} AS step FROM incoming) b
                WHERE run.id = b.id""",
        )


def _headline(points: Points, before: str, step_before: int | None) -> tuple[str, float, int] | None:
    """Return name, value and step of the metric that a run should show from now on; None when nothing changes."""
    best = headline([*points.names, *([before] if before else [])])
    if best is None or best not in points.names:
        return None
    mine = np.flatnonzero(points.key == points.names.index(best))
    at = mine[np.lexsort((points.ts[mine], points.step[mine]))[-1]]
    step = int(points.step[at])
    if best == before and step_before is not None and step < step_before:
        return None
    return best, float(points.value[at]), step


def put_data(ctx: Context, run: str, used: Dataset) -> None:
    """Write a data set version that a run used, unless it is known, and link it when this store has it."""
    digest, version = _resolve(ctx.session, ctx.tenant, used.name.removeprefix("data:"), used.digest)
    known = "SELECT 1 FROM run_data WHERE run = ? AND name = ? AND digest = ? AND (context = ? OR ?)"
    if ctx.session.row(known, [run, used.name, digest, used.context, used.once]):
        return
    ctx.session.insert(
        "run_data", run=run, name=used.name, digest=digest, context=used.context, ts_us=used.t,
        source_type=used.source_type, source=used.source, schema_text=used.schema, profile=used.profile,
        tags=msgspec.json.encode(used.tags).decode(),
    )  # fmt: skip
    edge = [f"run:{run}", f"dataset_version:{version}"]
    if version and not ctx.session.row("SELECT 1 FROM link WHERE src = ? AND dst = ? AND rel = 'used'", edge):
        ctx.link(edge[0], "used", edge[1])


def summary_of(params: Mapping[str, str]) -> str:
    """Return the beginning of a run's parameters as a list shows them."""
    return " ".join(f"{key}={value}" for key, value in params.items())[:_SUMMARY_CHARS]


def put_params(ctx: Context, run: str, writes: Sequence[tuple[int, Mapping[str, str]]]) -> None:
    """Write parameters; the first write of a key stays, another value becomes the tag ``mlops.conflict.param.KEY``.

    What it costs depends on how many are given, not on how many the run has: it may have a million.

    Args:
        ctx: the transaction.
        run: id of the run.
        writes: times (µs), and what was written then, in their order.
    """
    given = {key for _, values in writes for key in values}
    if not given:
        return
    asked = "SELECT key, value FROM param WHERE run = ? AND key IN (SELECT unnest(?))"
    kept: dict[str, str] = dict(ctx.session.rows(asked, [run, list(given)]))
    fresh: dict[str, str] = {}
    conflicts = []
    for ts, values in writes:
        fresh |= {key: value for key, value in values.items() if key not in kept}
        kept |= {key: fresh[key] for key in values if key not in kept}
        if other := {CONFLICT + key: value for key, value in values.items() if kept[key] != value}:
            conflicts.append((ts, other))
    if fresh:
        _insert_params(ctx, run, fresh)
    if conflicts:
        put_tags(ctx, run, conflicts)


def _insert_params(ctx: Context, run: str, fresh: Mapping[str, str]) -> None:
    ctx.session.insert_columns(
        "param",
        {
            "run": [run] * len(fresh),
            "key": list(fresh),
            "value": list(fresh.values()),
            "num": [number_of(value) for value in fresh.values()],
        },
    )
    for summary in ctx.session.column("SELECT summary FROM run WHERE id = ?", [run]):
        if len(summary or "") < _SUMMARY_CHARS:
            longer = " ".join(filter(None, [summary, summary_of(fresh)]))[:_SUMMARY_CHARS]
            ctx.session.change("run", [run], "UPDATE run SET summary = ? WHERE id = ?", [longer, run])


def put_tags(ctx: Context, object: str, writes: Sequence[tuple[int, Mapping[str, str]]], table: str = "run") -> None:
    """Write tags, each with its time (µs); the latest write of a key stays, in whatever order they come.

    Args:
        ctx: the transaction.
        object: id of the run or experiment.
        writes: times, and what was written then.
        table: run or experiment, where MLflow's clients call a tag what we do not; empty where that was told apart.
    """
    columns = _SAID.get(table, {})
    for key, value in {key: value for _, given in writes for key, value in given.items() if key in columns}.items():
        said = dashed(value.replace("-", "")) if key == "mlflow.parentRunId" else value
        if said or key == NOTE:  # an empty name changes nothing
            ctx.session.execute(f"UPDATE {table} SET {columns[key]} = ? WHERE id = ?", [said, object])
        if said and key == NAME:
            named(ctx, object)
    keys = {key for _, given in writes for key in given}
    if not keys:
        return
    asked = "SELECT key, epoch_us(ts) FROM tag WHERE object = ? AND key IN (SELECT unnest(?))"
    known: dict[str, int] = dict(ctx.session.rows(asked, [object, list(keys)]))
    wanted: dict[str, tuple[int, str]] = {}
    for ts, given in writes:
        for key, value in given.items():
            if not (columns and key in _MOVED) and ts >= max(known.get(key, 0), wanted.get(key, (0, ""))[0]):
                wanted[key] = ts, value
    if not wanted:
        return
    old = "DELETE FROM tag WHERE object = ? AND key IN (SELECT unnest(?))"
    ctx.session.change("tag", [object], old, [object, list(wanted)])
    ctx.session.insert_columns(
        "tag",
        {
            "object": [object] * len(wanted),
            "key": list(wanted),
            "value": [value for _, value in wanted.values()],
            "ts_us": [ts for ts, _ in wanted.values()],
        },
    )


def tag_all(ctx: Context, runs: Sequence[str], tags: Mapping[str, str]) -> None:
    """Set tags on many runs at once; what they had by these keys is gone already."""
    said = {key: value for key, value in tags.items() if key in _SAID["run"] or key in _MOVED}
    plain = {key: value for key, value in tags.items() if key not in said}
    if plain:
        ctx.session.insert_columns(
            "tag",
            {
                "object": [run for run in runs for _ in plain],
                "key": [*plain] * len(runs),
                "value": [*plain.values()] * len(runs),
                "ts_us": [ctx.now] * (len(runs) * len(plain)),
            },
        )
    if said:
        for run in runs:
            put_tags(ctx, run, [(ctx.now, said)])


def named(ctx: Context, run: str) -> None:
    """Note that a run was given a name: its tags say it again."""
    if ctx.session.row("SELECT 1 FROM tag WHERE object = ? AND key = ?", [run, UNNAMED]):
        ctx.session.change("tag", [run], "DELETE FROM tag WHERE object = ? AND key = ?", [run, UNNAMED])


def _resolve(session: Session, tenant: str, name: str, digest: str) -> tuple[str, str | None]:
    """Return digest and id of the data set version that ``census@3``, a digest, or both mean; None when unknown."""
    name, _, version = name.partition("@")
    row = session.row(
        """SELECT v.digest, v.id FROM dataset_version v JOIN dataset d ON d.id = v.dataset_id
           WHERE d.tenant = $tenant AND ($digest = '' OR v.digest = $digest)
             AND ($digest <> '' OR d.name = $name AND ($version IS NULL OR v.version = $version))
           ORDER BY d.name = $name DESC, v.version = $version DESC NULLS LAST, v.version DESC LIMIT 1""",
        {"tenant": tenant, "name": name, "version": int(version) if version.isdecimal() else None, "digest": digest},
    )
    return row or (digest, None)


def number_of(value: str) -> float | None:
    """Return the finite number that a parameter's text is, or None."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None

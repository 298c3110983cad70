"""Taking in what an import's worker has read: whole runs, in one transaction with the note that they are here.

A run that this store made itself is left as it is. One that came from elsewhere is brought up to date, and what is
there already is not added again: the worker may die and begin once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlops_tui.contracts import exchange as contract
from mlops_tui.contracts.exchange import FoundExperiment, FoundFile, FoundRun
from mlops_tui.core.errors import BadInput
from mlops_tui.door import Context, act, implements
from mlops_tui.spool.records import Dataset
from mlops_tui.store.session import Session
from mlops_tui.tracking.experiments import ensure
from mlops_tui.tracking.runs.contents import number_of, put_data, put_params, put_tags, summary_of
from mlops_tui.tracking.runs.headline import headline

VIA = "import"


@implements(contract.known)
def known(ctx: Context, request: contract.Known) -> contract.Wanted:
    """Compare marks. What this store made itself is here, whatever the source says."""
    ids = list(request.runs)
    here = set(ctx.session.column("SELECT id FROM run WHERE id IN (SELECT unnest(?))", [ids]))
    notes = {
        run: (mark, digest, files)
        for run, mark, digest, files in ctx.session.rows(
            "SELECT run, mark, digest, files FROM imported WHERE run IN (SELECT unnest(?))", [ids]
        )
    }
    digests = {}
    for run, mark in request.runs.items():
        noted, digest, files = notes.get(run, ("", "", True))
        if run in here and (run not in notes or (noted == mark and files >= request.files)):
            digests[run] = digest
    return contract.Wanted(runs=[run for run in ids if run not in digests], digests=digests)


@implements(contract.take)
def take(ctx: Context, request: contract.Take) -> contract.Taken:
    """Read the points ahead of the transaction, then take everything in at once."""
    path = ctx.home.jobs / Path(request.job).name / Path(request.points).name if request.points else None
    try:
        columns = np.load(path, allow_pickle=False) if path else None
    except (OSError, ValueError) as error:
        raise BadInput("the points of an import cannot be read", str(error)) from error
    return act(ctx.house, ctx.caller, partial(_take, request=request, columns=columns))


def _take(ctx: Context, request: contract.Take, columns: Any) -> contract.Taken:
    places = {one.name: _experiment(ctx, one) for one in request.experiments}
    session, ids = ctx.session, [run.id for run in request.runs]
    here = set(session.column("SELECT id FROM run WHERE id IN (SELECT unnest(?))", [ids]))
    fresh = [run for run in request.runs if run.id not in here]
    _insert(ctx, fresh, places)
    for run in request.runs:
        if run.id in here:
            _update(ctx, run)
    points = 0
    if columns is not None and len(columns):
        series = [(ids[index], key) for index, key in request.series]
        points = ctx.house.series.append_series(
            session, "run", series, columns["series"], columns["step"], columns["ts"], columns["value"],
            once=bool(here), within_us=1000,
        )  # fmt: skip
    _headlines(session, ids, request.series)
    put_files(ctx, [(run.id, run.files) for run in request.runs])
    _links(ctx, request.runs)
    for run in request.runs:
        for used in run.data:
            put_data(ctx, run.id, Dataset(t=run.started, context=used.context, **msgspec.structs.asdict(used)))
    _note(ctx, request)
    last = request.runs[-1]
    word = f"{len(ids)} runs" if len(ids) > 1 else f"the run {last.name}"
    ctx.emit("run", last.id, "imported", f"{word} from {request.source}", f"run:{last.id}")
    return contract.Taken(runs=len(fresh), points=points)


def _experiment(ctx: Context, found: FoundExperiment) -> str:
    """Return the id of the experiment of that name; it is made with all that the source says of it."""
    known = ctx.session.value("SELECT count(*) FROM experiment WHERE tenant = ? AND name = ?", [ctx.tenant, found.name])
    made, _ = ensure(ctx, ctx.tenant, found.name)
    if not known:
        ctx.session.execute(
            """UPDATE experiment SET created = make_timestamp(?), note = ?,
                 deleted = CASE WHEN ? THEN make_timestamp(?) END WHERE id = ?""",
            [found.created, found.note, found.deleted, ctx.now, made],
        )
        put_tags(ctx, made, [(ctx.now, found.tags)], "")
    return made


def _insert(ctx: Context, runs: list[FoundRun], places: dict[str, str]) -> None:
    if not runs:
        return
    rows = {
        "id": [run.id for run in runs], "experiment_id": [places[run.experiment] for run in runs],
        "parent_id": [run.parent for run in runs], "tenant": [ctx.tenant] * len(runs),
        "name": [run.name for run in runs], "kind": [run.kind for run in runs],
        "status": [run.status for run in runs], "started_us": [run.started for run in runs],
        "resumed_us": [run.started for run in runs], "ended_us": [run.ended for run in runs],
        "host": [run.host for run in runs], "boot": [""] * len(runs), "actor": [run.actor for run in runs],
        "command": [run.command for run in runs], "git_sha": [run.git_sha for run in runs],
        "git_branch": [run.git_branch for run in runs], "error": [run.error for run in runs],
        "note": [run.note for run in runs], "facts": [run.facts for run in runs], "via": [VIA] * len(runs),
        "deleted_us": [ctx.now if run.deleted else None for run in runs],
        "summary": [summary_of(run.params) for run in runs],
    }  # fmt: skip
    ctx.session.insert_columns("run", rows)
    params = [(run.id, key, value) for run in runs for key, value in run.params.items()]
    tags = [(run.id, key, value) for run in runs for key, value in run.tags.items()]
    if params:
        owner, key, value = map(list, zip(*params, strict=True))
        columns = {"run": owner, "key": key, "value": value, "num": [number_of(text) for text in value]}
        ctx.session.insert_columns("param", columns)
    if tags:
        owner, key, value = map(list, zip(*tags, strict=True))
        ctx.session.insert_columns("tag", {"object": owner, "key": key, "value": value, "ts_us": [ctx.now] * len(tags)})


def _update(ctx: Context, run: FoundRun) -> None:
    """Bring a run that came from elsewhere up to date; what people did with it here stays."""
    ctx.session.change(
        "run",
        [run.id],
        "UPDATE run SET status = ?, ended = make_timestamp(?), error = ?, name = ? WHERE id = ?",
        [run.status, run.ended, run.error, run.name, run.id],
    )
    put_params(ctx, run.id, [(ctx.now, run.params)])
    put_tags(ctx, run.id, [(ctx.now, run.tags)], "")


def _headlines(session: Session, ids: list[str], series: list[tuple[int, str]]) -> None:
    """Say which metric stands for each run."""
    keys: dict[int, list[str]] = {}
    for index, key in series:
        keys.setdefault(index, []).append(key)
    best = {ids[index]: found for index, names in keys.items() if (found := headline(names))}
    if best:
        with session.incoming({"run": list(best), "metric": list(best.values())}):
            session.change(
                "run",
                best,
                """UPDATE run SET metric = s.key, value = s.last, value_step = s.last_step
                   FROM incoming i JOIN series s ON s.scope = 'run' AND s.owner = i.run AND s.key = i.metric
                   WHERE run.id = i.run""",
            )


def put_files(ctx: Context, owned: Sequence[tuple[str, list[FoundFile]]]) -> None:
    """Note files that lie among the artifacts already, each under its owner; what lay at its path is replaced."""
    rows = [(owner, file.path, file.digest, file.size, file.ts) for owner, files in owned for file in files]
    if not rows:
        return
    session = ctx.session
    owner, path, digest, size, ts = map(list, zip(*rows, strict=True))
    with session.incoming({"run": owner, "path": path, "digest": digest, "size": size}):
        session.execute(
            """INSERT INTO blob SELECT DISTINCT ON (digest) digest, size, 'artifact', make_timestamp(?) FROM incoming
               ON CONFLICT DO NOTHING""",
            [ctx.now],
        )
        session.execute(
            "DELETE FROM run_artifact USING incoming i WHERE run_artifact.run = i.run AND run_artifact.path = i.path"
        )
    session.insert_columns("run_artifact", {"run": owner, "path": path, "digest": digest, "size": size, "ts_us": ts})


def _links(ctx: Context, runs: list[FoundRun]) -> None:
    linked = [run.id for run in runs if run.models]
    ctx.session.execute("DELETE FROM run_model WHERE run IN (SELECT unnest(?))", [linked])
    rows = [(run.id, one.model, one.way, one.step, run.started) for run in runs for one in run.models]
    if rows:
        columns = dict(zip(("run", "model", "way", "step", "ts_us"), map(list, zip(*rows, strict=True)), strict=True))
        ctx.session.insert_columns("run_model", columns)


def _note(ctx: Context, request: contract.Take) -> None:
    runs, count = request.runs, len(request.runs)
    ctx.session.execute("DELETE FROM imported WHERE run IN (SELECT unnest(?))", [[run.id for run in runs]])
    ctx.session.insert_columns(
        "imported",
        {
            "run": [run.id for run in runs], "source": [request.source] * count, "mark": [run.mark for run in runs],
            "digest": [run.digest for run in runs], "files": [request.files] * count, "ts_us": [ctx.now] * count,
        },
    )  # fmt: skip

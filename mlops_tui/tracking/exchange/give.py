"""Giving out what an export's worker writes: whole runs in order of their ids, and what is not of runs."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlops_tui.contracts import exchange as contract
from mlops_tui.contracts.exchange import FoundData, FoundExperiment, FoundFile, FoundLink, FoundRun
from mlops_tui.door import Context, implements
from mlops_tui.store.session import Session
from mlops_tui.store.tags import tags_by
from mlops_tui.tracking.exchange.source import COLUMNS
from mlops_tui.tracking.logged.models import shown as logged_shown

RUNS_AT_ONCE = 200
POINTS_AT_ONCE = 300_000

_RUNS = """
SELECT r.id, e.name AS experiment, r.name, r.status, epoch_us(r.started) AS started, epoch_us(r.ended) AS ended,
  r.actor, r.parent_id AS parent, r.kind, r.command, r.git_sha, r.git_branch, r.host, r.error, r.note, r.facts,
  r.deleted IS NOT NULL AS deleted,
  coalesce((SELECT sum(n) FROM series s WHERE s.scope = 'run' AND s.owner = r.id), 0) AS n
FROM run r JOIN experiment e ON e.id = r.experiment_id
WHERE r.tenant = ? AND r.id > ? AND (len(?) = 0 OR list_contains(?, e.name)) ORDER BY r.id LIMIT ?
"""


@implements(contract.page)
def page(ctx: Context, request: contract.ExportPage) -> contract.ExportedPage:
    """Read the next runs; their points go into the worker's folder, for there may be many."""
    session, some = ctx.session, request.experiments
    rows = _cut(session.dicts(_RUNS, [ctx.tenant, request.after, some, some, RUNS_AT_ONCE]))
    ids = [row["id"] for row in rows]
    params, files, data, links = _pairs(session, ids), files_by(session, ids), _data(session, ids), _links(session, ids)
    tags = tags_by(session, ids)
    runs = [
        FoundRun(
            source_id=row["id"], params=params[row["id"]], tags=tags[row["id"]], files=files[row["id"]],
            data=data[row["id"]], models=links[row["id"]], **row,
        )
        for row in rows
    ]  # fmt: skip
    series, name = _points(session, ids, ctx.home.jobs / Path(request.job).name)
    return contract.ExportedPage(runs=runs, series=series, points=name)


@implements(contract.rest)
def rest(ctx: Context, request: contract.ExportRest) -> contract.ExportedRest:
    """Read experiments and logged models."""
    session, some = ctx.session, request.experiments
    rows = session.dicts(
        """SELECT id, name, number, note, epoch_us(created) AS created, deleted IS NOT NULL AS deleted FROM experiment
           WHERE tenant = ? AND (len(?) = 0 OR list_contains(?, name)) ORDER BY number""",
        [ctx.tenant, some, some],
    )
    tags = tags_by(session, [row["id"] for row in rows])
    experiments = [FoundExperiment(source_id=row["id"], tags=tags[row.pop("id")], **row) for row in rows]
    names = {one.name for one in experiments}
    ids = session.column("SELECT id FROM logged_model WHERE tenant = ? ORDER BY created, id", [ctx.tenant])
    models = [one for one in logged_shown(session, ids) if one.experiment in names]
    files = files_by(session, [one.id for one in models])
    logged = [
        contract.FoundLogged(
            **{name: getattr(one, name) for name in _LOGGED},
            files=files[one.id],
            metrics=[
                contract.FoundFigure(**{**msgspec.structs.asdict(figure), "value": str(figure.value)})
                for figure in one.metrics
            ],
        )
        for one in models
    ]
    return contract.ExportedRest(experiments=experiments, logged=logged)


_LOGGED = ("id", "name", "experiment", "status", "run", "created", "updated", "kind", "deleted", "params", "tags")


def files_by(session: Session, owners: list[str]) -> dict[str, list[FoundFile]]:
    """Return the files of runs, logged models or versions by owner."""
    found: dict[str, list[FoundFile]] = defaultdict(list)
    for owner, path, digest, size, ts in session.rows(
        """SELECT run, path, digest, size, epoch_us(ts) FROM run_artifact WHERE run IN (SELECT unnest(?))
           ORDER BY run, path""",
        [owners],
    ):
        found[owner].append(FoundFile(path=path, digest=digest, size=size, ts=ts))
    return found


def _cut(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return as many runs as have not too many points together, and at least one."""
    total = 0
    kept: list[dict[str, Any]] = []
    for row in rows:
        total += row.pop("n")
        if kept and total > POINTS_AT_ONCE:
            break
        kept.append(row)
    return kept


def _pairs(session: Session, runs: list[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for run, key, value in session.rows(
        "SELECT run, key, value FROM param WHERE run IN (SELECT unnest(?)) ORDER BY rowid", [runs]
    ):
        found[run][key] = value
    return found


def _data(session: Session, runs: list[str]) -> dict[str, list[FoundData]]:
    found: dict[str, list[FoundData]] = defaultdict(list)
    for run, context, tags, *told in session.rows(
        """SELECT run, context, tags, name, digest, source_type, source, schema_text, profile FROM run_data
           WHERE run IN (SELECT unnest(?)) ORDER BY run, name, digest""",
        [runs],
    ):
        names = ("name", "digest", "source_type", "source", "schema", "profile")
        said = {**msgspec.json.decode(tags), **({"mlflow.data.context": context} if context else {})}
        found[run].append(FoundData(**dict(zip(names, told, strict=True)), tags=said))
    return found


def _links(session: Session, runs: list[str]) -> dict[str, list[FoundLink]]:
    found: dict[str, list[FoundLink]] = defaultdict(list)
    for run, model, way, step in session.rows(
        "SELECT run, model, way, step FROM run_model WHERE run IN (SELECT unnest(?)) ORDER BY run, model", [runs]
    ):
        found[run].append(FoundLink(model=model, way=way, step=step))
    return found


def _points(session: Session, runs: list[str], folder: Path) -> tuple[list[tuple[int, str]], str]:
    """Write the points of some runs as one array, and return its series and name."""
    place = {run: index for index, run in enumerate(runs)}
    known = session.rows(
        """SELECT sid, owner, key FROM series WHERE scope = 'run' AND n > 0 AND owner IN (SELECT unnest(?))
           ORDER BY owner, key""",
        [runs],
    )
    if not known:
        return [], ""
    sids = np.array([sid for sid, _, _ in known], dtype=np.int64)
    found = session.columns(
        "SELECT sid, step, epoch_us(ts) AS ts, value FROM point WHERE sid IN (SELECT unnest(?))", [sids.tolist()]
    )
    order = np.argsort(sids)
    rows = np.empty(len(found["sid"]), dtype=COLUMNS)
    rows["series"] = order[np.searchsorted(sids[order], found["sid"])]
    for name in ("step", "ts", "value"):
        rows[name] = found[name]
    path = folder / f"page-{runs[0]}.npy"
    np.save(path, rows)
    return [(place[owner], key) for _, owner, key in known], path.name

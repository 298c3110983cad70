"""Removing for good: runs, experiments and logged models that were deleted, and artifacts that nothing refers to.

What is deleted is only hidden and can be restored; this ends that, at once. The points, lines, parameters and tags of
what is gone may be millions: a job removes them piece by piece (:mod:`.sweep`). A run that a registered model version
came from stays whole. An artifact goes when no room refers to it and nobody has stored it for a while: a worker stores
a file first and commits what refers to it later, and storing what is there makes it young again.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Any

from mlops_tui.blobs import Blob
from mlops_tui.contracts import gc as contract
from mlops_tui.contracts.operation import Change, Plan, Started
from mlops_tui.core.clock import HOUR, SECOND
from mlops_tui.core.errors import BadInput, Refused
from mlops_tui.core.figures import size
from mlops_tui.core.ids import short
from mlops_tui.door import Context, implements
from mlops_tui.door.registry import REFERRERS
from mlops_tui.jobs import start_job
from mlops_tui.store.search.values import span
from mlops_tui.store.session import Session

YOUNG_US = HOUR
"""Artifacts that were stored since then stay in any case: what refers to them may not be committed yet."""
SHOWN = 200
"""Objects that a plan names one by one."""
_OWNED = {
    "run_artifact": "run", "run_data": "run", "run_model": "run", "gate_result": "run_id", "imported": "run",
    "spool": "owner",
}  # fmt: skip
"""Tables with a few rows of a run, and the column that names it."""
WORKER = "mlops_tui.tracking.removal.worker"


@dataclass
class Found:
    """What may go."""

    before: int
    runs: list[str] = field(default_factory=list)
    experiments: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    blobs: list[Blob] = field(default_factory=list)


@implements(contract.collect)
class Collect:
    """Remove what was deleted, and files that nothing refers to."""

    def plan(self, ctx: Context, request: contract.Collect) -> Plan:
        """Say each run, experiment and logged model, and how many files go with them."""
        found, kept = Found(_before(ctx, request.older_than)), []
        changes = []
        for run, name, version in _deleted_runs(ctx, found.before):
            if version:
                kept.append(f"the run {name} stays: {version} came from it")
                continue
            found.runs.append(run)
            changes.append(Change(object=f"run:{run}", field="run", before=name))
        for kind, into, rows in (
            ("experiment", found.experiments, _empty_experiments(ctx, found)),
            ("logged", found.models, _deleted_models(ctx, found.before)),
        ):
            into += [one for one, _ in rows]
            changes += [Change(object=f"{kind}:{one}", field=kind, before=name) for one, name in rows]
        found.blobs = _unreferenced(ctx, found)
        if found.blobs:
            total = sum(blob.size for blob in found.blobs)
            files = f"{len(found.blobs)} files, {size(total)}"
            changes.append(Change(object="artifacts", field="files", before=files))
        return Plan(
            operation=contract.collect.name, object="gc", text=_text(found), warnings=kept[:SHOWN],
            changes=changes[-1:] + changes[: SHOWN - 1] if len(changes) > SHOWN else changes,
            cli=shlex.join(["mlops", "gc", "--older-than", request.older_than]), data={"found": found},
        )  # fmt: skip

    def apply(self, ctx: Context, request: contract.Collect, plan: Plan) -> Started:
        """Delete the runs; the files go after the commit, so that a failure loses nothing, and the rest piece by piece.

        Raises:
            Refused: what an earlier call left is still being removed.
        """
        busy = "SELECT id FROM job WHERE kind = ? AND status IN ('queued', 'running')"
        if (other := ctx.session.value(busy, [contract.collect.name])) is not None:
            raise Refused("what was removed before is still being swept up", "", f"mlops job show {short(other)}")
        found: Found = plan.data["found"]
        _delete(ctx, found)
        ctx.after.append(lambda: _drop(ctx, found))
        if found.runs or found.experiments or found.models or found.blobs:
            ctx.emit("run", "gc", "removed", plan.text, "runs")
        told = {
            "runs": len(found.runs), "experiments": len(found.experiments), "models": len(found.models),
            "files": len(found.blobs), "bytes": sum(blob.size for blob in found.blobs),
        }  # fmt: skip
        job = start_job(ctx, kind=contract.collect.name, name="gc", module=WORKER, request=told)
        return Started(job=job, text=plan.text)


def _before(ctx: Context, older_than: str) -> int:
    """Return the moment (µs) before which something must have been deleted."""
    found = span(f"-{older_than.strip()}") or span(older_than)
    if found is None:
        raise BadInput(f"{older_than!r:.40} is no age and no date", "", "mlops gc --older-than 30d")
    return min(found.begin, ctx.now)


def _deleted_runs(ctx: Context, before: int) -> list[tuple[str, str, str]]:
    """Return id, name and, if there is one, the registered version of each run that is over and was deleted by then."""
    return ctx.session.rows(
        """SELECT r.id, r.name, coalesce(any_value(m.name || '@' || v.version), '')
           FROM run r LEFT JOIN model_version v ON v.run_id = r.id AND v.deleted IS NULL
           LEFT JOIN model m ON m.id = v.model_id
           WHERE r.tenant = ? AND r.deleted <= make_timestamp(?) AND r.status <> 'running'
           GROUP BY r.id, r.name ORDER BY r.id""",
        [ctx.tenant, before],
    )


def _empty_experiments(ctx: Context, found: Found) -> list[tuple[str, str]]:
    """Return the deleted experiments that have no run left."""
    return ctx.session.rows(
        """SELECT id, name FROM experiment e WHERE tenant = ? AND deleted <= make_timestamp(?) AND NOT EXISTS
             (SELECT 1 FROM run r WHERE r.experiment_id = e.id AND r.id NOT IN (SELECT unnest(?::VARCHAR[])))
           ORDER BY id""",
        [ctx.tenant, found.before, found.runs],
    )


def _deleted_models(ctx: Context, before: int) -> list[tuple[str, str]]:
    return ctx.session.rows(
        "SELECT id, name FROM logged_model WHERE tenant = ? AND deleted <= make_timestamp(?) ORDER BY id",
        [ctx.tenant, before],
    )


def _unreferenced(ctx: Context, found: Found) -> list[Blob]:
    """Return the artifacts that nothing will refer to once the rest is gone."""
    old = list(ctx.blobs.old(min(found.before, ctx.now - YOUNG_US) / SECOND))
    if not old:
        return []
    needed: set[str] = set()
    going = {"gone": [*found.runs, *found.models]}
    for sql in REFERRERS:
        needed.update(ctx.session.column(sql, going if "$gone" in sql else ()))
    return [blob for blob in old if blob.digest not in needed]


def _delete(ctx: Context, found: Found) -> None:
    """Delete what goes, and give what is large, also of runs that never were, to the sweep."""
    session, owners = ctx.session, [*found.runs, *found.models]
    session.insert_columns("doomed", {"owner": owners})
    for table, column in _OWNED.items():
        _rows(session, table, column, owners)
    session.execute("UPDATE job SET run_id = NULL WHERE run_id IN (SELECT unnest(?::VARCHAR[]))", [found.runs])
    for column in ("src", "dst"):
        _rows(session, "link", column, [f"run:{run}" for run in found.runs])
    for table, gone in (("run", found.runs), ("experiment", found.experiments), ("logged_model", found.models)):
        _rows(session, table, "id", gone)
    _rows(session, "logged_metric", "model_id", found.models)
    _rows(session, "blob", "digest", [blob.digest for blob in found.blobs])
    # Of another scope they are found by nobody, and whoever logs to such a run yet gets series of its own.
    session.change(
        "series",
        None,
        """UPDATE series SET scope = 'gone' WHERE scope = 'run' AND (owner IN (SELECT unnest(?::VARCHAR[]))
             OR (last_ts < make_timestamp(?) AND owner NOT IN (SELECT id FROM run)))""",
        [owners, min(found.before, ctx.now - YOUNG_US)],
    )
    ctx.house.series.forget()


def _rows(session: Session, table: str, column: str, values: list[Any]) -> None:
    if values:
        session.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT unnest(?::VARCHAR[]))", [values])


def _drop(ctx: Context, found: Found) -> None:
    """Remove the files, and what killed writers left unfinished; one that was stored again meanwhile stays."""
    before = min(found.before, ctx.now - YOUNG_US) / SECOND
    for blob in found.blobs:
        ctx.blobs.drop(blob.digest, before)
    ctx.blobs.sweep()


def _text(found: Found) -> str:
    parts = [
        f"{len(them)} {word}{'s' * (len(them) != 1)}"
        for them, word in (
            (found.runs, "run"), (found.experiments, "experiment"), (found.models, "logged model"),
            (found.blobs, "file"),
        )
        if them
    ]  # fmt: skip
    freed = f" ({size(sum(blob.size for blob in found.blobs))})" if found.blobs else ""
    return f"remove {', '.join(parts)}{freed} for good" if parts else "nothing to remove"

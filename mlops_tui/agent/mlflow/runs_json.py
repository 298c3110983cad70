"""Runs as the wire shows them, many at once: a query a table, not one a run."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import msgspec

from mlops_tui.agent.mlflow.coding import encode, number
from mlops_tui.agent.mlflow.experiments import place_of
from mlops_tui.agent.mlflow.names import wire_id
from mlops_tui.store.search import sheets
from mlops_tui.store.session import Session
from mlops_tui.tracking.artifacts.places import below
from mlops_tui.tracking.runs.contents import NAME, NOTE, UNNAMED

CONTEXT = "mlflow.data.context"
STATUS = {"done": "FINISHED", "failed": "FAILED", "killed": "KILLED", "lost": "KILLED", "running": "RUNNING"}
"""What MLflow calls our states; one that it has no word for is shown in capitals."""

_EXPERIMENTS = "SELECT id, number, place FROM experiment WHERE id IN (SELECT unnest(?))"


def whole(session: Session, runs: list[str]) -> list[dict[str, Any]]:
    """Return runs in this order, each with its data and inputs; ids are the store's."""
    return list(_bodies(session, runs).values())


def encoded(session: Session, runs: list[str]) -> list[msgspec.Raw]:
    """Return the same as JSON; of runs that nobody touched since they were last shown, as it was then."""

    def make(missing: list[str]) -> dict[str, bytes]:
        return {run: encode(body) for run, body in _bodies(session, missing).items()}

    found = session.kept.texts("run", runs, make) if session.kept else make(runs)
    return [msgspec.Raw(found[run]) for run in runs if run in found]


def _bodies(session: Session, runs: list[str]) -> dict[str, dict[str, Any]]:
    if not runs:
        return {}
    facts = sheets.facts_of(session, runs)
    experiments = session.dicts(_EXPERIMENTS, [list({one.experiment for one in facts.values()})])
    infos = _infos(facts, {row["id"]: row for row in experiments})
    metrics, params, tags = _metrics(session, runs), _pairs(sheets.params_of(session, runs)), _tags(session, facts)
    data, (read, made) = _datasets(session, runs), _models(session, runs)
    return {
        run: {
            "info": infos[run],
            "data": _said(metrics=metrics[run], params=params[run], tags=tags[run]),
            "inputs": _said(dataset_inputs=data[run], model_inputs=read[run]),
            "outputs": _said(model_outputs=made[run]),
        }
        for run in runs
        if run in infos
    }


def _said(**lists: list[Any]) -> dict[str, list[Any]]:
    """Return the lists that have something in them; the wire leaves out what is empty."""
    return {name: one for name, one in lists.items() if one}


def _infos(facts: dict[str, sheets.Facts], experiments: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        run: _info(wire_id(run), one, experiments[one.experiment])
        for run, one in facts.items()
        if one.experiment in experiments
    }


def _info(run: str, facts: sheets.Facts, experiment: dict[str, Any]) -> dict[str, Any]:
    info = {
        "run_id": run,
        "run_uuid": run,
        "run_name": facts.name,
        "experiment_id": str(experiment["number"]),
        "user_id": facts.actor,
        "status": STATUS.get(facts.status, facts.status.upper()),
        "start_time": facts.started // 1000,
        "artifact_uri": below(place_of(experiment), f"{run}/artifacts"),
        "lifecycle_stage": "active" if facts.deleted is None else "deleted",
    }
    if facts.ended is not None:
        info["end_time"] = facts.ended // 1000
    return info


def _metrics(session: Session, runs: list[str]) -> dict[str, list[dict[str, Any]]]:
    return {
        run: [
            {
                "key": one.key,
                "value": number(math.nan if one.last is None else one.last),
                "timestamp": one.ts // 1000,
                "step": one.step,
            }
            for one in metrics
            if one.n
        ]
        for run, metrics in sheets.metrics_of(session, runs).items()
    }


def _pairs(found: sheets.Pairs) -> dict[str, list[dict[str, str]]]:
    return {run: [{"key": key, "value": value} for key, value in pairs] for run, pairs in found.items()}


def _tags(session: Session, facts: dict[str, sheets.Facts]) -> dict[str, list[dict[str, str]]]:
    """Return tags; name and note, which people change elsewhere too, are shown as they are now."""
    found = _pairs(sheets.tags_of(session, list(facts)))
    for run, one in facts.items():
        named = all(tag["key"] != UNNAMED for tag in found[run])
        said = {**({NAME: one.name} if named else {}), **({NOTE: one.note} if one.note else {})}
        found[run] = [
            *(tag for tag in found[run] if tag["key"] not in (NAME, NOTE, UNNAMED)),
            *({"key": key, "value": value} for key, value in said.items()),
        ]
    return found


def _datasets(session: Session, runs: list[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in session.dicts(
        "SELECT * EXCLUDE ts FROM run_data WHERE run IN (SELECT unnest(?)) ORDER BY ts, name", [runs]
    ):
        tags = msgspec.json.decode(row["tags"] or "{}")
        if row["context"]:
            tags.setdefault(CONTEXT, row["context"])
        found[row["run"]].append(
            {
                **_said(tags=[{"key": key, "value": value} for key, value in tags.items()]),
                "dataset": {
                    "name": row["name"],
                    "digest": row["digest"],
                    "source_type": row["source_type"],
                    "source": row["source"],
                    **({"schema": row["schema_text"]} if row["schema_text"] else {}),
                    **({"profile": row["profile"]} if row["profile"] else {}),
                },
            }
        )
    return found


Models = dict[str, list[dict[str, Any]]]


def _models(session: Session, runs: list[str]) -> tuple[Models, Models]:
    read: Models = defaultdict(list)
    made: Models = defaultdict(list)
    rows = session.rows(
        "SELECT run, model, way, step FROM run_model WHERE run IN (SELECT unnest(?)) ORDER BY ts", [runs]
    )
    for run, model, way, step in rows:
        if way == "in":
            read[run].append({"model_id": model})
        else:
            made[run].append({"model_id": model, "step": step})
    return read, made

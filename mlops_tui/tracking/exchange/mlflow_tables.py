"""Registered and logged models as MLflow's tables hold them."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from mlops_tui.contracts.exchange import FoundFigure, FoundLogged
from mlops_tui.tracking.exchange.mlflow_facts import LOGGED_STATUS, ieee
from mlops_tui.tracking.exchange.source import FoundModel, FoundVersion, run_id

Rows = Callable[[str], list[Any]]
"""Returns a table by name."""


def registered(rows: Rows) -> Iterator[FoundModel]:
    """Yield the registered models."""
    models = {
        row["name"]: FoundModel(row["name"], field_of(row, "description") or "") for row in rows("registered_models")
    }
    for row in rows("registered_model_tags"):
        models[row["name"]].tags[row["key"]] = row["value"] or ""
    tags: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
    for row in rows("model_version_tags"):
        tags[row["name"], row["version"]][row["key"]] = row["value"] or ""
    for row in sorted(rows("model_versions"), key=lambda row: row["version"]):
        if row["current_stage"] != "Deleted_Internal":
            models[row["name"]].versions.append(
                FoundVersion(
                    row["version"],
                    row["source"] or "",
                    row["run_id"] or "",
                    row["description"] or "",
                    tags[row["name"], row["version"]],
                    row["current_stage"] or "",
                )
            )
    for row in rows("registered_model_aliases"):
        models[row["name"]].aliases[row["alias"]] = row["version"]
    yield from models.values()


def logged(rows: Rows) -> Iterator[tuple[FoundLogged, Any]]:
    """Yield the logged models, each with the place of its files."""
    names = {row["experiment_id"]: row["name"] for row in rows("experiments")}
    params, tags = _pairs(rows("logged_model_params"), "param"), _pairs(rows("logged_model_tags"), "tag")
    metrics: dict[str, list[FoundFigure]] = defaultdict(list)
    for row in rows("logged_model_metrics"):
        metrics[row["model_id"]].append(
            FoundFigure(
                key=row["metric_name"],
                value=str(ieee(row["metric_value"])) if row["metric_value"] is not None else "nan",
                step=row["metric_step"],
                ts=row["metric_timestamp_ms"] * 1000,
                run=run_id(row["run_id"], "mlflow"),
                dataset=row["dataset_name"] or "",
                digest=row["dataset_digest"] or "",
            )
        )
    for row in rows("logged_models"):
        model = row["model_id"]
        found = FoundLogged(
            id=model, name=row["name"], experiment=names[row["experiment_id"]],
            status=LOGGED_STATUS.get(str(row["status"]), "pending"),
            run=run_id(row["source_run_id"], "mlflow") if row["source_run_id"] else "",
            created=row["creation_timestamp_ms"] * 1000, updated=row["last_updated_timestamp_ms"] * 1000,
            kind=row["model_type"] or "", deleted=row["lifecycle_stage"] == "deleted", params=params[model],
            tags=tags[model], metrics=metrics[model],
        )  # fmt: skip
        yield found, row["artifact_location"]


def field_of(row: sqlite3.Row, name: str) -> Any:
    """Return a column that older databases do not have."""
    return row[name] if name in row.keys() else None  # noqa: SIM118  (a row is no mapping)


def _pairs(rows: list[Any], what: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        found[row["model_id"]][row[f"{what}_key"]] = row[f"{what}_value"]
    return found

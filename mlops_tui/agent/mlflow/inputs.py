"""What a run read and made: data sets and logged models. They are appended, like everything that is logged."""

from __future__ import annotations

from typing import Any

from mlops_tui.agent.mlflow.coding import Ask, absent
from mlops_tui.agent.mlflow.errors import invalid
from mlops_tui.agent.mlflow.experiments import Pair, number_of
from mlops_tui.agent.mlflow.names import too_long
from mlops_tui.agent.mlflow.router import Call, route
from mlops_tui.agent.mlflow.runs import OneRun
from mlops_tui.agent.mlflow.runs_json import CONTEXT
from mlops_tui.core.clock import now_us

MAX_EXPERIMENTS, MAX_SUMMARIES = 20, 1000
_LIMITS = {"name": 500, "digest": 36, "source": 65_535, "schema": 1_048_575, "profile": 16_777_215}
_TAG_LIMITS = {"key": 255, "value": 500}


class Dataset(Ask):
    """A data set as clients describe it."""

    name: str | None = None
    digest: str | None = None
    source_type: str | None = None
    source: str | None = None
    schema: str | None = None
    profile: str | None = None


class DatasetInput(Ask):
    """A data set, and how it was used."""

    tags: list[Pair] | None = None
    dataset: Dataset | None = None


class Model(Ask):
    """A logged model."""

    model_id: str | None = None
    step: int | None = None


class LogInputs(OneRun):
    """``runs/log-inputs``."""

    datasets: list[DatasetInput] | None = None
    models: list[Model] | None = None


class LogOutputs(OneRun):
    """``runs/outputs``."""

    models: list[Model] | None = None


class SearchDatasets(Ask):
    """``experiments/search-datasets``."""

    experiment_ids: list[str] | None = None


@route("POST", "runs/log-inputs", LogInputs, hot=True)
async def log_inputs(call: Call, ask: LogInputs) -> None:
    """Note data sets and models that a run read; one that is known already is not noted again."""
    typed, records = ask.run, [_dataset(one) for one in ask.datasets or []]
    records += [_model(one, "in") for one in ask.models or []]
    run = await call.journal.run(call.caller, typed)
    if records:
        call.journal.append(run, *records)


@route("POST", "runs/outputs", LogOutputs, hot=True)
async def log_outputs(call: Call, ask: LogOutputs) -> None:
    """Note models that a run made; an empty list is one, too."""
    if ask.models is None:
        raise absent("models")
    typed, records = ask.run, [_model(one, "out") for one in ask.models]
    run = await call.journal.run(call.caller, typed)
    if records:
        call.journal.append(run, *records)


def search_datasets(call: Call, ask: SearchDatasets) -> dict[str, Any]:
    """List the data sets that runs of some experiments read."""
    if not ask.experiment_ids:
        raise invalid("SearchDatasets request must specify at least one experiment_id.")
    if len(ask.experiment_ids) > MAX_EXPERIMENTS:
        raise invalid(f"SearchDatasets request cannot specify more than {MAX_EXPERIMENTS} experiment_ids.")
    numbers = [number_of(one) for one in ask.experiment_ids]
    call.journal.drain()
    with call.reading("run:read") as session:
        rows = session.rows(
            """SELECT DISTINCT e.number, d.name, d.digest, d.context
               FROM run_data d JOIN run r ON r.id = d.run JOIN experiment e ON e.id = r.experiment_id
               WHERE r.tenant = ? AND e.number IN (SELECT unnest(?::BIGINT[])) ORDER BY ALL LIMIT ?""",
            [call.caller.tenant, numbers, MAX_SUMMARIES],
        )
    found = [
        {"experiment_id": str(number), "name": name, "digest": digest, **({"context": context} if context else {})}
        for number, name, digest, context in rows
    ]
    return {"dataset_summaries": found} if found else {}


for _path in ("experiments/search-datasets", "/api/2.0mlflow/experiments/search-datasets"):
    # MLflow's own declaration lacks a slash, so its client asks at the second.
    route("POST", _path, SearchDatasets)(search_datasets)


def _dataset(given: DatasetInput) -> dict[str, Any]:
    """Return a data set as a record.

    Raises:
        WireError: there is none, or something of it is too long.
    """
    dataset = given.dataset
    if dataset is None:
        raise invalid("Dataset cannot be None")
    for name, limit in _LIMITS.items():
        if len(getattr(dataset, name) or "") > limit:
            raise too_long(name, limit)
    tags: dict[str, str] = {}
    for tag in given.tags or []:
        for name, limit in _TAG_LIMITS.items():
            if len(getattr(tag, name) or "") > limit:
                raise too_long(name, limit)
        tags[tag.key or ""] = tag.value or ""
    said = {key: value for key in (*_LIMITS, "source_type") if (value := getattr(dataset, key))}
    used = {"context": tags.get(CONTEXT, ""), "tags": tags, "once": True}
    return {"v": 1, "e": "data", "t": now_us(), "name": "", **said, **used}


def _model(given: Model, way: str) -> dict[str, Any]:
    if not given.model_id:
        raise invalid("Missing value for required parameter 'model_id'.")
    return {"v": 1, "e": "model", "t": now_us(), "model": given.model_id, "way": way, "step": given.step or 0}

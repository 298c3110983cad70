"""What is logged to runs: checked here, written to the journal, answered."""

from __future__ import annotations

from typing import Any

from mlops_tui.agent.mlflow.coding import absent
from mlops_tui.agent.mlflow.errors import invalid
from mlops_tui.agent.mlflow.experiments import Pair
from mlops_tui.agent.mlflow.journal import Known
from mlops_tui.agent.mlflow.names import MAX_PARAM, MAX_TAG, check_name
from mlops_tui.agent.mlflow.points import Int64, Point, measures_of, records_of
from mlops_tui.agent.mlflow.router import Call, route
from mlops_tui.agent.mlflow.runs import OneRun
from mlops_tui.core.clock import now_us

MAX_METRICS, MAX_OTHERS, MAX_ALL = 1000, 100, 1000
MAX_BODY = 1_000_000
"""Bytes of the body of a batch."""


class LogMetric(OneRun):
    """``runs/log-metric``: a run, and the fields of a :class:`Point`."""

    required = ("key", "value", "timestamp")
    key: str | None = None
    value: float | None = None
    timestamp: int | None = None
    step: Int64 | None = None
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class LogPair(OneRun):
    """``runs/log-parameter`` and ``runs/set-tag``."""

    required = ("key",)
    key: str | None = None
    value: str | None = None


class LogBatch(OneRun):
    """``runs/log-batch``."""

    metrics: list[Point] | None = None
    params: list[Pair] | None = None
    tags: list[Pair] | None = None


@route("POST", "runs/log-metric", LogMetric, hot=True)
async def log_metric(call: Call, ask: LogMetric) -> None:
    """Append one value."""
    run = await call.journal.run(call.caller, ask.run)
    call.journal.append(run, *records_of([ask], ""), *measures_of([ask]))


@route("POST", "runs/log-parameter", LogPair, hot=True)
async def log_parameter(call: Call, ask: LogPair) -> None:
    """Append one parameter; another value of a known one is refused."""
    asked = _named([Pair(key=ask.key, value=ask.value)], "")
    run = await call.journal.run(call.caller, ask.run)
    if fresh := _fresh(run, ask.run, asked):
        call.journal.append(run, _param_record(fresh))
        run.params.update(fresh)


@route("POST", "runs/set-tag", LogPair, hot=True)
async def set_tag(call: Call, ask: LogPair) -> None:
    """Set one tag."""
    tag = _tags([Pair(key=ask.key, value=ask.value)], "")
    call.journal.append(await call.journal.run(call.caller, ask.run), tag)


@route("POST", "runs/log-batch", LogBatch, hot=True, limit=MAX_BODY)
async def log_batch(call: Call, ask: LogBatch) -> None:
    """Append values, parameters and tags: all of them or none."""
    metrics, params, tags = ask.metrics or [], ask.params or [], ask.tags or []
    limits = ((metrics, MAX_METRICS, "metrics"), (params, MAX_OTHERS, "params"), (tags, MAX_OTHERS, "tags"))
    for given, limit, what in (*limits, ([*metrics, *params, *tags], MAX_ALL, "metrics, params, and tags")):
        if len(given) > limit:
            raise invalid(
                f"A batch logging request can contain at most {limit} {what}. Got {len(given)}: send several."
            )
    records = records_of(metrics, "metrics") + measures_of(metrics)
    asked = _named(params, "params")
    if tags:
        records.append(_tags(tags, "tags"))
    run = await call.journal.run(call.caller, ask.run)
    if fresh := _fresh(run, ask.run, asked):
        records.append(_param_record(fresh))
    if records:
        call.journal.append(run, *records)
        run.params.update(fresh)


def _named(params: list[Pair], path: str) -> dict[str, str]:
    """Return parameters by key.

    Raises:
        WireError: one comes twice, or cannot be kept.
    """
    named: dict[str, str] = {}
    for index, one in enumerate(params):
        at = f"{path}[{index}]." if path else ""
        if not one.key:
            raise absent(f"{at}key")
        key, value = check_name(one.key, f"{at}key", "Param key"), (one.value or "")[:MAX_PARAM]
        if key in named:
            raise invalid(f"Duplicate parameter keys have been submitted: {[key]}. Give one value per key.")
        named[key] = value
    return named


def _fresh(run: Known, typed: str, asked: dict[str, str]) -> dict[str, str]:
    """Return the parameters that are new to a run.

    Raises:
        WireError: one is known with another value.
    """
    fresh = {}
    for key, value in asked.items():
        known = run.params.get(key)
        if known is None:
            fresh[key] = value
        elif known != value:
            raise invalid(
                f"Changing param values is not allowed. Param with key='{key}' was already logged with value="
                f"'{known:.200}' for run ID='{typed}'. Attempted logging new value '{value:.200}'."
            )
    return fresh


def _param_record(params: dict[str, str]) -> dict[str, Any]:
    return {"v": 1, "e": "param", "t": now_us(), "p": params}


def _tags(tags: list[Pair], path: str) -> dict[str, Any]:
    """Return tags as one record; of a key that comes twice the last value counts.

    Raises:
        WireError: one cannot be kept.
    """
    kept = {}
    for index, one in enumerate(tags):
        at = f"{path}[{index}]." if path else ""
        if not one.key:
            raise absent(f"{at}key")
        kept[check_name(one.key, f"{at}key")] = (one.value or "")[:MAX_TAG]
    return {"v": 1, "e": "tag", "t": now_us(), "g": kept}

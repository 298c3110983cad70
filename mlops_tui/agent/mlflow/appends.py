"""What is logged to runs: checked here, written to the journal, answered."""

from __future__ import annotations

from typing import Any

from mlops_tui.agent.mlflow.coding import Ask, absent
from mlops_tui.agent.mlflow.errors import invalid
from mlops_tui.agent.mlflow.experiments import Pair
from mlops_tui.agent.mlflow.journal import Known
from mlops_tui.agent.mlflow.names import MAX_PARAM, MAX_TAG, check_name
from mlops_tui.agent.mlflow.router import Call, route
from mlops_tui.agent.mlflow.runs import OneRun
from mlops_tui.core.clock import now_us
from mlops_tui.core.jsonx import ieee_word

MAX_METRICS, MAX_OTHERS, MAX_ALL = 1000, 100, 1000
_YEAR_10000 = 253_402_300_800_000


class Point(Ask):
    """One value of a metric; the time is milliseconds since 1970."""

    key: str | None = None
    value: float | None = None
    timestamp: int | None = None
    step: int | None = None
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class LogMetric(OneRun):
    """``runs/log-metric``."""

    required = ("key", "value", "timestamp")
    key: str | None = None
    value: float | None = None
    timestamp: int | None = None
    step: int | None = None
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
    call.journal.append(run, *_metric_records([ask], ""), *_measures([ask]))


@route("POST", "runs/log-parameter", LogPair, hot=True)
async def log_parameter(call: Call, ask: LogPair) -> None:
    """Append one parameter; another value of a known one is refused."""
    run = await call.journal.run(call.caller, ask.run)
    params = _params(run, ask.run, [Pair(key=ask.key, value=ask.value)], "")
    _keep_params(call, run, params)


@route("POST", "runs/set-tag", LogPair, hot=True)
async def set_tag(call: Call, ask: LogPair) -> None:
    """Set one tag."""
    run = await call.journal.run(call.caller, ask.run)
    call.journal.append(run, _tags([Pair(key=ask.key, value=ask.value)], ""))


@route("POST", "runs/log-batch", LogBatch, hot=True)
async def log_batch(call: Call, ask: LogBatch) -> None:
    """Append values, parameters and tags: all of them or none."""
    metrics, params, tags = ask.metrics or [], ask.params or [], ask.tags or []
    limits = ((metrics, MAX_METRICS, "metrics"), (params, MAX_OTHERS, "params"), (tags, MAX_OTHERS, "tags"))
    for given, limit, what in (*limits, ([*metrics, *params, *tags], MAX_ALL, "metrics, params, and tags")):
        if len(given) > limit:
            raise invalid(f"A batch can contain at most {limit} {what}, this one has {len(given)}: send several.")
    records = _metric_records(metrics, "metrics") + _measures(metrics)
    run = await call.journal.run(call.caller, ask.run)
    fresh = _params(run, ask.run, params, "params")
    if tags:
        records.append(_tags(tags, "tags"))
    if records:
        call.journal.append(run, *records)
    _keep_params(call, run, fresh)


def _metric_records(points: list[Any], path: str) -> list[dict[str, Any]]:
    """Return points as records, those of one moment and step in one.

    Raises:
        WireError: one is not complete, or cannot be kept.
    """
    records: list[dict[str, Any]] = []
    before: tuple[int, int] | None = None
    for index, point in enumerate(points):
        at = f"{path}[{index}]." if path else ""
        key, value, ts = point.key, point.value, point.timestamp
        if not key or value is None or ts is None:
            raise absent(at + ("key" if not key else "value" if value is None else "timestamp"))
        check_name(key, f"{at}name", "Metric name")
        if not 0 <= ts < _YEAR_10000:
            raise invalid(
                f"Invalid value {ts} for parameter '{at}timestamp' supplied: metric '{key}' (value={value}). "
                "Timestamp must be a nonnegative number of milliseconds, before the year 10000."
            )
        step = point.step or 0
        if before != (ts, step) or key in records[-1]["m"] or key in records[-1]["x"]:
            records.append({"v": 1, "e": "m", "t": ts * 1000, "s": step, "m": {}, "x": {}})
            before = ts, step
        finite = value - value == 0.0
        records[-1]["m" if finite else "x"][key] = value if finite else ieee_word(value)
    return records


def _measures(points: list[Any]) -> list[dict[str, Any]]:
    """Return points that belong to a logged model as records of it."""
    records = []
    for point in points:
        if point.model_id:
            finite = point.value - point.value == 0.0
            said = {"m": {point.key: point.value}} if finite else {"x": {point.key: ieee_word(point.value)}}
            data = {"dataset": point.dataset_name or "", "digest": point.dataset_digest or ""}
            records.append(
                {"v": 1, "e": "measure", "t": point.timestamp * 1000, "model": point.model_id, "s": point.step or 0}
                | said
                | data
            )
    return records


def _params(run: Known, typed: str, params: list[Pair], path: str) -> dict[str, str]:
    """Return the parameters that are new to a run.

    Raises:
        WireError: one is known with another value, comes twice, or cannot be kept.
    """
    fresh: dict[str, str] = {}
    for index, one in enumerate(params):
        at = f"{path}[{index}]." if path else ""
        if not one.key:
            raise absent(f"{at}key")
        key, value = check_name(one.key, f"{at}key", "Param key"), (one.value or "")[:MAX_PARAM]
        if key in fresh:
            raise invalid(f"Duplicate parameter keys have been submitted: {[key]}. Give one value per key.")
        fresh[key] = value
    for key, value in list(fresh.items()):
        if (known := run.params.get(key)) is None:
            continue
        if known != value:
            raise invalid(
                f"Changing param values is not allowed. Param with key='{key}' was already logged with value="
                f"'{known:.200}' for run ID='{typed}'. Attempted logging new value '{value:.200}'."
            )
        del fresh[key]
    return fresh


def _keep_params(call: Call, run: Known, fresh: dict[str, str]) -> None:
    if fresh:
        call.journal.append(run, {"v": 1, "e": "param", "t": now_us(), "p": fresh})
        run.params.update(fresh)


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

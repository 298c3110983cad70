"""Every point of many runs from an MLflow server, in few questions.

The route that its own pages use answers for a hundred runs at once, 25,000 points at most; what does not fit, or a
server that does not have the route, is asked run by run, page by page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from mlops_tui.core.errors import MlopsError, NotFound
from mlops_tui.tracking.exchange.http import Site, parsed
from mlops_tui.tracking.exchange.mlflow_facts import ieee
from mlops_tui.tracking.exchange.source import Candidate, Points, joined

BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
ONE = "/api/2.0/mlflow/metrics/get-history"
MOST = 25_000
"""Points that an answer holds at most."""
AIM = 20_000
"""Points that are asked for at once, as far as steps tell."""
RUNS_AT_ONCE = 100


class _Row(msgspec.Struct):
    step: int
    timestamp: int
    value: float
    run_id: str = ""


class _Answer(msgspec.Struct):
    metrics: list[_Row] = []
    next_page_token: str = ""


_read = msgspec.json.Decoder(_Answer).decode
Part = tuple[str, Any, Any, Any]
"""A metric with its steps, times in µs, and values."""


def histories(site: Site, some: Sequence[Candidate]) -> list[Points]:
    """Return the points of some runs, in their order; ``place`` of each has its metrics and how far their steps go."""
    parts: dict[str, list[Part]] = defaultdict(list)
    for key in dict.fromkeys(key for one in some for key in one.place):
        having = [one for one in some if key in one.place]
        for group in _groups(having, key):
            for run, rows in _bulk(site, [one.run.source_id for one in group], key):
                parts[run].append(_part(key, rows))
    return [joined(parts[one.run.source_id]) for one in some]


def _groups(some: Sequence[Candidate], key: str) -> Iterator[list[Candidate]]:
    group: list[Candidate] = []
    size = 0
    for one in some:
        if group and (len(group) == RUNS_AT_ONCE or size + one.place[key] > AIM):
            yield group
            group, size = [], 0
        group.append(one)
        size += one.place[key]
    if group:
        yield group


def _bulk(site: Site, runs: list[str], key: str) -> Iterator[tuple[str, list[_Row]]]:
    """Yield the points of one metric run by run. Answers are ordered by run: only their last one may be cut."""
    try:
        query = [("metric_key", key), ("max_results", MOST), *(("run_id", run) for run in runs)]
        rows = _decoded(site.fetch(BULK, query)).metrics
    except NotFound:
        rows = []
        cut = list(runs)
    else:
        order = sorted(runs)
        cut = order[order.index(rows[-1].run_id) :] if len(rows) >= MOST else []
    found: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        found[row.run_id].append(row)
    for run in runs:
        yield run, _pages(site, run, key) if run in cut else found[run]


def _pages(site: Site, run: str, key: str) -> list[_Row]:
    rows: list[_Row] = []
    token = ""
    while True:
        query = {"run_id": run, "metric_key": key, "max_results": MOST, **({"page_token": token} if token else {})}
        answer = _decoded(site.fetch(ONE, query))
        rows += answer.metrics
        token = answer.next_page_token
        if not token:
            return rows


def _decoded(content: bytes) -> _Answer:
    """Read an answer; fast where every value is a number, else with the words that stand for what is none."""
    try:
        return _read(content)
    except msgspec.DecodeError:
        found = parsed(content)
    try:
        return _Answer(
            [
                _Row(
                    int(row.get("step", 0)), int(row["timestamp"]), float(row.get("value", 0.0)), row.get("run_id", "")
                )
                for row in found.get("metrics", [])
            ],
            found.get("next_page_token", ""),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MlopsError("the server's points cannot be read", f"{type(error).__name__}: {error}") from error


def _part(key: str, rows: Sequence[_Row]) -> Part:
    count = len(rows)
    return (
        key,
        np.fromiter((row.step for row in rows), np.int64, count),
        np.fromiter((row.timestamp for row in rows), np.int64, count) * 1000,
        ieee(np.fromiter((row.value for row in rows), np.float64, count)),
    )

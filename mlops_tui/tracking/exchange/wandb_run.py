"""What one run file of W&B's says: facts about the run, and its points."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlops_tui.tracking.exchange import wandb_log as log
from mlops_tui.tracking.exchange.source import Points, joined

HISTORY, SUMMARY, CONFIG, STATS, RUN, EXIT, ENVIRONMENT = 2, 3, 5, 7, 17, 18, 26
"""Fields of a record, one of which is set: what the record tells of."""
_DOUBLE = 6
_INTEGER = 5
_JSON = 16
SYSTEM = "system/"


@dataclass
class Told:
    """Facts of a run, as its file tells them; times in µs. ``exit`` is None while no end was written."""

    id: str = ""
    project: str = ""
    entity: str = ""
    name: str = ""
    notes: str = ""
    group: str = ""
    job_type: str = ""
    sweep: str = ""
    host: str = ""
    user: str = ""
    program: str = ""
    commit: str = ""
    started: int = 0
    ended: int = 0
    exit: int | None = None
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def facts(path: Path) -> Told:
    """Read what a file says of its run; its points are passed over."""
    told = Told()
    for kind, body in _records(path, {RUN, CONFIG, SUMMARY, EXIT, ENVIRONMENT}):
        if kind == RUN:
            _run(told, body)
        elif kind == ENVIRONMENT:
            _environment(told, body)
        elif kind == EXIT:
            told.exit = log.whole(body, 1)
        else:
            _change(told.config if kind == CONFIG else told.summary, body)
    told.ended = int(float(told.summary.get("_timestamp") or 0) * 1e6)
    return told


def points(paths: Iterable[Path]) -> Points:
    """Read every point of a run's files: what was logged, what the summary alone has, and the machine's samples."""
    steps: dict[str, list[int]] = defaultdict(list)
    times: dict[str, list[int]] = defaultdict(list)
    values: dict[str, list[float]] = defaultdict(list)

    def add(name: str, step: int, ts: int, value: float) -> None:
        steps[name].append(step)
        times[name].append(ts)
        values[name].append(value)

    summary: dict[str, Any] = {}
    last = (0, 0)
    for path in paths:
        samples = 0
        for kind, body in _records(path, {HISTORY, SUMMARY, STATS}):
            if kind == SUMMARY:
                _change(summary, body)
            elif kind == STATS:
                ts = _time(log.one(body, 2))
                for name, value in numbers(_items(log.many(body, 3))).items():
                    add(SYSTEM + name, samples, ts, value)
                samples += 1
            else:
                row = _items(log.many(body, 1))
                step = int(row.pop("_step", log.whole(log.one(body, 2), 1)))
                ts = int(float(row.pop("_timestamp", 0)) * 1e6)
                row.pop("_runtime", None)
                last = max(last, (step, ts))
                for name, value in numbers(row).items():
                    add(name, step, ts, value)
    for name, value in numbers(summary).items():
        if name not in steps and not name.startswith("_"):
            add(name, *last, value)
    return joined(
        (name, np.array(steps[name], np.int64), np.array(times[name], np.int64), np.array(values[name], np.float64))
        for name in steps
    )


def numbers(row: dict[str, Any]) -> dict[str, float]:
    """Return what can be drawn as a curve, nested names joined by dots; media and texts are none."""
    return {
        name: float(value)
        for name, value in flat(row)
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested dictionaries with their dotted names; what has a type of W&B's is passed over."""
    for name, value in tree.items():
        if not isinstance(value, dict):
            yield prefix + name, value
        elif "_type" not in value:
            yield from flat(value, f"{prefix}{name}.")


def _records(path: Path, wanted: set[int]) -> Iterator[tuple[int, bytes]]:
    """Yield kind and body of the records of some kinds."""
    for record in log.records(path):
        for found in log.fields(record):
            if found.number in wanted and isinstance(found.value, bytes):
                yield found.number, found.value


def _run(told: Told, body: bytes) -> None:
    """Take a run's own record; it may come again with less in it."""
    texts = {
        "id": 1,
        "entity": 2,
        "project": 3,
        "group": 6,
        "job_type": 7,
        "name": 8,
        "notes": 9,
        "sweep": 12,
        "host": 13,
    }
    for name, number in texts.items():
        setattr(told, name, log.text(body, number) or getattr(told, name))
    told.tags = [tag.decode(errors="replace") for tag in log.many(body, 10)] or told.tags
    told.started = told.started or _time(log.one(body, 17))
    told.commit = log.text(log.one(body, 21), 2) or told.commit
    _change(told.config, log.one(body, 4))
    _change(told.summary, log.one(body, 5))


def _environment(told: Told, body: bytes) -> None:
    """Take what is said of the machine and the program; it comes in several records."""
    arguments = [one.decode(errors="replace") for one in log.many(body, 5)]
    told.program = " ".join([log.text(body, 6), *arguments]).strip() or told.program
    told.user = log.text(body, 13) or told.user
    told.host = log.text(body, 12) or told.host
    told.commit = log.text(log.one(body, 9), 2) or told.commit
    said = {"os": log.text(body, 1), "python": log.text(body, 2), "executable": log.text(body, 14)}
    told.environment |= {key: text for key, text in said.items() if text}


def _change(tree: dict[str, Any], body: bytes) -> None:
    """Bring a dictionary up to date with what a record sets and removes."""
    for item in log.many(body, 1):
        _set(tree, *_item(item))
    for item in log.many(body, 2):
        names, _ = _item(item)
        for name in names[:-1]:
            inner = tree.get(name)
            tree = inner if isinstance(inner, dict) else {}
        tree.pop(names[-1], None)


def _items(some: Iterable[bytes]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for item in some:
        _set(tree, *_item(item))
    return tree


def _set(tree: dict[str, Any], names: list[str], value: Any) -> None:
    for name in names[:-1]:
        inner = tree.get(name)
        tree[name] = inner if isinstance(inner, dict) else {}
        tree = tree[name]
    tree[names[-1]] = value


def _item(body: bytes) -> tuple[list[str], Any]:
    """Return the names that lead to a value, and the value: as JSON, or in newer files with a type of its own."""
    names: list[str] = []
    key = ""
    value: Any = None
    for number, found in log.fields(body):
        if isinstance(found, int):
            value = log.zigzag(found) if number == _INTEGER else value
        elif number == 1:
            key = found.decode(errors="replace")
        elif number == 2:
            names.append(found.decode(errors="replace"))
        elif number == _DOUBLE:
            value = float(np.frombuffer(found, dtype="<f8")[0])
        elif number == _JSON:
            value = _json(found)
    return names or [key], value


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")


def _time(body: bytes) -> int:
    """Return a timestamp message in µs."""
    return log.whole(body, 1) * 1_000_000 + log.whole(body, 2) // 1000

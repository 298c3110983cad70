"""What was written, read from the kept spool files by this module's own means, and what the store made of it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlops_tui.serving.record.segments import SHADOW, SegmentName, read_segment

Row = tuple[str, str, int]
"""Deployment, request id, row."""


@dataclass
class Facts:
    """Each a multiset: points (run, name, step, µs, value), labels, log lines, predictions."""

    points: Counter = field(default_factory=Counter)
    labels: Counter = field(default_factory=Counter)
    lines: Counter = field(default_factory=Counter)
    predictions: Counter = field(default_factory=Counter)
    writers: dict[Row, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Which server processes logged a row; known of what was written only."""


def written(folder: Path) -> Facts:
    """Read every kept file to its last whole record."""
    facts = Facts()
    for path in sorted(folder.glob("*/*.jsonl")):
        for line in path.read_bytes().split(b"\n")[:-1]:  # what follows the last newline was never whole
            _take(facts, path.parent.name, json.loads(line))
    for path in sorted(folder.glob("*/*.seg")):
        _take_segment(facts, path)
    return facts


def _take(facts: Facts, owner: str, record: dict) -> None:
    if record["e"] == "m":
        for name, value in {**record.get("m", {}), **record.get("x", {})}.items():
            facts.points[owner, name, record["s"], record["t"], repr(float(value))] += 1
    elif record["e"] == "label":
        facts.labels[owner, record["id"], record["row"], record["y"]] += 1
    elif record["e"] == "log":
        facts.lines[owner, record["t"], record.get("o", "out"), record["l"]] += 1


def _take_segment(facts: Facts, path: Path) -> None:
    pid, offset = SegmentName.parse(path.name).pid, 0
    while True:
        batch = read_segment(path, offset)
        assert not batch.corrupt, (path, batch.corrupt)
        for at, row in zip(batch.record.tolist(), batch.row.tolist(), strict=True):
            key = (path.parent.name, batch.request_id[at], row)
            seen = (int(batch.ts_us[at]), int(batch.revision_no[at]), int(batch.status[at]))
            facts.predictions[(*key, *seen, bool(batch.flags[at] & SHADOW))] += 1
            if not batch.flags[at] & SHADOW:
                facts.writers[key].append(pid)
        for at in np.flatnonzero(batch.n_rows == 0).tolist():
            seen = (int(batch.ts_us[at]), int(batch.revision_no[at]), int(batch.status[at]))
            facts.predictions[(path.parent.name, batch.request_id[at], 0, *seen, bool(batch.flags[at] & SHADOW))] += 1
        if batch.next_offset == offset:
            return
        offset = batch.next_offset


def stored(session) -> Facts:
    """Read the same from the store."""
    facts = Facts()
    points = session.rows(
        """SELECT s.owner, s.key, p.step, epoch_us(p.ts), p.value FROM point p JOIN series s USING (sid)
           WHERE s.scope = 'run'"""
    )
    facts.points = Counter((*one, repr(value)) for *one, value in points)
    facts.labels = Counter(session.rows('SELECT deployment_id, request_id, "row", truth FROM label'))
    facts.lines = Counter(session.rows("SELECT owner, epoch_us(ts), stream, text FROM log_line"))
    facts.predictions = Counter(
        session.rows(
            'SELECT deployment_id, request_id, "row", epoch_us(ts), revision_no, status, shadow FROM inference'
        )
    )
    return facts


def difference(wrote: Counter, has: Counter) -> str:
    """Return what is lost and what was counted twice or made up, some of each; empty when nothing is."""
    parts = (("lost", wrote - has), ("too many", has - wrote))
    return "; ".join(f"{sum(part.values())} {what}, as {list(part)[:3]}" for what, part in parts if part)

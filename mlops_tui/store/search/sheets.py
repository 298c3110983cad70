"""All that many objects have in a narrow table, for a page that shows them: from hot sheets where they are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mlops_tui.store.search.hot import FIELD, ROW
from mlops_tui.store.session import Session

Pairs = dict[str, list[tuple[str, str]]]


def prepare(session: Session) -> None:
    """Make ready what this transaction will show; before it searches, for it would not see what is made later."""
    if session.hot:
        session.hot.prepare(session)


class Latest(NamedTuple):
    """A metric's last value with its step and time (µs), and how many points it has."""

    key: str
    last: float | None
    step: int
    ts: int
    n: int


def params_of(session: Session, runs: Sequence[str]) -> Pairs:
    """Return the parameters of runs by run, each run's by key."""
    return _of(session, "param", "SELECT run, key, value FROM param WHERE run IN (SELECT unnest(?))", runs, tuple)


def tags_of(session: Session, objects: Sequence[str]) -> Pairs:
    """Return the tags of objects by object, each object's by key."""
    return _of(session, "tag", "SELECT object, key, value FROM tag WHERE object IN (SELECT unnest(?))", objects, tuple)


def metrics_of(session: Session, runs: Sequence[str]) -> dict[str, list[Latest]]:
    """Return the last values of the metrics of runs by run, each run's by key."""
    sql = """SELECT owner, key, last, last_step, epoch_us(last_ts), n FROM series
             WHERE scope = 'run' AND owner IN (SELECT unnest(?))"""
    return _of(session, "series", sql, runs, _latest)


def _latest(row: Sequence[Any]) -> Latest:
    key, last, step, ts, n = row
    return Latest(key, None if last is None or last == "" else float(last), int(step), int(ts), int(n))


def _of(
    session: Session, table: str, sql: str, objects: Sequence[str], made: Callable[[Sequence[Any]], Any]
) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {one: [] for one in objects}
    sheets = session.hot.sheets(session, table, objects) if session.hot else None
    rest = list(objects) if sheets is None else [one for one, sheet in sheets.items() if sheet is None]
    for one, sheet in (sheets or {}).items():
        if sheet is not None:
            found[one] = [made(row.split(FIELD)) for row in sheet.split(ROW)]
    if rest:
        for row in session.rows(sql, [rest]):
            found[row[0]].append(made(row[1:]))
    for rows in found.values():
        rows.sort(key=lambda row: row[0])
    return found

"""All that many objects have in a narrow table, for a page that shows them: from hot sheets where they are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mlops_tui.store.session import Session

Pairs = dict[str, list[tuple[str, str]]]


class Latest(msgspec.Struct, array_like=True, gc=False):
    """A metric's last value with its step and time (µs), and how many points it has."""

    key: str
    last: float | None
    step: int
    ts: int
    n: int


class Facts(msgspec.Struct, array_like=True, gc=False):
    """What a run's own row says: ``experiment`` by its id, times in µs."""

    name: str
    status: str
    actor: str
    host: str
    git: str
    note: str
    experiment: str
    started: int
    ended: int | None
    deleted: int | None


_FACTS = msgspec.json.Decoder(list[Facts])
_PAIRS = msgspec.json.Decoder(list[tuple[str, str]])
_LATEST = msgspec.json.Decoder(list[Latest], strict=False)


def prepare(session: Session) -> None:
    """Make ready what this transaction will show; before it searches, for it would not see what is made later."""
    if session.hot:
        session.hot.prepare()


def params_of(session: Session, runs: Sequence[str]) -> Pairs:
    """Return the parameters of runs by run, each run's by key."""
    sql = "SELECT run, key, value FROM param WHERE run IN (SELECT unnest(?))"
    return {run: sorted(found) for run, found in _of(session, "param", runs, _PAIRS, sql, _pair).items()}


def tags_of(session: Session, objects: Sequence[str]) -> Pairs:
    """Return the tags of objects by object, each object's by key."""
    sql = "SELECT object, key, value FROM tag WHERE object IN (SELECT unnest(?))"
    return {one: sorted(found) for one, found in _of(session, "tag", objects, _PAIRS, sql, _pair).items()}


def metrics_of(session: Session, runs: Sequence[str]) -> dict[str, list[Latest]]:
    """Return the last values of the metrics of runs by run, each run's by key."""
    sql = """SELECT owner, key, last, last_step, epoch_us(last_ts), n FROM series
             WHERE scope = 'run' AND owner IN (SELECT unnest(?))"""
    found = _of(session, "series", runs, _LATEST, sql, Latest)
    return {run: sorted(mine, key=lambda one: one.key) for run, mine in found.items()}


def facts_of(session: Session, runs: Sequence[str]) -> dict[str, Facts]:
    """Return what is said of runs by run; one that is not there is left out."""
    sql = """SELECT id, name, status, actor, host, git_sha, note, experiment_id, epoch_us(started), epoch_us(ended),
                    epoch_us(deleted) FROM run WHERE id IN (SELECT unnest(?))"""
    return {run: found[0] for run, found in _of(session, "run", runs, _FACTS, sql, Facts).items() if found}


def _pair(key: str, value: str) -> tuple[str, str]:
    return key, value


def _of(
    session: Session,
    table: str,
    objects: Sequence[str],
    sheet: msgspec.json.Decoder[list[Any]],
    sql: str,
    row: Callable[..., Any],
) -> dict[str, list[Any]]:
    sheets = session.hot.sheets(session, table, objects) if session.hot else None
    if sheets is not None:
        return {one: sheet.decode(sheets[one]) if one in sheets else [] for one in objects}
    found: dict[str, list[Any]] = {one: [] for one in objects}
    for owner, *fields in session.rows(sql, [list(objects)]):
        found[owner].append(row(*fields))
    return found

"""Sweeping up what belonged to runs that are gone, a piece a call, so that ingestion hardly waits.

A table is gone through from its end to its beginning: what a checkpoint moves up then lies where the sweep has yet to
come. Whoever is killed begins anew, and comes past what is swept quickly. The series go last, and with them what says
which points are theirs.
"""

from __future__ import annotations

from mlops_tui.contracts import gc as contract
from mlops_tui.core.errors import BadInput
from mlops_tui.door import Context, act, implements
from mlops_tui.store.session import Session

PIECE = 2 * 122_880
"""Rows that are looked at in one transaction: two of the groups that the database writes anew as a whole."""
SERIES_PIECE = 20_000
FOLD_BYTES = 500_000
_FACTS = {
    "point": "sid IN (SELECT sid FROM series WHERE scope = 'gone')",
    "log_line": "owner IN (SELECT owner FROM doomed)",
    "param": "run IN (SELECT owner FROM doomed)",
    "tag": "object IN (SELECT owner FROM doomed)",
}
"""Large tables, and which of their rows belong to nobody any more."""
_TABLES = [*_FACTS, "series"]


@implements(contract.sweep)
def sweep(ctx: Context, request: contract.Sweep) -> contract.Swept:
    """Remove one piece. The one before is folded into the file first: many together would take as long as they do."""
    table = request.table or _TABLES[0]
    if table not in _TABLES:
        raise BadInput(f"{table!r:.40} is not swept", "", f"one of: {', '.join(_TABLES)}")
    if ctx.house.store.wal_bytes > FOLD_BYTES:
        ctx.house.store.checkpoint().exception()  # a reader of before may hinder it: then the next piece tries again
    if table == "series":
        return _series(ctx)
    sizes = {name: _end(ctx.session, name) for name in _FACTS}
    high = sizes[table] if request.below < 0 else min(request.below, sizes[table])
    low, removed = max(0, high - PIECE), 0
    if high and ctx.session.row(f"SELECT 1 FROM {table} WHERE {_between(table)} LIMIT 1", [low, high]):
        removed = act(ctx.house, ctx.caller, lambda ctx: _remove(ctx.session, table, low, high))
    done = sum(sizes[name] for name in _TABLES[: _TABLES.index(table)]) + sizes[table] - low
    following = table if low else _TABLES[_TABLES.index(table) + 1]
    share = done / max(1, sum(sizes.values()))
    return contract.Swept(removed=removed, what=table, table=following, below=low or -1, share=share)


def _between(table: str) -> str:
    return f"rowid >= ? AND rowid < ? AND {_FACTS[table]}"


def _remove(session: Session, table: str, low: int, high: int) -> int:
    # Hot tables keep such rows until they are made anew: nobody is there any more who could be found by them.
    return int(session.value(f"DELETE FROM {table} WHERE {_between(table)}", [low, high]))


def _end(session: Session, table: str) -> int:
    """Return the number after that of the last row."""
    return 1 + int(session.value(f"SELECT coalesce(max(rowid), -1) FROM {table}"))


def _series(ctx: Context) -> contract.Swept:
    def remove(ctx: Context) -> int:
        gone = ctx.session.column(f"SELECT sid FROM series WHERE scope = 'gone' LIMIT {SERIES_PIECE}")
        if gone:
            ctx.session.change("series", [], "DELETE FROM series WHERE sid IN (SELECT unnest(?::INTEGER[]))", [gone])
        else:
            ctx.session.execute("DELETE FROM doomed")
        return len(gone)

    removed = act(ctx.house, ctx.caller, remove)
    return contract.Swept(removed=removed, what="series", table="series" if removed else "", below=-1, share=1.0)

"""Numbered migrations: each is one transaction, then a checkpoint; a store newer than the program is refused.

A new store gets them all in one transaction: it is made three times as quickly, and there whole or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from mlops_tui.core.errors import MlopsError, StoreTooNew

if TYPE_CHECKING:
    import duckdb


class Migration(NamedTuple):
    """One step: its number, file name and SQL."""

    no: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def shipped() -> list[Migration]:
    """Return the migrations of this program in order."""
    folder = files("mlops_tui.store") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    steps = [Migration(int(name[:4]), name, (folder / name).read_text()) for name in names]
    assert len({step.no for step in steps}) == len(steps), f"a number stands twice: {names}"
    return steps


def migrate(connection: duckdb.DuckDBPyConnection, before: Callable[[], None] = lambda: None) -> int:
    """Bring the store to this program's schema and return its number.

    Args:
        connection: the open store.
        before: called once before an existing store is changed (it makes the backup).

    Raises:
        StoreTooNew: the store was written by a newer program.
        MlopsError: a migration was edited after it had been applied, or failed (nothing of it remains).
    """
    steps = shipped()
    connection.execute(
        """CREATE TABLE IF NOT EXISTS migration
           (no INTEGER NOT NULL, name VARCHAR NOT NULL, digest VARCHAR NOT NULL, applied TIMESTAMP NOT NULL)"""
    )
    done = dict(connection.execute("SELECT no, digest FROM migration").fetchall())
    if done and max(done) > steps[-1].no:
        raise StoreTooNew(
            f"the store is at schema {max(done)}, this program knows {steps[-1].no}",
            "a newer mlops_tui has opened it",
            "upgrade mlops_tui, or set MLOPS_HOME to another store",
        )
    pending = [step for step in steps if step.no not in done]
    if edited := [step for step in steps if step.no in done and done[step.no] != step.digest]:
        raise MlopsError(
            f"migration {edited[0].name} differs from the one that made this store",
            "the program was changed",
            "reinstall mlops_tui",
        )
    if done and pending:
        before()
    for together in [[step] for step in pending] if done else [pending]:
        _apply(connection, together)
    return steps[-1].no


def _apply(connection: duckdb.DuckDBPyConnection, steps: Sequence[Migration]) -> None:
    connection.execute("BEGIN")
    for step in steps:
        try:
            connection.execute(step.sql)
            connection.execute(
                "INSERT INTO migration VALUES (?, ?, ?, now()::TIMESTAMP)", [step.no, step.name, step.digest]
            )
            if step is steps[-1]:
                connection.execute("COMMIT")
        except Exception as error:
            connection.execute("ROLLBACK")
            raise MlopsError(
                f"migration {step.name} failed", str(error).splitlines()[0], "the store is as it was before"
            ) from error
    connection.execute("CHECKPOINT")

"""Reading what a program printed, as it was taken in from the spool."""

from __future__ import annotations

from typing import Any

from mlops_tui.contracts.job import JobLogRequest
from mlops_tui.contracts.run import LogLines, LogRequest
from mlops_tui.core.errors import BadInput
from mlops_tui.store.session import Session


def read_log(session: Session, owner: str, wanted: LogRequest | JobLogRequest) -> LogLines:
    """Return the last lines of an owner's log, or those after a sequence number; of a pattern, those that match.

    Raises:
        BadInput: the pattern is no regular expression.
    """
    which, params = "owner = ?", [owner]
    if wanted.grep:
        which += " AND regexp_matches(text, ?, ?)"
        params += [_checked(session, wanted.grep), "c" if wanted.grep != wanted.grep.lower() else "i"]
    if wanted.after:
        rows = _rows(session, f"{which} AND seq > ? ORDER BY seq", [*params, wanted.after, wanted.lines])
    else:
        rows = _rows(session, f"{which} ORDER BY seq DESC", [*params, wanted.lines])[::-1]
    last = rows[-1][0] if rows else wanted.after
    if wanted.grep:  # what was looked through need not be looked through again
        newest = session.value("SELECT max(seq) FROM log_line WHERE owner = ?", [owner]) or 0
        last = newest if len(rows) < wanted.lines or not wanted.after else last
    return LogLines(lines=[text for _, text in rows], last=last)


def _rows(session: Session, which: str, params: list[Any]) -> list[tuple[int, str]]:
    return session.rows(f"SELECT seq, text FROM log_line WHERE {which} LIMIT ?", params)


def _checked(session: Session, pattern: str) -> str:
    try:
        session.value("SELECT regexp_matches('', ?)", [pattern])
    except Exception as error:
        if type(error).__name__ != "InvalidInputException":
            raise
        why = str(error).partition(":")[2].strip().splitlines()[0]
        raise BadInput(
            f"{pattern!r:.80} is no regular expression", why, "write \\\\ before signs that are meant as they stand"
        ) from error
    return pattern

"""Finding a run by what people call it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mlops_tui.core.errors import NotFound
from mlops_tui.core.ids import dashed
from mlops_tui.door.lookup import by_name_or_id
from mlops_tui.store.session import Session

_DIGITS = re.compile(r"[0-9a-f]{9,32}")
_ROW = """
SELECT r.* REPLACE (epoch_us(r.started) AS started, epoch_us(r.ended) AS ended, epoch_us(r.heartbeat) AS heartbeat,
                    epoch_us(r.resumed) AS resumed, epoch_us(r.deleted) AS deleted), e.name AS experiment
FROM run r JOIN experiment e ON e.id = r.experiment_id WHERE r.id IN (SELECT unnest(?))
"""


def find_run(session: Session, tenant: str, typed: str) -> dict[str, Any]:
    """Return the row of the run that a person means, with its ``experiment``; times in µs.

    Args:
        session: where to look.
        tenant: whose runs.
        typed: name, id, or the beginning or end of an id, with or without dashes; ``run:`` before it is fine. A deleted
            run is found only when no other fits.

    Raises:
        NotFound: there is no such run.
        BadInput: an id fragment fits several.
    """
    typed = typed.strip().removeprefix("run:")
    typed = dashed(typed) if _DIGITS.fullmatch(typed) else typed
    try:
        found = by_name_or_id(session, "run", "run", typed, tenant, newest="started", where="deleted IS NULL")
    except NotFound:
        found = by_name_or_id(session, "run", "run", typed, tenant, newest="started")
    return row_of(session, found["id"]) or found


def row_of(session: Session, run: str) -> dict[str, Any] | None:
    """Return a run's row by its whole id, with its ``experiment``; times in µs."""
    return session.dict(_ROW, [[run]])


def find_runs(session: Session, tenant: str, typed: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of runs, each once, in the order in which they are named; whole ids are looked up at once.

    Raises:
        NotFound: there is no such run.
        BadInput: an id fragment fits several.
    """
    rows = session.dicts(_ROW, [list(typed)])
    whole = {row["id"]: row for row in rows if row["tenant"] == tenant}
    found = [whole.get(one) or find_run(session, tenant, one) for one in typed]
    return list({row["id"]: row for row in found}.values())


def elsewhere(session: Session, owner: str) -> bool:
    """Tell whether a spool folder belongs to a job or a deployment, so that what lies in it is no run's.

    A run's own row may come later: a forked child's file can be read before its parent's.
    """
    known = session.value("SELECT count(*) FROM job WHERE id = ?", [owner])
    return bool(known or session.value("SELECT count(*) FROM deployment WHERE id = ?", [owner]))

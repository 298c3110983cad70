"""Finding objects by what people call them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.store.session import Session

_COMMANDS = {"deployment": "deploy"}
"""Nouns whose command has another name."""


def by_name_or_id(
    session: Session, noun: str, table: str, typed: str, tenant: str, *, newest: str, where: str = "true"
) -> dict[str, Any]:
    """Return the row that a person means: whole id, unique beginning or end of it, or name (the newest of that name).

    Args:
        session: where to look.
        noun: what to call it in an error.
        table: its table; has id, tenant and, unless it has no name, name.
        typed: what was typed.
        tenant: whose objects.
        newest: the timestamp column that decides between equal names.
        where: a condition that always holds.

    Raises:
        NotFound: nothing fits.
        BadInput: an id fragment fits several.
    """
    scope = f"tenant = ? AND ({where})"
    fragment = typed.lower().removeprefix("r-").removeprefix("j-")
    if found := session.dict(f"SELECT * FROM {table} WHERE {scope} AND id = ?", [tenant, typed]):
        return found
    if found := session.dict(
        f"SELECT * FROM {table} WHERE {scope} AND name = ? ORDER BY {newest} DESC LIMIT 1", [tenant, typed]
    ):
        return found
    if len(fragment) >= 4:
        fits = session.dicts(
            f"SELECT * FROM {table} WHERE {scope} AND (starts_with(id, ?) OR ends_with(id, ?)) LIMIT 3",
            [tenant, fragment, fragment],
        )
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise BadInput(f"{typed!r} fits several: {_some(fits)}", "", "type more of the id")
    command = _COMMANDS.get(noun, noun)
    raise NotFound(f"there is no {noun} {typed!r}", "", f"mlops {command} list shows them")


def _some(rows: Sequence[dict[str, Any]]) -> str:
    return ", ".join(str(row["id"]) for row in rows)

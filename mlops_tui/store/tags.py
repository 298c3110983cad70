"""Tags of any object: a text by key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mlops_tui.contracts.operation import Change
from mlops_tui.store.session import Session


def tags_of(session: Session, object: str) -> dict[str, str]:
    """Return an object's tags by key."""
    return tags_by(session, [object])[object]


def tags_by(session: Session, objects: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the tags of each object by its id."""
    found: dict[str, dict[str, str]] = {one: {} for one in objects}
    rows = session.rows(
        "SELECT object, key, value FROM tag WHERE object IN (SELECT unnest(?)) ORDER BY key", [list(objects)]
    )
    for owner, key, value in rows:
        found[owner][key] = value
    return found


def tag_changes(
    session: Session, object: str, link: str, given: Mapping[str, str], gone: Iterable[str]
) -> list[Change]:
    """Return what setting and removing tags would change.

    Args:
        session: where to look.
        object: id of the object.
        link: what the plan calls it.
        given: tags to set.
        gone: keys of tags to remove.
    """
    now = tags_of(session, object)
    sets = [Change(object=link, field=key, before=now.get(key), after=value) for key, value in given.items()]
    return sets + [Change(object=link, field=key, before=now[key]) for key in gone if key in now]


def change_tags(session: Session, object: str, given: Mapping[str, str], gone: Iterable[str], ts: int) -> None:
    """Set and remove tags of an object; ``ts`` in µs."""
    keys = [*given, *gone]
    if not keys:
        return
    gone_now = "DELETE FROM tag WHERE object = ? AND key IN (SELECT unnest(?))"
    session.change("tag", [object], gone_now, [object, keys])
    add_tags(session, object, given, ts)


def add_tags(session: Session, object: str, given: Mapping[str, str], ts: int) -> None:
    """Set tags of an object that has none of these keys; ``ts`` in µs."""
    session.insert_columns(
        "tag",
        {
            "object": [object] * len(given),
            "key": list(given),
            "value": list(given.values()),
            "ts_us": [ts] * len(given),
        },
    )

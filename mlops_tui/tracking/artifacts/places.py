"""Where files lie: each belongs to a run, a logged model, a model version, or to none of them.

An address is what MLflow's clients know: ``mlflow-artifacts:/<experiment>/<run>/artifacts/<path>``. What counts in
it is the owner before ``/artifacts``; what stands before it is only a folder's name.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mlops_tui.contracts.artifact import ROOT
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.spool.text import logical_path
from mlops_tui.store.session import Session
from mlops_tui.tracking.runs.find import find_run

_HEX = re.compile(r"[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f-]{36}")
_OWNERS = {
    "run": "SELECT id FROM run WHERE id = ? AND tenant = ?",
    "logged": "SELECT id FROM logged_model WHERE id = ? AND tenant = ?",
    "version": "SELECT v.id FROM model_version v JOIN model m ON m.id = v.model_id WHERE v.id = ? AND m.tenant = ?",
}
"""Who may own files."""
_TOPS = {
    "run": """SELECT e.place, e.number, replace(r.id, '-', '')
              FROM run r JOIN experiment e ON e.id = r.experiment_id WHERE r.id = ?""",
    "logged": """SELECT e.place, e.number, 'models/' || l.id
                 FROM logged_model l JOIN experiment e ON e.id = l.experiment_id WHERE l.id = ?""",
    "version": "SELECT '', 'versions', id FROM model_version WHERE id = ?",
}
"""The folder of an owner: the place of its experiment or, on this server, a name; and its own name in it."""


class Place(NamedTuple):
    """A path of an owner; ``kind`` is run, logged, version or files."""

    kind: str
    owner: str
    path: str


def find_place(session: Session, tenant: str, of: str, path: str) -> Place:
    """Return the place that is meant; whether anything lies there is another question.

    Args:
        session: where to look.
        tenant: whose files.
        of: a run as :func:`find_run` takes it, the id of a logged model or of a version, ``employment@7``,
            ``employment@champion``, or an address.
        path: below it, perhaps empty.

    Raises:
        BadInput: the path leads out of its owner, or cannot be written.
        NotFound: there is no such owner.
    """
    if of.startswith(ROOT):
        return _at(session, tenant, safe("/".join(part for part in (of.removeprefix(ROOT), path) if part)))
    if (owner := _owner(session, tenant, of) or _version(session, tenant, of)) is None:
        owner = _owner(session, tenant, find_run(session, tenant, of)["id"])
    assert owner is not None
    return owner._replace(path=safe(path))


def address_of(session: Session, tenant: str, owner: str) -> str:
    """Return the address of an owner's top.

    Raises:
        NotFound: there is no such owner.
    """
    if (found := _owner(session, tenant, owner)) is None:
        raise NotFound(f"nothing that keeps files is called {owner!r:.80}")
    return top_of(session, found)


def top_of(session: Session, at: Place) -> str:
    """Return the address of the top of a place's owner."""
    if at.kind == "files":
        return ROOT
    place, number, name = session.row(_TOPS[at.kind], [at.owner]) or ("", "", "")
    return below(place or f"{ROOT}{number}", f"{name}/artifacts")


def below(place: str, tail: str) -> str:
    """Return an address with more of a path; what follows a ``?`` in it stays at its end."""
    path, mark, query = place.partition("?")
    return f"{path.rstrip('/')}/{tail}{mark}{query}"


def safe(path: str) -> str:
    """Return a path inside a folder, without what means nothing in it.

    Raises:
        BadInput: it is absolute, leads out with ``..``, or has characters that a name cannot have.
    """
    if {*path.split("/")} <= {"", "."}:
        if path.startswith("/"):
            raise _leaves(path)
        return ""
    found = logical_path(path)
    if found is None:
        raise _leaves(path)
    return found


def _at(session: Session, tenant: str, path: str) -> Place:
    parts = path.split("/")
    for at in range(1, len(parts)):
        if parts[at] == "artifacts" and (owner := _owner(session, tenant, parts[at - 1])):
            return owner._replace(path="/".join(parts[at + 1 :]))
    return Place("files", f"files:{tenant}", path)


def _owner(session: Session, tenant: str, name: str) -> Place | None:
    if _HEX.fullmatch(name):
        name = f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}"
    for kind in ("logged",) if name.startswith("m-") else ("run", "version") if _UUID.fullmatch(name) else ():
        if found := session.value(_OWNERS[kind], [name, tenant]):
            return Place(kind, found, "")
    return None


def _version(session: Session, tenant: str, name: str) -> Place | None:
    """Return the place of a version by its model's name, and its number or an alias."""
    model, at, wanted = name.removeprefix("model:").partition("@")
    found = at and session.value(
        """SELECT v.id FROM model_version v JOIN model m ON m.id = v.model_id
           LEFT JOIN alias a ON a.version_id = v.id AND a.alias = $wanted
           WHERE m.tenant = $tenant AND m.name = $model AND m.deleted IS NULL AND v.deleted IS NULL
             AND (a.alias IS NOT NULL OR v.version = try_cast($wanted AS INTEGER))""",
        {"tenant": tenant, "model": model, "wanted": wanted},
    )
    return _owner(session, tenant, found) if found else None


def _leaves(path: str) -> BadInput:
    return BadInput(
        f"{path!r:.200} is no path of an artifact",
        "it is absolute, leads out with '..', or has characters that a name cannot have",
        "give a path such as plots/roc.png",
    )

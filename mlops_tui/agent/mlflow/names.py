"""Names, lengths and ids as MLflow's clients use them. Ids of runs are 32 hex digits on the wire, with dashes here."""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache

from mlops_tui.agent.mlflow.coding import wrong_type
from mlops_tui.agent.mlflow.errors import WireError, invalid, missing
from mlops_tui.core.ids import dashed

MAX_KEY, MAX_PARAM, MAX_TAG, MAX_EXPERIMENT_TAG, MAX_EXPERIMENT = 250, 6000, 8000, 20_000, 500
_ID = re.compile(r"[0-9a-f]{32}")
_STORED_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = re.compile(r"[/\w.\- :]*")


def stored_id(run: str) -> str:
    """Return a run's id as the store writes it.

    Raises:
        WireError: no run can have this id.
    """
    if not _ID.fullmatch(run):
        raise missing(f"Run with id={run:.100} not found")
    return dashed(run)


def as_stored(run: str) -> str:
    """Return an id as the store writes it; a name that no run of ours can have stays as it is."""
    return stored_id(run) if _ID.fullmatch(run) else run


def as_sent(run: str) -> str:
    """Return an id as the wire writes it; a name that no run of ours can have stays as it is."""
    return wire_id(run) if _STORED_ID.fullmatch(run) else run


def wire_id(run: str) -> str:
    """Return a run's id as the wire writes it."""
    return run.replace("-", "")


@lru_cache(maxsize=16_384)
def _fault(name: str) -> str:
    """Return what is wrong with the name of a metric, parameter or tag; empty when it can be used."""
    if not _NAME.fullmatch(name):
        return (
            "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and"
            " slashes (/)."
        )
    plain = posixpath.normpath(name)
    if plain != name or plain == "." or plain.startswith(("..", "/")):
        return f"a name is used like a path, and this one would mean {plain!r}"
    return ""


def check_name(name: str, path: str, what: str = "") -> str:
    """Return the name of a metric, parameter or tag when it can be used.

    Args:
        name: the name.
        path: of the parameter, for the message.
        what: what to call it when it is too long; default, the path.

    Raises:
        WireError: it has other characters, means another path, or is too long.
    """
    if fault := _fault(name):
        error = wrong_type("", name)
        raise WireError(
            error.code, error.message.partition("for parameter")[0] + f"for parameter '{path}' supplied: {fault}"
        )
    if len(name) > MAX_KEY:
        raise too_long(what or path, MAX_KEY)
    return name


def too_long(what: str, limit: int) -> WireError:
    """Return the error for a text of more characters than it may have."""
    return invalid(f"'{what}' exceeds the maximum length of {limit} characters")

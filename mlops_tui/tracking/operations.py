"""The tracking room: its parts register themselves on import."""

from __future__ import annotations

from mlops_tui.tracking import experiments
from mlops_tui.tracking.analysis import figures, groups, importance
from mlops_tui.tracking.artifacts import files
from mlops_tui.tracking.artifacts import spooled as spooled_artifacts
from mlops_tui.tracking.exchange import give, take, take_logged
from mlops_tui.tracking.exchange import operations as exchange
from mlops_tui.tracking.life import lost, made, plain, spooled
from mlops_tui.tracking.logged import listing as logged_list
from mlops_tui.tracking.logged import models as logged
from mlops_tui.tracking.removal import purge, sweep
from mlops_tui.tracking.runs import change, contents, read
from mlops_tui.tracking.search import found, lists

__all__ = [
    "change",
    "contents",
    "exchange",
    "experiments",
    "figures",
    "files",
    "found",
    "give",
    "groups",
    "importance",
    "lists",
    "logged",
    "logged_list",
    "lost",
    "made",
    "plain",
    "purge",
    "read",
    "spooled",
    "spooled_artifacts",
    "sweep",
    "take",
    "take_logged",
]

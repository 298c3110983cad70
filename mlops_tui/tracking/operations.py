"""The tracking room: its parts register themselves on import."""

from __future__ import annotations

from mlops_tui.tracking import (
    artifacts,
    change,
    contents,
    experiments,
    figures,
    files,
    found,
    groups,
    importance,
    life,
    lists,
    logged,
    logged_list,
    lost,
    made,
    plain,
    purge,
    read,
    sweep,
)
from mlops_tui.tracking.exchange import give, take, take_logged
from mlops_tui.tracking.exchange import operations as exchange

__all__ = [
    "artifacts",
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
    "life",
    "lists",
    "logged",
    "logged_list",
    "lost",
    "made",
    "plain",
    "purge",
    "read",
    "sweep",
    "take",
    "take_logged",
]

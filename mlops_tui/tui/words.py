"""States as symbol, word and colour: no state is told by its colour alone."""

from __future__ import annotations

import re

from mlops_tui.tui.text import Line, line

SYMBOLS = {"ok": "✔", "warn": "!", "fail": "✖", "busy": "↻", "unknown": "?", "dim": "·"}

_STATES: dict[str, str] = {
    "ok": (
        "ok done succeeded passed pass healthy ready serving active verified promoted resolved stable safe proven "
        "accepted allowed finished trusted built-in loaded whole better up info closed live b-better a-better"
    ),
    "warn": "warn warning held holding paused acknowledged silenced pending waiting proposed opened degraded medium",
    "fail": (
        "fail failed error open drift harm harmful rolledback rolled-back broken refused unhealthy lost killed denied "
        "critical page high worse down crashed dead invalid-split"
    ),
    "busy": (
        "busy running queued starting shifting baking provisioning gating shadowing promoting rollingback "
        "rolling-back stopping canary shadow preempted collecting continue needs-more-data draining"
    ),
    "dim": (
        "retired superseded removed stopped aborted inactive dismissed ended deleted none off skipped old idle "
        "no-difference"
    ),
}
_TOKEN = {word: token for token, words in _STATES.items() for word in words.split()}


def token(state: str) -> str:
    """Return the colour token of a state word; words that nobody knows are ``unknown``."""
    return _TOKEN.get(state.lower().replace("_", "-"), _TOKEN.get(state.lower().replace("_", ""), "unknown"))


def symbol(state: str) -> Line:
    """Return a state's symbol alone."""
    tone = token(state)
    return line((SYMBOLS[tone], tone))


def state(word: str | None) -> Line:
    """Return a state as symbol and word in its colour."""
    if not word:
        return line(("–", "faint"))
    tone = token(word)
    return line((f"{SYMBOLS[tone]} {spoken(word)}", tone))


def spoken(word: str) -> str:
    """Return a state as people say it: ``RolledBack`` and ``rolled_back`` are ``rolled back``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word).replace("_", " ").lower()

"""States as symbol, word and tone: screens and command line mean the same by them, and no state is its colour alone."""

from __future__ import annotations

import re

SYMBOLS = {"ok": "✔", "warn": "!", "fail": "✖", "busy": "↻", "unknown": "?", "dim": "·"}
"""The symbol of each tone."""

_STATES = {
    "ok": (
        "ok done succeeded passed pass healthy ready serving active verified promoted resolved stable safe proven "
        "accepted allowed finished trusted builtin loaded whole better up info closed live applied b-better a-better"
    ),
    "warn": (
        "warn warning hold held holding paused acknowledged silenced pending waiting proposed opened degraded medium "
        "changed untrusted"
    ),
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
_TONE = {word: tone for tone, words in _STATES.items() for word in words.split()}


def tone(state: str) -> str:
    """Return ``ok``, ``warn``, ``fail``, ``busy`` or ``dim``; for a word that nobody knows ``unknown``."""
    word = state.lower()
    return _TONE.get(word.replace("_", "-"), _TONE.get(word.replace("_", ""), "unknown"))


_SPOKEN = {"nodata": "no data", "builtin": "built in"}


def spoken(word: str) -> str:
    """Return a state as people say it: ``RolledBack`` and ``rolled_back`` are ``rolled back``."""
    return _SPOKEN.get(word) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word).replace("_", " ").lower()

"""Deep links: what is typed after ``:``, printed by a run at its start, and given to ``mlops open``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlops_tui.core.errors import BadInput
from mlops_tui.tui.keys import MODES

HOME_OF = {
    "experiment": "runs",
    "run": "runs",
    "compare": "runs",
    "analysis": "runs",
    "data": "data",
    "feature": "data",
    "model": "models",
    "version": "models",
    "logged": "models",
    "gate": "models",
    "lineage": "models",
    "deploy": "deploy",
    "rollout": "deploy",
    "toggle": "deploy",
    "token": "deploy",
    "drift": "drift",
    "monitor": "drift",
    "alert": "drift",
    "automation": "drift",
    "ab": "ab",
    "host": "hardware",
    "job": "hardware",
    "cost": "hardware",
    "audit": "govern",
    "event": "govern",
    "identity": "govern",
    "plugin": "govern",
    "approval": "govern",
}
"""The mode in which each noun lives."""

_ALIASES = {
    "deployment": "deploy",
    "dataset": "data",
    "hw": "hardware",
    "gov": "govern",
    "a/b": "ab",
    "machine": "host",
}


@dataclass(frozen=True)
class Link:
    """Where to go: a mode, and there an object of a noun, if any is named."""

    mode: str
    noun: str = ""
    name: str = ""
    rest: str = ""


def parse(text: str) -> Link:
    """Read a deep link: ``runs``, ``run:8f2c``, ``model:churn@champion``, ``drift fraud amount``.

    Raises:
        BadInput: its first word is neither a mode nor a noun.
    """
    head, *rests = re.split(r"[:\s]", text.strip(), maxsplit=1)
    tail = rests[0] if rests else ""
    word = _ALIASES.get(head.lower(), _ALIASES.get(head.lower().removesuffix("s"), head.lower()))
    name, _, rest = tail.strip().partition(" ")
    if word in MODES and not name:
        return Link(word)
    for noun in (word, word.removesuffix("s")):
        if noun in HOME_OF:
            return Link(HOME_OF[noun], noun, name, rest.strip())
    if word in MODES:
        # ``models churn`` means the model called churn.
        noun = next(noun for noun, mode in HOME_OF.items() if mode == word and noun not in ("experiment",))
        return Link(word, noun, name, rest.strip())
    raise BadInput(
        f"there is no place called {head!r}",
        "",
        "type a mode (" + ", ".join(MODES) + ") or an object: run:NAME, model:NAME@ALIAS, drift NAME FEATURE",
    )


def words() -> list[str]:
    """Return what a link can begin with, for completion."""
    return [*MODES, *(f"{noun}:" for noun in HOME_OF)]

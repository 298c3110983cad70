"""What the top line says: who, where, read-only or not, and how the line to the agent is."""

from __future__ import annotations

import getpass
from dataclasses import dataclass

from mlops_tui.core.config import Config


@dataclass(frozen=True)
class Status:
    """The state of the session, one immutable value; the bars repaint when it differs."""

    user: str
    environment: str = "local"
    readonly: bool = False
    contact: str = "connecting"
    age: str = ""
    paused: bool = False
    jobs: int = 0
    keymap: str = "default"

    @property
    def prod(self) -> bool:
        """Whether a change here touches production."""
        return self.environment == "prod"


def first(config: Config) -> Status:
    """Return what can be said before the agent has been asked."""
    return Status(
        user=str(config.get("user")) or _login(),
        environment=str(config.get("environment")),
        readonly=bool(config.get("readonly")),
        keymap=str(config.get("keymap")),
    )


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "?"

"""How a training script is started: by Python, or by a trainer that a plugin brings."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mlops_tui.core.errors import BadInput, MlopsError
from mlops_tui.plugins.hookspecs import Trainer, hook
from mlops_tui.plugins.loader import brought


class PythonTrainer:
    """Runs a Python script with this installation's Python, and any other program as it is."""

    name = "python"

    def command(self, script: str, args: Sequence[str]) -> list[str]:
        """Return the program and its arguments."""
        return [*([sys.executable] if script.endswith(".py") else []), script, *args]


@hook
def mlops_trainers() -> list[Trainer]:
    """Bring the built-in trainer."""
    return [PythonTrainer()]


def command(trainer: str, script: str, args: Sequence[str]) -> list[str]:
    """Return what a trainer makes of a script.

    Raises:
        BadInput: nobody brings such a trainer.
        MlopsError: it breaks, or returns no command.
    """
    known = brought("trainers")
    if trainer not in known:
        raise BadInput(f"there is no trainer {trainer!r}", "", "one of: " + ", ".join(known))
    try:
        made = known[trainer].command(script, list(args))
    except MlopsError:
        raise
    except Exception as error:
        raise MlopsError(
            f"the trainer {trainer} broke", f"{type(error).__name__}: {error}", "--trainer python"
        ) from error
    if not isinstance(made, list) or not made or not all(isinstance(word, str) for word in made):
        raise MlopsError(f"the trainer {trainer} returned no command", repr(made)[:200], "--trainer python")
    return made

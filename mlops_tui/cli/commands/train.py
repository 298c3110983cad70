"""``mlops train SCRIPT``: short for ``mlops job train SCRIPT``."""

from __future__ import annotations

from mlops_tui.cli.words.generate import command_for
from mlops_tui.contracts.job import train as operation

train = command_for(operation, "train")

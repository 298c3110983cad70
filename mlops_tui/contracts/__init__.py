"""The language of the door: every request, answer and operation, one file a noun."""

from __future__ import annotations

from mlops_tui.contracts import agent, data, deploy, experiment, govern, job, listing, model, monitor, run
from mlops_tui.contracts.operation import (
    OPERATIONS,
    PROTOCOL,
    Answer,
    Change,
    Done,
    Effect,
    Empty,
    Kind,
    Operation,
    Plan,
    Request,
    Started,
    find,
)

__all__ = [
    "OPERATIONS",
    "PROTOCOL",
    "Answer",
    "Change",
    "Done",
    "Effect",
    "Empty",
    "Kind",
    "Operation",
    "Plan",
    "Request",
    "Started",
    "agent",
    "data",
    "deploy",
    "experiment",
    "find",
    "govern",
    "job",
    "listing",
    "model",
    "monitor",
    "run",
]

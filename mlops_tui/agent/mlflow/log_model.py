"""What older clients say of a model that they logged: its card, kept in a tag of the run as a list."""

from __future__ import annotations

import json
from typing import Any

from starlette.concurrency import run_in_threadpool

from mlops_tui.agent.mlflow.errors import invalid
from mlops_tui.agent.mlflow.journal import Known
from mlops_tui.agent.mlflow.router import Call, route
from mlops_tui.agent.mlflow.runs import OneRun
from mlops_tui.core.clock import now_us

TAG = "mlflow.log-model.history"
_WANTED = ("artifact_path", "flavors", "run_id", "utc_time_created")
_KEPT = ("run_id", "utc_time_created", "artifact_path", "model_uuid")


class LogModel(OneRun):
    """``runs/log-model``."""

    required = ("model_json",)
    model_json: str | None = None


@route("POST", "runs/log-model", LogModel, hot=True)
async def log_model(call: Call, ask: LogModel) -> None:
    """Add a model to those of the run."""
    card = _card(ask.model_json or "")
    run = await call.journal.run(call.caller, ask.run)
    before = await run_in_threadpool(_before, call, run)
    call.journal.append(run, {"v": 1, "e": "tag", "t": now_us(), "g": {TAG: json.dumps([*before, card])}})


def _card(text: str) -> dict[str, Any]:
    """Return what is kept of a card.

    Raises:
        WireError: it is no card.
    """
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise invalid(f"Malformed model info. \n {text:.1000} \n is not a valid JSON.")
    if missing := {key for key in _WANTED if key not in said}:
        raise invalid(f"Model json is missing mandatory fields: {missing}")
    flavors = said["flavors"] if isinstance(said["flavors"], dict) else {}
    plain = {
        name: {key: value for key, value in one.items() if key != "config"} if isinstance(one, dict) else one
        for name, one in flavors.items()
    }
    return {**{key: said[key] for key in _KEPT if key in said}, "flavors": plain}


def _before(call: Call, run: Known) -> list[Any]:
    call.journal.drain(run.id)
    with call.reading("run:read") as session:
        found = session.value("SELECT value FROM tag WHERE object = ? AND key = ?", [run.id, TAG])
    return list(json.loads(found or "[]"))

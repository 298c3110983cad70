"""A run that tells one try of a prompt, in one request: what was asked, with which settings, and what came back."""

from __future__ import annotations

import json
from typing import Any

from starlette.concurrency import run_in_threadpool

from mlops_tui.agent.mlflow.appends import LogBatch, log_batch
from mlops_tui.agent.mlflow.artifacts import keep_of_run
from mlops_tui.agent.mlflow.coding import Ask
from mlops_tui.agent.mlflow.errors import invalid
from mlops_tui.agent.mlflow.experiments import Pair
from mlops_tui.agent.mlflow.router import Call, route
from mlops_tui.agent.mlflow.runs import CreateRun, OneRun, UpdateRun, create, get, update
from mlops_tui.core.clock import now_us

TABLE = "eval_results_table.json"
_WANTED = ("experiment_id", "prompt_template", "prompt_parameters", "model_route", "model_input", "mlflow_version")


class Tried(Ask):
    """``runs/create-promptlab-run``."""

    experiment_id: str | None = None
    run_name: str | None = None
    user_id: str | None = None
    start_time: int | None = None
    prompt_template: str | None = None
    prompt_parameters: list[Pair] | None = None
    model_route: str | None = None
    model_parameters: list[Pair] | None = None
    model_input: str | None = None
    model_output: str | None = None
    model_output_parameters: list[Pair] | None = None
    mlflow_version: str | None = None


@route("POST", "runs/create-promptlab-run", Tried, hot=True)
async def tried(call: Call, ask: Tried) -> dict[str, Any]:
    """Make the run, end it, and show it; what was asked and answered is a table among its files."""
    for name in _WANTED:
        if not getattr(ask, name):
            raise invalid(f"CreatePromptlabRun request must specify {name}.")
    started = now_us() // 1000 if ask.start_time is None else ask.start_time
    wish = CreateRun(
        experiment_id=ask.experiment_id, user_id=ask.user_id or "unknown", run_name=ask.run_name, start_time=started
    )
    made = await run_in_threadpool(create, call, wish)
    run = made["run"]["info"]["run_id"]
    settings = [
        *(ask.model_parameters or []),
        Pair(key="model_route", value=ask.model_route),
        Pair(key="prompt_template", value=ask.prompt_template),
    ]
    tags = [
        Pair(key="mlflow.loggedArtifacts", value=json.dumps([{"path": TABLE, "type": "table"}])),
        Pair(key="mlflow.runSourceType", value="PROMPT_ENGINEERING"),
    ]
    await log_batch(call, LogBatch(run_id=run, params=settings, tags=tags))
    return await run_in_threadpool(_ended, call, ask, run)


def _ended(call: Call, ask: Tried, run: str) -> dict[str, Any]:
    row = {
        **{one.key: one.value for one in ask.prompt_parameters or []},
        "prompt": ask.model_input,
        "output": ask.model_output,
        **{one.key: one.value for one in ask.model_output_parameters or []},
    }
    call.body = iter([json.dumps({"columns": [*row], "data": [[*row.values()]]}).encode()])
    keep_of_run(call, run, TABLE)
    update(call, UpdateRun(run_id=run, status="FINISHED", end_time=now_us() // 1000))
    answer: dict[str, Any] = get(call, OneRun(run_id=run))
    return answer

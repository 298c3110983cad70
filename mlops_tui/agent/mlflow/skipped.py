"""Parts of MLflow that this store does not have: each says so in a sentence, in a shape that every client can read."""

from __future__ import annotations

from mlops_tui.agent.mlflow.errors import WireError

PARTS = {
    "traces": "traces are not kept here: mlops_tui keeps runs, models and predictions",
    "unified-traces": "traces are not kept here: mlops_tui keeps runs, models and predictions",
    "get-online-trace-details": "traces are not kept here: mlops_tui keeps runs, models and predictions",
    "gateway": "there is no AI gateway here: call the provider, or run `mlflow gateway start` beside this agent",
    "gateway-proxy": "there is no AI gateway here: call the provider, or run `mlflow gateway start` beside this agent",
    "webhooks": "there are no webhooks of the registry here: `mlops alert` and its notifiers tell of changes",
    "scorers": "scorers are not kept here: log what they find as metrics of a run",
    "issues": "issues are not kept here: keep them as notes or tags of a run",
    "label-schemas": "labels by people are not kept here: log them as an artifact of a run",
    "review-queues": "labels by people are not kept here: log them as an artifact of a run",
    "prompt-optimization": "prompts are not optimised here: run it in a script of yours and log what comes out",
    "datasets": "evaluation data sets are not kept here: `mlops data add` keeps versions of data",
    "workspaces": "there is one workspace here: tenants keep people apart",
    "assessments": "assessments of traces are not kept here: log them as metrics of a run",
    "demo": "MLflow's demo is not served here: `mlops demo` shows the whole story",
}
"""By the first word after ``mlflow/``."""
_GRAPHQL = "GraphQL is what MLflow's browser pages ask with: the terminal (`mlops`) is the page of this store"


def unserved(method: str, path: str) -> WireError:
    """Return the answer to a path that no route serves."""
    if path.startswith("/v1/traces"):
        return WireError("NOT_IMPLEMENTED", PARTS["traces"])
    if path.startswith("/graphql"):
        return WireError("NOT_IMPLEMENTED", _GRAPHQL)
    part = path.partition("/mlflow/")[2].partition("/")[0]
    if why := PARTS.get(part):
        return WireError("NOT_IMPLEMENTED", f"{why} ({method} {path})")
    return WireError("ENDPOINT_NOT_FOUND", f"{method} {path} is no address of this server; mlops spec lists its own")

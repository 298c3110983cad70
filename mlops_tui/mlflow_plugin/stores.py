"""MLflow's own REST stores, whose calls go over a kept connection to the agent's socket.

MLflow's client needs 1.3 ms of processor to send a request by itself: each time it looks whether it runs in one of
Databricks' notebooks, and which proxy the environment names. Between two processes of one machine nobody wants that.
What is said, in which words, and what an answer means stay MLflow's, and where none comes it asks by its own means.
"""

from __future__ import annotations

import json
import math
from typing import Any
from urllib.parse import urlencode

from mlflow.exceptions import RestException
from mlflow.protos.service_pb2 import LogBatch
from mlflow.store.model_registry.rest_store import RestStore as RegistryRestStore
from mlflow.store.tracking import rest_store
from mlflow.utils.proto_json_utils import parse_dict

from mlops_tui.mlflow_plugin.line import Line

_TRACKING = getattr(rest_store.RestStore, "_METHOD_TO_INFO", None) or rest_store._METHOD_TO_INFO
"""Path and method of each call; in MLflow 3.0 they lie beside the class."""

_WORDS = {math.inf: "Infinity", -math.inf: "-Infinity"}
_OF_METRIC = ("model_id", "dataset_name", "dataset_digest", "run_id")
LATER = frozenset((408, 429, 500, 502, 503, 504))
"""Answers after which MLflow asks once more."""


class TrackingStore(rest_store.RestStore):  # type: ignore[misc]
    """MLflow's tracking store, bound to the agent."""

    def __init__(self, get_host_creds: Any) -> None:
        super().__init__(get_host_creds)
        self._line = Line()

    def _call_endpoint(self, api: Any, json_body: str | None = None, *more: Any, **named: Any) -> Any:
        if not more and not named and api in _TRACKING and not _workspace():
            path, method = _TRACKING[api]
            answer = _asked(self._line, method, path, json_body, api.Response())
            if answer is not None:
                return answer
        return super()._call_endpoint(api, json_body, *more, **named)

    def log_batch(self, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        """Log many at once, as JSON made from what they are; by MLflow's protos a thousand metrics take 9 ms.

        Whatever is not of the types that they should be is left to MLflow, which says so.
        """
        if not (all(map(_is_metric, metrics)) and all(map(_is_pair, (*params, *tags)))):
            super().log_batch(run_id, metrics, params, tags)
            return
        pairs = {"params": params, "tags": tags}
        body = {"run_id": run_id, "metrics": [_metric(one) for one in metrics]} | {
            name: [{"key": one.key, "value": one.value} for one in given] for name, given in pairs.items()
        }
        self._call_endpoint(LogBatch, json.dumps(body))


class RegistryStore(RegistryRestStore):  # type: ignore[misc]
    """MLflow's model registry, bound to the agent."""

    def __init__(self, get_host_creds: Any) -> None:
        super().__init__(get_host_creds)
        self._line = Line()

    def _call_endpoint(self, api: Any, json_body: str | None, *more: Any, **named: Any) -> Any:
        if not more and not named and not _workspace():
            path, method = self._get_endpoint_from_method(api)
            answer = _asked(self._line, method, path, json_body, self._get_response_from_method(api))
            if answer is not None:
                return answer
        return super()._call_endpoint(api, json_body, *more, **named)


def _asked(line: Line, method: str, path: str, body: str | None, answer: Any) -> Any:
    """Return the filled-in answer, or None where MLflow should ask by its own means.

    Raises:
        RestException: the agent refuses, in MLflow's words.
    """
    if method == "GET":
        query = {key: value for key, value in json.loads(body or "{}").items() if value is not None}
        path, body = f"{path}?{urlencode(query, doseq=True)}" if query else path, None
    found = line.ask(method, path, body)
    told = None if found is None or found[0] in LATER else _object(found[1])
    if found is None or told is None:
        return None
    if found[0] != 200:
        raise RestException(told)
    parse_dict(told, answer)
    return answer


def _is_metric(one: Any) -> bool:
    return type(one.value) is float and type(one.step) is int and type(one.timestamp) is int and type(one.key) is str


def _is_pair(one: Any) -> bool:
    return type(one.key) is str and type(one.value) is str


def _metric(one: Any) -> dict[str, Any]:
    """Return a metric as protocol buffers write it in JSON: what is no number there is a word."""
    value = one.value if math.isfinite(one.value) else _WORDS.get(one.value, "NaN")
    made = {"key": one.key, "value": value, "timestamp": one.timestamp, "step": one.step}
    return made | {name: said for name in _OF_METRIC if (said := getattr(one, name, None))}


def _workspace() -> Any:
    """Return the workspace that is asked for, if this MLflow knows any: the agent has none, and MLflow says so."""
    try:
        from mlflow.utils.workspace_context import get_request_workspace
    except ImportError:
        return None
    return get_request_workspace()


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(content or b"{}")
    except ValueError:
        return None
    return told if isinstance(told, dict) else None

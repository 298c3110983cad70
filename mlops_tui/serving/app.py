"""The application, whatever carries its requests: ``handle(method, target, headers, body)`` gives an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote

import orjson

from mlops_tui import __version__
from mlops_tui.serving.bodies import packed
from mlops_tui.serving.counters import Counters, Gauge, Slot
from mlops_tui.serving.deployment import Deployment
from mlops_tui.serving.guard import Guard
from mlops_tui.serving.inference_log import InferenceLog
from mlops_tui.serving.metrics import exposition
from mlops_tui.serving.oip import Inference
from mlops_tui.serving.predict import Predictor
from mlops_tui.serving.problem import JSON, Answer, Problem
from mlops_tui.serving.routing import Arm, Router
from mlops_tui.serving.table import Invocation

Column = tuple[int, str, str]
_Headers = Mapping[bytes, bytes]
_Act = Callable[[_Headers, bytes], Answer]
_Endpoint = tuple[str, _Act]
_CLASS = {2: Gauge.HTTP_2XX, 4: Gauge.HTTP_4XX, 5: Gauge.HTTP_5XX}
_log = logging.getLogger("mlops.serving")


class App:
    """What a deployment answers: Open Inference Protocol v2, MLflow's ``/invocations`` and ``/ping``, ``/metrics``.

    Args:
        deployment: its fixed facts.
        counters: the deployment's counters.
        slot: this worker's slot in them.
        log: where predictions go, or None.
    """

    def __init__(self, deployment: Deployment, counters: Counters, slot: Slot, log: InferenceLog | None) -> None:
        self._name = deployment.name
        self._counters, self._slot = counters, slot
        self._guard = Guard(deployment.host, deployment.allowed_hosts, deployment.token)
        self._columns: Sequence[Column] = ()
        self.predictor = Predictor(slot, log, deployment.max_body)
        infer: _Endpoint = ("POST", partial(self.predictor.serve, Inference, None))
        self._fixed: dict[str, _Endpoint] = {
            f"/v2/models/{deployment.name}/infer": infer,
            "/invocations": ("POST", partial(self.predictor.serve, Invocation, None)),
            "/v2": ("GET", self._server),
            "/v2/": ("GET", self._server),
            "/v2/health/live": ("GET", lambda headers, body: _json({"live": True})),
            "/v2/health/ready": ("GET", self._ready),
            "/ping": ("GET", self._ready),
            "/health": ("GET", self._ready),
            "/version": ("GET", lambda headers, body: _json({"version": __version__})),
            "/metrics": ("GET", self._metrics),
        }

    def route(self, router: Router, columns: Sequence[Column]) -> None:
        """Let a new route set answer from the next request on."""
        self._columns = columns
        self.predictor.router = router

    def handle(self, method: str, target: str, headers: _Headers, body: bytes) -> Answer:
        """Answer one request; never raises.

        Args:
            method: in capitals.
            target: path and query as they came.
            headers: values by name in lower case.
            body: the whole body as it came.
        """
        path = target.partition("?")[0] if "?" in target else target
        try:
            self._guard.check(path, headers)
            wanted, act = self._fixed.get(path) or self._resolve(path)
            if method != wanted and (method, wanted) != ("HEAD", "GET"):
                raise Problem(f"use {wanted}", 405, ((b"allow", wanted.encode()),))
            answer = act(headers, body)
            if len(answer.body) > 1024:
                answer = packed(headers, answer)
        except Problem as problem:
            answer = problem.answer()
        except Exception:
            _log.exception("%s %s", method, path)
            answer = Problem("internal error", 500).answer()
        self._slot.add(_CLASS.get(answer.status // 100, Gauge.HTTP_4XX))
        return answer

    def _resolve(self, path: str) -> _Endpoint:
        parts = unquote(path).strip("/").split("/")
        if parts[:2] != ["v2", "models"] or len(parts) < 3:
            raise Problem(f"there is nothing at {path[:200]!r}", 404)
        if parts[2] != self._name:
            raise Problem(f"there is no model {parts[2][:200]!r}; this is {self._name!r}", 404)
        version, rest = (parts[4], parts[5:]) if parts[3:4] == ["versions"] and len(parts) > 4 else (None, parts[3:])
        match rest:
            case []:
                return "GET", lambda headers, body: _json(self._metadata(version))
            case ["ready"]:
                return "GET", lambda headers, body: self._model_ready(version)
            case ["infer"]:
                return "POST", partial(self.predictor.serve, Inference, version)
        raise Problem(f"there is nothing at {path[:200]!r}", 404)

    def _server(self, headers: _Headers, body: bytes) -> Answer:
        return _json({"name": "mlops_tui", "version": __version__, "extensions": ["binary_tensor_data"]})

    def _ready(self, headers: _Headers, body: bytes) -> Answer:
        """Say whether the deployment answers, whichever of its workers was asked."""
        live = [slot for slot in self._counters.slots if slot[Gauge.READY]]
        if not live or self.predictor.router is None:
            return _json({"ready": False}, 503)
        at = min((slot[Gauge.EPOCH], slot[Gauge.GENERATION]) for slot in live)
        return _json({"ready": True, "workers": len(live), "epoch": at[0], "generation": at[1]})

    def _router(self) -> Router:
        if self.predictor.router is None:
            raise Problem("no model is loaded yet", 503, ((b"retry-after", b"1"),))
        return self.predictor.router

    def _model_ready(self, version: str | None) -> Answer:
        if version is not None:
            self._router().named(version)
        ready = self.predictor.router is not None
        return _json({"name": self._name, "ready": ready}, 200 if ready else 503)

    def _metadata(self, version: str | None) -> dict[str, Any]:
        router = self._router()
        arm = router.named(version) if version is not None else router.lead
        return {
            "name": self._name,
            "versions": [a.label for a in router.arms],
            "platform": "onnxruntime_onnx",
            "inputs": [tensor.metadata() for tensor in arm.model.inputs],
            "outputs": [tensor.metadata() for tensor in arm.model.output_tensors],
            "parameters": {"revision": arm.label, "features": list(arm.model.features), "traffic": _traffic(router)},
        }

    def _metrics(self, headers: _Headers, body: bytes) -> Answer:
        return exposition(self._counters, self._name, self._columns)


def _traffic(router: Router) -> list[dict[str, Any]]:
    return [_share(arm) for arm in router.arms]


def _share(arm: Arm) -> dict[str, Any]:
    return {"revision": arm.label, "revision_id": arm.id, "role": arm.role, "weight": arm.weight}


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, JSON, orjson.dumps(value))

"""The application, whatever carries its requests: ``handle(method, target, headers, body)`` gives an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote

import msgspec
import orjson

from mlops_tui import __version__
from mlops_tui.serving.bodies import FEATURE_AGE, Envelope, packed
from mlops_tui.serving.deployment import Deployment
from mlops_tui.serving.models.lookup import Completed
from mlops_tui.serving.models.model import Model
from mlops_tui.serving.problem import JSON, Answer, Problem, safe
from mlops_tui.serving.protocol.guard import Guard
from mlops_tui.serving.protocol.oip import inference
from mlops_tui.serving.protocol.openapi import document
from mlops_tui.serving.protocol.repository import Repository
from mlops_tui.serving.protocol.table import Invocation
from mlops_tui.serving.protocol.tokens import Tokens
from mlops_tui.serving.protocol.tracing import tracer
from mlops_tui.serving.record.columns import Column
from mlops_tui.serving.record.counters import Counters, Gauge, Slot
from mlops_tui.serving.record.inference_log import InferenceLog
from mlops_tui.serving.record.metrics import exposition
from mlops_tui.serving.traffic.call import Ticket
from mlops_tui.serving.traffic.predict import Predictor
from mlops_tui.serving.traffic.routing import Arm, Router

_Headers = Mapping[bytes, bytes]
_Act = Callable[[Envelope, bytes], Answer | Ticket]
_Endpoint = tuple[str, _Act]
_CLASS = {2: Gauge.HTTP_2XX, 4: Gauge.HTTP_4XX, 5: Gauge.HTTP_5XX}
_log = logging.getLogger("mlops.serving")


class Entry(msgspec.Struct, frozen=True):
    """The head of a request that was let in: what answers it, and what it says about its body."""

    act: _Act
    envelope: Envelope


class App:
    """What a deployment answers: Open Inference Protocol v2, MLflow's ``/invocations`` and ``/ping``, ``/metrics``.

    A request comes in three steps, so that many can share the second and third: :meth:`admit` looks at its head,
    :meth:`ask` at its body, and :meth:`settle` answers all that were asked since the last time.

    Args:
        deployment: its fixed facts.
        counters: the deployment's counters.
        slot: this worker's slot in them.
        log: where predictions go, or None.
        tokens: who may ask; None: who has the deployment's token, if it has one.
    """

    def __init__(
        self,
        deployment: Deployment,
        counters: Counters,
        slot: Slot,
        log: InferenceLog | None,
        tokens: Tokens | None = None,
    ) -> None:
        self._name = deployment.name
        self._counters, self._slot = counters, slot
        self._guard = Guard(deployment.host, deployment.allowed_hosts, tokens or Tokens(None, deployment.token))
        self._columns: Sequence[Column] = ()
        self.predictor = Predictor(slot, log, deployment.max_body)
        self.repository = Repository(deployment.name, self.predictor, self._guard.tokens)
        self.tracer = tracer(deployment.name, deployment.traces)
        submit = self.predictor.submit
        # Not a partial: one Python function calls another in a third of the time that it takes by way of C.
        infer: _Endpoint = ("POST", lambda envelope, body: submit(inference, None, envelope, body))
        self._fixed: dict[str, _Endpoint] = {
            f"/v2/models/{deployment.name}/infer": infer,
            "/invocations": ("POST", partial(self.predictor.submit, Invocation, None)),
            "/v2": ("GET", self._server),
            "/v2/health/live": ("GET", lambda envelope, body: _json({"live": True})),
            "/v2/health/ready": ("GET", self._ready),
            "/ping": ("GET", self._ready),
            "/health": ("GET", self._ready),
            "/version": ("GET", lambda envelope, body: _json({"version": __version__})),
            "/metrics": ("GET", self._metrics),
            "/openapi.json": ("GET", self._openapi),
            "*": ("OPTIONS", lambda envelope, body: Answer(200, ((b"allow", b"GET, HEAD, POST, OPTIONS"),), b"")),
        }

    def route(self, router: Router, columns: Sequence[Column], away: bool = False) -> None:
        """Let a new route set answer from the next request on; with ``away`` it is only kept."""
        self._columns = columns
        self.predictor.router, self.predictor.kept = None if away else router, router

    def admit(self, method: str, target: str, headers: _Headers) -> Entry:
        """Look at the head of a request; equal heads may share what this returns.

        Args:
            method: in capitals.
            target: path and query as they came.
            headers: values by name in lower case.

        Raises:
            Problem: who asks may not, or there is nothing like this.
        """
        path = target.partition("?")[0] if "?" in target else target
        self._guard.check(path, headers)
        wanted, act = self._fixed.get(path) or self._resolve(path)
        if method != wanted and (method, wanted) != ("HEAD", "GET"):
            raise Problem(f"use {wanted}", 405, ((b"allow", b"GET, HEAD" if wanted == "GET" else wanted.encode()),))
        return Entry(act, Envelope(headers))

    def ask(self, entry: Entry, body: bytes) -> Answer | Ticket:
        """Take in the body of a request, as it came; never raises.

        Returns:
            The answer, or what will have one after :meth:`settle` (or later, when the model takes long).
        """
        envelope = entry.envelope
        try:
            answer = entry.act(envelope, body)
            if isinstance(answer, Ticket):
                return answer
        except Exception as error:
            return self.refuse(error, envelope)
        self._slot.add(Gauge.HTTP_2XX if answer.status < 400 else Gauge.HTTP_5XX)
        return self._dressed(envelope, answer) if envelope.wants or envelope.id else answer

    def refuse(self, error: Exception, envelope: Envelope | None = None) -> Answer:
        """Return the answer to a request that went wrong."""
        if not isinstance(error, Problem):
            _log.error("a request failed", exc_info=error)
            error = Problem("internal error", 500)
        answer = error.answer()
        self._slot.add(_CLASS.get(answer.status // 100, Gauge.HTTP_4XX))
        return self._dressed(envelope, answer) if envelope is not None else answer

    @staticmethod
    def _dressed(envelope: Envelope, answer: Answer) -> Answer:
        """Give an answer what its client asked for besides: compression, and the id that it gave."""
        if envelope.wants:
            answer = packed(envelope, answer)
        if envelope.id is not None and all(name != b"x-request-id" for name, _ in answer.marks):
            answer = msgspec.structs.replace(answer, marks=(*answer.marks, (b"x-request-id", safe(envelope.id))))
        return answer

    def settle(self) -> list[Ticket]:
        """Answer what was asked, write the log, and return what has an answer now."""
        settled = self.predictor.settle()
        good = 0
        for ticket in settled:
            answer, envelope = ticket.answer, ticket.envelope
            assert answer is not None
            if answer.status == 200:
                good += 1
            else:
                self._slot.add(_CLASS.get(answer.status // 100, Gauge.HTTP_4XX))
            if envelope.asks_age and isinstance(ticket.feed, Completed) and ticket.feed.age_s is not None:
                age = (FEATURE_AGE, b"%d" % ticket.feed.age_s)
                ticket.answer = answer = msgspec.structs.replace(answer, marks=(*answer.marks, age))
            if envelope.wants or envelope.id:
                ticket.answer = self._dressed(envelope, answer)
        if good:
            self._slot.add(Gauge.HTTP_2XX, good)
        self.predictor.flush()
        if self.tracer is not None:
            self.tracer.note(settled)
        return settled

    def handle(self, method: str, target: str, headers: _Headers, body: bytes) -> Answer:
        """Answer one request by itself; never raises."""
        try:
            asked = self.ask(self.admit(method, target, headers), body)
        except Exception as error:
            return self.refuse(error)
        if isinstance(asked, Ticket):
            self.settle()
            assert asked.answer is not None, "with a pool, answers come later"
            return asked.answer
        return asked

    def _resolve(self, path: str) -> _Endpoint:
        if known := self._fixed.get(path.rstrip("/")):
            return known
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[:2] == ["v2", "repository"]:
            return self.repository.resolve(parts)
        if parts[:2] != ["v2", "models"] or len(parts) < 3:
            raise Problem(f"there is nothing at {path[:200]!r}", 404)
        if parts[2] != self._name and parts[2] not in self.predictor.others:
            raise Problem(f"there is no model {parts[2][:200]!r}; this is {self._name!r}", 404)
        other = None if parts[2] == self._name else parts[2]
        version, rest = (parts[4], parts[5:]) if parts[3:4] == ["versions"] and len(parts) > 4 else (None, parts[3:])
        match rest:
            case []:
                return "GET", lambda envelope, body: _json(self._metadata(version, other))
            case ["ready"]:
                return "GET", lambda envelope, body: self._model_ready(version, other)
            case ["infer"]:
                return "POST", partial(self.predictor.submit, inference, version, name=other)
        raise Problem(f"there is nothing at {path[:200]!r}", 404)

    def _server(self, envelope: Envelope, body: bytes) -> Answer:
        return _json(
            {"name": "mlops_tui", "version": __version__, "extensions": ["binary_tensor_data", "model_repository"]}
        )

    def _ready(self, envelope: Envelope, body: bytes) -> Answer:
        """Say whether the deployment answers, whichever of its workers was asked."""
        live = [slot for slot in self._counters.slots if slot[Gauge.READY]]
        if not live or self.predictor.kept is None:
            return _json({"ready": False}, 503)
        at = min((slot[Gauge.EPOCH], slot[Gauge.GENERATION]) for slot in live)
        return _json({"ready": True, "workers": len(live), "epoch": at[0], "generation": at[1]})

    def _router(self, other: str | None = None) -> Router:
        if other is not None:
            return self.predictor.other(other)
        return self.predictor.own()

    def _model_ready(self, version: str | None, other: str | None) -> Answer:
        ready = other is not None or self.predictor.kept is not None
        if ready or version is not None:
            router = self._router(other)
            if version is not None:
                router.named(version)
        return _json({"name": other or self._name, "ready": ready}, 200 if ready else 503)

    def _metadata(self, version: str | None, other: str | None) -> dict[str, Any]:
        router = self._router(other)
        arm = router.named(version) if version is not None else router.lead
        return {
            "name": other or self._name,
            "versions": [a.label for a in router.arms],
            "platform": arm.model.platform,
            "inputs": [tensor.metadata() for tensor in arm.model.inputs],
            "outputs": [tensor.metadata() for tensor in arm.model.output_tensors],
            "parameters": {
                "revision": arm.label,
                "features": list(arm.model.features),
                "traffic": _traffic(router),
                **({"params": _params(arm.model)} if arm.model.params else {}),
                **arm.model.condition,
            },
        }

    def _openapi(self, envelope: Envelope, body: bytes) -> Answer:
        if self.predictor.kept is None:
            self.predictor.own()
        routers = self.predictor.loaded(self._name)
        return _json(document(self._name, routers, self.repository.shelf, self._guard.tokens.asked))

    def _metrics(self, envelope: Envelope, body: bytes) -> Answer:
        return exposition(self._counters, self._name, self._columns)


def _traffic(router: Router) -> list[dict[str, Any]]:
    return [_share(arm) for arm in router.arms]


def _share(arm: Arm) -> dict[str, Any]:
    return {"revision": arm.label, "revision_id": arm.id, "role": arm.role, "weight": arm.weight}


def _params(model: Model) -> list[dict[str, Any]]:
    return [{**tensor.metadata(), "name": name} for name, tensor in model.params.items()]


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, JSON, orjson.dumps(value))

"""The model repository extension of the protocol: which models there are, and loading and unloading them.

A worker answers ``index`` itself; ``load`` and ``unload`` concern all workers, so the supervisor carries them out and
the request waits for its word. Specification: https://github.com/triton-inference-server/server (model repository
extension of the protocol).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import orjson

from mlops_tui.serving.bodies import Envelope, decoded
from mlops_tui.serving.control import Message
from mlops_tui.serving.problem import JSON, Answer, Problem
from mlops_tui.serving.protocol.tokens import Tokens
from mlops_tui.serving.traffic.call import Ticket
from mlops_tui.serving.traffic.predict import Predictor

_Endpoint = tuple[str, Callable[[Envelope, bytes], Answer | Ticket]]
_VERBS = ("load", "unload")


class _Index(msgspec.Struct):
    ready: bool = False


class _Change(msgspec.Struct):
    parameters: dict[str, Any] = {}


_index, _change = msgspec.json.Decoder(_Index), msgspec.json.Decoder(_Change)


class Repository:
    """What a worker answers below ``/v2/repository``.

    Args:
        name: of the deployment's own model.
        predictor: who answers for the models that are loaded.
        tokens: whoever loads or unloads must have sent one.

    Attributes:
        shelf: names of models that could be loaded.
        ask: sends a wish to the supervisor; False when nobody is there.
    """

    def __init__(self, name: str, predictor: Predictor, tokens: Tokens) -> None:
        self._name, self._predictor, self._tokens = name, predictor, tokens
        self._waiting: dict[int, Ticket] = {}
        self._last = 0
        self.shelf: tuple[str, ...] = ()
        self.ask: Callable[[Message], bool] = lambda message: False

    def resolve(self, parts: list[str]) -> _Endpoint:
        """Return what answers a path that begins with ``v2/repository``.

        Raises:
            Problem: 404, there is nothing.
        """
        match parts[2:]:
            case ["index"]:
                return "POST", self._listed
            case ["models", name, verb] if verb in _VERBS:
                return "POST", partial(self._wish, verb, name, "")
            case ["models", name, "versions", version, verb] if verb in _VERBS:
                return "POST", partial(self._wish, verb, name, version)
        raise Problem("there is nothing there; the repository has index, models/NAME/load and models/NAME/unload", 404)

    def _listed(self, envelope: Envelope, body: bytes) -> Answer:
        wanted = decoded(_index, body) if body.strip() else _Index()
        routers = self._predictor.loaded(self._name)
        found = [
            {"name": name, "version": arm.label, "state": "READY", "reason": ""}
            for name, router in routers.items()
            for arm in router.arms
        ]
        if not wanted.ready:
            gone = [name for name in self.shelf if name not in routers]
            found += [{"name": name, "version": "", "state": "UNAVAILABLE", "reason": "unloaded"} for name in gone]
        return Answer(200, JSON, orjson.dumps(found))

    def _wish(self, verb: str, name: str, version: str, envelope: Envelope, body: bytes) -> Ticket:
        """Ask the supervisor for a change; the answer comes when every worker has made it."""
        if not self._tokens.asked:
            raise Problem(f"to {verb} models a token is needed: start the server with --token-file", 403)
        given = decoded(_change, body).parameters if body.strip() else {}
        if any(key == "config" or key.startswith("file:") for key in given):
            raise Problem("models are loaded from the server's folder, not from a request")
        version = version or str(given.get("version", ""))
        router = self._predictor.kept
        if router is None:
            raise Problem("no model is loaded yet", 503, ((b"retry-after", b"1"),))
        self._last += 1
        asked = {"op": "repository", "id": self._last, "do": verb, "name": name, "version": version, "at": [0, 0]}
        if not self.ask(asked):
            raise Problem("the supervisor is being started again", 503, ((b"retry-after", b"1"),))
        ticket = Ticket(_Nothing(), envelope, router.lead, None, "", 0, len(body))
        self._waiting[self._last] = ticket
        return ticket

    def told(self, message: Message) -> None:
        """Answer a request by what the supervisor says of it."""
        ticket = self._waiting.pop(message["id"], None)
        if ticket is not None:
            why = message["why"]
            answer = Problem(why, message["status"]).answer() if why else Answer(200, JSON, b"{}")
            self._predictor.fulfil(ticket, answer)

    def lost(self) -> None:
        """Answer whoever waits when the supervisor is gone."""
        for number in list(self._waiting):
            self.told({"id": number, "status": 503, "why": "the supervisor went away; what became of it is not known"})


class _Nothing:
    """Stands where a request to a model would."""

    id: str | None = None
    together = rows = None

    def feed(self, model: Any) -> Any:
        raise NotImplementedError

    def first(self, name: str, model: Any) -> Any:
        raise NotImplementedError

    def answer(self, *given: Any) -> Any:
        raise NotImplementedError

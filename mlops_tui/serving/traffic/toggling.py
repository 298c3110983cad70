"""What a deployment's toggles do to a request: which revision answers, whether any does, what is repeated and logged.

Asked once a request, before anything runs. What a toggle looks at is made only when a rule looks at it:

``targetingKey``
    the key that the routes stick to (a header, a field, or the request's id); without one ``x-targeting-key``, else
    the id.
``headers.NAME``
    a header, its name in lower case.
``parameters.NAME``
    of the body: ``parameters`` of the Open Inference Protocol, ``params`` of MLflow.
``features.NAME``
    a feature of the first row, as the leading revision names them.
``deployment``
    its name.

A toggle whose rule looks at nothing costs nothing: it is asked when the routes or the file change. A toggle that
fails or chooses nothing changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from mlops_tui.core.errors import MlopsError
from mlops_tui.serving.models.model import Feed, Model
from mlops_tui.serving.problem import Problem
from mlops_tui.serving.record.segments import NOBODY
from mlops_tui.serving.traffic.routing import Arm, Draw, Router
from mlops_tui.serving.traffic.sticky import parameters
from mlops_tui.toggles.binding import ANSWERS, CONTROLS, FALLBACK, LOG, REVISION, SHADOW, Binding, binding
from mlops_tui.toggles.definition import Definition, Toggle

KEY_HEADER = b"x-targeting-key"
_ROOTS = ("targetingKey", "headers", "parameters", "features", "deployment")
_log = logging.getLogger("mlops.serving")


class Asked(Protocol):
    """A request that a protocol has read."""

    id: str | None

    def feed(self, model: Model) -> Feed:
        """Return the tensors for a model."""

    def first(self, name: str, model: Model) -> Any:
        """Return the first value of an input, column or feature; None when there is none of that name."""


class Choice(NamedTuple):
    """What the toggles say of a request.

    Attributes:
        arm: the revision that answers, or would.
        rescuer: who may stand in for it.
        diverted: somebody else must answer, if there is anybody: the rescuer, else the constant.
        off: why ``arm`` does not answer; empty when it may.
        shadow: the request may be repeated on shadows.
        log: the request is in the inference log.
        chosen: a toggle picked ``arm``, or the path names it.
        client: whose request it is, if the routes ask that.
    """

    arm: Arm
    rescuer: Arm | None = None
    diverted: bool = False
    off: str = ""
    shadow: bool = True
    log: bool = True
    chosen: bool = False
    client: int = NOBODY


class _Question:
    """One toggle, bound to what it controls; a constant when its rule looks at nothing."""

    def __init__(self, toggle: Toggle, bound: Binding) -> None:
        self.toggle, self.bound = toggle, bound
        self.constant = toggle.rule is None or not toggle.enabled
        self.value = toggle.resolve({}).value if self.constant else None

    def ask(self, context: Mapping[str, Any]) -> Any:
        return self.value if self.constant else self.toggle.resolve(context).value

    @property
    def idle(self) -> bool:
        """Tell whether it can never change anything."""
        wanted = {ANSWERS: False, FALLBACK: True, SHADOW: False, LOG: False}.get(self.bound.controls)
        if not self.constant:
            return False
        return not self.value if self.bound.controls == REVISION else self.value is not wanted


class Switches:
    """The toggles of a deployment beside the routes in force.

    Args:
        name: of the deployment.
        questions: its toggles that may change something.
        router: the routes.
    """

    def __init__(self, name: str, questions: Sequence[_Question], router: Router) -> None:
        self._name, self._router = name, router
        by = {one: [q for q in questions if q.bound.controls == one] for one in CONTROLS}
        self._every = [q for q in by[ANSWERS] if not q.bound.revision]
        self._some = [q for q in by[ANSWERS] if q.bound.revision]
        self._picks, self._falls, self._shadows, self._logs = by[REVISION], by[FALLBACK], by[SHADOW], by[LOG]
        self._context = _Context(name, router, [q.toggle for q in questions if not q.constant])
        # A shadow's answers are for nobody, whatever a toggle says.
        self._arms = {name: arm for name, arm in router.by_name.items() if arm.role != "shadow"}
        self._draws: dict[tuple[str, str], Draw | None] = {}

    @property
    def constant(self) -> bool:
        """Tell whether no rule looks at requests."""
        return not self._context.wanted

    def choose(self, headers: Mapping[bytes, bytes], body: bytes, call: Asked, pinned: Arm | None) -> Choice:
        """Decide over a request.

        Args:
            headers: of the request.
            body: decompressed.
            call: what the protocol has read of it.
            pinned: the revision that its path names.
        """
        router, context = self._router, self._context.of(headers, body, call)
        may = "toggle" in router.rescue.on
        for question in self._every:
            if question.ask(context) is False:
                return Choice(pinned or router.lead, None, may and pinned is None, _sentence(self._name, question))
        chosen = pinned or self._chosen(context, headers, body, call)
        arm, client = (chosen, NOBODY) if chosen else router.pick(headers, body, call)
        off = self._off(arm, context) if self._some else ""
        rescuer = None if pinned else router.fallback(arm)
        if rescuer is not None and self._some and self._off(rescuer, context):
            rescuer = None
        wanted = bool(off) or _any(self._falls, context, True)
        return Choice(
            arm,
            rescuer if may or not wanted else None,
            wanted and may and pinned is None,
            off,
            not _any(self._shadows, context, False),
            not _any(self._logs, context, False),
            chosen is not None,
            client,
        )

    def _off(self, arm: Arm, context: Mapping[str, Any]) -> str:
        """Return why a revision gives no answers; empty when it does."""
        for question in self._some:
            if question.bound.revision == arm.label and question.ask(context) is False:
                return _sentence(f"revision {arm.label} of {self._name}", question)
        return ""

    def _chosen(
        self, context: Mapping[str, Any], headers: Mapping[bytes, bytes], body: bytes, call: Asked
    ) -> Arm | None:
        """Return the revision that a toggle picks, or None."""
        for question in self._picks:
            found = question.ask(context)
            if isinstance(found, str) and found in self._arms:
                return self._arms[found]
            if isinstance(found, dict) and (draw := self._draw(question.toggle.key, found)) is not None:
                return draw.pick(self._router.key(headers, body, call))
        return None

    def _draw(self, key: str, weights: Mapping[str, float]) -> Draw | None:
        name = (key, ",".join(f"{label}={weight}" for label, weight in weights.items()))
        if name not in self._draws:
            known = [(self._arms[one], float(weight)) for one, weight in weights.items() if one in self._arms]
            self._draws[name] = Draw(known) if any(weight > 0 for _, weight in known) else None
        return self._draws[name]


def switches(name: str, definition: Definition, router: Router) -> Switches | None:
    """Return what a deployment's toggles do, or None when none of them can change anything."""
    questions = []
    for toggle in definition.toggles.values():
        try:
            bound = binding(toggle)
        except MlopsError as error:
            _log.error("the toggle %s is left out: %s", toggle.key, error)
            continue
        if bound is not None and bound.deployment == name and not (one := _Question(toggle, bound)).idle:
            questions.append(one)
    return Switches(name, questions, router) if questions else None


def _any(questions: Sequence[_Question], context: Mapping[str, Any], value: bool) -> bool:
    """Tell whether one of some toggles has chosen a value."""
    return bool(questions) and any(question.ask(context) is value for question in questions)


def _sentence(whom: str, question: _Question) -> str:
    why = question.toggle.metadata.get("why", "")
    return f"{whom} is switched off" + (f": {why}" if why else "")


class _Context:
    """Makes what rules look at, and no more."""

    def __init__(self, name: str, router: Router, toggles: Iterable[Toggle]) -> None:
        paths: set[str] = set()
        every = False
        for toggle in toggles:
            every = every or toggle.needs is None
            paths |= toggle.needs or set()
        roots = set(_ROOTS) if every else {path.partition(".")[0] for path in paths} & set(_ROOTS)
        self._router, self._name = router, name
        self._headers = None if every or "headers" in paths else _named(paths, "headers.")
        makers: dict[str, Callable[[Mapping[bytes, bytes], bytes, Asked], Any]] = {
            "targetingKey": self._key,
            "headers": self._given_headers,
            "parameters": self._parameters,
            "features": self._features,
            "deployment": lambda headers, body, call: name,
        }
        self.wanted = [(root, makers[root]) for root in _ROOTS if root in roots]

    def of(self, headers: Mapping[bytes, bytes], body: bytes, call: Asked) -> dict[str, Any]:
        """Return the context of a request."""
        return {root: make(headers, body, call) for root, make in self.wanted}

    def _key(self, headers: Mapping[bytes, bytes], body: bytes, call: Asked) -> str | None:
        key = self._router.key(headers, body, call) or headers.get(KEY_HEADER)
        return key.decode("latin-1") if key else call.id

    def _given_headers(self, headers: Mapping[bytes, bytes], body: bytes, call: Asked) -> dict[str, str]:
        if self._headers is None:
            return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        return {text: value.decode("latin-1") for text, name in self._headers if (value := headers.get(name))}

    def _parameters(self, headers: Mapping[bytes, bytes], body: bytes, call: Asked) -> dict[str, Any]:
        return parameters(headers, body)

    def _features(self, headers: Mapping[bytes, bytes], body: bytes, call: Asked) -> dict[str, Any]:
        model = self._router.lead.model
        try:
            feed = {name: array[:1] for name, array in call.feed(model).items()}
            values = np.frombuffer(model.feature_bytes(feed, 1), np.float32).tolist()
        except (Problem, ValueError, KeyError, TypeError, IndexError):
            return {}  # the revision that answers will say what is wrong with it
        texts = {name: str(array.ravel()[0]) for name, array in feed.items() if array.dtype.kind == "O" and array.size}
        return {**dict(zip(model.features, values, strict=False)), **texts}


def _named(paths: Iterable[str], prefix: str) -> list[tuple[str, bytes]]:
    names = {path.removeprefix(prefix).partition(".")[0] for path in paths if path.startswith(prefix)}
    return [(name, name.encode("latin-1", "replace")) for name in sorted(names)]

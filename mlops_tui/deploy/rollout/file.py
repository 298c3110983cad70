"""A rollout as people ask for it, a file or the usual choices, made into one specification."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec
import yaml

from mlops_tui.contracts.rollout import StartRollout
from mlops_tui.contracts.rollout_file import Part, RolloutFile, Spec, Step, StickBy, seconds
from mlops_tui.core.errors import BadInput
from mlops_tui.serving.traffic.sticky import FIELD

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
LONGEST = 100_000
"""Characters of a file."""
SEE = "mlops rollout schema"
USUAL = {"canary": (5.0, 25.0, 50.0), "ab": (50.0,)}
"""Weights of a strategy when none are given."""
WARMUP = 100


def read(text: str) -> Spec:
    """Return what a file asks for.

    Raises:
        BadInput: it is no such file; with the line, and the nearest key where one is not known.
    """
    node = _composed(text)
    for key, place, known in _strangers(node, RolloutFile):
        near = difflib.get_close_matches(key, known, 1, 0.5)
        raise BadInput(
            f"line {_line(place)}: there is no key {key!r} here",
            "one of: " + ", ".join(known),
            f"did you mean {near[0]}?" if near else SEE,
        )
    try:
        return filled(msgspec.convert(_plain(node), RolloutFile).spec)
    except msgspec.ValidationError as error:
        said, _, path = str(error).partition(" - at `$")
        at = _found(node, path.rstrip("`"))
        where = path.rstrip("`").lstrip(".")
        may = _choices(where)
        near = difflib.get_close_matches(getattr(at, "value", "") if may else "", may, 1, 0.5)
        raise BadInput(
            f"line {_line(at)}: {where or 'the file'}: {said[:1].lower() + said[1:]}",
            "one of: " + ", ".join(may) if may else "",
            f"did you mean {near[0]}?" if near else SEE,
        ) from None


def _composed(text: str) -> yaml.Node:
    if len(text) > LONGEST:
        raise BadInput(f"a rollout file has at most {LONGEST:,} characters, this one {len(text):,}")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise BadInput("a rollout file has no aliases (*name)", "", "write the part out")
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f"line {mark.line + 1}: " if mark else ""
        raise BadInput(f"{at}this is no YAML", str(getattr(error, "problem", error)), SEE) from None
    if not isinstance(node, yaml.MappingNode):
        raise BadInput("the file is empty" if node is None else "the file is no mapping", "", SEE)
    return node


def _plain(node: yaml.Node) -> Any:
    """Return what a node holds; keys are words, also ``on``, which YAML takes for a yes.

    Raises:
        BadInput: a part has a key twice, of which one would go unheard.
    """
    pending = [node]
    while pending:
        one = pending.pop()
        if isinstance(one, yaml.MappingNode):
            before: dict[Any, int] = {}
            for key, value in one.value:
                if key.value in before:
                    raise BadInput(
                        f"line {_line(key)}: {key.value!r} stands in line {before[key.value]} already", "", SEE
                    )
                key.tag, before[str(key.value)] = "tag:yaml.org,2002:str", _line(key)
                pending.append(value)
        elif isinstance(one, yaml.SequenceNode):
            pending += one.value
    return yaml.SafeLoader("").construct_document(node)


def _strangers(node: yaml.Node, part: Any) -> Iterator[tuple[str, yaml.Node, list[str]]]:
    """Yield every key that its part does not have: the key, where it stands, and what it has."""
    if isinstance(node, yaml.SequenceNode):
        for one in node.value:
            yield from _strangers(one, part)
    elif isinstance(node, yaml.MappingNode) and part is not None:
        fields = {field.encode_name: field for field in msgspec.structs.fields(part)}
        for key, value in node.value:
            if key.value not in fields:
                yield str(key.value), key, sorted(fields)
            else:
                yield from _strangers(value, _part(fields[key.value].type))


def _part(kind: Any) -> type[Part] | None:
    """Return the part that a field holds, alone or many times; None when it holds plain values."""
    if isinstance(kind, type) and issubclass(kind, Part):
        return kind
    return next((found for one in get_args(kind) if (found := _part(one))), None)


def _choices(path: str) -> list[str]:
    """Return the words that a field may hold, by its path (``spec.strategy``); none when it holds something else."""
    kind: Any = RolloutFile
    for name in re.findall("[A-Za-z]+", path):
        part = _part(kind)
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(part)} if part else {}
        kind = fields.get(name)
    return [str(word) for word in _words(kind)]


def _words(kind: Any) -> list[Any]:
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [word for one in get_args(kind) for word in _words(one)]


def _found(node: yaml.Node, path: str) -> yaml.Node:
    """Return the node at ``.spec.steps[1].weight``, or the last one on the way there."""
    for name in path.replace("[", ".[").split("."):
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == name), node)
        elif isinstance(node, yaml.SequenceNode) and name.startswith("["):
            number = name.strip("[]")
            node = node.value[int(number)] if number.isdecimal() and int(number) < len(node.value) else node
    return node


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def chosen(request: StartRollout, labelled: bool) -> Spec:
    """Return what the usual choices of a command line ask for.

    Args:
        request: the choices.
        labelled: whether labels come to the deployment. Who names no events does not wait for labels that never come.

    Raises:
        BadInput: they cannot be taken.
    """
    usual = list(USUAL.get(request.strategy, ()))
    weights = request.steps if usual and request.steps != list(USUAL["canary"]) else usual
    events = request.events or ["error", "latency", *(["wrong"] if labelled else [])]
    if len(set(events)) < len(events):
        raise BadInput(f"the events {events} cannot be judged", "", "each once, of: error, latency, wrong")
    steps = tuple(Step(weight=weight, for_=request.step_s) for weight in weights if 0 < weight < 100)
    if len(steps) < len(weights) or (usual and not steps):
        raise _bad_steps(weights)
    body = {
        "deployment": request.deployment,
        "model": request.model,
        "strategy": request.strategy,
        "sticky": request.sticky,
        "warmup": request.warmup,
        "keepOld": request.keep_old_s,
        "deadline": request.deadline_s,
        "analysis": {
            "every": request.look_s,
            "alpha": request.alpha,
            "minRequests": request.min_requests,
            "harm": [{"event": event, "maxRatio": request.max_ratio} for event in events],
            "onNoData": request.on_no_data,
        },
    }
    try:
        spec = msgspec.convert(body, Spec)
    except msgspec.ValidationError as error:
        said, _, path = str(error).partition(" - at `$.")
        raise BadInput(f"{path.rstrip('`')}: {said[:1].lower() + said[1:]}", *_allowed(path)) from None
    if not steps and request.strategy == "shadow":
        steps = (Step(shadow=True, for_=request.step_s),)
    return filled(msgspec.structs.replace(spec, steps=steps))


def usual(spec: Spec, labelled: bool) -> Spec:
    """Return a specification that names no checks with those that can be made: no label, nothing is wrong."""
    harm = tuple(one for one in spec.analysis.harm if labelled or one.event != "wrong")
    return msgspec.structs.replace(spec, analysis=msgspec.structs.replace(spec.analysis, harm=harm))


def _allowed(path: str) -> tuple[str, str]:
    known = {"strategy": "canary, blue-green, shadow, ab, recreate", "analysis.harm": "error, latency, wrong"}
    known["analysis.onNoData"] = "hold, proceed, rollback"
    return "", next((f"one of: {words}" for name, words in known.items() if path.startswith(name)), SEE)


def filled(spec: Spec) -> Spec:
    """Return a specification with the steps that its strategy implies, checked.

    Raises:
        BadInput: the steps do not make sense, or something is no duration.
    """
    steps = spec.steps
    if spec.strategy == "shadow" and not steps:
        steps = (Step(shadow=True),)
    if spec.strategy == "canary" and not steps:
        steps = tuple(Step(weight=weight) for weight in USUAL["canary"])
    if spec.strategy == "ab":
        shared = steps or (Step(weight=USUAL["ab"][0]),)
        steps = shared if any(one.approve for one in shared) else (*shared, Step(approve="a winner"))
    sticky = stick_by(spec.sticky)
    _check_steps(spec.strategy, steps)
    _check_durations(spec, steps)
    warmup = WARMUP if spec.warmup is None else spec.warmup
    return msgspec.structs.replace(spec, steps=steps, warmup=warmup, sticky=sticky)


def stick_by(said: str | StickBy) -> str:
    """Return what clients stick by in a word, as routes have it (:mod:`mlops_tui.serving.traffic.sticky`)."""
    if isinstance(said, StickBy):
        if bool(said.header) == bool(said.field):
            raise BadInput("sticky says " + ("header and field" if said.header else "neither"), "one of them", SEE)
        said = said.header or FIELD + said.field
    if (said.startswith(FIELD) and said.strip() != FIELD) or not said or _HEADER.fullmatch(said):
        return said
    raise BadInput(
        f"clients cannot stick by {said!r}", "that is no header's name", f"a field of the request: {FIELD}customer_id"
    )


def _check_steps(strategy: str, steps: tuple[Step, ...]) -> None:
    for number, one in enumerate(steps, 1):
        if (one.weight is not None) + one.shadow + bool(one.approve) != 1:
            raise BadInput(f"step {number} says {_said(one)}", "a step is one of weight, shadow and approve", SEE)
    weights = [one.weight for one in steps if one.weight is not None]
    if sorted(set(weights)) != weights:
        raise _bad_steps(weights)
    kinds = [one.kind for one in steps]
    if "weight" in kinds and "shadow" in kinds[kinds.index("weight") :]:
        raise BadInput("a shadow step comes before the first weight", "its answers would be nobody's", SEE)
    if strategy in ("blue-green", "recreate") and set(kinds) - ({"approve"} if strategy == "blue-green" else set()):
        raise BadInput(f"{strategy} has no step {kinds[0]}", "it moves all traffic at once", "strategy: canary")
    if strategy == "shadow" and "weight" in kinds:
        raise BadInput("a shadow has no weight", "its answers are never used", "strategy: canary")


def _bad_steps(weights: list[float]) -> BadInput:
    return BadInput(
        f"the steps {weights} cannot be taken",
        "weights rise and lie between 0 and 100 per cent",
        "--steps 5 --steps 25 --steps 50",
    )


def _said(step: Step) -> str:
    said = [name for name in ("weight", "shadow", "approve") if getattr(step, name)]
    return " and ".join(said) or "nothing"


def _check_durations(spec: Spec, steps: tuple[Step, ...]) -> None:
    given: dict[str, Any] = {
        "keepOld": spec.keep_old,
        "rollbackWindow": spec.rollback_window,
        "deadline": spec.deadline,
        "analysis.every": spec.analysis.every,
    }
    if spec.orphan:
        given["orphan.after"] = spec.orphan.after
    given |= {f"steps[{i}].for": one.for_ for i, one in enumerate(steps)}
    given |= {f"steps[{i}].max": one.max for i, one in enumerate(steps)}
    for name, said in given.items():
        try:
            found = seconds(said)
        except ValueError:
            raise BadInput(f"{name}: {said!r} is no duration", "", "seconds, or 30s, 10m, 2h, 7d") from None
        if found < 0 or (not found and name in ("deadline", "analysis.every", "orphan.after")):
            raise BadInput(f"{name}: {said!r} is too short")


def kept(text: str) -> Spec:
    """Return the specification that a rollout was started with, as the store has it.

    Rollouts of before the file was there were kept as their command line's choices.
    """
    try:
        return msgspec.json.decode(text, type=Spec)
    except msgspec.ValidationError:
        return chosen(msgspec.json.decode(text, type=StartRollout), labelled=True)

"""A definition file of flagd, read whole: ``{"flags": {...}, "$evaluators": {...}, "metadata": {...}}``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from time import time
from typing import Any, NamedTuple

from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.toggles.checking import check, nearest, outcomes, resolved, variables, wrong
from mlops_tui.toggles.compiling import Rule, compiled

_KEYS = ("state", "variants", "defaultVariant", "targeting", "metadata")
_IGNORED = ("source", "selector", "key")
_KEY, _TIME = "$flagd.flagKey", "$flagd.timestamp"
_TOP = ("$schema", "$evaluators", "flags", "metadata")
_KINDS: tuple[tuple[str, Any], ...] = (
    ("boolean", bool),
    ("string", str),
    ("number", (int, float)),
    ("object", (dict, list)),
)
Metadata = Mapping[str, str | int | float | bool]


class Reason(StrEnum):
    """Why an evaluation came out as it did, in OpenFeature's words."""

    STATIC = "STATIC"
    DEFAULT = "DEFAULT"
    TARGETING_MATCH = "TARGETING_MATCH"
    DISABLED = "DISABLED"
    ERROR = "ERROR"


class Resolution(NamedTuple):
    """What a toggle says: without a ``variant`` it has nothing to say and the caller's own default holds."""

    value: Any
    variant: str | None
    reason: Reason
    error: str = ""


@dataclass(frozen=True)
class Toggle:
    """One flag, ready to be asked.

    ``kind`` is that of all its variants: boolean, string, number or object. ``needs`` are the paths of the context that
    its rule looks at, None when only the evaluation can tell. ``source`` is the flag as the file has it.
    """

    key: str
    enabled: bool
    variants: Mapping[str, Any]
    default: str | None
    kind: str
    metadata: Metadata
    source: Mapping[str, Any]
    rule: Rule | None = None
    needs: frozenset[str] | None = frozenset()

    def resolve(self, context: Mapping[str, Any]) -> Resolution:
        """Evaluate the toggle; never raises.

        Args:
            context: ``targetingKey`` and whatever else the rules look at.
        """
        if not self.enabled:
            return Resolution(None, None, Reason.DISABLED)
        if self.rule is None:
            return self._default(Reason.STATIC)
        try:
            chosen = self.rule(self._whole(context))
        except Exception as error:
            return Resolution(None, None, Reason.ERROR, f"{type(error).__name__}: {error}")
        if chosen is None:
            return self._default(Reason.DEFAULT)
        variant = str(chosen).lower() if isinstance(chosen, bool) else str(chosen)
        if self.variants.get(variant) is None:
            return Resolution(None, None, Reason.ERROR, f"the rule chose {variant!r}, which is no variant")
        return Resolution(self.variants[variant], variant, Reason.TARGETING_MATCH)

    def _whole(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the context with what flagd adds to it, as far as the rule looks at that."""
        needs = self.needs
        if needs is not None and _TIME not in needs and "$flagd" not in needs:
            return {**context, "$flagd": {"flagKey": self.key}} if _KEY in needs else context
        return {"targetingKey": None, **context, "$flagd": {"flagKey": self.key, "timestamp": int(time())}}

    def _default(self, reason: Reason) -> Resolution:
        if self.default is None:
            return Resolution(None, None, Reason.DEFAULT)
        return Resolution(self.variants[self.default], self.default, reason)


@dataclass(frozen=True)
class Definition:
    """What a file defines: its toggles by key, its shared rules as they stand, and what it says about itself."""

    toggles: Mapping[str, Toggle] = field(default_factory=dict)
    evaluators: Mapping[str, Any] = field(default_factory=dict)
    metadata: Metadata = field(default_factory=dict)

    def resolve(self, key: str, context: Mapping[str, Any] | None = None) -> Resolution:
        """Evaluate a toggle.

        Raises:
            NotFound: there is none of that key.
        """
        if key not in self.toggles:
            raise NotFound(f"there is no toggle {key!r}", "", nearest(key, self.toggles))
        return self.toggles[key].resolve(context or {})


def read_file(path: Path) -> Definition:
    """Read a definition file: JSON, or YAML by its suffix.

    Raises:
        NotFound: there is no such file.
        BadInput: it is no definition.
    """
    return defined(content_of(path))


def content_of(path: Path) -> Any:
    """Return what a file holds, before anything is made of it.

    Raises:
        NotFound: there is no such file.
        BadInput: it is neither JSON nor YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}", str(error)) from error
    return parsed(text, path.name)


def parsed(text: str, name: str) -> Any:
    """Return what a text holds, YAML when the name says so.

    Raises:
        BadInput: it is not JSON or YAML, or a key comes twice.
    """
    try:
        if name.endswith((".yaml", ".yml")):
            import yaml

            return yaml.safe_load(text)
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{name} is not JSON", str(error), "flagd's format: https://flagd.dev/reference") from error
    except Exception as error:
        raise BadInput(f"{name} is not YAML", str(error)[:500]) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} comes twice")
    return made


def defined(content: Any) -> Definition:
    """Return what the content of a file defines.

    Raises:
        BadInput: with the place in the file and what would be right there.
    """
    try:
        return _defined(content)
    except RecursionError as error:
        raise BadInput(
            "a rule is nested too deep", "", "share its parts as $evaluators, or write it flatter"
        ) from error


def _defined(content: Any) -> Definition:
    if not isinstance(content, dict) or "flags" not in content:
        raise BadInput('a definition is an object with "flags"', "", 'such as {"flags": {"new-model": {...}}}')
    _known("", content, _TOP)
    evaluators = _object(content.get("$evaluators") or {}, "$evaluators")
    for name, rule in evaluators.items():
        check(resolved(rule, evaluators, f"$evaluators.{name}", (name,)), f"$evaluators.{name}")
    flags = content["flags"]
    if isinstance(flags, list):
        flags = _keyed(flags)
    toggles = {key: toggle(key, flag, evaluators) for key, flag in _object(flags, "flags").items()}
    return Definition(toggles, evaluators, _metadata(content.get("metadata"), "metadata"))


def _keyed(flags: list[Any]) -> dict[str, Any]:
    """Return flags by the key that each of them carries."""
    made: dict[str, Any] = {}
    for i, flag in enumerate(flags):
        key = _object(flag, f"flags[{i}]").get("key")
        if not isinstance(key, str) or not key or key in made:
            raise wrong(f"flags[{i}].key", f"{key!r} is no key of its own")
        made[key] = flag
    return made


def toggle(key: str, flag: Any, evaluators: Mapping[str, Any] | None = None) -> Toggle:
    """Return a flag ready to be asked.

    Raises:
        BadInput: with the place in the file and what would be right there.
    """
    path = f"flags.{key}"
    if not key:
        raise wrong("flags", "a flag has an empty key")
    flag = _object(flag, path)
    _known(path, flag, _KEYS, _IGNORED)
    state = flag.get("state")
    if state not in ("ENABLED", "DISABLED"):
        raise wrong(f"{path}.state", f"{state!r} is no state", "ENABLED or DISABLED")
    variants, kind = _variants(flag.get("variants"), f"{path}.variants")
    default = _default(flag.get("defaultVariant"), variants, f"{path}.defaultVariant")
    rule, needs = _rule(flag.get("targeting"), variants, evaluators or {}, f"{path}.targeting")
    metadata = _metadata(flag.get("metadata"), f"{path}.metadata")
    return Toggle(key, state == "ENABLED", variants, default, kind, metadata, flag, rule, needs)


def _variants(given: Any, path: str) -> tuple[dict[str, Any], str]:
    variants = _object(given, path)
    if not variants:
        raise wrong(path, "a flag needs variants", 'such as {"on": true, "off": false}')
    kinds = {name: _kind(value) for name, value in variants.items()}
    first = next(iter(kinds.values()))
    for name, kind in kinds.items():
        if not kind:
            raise wrong(f"{path}.{name}", "null is no value", "")
        if kind != first:
            raise wrong(f"{path}.{name}", f"is a {kind} beside a {first}", "all variants of a flag are of one kind")
    return variants, first


def _kind(value: Any) -> str:
    return next((kind for kind, types in _KINDS if isinstance(value, types)), "")


def _default(given: Any, variants: Mapping[str, Any], path: str) -> str | None:
    if given is None or given == "":
        return None
    name = str(given).lower() if isinstance(given, bool) else given
    if not isinstance(name, str) or name not in variants:
        raise wrong(path, f"{given!r} is no variant", nearest(str(given), variants))
    return name


def _rule(
    logic: Any, variants: Mapping[str, Any], evaluators: Mapping[str, Any], path: str
) -> tuple[Rule | None, frozenset[str] | None]:
    if not logic and (logic is None or isinstance(logic, dict)):
        return None, frozenset()
    if not isinstance(logic, dict):
        raise wrong(path, f"{logic!r} is no rule", 'such as {"if": [{"==": [{"var": "country"}, "AE"]}, "on", "off"]}')
    whole = resolved(logic, evaluators, path)
    check(whole, path)
    for place, name in outcomes(whole, path):
        if name not in variants:
            raise wrong(place, f"{name!r} is no variant", nearest(name, variants))
    return compiled(whole), variables(whole)


def _metadata(given: Any, path: str) -> Metadata:
    found = _object({} if given is None else given, path)
    for name, value in found.items():
        if not name or not isinstance(value, str | int | float):
            raise wrong(f"{path}.{name}", "is neither text, number nor boolean")
    return found


def _object(given: Any, path: str) -> dict[str, Any]:
    if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
        raise wrong(path, "is not an object")
    return given


def _known(path: str, given: Mapping[str, Any], known: tuple[str, ...], ignored: tuple[str, ...] = ()) -> None:
    for key in given:
        if key not in known and key not in ignored:
            raise wrong(f"{path}.{key}".lstrip("."), "is unknown", nearest(key, known))

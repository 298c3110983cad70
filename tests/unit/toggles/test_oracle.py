"""The official flagd provider judges: buckets, and what rules mean."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_tui.toggles.cbor import cbor
from mlops_tui.toggles.compiling import compiled
from mlops_tui.toggles.definition import Reason, defined, read_file
from mlops_tui.toggles.murmur import murmur3
from mlops_tui.toggles.semver import COMPARISONS, compared

flagd = pytest.importorskip(
    "openfeature.contrib.tools.flagd.core.targeting.targeting", reason="the provider is missing"
)
custom = pytest.importorskip("openfeature.contrib.tools.flagd.core.targeting.custom_ops")

KEYS = 5000
RULE = {"fractional": [["a", 10], ["b", 30], ["c", 60]]}
SPLIT = {"variants": {"a": "a", "b": "b", "c": "c"}, "state": "ENABLED", "defaultVariant": "a"}
NAMES = ("plan", "age", "country", "tags", "user", "missing")

scalars = st.none() | st.booleans() | st.integers(-50, 50) | st.floats(-9, 9) | st.text("ab1.", max_size=4)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
contexts = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES[:4], values) | {"user": st.dictionaries(
    st.sampled_from(["id", "plan"]), scalars)})  # fmt: skip
paths = st.sampled_from([*NAMES, "user.id", "tags.0", "tags.length", "country.length", "", "$flagd.flagKey"])
VARIADIC = ["==", "!=", "===", "!==", "<", ">", "<=", ">=", "!", "!!", "+", "*", "-", "/", "%", "min", "max", "in",
            "cat", "substr", "merge", "if", "?:", "and", "or", "map", "filter", "all", "some", "none", "reduce",
            "starts_with", "ends_with", "missing", "missing_some", "fractional", "sem_ver"]  # fmt: skip


def _rules(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(lambda name, args: {name: args}, st.sampled_from(VARIADIC), st.lists(inner, max_size=4) | inner)


leaves = values | st.builds(lambda path: {"var": path}, paths) | st.builds(
    lambda path, value: {"var": [path, value]}, paths, scalars
)  # fmt: skip
rules = st.recursive(leaves, _rules, max_leaves=12)


def outcome(ask: Any) -> Any:
    """Return what came out, comparable: NaN equals itself, an error is an error, 1 is not true."""
    try:
        return _marked(ask())
    except RecursionError:
        raise
    except Exception:
        return "an error"


def _marked(value: Any) -> Any:
    if isinstance(value, list):
        return [_marked(one) for one in value]
    if isinstance(value, dict):
        return {key: _marked(one) for key, one in value.items() if key not in ("$flagd", "targetingKey")}
    return (type(value).__name__, "nan" if isinstance(value, float) and math.isnan(value) else value)


def context_of(attributes: dict[str, Any], key: str | None = None) -> Any:
    from openfeature.evaluation_context import EvaluationContext

    return EvaluationContext(key, attributes)


def with_official(attributes: dict[str, Any], key: str | None) -> dict[str, Any]:
    return {**attributes, "$flagd": {"flagKey": "f", "timestamp": 0}, "targetingKey": key}


@given(rules, contexts, st.none() | st.text(max_size=6))
@settings(max_examples=250, deadline=None)
def test_a_rule_means_what_it_means_to_the_official_provider(rule: Any, attributes: Any, key: Any) -> None:
    logic = {"if": [True, rule]}
    theirs = outcome(lambda: flagd.targeting("f", logic, context_of(attributes, key)))
    ours = outcome(lambda: compiled(logic)(with_official(attributes, key)))
    assert ours == theirs


def test_five_thousand_keys_fall_into_the_official_buckets(tmp_path: Path) -> None:
    from openfeature.contrib.provider.flagd import FlagdProvider
    from openfeature.contrib.provider.flagd.config import ResolverType

    path = tmp_path / "flags.json"
    path.write_text(json.dumps({"flags": {"split": {**SPLIT, "targeting": RULE}}}))
    official = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path))
    official.initialize(context_of({}))
    own = read_file(path)
    seen: dict[str, int] = {}
    try:
        for i in range(KEYS):
            key = f"user-{i}@example.com" if i % 2 else f"{i * 7919:x}é"
            theirs = official.resolve_string_details("split", "", context_of({}, key))
            ours = own.resolve("split", {"targetingKey": key})
            assert (ours.value, ours.variant, str(ours.reason)) == (theirs.value, theirs.variant, str(theirs.reason))
            seen[ours.value] = seen.get(ours.value, 0) + 1
    finally:
        official.shutdown()
    assert {name: round(n / KEYS, 1) for name, n in seen.items()} == {"a": 0.1, "b": 0.3, "c": 0.6}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@given(json_values)
@settings(max_examples=100, deadline=None)
def test_keys_of_any_type_have_the_official_bytes_and_hash(value: Any) -> None:
    import cbor2
    import mmh3

    official = cbor2.dumps(custom.normalize_numbers(value), canonical=True)
    assert cbor(value) == official
    assert murmur3(official) == mmh3.hash(official, signed=False)


versions = st.from_regex(r"\Av?(0|[1-9]\d?)(\.(0|[1-9]\d?)){0,3}(-[a-z0-9]{1,3}(\.[0-9a-z]{1,2})?)?(\+b\d)?\Z")


@given(versions, st.sampled_from(COMPARISONS), versions)
@settings(max_examples=100, deadline=None)
def test_versions_compare_as_officially(a: str, comparison: str, b: str) -> None:
    assert compared(a, comparison, b) == custom.sem_ver({}, a, comparison, b)


FILE = {
    "flags": {
        "on": {"state": "ENABLED", "variants": {"true": True, "false": False}, "defaultVariant": "false",
               "targeting": {"==": [{"var": "country"}, "AE"]}},
        "ref": {"state": "ENABLED", "variants": {"x": 1, "y": 2}, "targeting": {"if": [{"$ref": "staff"}, "x"]}},
        "off": {"state": "DISABLED", "variants": {"x": 1}, "defaultVariant": "x"},
        "still": {"state": "ENABLED", "variants": {"x": {"a": 1}}, "defaultVariant": "x", "targeting": {}},
        "wild": {"state": "ENABLED", "variants": {"x": "1"}, "defaultVariant": "x", "targeting": {"var": "country"}},
    },
    "$evaluators": {"staff": {"ends_with": [{"var": "email"}, "@example.com"]}},
}  # fmt: skip


@pytest.mark.parametrize("key", list(FILE["flags"]))
@pytest.mark.parametrize("attributes", [{}, {"country": "AE"}, {"email": "a@example.com"}, {"email": 3}])
def test_files_resolve_as_officially(key: str, attributes: dict[str, Any]) -> None:
    from openfeature.contrib.tools.flagd.core.flagd_core import FlagdCore
    from openfeature.exception import OpenFeatureError

    official, own = FlagdCore(), defined(FILE)
    official.set_flags(json.dumps(FILE))
    ours = own.resolve(key, attributes)
    try:
        theirs = official._resolve(key, None, context_of(attributes))
    except OpenFeatureError:
        assert ours.reason is Reason.ERROR
    else:
        assert (ours.value, ours.variant, str(ours.reason)) == (theirs.value, theirs.variant, str(theirs.reason))

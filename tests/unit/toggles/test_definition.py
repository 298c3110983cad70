"""Definition files: what is wrong is said with its place and the nearest right word."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.toggles import Reason, defined, read_file
from mlops_tui.toggles.watching import Watched

FLAG: dict[str, Any] = {"state": "ENABLED", "variants": {"red": "r", "green": "g"}, "defaultVariant": "red"}


def one(**changes: Any) -> dict[str, Any]:
    return {"flags": {"f": {**FLAG, **changes}}}


def ruled(rule: Any) -> dict[str, Any]:
    return one(targeting=rule)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], '"flags"'),
        ({"flags": {}, "evaluators": {}}, "evaluators: is unknown · did you mean $evaluators?"),
        ({"flags": {"f": 3}}, "flags.f: is not an object"),
        (one(state="ON"), "flags.f.state: 'ON' is no state"),
        (one(variants={}), "flags.f.variants: a flag needs variants"),
        (one(variants={"red": "r", "green": 1}), "flags.f.variants.green: is a number beside a string"),
        (one(defaultVariant="grean"), "flags.f.defaultVariant: 'grean' is no variant · did you mean green"),
        (one(targetting={}), "flags.f.targetting: is unknown · did you mean targeting?"),
        (one(metadata={"a": None}), "flags.f.metadata.a: is neither"),
        (ruled("red"), "flags.f.targeting: 'red' is no rule"),
        (ruled({"if": [{"starts_wth": ["a", "b"]}, "red"]}), "targeting.if[0].starts_wth: there is no operator"),
        (ruled({"if": [{"starts_wth": ["a", "b"]}, "red"]}), "did you mean starts_with"),
        (ruled({"if": [True, "reed"]}), "flags.f.targeting.if[1]: 'reed' is no variant · did you mean red"),
        (ruled({"fractional": [["red", 50], ["gren", 50]]}), "fractional[1][0]: 'gren' is no variant"),
        (ruled({"fractional": [["red", 0.5], ["green", 50]]}), "fractional[0][1]: 0.5 is no weight"),
        (ruled({"fractional": [["red", 0]]}), "the weights add up to 0"),
        (ruled({"fractional": [{"var": "id"}]}), "it has no buckets"),
        (ruled({"starts_with": ["a"]}), "starts_with: it takes 2 arguments, not 1"),
        (ruled({"sem_ver": [{"var": "v"}, "=>", "1.0"]}), "there is no comparison '=>'"),
        (ruled({"sem_ver": [{"var": "v"}, "=", "one"]}), "sem_ver[2]: 'one' is no semantic version"),
        (ruled({"var": ["a", 1, 2]}), "it takes a path and a default"),
        (ruled({"==": [1, 1], "!": 1}), "a rule names one operator, this one has 2 keys"),
        (ruled({"$ref": "stuff"}) | {"$evaluators": {"staff": {"var": "a"}}}, "did you mean staff"),
        (ruled({"$ref": "a"}) | {"$evaluators": {"a": {"!": [{"$ref": "a"}]}}}, "'a' refers to itself"),
    ],
)
def test_a_mistake_is_said_with_its_place(content: Any, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        defined(content)
    assert said in str(caught.value)


def test_evaluators_refer_to_others_whatever_their_order() -> None:
    rule = {"if": [{"$ref": "staff"}, "green"]}
    shared = {"staff": {"$ref": "mail"}, "mail": {"ends_with": [{"var": "email"}, "@example.com"]}}
    own = defined(ruled(rule) | {"$evaluators": shared})
    assert own.resolve("f", {"email": "a@example.com"}).value == "g"
    assert own.resolve("f", {"email": "a@example.org"}).reason is Reason.DEFAULT


def test_a_rule_says_what_it_looks_at() -> None:
    rule = {"if": [{"==": [{"var": "headers.x-plan"}, "pro"]}, {"fractional": [["red", 1], ["green", 1]]}]}
    assert defined(ruled(rule)).toggles["f"].needs == {"headers.x-plan", "targetingKey", "$flagd.flagKey"}
    assert defined(ruled({"if": [{"var": {"var": "which"}}, "red"]})).toggles["f"].needs is None
    assert defined(one()).toggles["f"].rule is None


def test_a_rule_knows_the_flag_and_the_time() -> None:
    rule = {"if": [{"and": [{"==": [{"var": "$flagd.flagKey"}, "f"]}, {">": [{"var": "$flagd.timestamp"}, 10**9]}]}]}
    rule["if"].append("green")
    assert defined(ruled(rule)).resolve("f").value == "g"


def test_a_rule_that_fails_says_why_and_chooses_nothing() -> None:
    found = defined(ruled({"if": [{"/": [1, {"var": "n"}]}, "red"]})).resolve("f", {"n": 0})
    assert (found.variant, found.reason) == (None, Reason.ERROR) and "ZeroDivision" in found.error


def test_an_unknown_toggle_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean f"):
        defined(one()).resolve("ff")


def test_a_rule_that_is_nested_too_deep_is_refused_not_a_crash() -> None:
    rule: Any = True
    for _ in range(20_000):
        rule = {"!": rule}
    with pytest.raises(BadInput, match="nested too deep"):
        defined(ruled({"if": [rule, "red"]}))


def test_flags_may_be_a_list() -> None:
    assert defined({"flags": [{**FLAG, "key": "f"}]}).resolve("f").value == "r"
    with pytest.raises(BadInput, match=r"flags\[0\].key"):
        defined({"flags": [FLAG]})


def test_files_are_json_or_yaml_and_say_what_they_are_not(tmp_path: Path) -> None:
    yaml = tmp_path / "flags.yaml"
    yaml.write_text("flags:\n  f: {state: ENABLED, variants: {a: 1}, defaultVariant: a}\n")
    assert read_file(yaml).resolve("f").value == 1
    twice = tmp_path / "flags.json"
    twice.write_text('{"flags": {}, "flags": {}}')
    with pytest.raises(BadInput, match="comes twice"):
        read_file(twice)
    with pytest.raises(NotFound):
        read_file(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b"\xff")
    with pytest.raises(BadInput, match="cannot read"):
        read_file(tmp_path / "latin.json")


def test_a_watched_file_is_read_again_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    watched = Watched(path)
    assert not watched.look()
    _put(path, one())
    assert watched.look() and not watched.look()
    _put(path, {"flags": 3})
    assert not watched.look()
    assert "flags: is not an object" in watched.error and watched.definition.resolve("f").value == "r"
    _put(path, one(defaultVariant="green"))
    assert watched.look() and not watched.error and watched.definition.resolve("f").value == "g"
    path.unlink()
    assert watched.look() and not watched.definition.toggles


def _put(path: Path, content: Any) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content))
    os.replace(new, path)

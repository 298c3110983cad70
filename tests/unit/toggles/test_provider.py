"""Users' code asks through OpenFeature."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openfeature", reason="needs the extra openfeature")

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from mlops_tui.toggles import provider as module
from mlops_tui.toggles.provider import MlopsProvider


def flag(variants: dict[str, Any], default: str, **more: Any) -> dict[str, Any]:
    return {"state": "ENABLED", "variants": variants, "defaultVariant": default, **more}


FLAGS = {
    "bool": flag({"on": True, "off": False}, "off", targeting={"if": [{"==": [{"var": "plan"}, "pro"]}, "on"]}),
    "text": flag({"a": "x"}, "a", metadata={"owner": "me"}),
    "whole": flag({"a": 3}, "a"),
    "object": flag({"a": {"k": [1]}}, "a"),
    "off": {"state": "DISABLED", "variants": {"a": 1}},
    "mine": flag({"a": "A", "b": "B"}, "a", targeting={"if": [{"==": [{"var": "targetingKey"}, "u7"]}, "b"]}),
    "broken": flag({"a": "A"}, "a", targeting={"if": [{"/": [1, 0]}, "a"]}),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    put(tmp_path / "flags.json", FLAGS)
    return tmp_path / "flags.json"


def put(path: Path, flags: Any) -> None:
    path.with_suffix(".new").write_text(json.dumps({"flags": flags, "metadata": {"set": "s"}}))
    os.replace(path.with_suffix(".new"), path)


@pytest.fixture
def client(path: Path) -> Any:
    from openfeature import api

    api.set_provider_and_wait(MlopsProvider(path), "mlops-test")
    yield api.get_client("mlops-test")
    api.shutdown()


def test_each_kind_is_answered_by_the_client(client: Any) -> None:
    assert client.get_boolean_value("bool", False, EvaluationContext(None, {"plan": "pro"})) is True
    assert client.get_boolean_value("bool", True) is False
    assert client.get_string_value("text", "") == "x"
    assert client.get_integer_value("whole", 0) == 3
    assert client.get_float_value("whole", 0.0) == 3.0
    assert client.get_object_value("object", {}) == {"k": [1]}
    assert client.get_string_value("mine", "", EvaluationContext("u7")) == "B"


def test_what_cannot_be_answered_is_the_callers_default_with_the_reason(client: Any) -> None:
    found = client.get_string_details("off", "mine")
    assert (found.value, found.reason) == ("mine", Reason.DISABLED)
    for key, error in (
        ("none", ErrorCode.FLAG_NOT_FOUND), ("whole", ErrorCode.TYPE_MISMATCH), ("broken", ErrorCode.GENERAL),
    ):  # fmt: skip
        found = client.get_string_details(key, "mine")
        assert (found.value, found.error_code) == ("mine", error)
    assert client.get_string_details("text", "").flag_metadata == {"set": "s", "owner": "me"}


def test_a_change_is_followed_and_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0.0)
    told: list[Any] = []
    own = MlopsProvider(path)
    own.attach(lambda provider, event, details: told.append((event.value, details.flags_changed, details.message)))
    own.initialize(EvaluationContext())
    assert own.resolve_integer_details("whole", 0).value == 3
    put(path, {**FLAGS, "whole": flag({"a": 4}, "a")})
    assert own.resolve_integer_details("whole", 0).value == 4
    path.with_suffix(".new").write_text("{")
    os.replace(path.with_suffix(".new"), path)
    assert own.resolve_integer_details("whole", 0).value == 4
    assert [event for event, *_ in told] == ["PROVIDER_CONFIGURATION_CHANGED", "PROVIDER_STALE"]
    assert told[0][1] == ["whole"]


def test_a_file_that_must_be_there_is_missed(tmp_path: Path) -> None:
    from openfeature.exception import ProviderNotReadyError

    MlopsProvider(tmp_path / "none.json").initialize(EvaluationContext())
    with pytest.raises(ProviderNotReadyError):
        MlopsProvider(tmp_path / "none.json", must_exist=True).initialize(EvaluationContext())

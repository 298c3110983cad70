"""What toggles do to requests: which revision answers, whether any does, what is repeated and logged."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from mlops_tui.serving.deployment import Rescue
from mlops_tui.serving.record.segments import read_segment
from mlops_tui.serving.traffic.routing import Router
from mlops_tui.serving.traffic.toggling import switches
from mlops_tui.toggles import defined

ROW = [[1.0, 2.0, 3.0]]


def flag(controls: str, variants: dict[str, Any], default: str | None = None, rule: Any = None, **more: Any) -> Any:
    said = {"deployment": "m", "controls": controls, **more}
    made: dict[str, Any] = {"state": "ENABLED", "variants": variants, "metadata": said}
    if default is not None:
        made["defaultVariant"] = default
    if rule is not None:
        made["targeting"] = rule
    return made


ON_OFF = {"on": True, "off": False}


@pytest.fixture
def play(bench: Any, onnx_models: Any) -> Any:
    """Two revisions, 100 : 0, whose answers differ by 10, under toggles."""

    def start(flags: dict[str, Any], sticky: str | None = None, rescue: Rescue = Rescue(), canary: float = 0.0) -> Any:
        names = ["age", "hours", "pay"]
        arms = [
            bench.arm(1, onnx_models.summing(0.0, names=names), 100.0 - canary),
            bench.arm(2, onnx_models.summing(10.0, names=names), canary, "canary"),
        ]
        router = Router((1, 1), arms, sticky, None, rescue)
        bench.app.route(router, [(0, "", "none"), *((a.column, a.id, a.label) for a in arms)])
        bench.app.predictor.switches = switches("m", defined({"flags": flags}), router)
        return bench

    return start


def revision(answer: Any) -> str:
    assert answer.status == 200, answer.body
    return str(json.loads(answer.body)["model_version"])


def said(answer: Any) -> Any:
    return json.loads(answer.body)


def test_toggles_that_change_nothing_cost_nothing(play: Any) -> None:
    idle = {
        "a": flag("answers", ON_OFF, "on"),
        "b": flag("revision", {"new": "v2", "old": ""}, "old"),
        "c": flag("log", ON_OFF, "on"),
        "d": {**flag("answers", ON_OFF, "off"), "state": "DISABLED"},
        "e": {"state": "ENABLED", "variants": ON_OFF, "defaultVariant": "off"},
        "f": flag("answers", ON_OFF, "off") | {"metadata": {"deployment": "other", "controls": "answers"}},
    }
    assert play(idle).app.predictor.switches is None


def test_a_rule_picks_the_revision_by_header_parameter_feature_and_key(play: Any) -> None:
    by = {
        "header": {"==": [{"var": "headers.x-plan"}, "pro"]},
        "parameter": {"==": [{"var": "parameters.tier"}, 3]},
        "feature": {">": [{"var": "features.hours"}, 40]},
        "key": {"starts_with": [{"var": "targetingKey"}, "staff-"]},
    }
    rule = {"if": [{"or": list(by.values())}, "new"]}
    bench = play({"pick": flag("revision", {"new": "v2"}, rule=rule)})
    assert revision(bench.infer(ROW)) == "v1"
    assert revision(bench.infer(ROW, parameters={"tier": 3})) == "v2"
    assert revision(bench.infer(ROW, parameters={"tier": "4"})) == "v1"
    assert revision(bench.infer([[1, 41, 1]])) == "v2"
    assert revision(bench.infer(ROW, id="staff-7")) == "v2"
    asked = {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": ROW[0]}]}
    assert revision(bench.ask("/v2/models/m/infer", asked, x_plan="pro")) == "v2"
    assert revision(bench.ask("/v2/models/m/infer", asked, x_targeting_key="staff-1")) == "v2"
    frame = {"dataframe_split": {"data": [[1, 50, 1]]}, "params": {"tier": 1}}
    assert dict(bench.ask("/invocations", frame).headers)[b"x-mlops-revision"] == b"v2"


def test_weights_by_a_toggle_are_sticky_and_hold(play: Any) -> None:
    weights = flag("revision", {"half": {"v1": 70, "v2": 30}}, "half")
    bench = play({"pick": weights}, sticky="id")
    seen = {f"u{i}": revision(bench.infer(ROW, id=f"u{i}")) for i in range(600)}
    assert seen == {key: revision(bench.infer(ROW, id=key)) for key in seen}
    assert abs(Counter(seen.values())["v2"] / 600 - 0.3) < 0.06


def test_a_killed_deployment_says_why_and_one_that_has_a_constant_gives_it(play: Any) -> None:
    kill = {"k": flag("answers", ON_OFF, "off", why="wrong scores")}
    bench = play(kill)
    answer = bench.infer(ROW)
    assert (answer.status, said(answer)["error"]) == (503, "m is switched off: wrong scores")
    assert bench.ask("/v2/models/m/versions/v2/infer", {"inputs": []}).status == 503
    bench = play(kill, rescue=Rescue(last_resort={"score": 0.5, "count": 0}))
    answer = said(bench.infer([*ROW, *ROW]))
    assert answer["parameters"]["fallback"] is True
    assert {one["name"]: one["data"] for one in answer["outputs"]} == {"score": [0.5, 0.5], "count": [0, 0]}
    assert [one["shape"] for one in answer["outputs"]] == [[2], [2, 1]]
    metrics = bench.ask("/metrics", method="GET").body.decode()
    assert 'mlops_serving_switched_off_total{deployment="m"} 3' in metrics
    assert 'outcome="fallback"} 1' in metrics


def test_a_killed_revision_is_stood_in_for_by_the_stable_one(play: Any) -> None:
    bench = play({"k": flag("answers", ON_OFF, "off", revision="v2")}, canary=100.0)
    answer = bench.infer(ROW)
    assert revision(answer) == "v1" and said(answer)["parameters"]["fallback"] is True
    pinned = bench.ask("/v2/models/m/versions/v2/infer", {"inputs": []})
    assert (pinned.status, said(pinned)["error"]) == (503, "revision v2 of m is switched off")
    both = {f"k{n}": flag("answers", ON_OFF, "off", revision=f"v{n}") for n in (1, 2)}
    assert play(both, canary=100.0).infer(ROW).status == 503
    narrow = Rescue(on=("error",))
    assert (
        play({"k": flag("answers", ON_OFF, "off", revision="v2")}, canary=100.0, rescue=narrow).infer(ROW).status == 503
    )


def test_a_toggle_may_ask_for_the_fallback(play: Any) -> None:
    rule = {"if": [{"==": [{"var": "headers.x-safe"}, "1"]}, "on"]}
    bench = play({"f": flag("fallback", ON_OFF, rule=rule)}, canary=100.0)
    asked = {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": ROW[0]}]}
    assert revision(bench.ask("/v2/models/m/infer", asked)) == "v2"
    answer = bench.ask("/v2/models/m/infer", asked, x_safe="1")
    assert revision(answer) == "v1" and said(answer)["parameters"]["fallback"] is True


def test_shadow_and_log_are_left_out_where_a_toggle_says_so(play: Any, bench: Any, onnx_models: Any) -> None:
    private = {"if": [{"==": [{"var": "headers.x-private"}, "1"]}, "off"]}
    play({"log": flag("log", ON_OFF, rule=private), "shadow": flag("shadow", ON_OFF, rule=private)})
    shadow = bench.arm(3, onnx_models.summing(5.0), 1.0, "shadow")
    router = Router((1, 2), [*bench.app.predictor.router.arms, shadow], None, None)
    bench.app.route(router, [])
    flags = {"log": flag("log", ON_OFF, rule=private), "shadow": flag("shadow", ON_OFF, rule=private)}
    bench.app.predictor.switches = switches("m", defined({"flags": flags}), router)
    asked = {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": ROW[0]}]}
    for ident, headers in (("open", {}), ("closed", {"x_private": "1"})):
        assert bench.ask("/v2/models/m/infer", {**asked, "id": ident}, **headers).status == 200
    while bench.app.predictor.owes_shadows:
        bench.app.predictor.run_shadow()
    bench.log.close()
    batches = [read_segment(path) for path in sorted(bench.spool.glob("*.seg"))]
    assert [(ident, flags) for b in batches for ident, flags in zip(b.request_id, b.flags, strict=True)] == [
        ("open", 0), ("open", 1)
    ]  # fmt: skip


def test_a_shadow_never_answers_whatever_a_toggle_says(bench: Any, onnx_models: Any) -> None:
    arms = [bench.arm(1, onnx_models.summing(0.0)), bench.arm(2, onnx_models.summing(10.0), 50.0, "shadow")]
    bench.app.route(router := Router((1, 1), arms, None, None), [])
    for variants in ({"new": "v2"}, {"new": {"v2": 1}}):
        flags = {"pick": flag("revision", variants, "new")}
        bench.app.predictor.switches = switches("m", defined({"flags": flags}), router)
        assert revision(bench.infer(ROW)) == "v1"


def test_a_toggle_of_the_wrong_kind_or_revision_changes_nothing(play: Any) -> None:
    bench = play({"pick": flag("revision", {"new": "v9"}, "new"), "log": flag("log", {"a": "x"}, "a")})
    assert revision(bench.infer(ROW)) == "v1"


def test_a_rule_that_looks_at_everything_gets_everything(play: Any) -> None:
    rule = {"if": [{"==": [{"var": {"var": "parameters.which"}}, "m"]}, "new"]}
    bench = play({"pick": flag("revision", {"new": "v2"}, rule=rule)})
    assert revision(bench.infer(ROW, parameters={"which": "deployment"})) == "v2"
    assert revision(bench.infer(ROW, parameters={"which": "targetingKey"})) == "v1"

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from mlops_tui.serving.problem import Problem
from mlops_tui.serving.traffic.routing import Router

KEYS = [f"user-{i}".encode() for i in range(4000)]


class Asked:
    """A request without a body."""

    def __init__(self, ident: str | None = None) -> None:
        self.id = ident

    def first(self, name: str, model: Any) -> Any:
        return None


def assigned(bench: Any, data: bytes, weights: dict[int, float], sticky: str = "X-User") -> dict[bytes, int]:
    arms = [bench.arm(no, data, weight, "stable" if no == 1 else "canary") for no, weight in weights.items()]
    router = Router((1, 1), arms, sticky, None)
    return {key: router.pick({b"x-user": key}, b"", Asked())[0].no for key in KEYS}


def test_without_a_key_traffic_falls_by_weight(bench: Any, onnx_models: Any) -> None:
    arms = [bench.arm(no, onnx_models.summing(), weight) for no, weight in ((1, 70.0), (2, 20.0), (3, 10.0))]
    router = Router((1, 1), arms, None, None)
    counted = Counter(router.pick({}, b"", Asked())[0].no for _ in range(20_000))
    for no, share in ((1, 0.7), (2, 0.2), (3, 0.1)):
        assert abs(counted[no] / 20_000 - share) < 0.02


def test_a_key_always_meets_the_same_revision_and_shares_hold(bench: Any, onnx_models: Any) -> None:
    data = onnx_models.summing()
    first = assigned(bench, data, {1: 90, 2: 10})
    assert first == assigned(bench, data, {1: 90, 2: 10})
    assert abs(Counter(first.values())[2] / len(KEYS) - 0.1) < 0.02
    three = Counter(assigned(bench, data, {1: 50, 2: 30, 3: 20}).values())
    for no, share in ((1, 0.5), (2, 0.3), (3, 0.2)):
        assert abs(three[no] / len(KEYS) - share) < 0.03


def test_raising_the_canary_moves_nobody_back(bench: Any, onnx_models: Any) -> None:
    data = onnx_models.summing()
    steps = [assigned(bench, data, {1: 100 - w, 2: w}) for w in (1, 5, 10, 25, 50, 75, 99)]
    for before, after in pairwise(steps):
        assert all(after[key] == 2 for key in KEYS if before[key] == 2)
        assert sum(no == 2 for no in after.values()) > sum(no == 2 for no in before.values())


def test_raising_one_of_three_moves_nobody_away_from_it(bench: Any, onnx_models: Any) -> None:
    data = onnx_models.summing()
    before, after = (assigned(bench, data, {1: 80 - w, 2: w, 3: 20}) for w in (10, 40))
    assert all(after[key] == 2 for key in KEYS if before[key] == 2)
    moved_from_3 = [key for key in KEYS if before[key] == 3 and after[key] != 3]
    assert all(after[key] == 2 for key in moved_from_3)


def test_the_request_id_can_be_the_key(bench: Any, onnx_models: Any) -> None:
    arms = [bench.arm(no, onnx_models.summing(), 50.0) for no in (1, 2)]
    router = Router((1, 1), arms, "X-Request-Id", None)
    assert len({router.pick({}, b"", Asked("same"))[0].no for _ in range(50)}) == 1
    assert len({router.pick({}, b"", Asked())[0].no for _ in range(200)}) == 2


def test_shadows_and_weight_zero_get_no_traffic_but_can_be_named(bench: Any, onnx_models: Any) -> None:
    data = onnx_models.summing()
    arms = [bench.arm(1, data, 100), bench.arm(2, data, 0, "canary"), bench.arm(3, data, 50, "shadow")]
    router = Router((1, 1), arms, None, None)
    assert {router.pick({}, b"", Asked())[0].no for _ in range(300)} == {1}
    assert [router.named(n).no for n in ("v2", "2", "rev-2", "v3")] == [2, 2, 2, 3]
    assert [arm.no for arm in router.shadows] == [3]
    with pytest.raises(Problem, match="no version 'v9'") as caught:
        router.named("v9")
    assert caught.value.status == 404


def test_who_answers_when_an_arm_fails(bench: Any, onnx_models: Any) -> None:
    data = onnx_models.summing()
    stable, canary = bench.arm(1, data, 90), bench.arm(2, data, 10, "canary")
    router = Router((1, 1), [stable, canary], None, None)
    assert router.fallback(canary) is stable and router.fallback(stable) is None and router.lead is stable
    named = Router((1, 1), [stable, canary], None, "rev-2")
    assert named.fallback(stable) is canary and named.fallback(canary) is None
    arms = [bench.arm(1, data, 40, "A"), bench.arm(2, data, 60, "B")]
    equal = Router((1, 1), arms, None, None)
    assert equal.fallback(arms[0]) is None and equal.lead is arms[1]

"""Who answers when a revision fails, takes too long, or there is nobody else."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.serving.deployment import ROUTES, Rescue, read_routes
from mlops_tui.serving.models.pool import Pool
from mlops_tui.serving.problem import Problem
from mlops_tui.serving.record.counters import Count
from mlops_tui.serving.record.segments import read_segment
from mlops_tui.serving.traffic.rescue import LastResort
from mlops_tui.serving.traffic.routing import Router

BAD, GOOD = [[10.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]]
CONSTANT = {"score": 0.25, "count": 7}


def route(bench: Any, *arms: Any, fallback: str | None = None, rescue: Rescue = Rescue()) -> None:
    bench.app.route(Router((1, 1), arms, None, fallback, rescue), [])


def said(answer: Any) -> Any:
    return {**json.loads(answer.body), "status": answer.status}


def test_the_constant_answers_at_last_typed_marked_counted_and_logged(bench: Any, onnx_models: Any) -> None:
    route(bench, bench.arm(1, onnx_models.brittle()), rescue=Rescue(last_resort=CONSTANT))
    answer = said(bench.infer([*BAD, *GOOD]))
    assert answer["status"] == 200 and answer["parameters"] == {
        "revision": "v1",
        "revision_id": "rev-1",
        "fallback": True,
    }
    assert answer["outputs"] == [
        {"name": "count", "datatype": "INT64", "shape": [2], "data": [7, 7]},
        {"name": "score", "datatype": "FP32", "shape": [2, 1], "data": [0.25, 0.25]},
    ]
    assert bench.counters.column(1)[Count.MODEL_ERROR] == 1 and bench.counters.column(1)[Count.FALLBACK] == 1
    bench.log.flush()
    (path,) = bench.spool.glob("*.seg")
    batch = read_segment(path)
    assert batch.status.tolist() == [2, 3] and batch.outputs.tolist()[2:] == [[7, 0.25], [7, 0.25]]
    assert dict(bench.ask("/invocations", {"inputs": BAD}).marks)[b"x-mlops-fallback"] == b"true"


def test_a_revision_stands_in_before_the_constant_does(bench: Any, onnx_models: Any) -> None:
    spare = bench.arm(3, onnx_models.summing(5.0), 0, "fallback")
    arms = [bench.arm(1, onnx_models.brittle()), spare]
    route(bench, *arms, fallback="rev-3", rescue=Rescue(last_resort=CONSTANT))
    answer = said(bench.infer(BAD))
    assert (answer["model_version"], answer["outputs"][1]["data"]) == ("v3", [20.0])
    broken = bench.arm(4, onnx_models.brittle(), 0, "fallback")
    route(bench, arms[0], broken, fallback="rev-4", rescue=Rescue(last_resort=CONSTANT))
    answer = said(bench.infer(BAD))
    assert (answer["model_version"], answer["outputs"][1]["data"]) == ("v4", [0.25])


def test_what_the_fallback_is_not_for_it_does_not_answer(bench: Any, onnx_models: Any) -> None:
    route(bench, bench.arm(1, onnx_models.brittle()), rescue=Rescue(on=("timeout",), last_resort=CONSTANT))
    assert bench.infer(BAD).status == 500
    route(bench, bench.arm(1, onnx_models.brittle()), rescue=Rescue(last_resort=CONSTANT))
    assert bench.infer([[1.0]]).status == 400, "a client's mistake is not the model's"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"score": 1}, "no value for the output 'count'"),
        ({"score": "high", "count": 1}, r"'score' does not fit FP32 \[-1, 1\]"),
        ({"score": [1, 2], "count": 1}, "'score' does not fit"),
    ],
)
def test_a_constant_that_does_not_fit_is_refused_with_the_routes(
    bench: Any, onnx_models: Any, values: Any, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        LastResort(values, [bench.arm(1, onnx_models.summing()).model])


def test_routes_say_what_a_fallback_may_be(tmp_path: Path) -> None:
    revision = {"id": "a", "no": 1, "label": "v1", "model": {"file": "m"}, "weight": 1}
    routes = {"epoch": 1, "generation": 1, "revisions": [revision]}
    for rescue, says in (({"on": ["fire"]}, "cannot be for 'fire'"), ({"timeout_s": 0.0001}, "at least 1 ms")):
        (tmp_path / ROUTES).write_text(json.dumps({**routes, "rescue": rescue}))
        with pytest.raises(BadInput, match=says):
            read_routes(tmp_path)
    (tmp_path / ROUTES).write_text(json.dumps(routes))
    assert read_routes(tmp_path).rescue == Rescue()


@pytest.fixture
def stuck(bench: Any, onnx_models: Any) -> Any:
    """A revision that answers when the test lets it, and a quick one."""
    slow = bench.arm(2, onnx_models.summing(10.0), 100, "canary")
    run, bench.go = slow.model.run, threading.Event()
    slow.model.takes_long = lambda rows: True  # type: ignore[method-assign]
    slow.model.run = lambda feed: bench.go.wait(5) and run(feed)  # type: ignore[method-assign]
    bench.slow, bench.quick = slow, bench.arm(1, onnx_models.summing(), 0, "stable")
    yield bench
    bench.go.set()


async def submitted(bench: Any, ident: str, seconds: float = 5.0) -> Any:
    """Ask one request over the pool and return its answer, whoever gives it."""
    done: asyncio.Queue[Any] = asyncio.Queue()
    predictor = bench.app.predictor
    predictor.pool = bench.pool = Pool(
        asyncio.get_running_loop(), 1, 2, lambda: [done.put_nowait(one) for one in bench.app.settle()]
    )
    head = {b"host": b"localhost"}
    body = json.dumps({"id": ident, "inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": GOOD[0]}]})
    asked = bench.app.ask(bench.app.admit("POST", "/v2/models/m/infer", head), body.encode())
    for ticket in bench.app.settle():
        done.put_nowait(ticket)
    ticket = await asyncio.wait_for(done.get(), seconds)
    assert ticket is asked and done.empty()
    return said(ticket.answer)


async def test_what_takes_too_long_is_answered_by_the_fallback_and_counted(stuck: Any) -> None:
    route(stuck, stuck.quick, stuck.slow, rescue=Rescue(timeout_s=0.02))
    answer = await submitted(stuck, "r")
    assert (answer["model_version"], answer["parameters"]["fallback"]) == ("v1", True)
    assert stuck.counters.column(2)[Count.MODEL_ERROR] == 1 and stuck.counters.column(1)[Count.FALLBACK] == 1
    stuck.go.set()
    await asyncio.sleep(0.05)
    assert stuck.counters.column(2)[Count.OK] == 0, "what comes later is for nobody"


async def test_without_a_fallback_what_takes_too_long_is_504(stuck: Any) -> None:
    route(stuck, stuck.slow, rescue=Rescue(timeout_s=0.02))
    answer = await submitted(stuck, "r")
    assert (answer["status"], answer["error"]) == (504, "the model failed: it took longer than 20 ms")
    route(stuck, stuck.slow, rescue=Rescue(timeout_s=0.02, last_resort=CONSTANT))
    assert (await submitted(stuck, "s"))["outputs"][1]["data"] == [0.25]


async def test_what_is_in_time_is_not_touched(stuck: Any) -> None:
    stuck.go.set()
    route(stuck, stuck.quick, stuck.slow, rescue=Rescue(timeout_s=2.0))
    answer = await submitted(stuck, "r")
    assert answer["model_version"] == "v2" and "fallback" not in answer["parameters"]


def test_an_engine_that_gives_up_after_its_own_limit_was_too_late(bench: Any, onnx_models: Any) -> None:
    slow = bench.arm(1, onnx_models.summing())

    def hang(feed: Any) -> Any:
        raise Problem("the model did not answer within 30 s", 504)

    slow.model.run = hang  # type: ignore[method-assign]
    route(bench, slow, rescue=Rescue(on=("error",), last_resort=CONSTANT))
    assert bench.infer(GOOD).status == 504
    route(bench, slow, rescue=Rescue(on=("timeout",), last_resort=CONSTANT))
    assert said(bench.infer(GOOD))["outputs"][1]["data"] == [0.25]

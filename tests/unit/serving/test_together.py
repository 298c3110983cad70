"""Requests of one turn: what runs together, what each gets of it, and what takes long."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from mlops_tui.serving.models.model import Model
from mlops_tui.serving.models.pool import Pool
from mlops_tui.serving.record.counters import Count, Gauge
from mlops_tui.serving.record.segments import read_segment
from mlops_tui.serving.traffic.call import Ticket

HEADERS = {b"host": b"localhost"}


def ask(bench: Any, rows: list[list[float]], ident: str, **more: Any) -> Ticket:
    array = np.array(rows, np.float32)
    tensor = {"name": "X", "shape": list(array.shape), "datatype": "FP32", "data": array.ravel().tolist()}
    body = json.dumps({"inputs": [tensor], "id": ident, **more}).encode()
    ticket = bench.app.ask(bench.app.admit("POST", "/v2/models/m/infer", HEADERS), body)
    assert isinstance(ticket, Ticket), ticket
    return ticket


def said(ticket: Ticket) -> dict[str, Any]:
    assert ticket.answer is not None
    return {"status": ticket.answer.status, **json.loads(ticket.answer.body)}


def runs_of(model: Model) -> list[int]:
    """Note how many rows each run has."""
    sizes: list[int] = []
    run = model.run

    def noted(feed: Any) -> Any:
        sizes.append(len(next(iter(feed.values()))))
        return run(feed)

    model.run = noted  # type: ignore[method-assign]
    return sizes


def centred(onnx_models: Any) -> bytes:
    """A model whose rows mind each other: score = Σ X less the mean of the batch."""
    constants = [helper.make_tensor("axis", TensorProto.INT64, [1], [1])]
    nodes = [
        helper.make_node("ReduceSum", ["X", "axis"], ["sum"], keepdims=1),
        helper.make_node("ReduceMean", ["sum"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["sum", "mean"], ["score"]),
    ]
    found: bytes = onnx_models.raw(
        nodes, [("X", TensorProto.FLOAT, ["n", 3])], [("score", TensorProto.FLOAT, ["n", 1])], constants
    )
    return found


def test_requests_of_a_turn_share_a_run_and_each_gets_its_own(bench: Any, onnx_models: Any) -> None:
    bench.route(arm := bench.arm(1, onnx_models.summing(1.0)))
    sizes = runs_of(arm.model)
    tickets = [ask(bench, [[i, 0, 0]], f"r{i}") for i in range(5)]
    assert bench.app.settle() == tickets and sizes == [5]
    assert [said(t)["outputs"][1]["data"] for t in tickets] == [[i + 1.0] for i in range(5)]
    assert [said(t)["outputs"][1]["shape"] for t in tickets] == [[1, 1]] * 5
    (path,) = bench.spool.glob("*.seg")
    batch = read_segment(path)
    assert batch.request_id == [f"r{i}" for i in range(5)] and batch.n_rows.tolist() == [1] * 5
    assert batch.features[:, 0].tolist() == list(range(5)) and batch.outputs[:, 1].tolist() == [1, 2, 3, 4, 5]
    column = bench.counters.column(1)
    assert column[Count.OK] == column[Count.ROWS] == sum(column[Count.BUCKET :]) == 5
    assert bench.slot[Gauge.HTTP_2XX] == 5


def test_requests_of_several_rows_share_too_and_binary_answers_are_theirs(bench: Any, onnx_models: Any) -> None:
    bench.route(arm := bench.arm(1, onnx_models.summing()))
    sizes = runs_of(arm.model)
    one = ask(bench, [[1, 2, 3], [4, 5, 6]], "a", outputs=[{"name": "score", "parameters": {"binary_data": True}}])
    two, big = ask(bench, [[7, 8, 9]], "b"), ask(bench, [[1, 1, 1]] * 65, "c")
    bench.app.settle()
    assert sorted(sizes) == [3, 65]
    assert one.answer is not None and np.frombuffer(one.answer.body[-8:], np.float32).tolist() == [6, 15]
    assert said(two)["outputs"][1] == {"name": "score", "datatype": "FP32", "shape": [1, 1], "data": [24.0]}
    assert len(said(big)["outputs"][0]["data"]) == 65


def test_one_that_breaks_the_run_is_the_only_one_that_fails(bench: Any, onnx_models: Any) -> None:
    bench.route(arm := bench.arm(1, onnx_models.brittle()))
    arm.model.joins = True
    tickets = [ask(bench, [[x, 0, 0]], str(x)) for x in (1, 99, 2)]
    bench.app.settle()
    assert [said(t)["status"] for t in tickets] == [200, 500, 200]
    assert bench.counters.column(1)[Count.MODEL_ERROR] == 1 and bench.counters.column(1)[Count.OK] == 2


@pytest.mark.parametrize(
    "shape, datatype, name, status",
    [([1, 3], "FP32", "X", 200), ([2, 3], "FP32", "X", 200), ([0, 3], "FP32", "X", 400), ([1, 4], "FP32", "X", 400),
     ([1, 3], "FP64", "X", 400), ([1, 3], "FP32", "Z", 400), ([3], "FP32", "X", 400)],
)  # fmt: skip
def test_rows_that_come_as_few_numbers_are_checked_as_arrays_are(
    bench: Any, onnx_models: Any, shape: list[int], datatype: str, name: str, status: int
) -> None:
    bench.route(arm := bench.arm(1, onnx_models.summing(1.0)))
    tensor = {"name": name, "shape": shape, "datatype": datatype, "data": [1.0] * int(np.prod(shape))}
    for more in ({}, {"outputs": [{"name": one} for one in arm.model.output_names]}):
        body = json.dumps({"inputs": [tensor], **more}).encode()
        tickets = [bench.app.ask(bench.app.admit("POST", "/v2/models/m/infer", HEADERS), body) for _ in range(2)]
        bench.app.settle()
        assert [ticket.answer.status for ticket in tickets] == [status] * 2


def test_rows_that_mind_each_other_are_found_out_and_never_run_together(bench: Any, onnx_models: Any) -> None:
    assert Model(onnx_models.summing()).joins and not Model(onnx_models.images()).joins
    bench.route(arm := bench.arm(1, centred(onnx_models)))
    assert not arm.model.joins
    tickets = [ask(bench, [[i, 0, 0]], str(i)) for i in range(3)]
    bench.app.settle()
    assert [said(t)["outputs"][0]["data"] for t in tickets] == [[0.0]] * 3


@pytest.fixture
def slow(bench: Any, onnx_models: Any) -> Any:
    """A model that takes as long as the test wants."""
    bench.route(arm := bench.arm(1, onnx_models.summing()))
    run, bench.go = arm.model.run, threading.Event()
    arm.model.takes_long = lambda rows: True  # type: ignore[method-assign]
    arm.model.run = lambda feed: bench.go.wait(5) and run(feed)  # type: ignore[method-assign]
    return bench


async def test_what_takes_long_is_answered_later_and_too_many_are_turned_away(slow: Any) -> None:
    late: list[Ticket] = []
    told = asyncio.Event()

    def tell() -> None:
        late.extend(slow.app.settle())
        if len(late) == 3:
            told.set()

    slow.app.predictor.pool = pool = Pool(asyncio.get_running_loop(), 1, 2, tell)
    tickets = []
    for i in range(4):
        tickets.append(ask(slow, [[i, 0, 0]], str(i)))
        settled = slow.app.settle()
    assert settled == tickets[3:] and said(tickets[3])["status"] == 429
    assert b"retry-after" in dict(tickets[3].answer.headers)
    assert slow.slot[Gauge.TURNED_AWAY] == 1 and slow.counters.column(1)[Count.CLIENT_ERROR] == 0
    slow.go.set()
    await asyncio.wait_for(told.wait(), 5)
    assert [t.ident for t in late] == ["0", "1", "2"]
    assert [said(t)["outputs"][1]["data"] for t in late] == [[0.0], [1.0], [2.0]]
    pool.close()


async def test_a_large_request_sets_off_when_it_is_read(slow: Any) -> None:
    settled: list[Ticket] = []
    told = asyncio.Event()

    def tell() -> None:
        settled.extend(slow.app.settle())
        told.set()

    slow.app.predictor.pool = pool = Pool(asyncio.get_running_loop(), 1, 0, tell)
    large, refused = (ask(slow, [[i, 0, 0]] * 65, str(i)) for i in range(2))
    assert (large.away, refused.away, pool.idle) == (True, False, False), "the end of the turn tells who found no room"
    assert slow.app.settle() == [refused] and said(refused)["status"] == 429
    slow.go.set()
    await asyncio.wait_for(told.wait(), 5)
    assert settled == [large] and said(large)["outputs"][0]["shape"] == [65] and pool.idle
    pool.close()


async def test_who_waits_for_a_model_that_is_let_go_is_answered_and_so_is_who_comes_too_late() -> None:
    given: asyncio.Queue[Any] = asyncio.Queue()
    ended, go = threading.Event(), threading.Event()
    pool = Pool(asyncio.get_running_loop(), 1, 3, lambda: None)
    for n in range(3):
        assert pool.submit(lambda n=n: [go.wait(5) and n], given.put_nowait)  # type: ignore[misc]
    pool.close(ended.set)
    assert not ended.is_set()
    go.set()
    assert [await asyncio.wait_for(given.get(), 5) for _ in range(3)] == [[0], [1], [2]]
    assert await asyncio.to_thread(ended.wait, 5)
    assert pool.submit(lambda: [3], given.put_nowait)  # type: ignore[arg-type, list-item]
    assert await asyncio.wait_for(given.get(), 5) == [3] and pool.idle


async def test_a_model_with_threads_of_its_own_does_not_wait_for_one_that_hangs(slow: Any, onnx_models: Any) -> None:
    told = asyncio.Event()

    def tell() -> None:
        if slow.app.settle():
            told.set()

    loop = asyncio.get_running_loop()
    slow.app.predictor.pool = pool = Pool(loop, 1, 2, tell)
    hanging = ask(slow, [[1, 0, 0]], "hangs")
    slow.app.settle()
    slow.route(arm := slow.arm(2, onnx_models.summing(5.0)))
    arm.model.takes_long, arm.model.lane = lambda rows: True, Pool(loop, 1, 2, tell)
    quick = ask(slow, [[1, 0, 0]], "quick")
    slow.app.settle()
    await asyncio.wait_for(told.wait(), 5)
    assert said(quick)["outputs"][1]["data"] == [6.0] and hanging.answer is None
    slow.go.set()
    pool.close()
    arm.model.lane.close()


async def test_a_shadow_that_takes_long_holds_nobody_up(slow: Any, onnx_models: Any) -> None:
    done = asyncio.Event()
    slow.app.predictor.pool = pool = Pool(asyncio.get_running_loop(), 1, 2, done.set)
    shadow = slow.app.predictor.router.arms[0]
    shadow.role = "shadow"
    slow.route(slow.arm(2, onnx_models.summing(5.0)), shadow)
    answered = ask(slow, [[1, 0, 0]], "q")
    slow.app.settle()
    assert said(answered)["outputs"][1]["data"] == [6.0] and slow.app.predictor.owes_shadows
    slow.app.predictor.run_shadow()
    assert slow.counters.column(1)[Count.SHADOW_OK] == 0
    slow.go.set()
    await asyncio.wait_for(done.wait(), 5)
    assert slow.counters.column(1)[Count.SHADOW_OK] == 1
    pool.close()


async def test_a_shadow_that_takes_long_runs_in_a_thread_and_not_when_many_wait(slow: Any, onnx_models: Any) -> None:
    quick = slow.arm(1, onnx_models.summing(1.0))
    shadow = slow.arm(2, onnx_models.summing(), 0, "shadow")
    shadow.model.takes_long = lambda rows: True
    slow.route(quick, shadow)
    told = asyncio.Event()
    slow.app.predictor.pool = pool = Pool(asyncio.get_running_loop(), 1, 2, told.set)
    tickets = [ask(slow, [[i, 0, 0]], str(i)) for i in range(4)]
    assert slow.app.settle() == tickets and slow.app.predictor.owes_shadows
    while slow.app.predictor.owes_shadows:
        slow.app.predictor.run_shadow()
    assert slow.slot[Gauge.SHADOW_DROPPED] == 2, "half of the queue is for real requests"
    slow.go.set()
    while slow.counters.column(2)[Count.SHADOW_OK] < 2:
        await asyncio.wait_for(told.wait(), 5)
        told.clear()
    pool.close()

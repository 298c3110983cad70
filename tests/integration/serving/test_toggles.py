"""A switch file in the folder is followed within a second by whoever serves, supervisor or not; the answers go on."""

from __future__ import annotations

import json
import time
from typing import Any

ROW = [[1.0, 2.0, 3.0, 4.0]]


def switch(server: Any, on: bool) -> float:
    """Write the kill switch as the agent does, and return when."""
    flag = {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "on" if on else "off",
        "metadata": {"deployment": "employment", "controls": "answers", "why": "wrong scores"},
    }
    new = server.folder / ".toggles.new"
    new.write_text(json.dumps({"flags": {"employment.answers": flag}}))
    new.replace(server.folder / "toggles.json")
    return time.monotonic()


def until(server: Any, kit: Any, status: int, since: float) -> Any:
    while True:
        found, _, body = server.call("POST", "/v2/models/employment/infer", kit.request(ROW))
        if found == status:
            return json.loads(body)
        assert time.monotonic() - since < 5, (found, body)
        time.sleep(0.01)


def test_the_kill_switch_needs_neither_agent_nor_supervisor_and_outlives_a_worker(make: Any, kit: Any) -> None:
    server = make()
    data = kit.linear(0.0)
    server.routes(1, server.revision(1, data))
    server.start()
    until(server, kit, 200, time.monotonic())
    assert until(server, kit, 503, switch(server, False))["error"] == "employment is switched off: wrong scores"
    until(server, kit, 200, switch(server, True))
    server.kill()
    until(server, kit, 503, switch(server, False))
    # A new supervisor takes the worker over: what is switched off stays so.
    server.start()
    until(server, kit, 503, time.monotonic())
    until(server, kit, 200, switch(server, True))


def test_the_constant_is_in_force_with_the_routes_that_bring_it(make: Any, kit: Any) -> None:
    server = make()
    revision = server.revision(1, kit.linear(0.0))
    server.routes(1, revision)
    switch(server, False)
    server.start()
    until(server, kit, 503, time.monotonic())
    server.routes(2, revision, rescue={"last_resort": {"score": 0.5}})
    server.until(lambda s: s["refused"] is not None)
    assert "no value for the output 'label'" in server.state["refused"]["why"]
    server.routes(3, revision, rescue={"last_resort": {"score": 0.5, "label": 0}})
    server.serving(3)
    answer = server.infer(ROW)
    assert answer["parameters"]["fallback"] is True and answer["outputs"][1]["data"] + answer["outputs"][0]["data"] in (
        [0.5, 0], [0, 0.5],
    )  # fmt: skip


def test_what_takes_too_long_in_a_thread_is_answered_by_the_fallback(make: Any, kit: Any) -> None:
    server = make(log_predictions=True)
    slow, quick = server.revision(1, kit.linear(0.0, slow=4)), server.revision(2, kit.linear(10.0), 0.0, "fallback")
    server.routes(1, slow, quick, fallback="rev-2", rescue={"timeout_s": 0.005})
    server.start()
    until(server, kit, 200, time.monotonic())
    answers = [server.infer(ROW, id=f"r{i}") for i in range(3)]
    assert {one["model_version"] for one in answers} == {"v2"}
    assert all(one["parameters"]["fallback"] for one in answers)
    metrics = server.call("GET", "/metrics")[2].decode()
    counted = [line for line in metrics.splitlines() if 'outcome="model_error"' in line and 'revision="v1"' in line]
    assert float(counted[0].rsplit(" ", 1)[1]) >= 3

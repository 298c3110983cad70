"""Traffic split, new routes under load, leases, shadows, fallback, sealed models: real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mlops_tui.core.clock import now_us
from mlops_tui.serving.deployment import COUNTERS
from mlops_tui.serving.record.counters import Counters, Gauge


def split(server: Any, kit: Any, n: int, header: str | None = None) -> list[str]:
    """Return which revision answered each of n requests, sent over one connection."""
    import http.client

    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    found = []
    for i in range(n):
        headers = {header: f"user-{i}"} if header else {}
        client.request("POST", "/v2/models/employment/infer", json.dumps(kit.request([[1, 2, 3, 4]])), headers)
        answer = client.getresponse()
        found.append(str(json.loads(answer.read())["model_version"]))
    client.close()
    return found


def test_traffic_falls_by_weight_and_sticks_to_a_header(make: Any, kit: Any) -> None:
    one, a, b = make(), kit.linear(0.0), kit.linear(100.0)
    server = one
    server.routes(1, server.revision(1, a, 80), server.revision(2, b, 20, "canary"))
    server.start()
    share = Counter(split(server, kit, 1500))["v2"] / 1500
    assert 0.15 < share < 0.25
    server.routes(2, server.revision(1, a, 80), server.revision(2, b, 20, "canary"), sticky="X-User")
    server.serving(2)
    first = split(server, kit, 300, "X-User")
    assert first == split(server, kit, 300, "X-User") and 0.1 < first.count("v2") / 300 < 0.3
    server.routes(3, server.revision(1, a, 50), server.revision(2, b, 50, "canary"), sticky="X-User")
    server.serving(3)
    more = split(server, kit, 300, "X-User")
    assert all(now == "v2" for was, now in zip(first, more, strict=True) if was == "v2")
    assert more.count("v2") > first.count("v2")


def test_routes_are_swapped_under_load_without_one_failed_request(make: Any, kit: Any) -> None:
    server = make(workers=2)
    models = [kit.linear(100.0 * n, slow=4 if n == 2 else 0) for n in range(4)]
    server.routes(1, server.revision(1, models[0]))
    server.start()
    loads = [kit.Load(server, f"c{i}") for i in range(4)]
    for load in loads:
        load.start()
    for generation in range(2, 14):
        no = generation % 4
        server.routes(generation, server.revision(no + 1, models[no]))
        server.serving(generation)
    answered = [a for load in loads for a in load.finish().answered]
    assert not [f for load in loads for f in load.failed + load.lost] and len(answered) > 100
    # Each answer is of one revision: its label belongs to its value.
    assert {(label, score) for _, label, score in answered} <= {(f"v{n + 1}", 10 + 100.0 * n) for n in range(4)}
    assert len({label for _, label, _ in answered}) == 4
    assert server.stop() == 0
    assert server.rows(0) == Counter({ident: 1 for ident, _, _ in answered})


def test_older_and_contradicting_routes_are_refused(make: Any, kit: Any) -> None:
    server = make()
    old, new = server.revision(1, kit.linear(0.0)), server.revision(2, kit.linear(100.0))
    server.routes(5, new, epoch=3)
    server.start()
    for generation, epoch, why in ((4, 3, "older"), (9, 2, "older"), (5, 3, "same number")):
        server.routes(generation, old, epoch=epoch)
        server.until(
            lambda s, why=why, at=(epoch, generation): (
                s["refused"]
                and why in s["refused"]["why"]
                and (s["refused"]["epoch"], s["refused"]["generation"]) == at
            )
        )
        assert server.infer([[1, 2, 3, 4]])["model_version"] == "v2"
    server.routes(6, old, epoch=3)
    server.serving(6, 3)
    assert server.infer([[1, 2, 3, 4]])["model_version"] == "v1" and server.state["refused"] is None
    assert server.stop() == 0
    server.routes(5, new, epoch=3)
    server.start(wait=False)
    server.until(lambda s: s["refused"] and "older" in s["refused"]["why"])
    assert not server.state["ready"] and server.call("GET", "/v2/health/ready")[0] == 503


def test_a_bad_model_or_a_broken_file_leaves_what_is_served(make: Any, kit: Any) -> None:
    server = make()
    good = server.revision(1, kit.linear(0.0))
    server.routes(1, good)
    server.start()
    server.routes(2, server.revision(2, b"not a model"))
    state = server.until(lambda s: s["refused"])
    assert state["generation"] == 1 and "cannot be loaded" in state["refused"]["why"]
    (server.folder / "routes.json").write_text("{")
    server.until(lambda s: s["refused"]["generation"] == -1)
    missing = {**good, "id": "rev-3", "no": 3, "model": {"digest": "", "file": "/nowhere.onnx"}}
    server.routes(3, missing)
    server.until(lambda s: s["refused"]["generation"] == 3)
    wrong = {**good, "model": {**good["model"], "digest": "0" * 64}}
    server.routes(4, wrong)
    server.until(lambda s: s["refused"]["generation"] == 4 and "is not the model" in s["refused"]["why"])
    assert server.infer([[1, 2, 3, 4]])["model_version"] == "v1"
    server.routes(5, good)
    server.serving(5)


def test_a_server_without_routes_waits_for_them(make: Any, kit: Any) -> None:
    server = make()
    server.start(wait=False)
    server.until(lambda s: s.get("port"))
    assert server.call("GET", "/v2/health/live")[0] == 200
    assert server.call("GET", "/v2/health/ready")[0] == 503
    assert server.call("POST", "/v2/models/employment/infer", kit.request([[1, 2, 3, 4]]))[0] == 503
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.serving(1)
    assert server.infer([[1, 2, 3, 4]])["model_version"] == "v1"


def leased(server: Any, kit: Any) -> Any:
    """Start a server and return what writes routes with a lease: (generation, seconds)."""
    stable, canary = server.revision(1, kit.linear(0.0), 0), server.revision(2, kit.linear(100.0), 100, "canary")
    back = [{**stable, "weight": 100.0}]
    server.routes(1, *back)
    server.start()

    def lease(generation: int, seconds: float) -> None:
        server.routes(generation, stable, canary, lease_until=now_us() + int(seconds * 1e6), lease_revert=back)

    lease(2, 4.0)
    server.serving(2)
    return lease


def test_a_lease_that_nobody_renews_reverts_by_itself(make: Any, kit: Any) -> None:
    server = make(workers=2)
    lease = leased(server, kit)
    ends = time.monotonic() + 5.0
    while time.monotonic() < ends:
        lease(2, 4.0)
        time.sleep(0.3)
        assert server.infer([[1, 2, 3, 4]])["model_version"] == "v2"
    state = server.until(lambda s: s["reverted"], within=8)
    assert (state["epoch"], state["generation"]) == (1, 2)
    assert {server.infer([[1, 2, 3, 4]])["model_version"] for _ in range(10)} == {"v1"}
    lease(2, 60.0)
    server.until(lambda s: s["refused"] and "ran out" in s["refused"]["why"])
    assert server.stop() == 0
    server.start()
    assert server.state["reverted"] and server.infer([[1, 2, 3, 4]])["model_version"] == "v1"
    lease(3, 60.0)
    server.until(lambda s: s["generation"] == 3 and not s["reverted"])
    assert server.infer([[1, 2, 3, 4]])["model_version"] == "v2"


def test_a_lease_reverts_without_a_supervisor_too(make: Any, kit: Any) -> None:
    server = make()
    leased(server, kit)
    server.kill()
    port_answers = {server.infer([[1, 2, 3, 4]])["model_version"]}
    deadline = time.monotonic() + 10
    while "v1" not in port_answers:
        assert time.monotonic() < deadline
        port_answers.add(server.infer([[1, 2, 3, 4]])["model_version"])
        time.sleep(0.05)
    assert port_answers == {"v1", "v2"}
    server.start()
    server.until(lambda s: s["reverted"])
    assert server.infer([[1, 2, 3, 4]])["model_version"] == "v1"


def test_a_slow_shadow_delays_no_answer_and_is_logged(make: Any, kit: Any) -> None:
    server = make()
    server.routes(1, server.revision(1, kit.linear(0.0)), server.revision(2, kit.linear(100.0, slow=12), 0, "shadow"))
    server.start()
    server.infer([[1, 2, 3, 4]])
    time.sleep(0.5)
    began = time.monotonic()
    assert server.infer([[1, 2, 3, 4]], id="r")["model_version"] == "v1"
    waited = time.monotonic() - began
    deadline = time.monotonic() + 10
    while "r" not in server.rows(0, shadow=True):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    batch = server.segments()[-1]
    shadow = [i for i, ident in enumerate(batch.request_id) if ident == "r" and batch.flags[i]]
    assert batch.revision_no[shadow[0]] == 2 and batch.latency_us[shadow[0]] / 1e6 > waited
    assert server.rows(0)["r"] == 1 and server.rows(0, shadow=True)["r"] == 1


def test_when_the_canary_breaks_clients_get_the_stables_answer(make: Any, kit: Any) -> None:
    server = make()
    stable, canary = (
        server.revision(1, kit.linear(0.0, names=kit.FEATURES), 0),
        server.revision(2, kit.brittle(100.0), 100, "canary"),
    )
    server.routes(1, stable, canary, fallback="rev-1")
    server.start()
    said = [server.infer([[first, 0, 0, 0]], id=f"r-{first}") for first in (1, 10, 2, 99)]
    assert [s["model_version"] for s in said] == ["v2", "v1", "v2", "v1"]
    assert [s["outputs"][1]["data"][0] for s in said] == [101, 10, 102, 99]
    server.stop()
    assert server.rows(3) == {"r-10": 1, "r-99": 1} and server.rows(0) == {"r-1": 1, "r-2": 1}
    assert server.rows(2) == {"r-10": 1, "r-99": 1}


def test_a_sealed_model_is_served_and_never_plain_on_disk(make: Any, kit: Any, home: Any) -> None:
    from mlops_tui.blobs import Blobs
    from mlops_tui.core import paths
    from mlops_tui.core.config import load
    from mlops_tui.keys import open_keys

    paths.private_dir(home.data)
    blobs = Blobs(home.blobs, open_keys(home, load(where=home)))
    data = kit.linear(7.0, names=["a-canary-string", "b", "c", "d"])
    digest = blobs.put_bytes(data).digest
    file = home.blobs / digest[:2] / digest[2:]
    server = make()
    server.home = home.data
    revision = {"id": "rev-1", "no": 1, "label": "v1", "weight": 100, "role": "stable"}
    server.routes(1, {**revision, "model": {"digest": digest, "file": str(file), "wrapped": None}})
    server.start()
    assert server.infer([[1, 2, 3, 4]])["outputs"][1]["data"] == [17.0]
    # The worker starts again without the key: only the supervisor could have given it the model.
    for path in home.keys.glob("*"):
        path.rename(path.with_suffix(".away"))
    import os
    import signal

    os.kill(server.workers[0], signal.SIGKILL)
    assert server.infer([[1, 2, 3, 4]])["outputs"][1]["data"] == [17.0]
    for root in (home.data, server.folder, Path("/dev/shm")):
        for path in [p for p in root.rglob("*") if p.is_file()]:
            with contextlib.suppress(FileNotFoundError):  # state.json is put in place by renaming
                assert b"a-canary-string" not in path.read_bytes(), path


@pytest.mark.parametrize("signal_too", [True, False])
def test_new_routes_are_seen_within_a_fifth_of_a_second(make: Any, kit: Any, signal_too: bool) -> None:
    import os
    import signal

    server = make()
    model = kit.linear(0.0)
    server.routes(1, server.revision(1, model))
    server.start()
    waited = []
    for generation in range(2, 12):
        server.routes(generation, server.revision(1, model))
        if signal_too:
            os.kill(server.process.pid, signal.SIGHUP)
        began = time.monotonic()
        server.serving(generation)
        waited.append(time.monotonic() - began)
    assert sorted(waited)[5] < 0.25


def test_workers_go_over_together_when_the_last_one_has_loaded(make: Any, kit: Any) -> None:
    server = make(workers=2)
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start()
    slow = server.workers[1]
    shown = Counters(server.folder / COUNTERS, 2)
    os.kill(slow, signal.SIGSTOP)
    try:
        server.routes(2, server.revision(2, kit.linear(100.0)))
        time.sleep(0.7)
        assert [slot[Gauge.GENERATION] for slot in shown.slots] == [1, 1]
    finally:
        os.kill(slow, signal.SIGCONT)
    server.serving(2)
    assert [slot[Gauge.GENERATION] for slot in shown.slots] == [2, 2]
    os.kill(slow, signal.SIGSTOP)
    server.routes(3, server.revision(3, kit.linear(200.0)))
    time.sleep(0.3)
    os.kill(slow, signal.SIGKILL)
    refused = server.until(lambda s: s["refused"])["refused"]
    assert "a worker died" in refused["why"] and shown.slots[0][Gauge.GENERATION] == 2

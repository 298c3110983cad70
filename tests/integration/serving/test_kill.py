"""kill -9 of workers and supervisors, drains and refusals: what was answered is logged, and the port has no gap."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest

from mlops_tui.spool.process import created_us


def under_load(server: Any, kit: Any, clients: int = 3) -> list[Any]:
    loads = [kit.Load(server, f"c{i}") for i in range(clients)]
    for load in loads:
        load.start()
    deadline = time.monotonic() + 10
    while not all(load.answered for load in loads):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return loads


def check_log(server: Any, loads: list[Any]) -> None:
    """Every answered row is logged once; of requests that were lost on the way a row may be logged, at most once."""
    logged = server.rows(0)
    answered = {ident for load in loads for ident, _, _ in load.answered}
    lost = {text.partition(":")[0] for load in loads for text in load.lost}
    assert answered <= set(logged) and set(logged) <= answered | lost
    assert set(logged.values()) <= {1}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_is_replaced_and_no_connection_is_refused(make: Any, kit: Any, workers: int) -> None:
    server = make(workers=workers)
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start()
    loads = under_load(server, kit)
    rng = random.Random(workers)
    for _ in range(3):
        victim = rng.choice(server.workers)
        os.kill(victim, signal.SIGKILL)
        server.until(
            lambda s, gone=victim: (
                s["ready"]
                and gone not in [w["process"] and w["process"]["pid"] for w in s["workers"]]
                and all(w["ready"] for w in s["workers"])
            )
        )
        time.sleep(rng.uniform(0.1, 0.3))
    for load in loads:
        load.finish()
        assert not load.failed
        # Only requests that the dead worker had in hand are lost; a new connection always finds the port.
        assert not [text for text in load.lost if "Refused" in text] and len(load.lost) <= 3
    assert server.stop() == 0
    check_log(server, loads)
    assert sum(w["restarts"] for w in json.loads((server.folder / "state.json").read_text())["workers"]) == 3


def test_workers_go_on_without_a_supervisor_and_the_next_one_takes_them_over(make: Any, kit: Any) -> None:
    server = make(workers=2)
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start()
    workers, port = sorted(server.workers), server.port
    loads = under_load(server, kit)
    for generation in (2, 3):
        server.kill()
        time.sleep(0.5)
        assert server.infer([[1, 2, 3, 4]])["model_version"] == f"v{generation - 1}"
        server.routes(generation, server.revision(generation, kit.linear(100.0 * generation)))
        server.start()
        server.serving(generation)
        assert sorted(server.workers) == workers and server.port == port
        assert {server.infer([[1, 2, 3, 4]])["model_version"] for _ in range(4)} == {f"v{generation}"}
    for load in loads:
        load.finish()
        assert not load.failed and not load.lost
    assert server.stop() == 0
    assert {ident for load in loads for ident, _, _ in load.answered} <= set(server.rows(0))
    assert all(created_us(pid) is None for pid in workers)


def test_a_worker_that_was_still_starting_is_taken_over_too(make: Any, kit: Any) -> None:
    server = make(workers=2)
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start(wait=False)
    state = server.until(lambda s: len([w for w in s["workers"] if w["process"]]) == 2)
    assert not state["ready"]
    server.kill()
    starting = sorted(server.workers)
    server.start()
    assert sorted(server.workers) == starting and server.infer([[1, 2, 3, 4]])["model_version"] == "v1"


def test_a_taken_over_worker_that_dies_is_replaced_without_key_or_file(make: Any, kit: Any) -> None:
    server = make()
    revision = server.revision(1, kit.linear(0.0))
    server.routes(1, revision)
    server.start()
    server.kill()
    os.unlink(revision["model"]["file"])
    server.start()
    (adopted,) = server.workers
    os.kill(adopted, signal.SIGKILL)
    assert server.infer([[1, 2, 3, 4]])["model_version"] == "v1"
    server.until(lambda s: s["ready"] and adopted not in [w["process"]["pid"] for w in s["workers"] if w["process"]])


def test_workers_of_other_facts_are_replaced_with_no_request_lost(make: Any, kit: Any) -> None:
    server = make()
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start()
    (old,) = server.workers
    loads = under_load(server, kit)
    server.kill()
    facts = json.loads((server.folder / "deployment.json").read_text())
    (server.folder / "deployment.json").write_text(json.dumps({**facts, "max_body": 2000}))
    server.start()
    server.until(lambda s: s["ready"] and s["workers"][0]["process"]["pid"] != old and s["workers"][0]["ready"])
    body = json.dumps(kit.request([[1, 2, 3, 4]] * 300)).encode()
    assert server.call("POST", "/v2/models/employment/infer", body)[0] == 413
    for load in loads:
        load.finish()
        assert not load.failed and not load.lost
    server.stop()
    check_log(server, loads)


def test_a_drain_answers_everything_and_leaves_nobody(make: Any, kit: Any) -> None:
    server = make(workers=2)
    server.routes(1, server.revision(1, kit.linear(0.0, slow=3)))
    server.start()
    loads = under_load(server, kit, 4)
    slow = server.connect()
    body = json.dumps(kit.request([[1, 2, 3, 4]], id="c0-slow")).encode()
    slow.sendall(
        b"POST /v2/models/employment/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body[:9]
    )
    time.sleep(0.3)
    workers = server.workers
    server.process.terminate()
    time.sleep(0.3)
    slow.sendall(body[9:])
    said = slow.recv(65536)
    assert said.startswith(b"HTTP/1.1 200") and b"connection: close" in said
    assert server.process.wait(15) == 0
    for load in loads:
        load.finish()
        # After the drain there is nobody to connect to; before it every request was answered.
        assert not load.failed and all("Refused" in text for text in load.lost), load.lost
    loads[0].answered.append(("c0-slow", "v1", 10.0))
    check_log(server, loads)
    assert all(created_us(pid) is None for pid in workers) and not server.state["ready"]


def test_who_connects_during_the_last_turn_of_a_drain_is_answered(make: Any, kit: Any) -> None:
    server = make()
    server.routes(1, server.revision(1, kit.linear(0.0, slow=200)))  # half a second and more on any machine
    server.start()
    (worker,) = server.workers
    body = json.dumps(kit.request([[1, 2, 3, 4]])).encode()
    ask = (
        b"POST /v2/models/employment/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    first = server.connect(20)
    first.sendall(ask[:5])
    time.sleep(0.3)
    # The worker wakes to a slow request, the order to drain and a second client, all at once.
    os.kill(worker, signal.SIGSTOP)
    first.sendall(ask[5:])
    port = server.port
    server.process.terminate()
    time.sleep(0.3)
    with socket.create_connection(("127.0.0.1", port), 20) as second:
        second.sendall(ask)
        os.kill(worker, signal.SIGCONT)
        assert first.recv(65536).startswith(b"HTTP/1.1 200") and second.recv(65536).startswith(b"HTTP/1.1 200")
    assert server.process.wait(15) == 0


def test_nobody_waits_for_a_worker_that_cannot_come_up(make: Any, kit: Any) -> None:
    server = make(workers=2)
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start()
    server.until(lambda s: all(w["ready"] for w in s["workers"]))
    facts = (server.folder / "deployment.json").read_bytes()
    port, victim = server.port, server.state["workers"][1]["process"]["pid"]
    (server.folder / "deployment.json").write_text("{")
    os.kill(victim, signal.SIGKILL)
    server.until(lambda s: not s["workers"][1]["ready"])
    body = json.dumps(kit.request([[1, 2, 3, 4]])).encode()
    ask = (
        b"POST /v2/models/employment/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    # The kernel spreads the connections over both sockets; those on the dead worker's are handed to the other.
    waiting = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(24)]
    for sock in waiting:
        sock.sendall(ask)
    assert all(sock.recv(65536).startswith(b"HTTP/1.1 200") for sock in waiting)
    time.sleep(3.0)
    tried = server.state["workers"][1]["restarts"]
    assert 3 <= tried <= 12 and server.infer([[1, 2, 3, 4]])["model_version"] == "v1"
    (server.folder / "deployment.json").write_bytes(facts)
    server.until(lambda s: all(w["ready"] for w in s["workers"]))
    for sock in waiting:
        sock.close()


def test_a_second_supervisor_and_a_foreign_port_are_refused(make: Any, kit: Any) -> None:
    first = make()
    first.routes(1, first.revision(1, kit.linear(0.0)))
    first.start()
    command = [sys.executable, "-m", "mlops_tui.serving.process.supervisor", "--dir"]
    again = subprocess.run([*command, str(first.folder)], capture_output=True, text=True, timeout=30)
    assert again.returncode == 6 and "another supervisor" in again.stderr
    second = make(port=first.port)
    other = subprocess.run([*command, str(second.folder)], capture_output=True, text=True, timeout=30)
    assert other.returncode == 6 and f"port {first.port}" in other.stderr and "in use" in other.stderr
    nothing = subprocess.run([*command, str(second.folder / "nope")], capture_output=True, text=True, timeout=30)
    assert nothing.returncode == 5 and "Traceback" not in nothing.stderr
    assert first.infer([[1, 2, 3, 4]])["model_version"] == "v1"


def test_a_picked_port_is_kept_for_the_next_start(make: Any, kit: Any) -> None:
    server = make()
    server.routes(1, server.revision(1, kit.linear(0.0)))
    port = server.start().port
    assert json.loads((server.folder / "deployment.json").read_text())["port"] == port
    server.stop()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), 1)
    assert server.start().port == port


def test_orphans_leave_when_their_folder_is_gone(make: Any, kit: Any) -> None:
    server = make()
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start()
    (worker,) = server.workers
    server.kill()
    shutil.rmtree(server.folder)
    deadline = time.monotonic() + 10
    while created_us(worker) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_counters_are_the_deployments_and_survive_everything(make: Any, kit: Any) -> None:
    server = make(workers=2)
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start()

    def counted() -> int:
        lines = server.call("GET", "/metrics")[2].decode().splitlines()
        wanted = 'mlops_serving_requests_total{deployment="employment",revision="v1",revision_id="rev-1",outcome="ok"}'
        return int(next(line for line in lines if line.startswith(wanted)).rpartition(" ")[2])

    for i in range(40):
        server.infer([[1, 2, 3, 4]], id=f"a-{i}")
    assert {counted() for _ in range(6)} == {40}
    for pid in server.workers:
        os.kill(pid, signal.SIGKILL)
    server.until(lambda s: all(w["ready"] for w in s["workers"]) and s["workers"][0]["restarts"])
    server.infer([[1, 2, 3, 4]], id="b")
    server.stop()
    server.start()
    server.infer([[1, 2, 3, 4]], id="c")
    assert counted() == 42 and server.rows(0) == Counter([*(f"a-{i}" for i in range(40)), "b", "c"])


def test_a_full_budget_drops_rows_and_answers_on(make: Any, kit: Any) -> None:
    server = make()
    server.routes(1, server.revision(1, kit.linear(0.0)))
    server.start(env={"MLOPS_SPOOL_MAX_BYTES": "2000"})
    for i in range(60):
        server.infer([[1, 2, 3, 4]], id=f"r-{i}")
    text = server.call("GET", "/metrics")[2].decode()
    dropped = next(line for line in text.splitlines() if line.startswith("mlops_serving_log_dropped_rows_total"))
    logged = sum(server.rows(0).values())
    assert 0 < logged < 60 and logged + float(dropped.rpartition(" ")[2]) == 60


def test_the_supervisor_is_light() -> None:
    heavy = "numpy onnxruntime duckdb uvloop cryptography"
    code = f"import sys, mlops_tui.serving.process.supervisor; print([m for m in {heavy.split()} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert found.stdout.strip() == "[]"

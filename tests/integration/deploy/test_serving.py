"""A deployment of real processes: up, killed, brought back, drained; nothing lost, nothing counted twice."""

from __future__ import annotations

import http.client
import json
import math
import os
import signal
import socket
import time

import pytest

from mlops_tui.core.errors import Conflict
from mlops_tui.spool.process import is_alive

GOOD = (0.0, 4.0, -2.0)


def port_of(shown):
    return int(shown.url.rpartition(":")[2])


def ready(port):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False


def processes(state):
    return [state["process"], *(one["process"] for one in state["workers"] if one["process"])]


def test_whatever_is_killed_comes_back_and_every_answer_is_counted_once(yard, clients):
    shown = yard.serve(yard.model(GOOD), workers=2)
    port, first = port_of(shown), yard.state(shown.id)
    load = clients(port)

    yard.agent.kill()
    before = len(load.told)
    time.sleep(0.5)
    assert len(load.told) > before + 20, "serving goes on without the agent"
    os.kill(first["workers"][0]["process"]["pid"], signal.SIGKILL)
    yard.until(
        lambda: yard.state(shown.id),
        lambda s: s["workers"][0]["restarts"] == 1 and all(w["ready"] for w in s["workers"]),
    )
    os.kill(first["pid"], signal.SIGKILL)
    before = len(load.told)
    time.sleep(0.3)
    assert len(load.told) > before + 10, "serving goes on without the supervisor"

    yard.agent.start()
    yard.client = yard.agent.client()
    again = yard.until(
        lambda: yard.call("deploy.show", deployment="census"),
        lambda one: (
            one.status == "serving" and one.pid not in (None, first["pid"]) and one.acknowledged == one.generation
        ),
    )
    second = yard.state(shown.id)
    assert second["epoch"] > first["epoch"] and port_of(again) == port
    assert second["workers"][1]["process"] == first["workers"][1]["process"], "the living worker was taken over"
    for worker in second["workers"]:
        os.kill(worker["process"]["pid"], signal.SIGKILL)
    yard.until(lambda: ready(port), bool)
    load.finish()
    assert not load.errors

    yard.call("deploy.remove", deployment="census")
    yard.until(lambda: any(is_alive(one) for one in processes(second)), lambda any_: not any_, what="drained")
    yard.until(lambda: (yard.home.deployments / shown.id).exists(), lambda there: not there)
    yard.taken_in("inference", len(load.told))
    counted = dict(yard.rows("SELECT request_id, count(*) FROM inference GROUP BY 1"))
    assert set(load.told) <= set(counted) and set(counted.values()) == {1}
    assert len(counted) - len(load.told) <= len(load.broken)
    assert yard.agent.stop() == 0
    assert not list((yard.home.spool / shown.id).glob("*")), "segments are deleted after the checkpoint"


def test_a_port_in_use_is_one_clear_message_and_a_removal_drains(yard):
    model = yard.model(GOOD, evaluation=False)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Conflict, match=f"port {port} on 127.0.0.1 is in use · another program listens there"):
            yard.call("deploy.create", name="census", model=model, port=port)
    shown = yard.serve(model, port=port)
    assert port_of(shown) == port
    state = yard.state(shown.id)
    with socket.socket() as other:
        # The servers die and another program is quicker.
        for process in processes(state):
            os.kill(process["pid"], signal.SIGKILL)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yard.until(lambda: _bound(other, port), bool)
        other.listen()
        down = yard.until(
            lambda: yard.call("deploy.show", deployment="census"),
            lambda one: one.status == "down" and "in use" in one.text,
        )
        assert (
            down.text
            == f"port {port} on 127.0.0.1 is in use · another program listens there · choose another port, or 0"
        )
        assert yard.call("deploy.list", filter="status:down").total == 1
    assert port_of(yard.serving()) == port
    drains(yard, shown)


def drains(yard, shown):
    """A request that is under way when the deployment is removed is answered; then nothing is left."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(shown), timeout=10)
    body = {"inputs": [{"name": "features", "shape": [1, 2], "datatype": "FP32", "data": [0.4, 0.9]}]}
    text = json.dumps(body)
    connection.putrequest("POST", "/v2/models/census/infer")
    connection.putheader("content-length", str(len(text)))
    connection.endheaders(text[:10].encode())
    yard.call("deploy.remove", deployment="census")
    time.sleep(0.7)
    connection.send(text[10:].encode())
    answer = connection.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read())["outputs"][0]["data"][0] == pytest.approx(1 / (1 + math.exp(-1.6)), 1e-4)
    yard.until(lambda: ready(port_of(shown)), lambda there: not there)
    yard.until(lambda: (yard.home.deployments / shown.id).exists(), lambda there: not there)


def _bound(sock, port):
    try:
        sock.bind(("127.0.0.1", port))
        return True
    except OSError:
        return False

"""Models in processes of their own: torch and pyfunc, their crashes, and what the others notice of them."""

import contextlib
import io
import json
import os
import signal
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mlops_tui.serving.models import remote
from mlops_tui.serving.models.launch import Wishes
from mlops_tui.serving.models.remote import Remote
from mlops_tui.serving.models.unseal import into_memory
from mlops_tui.serving.problem import Problem
from mlops_tui.serving.process import engines
from mlops_tui.serving.process.engines import Engine

CARD = """
flavors:
  python_function: {loader_module: hostile, code: code, data: data, python_version: 3.11.0}
signature:
  inputs: '[{"type": "tensor", "name": "X", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]'
  outputs: '[{"type": "tensor", "name": "label", "tensor-spec": {"dtype": "int64", "shape": [-1]}},
    {"type": "tensor", "name": "score", "tensor-spec": {"dtype": "float32", "shape": [-1, 1]}}]'
  params: '[{"name": "bias", "default": 1000.0, "shape": null, "type": "double"}]'
"""
HOSTILE = """
import ctypes, time
import numpy as np

class Model:
    def predict(self, data, params=None):
        x = data["X"] if isinstance(data, dict) else data
        what = x[0, 0]
        if what == 666:
            ctypes.string_at(0)
        if what == 777:
            np.ones(2**34, np.uint8)
        if what == 888:
            time.sleep(60)
        if what == 555:
            time.sleep(0.25)
        if what == 999:
            raise ValueError("it does not like this row")
        score = x.sum(axis=1, keepdims=True) + params["bias"]
        return {"label": (score[:, 0] > 0).astype(np.int64), "score": score.astype(np.float32)}

def _load_pyfunc(path):
    return Model()
"""


@pytest.fixture
def hostile(tmp_path):
    """The folder of a model that breaks when it is told to; as a routes file names it."""
    folder = tmp_path / "hostile"
    for path, text in {"MLmodel": CARD, "code/hostile.py": HOSTILE, "data/nothing": ""}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    parts = [
        {"path": one.relative_to(folder).as_posix(), "file": str(one)} for one in folder.rglob("*") if one.is_file()
    ]
    return {"file": str(folder), "engine": "pyfunc", "parts": parts}


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """A TorchScript module that sums rows, with a signature in it, in memory."""
    torch = pytest.importorskip("torch")

    class Sum(torch.nn.Module):
        def forward(self, x):
            return x.sum(1), x * 2

    said = {"inputs": [{"name": "x", "dtype": "float32", "shape": [-1, 3]}], "outputs": [{"name": "s"}, {"name": "d"}]}
    path = tmp_path_factory.mktemp("torch") / "m.pt"
    torch.jit.save(torch.jit.script(Sum()), path, _extra_files={"signature.json": json.dumps(said)})
    fd = into_memory(path.stat().st_size, [path.read_bytes()])
    yield fd
    os.close(fd)


def until(good, within=30.0):
    deadline = time.monotonic() + within
    while not (found := good()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


class Tended:
    """An engine, and a thread that gives it its turns, as a supervisor does."""

    def __init__(self, door, wishes, fd, former=None):
        self.engine = Engine("m", wishes, fd, door)
        if former is not None:
            self.engine.adopt(*former)
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._turns, daemon=True)
        self.thread.start()

    def _turns(self):
        while not self.done.wait(0.02):
            self.engine.turn()

    @property
    def pid(self):
        return self.engine._life.child.pid

    def abandon(self):
        """Do as a supervisor that is killed: the line is cut, the process stays."""
        self.done.set()
        self.thread.join()
        self.engine._life.line.close()

    def end(self):
        self.done.set()
        self.thread.join()
        if (life := self.engine.release()) is not None:
            life.end()


@pytest.fixture
def tended(tmp_path, monkeypatch):
    """A maker of engines whose door is ``door`` in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    made = []

    def make(wishes, fd, former=None):
        made.append(Tended(tmp_path / "door", wishes, fd, former))
        return made[-1]

    yield make
    for one in made:
        one.end()


def asks(tended, timeout_s=30.0):
    return Remote([tended.engine._door], 1, timeout_s, lambda: tended.engine.opens)


@pytest.mark.train
def test_a_process_that_dies_comes_back_and_one_that_dies_often_is_left_alone(script, tended, monkeypatch):
    monkeypatch.setattr(engines, "OPEN_S", 0.5)
    monkeypatch.setattr(engines, "CRASHES", 2)
    one = tended(Wishes("torch"), script)
    until(lambda: one.engine.ready)
    first, second = asks(one), asks(one)
    rows = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    assert [(each["name"], each["datatype"], each["shape"]) for each in one.engine.about["outputs"]] == [
        ("s", "FP32", [-1]), ("d", "FP32", [-1, 3])
    ]  # fmt: skip
    found = first.run(rows)
    assert found["s"].tolist() == [3.0, 12.0] and (found["d"] == rows["x"] * 2).all()
    assert second.run(rows)["s"].tolist() == [3.0, 12.0]
    for crash in range(engines.CRASHES):
        folder = one.engine._life.folder
        os.kill(one.pid, signal.SIGSEGV)
        until(lambda: not one.engine.ready)
        last = crash == engines.CRASHES - 1
        assert one.engine.state == ("open" if last else "starting") and not folder.exists()
        with pytest.raises(Problem, match="left alone for" if last else "being started again") as told:
            first.run(rows)
        assert told.value.status == 503
        until(lambda: one.engine.ready)
    # Nobody asked the second while the process was another one.
    assert second.run(rows)["s"].tolist() == [3.0, 12.0] and one.engine.restarts == engines.CRASHES


@pytest.mark.train
def test_an_engine_outlives_its_supervisor_and_is_taken_over_by_the_next(script, tended):
    one = tended(Wishes("torch"), script)
    until(lambda: one.engine.ready)
    pid, child, folder = one.pid, one.engine._life.child, one.engine._life.folder
    client, rows = asks(one), {"x": np.ones((1, 3), np.float32)}
    one.abandon()
    assert client.run(rows)["s"].tolist() == [3.0]
    heir = tended(Wishes("torch"), script, former=(one.engine.about, str(folder)))
    until(lambda: heir.engine._life.folder == folder)
    assert heir.engine._life._process["pid"] == pid and client.run(rows)["s"].tolist() == [3.0]
    heir.done.set()
    heir.thread.join()
    life = heir.engine.release()
    assert not life.ended() and client.run(rows)["s"].tolist() == [3.0]
    client.close()  # the last one
    assert child.wait(10) == 0 and not folder.exists()
    folder.mkdir()  # as one that was killed together with its supervisor leaves it
    tended(Wishes("torch"), script, former=(heir.engine.about, str(folder)))
    assert not folder.exists()


@pytest.mark.train
def test_callers_take_turns_and_too_many_are_turned_away(script, tended, monkeypatch):
    monkeypatch.setattr(remote, "_QUEUE", 3)
    one = tended(Wishes("torch"), script)
    until(lambda: one.engine.ready)
    model = asks(one)
    outcomes = []

    def ask(n):
        try:
            outcomes.append(model.run({"x": np.full((1, 3), n, np.float32)})["s"].tolist() == [3.0 * n])
        except Problem as problem:
            outcomes.append(problem.status)

    with model._turns:
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(5)]
        for thread in threads:
            thread.start()
        until(lambda: len(outcomes) == 2)
        assert outcomes == [429, 429]
    for thread in threads:
        thread.join()
    assert outcomes[2:] == [True, True, True]


@pytest.mark.train
def test_what_cannot_be_loaded_says_why(tended):
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 1)), buffer)
    data = buffer.getvalue()
    one = tended(Wishes("torch"), into_memory(len(data), [data]))
    assert "nobody says what this model takes" in until(lambda: one.engine.why)
    one.end()
    half = tended(Wishes("torch"), into_memory(len(data) // 2, [data[: len(data) // 2]]))
    assert "no torch model, or not a whole one" in until(lambda: half.engine.why)


def test_a_python_that_is_none_and_a_load_that_takes_for_ever_are_told(tended, tmp_path):
    fd = into_memory(1, [b"x"])
    none = tended(Wishes("torch", python="/no/python"), fd)
    assert "cannot start /no/python · No such file" in until(lambda: none.engine.why)
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o700)
    late = tended(Wishes("torch", python=str(slow), load_s=0.2), fd)
    assert "not loaded after 0.2 s" in until(lambda: late.engine.why)
    os.close(fd)


@pytest.mark.train
def test_a_model_that_breaks_its_process_harms_nobody_else(make, kit, hostile):
    pytest.importorskip("mlflow")
    server = make(timeout_s=0.8, memory_mb=4000)
    canary = {"id": "rev-2", "no": 2, "label": "v2", "weight": 0.0, "role": "canary", "model": hostile}
    server.routes(1, server.revision(1, kit.linear(0.0)), canary)
    server.start()

    def ask(value, version="/versions/v2", **parameters):
        request = {**kit.request([[value, 0, 0, 0]]), "parameters": parameters}
        status, _, body = server.call("POST", f"/v2/models/employment{version}/infer", request)
        said = json.loads(body)
        return status, said["outputs"][1]["data"][0] if status == 200 else said["error"]

    def again():
        status, found = ask(1)
        assert status in (200, 503), found
        return (status, found) == (200, 1001.0)

    assert ask(1) == (200, 1001.0) and ask(1, "") == (200, 1.0)
    assert ask(1, bias=5) == (200, 6.0) and ask(1, bias="x") == (400, "'bias': not FP64 ('x' does not fit)")
    status, told = ask(999)
    assert status == 500 and "it does not like this row" in told
    status, told = ask(777)
    assert status == 500 and "more memory than it may have" in told
    assert ask(666) == (503, "the process of the model died; it is started again")
    assert ask(1, "") == (200, 1.0)
    until(again)
    status, told = ask(888)
    assert (status, told) == (504, "the model did not answer within 0.8 s")
    # With traffic of its own, a crash is answered by the stable revision.
    canary["weight"] = 100.0
    server.routes(2, server.revision(1, kit.linear(0.0), 0.0), canary, fallback="rev-1")
    server.serving(2)
    assert ask(666, "") == (200, 666.0)
    assert server.state["workers"][0]["restarts"] == 0
    told = server.until(lambda state: state["models"]["rev-2"].get("state") != "ready")["models"]
    assert told["rev-1"] == {"engine": "onnx", "provider": "cpu"}
    assert (told["rev-2"]["engine"], told["rev-2"]["restarts"], told["rev-2"]["ended"]) == (
        "pyfunc", 1, "it took too long"
    )  # fmt: skip
    # Who waits for a revision that is taken out of the routes is answered by it.
    until(again)
    with ThreadPoolExecutor(5) as clients:
        waiting = [clients.submit(ask, 555) for _ in range(5)]
        until(lambda: any(one.done() for one in waiting))
        server.routes(3, server.revision(1, kit.linear(0.0)))
        server.serving(3)
        assert {one.result() for one in waiting} == {(200, 1555.0)}


def processes_of(server):
    """The ids of the engines of a server."""
    ours, found = f"MLOPS_HOME={server.home}\0".encode(), []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if b"mlops_engine" in (entry / "cmdline").read_bytes() and ours in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.train
def test_workers_share_engines_and_requests_go_on_whoever_dies(make, kit, hostile):
    pytest.importorskip("mlflow")
    server = make(workers=3, engines=2)
    only = {"id": "rev-1", "no": 1, "label": "v1", "weight": 100.0, "role": "stable", "model": hostile}
    server.routes(1, only)
    server.start()
    loads = [kit.Load(server, f"client-{n}", 0.01) for n in range(4)]
    for load in loads:
        load.start()

    def all_go_on():
        answered = [len(load.answered) for load in loads]
        until(lambda: all(len(load.answered) > before + 3 for load, before in zip(loads, answered, strict=True)))

    all_go_on()
    first, second = sorted(processes_of(server))
    os.kill(first, signal.SIGSEGV)
    all_go_on()  # by the other
    os.kill(server.workers[0], signal.SIGKILL)
    server.until(lambda state: state["workers"][0]["restarts"] == 1 and state["workers"][0]["ready"])
    server.kill()
    all_go_on()  # without a supervisor
    server.start()
    until(lambda: len(processes_of(server)) == 2)
    assert second in processes_of(server)
    # Another model comes: engines go when the last worker has hung up.
    server.routes(2, server.revision(2, kit.linear(0.0)))
    server.serving(2)
    until(lambda: not Path("/proc", str(second)).exists())
    for load in loads:
        load.finish()
    assert all("503" in told for load in loads for told in load.failed)
    assert sum(len(load.failed) for load in loads) <= 4 and sum(len(load.lost) for load in loads) <= 4
    assert server.state["engines"] == {} and server.stop() == 0


def test_a_folder_is_packed_whole(tmp_path):
    from mlops_tui.core.paths import home
    from mlops_tui.serving.deployment import Model, Part
    from mlops_tui.serving.models.unseal import Vault

    (tmp_path / "a").write_bytes(b"x" * 3000)
    (tmp_path / "empty").touch()
    parts = (Part("deep/a", str(tmp_path / "a")), Part("empty", str(tmp_path / "empty")))
    fd = Vault(home()).open(Model("f", "", "pyfunc", parts))
    with open(f"/dev/fd/{fd}", "rb") as file, tarfile.open(fileobj=file) as tar:
        assert {one.name: tar.extractfile(one).read() for one in tar} == {"deep/a": b"x" * 3000, "empty": b""}
    with pytest.raises(PermissionError):
        os.write(fd, b"x")
    os.close(fd)

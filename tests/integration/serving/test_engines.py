"""Models in processes of their own: torch and pyfunc, their crashes, and what the others notice of them."""

import io
import json
import os
import signal
import tarfile
import threading
import time

import numpy as np
import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.serving.models import remote
from mlops_tui.serving.models.remote import Remote, Wishes
from mlops_tui.serving.models.unseal import into_memory
from mlops_tui.serving.problem import Problem

CARD = """
flavors:
  python_function: {loader_module: hostile, code: code, data: data, python_version: 3.11.0}
signature:
  inputs: '[{"type": "tensor", "name": "X", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]'
  outputs: '[{"type": "tensor", "name": "label", "tensor-spec": {"dtype": "int64", "shape": [-1]}},
    {"type": "tensor", "name": "score", "tensor-spec": {"dtype": "float32", "shape": [-1, 1]}}]'
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
        if what == 999:
            raise ValueError("it does not like this row")
        score = x.sum(axis=1, keepdims=True) + 1000
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


@pytest.mark.train
def test_a_process_that_dies_comes_back_and_one_that_dies_often_is_left_alone(script, monkeypatch):
    monkeypatch.setattr(remote, "OPEN_S", 0.5)
    monkeypatch.setattr(remote, "CRASHES", 2)
    model = Remote("m", Wishes("torch"), script)
    rows = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    try:
        assert [(one["name"], one["datatype"], one["shape"]) for one in model.about["outputs"]] == [
            ("s", "FP32", [-1]), ("d", "FP32", [-1, 3])
        ]  # fmt: skip
        found = model.run(rows)
        assert found["s"].tolist() == [3.0, 12.0] and (found["d"] == rows["x"] * 2).all()
        for crash in range(remote.CRASHES):
            os.kill(model._process.child.pid, signal.SIGSEGV)
            with pytest.raises(Problem, match="died \\(SIGSEGV\\)") as told:
                model.run(rows)
            assert told.value.status == 503
            last = crash == remote.CRASHES - 1
            assert model.state == ("open" if last else "starting")
            with pytest.raises(Problem, match="left alone for" if last else "being started again"):
                model.run(rows)
            until(lambda: model.state == "ready")
        assert model.run(rows)["s"].tolist() == [3.0, 12.0] and model.restarts == remote.CRASHES
    finally:
        folder = model._process.folder
        model.close()
    assert not folder.exists()


@pytest.mark.train
def test_callers_take_turns_and_too_many_are_turned_away(script, monkeypatch):
    monkeypatch.setattr(remote, "_QUEUE", 3)
    model = Remote("m", Wishes("torch"), script)
    try:
        outcomes = []

        def ask(n):
            try:
                outcomes.append(model.run({"x": np.full((1, 3), n, np.float32)})["s"].tolist() == [3.0 * n])
            except Problem as problem:
                outcomes.append(problem.status)

        with model._turn:
            threads = [threading.Thread(target=ask, args=(n,)) for n in range(5)]
            for thread in threads:
                thread.start()
            until(lambda: len(outcomes) == 2)
            assert outcomes == [429, 429]
        for thread in threads:
            thread.join()
        assert outcomes[2:] == [True, True, True]
    finally:
        model.close()


@pytest.mark.train
def test_what_cannot_be_loaded_says_why(tmp_path):
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 1)), buffer)
    data = buffer.getvalue()
    with pytest.raises(BadInput, match="nobody says what this model takes"):
        Remote("m", Wishes("torch"), into_memory(len(data), [data]))
    with pytest.raises(BadInput, match="no torch model, or not a whole one"):
        Remote("m", Wishes("torch"), into_memory(len(data) // 2, [data[: len(data) // 2]]))


def test_a_python_that_is_none_and_a_load_that_takes_for_ever_are_told(tmp_path):
    fd = into_memory(1, [b"x"])
    with pytest.raises(BadInput, match="cannot start /no/python · No such file"):
        Remote("m", Wishes("torch", python="/no/python"), fd)
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o700)
    with pytest.raises(BadInput, match=r"not loaded after 0\.2 s"):
        Remote("m", Wishes("torch", python=str(slow), load_s=0.2), fd)
    os.close(fd)


@pytest.mark.train
def test_a_model_that_breaks_its_process_harms_nobody_else(make, kit, hostile):
    pytest.importorskip("mlflow")
    server = make(timeout_s=0.8, memory_mb=4000)
    canary = {"id": "rev-2", "no": 2, "label": "v2", "weight": 0.0, "role": "canary", "model": hostile}
    server.routes(1, server.revision(1, kit.linear(0.0)), canary)
    server.start()

    def ask(value, version="/versions/v2"):
        status, _, body = server.call(
            "POST", f"/v2/models/employment{version}/infer", kit.request([[value, 0, 0, 0]])
        )  # fmt: skip
        said = json.loads(body)
        return status, said["outputs"][1]["data"][0] if status == 200 else said["error"]

    def again():
        status, found = ask(1)
        assert status in (200, 503), found
        return (status, found) == (200, 1001.0)

    assert ask(1) == (200, 1001.0) and ask(1, "") == (200, 1.0)
    status, told = ask(999)
    assert status == 500 and "it does not like this row" in told
    status, told = ask(777)
    assert status == 500 and "more memory than it may have" in told
    assert ask(666) == (503, "the process of the model died (SIGSEGV); it is started again")
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
    engines = server.until(lambda state: state["models"]["rev-2"].get("state") != "ready")["models"]
    assert engines["rev-1"] == {"engine": "onnx", "provider": "cpu"}
    assert (engines["rev-2"]["engine"], engines["rev-2"]["restarts"]) == ("pyfunc", 1)


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

"""``mlops serve`` as a person types it: a server in the foreground that needs no agent and leaves nothing behind."""

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest


class Alone:
    def __init__(self, home, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlops_tui", "serve", "--json", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(home)},
        )  # fmt: skip

    def said(self):
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        line = self.process.stdout.readline() if ready else ""
        assert line, self.process.stderr.read()
        return json.loads(line)

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def alone(home, tmp_path):
    """A server for each call, ended with the test."""
    tmp_path.joinpath("tmp").mkdir()
    made = []

    def start(*arguments):
        made.append(Alone(tmp_path / "tmp", *arguments))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.communicate()
    assert not list(tmp_path.glob("tmp/mlops-serve-*"))


def asked(url, body=None, token=""):
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as answer:
        return json.load(answer)


def test_a_file_is_served_with_a_token_and_the_example_is_a_request_that_works(alone, make_model, tmp_path):
    tmp_path.joinpath("token").write_text("secret-word\n")
    server = alone(make_model(tmp_path / "Tiny One.onnx", [1, 2]), "--token-file", tmp_path / "token")
    said = server.said()
    assert said["name"] == "tiny-one" and said["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    answer = asked(said["infer"], said["example"], "secret-word")
    assert answer["outputs"][0]["data"] == [0.5]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        asked(said["infer"], said["example"])
    assert "secret-word" not in said["curl"] and said["infer"] in said["curl"]
    assert server.end() == 0


def test_what_cannot_be_served_says_why_and_leaves_nothing(alone, tmp_path):
    tmp_path.joinpath("broken.onnx").write_bytes(b"\x08\x01not a model")
    server = alone(tmp_path / "broken.onnx")
    assert server.process.wait(60) == 2
    words = server.process.stderr.read()
    assert "broken cannot be served · the model cannot be loaded" in words


def test_workers_leave_with_a_supervisor_that_was_killed(alone, make_model, tmp_path):
    server = alone(make_model(tmp_path / "m.onnx", [1]))
    url = server.said()["url"]
    server.end(signal.SIGKILL)
    with pytest.raises(OSError):
        for _ in range(200):
            asked(f"{url}/ping")
            time.sleep(0.02)
    deadline = time.monotonic() + 10
    while list(tmp_path.glob("tmp/mlops-serve-*")) and time.monotonic() < deadline:
        time.sleep(0.05)


def test_a_folder_of_models_is_loaded_and_unloaded_while_others_answer(alone, make_model, tmp_path):
    shelf = tmp_path / "models"
    for version, weight in ((1, 0.0), (2, 50.0)):
        shelf.joinpath(f"many/{version}").mkdir(parents=True)
        make_model(shelf / f"many/{version}/model.onnx", [weight])
    for name in "ab":
        make_model(shelf / f"{name}.onnx", [1.0] if name == "a" else [1.0, 2.0])
    (shelf / "readme.txt").write_text("not a model")
    (tmp_path / "token").write_text("word")
    url = alone(shelf, "--token-file", tmp_path / "token", "--workers", 2).said()["url"]

    def ask(path, body=None):
        try:
            return 200, asked(f"{url}/v2/{path}", {} if body is None else body, "word")
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["error"]

    def score(name, *row):
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, len(row)], "data": row}
        status, said = ask(f"models/{name}/infer", {"inputs": [tensor]})
        return (said["model_name"], said["outputs"][0]["data"][0]) if status == 200 else status

    def index():
        return {(one["name"], one["version"]): one["state"] for one in ask("repository/index")[1]}

    assert index() == dict.fromkeys([("a", "1"), ("b", "1"), ("many", "1"), ("many", "2")], "READY")
    assert score("a", 0.0) == ("a", 0.5) and score("b", 0.0, 0.0) == ("b", 0.5)
    assert score("many", 1.0) == ("many", 1.0) and score("many/versions/1", 1.0) == ("many", 0.5)
    assert asked(f"{url}/v2/models/b", token="word")["inputs"][0]["shape"] == [-1, 2]

    assert ask("repository/models/b/unload") == (200, {})
    assert [score("b", 0.0, 0.0) for _ in range(8)] == [404] * 8 and score("a", 0.0) == ("a", 0.5)
    assert index()["b", ""] == "UNAVAILABLE" and len(ask("repository/index", {"ready": True})[1]) == 3
    (shelf / "b.onnx").write_bytes(b"broken")
    status, told = ask("repository/models/b/load")
    assert status == 400 and "the model cannot be loaded" in told
    make_model(shelf / "b.onnx", [0.0, 0.0, 0.0])
    assert ask("repository/models/b/load") == (200, {})
    assert [score("b", 1.0, 1.0, 1.0) for _ in range(8)] == [("b", 0.5)] * 8

    assert ask("repository/models/many/versions/2/unload") == (200, {})
    assert score("many", 1.0) == ("many", 0.5) and score("many/versions/2", 1.0) == 404
    assert ask("repository/models/many/load", {"parameters": {"version": "2"}}) == (200, {})
    assert score("many", 1.0) == ("many", 1.0)
    make_model(shelf / "many" / "2" / "model.onnx", [0.0])
    assert score("many", 1.0) == ("many", 1.0)
    assert ask("repository/models/many/load") == (200, {}) and score("many", 1.0) == ("many", 0.5)
    assert ask("repository/models/c/load")[0] == 404 and ask("repository/models/many/versions/7/load")[0] == 404
    assert ask("repository/models/a/unload") == (200, {})
    assert [score("a", 0.0) for _ in range(8)] == [404] * 8 and score("many", 1.0) == ("many", 0.5)
    assert index()["a", ""] == "UNAVAILABLE" and asked(f"{url}/v2/health/ready")["ready"]
    assert ask("repository/models/a/load") == (200, {}) and score("a", 0.0) == ("a", 0.5)
    assert ask("repository/models/a/load", {"parameters": {"file:1/model.onnx": "x"}})[0] == 400


def test_models_are_loaded_and_unloaded_with_a_token_only(alone, make_model, tmp_path):
    make_model(tmp_path / "m.onnx", [1.0])
    url = alone(tmp_path / "m.onnx").said()["url"]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        asked(f"{url}/v2/repository/models/m/unload", {})
    assert asked(f"{url}/v2/repository/index", {})[0]["state"] == "READY"


def test_a_toggle_file_is_followed_where_it_lies(alone, make_model, tmp_path):
    file = tmp_path / "flags.json"

    def switch(variant):
        flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": variant}
        flag["metadata"] = {"deployment": "tiny", "controls": "answers"}
        new = tmp_path / "flags.new"
        new.write_text(json.dumps({"flags": {"tiny.answers": flag}}))
        new.replace(file)

    switch("off")
    server = alone(make_model(tmp_path / "tiny.onnx", [1, 2]), "--toggles", file)
    said = server.said()
    with pytest.raises(urllib.error.HTTPError, match="503"):
        asked(said["infer"], said["example"])
    switch("on")
    deadline = time.monotonic() + 5
    while True:
        try:
            assert asked(said["infer"], said["example"])["outputs"][0]["data"] == [0.5]
            break
        except urllib.error.HTTPError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert server.end() == 0 and file.exists()

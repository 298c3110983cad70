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

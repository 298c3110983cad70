"""What a server may answer: words for numbers, cut answers, pages, files with names that lead elsewhere, refusals."""

from __future__ import annotations

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from mlops_tui.core.errors import BadInput, MlopsError, NotAllowed
from mlops_tui.tracking.exchange import mlflow_history, worker
from mlops_tui.tracking.exchange.mlflow_server import ServerSource

RUNS = [f"{number:032x}" for number in range(1, 4)]
STEPS = 40


class Server(ThreadingHTTPServer):
    """Answers like an MLflow server that holds three runs; ``old`` has no route for many runs at once."""

    old, asked = False, 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def answer(self, body, status=200):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("experiments/search"):
            self.answer({"experiments": [{"experiment_id": "1", "name": "churn", "creation_time": 1}]})
        elif self.path.endswith("runs/search"):
            at = int(body.get("page_token") or 0)
            more = {"next_page_token": str(at + 1)} if at + 1 < len(RUNS) else {}
            self.answer({"runs": [run(RUNS[at])], **more})
        else:
            self.answer({"error_code": "ENDPOINT_NOT_FOUND", "message": "no"}, 404)

    def do_GET(self):
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        self.server.asked += 1
        if path.endswith("get-history-bulk") and not self.server.old:
            rows = [point(one, step) for one in sorted(query["run_id"]) for step in range(STEPS)]
            self.answer({"metrics": rows[: int(query["max_results"][0])]})
        elif path.endswith("get-history"):
            at = int(query.get("page_token", ["0"])[0])
            rows = [point(query["run_id"][0], step) for step in range(at, min(at + 15, STEPS))]
            more = {"next_page_token": str(at + 15)} if at + 15 < STEPS else {}
            self.answer({"metrics": rows, **more})
        elif path.endswith("artifacts/list"):
            self.answer({"files": [{"path": "a.txt", "is_dir": False}, {"path": "../../b.txt", "is_dir": False}]})
        elif path == "/get-artifact":
            self.answer(b"content")
        else:
            self.answer(b"<html>a page</html>", 404)


def run(identifier):
    info = {"run_id": identifier, "experiment_id": "1", "run_name": identifier[-1], "status": "FINISHED"}
    latest = {"key": "loss", "value": 1.0, "timestamp": 5, "step": STEPS - 1}
    return {"info": {**info, "start_time": 1, "end_time": 2}, "data": {"metrics": [latest]}}


def point(identifier, step):
    """Python's JSON has a bare NaN, as MLflow's older route writes it; the newer writes the word."""
    value = {3: math.nan, 4: "Infinity"}.get(step, step / 2)
    return {"key": "loss", "run_id": identifier, "step": step, "timestamp": 100 + step, "value": value}


@pytest.fixture
def server():
    made = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def source(server):
    found = ServerSource(f"http://127.0.0.1:{server.server_port}")
    yield found
    found.close()


@pytest.mark.parametrize(("old", "most"), [(False, 25_000), (False, 60), (True, 25_000)])
def test_every_point_of_every_run_however_the_answers_are_cut(source, server, monkeypatch, old, most):
    monkeypatch.setattr(mlflow_history, "MOST", most)
    server.old = old
    some = list(source.runs())
    assert [one.run.name for one in some] == ["1", "2", "3"]
    for points in source.points(some):
        assert points.step.tolist() == list(range(STEPS)) and points.ts[0] == 100_000
        assert math.isnan(points.value[3]) and points.value[4] == math.inf and points.value[5] == 2.5


def test_a_file_whose_name_leads_elsewhere_is_left_out(server, job, house):
    url = f"http://127.0.0.1:{server.server_port}"
    request = {"tool": "mlflow", "source": url, "experiment": [], "artifacts": True, "wire": True, "look": False}
    told = worker.bring({**request, "models": True}, job())
    assert told["files"] == 3 and told["new_points"] == 3 * STEPS
    assert told["left_out"] == ["a file is called '../../b.txt', which leads out of its run (3×)"]
    assert house.read(lambda s: s.column("SELECT DISTINCT path FROM run_artifact")) == ["a.txt"]


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, b"who are you", NotAllowed, "refuses"),
        (404, b"<html>nothing</html>", BadInput, "is no MLflow server"),
        (200, b"<html>a page of something else</html>", BadInput, "is no MLflow server"),
        (500, b'{"message": "the database is gone"}', MlopsError, "answers with error 500"),
    ],
)
def test_what_is_no_server_says_so(server, monkeypatch, status, body, kind, words):
    def answers(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(body, status)

    monkeypatch.setattr(Handler, "do_POST", answers)
    with pytest.raises(MlopsError, match=words) as caught:
        ServerSource(f"http://amal:secret@127.0.0.1:{server.server_port}")
    assert type(caught.value) is kind and "secret" not in str(caught.value)

"""A client of the MLflow wire without sockets: it speaks ASGI to the application of a house in this process."""

from __future__ import annotations

import asyncio
import json
import os
from urllib.parse import urlencode

import pytest

from mlops_tui.agent.ingest import Ingestor
from mlops_tui.agent.mlflow.wire import Wire


class WireClient:
    """Asks like a client on loopback that is the owner of the home, or whoever is given."""

    def __init__(self, application, uid=None):
        self.house = application.house
        self._application, self._uid = application, os.getuid() if uid is None else uid

    def ask(self, method, path, body=None, query=None, raw=None):
        """Return status and JSON (or bytes) of an answer."""
        path = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
        sent = raw if raw is not None else (json.dumps(body).encode() if body is not None else b"")
        scope = {
            "type": "http", "method": method, "path": path, "client": (f"uid:{self._uid}", 0),
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
            "query_string": urlencode(query or {}, doseq=True).encode(),
        }  # fmt: skip
        messages = []

        async def receive():
            return {"type": "http.request", "body": sent, "more_body": False}

        async def send(message):
            messages.append(message)

        asyncio.run(self._application(scope, receive, send))
        payload = b"".join(one.get("body", b"") for one in messages[1:])
        kind = dict(messages[0]["headers"]).get(b"content-type", b"")
        return messages[0]["status"], json.loads(payload) if kind == b"application/json" else payload

    def get(self, path, /, **query):
        """Return the JSON of a GET that must succeed."""
        status, answer = self.ask("GET", path, query=query)
        assert status == 200, answer
        return answer

    def post(self, path, /, **body):
        """Return the JSON of a POST that must succeed."""
        status, answer = self.ask("POST", path, body)
        assert status == 200, answer
        return answer

    def refused(self, method, path, /, **given):
        """Return (status, error code, message) of a call that must fail."""
        status, answer = self.ask(method, path, given if method == "POST" else None, given if method == "GET" else None)
        assert status != 200, answer
        return status, answer["error_code"], answer["message"]


@pytest.fixture
def wire(house):
    """A client of the wire of a house; ``wire.house`` is the house."""
    house.ingestor = Ingestor(house)
    application = Wire(house, behind=None)
    house.journal = application.journal
    yield WireClient(application)
    application.journal.close()


@pytest.fixture
def run(wire):
    """The wire's id of a new run."""
    return wire.post("runs/create", experiment_id="0", start_time=1000)["run"]["info"]["run_id"]

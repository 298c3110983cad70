"""The ways to the agent: its socket, and its listener for what speaks only HTTP."""

from __future__ import annotations

import http.client
import os
import threading
from functools import lru_cache

from mlops_tui.client import Client
from mlops_tui.client.start import UnixConnection
from mlops_tui.core.paths import home
from mlops_tui.mlflow_plugin import job_header

PATIENCE_S = 120.0
"""As long as MLflow's client waits by default."""


def listener() -> tuple[str, str]:
    """Return address and token of the agent's listener; both are started when they are not there."""
    return _listener(os.environ.get("MLOPS_HOME", ""), os.getpid())


@lru_cache(maxsize=8)
def _listener(_home: str, _process: int) -> tuple[str, str]:
    with Client() as client:
        found = client.call("agent.url")
        return found.url, found.token


class Line:
    """A kept connection to the socket. A forked child and another thread open one of their own."""

    def __init__(self) -> None:
        self._mine = threading.local()

    def ask(self, method: str, path: str, body: str | None) -> tuple[int, bytes] | None:
        """Return status and body of the answer, or None when there is none: the agent is not there, or died."""
        connection = self._connection()
        headers = job_header() if body is None else {"Content-Type": "application/json", **job_header()}
        try:
            connection.request(method, path, None if body is None else body.encode(), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()  # the next request opens it again
            _listener.cache_clear()  # whoever asks for the listener now starts the agent that is gone
            return None

    def _connection(self) -> UnixConnection:
        if getattr(self._mine, "process", None) != os.getpid():
            self._mine.process = os.getpid()
            self._mine.connection = UnixConnection(str(home().socket), PATIENCE_S)
        found: UnixConnection = self._mine.connection
        return found

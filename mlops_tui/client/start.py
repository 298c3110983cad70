"""Reaching the agent: connect, say hello, start it when it is absent."""

from __future__ import annotations

import http.client
import os
import select
import socket
import subprocess
import sys
import time

import msgspec

from mlops_tui import __version__
from mlops_tui.contracts.operation import PROTOCOL
from mlops_tui.core.errors import Conflict, ExitCode, MlopsError, Unreachable, from_record
from mlops_tui.core.paths import Home, private_dir

START_FD = "MLOPS_START_FD"


class Hello(msgspec.Struct, kw_only=True):
    """What an agent says of itself before anything is asked of it."""

    protocol: int
    version: str
    store: str
    pid: int
    notice: str = ""


class UnixConnection(http.client.HTTPConnection):
    """HTTP/1.1 over a Unix socket, with the standard library alone: a CLI round trip must not import a client."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def hello(home: Home, timeout: float = 5.0) -> Hello | None:
    """Return what the agent says, or None when none listens."""
    connection = UnixConnection(str(home.socket), timeout)
    try:
        connection.request("GET", "/hello")
        return msgspec.json.decode(connection.getresponse().read(), type=Hello)
    except (OSError, http.client.HTTPException, msgspec.MsgspecError):
        return None
    finally:
        connection.close()


def reach(home: Home, *, start: bool, timeout: float, stay: bool = False) -> Hello:
    """Return the greeting of a running agent, starting one (with ``stay``: for good) when there is none.

    Raises:
        Unreachable: there is none and none could be started in time.
        Conflict: the agent speaks a language that this program does not.
        MlopsError: the reason why a new agent refused to start.
    """
    found = hello(home)
    if found is None:
        if not start:
            raise Unreachable("no agent is running", f"nothing listens on {home.socket}", "mlops agent start")
        found = _start(home, timeout, stay)
    if found.protocol not in (PROTOCOL, PROTOCOL + 1):
        raise Conflict(
            f"the running agent ({found.version}) and this program ({__version__}) do not understand each other",
            f"its protocol is {found.protocol}, ours is {PROTOCOL}",
            "mlops agent stop, then try again: jobs and servers go on meanwhile",
        )
    return found


def _start(home: Home, timeout: float, stay: bool) -> Hello:
    private_dir(home.runtime.parent)
    private_dir(home.runtime)
    private_dir(home.logs)
    try:
        log = os.open(home.logs / "agent.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise MlopsError(
            f"cannot write {error.filename}", str(error.strerror), "set MLOPS_HOME to a folder that you may write"
        ) from error
    ours, theirs = os.pipe()
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "mlops_tui.agent", *(["--stay"] if stay else [])],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[theirs],
            env={**os.environ, START_FD: str(theirs)},
            cwd="/",
        )
    finally:
        os.close(log)
        os.close(theirs)
    try:
        return _greeting(home, ours, child, timeout)
    finally:
        os.close(ours)


def _greeting(home: Home, pipe: int, child: subprocess.Popen[bytes], timeout: float) -> Hello:
    """Wait for the child's word; when another agent was faster, greet that one instead."""
    deadline = time.monotonic() + timeout
    word = b""
    while time.monotonic() < deadline:
        if select.select([pipe], [], [], 0.2)[0]:
            part = os.read(pipe, 65536)
            word += part
            if not part:
                break
    if word.startswith(b'{"error"'):
        record = msgspec.json.decode(word)["error"]
        if record.get("code") != "MLOPS-E0602":
            raise from_record(record)
    pause = 0.02
    while time.monotonic() < deadline and (child.poll() in (None, ExitCode.CONFLICT)):
        if found := hello(home, 1.0):
            if word and not word.startswith(b'{"error"'):
                found.notice = msgspec.json.decode(word).get("notice", "")
            return found
        time.sleep(pause)
        pause = min(pause * 2, 0.5)
    state = "it is still starting" if child.returncode is None else f"it ended with code {child.returncode}"
    raise Unreachable("the agent did not come up", state, f"look at {home.logs / 'agent.log'}")

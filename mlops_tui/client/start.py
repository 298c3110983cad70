"""Reaching the agent: connect, say hello, start it when it is absent."""

from __future__ import annotations

import http.client
import os
import select
import socket
import subprocess
import sys
import time
from io import RawIOBase
from pathlib import Path

import msgspec

from mlops_tui import __version__
from mlops_tui.contracts.operation import PROTOCOL
from mlops_tui.core.errors import Conflict, ExitCode, MlopsError, StoreLocked, Unreachable, from_record
from mlops_tui.core.paths import Home, private_dir

START_FD = "MLOPS_START_FD"
PATIENCE_S = 1.0
"""How long an agent that was faster than ours is waited for before we look again; doubled each time."""


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


def refused(home: Home) -> Path:
    """Return where an agent that refused to start leaves the reason for the doctor, until one starts."""
    return home.logs / "agent.refused"


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
    """Start an agent and greet it; begin again when it is killed as it comes up, or gave way to one that was."""
    deadline, patience = time.monotonic() + timeout, PATIENCE_S
    while True:
        child, word = _launch(home, deadline, stay)
        if found := _greeting(home, child, word, deadline, patience):
            return found
        if time.monotonic() > deadline or not (child.returncode == ExitCode.CONFLICT or (child.returncode or 0) < 0):
            state = "it is still starting" if child.returncode is None else f"it ended with code {child.returncode}"
            raise Unreachable("the agent did not come up", state, f"look at {home.logs / 'agent.log'}")
        patience *= 2


def _launch(home: Home, deadline: float, stay: bool) -> tuple[subprocess.Popen[bytes], bytes]:
    """Start an agent and return it with its first word, which is empty when it was killed before it said one."""
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
    with open(ours, "rb", buffering=0) as pipe:
        return child, _word(pipe, deadline)


def _word(pipe: RawIOBase, deadline: float) -> bytes:
    """Return what comes out of the pipe until it is closed at the other end."""
    word = b""
    while time.monotonic() < deadline:
        if select.select([pipe], [], [], 0.2)[0]:
            part = pipe.read(65536)
            word += part or b""
            if not part:
                break
    return word


def _greeting(
    home: Home, child: subprocess.Popen[bytes], word: bytes, deadline: float, patience: float
) -> Hello | None:
    """Return the greeting of the child, or of an agent that was faster; None when neither comes up.

    Raises:
        MlopsError: the reason why the child refused to start.
    """
    record = msgspec.json.decode(word).get("error") if word else None
    if record and record.get("code") != StoreLocked.code:
        raise from_record(record)
    began, pause = time.monotonic(), 0.02
    while time.monotonic() < deadline:
        if found := hello(home, 1.0):
            if word and not record:
                found.notice = msgspec.json.decode(word).get("notice", "")
            return found
        code = child.poll()
        if code is not None and (code != ExitCode.CONFLICT or time.monotonic() - began > patience):
            return None
        time.sleep(pause)
        pause = min(pause * 2, 0.5)
    return None

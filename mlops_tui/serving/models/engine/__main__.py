"""``python -m`` of this folder: load one model, say what it takes, and answer whoever asks until everybody hangs up.

What is told on standard input, as one JSON object: ``engine`` (``torch`` or ``pyfunc``), ``folder`` (ours, removed at
the end), ``model`` (a descriptor of the file, or of a tar of the folder), ``packed``, ``signature``, ``line`` (a
descriptor of the socket to whoever started us), ``door`` (one of a bound socket, where others knock once the model is
loaded), ``threads``, ``memory`` (bytes at most, 0: no bound), ``device``, ``load_s`` and ``timeout_s`` (seconds that
loading and a run may take: who takes longer ends, with a word in the log on where it hung).
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import select
import selectors
import shutil
import signal
import socket
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import frame, wire

_PATIENCE_S = 5.0
"""A client that stops in the middle of a message holds the others up for so long at most."""
_MANY = 256


def main() -> int:
    """Serve one model; ends with the last connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    faulthandler.enable()  # a crash says where, too
    # Says where it hung, without the interpreter's lock, and then dies of the signal.
    faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
    wishes = json.load(sys.stdin)
    line, door = socket.socket(fileno=wishes["line"]), socket.socket(fileno=wishes["door"])
    try:
        _bound(wishes["memory"])
        with _limit(wishes["load_s"]):
            model = _load(wishes)
            about = {"op": "ready", "folder": wishes["folder"], **model.about()}
    except Exception as error:
        wire.send(line, {"op": "failed", "why": _words(error)})
        return 1
    else:
        _serve(line, door, model, about, wishes["timeout_s"])
        return 0
    finally:
        shutil.rmtree(wishes["folder"], ignore_errors=True)


@contextlib.contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Die of what takes longer."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _bound(memory: int) -> None:
    """Be the first to go when the machine has no memory left, and take no more than we are given."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("900")
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def _load(wishes: dict[str, Any]) -> Any:
    path = Path(f"/dev/fd/{wishes['model']}")
    if wishes["packed"]:
        path = Path(wishes["folder"], "model")
        os.lseek(wishes["model"], 0, os.SEEK_SET)  # whoever ran before us read the same open file
        with open(wishes["model"], "rb", closefd=False) as file, tarfile.open(fileobj=file, mode="r|") as tar:
            tar.extractall(path, filter="data")
    if wishes["engine"] == "torch":
        from .torch_model import TorchModel

        return TorchModel(path, wishes["packed"], wishes["signature"], wishes["threads"], wishes["device"])
    if wishes["engine"] == "pyfunc":
        from .pyfunc_model import PyfuncModel

        return PyfuncModel(path)
    raise ValueError(f"there is no engine {wishes['engine']!r}")


def _serve(line: socket.socket, door: socket.socket, model: Any, about: frame.Message, timeout_s: float) -> None:
    """Answer one request after the other, of each connection in its turn, as long as there is one."""
    door.listen(_MANY)
    with selectors.DefaultSelector() as known:
        known.register(door, selectors.EVENT_READ)
        _greet(line, about, known)
        while len(known.get_map()) > 1:
            for key, _ in known.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is door:
                    _greet(door.accept()[0], about, known)
                    continue
                try:
                    _answer(sock, model, timeout_s)
                except (EOFError, OSError):
                    known.unregister(sock)
                    sock.close()


def _greet(sock: socket.socket, about: frame.Message, known: selectors.BaseSelector) -> None:
    """Say what the model is; who does not listen is not known."""
    sock.settimeout(_PATIENCE_S)
    try:
        wire.send(sock, about)
    except OSError:
        sock.close()
    else:
        known.register(sock, selectors.EVENT_READ)


def _answer(sock: socket.socket, model: Any, timeout_s: float) -> None:
    """Answer one request.

    Raises:
        EOFError: the other end is gone.
        OSError: it does not read.
    """
    _, tensors = wire.receive(sock)
    if _hung_up(sock):
        raise EOFError  # it did not wait until its turn came
    try:
        with _limit(timeout_s):
            results = model.run(tensors)
        wire.send(sock, {"op": "results"}, results)
    except OSError:
        raise
    except Exception as error:  # the model's, or of what it gave: nothing was sent
        wire.send(sock, {"op": "error", "why": _words(error)})


def _hung_up(sock: socket.socket) -> bool:
    waiter = select.poll()
    waiter.register(sock, 0)  # what is asked for by no flag is told all the same: that the other end is closed
    return bool(waiter.poll(0))


def _words(error: BaseException) -> str:
    """Return an error in one line; one without words of its own by its kind."""
    if isinstance(error, MemoryError):
        return "it asked for more memory than it may have"
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, RuntimeError | ValueError) and text else f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    # A child that a model forked and left must not keep us.
    code = main()
    sys.stdout.flush()
    os._exit(code)

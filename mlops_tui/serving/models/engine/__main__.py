"""``python -m`` of this folder: load one model, say what it takes, and answer until the other end hangs up.

What is told on standard input, as one JSON object: ``engine`` (``torch`` or ``pyfunc``), ``folder`` (ours, removed at
the end), ``model`` (a descriptor of the file, or of a tar of the folder), ``packed``, ``signature``, ``socket``,
``threads``, ``memory`` (bytes at most, 0: no bound) and ``device``.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import sys
import tarfile
from pathlib import Path
from typing import Any

from . import wire


def main() -> int:
    """Serve one model; ends with the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    wishes = json.load(sys.stdin)
    sock = socket.socket(fileno=wishes["socket"])
    try:
        _bound(wishes["memory"])
        model = _load(wishes)
        wire.send(sock, {"op": "ready", **model.about()})
    except Exception as error:
        wire.send(sock, {"op": "failed", "why": _words(error)})
        return 1
    else:
        _answer(sock, model)
        return 0
    finally:
        shutil.rmtree(wishes["folder"], ignore_errors=True)


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


def _answer(sock: socket.socket, model: Any) -> None:
    while True:
        try:
            _, tensors = wire.receive(sock)
        except EOFError:
            return
        try:
            results = model.run(tensors)
        except Exception as error:
            wire.send(sock, {"op": "error", "why": _words(error)})
        else:
            wire.send(sock, {"op": "results"}, results)


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

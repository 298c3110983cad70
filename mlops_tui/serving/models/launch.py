"""The process of a model that runs in one of its own: how it is started, what it is given, how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from mlops_tui.core.errors import BadInput
from mlops_tui.serving.child import environment
from mlops_tui.spool.process import ProcessId, boot_id, created_us, is_alive

_MEMORY = Path("/dev/shm")
_KNOCK_S = 0.2


class Wishes(NamedTuple):
    """How a model is to be run.

    Attributes:
        engine: ``torch`` or ``pyfunc``.
        packed: the file is a tar of a folder.
        signature: what it takes and gives, where its files do not say.
        python: the Python that runs it; empty: ours.
        threads: how many one request may use.
        memory: bytes that the process may have at most; 0: four fifths of the machine's.
        load_s: seconds until it must be loaded.
        timeout_s: seconds until a request must be answered.
        device: ``cpu`` or ``cuda``.
    """

    engine: str
    packed: bool = False
    signature: Any = None
    python: str = ""
    threads: int = 1
    memory: int = 0
    load_s: float = 120.0
    timeout_s: float = 30.0
    device: str = "cpu"


class Life:
    """One life of a model's process, from its start to its end.

    Args:
        wishes: how it is to be run.
        fd: memory file of the model; stays the caller's.
        door: where it will listen, once the model is loaded: the path of a Unix socket, relative or short.

    Attributes:
        line: our connection to it. It says ``ready`` or ``failed`` there, and lives as long as anybody is connected.

    Raises:
        BadInput: the Python cannot be started.
    """

    def __init__(self, wishes: Wishes, fd: int, door: Path) -> None:
        self.folder = _scratch(os.fstat(fd).st_size)
        self.line, theirs = socket.socketpair()
        bound = socket.socket(socket.AF_UNIX)
        try:
            door.unlink(missing_ok=True)
            bound.bind(str(door))
            os.chmod(door, 0o600)
            # Its own name for the folder of the code: what it runs under need not know our package.
            (self.folder / "mlops_engine").symlink_to(Path(__file__).parent / "engine")
            said = {
                "engine": wishes.engine, "folder": str(self.folder), "model": fd, "packed": wishes.packed,
                "signature": wishes.signature, "line": theirs.fileno(), "door": bound.fileno(),
                "threads": wishes.threads, "memory": wishes.memory or _most_memory(), "device": wishes.device,
                "load_s": wishes.load_s, "timeout_s": wishes.timeout_s,
            }  # fmt: skip
            self.child = subprocess.Popen(
                [wishes.python or sys.executable, "-m", "mlops_engine"],
                stdin=subprocess.PIPE, pass_fds=[fd, theirs.fileno(), bound.fileno()], cwd=self.folder,
                env=_environment(self.folder, wishes.threads),
            )  # fmt: skip
            assert self.child.stdin is not None
            with contextlib.suppress(BrokenPipeError), self.child.stdin as pipe:
                pipe.write(json.dumps(said).encode())
        except OSError as error:
            self.line.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise BadInput(f"cannot start {wishes.python or sys.executable}", str(error.strerror or error)) from error
        finally:
            theirs.close()
            bound.close()

    def ended(self) -> bool:
        """Tell whether the process has ended."""
        return self.child.poll() is not None

    def end(self) -> str:
        """Kill it if it lives, clear up behind it, and return how it ended."""
        self.line.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(0.2)  # who hung up is about to end: its own words count
        self.child.kill()
        code = self.child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        return _ending(code)


class FormerLife:
    """A model's process that a supervisor before us has started, and that still answers.

    Args:
        door: where it listens.

    Attributes:
        line: our connection to it.
        folder: its own, once it has told; nothing before.

    Raises:
        OSError: nobody listens there.
    """

    def __init__(self, door: Path) -> None:
        self.line = socket.socket(socket.AF_UNIX)
        self.folder: Path | None = None
        try:
            self.line.settimeout(_KNOCK_S)
            self.line.connect(str(door))
            self._process = _peer(self.line)
        except OSError:
            self.line.close()
            raise

    def ended(self) -> bool:
        """Tell whether the process has ended."""
        return not is_alive(self._process)

    def end(self) -> str:
        """Kill it if it lives, clear up behind it, and return how it ended: nobody but its parent knows."""
        self.line.close()
        if is_alive(self._process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process["pid"], signal.SIGKILL)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        return "its parent is gone"


def _peer(sock: socket.socket) -> ProcessId:
    """Return who listens at the other end of a Unix socket."""
    pid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return ProcessId(host=os.uname().nodename, boot=boot_id(), pid=pid, created=created_us(pid) or 0)


def _environment(folder: Path, threads: int) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    return {**environment(threads), "PYTHONPATH": path, "TMPDIR": str(folder)}


def _scratch(size: int) -> Path:
    """Make a folder for the model's files: in memory where there is room, so that they are never plain on a disk."""
    base = None
    with contextlib.suppress(OSError):
        room = shutil.disk_usage(_MEMORY).free
        base = _MEMORY if os.access(_MEMORY, os.W_OK) and room > 4 * size else None
    return Path(tempfile.mkdtemp(prefix="mlops-model-", dir=base))


def _most_memory() -> int:
    """Return four fifths of the memory that this process may have, in bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(limit).read_text()))
    return total * 4 // 5


def _ending(code: int) -> str:
    if code == -signal.SIGALRM:
        return "it took too long"
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"

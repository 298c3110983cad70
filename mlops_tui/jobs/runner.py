"""``python -m mlops_tui.jobs.runner``: one job's supervisor, in a session of its own.

It reads the spec from standard input, runs the child, writes the child's output, its own heartbeats and the end
into the job's spool, and passes a request to stop on. It needs neither agent nor store: both may die meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import msgspec

from mlops_tui.core.paths import Home, home, private_dir
from mlops_tui.jobs import leftover
from mlops_tui.jobs.spec import DataFile, Spec
from mlops_tui.spool.usage import Usage, wanted
from mlops_tui.spool.writer import Writer

SECRETS = ("MLOPS_STORE_KEY", "CREDENTIALS_DIRECTORY")
"""What no program of a user's is given: it could copy its environment into a log."""
EARLY_S = 1.2
PREEMPTED = 75
"""Exit code of a child that wrote its checkpoint because it was asked to stop."""


def main() -> int:
    """Supervise one job to its end."""
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=Spec)
    where = home()
    folder = private_dir(private_dir(where.jobs) / spec.job)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return 0  # this job has a supervisor already
    writer = Writer(
        where.spool, spec.job, kind="job", job={"name": spec.name, "kind": spec.kind, "run": spec.run}, heartbeat=True
    )
    leftover.end(folder, spec.grace_s)
    try:
        code, asked = _supervise(spec, where, folder, writer)
    except Exception as error:
        writer.end("failed", None, f"{type(error).__name__}: {error}")
        return 1
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    writer.tags({"cpu_s": f"{used.ru_utime + used.ru_stime:.3f}", "max_rss": str(used.ru_maxrss * 1024)})
    status = "done" if code == 0 else "killed" if asked or code == PREEMPTED else "failed"
    writer.end(status, code, "" if code == 0 else _reason(code))
    return 0


def _supervise(spec: Spec, where: Home, folder: Path, writer: Writer) -> tuple[int, bool]:
    descriptors = {file.name: _materialise(file, where, folder) for file in spec.data}
    child = subprocess.Popen(
        spec.argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=spec.cwd or folder,
        env=_environment(spec, folder, descriptors),
        pass_fds=list(descriptors.values()),
        process_group=0,
    )
    leftover.note(folder, child.pid)
    measured = _measure(spec, where, child.pid)
    asked = _pass_signals_on(child, spec.grace_s)
    assert child.stdin and child.stdout and child.stderr
    readers = [
        threading.Thread(target=_pump, args=(pipe, name, writer))
        for pipe, name in ((child.stdout, "out"), (child.stderr, "err"))
    ]
    for reader in readers:
        reader.start()
    try:
        child.stdin.write(msgspec.json.encode(spec.request))
        child.stdin.close()
    except BrokenPipeError:
        pass  # the child does not want it, or died: its exit code tells
    code = child.wait()
    if measured:
        measured.end()
    rest = leftover.end_group(child.pid, min(leftover.LAST_S, spec.grace_s))
    for reader in readers:
        reader.join(timeout=5)  # a grandchild may hold the pipe; the job is over all the same
    if rest:
        writer.log(f"ended {rest} {'process' if rest == 1 else 'processes'} that the job left behind", "err")
    return code, asked.is_set()


def _measure(spec: Spec, where: Home, child: int) -> Usage | None:
    """Have what a training uses written to its run, whether the script knows of us or not."""
    if not spec.run or spec.lane != "train" or not wanted({**os.environ, **spec.env}):
        return None
    usage = Usage(Writer(where.spool, spec.run, start=False), child)
    early = threading.Timer(EARLY_S, usage.tick)  # a training of seconds has a sample too
    early.daemon = True
    early.start()
    return usage


def _environment(spec: Spec, folder: Path, descriptors: dict[str, int]) -> dict[str, str]:
    added = {
        "MLOPS_JOB_ID": spec.job,
        "MLOPS_CKPT_DIR": str(private_dir(folder / "checkpoints")),
        "MLOPS_GRACE_S": f"{spec.grace_s:g}",
        "PYTHONUNBUFFERED": "1",
        **({"MLOPS_RUN_ID": spec.run} if spec.run else {}),
        **{f"MLOPS_DATA_{name.upper().replace('-', '_')}": f"/dev/fd/{fd}" for name, fd in descriptors.items()},
    }
    secrets = () if _ours(spec) else SECRETS
    return {name: text for name, text in {**os.environ, **spec.env, **added}.items() if name not in secrets}


def _ours(spec: Spec) -> bool:
    """Tell whether the child is a worker of this program, which must unseal artifacts itself."""
    return spec.argv[:2] == [sys.executable, "-m"] and spec.argv[2].startswith("mlops_tui.")


def _materialise(file: DataFile, where: Home, folder: Path) -> int:
    """Return a descriptor of the unsealed artifact: in memory on Linux, else an unlinked private file."""
    from mlops_tui.blobs import Blobs
    from mlops_tui.core.config import load
    from mlops_tui.keys import open_keys
    from mlops_tui.plugins.loader import key_sources

    blobs = Blobs(where.blobs, open_keys(where, load(where=where), key_sources(), must_exist=True))
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create(file.name)
    else:
        place = folder / f"{file.name}.plain"
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        place.unlink()
    with blobs.open(file.digest) as source, os.fdopen(os.dup(descriptor), "wb") as target:
        while block := source.read(1 << 20):
            target.write(block)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _pass_signals_on(child: subprocess.Popen[bytes], grace_s: float) -> threading.Event:
    """On SIGTERM ask the child to stop; kill its whole group when it has not within the grace period.

    Only the child is asked: its data loaders must live until it has written its checkpoint.
    """
    asked = threading.Event()

    def kill() -> None:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)

    def ask(*_: object) -> None:
        if not asked.is_set() and child.poll() is None:
            asked.set()
            child.terminate()
            timer = threading.Timer(grace_s, kill)
            timer.daemon = True
            timer.start()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return asked


def _pump(pipe: IO[bytes], stream: str, writer: Writer) -> None:
    for line in pipe:
        writer.log(line.decode(errors="replace").rstrip("\n"), stream)


def _reason(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


if __name__ == "__main__":
    sys.exit(main())

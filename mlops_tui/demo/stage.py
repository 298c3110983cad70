"""The demo's stage: a home of its own, made afresh each time, and every process of it ended afterwards."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import psutil

from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.core.paths import Home, home, private_dir

MARK = ".mlops-demo"
INSIST_S = 5.0
DRIVER = "MLOPS_DEMO_DRIVER"
"""Set for a driver whose stage is made already and which must not be ended as a left-over."""


def sample_folder(given: str = "") -> Path:
    """Return the folder of the sample data: the given one, the installed one, or the repository's.

    Raises:
        NotFound: there is none.
    """
    package = Path(str(files("mlops_tui")))
    for folder in (Path(given).absolute(),) if given else (package / "_sample", package.parent / "sample_data"):
        if (folder / "census").is_dir() and (folder / "project").is_dir():
            return folder
    raise NotFound("the sample data is not there", f"looked in {given or package.parent}", "--sample names its folder")


def set_stage(where: str = "") -> Home:
    """Clear the demo's home and enter it; whatever an interrupted demo left running there is ended first.

    Raises:
        BadInput: the folder holds something that is not a demo's.
        Conflict: a demo runs there.
    """
    folder = Path(where).absolute() if where else home().data / "demo"
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise BadInput(f"{folder} is not a demo's home", "it holds other files", "name an empty folder with --home")
    os.environ["MLOPS_HOME"] = str(folder)
    _claim(private_dir(folder) / MARK)
    end_processes(folder)
    for entry in folder.iterdir():  # the mark stays: an interrupted clearing is gone on with by the next demo
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != MARK:
            entry.unlink()
    return home()


def _claim(mark: Path) -> None:
    """Hold the stage until this process ends, however it does.

    Raises:
        Conflict: another demo holds it.
    """
    descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Conflict(
            "a demo is running already", f"its home is {mark.parent}", "wait for its end, or name a folder with --home"
        ) from error
    os.truncate(descriptor, 0)
    os.write(descriptor, b"made by mlops demo; it is cleared by the next one\n")


def end_processes(folder: Path, patience_s: float = 15.0) -> None:
    """End our own processes whose home is this folder: agent, jobs and servers. Ask first, then insist.

    Raises:
        Conflict: one of them does not end.
    """
    deadline = time.monotonic() + patience_s
    asked: set[int] = set()
    # Looked at again each time: what is asked to end may have started something the moment before.
    while living := _processes(folder):
        late = time.monotonic() - deadline
        if late > INSIST_S:
            why = f"pid {living[0].pid} is still there"
            raise Conflict(f"{len(living)} processes of the demo do not end", why, "end them and try again")
        for process in living:
            with suppress(psutil.NoSuchProcess):
                if late > 0:
                    process.kill()
                elif process.pid not in asked:
                    asked.add(process.pid)
                    process.terminate()
        time.sleep(0.1)


def _processes(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.uids().real == os.getuid() and _belongs(process, folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _belongs(process: psutil.Process, folder: Path) -> bool:
    """Tell whether a process is ours: one of our modules or of a job's programs, not a shell that shares the home."""
    if process.status() == psutil.STATUS_ZOMBIE:
        return False
    given, argv = process.environ(), process.cmdline()
    module = argv[argv.index("-m") + 1 : argv.index("-m") + 2] if "-m" in argv else []
    ours = "MLOPS_JOB_ID" in given or any(name.startswith("mlops_tui.") for name in module)
    return ours and given.get("MLOPS_HOME") == str(folder) and DRIVER not in given

"""The demo's stage: a home of its own, made afresh each time, and every process of it ended afterwards."""

from __future__ import annotations

import os
import shutil
import time
from importlib.resources import files
from pathlib import Path

import psutil

from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.core.paths import Home, home, private_dir

MARK = ".mlops-demo"


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
    """
    folder = Path(where).absolute() if where else home().data / "demo"
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise BadInput(f"{folder} is not a demo's home", "it holds other files", "name an empty folder with --home")
    os.environ["MLOPS_HOME"] = str(folder)
    end_processes(folder)
    shutil.rmtree(folder, ignore_errors=True)
    private_dir(folder)
    (folder / MARK).write_text("made by mlops demo; it is cleared by the next one\n")
    return home()


def end_processes(folder: Path, patience_s: float = 15.0) -> None:
    """End our own processes whose home is this folder: agent, jobs and servers. Ask first, then insist.

    Raises:
        Conflict: one of them does not end.
    """
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        living = _processes(folder)
        for process in living:
            try:
                ask(process)
            except psutil.NoSuchProcess:
                continue
        deadline = time.monotonic() + patience_s
        while _processes(folder) and time.monotonic() < deadline:
            time.sleep(0.1)
    if living := _processes(folder):
        raise Conflict(
            f"{len(living)} processes of an earlier demo do not end", f"pid {living[0].pid}", "end them and try again"
        )


def _processes(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            mine = (
                process.pid != os.getpid()
                and process.uids().real == os.getuid()
                and process.status() != psutil.STATUS_ZOMBIE
            )
            if (
                mine
                and process.environ().get("MLOPS_HOME") == str(folder)
                and "MLOPS_DEMO_DRIVER" not in process.environ()
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found

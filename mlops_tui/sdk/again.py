"""Going on with a run: which one (``start_run(resume=True)`` leaves a mark until the run is done), and from where.

The mark lies in the state folder under a name made of script, working folder, experiment and name, so that two scripts,
or two configurations of one, do not take each other's run. Nothing here raises.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from mlops_tui.core.paths import home, private_dir
from mlops_tui.sdk.facts import safely, word
from mlops_tui.spool.usage import PREFIX

FOLDER = "resume"
TAIL = 1 << 18
"""Bytes at the end of each spool file that are looked through."""
ASK_S = 1.0
"""Seconds that a running agent has to tell of a run whose spool files are taken in and gone."""


def mark(experiment: object, name: object) -> Path | None:
    """Return the file that remembers the unfinished run of this script, for this experiment and name."""
    return safely(_mark, word(experiment), word(name), otherwise=None)


def left(mark: Path) -> str:
    """Return the id of the run that was not finished; empty when there is none."""
    text: str = safely(mark.read_text, otherwise="")
    return text.strip()


def note(mark: Path, run: str) -> None:
    """Remember a run as unfinished."""
    safely(_write, mark, run, otherwise=None)


def forget(mark: Path) -> None:
    """Forget it: the run is done."""
    safely(mark.unlink, otherwise=None)


class LeftOff(NamedTuple):
    """How far a run is: the last step that it logged, None if there is none or nobody knows, and its last word (µs)."""

    step: int | None
    ts: int


def left_off(spool: Path, run: str) -> LeftOff:
    """Return how far a run is, by its spool files or, when they are taken in and gone, by the agent."""
    files: list[Path] = safely(lambda: list((spool / run).glob("*.jsonl")), otherwise=[])
    records = [record for file in files for record in safely(_tail, file, otherwise=[])]
    steps = [record["s"] for record in records if _logged(record)]
    ts = max((record["t"] for record in records if isinstance(record.get("t"), int)), default=0)
    return LeftOff(max(steps), ts) if steps else safely(_asked, run, ts, otherwise=LeftOff(None, ts))


def _tail(file: Path) -> list[dict[str, Any]]:
    with open(file, "rb") as tail:
        tail.seek(max(0, tail.seek(0, os.SEEK_END) - TAIL))
        lines = tail.read().split(b"\n")
    records = [safely(orjson.loads, line, otherwise={}) for line in lines]
    return [record for record in records if isinstance(record, dict)]


def _logged(record: dict[str, Any]) -> bool:
    """Tell whether a record has metrics that the training logged, not only figures of the machine."""
    return record.get("e") == "m" and not all(key.startswith(PREFIX) for key in (*record["m"], *record.get("x", {})))


def _asked(run: str, ts: int) -> LeftOff:
    from mlops_tui.client import Client

    found = Client(start=False, timeout=ASK_S).call("run.show", {"run": run})
    step = max((metric.step for metric in found.metrics), default=None)
    return LeftOff(step, max(ts, found.started, found.ended or 0, found.heartbeat or 0))


def _mark(experiment: str, name: str) -> Path:
    main = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    said = "\0".join((os.path.abspath(main), os.getcwd(), experiment, name))
    return private_dir(home().state) / FOLDER / hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:32]


def _write(mark: Path, run: str) -> None:
    private_dir(mark.parent)
    scratch = mark.with_suffix(f".{os.getpid()}")
    scratch.write_text(run)
    scratch.replace(mark)

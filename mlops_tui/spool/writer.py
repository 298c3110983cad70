"""The writer: one record, one ``O_APPEND`` write. When a method has returned True, kill -9 loses nothing.

It never raises into its caller and never waits for anybody. A full disk, a read-only home or a value that
is no number is counted, said once on stderr, and the work goes on.
"""

from __future__ import annotations

import json
import math
import numbers
import re
from collections.abc import Mapping
from pathlib import Path
from time import time_ns
from typing import Any

import orjson

from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import BadInput
from mlops_tui.core.jsonx import ieee_word
from mlops_tui.spool import keeper
from mlops_tui.spool.appender import Appender
from mlops_tui.spool.notice import Notices
from mlops_tui.spool.process import this_process
from mlops_tui.spool.text import as_number, as_step, as_texts, is_name

_MAX_STEP = 2**63 - 2
_KNOWN_NAMES = 20_000
SET_BACK_US = 1_000_000
"""By how much a clock must jump to be believed to have been set back; of threads, one may overtake another."""
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_PLAIN = frozenset((float, int))
_NEWLINE = orjson.OPT_APPEND_NEWLINE
_LENIENT = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
_dumps = orjson.dumps


class Writer:
    """Appends the events of one owner (a run, job or deployment) to this process's own file.

    Safe under threads. In a forked child the writer opens a file of the child's own at its first record;
    the child neither sends heartbeats nor ends the owner.

    Args:
        spool: the folder of all owners, ``home().spool``.
        owner: id of the run, job or deployment; becomes a folder's name.
        kind: what the file tells of: ``run``, ``job`` or ``label``.
        run: facts of the run for the start record: experiment, name, parent, kind, params, tags, git, env,
            hardware, command, actor.
        job: facts of the job, for kind ``job``.
        start: whether this file begins with a start record; not when somebody else's file has it.
        heartbeat: whether to write a heartbeat every 5 s.
        notices: where trouble is said; default, a new one.
        after: µs, when the owner was heard of last: every record is later, whatever this machine's clock says.

    Attributes:
        owner: the id.
        folder: the owner's folder.
        notices: where trouble is said.

    Raises:
        BadInput: the owner cannot be the name of a folder.
    """

    def __init__(
        self,
        spool: Path,
        owner: str,
        *,
        kind: str = "run",
        run: Mapping[str, Any] | None = None,
        job: Mapping[str, Any] | None = None,
        start: bool = True,
        heartbeat: bool = False,
        notices: Notices | None = None,
        after: int = 0,
    ) -> None:
        if not _OWNER.fullmatch(owner):
            raise BadInput(
                f"{owner!r:.80} is no id", "an owner is letters, digits, '.', '_' and '-'", "use core.ids.uuid7()"
            )
        self.owner, self.folder = owner, spool / owner
        self.notices = notices or Notices()
        self._names: set[str] = set()
        self._reals: set[type] = {float, int, bool}  # and what else turned out to be a number, numpy's scalars
        self._next_step = 0
        self._ahead, self._last = max(0, after + 1 - now_us()), 0
        self._heartbeat, self._forked = heartbeat, False
        self._file = Appender(self.folder, self._start_line(kind, run, job) if start else b"", self.notices)
        keeper.look_after(self)
        if start:
            self._file.sync()

    @property
    def dropped(self) -> int:
        """How many records are not in the file."""
        return self._file.dropped

    @property
    def path(self) -> Path | None:
        """The file being written, None while there is none."""
        return self._file.path

    @property
    def next_step(self) -> int:
        """The step of metrics that come without one."""
        return self._next_step

    def go_on(self, after: int | None) -> None:
        """Count on from a step that an earlier process logged; None changes nothing."""
        if after is not None:
            self._next_step = after + 1

    # -- records -------------------------------------------------------------------------------------

    def metrics(self, values: Mapping[str, Any], step: int | None = None, ts: int | None = None) -> bool:
        """Append one metric record.

        Args:
            values: name → number; a value that is no number is dropped, said once.
            step: None continues one after the last step of this writer.
            ts: microseconds since the epoch; default, now.

        Returns:
            Whether a record is in the file, whole.
        """
        if step is None:
            step = self._next_step
        try:
            if type(step) is int and -_MAX_STEP <= step <= _MAX_STEP and (plain := self._plain(values)):
                record = {"v": 1, "e": "m", "t": self._now() if ts is None else ts, "s": step, "m": plain}
                line = _dumps(record, None, _NEWLINE)
            else:
                line = b""
        except Exception:  # an integer of more than 64 bits, a dict that another thread is filling
            line = b""
        if not line:
            return self._metrics_checked(values, step, ts)
        self._next_step = step + 1
        return self._file.append(line)

    def machine(self, values: Mapping[str, float], step: int) -> bool:
        """Append figures of the machine; they do not count among the steps of the training."""
        return self._record("m", None, s=step, m={key: value for key, value in values.items() if math.isfinite(value)})

    def params(self, values: Mapping[Any, Any], ts: int | None = None) -> bool:
        """Append parameters, as texts and in their order; on disk when this returns."""
        good = self._texts(values, "parameter")
        return bool(good) and self._record("param", ts, sync=True, p=good)

    def tags(self, values: Mapping[Any, Any], ts: int | None = None) -> bool:
        """Append tags, as texts."""
        good = self._texts(values, "tag")
        return bool(good) and self._record("tag", ts, g=good)

    def heartbeat(self) -> bool:
        """Append a sign of life."""
        return self._record("hb", None)

    def log(self, text: str, stream: str = "out", ts: int | None = None) -> bool:
        """Append a piece of program output; ``stream`` is ``out`` or ``err``."""
        return self._record("log", ts, l=text, o="err" if stream == "err" else "out")

    def artifact(self, path: str, file: Path, size: int, ts: int | None = None, *, sync: bool = True) -> bool:
        """Append that ``file`` (absolute, inside the spool folder) holds the artifact ``path`` of ``size`` bytes."""
        return self._record("artifact", ts, sync=sync, path=path, file=str(file), size=size)

    def dataset(self, name: str, digest: str = "", context: str = "training", ts: int | None = None) -> bool:
        """Append that a data set version, e.g. ``census@3``, was used."""
        if not name:
            return self._file.drop("dataset", "a data set without a name was used; dropped")
        return self._record("data", ts, name=name, digest=digest, context=context)

    def label(self, request_id: str, row: int, y: float, ts: int | None = None) -> bool:
        """Append the truth of one row of a request; a label that is not finite is dropped."""
        number, at = as_number(y), as_step(row)
        if number is None or at is None or not math.isfinite(number):
            return self._file.drop(
                "label", f"a label was dropped: row {_shown(row)}, {_shown(y)} is not a finite number"
            )
        return self._record("label", ts, id=request_id, row=at, y=number)

    def end(self, status: str, exit_code: int | None = None, error: str = "") -> bool:
        """Append the end (``done``, ``failed`` or ``killed``), sync and close; in a forked child only close."""
        if self._forked:
            self.close()
            return False
        self._heartbeat = False  # the end is the last record
        if self.dropped:
            self.tags({"mlops.dropped_records": self.dropped})
        last = max(self._now(), self._last)
        written = self._record("end", last, sync=True, status=status, exit=exit_code, error=error)
        self.close()
        return written

    def close(self) -> None:
        """Close the file without an end; what comes later is dropped. May be called again."""
        keeper.let_go(self)
        self._file.close()

    # -- called by the keeper ------------------------------------------------------------------------

    def tick(self) -> None:
        """Write a heartbeat when this writer has one, and bring to disk what is not there yet."""
        if self._heartbeat:
            self.heartbeat()
        if self._file.dirty:
            self._file.sync()

    def forked(self) -> None:
        """In a forked child: leave file, heartbeats and the end to the parent."""
        self._heartbeat, self._forked = False, True
        self._file.forked()

    # -- how a record gets there ---------------------------------------------------------------------

    def _start_line(self, kind: str, run: Mapping[str, Any] | None, job: Mapping[str, Any] | None) -> bytes:
        record: dict[str, Any] = {
            "v": 1,
            "e": "start",
            "t": self._now(),
            "owner": self.owner,
            "kind": kind,
            "process": this_process(),
        }
        if run is not None:
            record["run"] = {
                **run,
                "params": self._texts(run.get("params", {}), "parameter"),
                "tags": self._texts(run.get("tags", {}), "tag"),
            }
        if job is not None:
            record["job"] = dict(job)
        return _encode(record)

    def _plain(self, values: Any) -> dict[str, float] | None:
        """Return metrics of known names and types as orjson writes them; None when they need a closer look."""
        if type(values) is not dict or not self._names.issuperset(values):
            return None
        if not _PLAIN.issuperset(map(type, values.values())):
            if not self._reals.issuperset(map(type, values.values())):
                return None
            values = dict(zip(values, map(float, values.values()), strict=True))
        return values if math.isfinite(sum(values.values())) else None  # orjson writes NaN and infinities as null

    def _metrics_checked(self, values: Any, step: Any, ts: int | None) -> bool:
        fields: dict[str, Any] = {"m": {}, "x": {}}
        known = self._names
        try:
            for key, value in values.items():
                number = value if type(value) is float else as_number(value)
                if type(value) not in self._reals and isinstance(value, numbers.Real):
                    self._reals.add(type(value))
                if number is None or not (key in known or is_name(key)):
                    self.notices.once(
                        "metric", f"a metric was dropped: {_shown(key)} = {_shown(value)} is not a name with a number"
                    )
                elif math.isfinite(number):
                    fields["m"][key] = number
                else:
                    fields["x"][key] = ieee_word(number)
        except Exception as error:  # no mapping, or one that fails: whatever it is, training goes on
            return self._file.drop(
                "metrics", f"run.log takes a mapping of names to numbers, not this ({type(error).__name__}); dropped"
            )
        at = as_step(step)
        if at is None:
            return self._file.drop("step", f"the step {_shown(step)} is not a whole number; such records are dropped")
        if not fields["m"] and not fields["x"]:
            return False
        if len(known) > _KNOWN_NAMES:
            known.clear()
        known.update(fields["m"])
        self._next_step = at + 1
        if not fields["x"]:
            del fields["x"]
        return self._record("m", ts, s=at, **fields)

    def _texts(self, values: Mapping[Any, Any], what: str) -> dict[str, str]:
        try:
            good, bad = as_texts(values)
        except Exception as error:
            good, bad = {}, [f"not a mapping ({type(error).__name__})"]
        for word in bad:
            self.notices.once(what, f"a {what} was dropped: {word}")
        return good

    def _now(self) -> int:
        """Return the time in µs. It goes on when the clock is set back: what is told later must not seem older."""
        now = time_ns() // 1000 + self._ahead
        if now < self._last - SET_BACK_US:
            self._ahead += self._last - now
            now = self._last
        self._last = now
        return now

    def _record(self, event: str, ts: int | None, *, sync: bool = False, **fields: Any) -> bool:
        line = _encode({"v": 1, "e": event, "t": self._now() if ts is None else ts, **fields})
        if not line:
            return self._file.drop("record", f"a {event} record cannot be written as JSON; dropped")
        written = self._file.append(line)
        if written and sync:
            self._file.sync()
        return written


def _encode(record: dict[str, Any]) -> bytes:
    """Return a record as a line; empty when it cannot be one."""
    try:
        return _dumps(record, str, _LENIENT)
    except Exception:  # a lone surrogate (file names have them), an integer of more than 64 bits
        try:
            return (
                json.dumps(record, default=str, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
            )
        except Exception:
            return b""


def _shown(value: object) -> str:
    """Return a value for a message; of anything but plain values only the type, whose ``repr`` may cost or raise."""
    return f"{value!r:.80}" if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"

"""A run as a training script holds it: it takes whatever is given and never gives trouble back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from mlops_tui.core.ids import short
from mlops_tui.sdk import console, exits, media
from mlops_tui.sdk.facts import word
from mlops_tui.spool.files import keep, settle
from mlops_tui.spool.text import logical_path
from mlops_tui.spool.usage import Usage
from mlops_tui.spool.writer import Writer

_STATUS = {"done": "done", "finished": "done", "failed": "failed", "killed": "killed"}


class Run:
    """One run. Made by :func:`mlops_tui.start_run`; used as ``with`` block or ended by :meth:`end`.

    No method raises for what it is given, for a full disk, or after the end: trouble is said once on stderr and the
    call does nothing. Every method may be called from any thread, from forked children, and from processes that it is
    handed to: these write a file of their own to the same run.

    Attributes:
        id: UUIDv7.
        experiment: the experiment's name; empty for a run that was joined without saying one.
        name: the name, None to have one made.
        status: ``running``, then how it ended.
        place: thread and task that began it.
        mark: where it is remembered as unfinished, for whoever resumes it.
        usage: what samples the processes of this run, if anybody here does.
    """

    def __init__(
        self, writer: Writer, *, experiment: str, name: str | None, member: bool, on_end: Callable[[Run], None]
    ) -> None:
        self.id, self.experiment, self.name = writer.owner, experiment, name
        self.place = (0, 0)
        self.entered = False
        self._writer, self._member, self._on_end = writer, member, on_end
        self._pid = os.getpid()
        self._over = False
        self.status = "running"
        self.mark: Path | None = None
        self.usage: Usage | None = None
        self._pending: threading.Thread | None = None

    @property
    def link(self) -> str:
        """The deep link, for ``mlops open`` and the TUI's ``:``."""
        return f"run:{short(self.id)}"

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self._over

    @property
    def next_step(self) -> int:
        """The step that a metric gets which comes without one; after a resume, one more than the last one logged."""
        return self._writer.next_step

    @property
    def should_stop(self) -> bool:
        """Whether the job was asked to stop: write a checkpoint and exit with ``PREEMPTED``."""
        return exits.stop_asked()

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics: name → number (Python, numpy, torch scalar; NaN and infinities are values).

        When this returns, killing the process loses nothing. Without a step the run counts on from the last one.
        """
        self._writer.metrics(metrics, step)

    def log_param(self, key: str, value: Any) -> None:
        """Log one parameter; it is kept as text."""
        self._writer.params({word(key): value})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters, in their order; they are kept as text."""
        self._writer.params(params)

    def set_tag(self, key: str, value: Any) -> None:
        """Set one tag; the last value counts."""
        self._writer.tags({word(key): value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; the last value of each counts."""
        self._writer.tags(tags)

    def log_artifact(self, source: str | os.PathLike[str] | bytes, path: str | None = None) -> None:
        """Keep a copy of a file, of a folder's files, or of bytes.

        Args:
            source: a file, a folder or bytes; what happens to a file afterwards changes nothing.
            path: the artifact's name in the run, ``models/model.onnx``; ``models/`` keeps the file's own name.
                Default, the name of the file or folder; bytes need one.
        """
        with self._forgiving():
            self._keep(_sources(source, path))

    def log_text(self, text: str, path: str) -> None:
        """Keep a text as a file."""
        self._made(path, lambda: word(text).encode("utf-8", "replace"))

    def log_dict(self, value: Any, path: str) -> None:
        """Keep a dictionary or list as a JSON file, or as YAML when the name ends so."""
        self._made(path, lambda: media.document(value, path))

    def log_table(self, data: Any, path: str = "table.json") -> None:
        """Keep a table: a data frame, columns by name, or a list of rows by name."""
        self._made(path, lambda: media.table(data))

    def log_image(self, image: Any, path: str = "image.png", step: int | None = None) -> None:
        """Keep a picture as PNG: an array, a tensor, or an image of PIL; with a step, a file a step."""
        self._made(path, lambda: media.image(image), step)

    def log_figure(self, figure: Any, path: str = "figure.png", step: int | None = None) -> None:
        """Keep a figure of matplotlib or plotly, in the format that the name ends with."""
        self._made(path, lambda: media.figure(figure, path), step)

    def log_confusion_matrix(
        self,
        truth: Any,
        predicted: Any = None,
        labels: Sequence[Any] | None = None,
        path: str = "confusion_matrix.json",
        step: int | None = None,
    ) -> None:
        """Keep a confusion matrix: of true and predicted classes, or the matrix itself (a row for each true class)."""
        self._made(path, lambda: media.confusion(truth, predicted, labels), step)

    def use_dataset(self, name: str, digest: str | None = None, context: str = "training") -> None:
        """Note that a data set version was used, e.g. ``census@3``."""
        self._writer.dataset(word(name), word(digest), word(context))

    def end(self, status: str = "done", error: str = "") -> None:
        """End the run: ``done``, ``failed`` or ``killed``. A second end changes nothing."""
        known = _STATUS.get(word(status).lower())
        if known is None:
            self._writer.notices.once("status", f"{word(status)!r:.80} is no status; the run ends as 'done'")
        self.finish(exits.Verdict(known or "done", None, word(error)))

    def finish(self, verdict: exits.Verdict) -> None:
        """End the run so; called by :meth:`end`, the ``with`` block and whatever ends the process."""
        if self._over:
            return
        if self._pending is not None and os.getpid() == self._pid:
            self._pending.join(timeout=0.5)
        console.leave(self)
        if self.usage is not None and os.getpid() == self._pid:
            self.usage.close()
        self._over, self.status = True, verdict.status
        if self._member:
            self._writer.close()
        else:
            self._writer.end(*verdict)  # in a forked child it only closes
        self._on_end(self)

    def tag_later(self, ask: Callable[[], Mapping[str, str]]) -> None:
        """Have tags worked out beside the training; the end of the run waits half a second for them at most."""

        def work() -> None:
            tags = ask()
            if not self._over:
                self._writer.tags(tags)

        self._pending = threading.Thread(target=work, name="mlops-facts", daemon=True)
        try:
            self._pending.start()
        except RuntimeError:  # no thread to be had
            self._pending = None

    def printed(self, line: str, stream: str) -> None:
        """Take a line that the program printed."""
        self._writer.log(line, stream)

    def silenced(self, why: str) -> None:
        """Say that nothing more of the console is kept."""
        self._writer.log(f"mlops: {why}", "err")
        self._writer.notices.once("console", why)

    def _made(self, path: str, make: Callable[[], bytes], step: int | None = None) -> None:
        with self._forgiving():
            self._keep([(media.stepped(path, step), make())])

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Say once what went wrong with an artifact: no name, no file, a full disk, somebody's ``__fspath__``."""
        try:
            yield
        except Exception as error:
            self._writer.notices.once(
                "artifact", f"an artifact could not be kept ({exits.verdict(error).error}); work goes on without it"
            )

    def _keep(self, sources: Sequence[tuple[str, Path | bytes]]) -> None:
        """Copy what can be copied, and tell of it when all of it is on disk."""
        kept: list[tuple[str, Path, int]] = []
        for name, source in sources:
            with self._forgiving():
                logical = _named(name)
                kept.append((logical, *keep(self._writer.folder, source)))
        if kept:
            settle(self._writer.folder)
        for n, (logical, file, size) in enumerate(kept, 1):
            if not self._writer.artifact(logical, file, size, sync=n == len(kept)):
                file.unlink(missing_ok=True)

    def __enter__(self) -> Run:
        self.entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not self._over:
            console.tell_error(self, error)
        self.finish(exits.verdict(error))

    def __reduce__(self) -> tuple[Any, ...]:
        from mlops_tui.sdk.active import joined

        return joined, (self.id, self.experiment, self.name, self.next_step)

    def __repr__(self) -> str:
        return f"<{self.link} of {self.experiment or 'its experiment'}{', ended' if self._over else ''}>"


def _sources(source: str | os.PathLike[str] | bytes, path: str | None) -> list[tuple[str, Path | bytes]]:
    """Return the name and content of each artifact.

    Raises:
        ValueError: there is no name.
        TypeError: the source is neither a path nor bytes.
        OSError: it cannot be read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        if path is None:
            raise ValueError("bytes need a path=")
        return [(path, bytes(source))]
    file = Path(source)
    if path is None or path.endswith("/"):
        path = f"{path or ''}{file.absolute().name}"
    if file.is_dir():
        inside = [one for one in sorted(file.rglob("*")) if one.is_file()]
        return [(f"{path}/{one.relative_to(file).as_posix()}", one) for one in inside]
    return [(path, file)]


def _named(path: str) -> str:
    logical = logical_path(path)
    if logical is None:
        raise ValueError(f"{path!r:.80} is no name for an artifact; it is relative and stays inside the run")
    return logical

"""What a script says without holding the run: ``mlops.log(...)`` and its like go to the active one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_tui.sdk.active import active_run
from mlops_tui.sdk.run import Run
from mlops_tui.spool.notice import Notices

_notices = Notices()


def log(metrics: Mapping[str, Any], step: int | None = None) -> None:
    """Log metrics to the active run; see :meth:`Run.log`."""
    if run := _active():
        run.log(metrics, step)


def log_param(key: str, value: Any) -> None:
    """Log a parameter to the active run."""
    if run := _active():
        run.log_param(key, value)


def log_params(params: Mapping[str, Any]) -> None:
    """Log parameters to the active run."""
    if run := _active():
        run.log_params(params)


def set_tag(key: str, value: Any) -> None:
    """Set a tag of the active run."""
    if run := _active():
        run.set_tag(key, value)


def set_tags(tags: Mapping[str, Any]) -> None:
    """Set tags of the active run."""
    if run := _active():
        run.set_tags(tags)


def log_artifact(source: str | os.PathLike[str] | bytes, path: str | None = None) -> None:
    """Keep a file, a folder or bytes with the active run; see :meth:`Run.log_artifact`."""
    if run := _active():
        run.log_artifact(source, path)


def use_dataset(name: str, digest: str | None = None, context: str = "training") -> None:
    """Note that the active run used a data set version, e.g. ``census@3``."""
    if run := _active():
        run.use_dataset(name, digest, context)


def log_text(text: str, path: str) -> None:
    """Keep a text as a file of the active run."""
    if run := _active():
        run.log_text(text, path)


def log_dict(value: Any, path: str) -> None:
    """Keep a dictionary or list as a JSON or YAML file of the active run."""
    if run := _active():
        run.log_dict(value, path)


def log_table(data: Any, path: str = "table.json") -> None:
    """Keep a table with the active run; see :meth:`Run.log_table`."""
    if run := _active():
        run.log_table(data, path)


def log_image(image: Any, path: str = "image.png", step: int | None = None) -> None:
    """Keep a picture with the active run; see :meth:`Run.log_image`."""
    if run := _active():
        run.log_image(image, path, step)


def log_figure(figure: Any, path: str = "figure.png", step: int | None = None) -> None:
    """Keep a figure with the active run; see :meth:`Run.log_figure`."""
    if run := _active():
        run.log_figure(figure, path, step)


def log_confusion_matrix(
    truth: Any,
    predicted: Any = None,
    labels: Sequence[Any] | None = None,
    path: str = "confusion_matrix.json",
    step: int | None = None,
) -> None:
    """Keep a confusion matrix with the active run; see :meth:`Run.log_confusion_matrix`."""
    if run := _active():
        run.log_confusion_matrix(truth, predicted, labels, path, step)


def end_run(status: str = "done") -> None:
    """End the active run; without one this does nothing."""
    if run := active_run():
        run.end(status)


def _active() -> Run | None:
    run = active_run()
    if run is None:
        _notices.once("no run", "nothing is logged: there is no active run; begin with mlops.start_run()")
    return run

"""The Python SDK: ``import mlops_tui as mlops``.

Everything that flows goes into the spool; nothing here waits for the agent, and nothing raises into a training.
"""

from __future__ import annotations

from mlops_tui.sdk.active import active_run, should_stop, start_run
from mlops_tui.sdk.checkpoint import PREEMPTED, checkpoint_dir, latest_checkpoint, save_checkpoint
from mlops_tui.sdk.logged import (
    end_run,
    log,
    log_artifact,
    log_confusion_matrix,
    log_dict,
    log_figure,
    log_image,
    log_param,
    log_params,
    log_table,
    log_text,
    set_tag,
    set_tags,
    use_dataset,
)
from mlops_tui.sdk.run import Run
from mlops_tui.sdk.search import search_runs

__all__ = [
    "PREEMPTED",
    "Run",
    "active_run",
    "checkpoint_dir",
    "end_run",
    "latest_checkpoint",
    "log",
    "log_artifact",
    "log_confusion_matrix",
    "log_dict",
    "log_figure",
    "log_image",
    "log_param",
    "log_params",
    "log_table",
    "log_text",
    "save_checkpoint",
    "search_runs",
    "set_tag",
    "set_tags",
    "should_stop",
    "start_run",
    "use_dataset",
]

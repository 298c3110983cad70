"""The Python SDK: ``import mlops_tui as mlops``.

Everything that flows goes into the spool; nothing here waits for the agent, and nothing raises into a training.
"""

from __future__ import annotations

from mlops_tui.sdk.active import (
    active_run,
    log,
    log_artifact,
    log_param,
    log_params,
    set_tag,
    set_tags,
    should_stop,
    start_run,
    use_dataset,
)
from mlops_tui.sdk.checkpoint import PREEMPTED, checkpoint_dir, latest_checkpoint, save_checkpoint
from mlops_tui.sdk.run import Run

__all__ = [
    "PREEMPTED",
    "Run",
    "active_run",
    "checkpoint_dir",
    "latest_checkpoint",
    "log",
    "log_artifact",
    "log_param",
    "log_params",
    "save_checkpoint",
    "set_tag",
    "set_tags",
    "should_stop",
    "start_run",
    "use_dataset",
]

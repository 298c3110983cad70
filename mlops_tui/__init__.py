"""mlops_tui: the machine-learning lifecycle in one terminal.

The public SDK lives at the top of the package and is resolved on first use (PEP 562), so that
``import mlops_tui`` costs a training script nothing it does not ask for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mlops_tui.sdk import (
        PREEMPTED,
        Run,
        active_run,
        checkpoint_dir,
        end_run,
        latest_checkpoint,
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
        save_checkpoint,
        search_runs,
        set_tag,
        set_tags,
        should_stop,
        start_run,
        use_dataset,
    )

__all__ = [
    "PREEMPTED",
    "Run",
    "__version__",
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


def __getattr__(name: str) -> Any:  # PEP 562: any public SDK name
    if name in __all__:
        from mlops_tui import sdk

        found = globals()[name] = getattr(sdk, name)  # asked once: mlops.log() is called in loops
        return found
    raise AttributeError(f"module 'mlops_tui' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

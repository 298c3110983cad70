"""mlops_tui: the machine-learning lifecycle in one terminal.

The public SDK lives at the top of the package and is resolved on first use (PEP 562), so that
``import mlops_tui`` costs a training script nothing it does not ask for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mlops_tui.sdk import Run, active_run, start_run

__all__ = ["Run", "__version__", "active_run", "start_run"]


def __getattr__(name: str) -> Any:  # PEP 562: any public SDK name
    if name in __all__:
        from mlops_tui import sdk

        return getattr(sdk, name)
    raise AttributeError(f"module 'mlops_tui' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""Plugins: what others may bring, told in one short file (:mod:`hookspecs`), and how it is found (:mod:`loader`).

A plugin marks its functions with :data:`hook` and names its modules in the entry point group ``mlops_tui.plugins``,
one module a side::

    [project.entry-points."mlops_tui.plugins"]
    agent = "mlops_energy.statistic"
    worker = "mlops_energy.gate"
    screen = "mlops_energy.panel"
"""

from __future__ import annotations

from typing import Any

__all__ = ["hook"]


def __getattr__(name: str) -> Any:  # PEP 562: asking for key sources must not load pluggy
    if name == "hook":
        from mlops_tui.plugins.hookspecs import hook

        return hook
    raise AttributeError(f"module 'mlops_tui.plugins' has no attribute {name!r}")

"""Which candidates are measured: precisions × threads × workers × waiting, at least a dozen."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_tui.serving.models.profile import DEFAULT, Setting

FP32, DYNAMIC, STATIC = "fp32", "int8-dynamic", "int8-static"
FEWEST = 12
_WAITS, _MORE_WAITS = (0.0, 2.0), (0.0, 0.5, 2.0)


def candidates(precisions: Sequence[str], cpus: int) -> list[Setting]:
    """Return what to measure, the servers' default first.

    Args:
        precisions: that the model can be had in.
        cpus: processors that may be used.
    """
    waits = _WAITS if len(precisions) * len(_shapes(cpus)) * len(_WAITS) >= FEWEST else _MORE_WAITS
    found = [
        Setting(precision=precision, threads=threads, workers=workers, gather_ms=wait)
        for wait in waits
        for precision in precisions
        for threads, workers in _shapes(cpus)
    ]
    return sorted(found, key=lambda one: one != DEFAULT)


def _shapes(cpus: int) -> list[tuple[int, int]]:
    """Return threads and workers: one of each, all processors either way, half of each, and twice too many."""
    most, half = max(2, cpus), max(1, cpus // 2)
    shapes = [(1, 1), (most, 1), (1, most), (2, 2), (2, half), (half, 2)]
    return list(dict.fromkeys(shapes))

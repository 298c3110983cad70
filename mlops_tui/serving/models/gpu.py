"""Which GPU a model goes to: the one with the most memory left, after what other models of this process were promised.

Numbers of devices are those that CUDA gives them in this process (``CUDA_VISIBLE_DEVICES``), as the runtime wants them.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import Any

_WEIGHTS, _WORKING = 2, 512 << 20
_SHARE_KEPT = 20
"""A twentieth of a GPU stays free: the driver and the runtime need some, and say nowhere how much."""
_lock = threading.Lock()
_promised: Counter[int] = Counter()


class NoRoom(Exception):
    """No GPU has room, or there is none; the message says which."""


def guess(size: int) -> int:
    """Return how many bytes of a GPU a model file of ``size`` bytes seems to need."""
    return _WEIGHTS * size + _WORKING


def choose(need: int) -> int:
    """Promise memory of the GPU that has the most left, and return its number.

    Args:
        need: bytes.

    Raises:
        NoRoom: none has so much left.
    """
    with _lock:
        left = {number: _left(handle) - _promised[number] for number, handle in enumerate(_visible())}
        if not left:
            raise NoRoom("no GPU is visible to this process")
        best = max(left, key=lambda number: left[number])
        if left[best] < need:
            raise NoRoom(
                f"the model needs {need >> 20:,} MB of a GPU; {max(0, left[best]) >> 20:,} MB are left on {best}"
            )
        _promised[best] += need
        return best


def release(device: int, need: int) -> None:
    """Take a promise back."""
    with _lock:
        _promised[device] -= need


def describe(device: int) -> str:
    """Return what tells one kind of GPU from another: its name and the driver."""
    import pynvml

    handle = _visible()[device]
    return f"{_text(pynvml.nvmlDeviceGetName(handle))} driver {_text(pynvml.nvmlSystemGetDriverVersion())}"


def _visible() -> list[Any]:
    """Return the handles of the GPUs that CUDA shows to this process, in its order.

    Raises:
        NoRoom: there is no driver.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [_handle(at) for at in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        raise NoRoom(f"there is no GPU: {error}") from error
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return handles
    chosen = []
    for word in filter(None, (part.strip() for part in shown.split(","))):
        found = [
            h for at, h in enumerate(handles) if word == str(at) or _text(pynvml.nvmlDeviceGetUUID(h)).startswith(word)
        ]
        if not found:
            break  # CUDA too stops at the first that is none
        chosen.append(found[0])
    return chosen


def _handle(at: int) -> Any:
    """Return the handle of a GPU; None for one that does not answer, which keeps its number."""
    import pynvml

    try:
        return pynvml.nvmlDeviceGetHandleByIndex(at)
    except pynvml.NVMLError:
        return None


def _uuid(handle: Any) -> str:
    import pynvml

    return _text(pynvml.nvmlDeviceGetUUID(handle)) if handle is not None else ""


def _left(handle: Any) -> int:
    """Return how many bytes are left; none on a GPU that does not answer."""
    import pynvml

    if handle is None:
        return 0
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError:
        return 0
    return int(memory.free) - int(memory.total) // _SHARE_KEPT


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

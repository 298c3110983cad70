"""The ONNX runtime, told to keep what it sees to itself."""

from __future__ import annotations

import os
from typing import Any

SILENT = "ORT_DISABLE_TELEMETRY"
"""Official builds write a device id and send events home from their import on, unless this is set: see Privacy.md."""


def onnxruntime() -> Any:
    """Import the ONNX runtime and return it; always by this, so that nothing leaves the machine."""
    os.environ.setdefault(SILENT, "1")
    import onnxruntime

    return onnxruntime


def quantisation() -> Any:
    """Import the runtime's quantisation tools and return them.

    Raises:
        ImportError: onnx is not installed.
    """
    onnxruntime()
    from onnxruntime import quantization
    from onnxruntime.quantization import shape_inference

    assert shape_inference
    return quantization

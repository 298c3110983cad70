"""The ONNX runtime is imported so that it writes no device id and sends no events."""

from __future__ import annotations

import os
import subprocess
import sys

from mlops_tui.core.runtime import SILENT

PROBE = "from mlops_tui.core.runtime import onnxruntime; print(onnxruntime().get_available_providers())"


def test_nothing_is_written_by_an_import(tmp_path):
    folders = {name: str(tmp_path / name.lower()) for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR")}
    for folder in folders.values():
        os.mkdir(folder)
    environment = {name: value for name, value in os.environ.items() if name != SILENT}
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env={**environment, **folders}, capture_output=True, text=True, timeout=60
    )
    assert "CPUExecutionProvider" in done.stdout, done.stderr
    assert not [name for folder in folders.values() for name in os.listdir(folder)]

"""What an import brings along: measured in processes of its own, and as the contracts of pyproject.toml say it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNTIMES = {"duckdb", "textual", "torch", "onnx", "onnxruntime", "scipy", "sklearn", "pandas", "pyarrow", "mlflow"}
SERVERS = {"starlette", "uvicorn", "asyncio", "keyring", "pluggy", "rich", "typer"}
PROBE = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"


def brought(module):
    done = subprocess.run([sys.executable, "-c", PROBE, module], capture_output=True, text=True, timeout=60, check=True)
    modules = set(json.loads(done.stdout))
    return modules | {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize(
    ("module", "also"),
    [
        ("mlops_tui", SERVERS | {"numpy", "msgspec", "subprocess", "mlops_tui.core"}),
        ("mlops_tui.spool.writer", SERVERS | {"numpy", "http", "mlops_tui.contracts", "mlops_tui.client"}),
        ("mlops_tui.sdk", SERVERS | {"numpy", "http", "mlops_tui.contracts", "mlops_tui.client"}),
        ("mlops_tui.client", SERVERS | {"numpy", "mlops_tui.store", "mlops_tui.door"}),
        ("mlops_tui.contracts", SERVERS | {"numpy", "http", "mlops_tui.client"}),
        ("mlops_tui.plugins", {"numpy", "mlops_tui.store", "mlops_tui.door"}),
        ("mlops_tui.jobs.runner", SERVERS | {"numpy", "mlops_tui.store"}),
        ("mlops_tui.store.store", {"mlops_tui.door", "mlops_tui.client"}),
    ],
)
def test_an_import_brings_nothing_heavy_along(module, also):
    found = brought(module)
    assert module in found
    assert not found & (RUNTIMES | also)


def test_an_agent_opens_every_room_without_a_runtime():
    probe = "from mlops_tui.agent.rooms import open_rooms; open_rooms(); import mlops_tui.agent.process, sys, json"
    done = subprocess.run(
        [sys.executable, "-c", f"{probe}; print(json.dumps(sorted(sys.modules)))"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found = set(json.loads(done.stdout))
    assert "mlops_tui.pipelines.gate_operations" in found
    assert not found & RUNTIMES


@pytest.mark.parametrize("module", ["mlops_tui.serving.process.supervisor", "mlops_tui.serving.process.worker"])
def test_a_server_knows_neither_agent_nor_store(module):
    ours = {name for name in brought(module) if name.startswith("mlops_tui.")}
    rooms = {name.split(".")[1] for name in ours}
    assert rooms <= {"core", "contracts", "plugins", "keys", "spool", "blobs", "stats", "serving", "data", "toggles"}
    online = {"mlops_tui.data.online", "mlops_tui.data.online.table"}
    assert {name for name in ours if name.startswith("mlops_tui.data.")} <= online


def test_a_worker_carries_no_runtime_before_its_first_model():
    found = brought("mlops_tui.serving.process.worker")
    assert not found & (
        RUNTIMES | {"starlette", "uvicorn", "keyring", "typer", "rich", "yaml", "psutil", "cryptography"}
    )


def test_the_import_contracts_are_kept():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout

"""What may be imported before anything was asked: a guard over real processes, not a clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HEAVY = {
    "duckdb",
    "textual",
    "torch",
    "numpy",
    "onnxruntime",
    "scipy",
    "pandas",
    "pydantic",
    "mlflow",
    "uvicorn",
    "starlette",
    "asyncio",
    "cryptography",
}

PROBE = """
import json, sys
sys.argv = ["mlops", *json.loads(sys.argv[1])]
from mlops_tui.__main__ import main
try:
    code = main()
except SystemExit as end:
    code = end.code
sys.stdout.flush()
packages = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([code, packages, sorted(sys.modules)]), file=sys.stderr)
"""


def loaded(*words, **environment):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(words)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    code, packages, modules = json.loads(done.stderr.splitlines()[-1])
    return code, set(packages), set(modules), done.stdout


def test_the_version_is_answered_before_anything_is_imported():
    code, packages, modules, out = loaded("--version")
    assert code == 0 and out.startswith("mlops ")
    assert not packages & (HEAVY | {"click", "typer", "rich", "msgspec", "subprocess", "pathlib", "tomllib"})
    assert {name for name in modules if name.startswith("mlops_tui")} == {"mlops_tui", "mlops_tui.__main__"}


def test_help_imports_click_and_the_table_of_words_alone():
    code, packages, modules, out = loaded("--help")
    assert code == 0 and "Exit codes" in out
    assert not packages & (HEAVY | {"typer", "rich", "msgspec", "tomllib", "http", "pluggy", "importlib_metadata"})
    assert not {name for name in modules if name.startswith(("mlops_tui.contracts", "mlops_tui.client"))}


@pytest.mark.parametrize(
    "words",
    [["run", "--help"], ["rollout", "start", "--help"], ["agent", "status"], ["spec"], ["config", "show"], ["info"]],
)
def test_no_command_imports_what_only_the_agent_or_the_screens_need(words, tmp_path):
    _, packages, modules, _ = loaded(*words, MLOPS_HOME=str(tmp_path), XDG_RUNTIME_DIR=str(tmp_path))
    assert not packages & HEAVY
    assert "rich" not in packages
    rooms = ("store", "door", "agent", "tui", "jobs", "tracking", "serving", "data", "registry", "deploy")
    assert not {name for name in modules if name.startswith(tuple(f"mlops_tui.{room}" for room in rooms))}


def test_completion_asks_neither_agent_nor_database(tmp_path):
    environment = {"_MLOPS_COMPLETE": "bash_complete", "COMP_WORDS": "mlops run show ", "COMP_CWORD": "3"}
    _, packages, modules, _ = loaded(**environment, MLOPS_HOME=str(tmp_path))
    assert not packages & (HEAVY | {"rich", "typer"})
    assert not {name for name in modules if name.startswith("mlops_tui.client")}


@pytest.mark.parametrize(
    "words", [["-m", "mlops_tui", "--version"], ["-m", "mlops_tui", "-V"], ["-m", "mlops_tui", "--json", "--version"]]
)
def test_the_version_wherever_it_stands(words):
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60, check=False)
    if "--json" in words:
        assert done.returncode == 2
    else:
        assert done.returncode == 0 and done.stdout.split()[0] == "mlops"


def test_alone_without_a_terminal_it_says_what_to_type_instead():
    done = subprocess.run(
        [sys.executable, "-m", "mlops_tui"],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 2 and "mlops top" in done.stderr and done.stdout == ""

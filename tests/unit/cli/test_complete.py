"""Completion from the names of the last lists."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import pytest

from mlops_tui.cli.complete import KEEP, names_for, remember


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path))


def completed(words, **environment):
    """Return what bash would be told."""
    words = f"mlops {words}"
    asked = {"_MLOPS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-m", "mlops_tui"],
        env={**os.environ, **environment, **asked}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return [each.partition(",")[2] for each in done.stdout.splitlines()]


@pytest.mark.parametrize("words", ["run show tr", "run tail tr", "run watch tr"])
def test_names_are_completed_after_verbs_that_are_written_by_hand_too(words):
    remember("run", ["id", "name"], [["1", "train-v2"], ["3", "other"]])
    assert completed(words) == ["train-v2"]


def test_names_of_a_list_are_kept_for_completion_in_a_private_file(tmp_path):
    remember("run", ["id", "name"], [["1", "train-v2"], ["2", "train-v1"], ["3", "other"]])
    file = tmp_path / "cache/names.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert names_for("run", "run")(None, None, "tr") == ["train-v2", "train-v1"]


def test_versions_are_named_with_their_number_and_nameless_things_by_the_end_of_their_id():
    remember("version", ["id", "model", "version"], [["1", "employment", 2]])
    remember("alert", ["id", "rule"], [["01a208fb-85f2-7f4a-8067-c92f30d6e9b0", "x"]])
    assert names_for("model", "model")(None, None, "") == ["employment@2"]
    assert names_for("alert", "alert")(None, None, "") == ["30d6e9b0"]


def test_newer_names_come_first_and_old_ones_are_forgotten():
    remember("run", ["id", "name"], [[str(i), f"r{i}"] for i in range(KEEP)])
    remember("run", ["id", "name"], [["x", "new"]])
    names = names_for("run", "run")(None, None, "")
    assert names[:2] == ["new", "r0"] and len(names) == KEEP


def test_a_damaged_or_unwritable_cache_is_no_error(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/names.json").write_text("{")
    assert names_for("run", "run")(None, None, "") == []
    (tmp_path / "cache/names.json").write_text(json.dumps([1]))
    assert names_for("run", "run")(None, None, "") == []
    (tmp_path / "cache/names.json").unlink()
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").touch()
    remember("run", ["id", "name"], [["1", "a"]])


def test_the_shell_completes_words_verbs_flags_and_names():
    remember("run", ["id", "name"], [["1", "train-v2"]])
    assert completed("ro") == ["rollout"]
    assert completed("run de") == ["delete"]
    assert completed("run show tr") == ["train-v2"]
    assert completed("run compare train-v2 tr") == ["train-v2"]
    assert completed("agent sta") == ["status", "start"]
    assert "--limit" in completed("runs list --li")
    assert "--limit" in completed("runs --li")
    remember("version", ["model", "version"], [["employment", 1]])
    assert completed("lineage emp") == ["employment@1"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_for_the_user_s_shell(shell, tmp_path):
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "SHELL": f"/bin/{shell}",
        "XDG_DATA_HOME": "",
        "XDG_CONFIG_HOME": "",
    }
    done = subprocess.run(
        [sys.executable, "-m", "mlops_tui", "--install-completion"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 and done.stdout == ""
    files = [path for path in tmp_path.rglob("*mlops*") if path.is_file()]
    assert len(files) == 1 and "_MLOPS_COMPLETE" in files[0].read_text() and str(files[0]) in done.stderr
    assert 'split ","' not in files[0].read_text()  # in fish a sentence would end at its first comma


def test_an_unknown_shell_is_told():
    environment = {**os.environ, "SHELL": "/bin/csh"}
    done = subprocess.run(
        [sys.executable, "-m", "mlops_tui", "--show-completion"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2 and "csh" in done.stderr

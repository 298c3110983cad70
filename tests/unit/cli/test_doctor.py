"""``mlops doctor``: what it finds in homes that are healthy, new, open, damaged and full of surprises."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from mlops_tui.cli.app import run
from mlops_tui.cli.commands import checks
from mlops_tui.core.config import load
from mlops_tui.keys import meta_path, open_keys


@pytest.fixture(autouse=True)
def _no_keyring(monkeypatch):
    for name in ("DBUS_SESSION_BUS_ADDRESS", "CREDENTIALS_DIRECTORY", "MLOPS_STORE_KEY"):
        monkeypatch.delenv(name, raising=False)


def found(name):
    return {check.name: check for check in checks.everything()}[name]


def test_on_a_new_home_nothing_fails_and_nothing_is_made(home):
    assert [check for check in checks.everything() if check.state == "fail"] == []
    assert not home.data.exists() and not home.runtime.exists()
    assert "a new one is made with encryption on" in found("encryption").text


def test_every_finding_that_is_not_ok_says_what_to_do(home, monkeypatch):
    home.data.mkdir(mode=0o755)
    home.data.chmod(0o755)
    open_keys(home, load({"store.encryption": "off"}, where=home))
    home.data.chmod(0o755)
    monkeypatch.setenv("MLOPS_STORE_ENCRYPTION", "off")
    states = {check.name: check for check in checks.everything()}
    assert states["folder data"].state == "warn" and states["folder data"].fix == f"chmod 700 {home.data}"
    assert states["encryption"].state == "warn" and states["encryption"].text.startswith("off")
    assert all(check.fix for check in states.values() if check.state != "ok")


def test_it_says_which_key_source_is_in_force_without_reading_the_key(home):
    keys = open_keys(home, load(where=home))
    assert found("encryption").text == f"on (AES-256-GCM), key {keys.meta.key_id} from file"
    path = home.keys / f"{keys.meta.key_id}.key"
    assert str(path) in found("key").text and found("key").state == "ok"
    path.chmod(0o644)
    assert found("key").state == "fail" and found("key").fix == f"chmod 600 {path}"
    path.unlink()
    assert "missing" in found("key").text


def test_a_damaged_or_newer_store_meta_is_one_finding_among_others(home):
    open_keys(home, load(where=home))
    meta_path(home).write_text('{"format": 99}')
    assert found("encryption").state == "fail" and "newer" in found("encryption").text
    assert found("python").state == "ok"


def test_a_broken_settings_file(home):
    home.config.mkdir(parents=True)
    home.config_file.write_text("theme = 1 = 2")
    assert found("settings").state == "fail" and str(home.config_file) in found("settings").text


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_home(home, tmp_path):
    home.data.mkdir()
    home.data.chmod(0o500)
    try:
        assert found("folder data").state == "fail" and "MLOPS_HOME" in found("folder data").fix
    finally:
        home.data.chmod(0o700)


def test_a_home_that_is_a_file(home):
    home.data.parent.mkdir(exist_ok=True, parents=True)
    home.data.touch()
    assert found("folder data").state == "fail"


def test_a_socket_path_that_is_too_long(home, monkeypatch):
    deep = Path(tempfile.mkdtemp()) / ("x" * 90)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    try:
        assert found("socket").state == "fail" and "XDG_RUNTIME_DIR" in found("socket").fix
    finally:
        shutil.rmtree(deep.parent)


def test_a_stale_socket_is_no_agent(home):
    home.runtime.mkdir(parents=True, mode=0o700)
    home.socket.touch()
    assert "stale" in found("agent").text and found("agent").state == "ok"


def test_a_full_disk(home, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 50e6})())
    assert found("disk").state == "fail"


def test_versions_of_packages_are_compared():
    assert checks._wrong("duckdb==1.5.5") == "" and checks._wrong("click>=8") == ""
    assert checks._wrong("duckdb==1.4.0").startswith("duckdb is 1.5.5")
    assert checks._wrong("click>=99.1") and checks._wrong("nothing-like-it>=1") == "nothing-like-it is not installed"


def test_a_check_that_breaks_does_not_end_the_others(home, monkeypatch):
    def _breaks(_):
        raise ZeroDivisionError("oh")
        yield

    monkeypatch.setattr(checks, "LOOKS", (_breaks, checks._python))
    assert [(check.name, check.state) for check in checks.everything()] == [("breaks", "warn"), ("python", "ok")]


def test_the_exit_code_and_the_json(home, capsys):
    assert run(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    home.data.parent.mkdir(exist_ok=True, parents=True)
    home.data.touch()
    assert run(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "doctor/1" and document["ok"] is False
    assert {"check", "state", "text", "fix"} == set(document["checks"][0])
    assert run(["doctor"]) == 1
    assert "✖ folder data" in capsys.readouterr().out

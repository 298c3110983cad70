"""The real keyring libraries against a Secret Service on a real D-Bus daemon; the service itself is a double."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlops_tui.core.errors import NotAllowed
from mlops_tui.keys import open_keys, read_meta, sources

DOUBLE = Path(__file__).with_name("secret_service_double.py")


@contextlib.contextmanager
def bus(tmp_path, state):
    """A private D-Bus daemon with the double on it; yields its address."""
    address = f"unix:path={tmp_path}/bus"
    command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}", "--print-address"]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    service = None
    try:
        assert daemon.stdout.readline()
        environment = os.environ | {"DBUS_SESSION_BUS_ADDRESS": address}
        service = subprocess.Popen([sys.executable, str(DOUBLE), state], stdout=subprocess.PIPE, env=environment)
        assert service.stdout.readline() == b"ready\n"
        yield address
    finally:
        for process in (service, daemon):
            if process is not None:
                process.kill()
                process.wait()


@pytest.fixture
def on_bus(tmp_path, monkeypatch, home):
    if not shutil.which("dbus-daemon") or not sys.platform.startswith("linux"):
        pytest.skip("needs dbus-daemon")
    pytest.importorskip("secretstorage")
    (tmp_path / "bus-dir").mkdir()
    # A loaded two-core machine may need more than the product's 3 s to import the libraries.
    monkeypatch.setattr(sources, "KEYRING_SECONDS", 20.0)

    @contextlib.contextmanager
    def enter(state):
        with bus(tmp_path / "bus-dir", state) as address:
            monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
            yield

    return enter


def test_a_new_store_puts_its_key_into_the_keyring_and_leaves_no_file(on_bus, home, settings):
    with on_bus("open"):
        keys = open_keys(home, settings())
        assert (keys.source, read_meta(home).key_note) == ("keyring", "SecretService")
        assert "OS keyring (SecretService" in keys.announcement
        assert "SecretService" in keys.describe()["source"]
        assert not home.keys.exists()
        assert open_keys(home, settings()).store_key == keys.store_key
    with pytest.raises(NotAllowed, match="OS keyring") as refused:
        open_keys(home, settings())
    assert refused.value.exit_code == 4 and "unlock" in refused.value.fix


def test_an_entry_that_is_gone_is_told(on_bus, home, settings):
    with on_bus("open"):
        key = open_keys(home, settings()).key_id
    shutil.rmtree(home.data.parent / "bus-dir")
    (home.data.parent / "bus-dir").mkdir()
    with on_bus("open"), pytest.raises(NotAllowed) as refused:
        open_keys(home, settings())
    assert f"no entry mlops/{key}" in refused.value.why


def test_an_old_store_asks_only_the_backend_it_was_made_with(on_bus, home, settings):
    with on_bus("open"):
        open_keys(home, settings())
        meta = home.data / "store.meta"
        meta.write_text(meta.read_text().replace("SecretService", "KWallet"))
        with pytest.raises(NotAllowed) as refused:
            open_keys(home, settings())
    assert "no keyring service" in refused.value.why


def test_a_locked_keyring_is_left_after_its_time(on_bus, home, settings, monkeypatch):
    monkeypatch.setattr(sources, "KEYRING_SECONDS", 1.5)
    with on_bus("locked"):
        begun = time.monotonic()
        keys = open_keys(home, settings())
        assert time.monotonic() - begun < 5
    assert keys.source == "file"
    assert "keyring: it did not answer within" in keys.announcement


def test_no_plaintext_backend_can_be_slipped_in(on_bus, home, settings, monkeypatch, tmp_path):
    (tmp_path / "evil.py").write_text(
        "from keyring.backend import KeyringBackend\nimport pathlib\n"
        "class Keyring(KeyringBackend):\n"
        "    priority = 99\n"
        f"    def set_password(self, *a): pathlib.Path({str(tmp_path / 'stolen')!r}).write_text(str(a))\n"
        "    def get_password(self, *a): return None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for backend in ("evil.Keyring", "keyring.backends.null.Keyring", "keyring.backends.fail.Keyring"):
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)
        with on_bus("open"):
            assert open_keys(home, settings()).source == "keyring"
        assert not (tmp_path / "stolen").exists()
        (home.data / "store.meta").unlink()
        (tmp_path / "bus-dir" / "bus").unlink(missing_ok=True)


def test_a_dead_bus_address_falls_to_the_key_file(home, settings, monkeypatch, tmp_path):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/nobody")
    keys = open_keys(home, settings())
    assert keys.source == "file"
    assert "keyring: " in keys.announcement


def test_without_a_bus_no_child_is_started(home, settings, monkeypatch):
    monkeypatch.setattr(sources.subprocess, "run", lambda *a, **k: pytest.fail("a keyring child was started"))
    assert open_keys(home, settings()).source == "file"

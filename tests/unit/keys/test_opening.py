import base64
import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from mlops_tui.core.errors import BadInput, MlopsError, NotAllowed, NotFound, StoreTooNew
from mlops_tui.keys import meta_path, open_keys, read_meta

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(range(1, 33))).decode()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_store_gets_a_private_key_file_and_says_so(home, settings):
    keys = open_keys(home, settings())
    path = home.keys / f"{keys.key_id}.key"
    assert (keys.mode, keys.source) == ("aes-256-gcm", "file")
    assert mode(path) == mode(meta_path(home)) == 0o600
    assert mode(home.keys) == 0o700
    assert str(path) in keys.announcement
    assert "a copied store or a backup, not a stolen home" in keys.announcement
    assert [p.name for p in home.keys.iterdir()] == [path.name], "no temporary file stays"


def test_the_same_keys_come_back_without_a_second_announcement(home, settings):
    first, again = open_keys(home, settings()), open_keys(home, settings())
    assert again.announcement == ""
    assert again.store_key == first.store_key
    assert again.unwrap(first.wrap(bytes(32))) == bytes(32)
    assert len(base64.b64decode(first.store_key)) == 32


def test_store_meta_is_plain_json_without_the_secret(home, settings):
    keys = open_keys(home, settings())
    secret = base64.b64decode((home.keys / f"{keys.key_id}.key").read_text())
    text = meta_path(home).read_text()
    meta = json.loads(text)
    wanted = "format store_id encryption key_id key_check key_source key_note storage_version created"
    assert set(meta) == set(wanted.split())
    for form in (secret.hex(), base64.b64encode(secret).decode(), keys.store_key):
        assert form not in text


def test_the_environment_is_for_ci_only(home, settings, monkeypatch):
    monkeypatch.setenv("MLOPS_STORE_KEY", KEY)
    with pytest.raises(NotAllowed) as refused:
        open_keys(home, settings())
    assert refused.value.exit_code == 4
    assert "inherits the environment" in refused.value.why
    assert "MLOPS_ALLOW_ENV_KEY=1" in refused.value.fix
    assert read_meta(home) is None, "a refusal leaves nothing behind"
    monkeypatch.setenv("CI", "true")
    assert open_keys(home, settings()).source == "env"


@pytest.mark.parametrize("not_ci", ["", "false", "0"])
def test_ci_switched_off_is_not_ci(home, settings, monkeypatch, not_ci):
    monkeypatch.setenv("MLOPS_STORE_KEY", KEY)
    monkeypatch.setenv("CI", not_ci)
    with pytest.raises(NotAllowed):
        open_keys(home, settings())
    monkeypatch.setenv("MLOPS_ALLOW_ENV_KEY", "1")
    assert open_keys(home, settings()).source == "env"


def test_the_environment_comes_before_the_credential_and_that_before_the_file(home, settings, monkeypatch, tmp_path):
    (tmp_path / "mlops-store-key").write_text(OTHER + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert open_keys(home, settings()).source == "credentials"
    meta_path(home).unlink()
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("MLOPS_STORE_KEY", KEY)
    assert open_keys(home, settings()).source == "env"


def test_an_existing_store_keeps_its_source(home, settings, monkeypatch):
    first = open_keys(home, settings())
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("MLOPS_STORE_KEY", KEY)
    again = open_keys(home, settings(store__key_source="env", store__encryption="off"))
    assert (again.source, again.store_key, again.mode) == ("file", first.store_key, "aes-256-gcm")


@pytest.mark.parametrize("bad", ["short", base64.b64encode(bytes(31)).decode(), "not base64 at all!" * 3])
def test_a_key_is_32_bytes_and_its_text_is_never_repeated(home, settings, monkeypatch, bad):
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("MLOPS_STORE_KEY", bad)
    with pytest.raises(BadInput) as refused:
        open_keys(home, settings())
    assert bad not in str(refused.value)
    assert "openssl rand -base64 32" in refused.value.fix


def test_the_url_alphabet_of_base64_is_the_same_key(home, settings, monkeypatch):
    secret = b"\xfb\xff\xbf" + bytes(29)
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("MLOPS_STORE_KEY", base64.b64encode(secret).decode())
    first = open_keys(home, settings())
    monkeypatch.setenv("MLOPS_STORE_KEY", base64.urlsafe_b64encode(secret).decode())
    assert open_keys(home, settings()).store_key == first.store_key


def test_a_wrong_key_is_told_by_the_check_value(home, settings, monkeypatch):
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("MLOPS_STORE_KEY", KEY)
    right = open_keys(home, settings())
    monkeypatch.setenv("MLOPS_STORE_KEY", OTHER)
    with pytest.raises(NotAllowed, match="does not fit") as refused:
        open_keys(home, settings())
    assert right.key_id in refused.value.why


def test_a_missing_source_is_exit_4_with_what_to_do(home, settings, monkeypatch):
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("MLOPS_STORE_KEY", KEY)
    open_keys(home, settings())
    monkeypatch.delenv("MLOPS_STORE_KEY")
    with pytest.raises(NotAllowed, match="missing") as refused:
        open_keys(home, settings())
    assert refused.value.fix


def test_a_missing_credential_names_the_unit_setting(home, settings, monkeypatch, tmp_path):
    (tmp_path / "mlops-store-key").write_text(KEY)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    open_keys(home, settings())
    (tmp_path / "mlops-store-key").unlink()
    with pytest.raises(NotAllowed, match="cannot be read"):
        open_keys(home, settings())
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(NotAllowed) as refused:
        open_keys(home, settings())
    assert "LoadCredential" in refused.value.fix


def test_a_lost_or_open_or_linked_key_file_is_refused(home, settings):
    path = home.keys / f"{open_keys(home, settings()).key_id}.key"
    path.chmod(0o640)
    with pytest.raises(NotAllowed, match="open to others") as refused:
        open_keys(home, settings())
    assert refused.value.fix == f"chmod 600 {path}"
    path.chmod(0o600)
    moved = path.rename(path.with_suffix(".moved"))
    with pytest.raises(NotAllowed, match="cannot be read"):
        open_keys(home, settings())
    path.symlink_to(moved)
    with pytest.raises(NotAllowed, match="cannot be read"):
        open_keys(home, settings())


def test_a_store_without_its_meta_never_gets_a_new_key(home, settings):
    home.store.mkdir(parents=True)
    (home.store / "mlops.duckdb").write_bytes(b"sealed")
    with pytest.raises(NotAllowed, match="is missing although there is a store"):
        open_keys(home, settings())
    assert not home.keys.exists()


def test_only_who_may_begin_a_store_begins_one(home, settings):
    with pytest.raises(NotFound, match="no store"):
        open_keys(home, settings(), must_exist=True)
    assert not home.data.exists()
    first = open_keys(home, settings())
    assert open_keys(home, settings(), must_exist=True).store_key == first.store_key


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"format": 1, "store_id": 3}', b"\xff\xfe"])
def test_a_damaged_meta_is_told(home, settings, content):
    open_keys(home, settings())
    meta_path(home).write_bytes(content)
    with pytest.raises(NotAllowed, match="damaged"):
        open_keys(home, settings())


def test_a_meta_of_a_newer_program_is_refused(home, settings):
    open_keys(home, settings())
    meta = json.loads(meta_path(home).read_text())
    meta_path(home).write_text(json.dumps(meta | {"format": 2}))
    with pytest.raises(StoreTooNew):
        open_keys(home, settings())


def test_a_meta_turned_to_off_never_yields_keys_for_sealed_data(home, settings):
    open_keys(home, settings())
    meta = json.loads(meta_path(home).read_text())
    meta_path(home).write_text(json.dumps(meta | {"encryption": "off"}))
    keys = open_keys(home, settings())
    assert "does not fit" in keys.describe()["problem"]
    with pytest.raises(NotAllowed):
        keys.signing_key()


def test_encryption_off_signs_but_seals_nothing(home, settings):
    keys = open_keys(home, settings(store__encryption="off", store__key_source="keyring"))
    assert (keys.mode, keys.store_key) == ("off", "")
    assert "Encryption is off" in keys.announcement
    with pytest.raises(MlopsError, match="nothing is sealed"):
        keys.wrap(bytes(32))
    public = open_keys(home, settings()).signing_key().public_key()
    public.verify(keys.signing_key().sign(b"x"), b"x")
    (home.keys / f"{keys.key_id}.key").unlink()
    without = open_keys(home, settings())
    assert without.mode == "off" and without.describe()["problem"]


AS_NOBODY = """
import os, sys
from mlops_tui.core import config, paths
from mlops_tui.keys import open_keys
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    print("opened", open_keys(paths.home(), config.load()).key_id)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def nobodys_home(monkeypatch, home):
    """A home of a user who is not root (for whom no folder is read-only), and a way to open its keys as that user."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder, "home")
        path.mkdir(mode=0o700)
        if os.getuid() == 0:
            os.chown(path, 65534, 65534)
        monkeypatch.setenv("MLOPS_HOME", str(path))
        command = [sys.executable, "-c", AS_NOBODY]
        yield path, lambda: subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=folder).stdout
        path.chmod(0o700)


def test_a_read_only_home_is_one_clear_error(nobodys_home):
    path, opened = nobodys_home
    path.chmod(0o500)
    said = opened()
    assert said.startswith("NotAllowed the new store's key cannot be kept")
    assert "Permission denied" in said and "MLOPS_HOME" in said
    path.chmod(0o700)
    assert list(path.iterdir()) == []


def test_an_existing_store_opens_in_a_read_only_home(nobodys_home):
    path, opened = nobodys_home
    first = opened()
    path.chmod(0o500)
    assert opened() == first and first.startswith("opened ")


def test_two_first_starts_agree_on_one_key(home, settings):
    found, gate = [], threading.Barrier(8)
    config = settings()

    def start():
        gate.wait()
        found.append(open_keys(home, config))

    threads = [threading.Thread(target=start) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len({keys.store_key for keys in found}) == 1
    assert [p.stem for p in home.keys.iterdir()] == [found[0].key_id]
    assert sum(bool(keys.announcement) for keys in found) == 1


def kms(store_id, note):
    """A key service that gives a new store a key with a note, and the key back for that note."""
    return (KEY, f"wrapped:{store_id}") if note in ("", f"wrapped:{store_id}") else None


def test_a_plugin_source_gets_its_note_back(home, settings):
    keys = open_keys(home, settings(), [kms])
    assert keys.source == "plugin:kms"
    assert read_meta(home).key_note == f"wrapped:{keys.meta.store_id}"
    assert open_keys(home, settings(), [kms]).store_key == keys.store_key
    with pytest.raises(NotAllowed, match="plugin:kms, which is not there") as refused:
        open_keys(home, settings())
    assert "plugin" in refused.value.fix


def test_a_failing_plugin_is_passed_over_and_told(home, settings):
    def broken(store_id, note):
        raise ConnectionError("no route to the key service")

    keys = open_keys(home, settings(), [broken])
    assert keys.source == "file"
    assert "plugin:broken: ConnectionError: no route" in keys.announcement


def test_a_plugin_that_fails_later_is_exit_4(home, settings):
    answers = [(KEY, "n")]

    def flaky(store_id, note):
        if not answers:
            raise TimeoutError("key service")
        return answers.pop()

    open_keys(home, settings(), [flaky])
    with pytest.raises(NotAllowed, match="does not give"):
        open_keys(home, settings(), [flaky])


@pytest.mark.parametrize(("forced", "error"), [("keyring", NotAllowed), ("env", NotAllowed), ("vault", BadInput)])
def test_a_forced_source_never_falls_through(home, settings, forced, error):
    with pytest.raises(error):
        open_keys(home, settings(store__key_source=forced))
    assert read_meta(home) is None


def test_a_forced_plugin_wins_over_earlier_sources(home, settings, monkeypatch):
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("MLOPS_STORE_KEY", OTHER)
    assert open_keys(home, settings(store__key_source="plugin"), [kms]).source == "plugin:kms"

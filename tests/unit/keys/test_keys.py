import hashlib
import hmac
import pickle

import pytest

from mlops_tui.core.errors import BadInput, NotAllowed
from mlops_tui.keys import open_keys
from mlops_tui.keys.keys import hkdf


@pytest.fixture
def keys(home, settings):
    return open_keys(home, settings())


def test_hkdf_is_rfc_5869_written_out_by_hand():
    secret, salt = bytes(range(32)), b"mlops store secret v1"
    pseudo = hmac.digest(salt, secret, hashlib.sha256)
    assert hkdf(secret, "use|x") == hmac.digest(pseudo, b"use|x\x01", hashlib.sha256)


def test_purposes_never_share_a_key(keys):
    import base64

    assert keys.derive("a") == keys.derive("a") != keys.derive("b")
    assert keys.derive("store") != base64.b64decode(keys.store_key)
    assert len(keys.derive("a", 16)) == 16


def test_a_wrapped_key_opens_only_whole_and_in_its_context(keys):
    wrapped = keys.wrap(b"k" * 32, b"file 1")
    assert keys.unwrap(wrapped, b"file 1") == b"k" * 32
    assert keys.wrap(b"k" * 32, b"file 1") != wrapped
    with pytest.raises(NotAllowed):
        keys.unwrap(wrapped, b"file 2")
    for byte in range(len(wrapped)):
        changed = bytearray(wrapped)
        changed[byte] ^= 1
        with pytest.raises(NotAllowed):
            keys.unwrap(bytes(changed), b"file 1")
    for cut in (0, 5, 12, len(wrapped) - 1):
        with pytest.raises(NotAllowed):
            keys.unwrap(wrapped[:cut], b"file 1")
    with pytest.raises(BadInput):
        keys.wrap(b"short")


def test_neither_repr_nor_pickle_gives_the_secret_away(keys, home):
    text = (home.keys / f"{keys.key_id}.key").read_text().strip()
    assert text not in repr(keys) and text not in str(keys.describe()) and keys.store_key not in str(keys.describe())
    with pytest.raises(TypeError):
        pickle.dumps(keys)


def test_the_doctor_is_told_mode_source_and_what_that_protects(keys):
    said = keys.describe()
    assert (said["encryption"], said["source"], said["problem"]) == ("aes-256-gcm", "file", "")
    assert "not a stolen home" in said["protects"]
    assert said["key"] == keys.key_id


def test_the_store_key_opens_a_duckdb_file_and_no_other_key_does(keys, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    import duckdb_extension_httpfs

    extension = next(
        iter(__import__("pathlib").Path(duckdb_extension_httpfs.__file__).parent.rglob("*.duckdb_extension"))
    )
    db = duckdb.connect()
    db.execute(f"LOAD '{extension}'")
    attach = f"ATTACH '{tmp_path}/s.duckdb' AS s (ENCRYPTION_KEY '%s', STORAGE_VERSION '{keys.meta.storage_version}')"
    db.execute(attach % keys.store_key)
    db.execute("CREATE TABLE s.t AS SELECT 'canary-3f9c' AS x")
    db.execute("DETACH s")
    assert b"canary-3f9c" not in (tmp_path / "s.duckdb").read_bytes()
    with pytest.raises(duckdb.Error, match="encryption key"):
        db.execute(attach % keys.store_key[::-1])
    db.execute(attach % keys.store_key)
    assert db.execute("FROM s.t").fetchall() == [("canary-3f9c",)]

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from blake3 import blake3

from mlops_tui.blobs import Blobs, Damaged
from mlops_tui.core import paths
from mlops_tui.core.config import load
from mlops_tui.core.errors import Conflict, MlopsError, NotFound
from mlops_tui.keys import open_keys
from mlops_tui.serving.control import Channel
from mlops_tui.serving.deployment import Model
from mlops_tui.serving.models.unseal import Vault, from_memory, into_memory

DATA = b"a model" * 50_000


def test_a_sealed_model_comes_out_whole_and_stays_sealed_on_disk(home: paths.Home) -> None:
    paths.private_dir(home.data)
    blobs = Blobs(home.blobs, open_keys(home, load(where=home)))
    digest = blobs.put_bytes(DATA).digest
    file = home.blobs / digest[:2] / digest[2:]
    assert b"a model" not in file.read_bytes()
    vault = Vault(home)
    fd = vault.open(Model(str(file), digest))
    assert from_memory(fd) == DATA and vault.open(Model(str(file), digest)) == fd
    assert not any(b"a modela model" in p.read_bytes() for p in home.data.rglob("*") if p.is_file())


def test_a_changed_artifact_and_a_missing_store_are_refused(home: paths.Home) -> None:
    with pytest.raises(NotFound, match="no store"):
        Vault(home).open(Model(str(home.blobs / "ab" / "c"), "ab" + "c" * 62))
    assert not home.keys.exists()
    paths.private_dir(home.data)
    blobs = Blobs(home.blobs, open_keys(home, load(where=home)))
    digest = blobs.put_bytes(DATA).digest
    file = home.blobs / digest[:2] / digest[2:]
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.chmod(0o600)
    file.write_bytes(raw)
    with pytest.raises(Damaged):
        Vault(home).open(Model(str(file), digest))


def test_a_plain_file_must_have_the_digest_that_was_pinned(tmp_path: Path, home: paths.Home) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(DATA)
    vault = Vault(home)
    assert from_memory(vault.open(Model(str(file), blake3(DATA).hexdigest()))) == DATA
    assert from_memory(vault.open(Model(str(file)))) == DATA
    with pytest.raises(Conflict, match="is not the model"):
        vault.open(Model(str(file), "0" * 64))
    with pytest.raises(NotFound):
        vault.open(Model(str(tmp_path / "nothing")))
    file.write_bytes(b"")
    with pytest.raises(MlopsError, match="empty"):
        vault.open(Model(str(file), "empty"))


def test_memory_files_cannot_be_changed_and_end_with_their_last_holder() -> None:
    fd = into_memory(3, [b"a", b"bc"])
    for change in (lambda: os.pwrite(fd, b"x", 0), lambda: os.ftruncate(fd, 1), lambda: os.ftruncate(fd, 9)):
        with pytest.raises(OSError):
            change()
    assert from_memory(fd) == b"abc"
    os.close(fd)


def test_keeping_some_closes_the_others(home: paths.Home) -> None:
    vault = Vault(home)
    vault.adopt("a", into_memory(1, [b"a"]))
    vault.adopt("b", into_memory(1, [b"b"]))
    second = into_memory(1, [b"a"])
    vault.adopt("a", second)
    gone = vault.files["b"]
    vault.keep({"a"})
    assert set(vault.files) == {"a"}
    for fd in (gone, second):
        with pytest.raises(OSError):
            os.fstat(fd)


def test_files_travel_with_their_message_through_the_line() -> None:
    left, right = (Channel(sock) for sock in socket.socketpair())
    fd = into_memory(5, [b"model"])

    def speak() -> None:
        left.send({"op": "a"})
        left.send({"op": "b", "pad": "x" * 1_000_000}, [fd])
        left.send({"op": "c"}, [fd, fd])

    speaker = threading.Thread(target=speak)
    speaker.start()
    found = []
    while len(found) < 3:
        found += right.receive()
    assert [message["op"] for message, _ in found] == ["a", "b", "c"]
    assert [len(files) for _, files in found] == [0, 1, 2]
    assert all(from_memory(f) == b"model" for _, files in found for f in files)
    speaker.join()
    assert right.receive() == []
    left.close()
    with pytest.raises(EOFError):
        right.receive()

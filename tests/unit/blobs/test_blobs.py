import io
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile

import pytest
from blake3 import blake3

from mlops_tui.blobs import Blob, Blobs, Damaged
from mlops_tui.core.errors import BadInput, Conflict, MlopsError, NotAllowed, NotFound

CANARY = b"canary-5d1e-plaintext"
BIG = CANARY * 40_000


def only_file(blobs, digest):
    return blobs.root / digest[:2] / digest[2:]


def test_what_goes_in_by_any_way_comes_out_by_any_way(blobs, tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(BIG)
    want = Blob(blake3(BIG).hexdigest(), len(BIG))
    assert blobs.put_file(path) == want
    assert blobs.put_bytes(BIG) == blobs.put_stream([BIG[:7], BIG[7:]]) == want
    assert list(blobs.digests()) == [want.digest]
    with blobs.open(want.digest) as file:
        assert file.read() == BIG
    assert blobs.read_bytes(want.digest) == b"".join(blobs.iter_chunks(want.digest)) == BIG
    assert blobs.verify(want.digest) == want
    assert blobs.size(want.digest) == len(BIG)


@pytest.mark.parametrize("data", [b"", b"x", bytes(1 << 16), bytes((1 << 20) + 1)])
def test_edges_of_length(blobs, data):
    blob = blobs.put_bytes(data)
    assert blobs.read_bytes(blob.digest) == data and blobs.size(blob.digest) == len(data) == blob.size


def test_a_reader_can_jump_about_like_a_file(blobs):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("weights", BIG)
        archive.writestr("config.json", "{}")
    digest = blobs.put_bytes(packed.getvalue()).digest
    with blobs.open(digest) as file, zipfile.ZipFile(file) as archive:
        assert archive.read("config.json") == b"{}" and archive.read("weights") == BIG


def test_the_same_content_is_written_once(blobs, tmp_path):
    (tmp_path / "a").write_bytes(BIG)
    digest = blobs.put_file(tmp_path / "a").digest
    before = only_file(blobs, digest).stat()
    blobs.put_file(tmp_path / "a"), blobs.put_bytes(BIG), blobs.put_stream([BIG])
    after = only_file(blobs, digest).stat()
    assert after.st_ino == before.st_ino and after.st_mtime_ns > before.st_mtime_ns, "the same file, young again"
    assert os.listdir(blobs.incoming()) == []


def test_a_damaged_twin_is_replaced_when_the_content_comes_again(blobs):
    digest = blobs.put_bytes(BIG).digest
    path = only_file(blobs, digest)
    path.chmod(0o600)
    os.truncate(path, 1000)
    assert blobs.put_bytes(BIG).digest == digest
    assert blobs.read_bytes(digest) == BIG


def test_no_plaintext_at_rest_not_even_for_a_moment(sealed, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "f").write_bytes(BIG)
    with sealed.writer() as writer:
        for _ in range(200):
            writer.write(CANARY * 1000)
        halfway = [p for p in sealed.root.rglob("*") if p.is_file()]
        assert halfway and sum(p.stat().st_size for p in halfway) > 3_000_000
        assert not any(CANARY in p.read_bytes() for p in halfway)
        writer.finish()
    sealed.put_file(tmp_path / "in" / "f")
    sealed.put_bytes(b"short " + CANARY)
    files = [p for p in sealed.root.parent.rglob("*") if p.is_file()]
    assert len(files) >= 5
    assert not any(CANARY in p.read_bytes() for p in files)


def test_modes_are_private(blobs):
    digest = blobs.put_bytes(b"x").digest
    for folder in (blobs.root, blobs.incoming(), only_file(blobs, digest).parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(only_file(blobs, digest).stat().st_mode) == 0o400


def test_a_changed_bit_is_noticed_by_every_way_of_reading(blobs):
    digest = blobs.put_bytes(BIG).digest
    path = only_file(blobs, digest)
    path.chmod(0o600)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    for read in (blobs.read_bytes, blobs.verify, lambda d: list(blobs.iter_chunks(d)), lambda d: blobs.open(d).read()):
        with pytest.raises(Damaged, match=digest[:12]):
            read(digest)


def test_a_cut_or_grown_artifact_is_noticed_at_opening(blobs):
    digest = blobs.put_bytes(BIG).digest
    path = only_file(blobs, digest)
    path.chmod(0o600)
    good = path.read_bytes()
    for bad in (good[:-1], good[:100_000], good[:3], b"", good + b"\0"):
        path.write_bytes(bad)
        with pytest.raises(Damaged):
            blobs.open(digest)


def test_one_artifact_cannot_stand_in_for_another(blobs):
    a, b = blobs.put_bytes(b"model A").digest, blobs.put_bytes(b"model B").digest
    path = only_file(blobs, a)
    path.unlink()
    path.write_bytes(only_file(blobs, b).read_bytes())
    with pytest.raises(Damaged):
        blobs.open(a)


def test_a_link_in_the_store_is_not_followed(blobs, tmp_path):
    digest = blobs.put_bytes(b"model").digest
    path = only_file(blobs, digest)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Damaged, match="damaged") as told:
        blobs.open(digest)
    assert "symbolic link" in told.value.why


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "a" * 63, "A" * 64, "a" * 62 + "/.", "", "a" * 65, "a" * 64 + "\n", "٠" * 64, "\0" * 64],
)
def test_only_digests_are_names(blobs, name):
    for call in (blobs.open, blobs.read_bytes, blobs.verify, blobs.exists, blobs.size, blobs.delete):
        with pytest.raises(BadInput):
            call(name)


def test_bad_input_files_are_told(blobs, tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "link").symlink_to("f")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotFound):
        blobs.put_file(tmp_path / "none")
    for name in ("link", "dangling"):
        with pytest.raises(BadInput, match="symbolic link"):
            blobs.put_file(tmp_path / name)
    for name in ("pipe", "."):
        with pytest.raises(BadInput, match="not a file"):
            blobs.put_file(tmp_path / name)
    assert list(blobs.digests()) == []


def test_a_file_that_changes_while_it_is_read_is_a_conflict(blobs, tmp_path, monkeypatch):
    path = tmp_path / "growing"
    path.write_bytes(b"first")
    real = Blobs.put_stream

    def grown(self, chunks, expected=""):
        path.write_bytes(b"second")
        return real(self, chunks, expected)

    monkeypatch.setattr(Blobs, "put_stream", grown)
    with pytest.raises(Conflict, match="changed while"):
        blobs.put_file(path)
    assert list(blobs.digests()) == [] and os.listdir(blobs.incoming()) == []


def test_an_unfinished_writer_keeps_nothing(blobs):
    with pytest.raises(RuntimeError), blobs.writer() as writer:
        writer.write(BIG)
        raise RuntimeError("client hung up")
    assert list(blobs.digests()) == [] and os.listdir(blobs.incoming()) == []


def test_missing_and_deleted(blobs):
    digest = blobs.put_bytes(b"x").digest
    assert blobs.exists(digest)
    with blobs.open(digest) as file:
        blobs.delete(digest)
        assert file.read() == b"x", "who has it open keeps it"
    assert not blobs.exists(digest)
    for call in (blobs.delete, blobs.open, blobs.read_bytes, blobs.size):
        with pytest.raises(NotFound):
            call(digest)


def test_another_stores_key_opens_nothing(make):
    mine, other = make("mine"), make("other")
    digest = mine.put_bytes(b"secret").digest
    with pytest.raises(NotAllowed, match="another key"):
        Blobs(mine.root, other.keys).open(digest)


def test_a_full_disk_is_told_and_leaves_nothing(blobs, monkeypatch):
    import errno

    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MlopsError, match="cannot store") as told:
        blobs.put_bytes(BIG)
    assert "No space left" in told.value.why
    monkeypatch.undo()
    assert os.listdir(blobs.incoming()) == [] and list(blobs.digests()) == []


def test_a_root_that_is_no_folder_is_told(blobs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MlopsError, match="cannot create the folder"):
        Blobs(tmp_path / "file" / "blobs", blobs.keys).put_bytes(b"x")


KILLED = """
import random
from mlops_tui.blobs import Blobs
from mlops_tui.core import config, paths
from mlops_tui.keys import open_keys
home = paths.home(); blobs = Blobs(home.blobs, open_keys(home, config.load()))
print("go", flush=True); rng = random.Random(1)
while True: print(blobs.put_bytes(rng.randbytes(rng.randrange(1, 400_000))).digest, flush=True)
"""


@pytest.mark.parametrize("after", [0.05, 0.21, 0.38])
def test_kill_9_leaves_only_whole_artifacts(sealed, after):
    writer = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "go\n"
    first = writer.stdout.readline()
    time.sleep(after)
    writer.send_signal(signal.SIGKILL)
    acknowledged = [line.strip() for line in (first, *writer.stdout) if line.endswith("\n")]
    writer.wait()
    for digest in {*acknowledged, *sealed.digests()}:
        sealed.verify(digest)
    left = sealed.sweep(0)
    assert left <= 1 and os.listdir(sealed.incoming()) == []


def test_a_sweep_spares_what_is_being_written(blobs):
    with blobs.writer() as writer:
        writer.write(b"slow")
        assert blobs.sweep() == 0
        assert blobs.read_bytes(writer.finish().digest) == b"slow"


def test_many_writers_of_the_same_and_of_different_content(blobs):
    contents = [random.Random(i).randbytes(200_000) for i in range(4)]
    errors = []

    def put(data):
        try:
            assert blobs.read_bytes(blobs.put_bytes(data).digest) == data
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=put, args=(contents[i % 4],)) for i in range(16)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not errors and len(list(blobs.digests())) == 4 and os.listdir(blobs.incoming()) == []

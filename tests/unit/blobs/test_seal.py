import io
import itertools
import os
import random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_tui.blobs import Damaged, open_sealed, seal_file, seal_stream, unseal_file
from mlops_tui.blobs.seal import CHUNK, TAG
from mlops_tui.core.errors import BadInput, MlopsError, NotAllowed, NotFound

HEADER, KEY = 23, 60
EDGES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 16 * CHUNK, 16 * CHUNK + 5, 40 * CHUNK]


@pytest.fixture
def keys(sealed):
    return sealed.keys


def content(size, seed=1):
    return random.Random(seed).randbytes(size)


@pytest.fixture
def sealed_file(tmp_path, keys):
    """Three and a half chunks, sealed; the plaintext and the path."""
    plain, path = content(3 * CHUNK + 500), tmp_path / "s"
    seal_stream([plain], path, keys)
    return plain, path


@pytest.mark.parametrize("size", EDGES)
def test_every_length_comes_back(tmp_path, keys, size):
    plain, source = content(size), tmp_path / "plain"
    source.write_bytes(plain)
    assert seal_file(source, tmp_path / "s", keys) == size
    chunks = max(1, -(-size // CHUNK))
    assert (tmp_path / "s").stat().st_size == HEADER + KEY + size + TAG * chunks
    assert unseal_file(tmp_path / "s", tmp_path / "back", keys) == size
    assert (tmp_path / "back").read_bytes() == plain
    with open_sealed(tmp_path / "s", keys) as file:
        assert file.read() == plain


def test_the_format_on_disk_is_the_documented_one(sealed_file, keys):
    plain, path = sealed_file
    raw = path.read_bytes()
    header, wrapped, body = raw[:HEADER], raw[HEADER : HEADER + KEY], raw[HEADER + KEY :]
    assert header == b"MLSEAL\x01\x10" + bytes.fromhex(keys.key_id) + header[16:]
    cipher, found = AESGCM(keys.unwrap(wrapped, header)), b""
    for index in range(4):
        chunk = body[index * (CHUNK + TAG) : (index + 1) * (CHUNK + TAG)]
        found += cipher.decrypt(header[16:] + index.to_bytes(4, "big") + bytes([index == 3]), chunk, header)
    assert found == plain


def test_the_pieces_that_are_written_leave_no_trace_in_the_format(tmp_path, keys):
    plain, rng, cuts = content(5 * CHUNK), random.Random(2), [0]
    while cuts[-1] < len(plain):
        cuts.append(min(len(plain), cuts[-1] + rng.choice([0, 1, 7, 1000, CHUNK, CHUNK + 3])))
    seal_stream((plain[a:b] for a, b in itertools.pairwise(cuts)), tmp_path / "s", keys)
    with open_sealed(tmp_path / "s", keys) as file:
        assert file.read() == plain


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 2]), st.integers(-3 * CHUNK, 3 * CHUNK), st.integers(0, 2 * CHUNK)), max_size=8
    )
)
def test_seek_and_read_behave_like_a_file_in_memory(sealed_file, keys, steps):
    plain, path = sealed_file
    twin = io.BytesIO(plain)
    with open_sealed(path, keys) as file:
        for whence, offset, count in steps:
            base = {0: 0, 1: twin.tell(), 2: len(plain)}[whence]
            if base + offset < 0:
                continue
            twin.seek(base + offset)
            assert file.seek(offset, whence) == base + offset
            assert file.read(count) == twin.read(count)
            assert file.tell() == twin.tell()


def read_all(path, keys, context=b""):
    with open_sealed(path, keys, context) as file:
        return file.read()


def test_one_changed_bit_anywhere_is_noticed(sealed_file, keys):
    plain, path = sealed_file
    good, rng = path.read_bytes(), random.Random(3)
    body = HEADER + KEY
    places = [*range(body), *(body + i * (CHUNK + TAG) + o for i in range(4) for o in (0, 9)), len(good) - 1]
    for place in [*places, *(rng.randrange(body, len(good)) for _ in range(100))]:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        with pytest.raises((Damaged, NotAllowed)):
            read_all(path, keys)
    path.write_bytes(good)
    assert read_all(path, keys) == plain


def test_a_cut_file_is_refused_at_opening(sealed_file, keys):
    _, path = sealed_file
    good = path.read_bytes()
    body, step = HEADER + KEY, CHUNK + TAG
    for length in [
        0,
        5,
        HEADER,
        body - 1,
        body,
        body + 1,
        body + TAG,
        body + step,
        body + 3 * step,
        len(good) - TAG,
        len(good) - 1,
    ]:
        path.write_bytes(good[:length])
        with pytest.raises(Damaged):
            open_sealed(path, keys)
    path.write_bytes(good + b"x")
    with pytest.raises(Damaged):
        open_sealed(path, keys)


def test_reordered_repeated_dropped_and_foreign_chunks_are_noticed(sealed_file, keys, tmp_path):
    plain, path = sealed_file
    good, step, body = path.read_bytes(), CHUNK + TAG, HEADER + KEY
    head, chunks = good[:body], [good[body + i * step : body + (i + 1) * step] for i in range(4)]
    seal_stream([plain], tmp_path / "twin", keys)
    twin = (tmp_path / "twin").read_bytes()
    swapped = [chunks[1], chunks[0], *chunks[2:]]
    repeated = [chunks[0], *chunks]
    dropped = [chunks[0], *chunks[2:]]
    foreign = [chunks[0], twin[body + step : body + 2 * step], *chunks[2:]]
    for bad in (head + b"".join(order) for order in (swapped, repeated, dropped, foreign)):
        path.write_bytes(bad)
        with pytest.raises(Damaged):
            read_all(path, keys)
    path.write_bytes(head[:HEADER] + twin[HEADER:body] + b"".join(chunks))
    with pytest.raises(Damaged):
        open_sealed(path, keys)


def test_nothing_is_given_out_before_it_verifies(sealed_file, keys):
    plain, path = sealed_file
    bad = bytearray(path.read_bytes())
    bad[HEADER + KEY + 2 * (CHUNK + TAG) + 77] ^= 4
    path.write_bytes(bad)
    with open_sealed(path, keys) as file:
        assert file.read(2 * CHUNK) == plain[: 2 * CHUNK]
        with pytest.raises(Damaged, match="damaged"):
            file.read(1)
    with pytest.raises(Damaged):
        unseal_file(path, path.with_name("out"), keys)
    assert not path.with_name("out").exists()


def test_a_file_opens_only_in_its_context_and_its_store(tmp_path, keys, make):
    path = tmp_path / "s"
    seal_stream([b"row"], path, keys, b"spool 7")
    assert read_all(path, keys, b"spool 7") == b"row"
    with pytest.raises(Damaged):
        open_sealed(path, keys, b"spool 8")
    with pytest.raises(NotAllowed, match="another key"):
        open_sealed(path, make("elsewhere").keys, b"spool 7")


def test_the_same_content_never_seals_to_the_same_bytes(tmp_path, keys):
    for name in "ab":
        seal_stream([b"x" * 5000], tmp_path / name, keys)
    a, b = (tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()
    assert a[HEADER:] != b[HEADER:] and a[-5000:] != b[-5000:]


def test_encryption_off_writes_the_plain_file(tmp_path, make):
    keys = make("plain", "off").keys
    assert seal_stream([b"pl", b"ain"], tmp_path / "s", keys) == 5
    assert (tmp_path / "s").read_bytes() == b"plain" == read_all(tmp_path / "s", keys)


def test_bad_sources_are_told(tmp_path, keys):
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "f")
    os.mkfifo(tmp_path / "pipe")
    for name, error in [("none", NotFound), ("link", BadInput), ("pipe", BadInput), (".", BadInput)]:
        with pytest.raises(error):
            seal_file(tmp_path / name, tmp_path / "s", keys)
        with pytest.raises(error):
            open_sealed(tmp_path / name, keys)
    with pytest.raises(Damaged, match="not a sealed file"):
        open_sealed(tmp_path / "f", keys)


def test_a_source_that_fails_half_way_leaves_nothing(tmp_path, keys):
    def chunks():
        yield b"x" * (3 << 20)
        raise RuntimeError("gone")

    target = tmp_path / "out" / "s"
    target.parent.mkdir()
    with pytest.raises(RuntimeError):
        seal_stream(chunks(), target, keys)
    assert os.listdir(target.parent) == []


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path, keys, monkeypatch):
    import errno

    real = os.write

    def full(fd, data):
        if len(data) > 100_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data)

    target = tmp_path / "out" / "s"
    target.parent.mkdir()
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(MlopsError, match="cannot write") as told:
        seal_stream([bytes(4 << 20)], target, keys)
    assert "No space left" in told.value.why
    assert os.listdir(target.parent) == []

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_tui.core.errors import BadInput
from mlops_tui.serving.record import rows, segments
from mlops_tui.serving.record.segments import Header, SegmentName, SegmentWriter, read_segment, record

HEADER = Header("d-1", ("a", "b", "c"), ("y",))


def one(i: int, rows: int = 1, features: bool = True, outputs: bool = True, ident: str | None = None) -> bytes:
    x = np.arange(rows * 3, dtype=np.float32) + i
    y = np.arange(rows, dtype=np.float32) - i
    name = (f"r-{i}" if ident is None else ident).encode()
    pieces = record(
        1000 + i,
        i % 7,
        0 if outputs else 2,
        0,
        i,
        rows,
        name,
        x.tobytes() if features else b"",
        y.tobytes() if outputs else b"",
    )
    return b"".join(pieces)


def written(path: Path, *records: bytes, header: Header = HEADER) -> Path:
    writer = SegmentWriter(path, header)
    for data in records:
        assert writer.append([data])
    writer.close()
    return path


def everything(path: Path, max_bytes: int) -> list[segments.Batch]:
    batches, offset = [], 0
    while True:
        batch = read_segment(path, offset, max_bytes)
        if batch.next_offset == offset:
            return batches
        batches.append(batch)
        offset = batch.next_offset


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "h-1-2-3.seg", one(5, rows=2), one(6), one(7, rows=0, features=False, outputs=False))
    batch = read_segment(path)
    assert batch.header == HEADER
    assert batch.ts_us.tolist() == [1005, 1006, 1007]
    assert batch.revision_no.tolist() == [5, 6, 0]
    assert batch.status.tolist() == [0, 0, 2]
    assert batch.latency_us.tolist() == [5, 6, 7]
    assert batch.n_rows.tolist() == [2, 1, 0]
    assert batch.request_id == ["r-5", "r-6", "r-7"]
    assert batch.record.tolist() == [0, 0, 1]
    assert batch.row.tolist() == [0, 1, 0]
    assert batch.features.tolist() == [[5, 6, 7], [8, 9, 10], [6, 7, 8]]
    assert batch.outputs.tolist() == [[-5], [-4], [-6]]
    assert (batch.torn, batch.corrupt, batch.next_offset) == (0, [], path.stat().st_size)


def test_a_row_without_outputs_has_nan(tmp_path: Path) -> None:
    batch = read_segment(written(tmp_path / "s.seg", one(1, outputs=False), one(2)))
    assert np.isnan(batch.outputs[0, 0]) and batch.outputs[1, 0] == -2
    assert batch.features[0].tolist() == [1, 2, 3]


shape = st.tuples(st.integers(0, 5), st.booleans(), st.booleans(), st.text(max_size=20))


@settings(max_examples=40, deadline=None)
@given(shapes=st.lists(shape, max_size=30), max_bytes=st.integers(4, 400))
def test_any_records_come_back_in_any_pieces(tmp_path_factory: Any, shapes: list[Any], max_bytes: int) -> None:
    path = tmp_path_factory.mktemp("s") / "s.seg"
    written(path, *(one(i, *kind) for i, kind in enumerate(shapes)))
    batches = everything(path, max_bytes)
    assert [ident for b in batches for ident in b.request_id] == [kind[3] for kind in shapes]
    assert [n for b in batches for n in b.n_rows.tolist()] == [kind[0] for kind in shapes]
    features = [row for b in batches for row in b.features.tolist()]
    wanted = [(np.arange(3 * n) + i).reshape(n, 3).tolist() for i, (n, *_) in enumerate(shapes)]
    there = [row for (n, has, *_), rows in zip(shapes, wanted, strict=True) for row in (rows if has else [None] * n)]
    assert all(w is None or w == f for w, f in zip(there, features, strict=True))
    assert not any(b.corrupt for b in batches)


def test_a_torn_tail_is_left_for_later_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.seg", one(1), one(2, rows=3)).read_bytes()
    first = len(whole) - len(one(2, rows=3))
    for cut in range(len(whole)):
        path = tmp_path / "cut.seg"
        path.write_bytes(whole[:cut])
        batch = read_segment(path)
        assert len(batch.request_id) == (cut >= first) and not batch.corrupt
        if cut >= first:
            assert (batch.next_offset, batch.torn) == (first, cut - first)
        path.write_bytes(whole)
        rest = read_segment(path, batch.next_offset)
        assert rest.request_id[-1] == "r-2" and rest.next_offset == len(whole)


@pytest.mark.parametrize("damage", ["length", "status", "zeros", "cut out"])
def test_a_damaged_stretch_is_reported_and_what_follows_is_read(tmp_path: Path, damage: str) -> None:
    records = [one(i) for i in range(10)]
    path = written(tmp_path / "s.seg", *records)
    data = bytearray(path.read_bytes())
    at = len(data) - sum(map(len, records[4:]))
    if damage == "length":
        data[at] ^= 0x40
    elif damage == "status":
        data[at + 14] = 9
    elif damage == "zeros":
        data[at : at + len(records[4])] = bytes(len(records[4]))
    else:
        del data[at + 5 : at + 9]
    path.write_bytes(data)
    batch = read_segment(path)
    assert batch.request_id == [f"r-{i}" for i in range(10) if i != 4]
    (corrupt,) = batch.corrupt
    assert corrupt.offset == at and corrupt.size in (len(records[4]), len(records[4]) - 4) and corrupt.why


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_brings_the_reader_down(tmp_path_factory: Any, data: Any) -> None:
    path = written(tmp_path_factory.mktemp("s") / "s.seg", *(one(i, rows=i % 3) for i in range(12)))
    raw = bytearray(path.read_bytes())
    body = len(raw) - sum(len(one(i, rows=i % 3)) for i in range(12))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(body, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    found = [ident for b in everything(path, 200) for ident in b.request_id]
    assert len(found) >= 6


def test_garbage_without_end_is_skipped_once(tmp_path: Path) -> None:
    path = written(tmp_path / "s.seg", one(1))
    with path.open("ab") as file:
        file.write(b"\xff" * 1_000_000)
    batch = read_segment(path)
    assert batch.request_id == ["r-1"]
    assert sum(c.size for c in batch.corrupt) + batch.torn == 1_000_000 and batch.torn < segments.RECORD.size


def test_what_is_no_segment_is_said(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"PAR1....")
    with pytest.raises(BadInput, match="not an inference segment"):
        read_segment(other)
    other.write_bytes(b"MLOPSEG1\x05\0\0\0{nope")
    with pytest.raises(BadInput, match="header"):
        read_segment(other)
    with pytest.raises(BadInput, match="no byte"):
        read_segment(written(tmp_path / "s.seg", one(1)), 10_000)


def test_names_of_segments() -> None:
    name = SegmentName("my-host-7", 12, 1_700_000_000_000_000, 3)
    assert str(name) == "my-host-7-12-1700000000000000-3.seg"
    assert SegmentName.parse(str(name)) == name
    for bad in ("x.seg", "h-1-2-3.jsonl", "h-1-b-3.seg"):
        with pytest.raises(BadInput):
            SegmentName.parse(bad)


FULL_DISK = """
import signal, resource, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from mlops_tui.serving.record.segments import Header, SegmentWriter, record
writer = SegmentWriter(Path(sys.argv[1]), Header("d", ("a",), ()))
good = record(1, 1, 0, 0, 1, 1, b"good", b"abcd")
assert writer.append(good)
resource.setrlimit(resource.RLIMIT_FSIZE, (writer.size + 20, resource.RLIM_INFINITY))
assert not writer.append(record(2, 1, 0, 0, 1, 1, b"lost", b"abcd"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert writer.append(good)
"""


def test_a_full_disk_leaves_no_half_record(tmp_path: Path) -> None:
    assert signal.SIGXFSZ and resource.RLIMIT_FSIZE
    path = tmp_path / "s.seg"
    subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], check=True, timeout=30)
    batch = read_segment(path)
    assert batch.request_id == ["good", "good"] and not batch.corrupt and not batch.torn


@pytest.mark.parametrize("features, outputs", [(3, 2), (0, 2), (3, 0), (0, 0)])
def test_rows_written_in_one_go_are_what_they_are_one_by_one(features: int, outputs: int) -> None:
    n = 5
    x, y = (np.arange(n * wide, dtype=np.float32).tobytes() for wide in (features, outputs))
    idents, spent = [b"id-%d\0" % i for i in range(n)], [0, 7, 1 << 40, 5, 0xFFFF_FFFF]
    singly = b""
    for i in range(n):
        own = x[i * features * 4 : (i + 1) * features * 4], y[i * outputs * 4 : (i + 1) * outputs * 4]
        singly += b"".join(record(99, 3, 1, 2, spent[i], 1, idents[i], *own))
    assert bytes(rows.records(99, 3, 1, 2, spent, idents, x, y)) == singly


def test_whose_request_it_is_comes_back_beside_records_that_do_not_say(tmp_path: Path) -> None:
    known = record(1000, 1, 0, 1, 5, 1, b"r-x", np.ones(3, np.float32).tobytes(), np.ones(1, np.float32).tobytes(), 77)
    nobody = record(1001, 1, 2, 0, 5, 0, b"r-y", client=0)
    known, nobody = b"".join(known), b"".join(nobody)
    batch = read_segment(written(tmp_path / "s.seg", one(1, rows=2), known, nobody, one(2)))
    assert batch.client.tolist() == [segments.NOBODY, 77, 0, segments.NOBODY]
    assert batch.request_id == ["r-1", "r-x", "r-y", "r-2"] and not batch.corrupt
    assert (batch.flags & segments.SHADOW).tolist() == [0, 1, 0, 0]
    assert batch.features[2].tolist() == [1, 1, 1] and batch.features[-1].tolist() == [2, 3, 4]

"""The reader: whole lines only, bad ones set aside with their place, and nothing believed."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_tui.core.errors import Conflict, NotAllowed, NotFound
from mlops_tui.spool import reader
from mlops_tui.spool.reader import parse, read_from
from mlops_tui.spool.records import Heartbeat, Param, Start

HB = b'{"v":1,"e":"hb","t":1}\n'


def metric(step: int, name: str = "loss", value: str = "0.5") -> bytes:
    return f'{{"v":1,"e":"m","t":{step},"s":{step},"m":{{"{name}":{value}}}}}\n'.encode()


def test_a_torn_tail_waits_for_its_newline(tmp_path):
    path = tmp_path / "a.jsonl"
    whole, torn = metric(1) + metric(2), metric(3)
    path.write_bytes(whole + torn[:20])
    chunk = read_from(path)
    assert chunk.points.step.tolist() == [1, 2] and chunk.next_offset == len(whole) and not chunk.bad
    again = read_from(path, chunk.next_offset)
    assert again.next_offset == chunk.next_offset and not len(again.points.step) and not again.bad
    path.write_bytes(whole + torn)
    assert read_from(path, chunk.next_offset).points.step.tolist() == [3]


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"\x00\x00\x00",
        b"[1]",
        b"null",
        b'{"v":1,"e":"hb"}',
        b'{"v":2,"e":"hb","t":1}',
        b'{"v":1,"e":"pred","t":1}',
        b'{"v":1,"t":1}',
        b'{"v":1,"e":"hb","t":"1"}',
        b'{"v":1,"e":"hb","t":-1}',
        b'{"v":1,"e":"hb","t":9999999999999999999}',
        b'{"v":1,"e":"hb","t":1',
        b'{"v":1,"e":"hb","t":1}{"v":1,"e":"hb","t":1}',
        b'{"v":1,"e":"m","t":1,"s":1.5,"m":{}}',
        b'{"v":1,"e":"m","t":1,"s":99999999999999999999,"m":{"a":1}}',
        b'{"v":1,"e":"m","t":1,"s":1,"m":{"a":null}}',
        b'{"v":1,"e":"m","t":1,"s":1,"m":{"a":true}}',
        b'{"v":1,"e":"m","t":1,"s":1,"m":{"a":"1"}}',
        b'{"v":1,"e":"m","t":1,"s":1,"m":{"a":NaN}}',
        b'{"v":1,"e":"m","t":1,"s":1,"m":{"a":1e999}}',
        b'{"v":1,"e":"m","t":1,"s":1,"m":{"":1}}',
        b'{"v":1,"e":"m","t":1,"s":1,"m":{},"x":{"a":"nan"}}',
        b'{"v":1,"e":"param","t":1,"p":{"a":1}}',
        b'{"v":1,"e":"hb","t":1,"unknown":"\xff"}',
        b'{"v":1,"e":"log","t":1,"l":"\xff"}',
        b'{"v":1,"e":"log","t":1,"l":"a\tb"}',
        b'{"v":1,"e":"end","t":1,"status":"finished"}',
        b'{"v":1,"e":"artifact","t":1,"path":"p","file":"f","size":-1}',
        b'{"v":1,"e":"start","t":1,"owner":"r","kind":"run"}',
        b'{"v":1,"e":"hb","t":1,"z":' + b"[" * 100_000 + b"}",
    ],
)
def test_a_bad_line_is_set_aside_with_its_place_and_the_rest_is_read(line):
    before, after = metric(1) + HB, metric(2) + HB
    chunk = parse(before + line + b"\n" + after, 1000)
    (bad,) = chunk.bad
    assert bad.offset == 1000 + len(before) and bad.line == line[:2000].decode("utf-8", "replace") and bad.error
    assert chunk.points.step.tolist() == [1, 2] and [type(one) for one in chunk.records] == [Heartbeat, Heartbeat]
    assert chunk.next_offset == 1000 + len(before + line + after) + 1


def test_two_torn_lines_that_fit_together_do_not_pass_as_one_record():
    chunk = parse(b'{"v":1,"e":"hb",\n"t":1}\n' + HB)
    assert len(chunk.bad) == 2 and len(chunk.records) == 1


def test_a_torn_line_followed_by_a_newline_costs_only_itself():
    whole = metric(1)
    for cut in range(1, len(whole) - 1):
        chunk = parse(whole[:cut] + b"\n" + metric(2))
        assert chunk.points.step.tolist() == [2] and len(chunk.bad) == 1, cut
    assert not parse(b"\n \n" + HB + b"\n").bad


def test_metrics_come_as_columns_in_file_order():
    data = (
        b'{"v":1,"e":"m","t":10,"s":1,"m":{"a":1,"b":2.5}}\n'
        + HB
        + b'{"v":1,"e":"m","t":11,"s":2,"m":{"b":3},"x":{"a":"NaN","c":"-Infinity"}}\n'
        + b'{"v":1,"e":"m","t":12,"s":3,"x":{"c":"Infinity"}}\n'
    )
    points = parse(data).points
    assert points.names == ["a", "b", "c"] and points.key.tolist() == [0, 1, 1, 0, 2, 2]
    assert points.step.tolist() == [1, 1, 2, 2, 2, 3] and points.ts.tolist() == [10, 10, 11, 11, 11, 12]
    assert (
        points.value[:3].tolist() == [1, 2.5, 3]
        and math.isnan(points.value[3])
        and points.value[4:].tolist() == [-math.inf, math.inf]
    )
    assert [str(column.dtype) for column in points[1:]] == ["int32", "int64", "int64", "float64"]


def test_columns_made_in_pieces_are_the_same(monkeypatch):
    lines = [b'{"v":1,"e":"m","t":%d,"s":%d,"m":{"a":%d,"n%d":0.5}}\n' % (n, n, n, n // 3) for n in range(20)]
    lines[7] = b'{"v":1,"e":"m","t":7,"s":7,"x":{"late":"Infinity"}}\n' + HB
    whole = parse(b"".join(lines))
    monkeypatch.setattr("mlops_tui.spool.reader._PIECE", 3)
    monkeypatch.setattr("mlops_tui.spool.reader._BLOCK", 150)
    pieces = parse(b"".join(lines))
    assert pieces.points.names == whole.points.names and len(pieces.records) == len(whole.records) == 1
    for one, other in zip(pieces.points[1:], whole.points[1:], strict=True):
        assert one.tolist() == other.tolist() and one.dtype == other.dtype


def test_parameters_keep_their_order_and_every_repetition():
    data = b'{"v":1,"e":"param","t":1,"p":{"z":"1","a":"2"}}\n{"v":1,"e":"param","t":2,"p":{"z":"other"}}\n'
    first, second = parse(data).records
    assert isinstance(first, Param) and list(first.p.items()) == [("z", "1"), ("a", "2")] and second.p == {"z": "other"}


def test_a_start_with_less_or_more_than_today_is_read():
    process = b'{"host":"h","boot":"b","pid":1,"created":2,"new":3}'
    facts = b'"owner":"r","kind":"run","process":' + process + b',"run":{"extra":1},"also":[]'
    data = b'{"v":1,"e":"start","t":1,' + facts + b"}\n"
    (start,) = parse(data).records
    assert isinstance(start, Start) and start.run.kind == "train" and start.run.params == {} and start.job is None


def test_the_limit_is_kept_and_reading_on_gives_everything_once(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(metric(step) for step in range(500)))
    steps, offset, rounds = [], 0, 0
    while (chunk := read_from(path, offset, 1000)).next_offset > offset:
        assert chunk.next_offset - offset <= 1000
        steps += chunk.points.step.tolist()
        offset, rounds = chunk.next_offset, rounds + 1
    assert steps == list(range(500)) and offset == path.stat().st_size and rounds > 20


def test_a_line_longer_than_the_limit_is_read_nevertheless(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"v":1,"e":"log","t":1,"l":"' + b"x" * 100_000 + b'"}\n' + metric(1))
    chunk = read_from(path, 0, 1000)
    assert len(chunk.records[0].l) == 100_000 and not chunk.bad


@pytest.mark.parametrize("limit", [1000, 64 * 1024 * 1024])
def test_an_absurd_line_is_stepped_over(tmp_path, limit, monkeypatch):
    monkeypatch.setattr("mlops_tui.spool.reader.MAX_LINE", 1 << 20)
    path = tmp_path / "a.jsonl"
    giant = b'{"v":1,"e":"log","t":1,"l":"' + b"x" * (3 << 19) + b'"}\n'
    path.write_bytes(metric(1) + giant + metric(2))
    steps, bad, offset = [], [], 0
    while (chunk := read_from(path, offset, limit)).next_offset > offset:
        steps += chunk.points.step.tolist()
        bad += chunk.bad
        offset = chunk.next_offset
    assert steps == [1, 2] and [(one.offset, len(one.line)) for one in bad] == [(len(metric(1)), 2000)]
    assert "longer" in bad[0].error


def test_an_absurd_line_without_an_end_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("mlops_tui.spool.reader.MAX_LINE", 1 << 20)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * (3 << 19))
    assert read_from(path, 0, 1000)[2:] == (0, [])


def test_many_bad_lines_over_several_blocks(tmp_path):
    data = b"".join(metric(step) if step % 3 else b"{bad\n" for step in range(30_000))
    assert len(data) > 3 * reader._BLOCK
    chunk = parse(data)
    assert chunk.points.step.tolist() == [step for step in range(30_000) if step % 3] and len(chunk.bad) == 10_000
    assert all(data[one.offset :].startswith(b"{bad\n") for one in chunk.bad)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([HB, metric(1), b"{", b"}\n", b"\n", b"\xff", b'"v":1,']), max_size=12).map(b"".join)
)
def test_any_bytes_are_read_without_an_error_and_accounted_for(data):
    chunk = parse(data)
    assert chunk.next_offset == data.rfind(b"\n") + 1
    whole = [line for line in data[: chunk.next_offset].split(b"\n") if line.strip()]
    assert len(whole) == len(chunk.bad) + len(chunk.records) + len(chunk.points.step)


def test_a_missing_a_shorter_and_a_linked_file(tmp_path):
    with pytest.raises(NotFound):
        read_from(tmp_path / "none")
    path = tmp_path / "a.jsonl"
    path.write_bytes(HB)
    with pytest.raises(Conflict):
        read_from(path, len(HB) + 1)
    os.symlink(path, tmp_path / "link.jsonl")
    with pytest.raises(NotAllowed):
        read_from(tmp_path / "link.jsonl")


def test_a_batch_by_columns_is_points_like_any_other():
    lines = (
        b'{"v":1,"e":"m","t":5,"s":1,"m":{"loss":0.5}}\n'
        b'{"v":1,"e":"mb","t":9,"k":["acc","loss"],"i":[0,1,0],"ts":[6,7,8],"s":[2,2,3],"m":[1,2,0],"x":{"2":"NaN"}}\n'
        b'{"v":1,"e":"mb","t":9,"k":["acc"],"i":[1],"ts":[6],"s":[2],"m":[1]}\n'
        b'{"v":1,"e":"mb","t":9,"k":["acc"],"i":[0],"ts":[6,7],"s":[2],"m":[1]}\n'
        b'{"v":1,"e":"mb","t":9,"k":["acc"],"i":[0],"ts":[6],"s":[2],"m":[1],"x":{"1":"NaN"}}\n'
    )
    chunk = parse(lines)
    points = chunk.points
    assert [points.names[key] for key in points.key] == ["loss", "acc", "loss", "acc"]
    assert points.step.tolist() == [1, 2, 2, 3] and points.ts.tolist() == [5, 6, 7, 8]
    assert points.value[:3].tolist() == [0.5, 1.0, 2.0] and np.isnan(points.value[3])
    assert len(chunk.bad) == 3 and not chunk.records

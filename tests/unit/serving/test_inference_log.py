from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_tui.serving.record import inference_log
from mlops_tui.serving.record.counters import SLOT, Gauge, Slot
from mlops_tui.serving.record.inference_log import InferenceLog, Keeping
from mlops_tui.serving.record.segments import SegmentName, read_segment, record

ROW = b"".join(record(1_000, 1, 0, 0, 5, 1, b"r", b"abcd", b"efgh"))


@pytest.fixture
def slot() -> Slot:
    return Slot(memoryview(bytearray(8 * SLOT)).cast("Q"))


def logged(folder: Path) -> int:
    return sum(len(read_segment(path).request_id) for path in folder.glob("*.seg"))


def test_records_of_a_turn_are_written_together_and_only_at_flush(tmp_path: Path, slot: Slot) -> None:
    log = InferenceLog(tmp_path / "spool", "d", 1 << 20, slot)
    stream = log.stream(("a",), ("y",))
    for _ in range(5):
        log.add(stream, [ROW], 1)
    assert not (tmp_path / "spool").exists()
    log.flush()
    assert logged(tmp_path / "spool") == 5
    assert slot[Gauge.LOG_ROWS] == 5 and slot[Gauge.LOG_BYTES] == 5 * len(ROW) and slot[Gauge.LOG_DROPPED_ROWS] == 0
    (path,) = (tmp_path / "spool").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert SegmentName.parse(path.name).n == 1


def test_models_of_other_columns_get_segments_of_their_own(tmp_path: Path, slot: Slot) -> None:
    log = InferenceLog(tmp_path, "d", 1 << 20, slot)
    assert log.stream(("a",), ("y",)) is log.stream(("a",), ("y",))
    log.add(log.stream(("a",), ("y",)), [ROW], 1)
    log.add(log.stream(("b",), ("y",)), [ROW], 1)
    log.flush()
    assert {read_segment(path).header.features for path in tmp_path.glob("*.seg")} == {("a",), ("b",)}


def test_segments_rotate_by_size_and_by_age(tmp_path: Path, slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_log, "MAX_SEGMENT", 400)
    log = InferenceLog(tmp_path, "d", 1 << 20, slot)
    stream = log.stream(("a",), ("y",))
    for _ in range(40):
        log.add(stream, [ROW], 1)
        log.flush()
    files = len(list(tmp_path.glob("*.seg")))
    assert files > 3 and logged(tmp_path) == 40
    monkeypatch.setattr(inference_log, "MAX_AGE_S", 0.0)
    log.tick()
    log.add(stream, [ROW], 1)
    log.flush()
    log.tick()
    log.add(stream, [ROW], 1)
    log.flush()
    assert len(list(tmp_path.glob("*.seg"))) >= files + 1 and logged(tmp_path) == 42


def test_over_the_budget_rows_are_dropped_and_counted_until_there_is_room(tmp_path: Path, slot: Slot) -> None:
    log = InferenceLog(tmp_path, "d", 10 * len(ROW), slot)
    stream = log.stream(("a",), ("y",))
    for _ in range(25):
        log.add(stream, [ROW], 1)
        log.flush()
    assert slot[Gauge.LOG_ROWS] == 10 and slot[Gauge.LOG_DROPPED_ROWS] == 15
    log.close()
    for path in tmp_path.glob("*.seg"):
        path.unlink()
    log._scanned -= 2.0
    log.tick()
    log.add(stream, [ROW], 1)
    log.flush()
    assert slot[Gauge.LOG_ROWS] == 11 and logged(tmp_path) == 1


def test_what_other_workers_wrote_counts_against_the_budget(tmp_path: Path, slot: Slot) -> None:
    (tmp_path / "other-1-2-3.seg").write_bytes(bytes(1000))
    log = InferenceLog(tmp_path, "d", 1000, slot)
    log.add(log.stream(("a",), ("y",)), [ROW], 1)
    log.flush()
    assert slot[Gauge.LOG_DROPPED_ROWS] == 1


def test_a_folder_that_cannot_be_made_drops_rows_and_raises_nothing(tmp_path: Path, slot: Slot) -> None:
    (tmp_path / "file").write_text("in the way")
    log = InferenceLog(tmp_path / "file" / "spool", "d", 1 << 20, slot)
    for _ in range(3):
        log.add(log.stream(("a",), ("y",)), [ROW], 2)
        log.flush()
    assert slot[Gauge.LOG_DROPPED_ROWS] == 6 and slot[Gauge.LOG_ROWS] == 0
    (tmp_path / "file").unlink()
    log._failed_at -= 2.0
    log.add(log.stream(("a",), ("y",)), [ROW], 2)
    log.flush()
    assert slot[Gauge.LOG_ROWS] == 2


def test_rows_that_are_missing_are_told_once_in_a_while(
    tmp_path: Path, slot: Slot, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    log = InferenceLog(tmp_path / "file" / "spool", "d", 1 << 20, slot)
    for _ in range(3):
        log.add(log.stream(("a",), ("y",)), [ROW], 2)
        log.flush()
        log._scanned = 0.0
        log.tick()
    (told,) = caplog.messages
    assert told.startswith("2 rows are not in the inference log: ") and "spool" in told


def test_a_sample_goes_by_the_id_and_redacted_columns_are_missing(make_bench: Any, onnx_models: Any) -> None:
    bench = make_bench()
    bench.log.keeping = Keeping(0.25, frozenset({"X_1", "score", "unknown"}))
    bench.route(bench.arm(1, onnx_models.summing()))
    for n in range(400):
        bench.infer([[n, 2, 3]], id=f"r-{n}")
    (path,) = bench.spool.glob("*.seg")
    batch = read_segment(path)
    assert 60 < len(batch.request_id) < 140 and (batch.header.share, batch.header.redacted) == (0.25, ("X_1", "score"))
    assert np.isnan(batch.features[:, 1]).all() and np.isnan(batch.outputs[:, 1]).all()
    assert [f"r-{int(n)}" for n in batch.features[:, 0]] == batch.request_id and (batch.outputs[:, 0] == 3).all()
    again = {ident for ident in batch.request_id if bench.log.keeping.keeps(ident.encode())}
    assert len(again) == len(batch.request_id)

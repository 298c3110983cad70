from __future__ import annotations

from pathlib import Path

from mlops_tui.serving.deployment import Model, Revision
from mlops_tui.serving.record.columns import Columns
from mlops_tui.serving.record.counters import BUCKETS_S, COLUMNS, Count, Counters, Gauge, bucket
from mlops_tui.serving.record.metrics import exposition


def revision(no: int) -> Revision:
    return Revision(f"rev-{no}", no, f"v{no}", Model("f"))


def samples(counters: Counters) -> dict[str, float]:
    text = exposition(counters, 'a "b"\\', [(0, "", "none"), (1, "rev-1", "v1")]).body.decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_slots_add_up_and_outlive_whoever_counted(tmp_path: Path) -> None:
    counters = Counters(tmp_path / "c", 2)
    for n in (0, 1):
        counters.slot(n).observe(1, Count.OK, [10], [60_000])
        counters.slot(n).add(Gauge.LOG_ROWS, 5)
    del counters
    again = Counters(tmp_path / "c", 3)
    assert again.column(1)[Count.OK] == 2 and again.column(1)[Count.ROWS] == 20
    assert again.column(1)[Count.LATENCY_NS] == 120_000 and again.column(1)[Count.BUCKET + 1] == 2
    assert again.total(Gauge.LOG_ROWS) == 10 and len(again.slots) == 3


def test_fewer_workers_keep_the_counts_of_former_ones(tmp_path: Path) -> None:
    Counters(tmp_path / "c", 4).slot(3).observe(1, Count.OK, [1], [1])
    assert Counters(tmp_path / "c", 1).column(1)[Count.OK] == 1


def test_a_file_of_another_shape_is_started_anew(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"\xff" * 100_000)
    assert sum(Counters(tmp_path / "c", 1).column(1)) == 0


def test_every_latency_falls_below_its_bound() -> None:
    for ns in (0, 1, 49_999, 50_000, 50_001, 99_999, 100_000, 100_001, 3_000_000, 6_553_600_000, 6_553_600_001, 10**12):
        at = bucket(ns)
        assert at == len(BUCKETS_S) or ns / 1e9 <= BUCKETS_S[at] * (1 + 1e-12)
        assert at == 0 or ns / 1e9 > BUCKETS_S[at - 1] * (1 - 1e-12)
    assert bucket(10**12) == len(BUCKETS_S)


def test_revisions_keep_their_column_and_the_oldest_unused_is_given_away(tmp_path: Path) -> None:
    counters = Counters(tmp_path / "c", 1)
    columns = Columns(counters, [])
    columns.take_in([revision(1), revision(2)], ())
    again = Columns(counters, columns.listed())
    again.take_in([revision(2), revision(3)], ())
    assert again.listed() == [(0, "", "none"), (1, "rev-1", "v1"), (2, "rev-2", "v2"), (3, "rev-3", "v3")]
    again.take_in([revision(n) for n in range(4, COLUMNS)], ())
    counters.slot(0).observe(2, Count.OK, [1], [1])
    again.take_in([revision(500)], {"rev-1"})
    owner = {ident: column for column, ident, _ in again.listed()}
    assert owner["rev-1"] == 1 and owner["rev-500"] == 2 and "rev-2" not in owner
    assert sum(counters.column(2)) == 0


def test_metrics_are_what_prometheus_reads(tmp_path: Path) -> None:
    counters = Counters(tmp_path / "c", 1)
    slot = counters.slot(0)
    slot[Gauge.READY], slot[Gauge.GENERATION] = 1, 7
    slot.observe(1, Count.OK, [3], [60_000])
    slot.observe(1, Count.FALLBACK, [1], [10**12])
    found = samples(counters)
    base = 'deployment="a \\"b\\"\\\\"'
    rev = f'{base},revision="v1",revision_id="rev-1"'
    assert found[f'mlops_serving_requests_total{{{rev},outcome="ok"}}'] == 1
    assert found[f"mlops_serving_rows_total{{{rev}}}"] == 4
    bounds = [value for name, value in found.items() if name.startswith("mlops_serving_latency_seconds_bucket")]
    assert bounds == sorted(bounds) and bounds[0] == 0 and bounds[1] == 1 and bounds[-1] == 2
    assert found[f"mlops_serving_latency_seconds_count{{{rev}}}"] == 2
    assert abs(found[f"mlops_serving_latency_seconds_sum{{{rev}}}"] - 1000.00006) < 1e-6
    assert found[f"mlops_serving_generation{{{base}}}"] == 7 and found[f"mlops_serving_workers_ready{{{base}}}"] == 1

"""Training sets: every row once, labels where they are known, the same bytes from the same sources."""

from __future__ import annotations

import duckdb
import msgspec
import numpy as np
import pytest

from mlops_tui.core.errors import BadInput, Refused
from mlops_tui.data import training_set
from mlops_tui.data.online.transform import FeatureFile, FeatureSet
from mlops_tui.data.schema import content_hash
from mlops_tui.data.training_set import Source

FILE = {
    "key": "id",
    "label": "y",
    "groups": ["sex"],
    "inputs": {"x": "DOUBLE"},
    "features": [{"name": "double_x", "version": 1, "dtype": "float", "expr": "x * 2"}],
}


def feature_set(**changes):
    return FeatureSet(msgspec.convert({**FILE, **changes}, FeatureFile))


@pytest.fixture
def sources(tmp_path):
    """2,000 labelled rows in a shuffled Parquet file, 100 in a CSV whose labels came later for half of them."""
    first, second, labels = tmp_path / "first.parquet", tmp_path / "second.csv", tmp_path / "labels.parquet"
    with duckdb.connect() as con:
        con.execute(
            "COPY (SELECT range AS id, range / 10 AS x, if(range % 3 = 0, 'm', 'f') AS sex, range % 2 AS y"
            f" FROM range(2000) ORDER BY hash(range)) TO '{first}' (FORMAT parquet)"
        )
        con.execute(f"COPY (SELECT range AS id, 'f' AS sex, 1.5 AS x FROM range(2000, 2100)) TO '{second}'")
        con.execute(f"COPY (SELECT range AS id, 1 AS y FROM range(2000, 2050)) TO '{labels}' (FORMAT parquet)")
    return [Source(first), Source(second, labels)]


def test_every_row_comes_back_once_with_its_label_or_none(tmp_path, sources):
    written = training_set.write(feature_set(), sources, tmp_path / "set.parquet")
    assert (written.rows, written.unlabelled) == (2_100, 50)
    found = training_set.read(written.path)
    assert found.ids.tolist() == list(range(2_100))
    assert found.names == ["double_x"]
    assert found.x.dtype == np.float32
    assert found.x[:2_000, 0].tolist() == (np.arange(2_000) / 10 * 2).astype(np.float32).tolist()
    assert (found.x[2_000:] == 3).all()
    assert found.label[:4].tolist() == [0, 1, 0, 1]
    assert (found.label[2_000:2_050] == 1).all() and np.isnan(found.label[2_050:]).all()
    assert found.groups["sex"][:4].tolist() == ["m", "f", "f", "m"]
    assert FeatureSet.from_record(found.features).digest == written.features_digest


def test_the_same_sources_give_the_same_bytes(tmp_path, sources):
    hashes = {content_hash(training_set.write(feature_set(), sources, tmp_path / f"{i}").path) for i in range(2)}
    assert len(hashes) == 1


def test_rows_can_be_chosen_and_a_wrong_condition_is_refused(tmp_path, sources):
    out = tmp_path / "set.parquet"
    assert training_set.write(feature_set(), sources, out, where="sex = 'm' AND x < 1").rows == 4
    with pytest.raises(BadInput, match="cannot be computed"):
        training_set.write(feature_set(), sources, out, where="sexx = 'm'")
    assert training_set.read(out).ids.tolist() == [0, 3, 6, 9]  # the old file is still whole


def test_without_any_label_and_without_a_label_column(tmp_path, sources):
    unlabelled = Source(sources[1].data)
    assert training_set.write(feature_set(), [unlabelled], tmp_path / "a").unlabelled == 100
    assert np.isnan(training_set.read(tmp_path / "a").label).all()
    assert training_set.write(feature_set(label=""), [unlabelled], tmp_path / "b").unlabelled == 0
    assert training_set.read(tmp_path / "b").label.size == 0


def test_double_keys_and_double_labels_are_refused_and_leave_nothing(tmp_path, sources):
    out = tmp_path / "set.parquet"
    with pytest.raises(Refused, match=r"id 0 occurs twice"):
        training_set.write(feature_set(), [sources[0], Source(sources[0].data)], out, where="id = 0")
    with duckdb.connect() as con:
        con.execute(
            f"COPY (SELECT 2007 AS id, range AS y FROM range(2)) TO '{tmp_path}/twice.parquet' (FORMAT parquet)"
        )
    with pytest.raises(Refused, match=r"twice.parquet has two labels for id 2007"):
        training_set.write(feature_set(), [Source(sources[1].data, tmp_path / "twice.parquet")], out)
    assert {p.name for p in tmp_path.iterdir()} == {"first.parquet", "second.csv", "labels.parquet", "twice.parquet"}


def test_a_source_without_a_column_is_named(tmp_path, sources):
    with pytest.raises(BadInput, match=r"labels.parquet has no column x"):
        training_set.write(feature_set(), [Source(sources[1].labels)], tmp_path / "a")


def test_an_evaluation_comes_back_as_it_was(tmp_path, sources):
    rows = training_set.read(training_set.write(feature_set(), sources, tmp_path / "set").path)
    held = rows.take(rows.ids % 7 == 0)
    probability = np.linspace(0, 1, len(held.ids)).astype(np.float32)
    for _ in range(2):  # the second time over the first
        training_set.write_evaluation(held, probability[:, None], tmp_path / "e.parquet")
    found, scores = training_set.read_evaluation(tmp_path / "e.parquet")
    assert scores.tolist() == probability.tolist()
    assert found.ids.tolist() == held.ids.tolist()
    assert found.groups["sex"].tolist() == held.groups["sex"].tolist()
    assert np.array_equal(found.x, held.x) and np.array_equal(found.label, held.label, equal_nan=True)
    assert found.features == held.features


def test_other_parquet_files_are_neither(tmp_path, sources):
    with pytest.raises(BadInput, match="is not a training set"):
        training_set.read(sources[0].data)
    training_set.write(feature_set(), sources, tmp_path / "set.parquet")
    with pytest.raises(BadInput, match="is not an evaluation"):
        training_set.read_evaluation(tmp_path / "set.parquet")

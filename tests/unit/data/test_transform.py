"""Feature definitions: what is refused, and that every path computes the same bits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.data import training_set
from mlops_tui.data.online.duck import register
from mlops_tui.data.online.transform import FeatureFile, FeatureSet

PROJECT = Path(__file__).parents[3] / "sample_data" / "project"
CENSUS = PROJECT.parent / "census"


def features(*definitions, **roles):
    whole = [{"version": 1, "dtype": "float", **d} for d in definitions]
    roles = {"key": "id", "inputs": {"age": "DOUBLE", "code": "VARCHAR"}, **roles}
    return FeatureSet(msgspec.convert({**roles, "features": whole}, FeatureFile))


def bits(matrix):
    return np.ascontiguousarray(matrix, dtype=np.float32).view(np.int32)


@pytest.fixture
def awkward(tmp_path):
    """Rows with nulls, NaN, negative zero, extremes and several row groups, as a file, as columns and as mappings."""
    rng = np.random.default_rng(7)
    n = 7_000
    age = rng.normal(40, 30, n).round(2)
    age[::11], age[5], age[6], age[7] = np.nan, -0.0, 1e-300, 3.4e38
    code = np.array([None if i % 13 == 0 else str(i % 25) for i in range(n)], dtype=object)
    columns = {"id": rng.permutation(n) * 3, "age": age, "code": code}
    path = tmp_path / "raw.parquet"
    with duckdb.connect(config={"threads": 1}) as con:
        relation = register(con, "t", columns)
        half = "CASE WHEN id % 2 = 0 THEN coalesce(age, 'NaN') ELSE age END AS age"
        con.execute(
            f"COPY (SELECT * REPLACE ({half}) FROM {relation}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)"
        )
    rows = [
        {"id": int(i), "age": None if np.isnan(a) else float(a), "code": c}
        for i, a, c in zip(columns["id"], age, code, strict=True)
    ]
    return path, columns, rows


def test_a_file_columns_rows_and_a_training_set_give_the_same_bits(awkward, tmp_path):
    path, columns, rows = awkward
    made = features(
        {"name": "age", "expr": "age"},
        {"name": "root", "expr": "sqrt(abs(age)) / 7"},
        {"name": "old", "expr": "age >= 65", "dtype": "bool"},
        {"name": "known", "expr": "code IS NOT NULL", "dtype": "bool"},
        {"name": "grade", "expr": "CAST(code AS INTEGER) * 3", "dtype": "int"},
        {"name": "either", "expr": "coalesce(age, CAST(code AS DOUBLE), -1)"},
    )
    ids, expected = made.compute(path)
    assert ids.tolist() == columns["id"].tolist()
    assert np.isnan(expected[:, 2]).sum() == np.isnan(columns["age"]).sum()  # a NaN is unknown, not "old"
    for other in (columns, rows):
        found_ids, found = made.compute(other)
        assert found_ids.tolist() == ids.tolist()
        assert (bits(found) == bits(expected)).all()
    training_set.write(made, [training_set.Source(path)], tmp_path / "set.parquet")
    kept = training_set.read(tmp_path / "set.parquet")
    order = np.argsort(ids)
    assert kept.ids.tolist() == ids[order].tolist()
    assert (bits(kept.x) == bits(expected[order])).all()
    again = FeatureSet.from_record(kept.features)
    assert again.digest == made.digest
    assert (bits(again.compute(rows[:3])[1]) == bits(expected[:3])).all()


def test_rows_of_several_row_groups_come_in_the_order_of_the_file(tmp_path):
    """With two threads DuckDB 1.5.5 mixes them, though it is told to keep the order."""
    path = tmp_path / "many.parquet"
    three_times = f"read_parquet('{CENSUS}/employment_201[678].parquet'), range(3)"
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute(f"COPY (SELECT * REPLACE (row_number() OVER () AS id) FROM {three_times}) TO '{path}'")
    ids, matrix = FeatureSet.load(PROJECT / "features.yaml").compute(path)
    assert len(ids) == len(matrix) == 246_000
    assert (np.diff(ids) == 1).all()


def test_one_row_alone_is_computed_as_among_others():
    made = FeatureSet.load(PROJECT / "features.yaml")
    ids, all_rows = made.compute(CENSUS / "employment_2017.parquet")
    raw = duckdb.sql(f"FROM read_parquet('{CENSUS / 'employment_2017.parquet'}') LIMIT 20")
    for at, row in enumerate(raw.fetchall()):
        one_id, one = made.compute([dict(zip(raw.columns, row, strict=True))])
        assert one_id.tolist() == [ids[at]]
        assert (bits(one) == bits(all_rows[at : at + 1])).all()


@pytest.mark.parametrize(
    ("expr", "said"),
    [
        ("agee + 1", "agee is not an input column; did you mean AGE"),
        ("SEX = '1'", "SEX, which the feature set forbids"),
        ("sex = '1'", "sex, which the feature set forbids"),
        ("avg(age)", "avg() is no function of one row alone"),
        ("age - lag(age) OVER ()", "window"),
        ("(SELECT max(age) FROM raw_rows)", "subquery"),
        ("age + random()", "random() is no function"),
        ("epoch(now()) - age", "now() is no function"),
        ("unnest([age, 1])", "unnest() is no function"),
        ("age) FROM read_csv('/etc/passwd') --", "syntax error"),
        ("age), (1", "syntax error"),
        ("age; SELECT 1", "syntax error"),
        ("age FROM raw_rows", "syntax error"),
        ("nosuch(age)", "nosuch does not exist"),
        ("code + [1]", "No function matches"),
        ("*", "star"),
    ],
)
def test_what_is_not_one_pure_expression_over_the_inputs_is_refused(expr, said):
    with pytest.raises(BadInput) as raised:
        features({"name": "x", "expr": expr}, forbidden=["SEX"])
    assert "feature x@1 cannot be used" in str(raised.value)
    assert said.lower() in str(raised.value).lower()


def test_a_forbidden_column_cannot_be_an_input():
    with pytest.raises(BadInput, match="SEX is an input"):
        features({"name": "x", "expr": "age"}, inputs={"age": "DOUBLE", "SEX": "VARCHAR"}, groups=["SEX"])


@pytest.mark.parametrize(
    ("definitions", "said"),
    [
        ([{"name": "x", "expr": "age"}, {"name": "x", "expr": "age + 1"}], "x@1 is defined twice"),
        ([{"name": "X y", "expr": "age"}], "'X y' cannot be used"),
        ([{"name": "x", "expr": "age", "dtype": "text"}], "'text' cannot be used"),
        ([{"name": "id", "expr": "age"}], "name of the key"),
        ([], "defines no feature"),
    ],
)
def test_bad_definitions_are_named(definitions, said):
    with pytest.raises(BadInput, match=said):
        features(*definitions)


def test_an_input_type_is_a_type():
    with pytest.raises(BadInput, match="no DuckDB type"):
        features({"name": "x", "expr": "age"}, inputs={"age": "DOUBLE) AS a, (SELECT 1"})


def test_a_file_that_is_no_feature_file(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("key: id\nfeatures: 3\n")
    with pytest.raises(BadInput, match="is not a feature file"):
        FeatureSet.load(path)
    with pytest.raises(BadInput, match="is not a feature file"):
        FeatureSet.load(tmp_path / "none.yaml")


def test_a_digest_is_of_what_decides_the_numbers():
    base = features({"name": "x", "expr": "age"})
    worded = features({"name": "x", "expr": "  age ", "description": "years"})
    other = features({"name": "x", "expr": "age + 0"})
    typed = features({"name": "x", "expr": "age"}, inputs={"age": "FLOAT"})
    assert base.definitions[0].digest == worded.definitions[0].digest
    assert base.digest == worded.digest
    assert len({base.digest, other.digest, typed.digest}) == 3
    assert base.definitions[0].digest == typed.definitions[0].digest


def test_versions_the_newest_by_default_an_older_one_by_name():
    old, new = {"name": "x", "expr": "age"}, {"name": "x", "expr": "age * 2", "version": 2}
    both = features(old, new, {"name": "y", "expr": "age"})
    assert [d.version for d in both.definitions] == [2, 1]
    picked = FeatureSet(both.file, ["y", "x@1"])
    assert picked.names == ("y", "x")
    assert picked.compute({"age": np.array([3.0])})[1].tolist() == [[3.0, 3.0]]
    with pytest.raises(BadInput, match="no feature x@3"):
        FeatureSet(both.file, ["x@3"])


def test_rows_that_lack_a_column_or_hold_no_number_are_refused():
    made = features({"name": "x", "expr": "age"})
    with pytest.raises(BadInput, match="row 1 has no column age"):
        made.compute([{"age": 1}, {"code": "a"}])
    with pytest.raises(BadInput, match="no column age"):
        made.compute({"code": np.array(["a"])})
    with pytest.raises(BadInput, match="Could not convert string 'forty'"):
        made.compute([{"age": "forty"}])
    with pytest.raises(BadInput, match="differ in length"):
        made.compute({"id": np.arange(2), "age": np.array([1.0])})
    assert made.inputs == ("age",)


def test_no_rows_give_no_features():
    ids, matrix = features({"name": "x", "expr": "age"}).compute({"age": np.empty(0)})
    assert (len(ids), matrix.shape) == (0, (0, 1))


def test_neither_pandas_nor_pyarrow_is_needed(tmp_path):
    script = (
        "import sys; sys.modules['pyarrow'] = sys.modules['pandas'] = None\n"
        "from pathlib import Path\n"
        "from mlops_tui.data import checks, profile, schema, training_set\n"
        "from mlops_tui.data.online.transform import FeatureSet\n"
        f"project, out = Path({str(PROJECT)!r}), Path({str(tmp_path)!r}, 'set.parquet')\n"
        "data = project.parent / 'census' / 'employment_2017.parquet'\n"
        "labels = project.parent / 'census' / 'labels_2017.parquet'\n"
        "features = FeatureSet.load(project / 'features.yaml')\n"
        "assert features.compute([{c: '1' for c in features.inputs}])[1].shape == (1, 18)\n"
        "training_set.write(features, [training_set.Source(data, labels)], out)\n"
        "rows = training_set.read(out)\n"
        "training_set.write_evaluation(rows, rows.label, out)\n"
        "assert training_set.read_evaluation(out)[1].shape == (12000,)\n"
        "assert profile.profile(data).rows == 12000 and schema.content_hash(data)\n"
        "assert checks.run_checks(data, checks.load_checks(project / 'checks.yaml'), labels).passed\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

"""Checks: each kind passes, fails, and names row, column and value."""

from __future__ import annotations

import duckdb
import msgspec
import pytest

from mlops_tui.core.errors import BadInput, Refused
from mlops_tui.data.checks import Checks, load_checks, require, run_checks

ROWS = """(VALUES (1, 30.0, 'a'), (2, NULL, 'b'), (3, 51.5, 'a'), (4, 12.0, NULL)) AS t(id, x, code)"""

MORE = " (and 1 more)"
A = f"'a' is not one of b{MORE}"


def parquet(path, source=ROWS):
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT CAST(id AS BIGINT) AS id, CAST(x AS DOUBLE) AS x, code FROM {source}) TO '{path}'")
    return path


def rules(columns=None, **rest):
    declared = {"id": {"type": "BIGINT"}, "x": {"type": "DOUBLE"}, "code": {"type": "VARCHAR"}}
    for name, rule in (columns or {}).items():
        declared[name] = {**declared.get(name, {}), **rule}
    return msgspec.convert({"columns": declared, **rest}, Checks)


def failed(report):
    return [(r.check, r.column, r.failing, r.text, [s.row for s in r.samples]) for r in report.failures]


def test_what_holds_passes(tmp_path):
    checks = rules(
        {
            "id": {"not_null": True, "min": 1},
            "x": {"min": 12, "max": 51.5},
            "code": {"allowed": ["a", "b"], "pattern": "[ab]"},
        },
        unique=["id"],
        rows={"min": 4, "max": 4},
        extra_columns="refuse",
    )
    report = run_checks(parquet(tmp_path / "a.parquet"), checks)
    assert report.passed and report.rows == 4
    assert {r.check for r in report.results} == {"type", "not_null", "range", "allowed", "pattern", "unique", "rows"}
    require(report)


@pytest.mark.parametrize(
    ("columns", "rest", "expected"),
    [
        ({"x": {"not_null": True}}, {}, ("not_null", "x", 1, "row 2, column x: has no value", [2])),
        ({"x": {"min": 20}}, {}, ("range", "x", 1, "row 4, column x: '12.0' is not in 20…", [4])),
        ({"x": {"max": 25}}, {}, ("range", "x", 2, f"row 1, column x: '30.0' is not in …25{MORE}", [1, 3])),
        ({"code": {"allowed": ["b"]}}, {}, ("allowed", "code", 2, f"row 1, column code: {A}", [1, 3])),
        ({"id": {"allowed": [1, 2, 3]}}, {}, ("allowed", "id", 1, "row 4, column id: '4' is not one of 1, 2, 3", [4])),
        ({"code": {"pattern": "a"}}, {}, ("pattern", "code", 1, "row 2, column code: 'b' does not match a", [2])),
        ({"x": {"type": "BIGINT"}}, {}, ("type", "x", 0, "x is DOUBLE, not BIGINT", [])),
        ({"y": {"type": "DOUBLE"}}, {}, ("missing", "y", 1, "column y is missing", [])),
        ({}, {"unique": ["code"]}, ("unique", "code", 1, "row 3, column code: 'a' came before", [3])),
        ({}, {"rows": {"min": 5}}, ("rows", "", 1, "4 rows, expected at least 5", [])),
        ({}, {"rows": {"max": 3}}, ("rows", "", 1, "4 rows, expected 1…3", [])),
    ],
)  # fmt: skip
def test_what_fails_is_named_with_row_and_column(tmp_path, columns, rest, expected):
    report = run_checks(parquet(tmp_path / "a.parquet"), rules(columns, **rest))
    assert failed(report) == [expected]
    with pytest.raises(Refused) as raised:
        require(report)
    assert expected[3] in str(raised.value)
    assert raised.value.exit_code == 3


def test_an_undeclared_column_passes_unless_refused(tmp_path):
    path = parquet(tmp_path / "a.parquet")
    few = {"columns": {"id": {"type": "BIGINT"}}}
    assert run_checks(path, msgspec.convert(few, Checks)).passed
    report = run_checks(path, msgspec.convert({**few, "extra_columns": "refuse"}, Checks))
    assert [r.text for r in report.failures] == ["column x is not declared", "column code is not declared"]


def test_an_optional_column_may_be_missing_but_not_wrong(tmp_path):
    optional = {"type": "BIGINT", "optional": True, "allowed": [0, 1]}
    path = parquet(tmp_path / "a.parquet")
    assert run_checks(path, rules({"label": optional})).passed
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT *, CAST(7 AS BIGINT) AS label FROM '{path}') TO '{tmp_path}/b.parquet'")
    assert failed(run_checks(tmp_path / "b.parquet", rules({"label": optional})))[0][1:3] == ("label", 4)


def test_a_nan_is_out_of_every_range(tmp_path):
    path = parquet(tmp_path / "a.parquet", "(VALUES (1, 'NaN'::DOUBLE, 'a')) AS t(id, x, code)")
    assert failed(run_checks(path, rules({"x": {"min": 0}})))[0][3] == "row 1, column x: 'nan' is not in 0…"


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_cells_of_text_files_are_read_as_the_declared_types(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    lines = {
        "csv": "id,x,code\n1,3,01\n2.5,4,02\n3,forty,03\n,,\n",
        "jsonl": '{"id":1,"x":3,"code":"01"}\n{"id":2.5,"x":4}\n{"id":3,"x":"forty","code":"03"}\n{"id":null}\n',
    }
    path.write_text(lines[suffix])
    report = run_checks(path, rules({"x": {"max": 3.5}}))
    assert failed(report) == [
        ("type", "id", 1, "row 2, column id: '2.5' is not a BIGINT", [2]),
        ("type", "x", 1, "row 3, column x: 'forty' is not a DOUBLE", [3]),
        ("range", "x", 1, "row 2, column x: '4' is not in …3.5", [2]),
    ]


def test_a_parquet_column_of_text_is_refused_with_the_cell_that_is_no_number(tmp_path):
    path = tmp_path / "a.parquet"
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT * FROM (VALUES (1, '4', 'a'), (2, 'forty', 'a')) AS t(id, x, code)) TO '{path}'")
    report = run_checks(path, rules({"id": {"type": "INTEGER"}, "x": {"max": 3}}))
    assert [r.text for r in report.failures] == [
        "x is VARCHAR, not DOUBLE; row 2, column x: 'forty' is not a DOUBLE",
        "row 1, column x: '4' is not in …3",
    ]


def test_samples_are_the_first_rows_and_few(tmp_path):
    path = parquet(tmp_path / "a.parquet", "(SELECT 7 AS id, range AS x, 'a' AS code FROM range(200_000)) AS t")
    report = run_checks(path, rules({"x": {"max": 150_000}}, unique=["id"]))
    assert [(r.check, r.failing, [s.row for s in r.samples]) for r in report.failures] == [
        ("range", 49_999, [150_002, 150_003, 150_004, 150_005, 150_006]),
        ("unique", 199_999, [2, 3, 4, 5, 6]),
    ]


def labelled(tmp_path, labels, **rule):
    path = tmp_path / "labels.csv"
    path.write_text("id,y\n" + labels)
    checks = rules(labels={"key": "id", "column": "y", **rule})
    return {r.check: r for r in run_checks(parquet(tmp_path / "a.parquet"), checks, path).results if "label" in r.check}


def test_labels_belong_to_rows_once_and_cover_them(tmp_path):
    good = labelled(tmp_path, "1,0\n2,1\n3,1\n4,0\n", min_coverage=1.0)
    assert all(r.passed for r in good.values()) and len(good) == 3
    bad = labelled(tmp_path, "1,0\n1,1\n9,1\n2,\n", min_coverage=0.5)
    assert [r.text for r in bad.values()] == [
        "1 labels of labels.csv name a row twice",
        "1 labels of labels.csv name no row of a.parquet",
        "25.0% of rows have a label, expected 50.0%",
    ]
    assert not any(r.passed for r in bad.values())
    assert labelled(tmp_path, "1,0\n")["label_coverage"].passed
    (tmp_path / "labels.csv").write_text("")


def test_a_labels_file_without_the_label(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("id,z\n1,0\n")
    report = run_checks(parquet(tmp_path / "a.parquet"), rules(labels={"key": "id", "column": "y"}), path)
    assert report.failures[0].text == "labels.csv has no column y"


@pytest.mark.parametrize(
    "text", ["columns: 3", "columns: {x: {typ: DOUBLE}}", "columns: {x: {type: DOUBLE}}\nunikue: [x]", "a: [b"]
)
def test_a_file_that_is_no_checks_file(tmp_path, text):
    path = tmp_path / "checks.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match="is not a checks file"):
        load_checks(path)

"""The sample data: small, whole, as its card and its script say; the broken files are refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb
import pytest

from mlops_tui.core.errors import Refused
from mlops_tui.data.checks import load_checks, require, run_checks
from mlops_tui.data.online.transform import FeatureSet
from mlops_tui.data.schema import read_schema

SAMPLE = Path(__file__).parents[3] / "sample_data"
CENSUS = SAMPLE / "census"
CHECKS = load_checks(SAMPLE / "project" / "checks.yaml")


def make():
    spec = importlib.util.spec_from_file_location("census_make", CENSUS / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_small():
    assert sum(path.stat().st_size for path in CENSUS.iterdir() if path.is_file()) < 3_000_000


@pytest.mark.parametrize(("year", "rows"), make().ROWS.items())
def test_a_year_holds_what_the_script_says_and_passes_its_checks(year, rows):
    path, labels = CENSUS / f"employment_{year}.parquet", CENSUS / f"labels_{year}.parquet"
    schema = read_schema(path)
    assert schema.rows == rows
    assert ("employed" in [c.name for c in schema.columns]) == (year == make().LABELLED) != labels.exists()
    assert f"`{path.name}`" in (CENSUS / "README.md").read_text()
    require(run_checks(path, CHECKS, labels if labels.exists() else None))


def test_the_card_explains_every_column_and_no_prediction_is_left():
    card = (CENSUS / "README.md").read_text()
    columns = [column.name for column in read_schema(CENSUS / "employment_2015.parquet").columns]
    assert [name for name in columns if f"`{name}`" not in card] == []
    assert not {"prediction", "predicted_probability"} & set(columns)


def test_no_person_is_in_two_files():
    files = f"read_parquet('{CENSUS}/employment_*.parquet', union_by_name = true)"
    assert duckdb.sql(f"SELECT count(*) = count(DISTINCT id) FROM {files}").fetchone() == (True,)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_the_broken_file_is_refused_with_row_and_column(suffix):
    report = run_checks(CENSUS / f"broken.{suffix}", CHECKS)
    found = {(sample.row, sample.column) for result in report.failures for sample in result.samples}
    assert found == {(17, "AGEP"), (23, "AGEP"), (29, "SCHL"), (31, "id")}
    with pytest.raises(Refused, match="row 17, column AGEP: 'forty-one' is not a DOUBLE"):
        require(report)


def test_no_feature_reads_a_group_or_what_stands_in_for_one():
    features = FeatureSet.load(SAMPLE / "project" / "features.yaml")
    barred = {"SEX", "RAC1P", "CIT", "NATIVITY", "ANC", "employed", "year", "id"}
    assert not barred & set(features.inputs)
    assert not barred & {column for used in features.reads.values() for column in used}
    assert 10 <= len(features.names) <= 20
    assert all(definition.description and definition.entity == "person" for definition in features.definitions)

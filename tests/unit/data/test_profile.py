"""Profiles agree with numpy; a diff names what changed and nothing else."""

from __future__ import annotations

import json

import duckdb
import msgspec
import numpy as np
import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.data.online.duck import register
from mlops_tui.data.profile import BINS, Profile, diff, profile


@pytest.fixture
def numbers():
    rng = np.random.default_rng(3)
    x = rng.gamma(2, 3, 4_000)
    x[:40] = np.nan
    word = rng.choice(["a", "b", "c"], 4_000, p=[0.5, 0.3, 0.2]).astype(object)
    word[100:150] = None
    return {"x": x, "word": word, "n": rng.integers(0, 5, 4_000), "odd": np.where(np.arange(4_000) < 3, np.inf, 1.0)}


def write(path, columns):
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT * FROM {register(con, 't', columns)}) TO '{path}' (FORMAT parquet)")
    return path


def test_figures_are_those_of_numpy(tmp_path, numbers):
    found = profile(write(tmp_path / "a.parquet", numbers))
    x, word, n, odd = found.columns
    known = numbers["x"][40:]
    assert (found.rows, found.exact, x.n, x.nulls, x.distinct) == (4_000, True, 4_000, 40, len(np.unique(known)))
    assert x.mean == pytest.approx(known.mean())
    assert x.std == pytest.approx(known.std(ddof=1))
    assert list(x.quantiles.values()) == pytest.approx(np.quantile(known, [float(q) for q in x.quantiles]))
    counts, edges = np.histogram(known, BINS)
    assert x.edges == pytest.approx(edges)
    assert x.counts == counts.tolist()
    assert x.top == []
    values, times = np.unique([w for w in numbers["word"] if w], return_counts=True)
    assert sorted(word.top) == sorted(zip(values.tolist(), times.tolist(), strict=True))
    assert (word.nulls, word.min, word.max, word.mean) == (50, "a", "c", None)
    assert dict(n.top) == {
        str(v): t for v, t in zip(*map(list, np.unique(numbers["n"], return_counts=True)), strict=True)
    }
    assert (odd.nonfinite, odd.nulls, odd.min, odd.max, odd.mean, odd.std) == (3, 0, 1.0, 1.0, 1.0, 0.0)
    assert sum(odd.counts) == 3_997


def test_a_profile_is_plain_json_and_comes_back(tmp_path, numbers):
    found = profile(write(tmp_path / "a.parquet", numbers))
    text = msgspec.json.encode(found)
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert msgspec.json.decode(text, type=Profile) == found


def test_the_same_file_gives_the_same_profile_and_no_diff(tmp_path, numbers):
    path = write(tmp_path / "a.parquet", numbers)
    assert profile(path) == profile(path)
    assert diff(profile(path), profile(path)) == []


def test_csv_and_parquet_of_the_same_rows_have_the_same_profile(tmp_path):
    rows = {"a": np.arange(50.0) / 4, "w": np.array([str(i % 3) + "x" for i in range(50)])}
    path = write(tmp_path / "a.parquet", rows)
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT a, CAST(w AS VARCHAR) AS w FROM '{path}') TO '{tmp_path}/a.csv' (HEADER)")
    a, b = profile(path), profile(tmp_path / "a.csv")
    assert a.columns[0] == b.columns[0]
    assert a.columns[1].top == b.columns[1].top


def test_a_column_of_nulls_and_one_of_infinities(tmp_path):
    empty = profile(write(tmp_path / "a.parquet", {"x": np.full(3, np.nan), "y": np.full(3, np.inf)}))
    assert [(c.nulls, c.nonfinite, c.mean, c.counts) for c in empty.columns] == [(3, 0, None, []), (0, 3, None, [])]


def test_a_diff_names_schema_and_statistics(tmp_path, numbers):
    base = profile(write(tmp_path / "a.parquet", numbers))
    word = numbers["word"].copy()
    word[200:1_000] = "d"
    other = {"x": numbers["x"] + 2, "word": word, "n": numbers["n"].astype(float), "new": numbers["n"]}
    found = diff(base, profile(write(tmp_path / "b.parquet", {k: v[:3_000] for k, v in other.items()})))
    assert [(c.column, c.kind) for c in found[:4]] == [
        ("", "rows"),
        ("odd", "removed"),
        ("new", "added"),
        ("n", "type"),
    ]
    rest = {(c.column, c.kind): c for c in found[4:]}
    assert rest["x", "shift"].size == pytest.approx(2 / base.columns[0].std, abs=0.05)
    exact = 0.5 * sum(
        abs((w == v)[:3_000].sum() / 2_950 - (b == v).sum() / 3_950)
        for v in "abcd"
        for w, b in [(word, numbers["word"])]
    )
    assert rest["word", "values"].size == pytest.approx(exact)
    assert [c.size for c in found[4:]] == sorted((c.size for c in found[4:]), reverse=True)


def test_nulls_that_appear_are_named(tmp_path):
    full, holes = np.arange(100.0), np.where(np.arange(100) < 30, np.nan, np.arange(100.0))
    found = diff(*(profile(write(tmp_path / f"{at}.parquet", {"x": v})) for at, v in enumerate((full, holes))))
    assert {c.kind for c in found} >= {"nulls", "range"}
    assert next(c for c in found if c.kind == "nulls").text == "x: nulls 0.0% → 30.0%"


def test_a_broken_file_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(BadInput, match="broken at row 2"):
        profile(path)

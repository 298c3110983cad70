"""What a data file is, and what is said about one that is none."""

from __future__ import annotations

import duckdb
import pytest
from blake3 import blake3

from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.data.online.duck import open_locked
from mlops_tui.data.schema import Column, content_hash, read_schema


def parquet(path, sql="SELECT range AS a, 'x' AS b FROM range(5)"):
    with duckdb.connect() as con:
        con.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet)")
    return path


def test_the_hash_is_of_the_bytes(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 300_000)
    assert content_hash(path) == blake3(b"x" * 300_000).hexdigest()
    path.write_bytes(b"")
    assert content_hash(path) == blake3(b"").hexdigest()
    with pytest.raises(NotFound):
        content_hash(tmp_path / "none")


def test_parquet_whatever_it_is_called(tmp_path):
    parquet(tmp_path / "its 1 b.data")  # what the name below would find as a pattern
    found = read_schema(parquet(tmp_path / "a.parquet").rename(tmp_path / "its [1] ?*.data"))
    assert found.format == "parquet"
    assert found.rows == 5
    assert found.columns == (Column("a", "BIGINT"), Column("b", "VARCHAR"))


def test_csv_types_come_from_every_cell_and_codes_stay_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        'n;x;code;when;yes;"odd ""name""";none\n1;2.5;007;2020-01-31;true;"a;\nb";\n;3;010;;false;c;\n'
        + "4;5;1;;;;\n" * 30_000
    )
    found = read_schema(path)
    assert [c.type for c in found.columns] == ["BIGINT", "DOUBLE", "VARCHAR", "DATE", "BOOLEAN", "VARCHAR", "VARCHAR"]
    assert found.columns[5].name == 'odd "name"'
    assert found.rows == 30_002


def test_tsv_and_json_lines(tmp_path):
    tsv, jsonl = tmp_path / "a.tsv", tmp_path / "a.jsonl"
    tsv.write_text("a\tb, c\n1\tx\n")
    jsonl.write_text('{"a": 1}\n{"a": 2.5, "b": "x"}\n')
    assert read_schema(tsv).columns == (Column("a", "BIGINT"), Column("b, c", "VARCHAR"))
    assert read_schema(jsonl).columns == (Column("a", "DOUBLE"), Column("b", "VARCHAR"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"a,b\n", "holds no rows"),
        ("a.csv", b"a,b\n1,2\n3,4\n5\n6,7\n", "broken at row 3 · Expected Number of Columns: 2 Found: 1"),
        ("a.csv", b'a,b\n1,"x\ny"\n1,2,3\n', "broken at row 2"),
        ("a.csv", b'a,b\n1,2\n3,"4\n', "broken at row 2"),
        ("a.csv", b"a,b\n1,\xe9\n", "broken at row 1 · Invalid unicode"),
        ("a.csv", b"a,a\n1,2\n", "two columns named a"),
        ("a.csv", b"a,,c\n1,2,3\n", "no name for column 2"),
        ("a.csv", b"a,b\n1,\x00\n", "not a text file"),
        ("a.parquet", b"a,b\n1,2\n", "is not a Parquet file"),
        ("a.parquet", b"PAR1 and then nothing", "cannot be read"),
        ("a.jsonl", b'{"a":1}\n{"a":2\n{"a":3}\n', "broken at row 2"),
        ("a.jsonl", b'{"a":1}\n[2]\n', "broken at row 2"),
        ("a.pkl", b"\x80\x04K\x01.", "is not a data file"),
    ],
)
def test_what_is_no_data_file_is_refused_with_the_place(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput) as raised:
        read_schema(path)
    assert said in str(raised.value)


def test_no_file_a_folder_and_parquet_without_rows(tmp_path):
    with pytest.raises(NotFound):
        read_schema(tmp_path / "none.csv")
    with pytest.raises(BadInput, match="is not a file"):
        read_schema(tmp_path)
    with pytest.raises(BadInput, match="holds no rows"):
        read_schema(parquet(tmp_path / "a.parquet", "SELECT 1 AS a WHERE false"))


def test_the_engine_reaches_only_the_files_it_was_given(tmp_path):
    mine, other = parquet(tmp_path / "a.parquet"), parquet(tmp_path / "b.parquet")
    con = open_locked([mine])
    assert con.execute(f"SELECT count(*) FROM read_parquet('{mine}')").fetchone() == (5,)
    for sql in (
        f"FROM read_parquet('{other}')",
        f"COPY (SELECT 1) TO '{tmp_path}/c.csv'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "ATTACH 'x.db'",
    ):
        with pytest.raises(duckdb.Error):
            con.execute(sql)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]

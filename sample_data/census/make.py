"""How the files of this folder were made; run it to make them again, byte for byte.

    pip download --no-deps nannyml==0.13.1
    python make.py nannyml-0.13.1-py3-none-any.whl

Needs duckdb 1.5.5 only. The wheel is opened as a zip file; nothing of it is installed or run.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import zipfile
from pathlib import Path

import duckdb

WHEEL_SHA256 = "cf5f4a33489834ae6773cb1baa33a0f98c0a3ee6ed9b43049478b25ce22fe869"
INSIDE = "nannyml/datasets/data/employment_MA_{}.pq"
SEED = "mlops_tui census 1"
ROWS = {2015: 30_000, 2016: 30_000, 2017: 12_000, 2018: 40_000}
LABELLED = 2015
# the Census Bureau counts people of 16 and over as of working age; all younger ones are "not employed" by definition
PEOPLE = "AGEP >= 16"
# outputs of the wheel authors' own model: not Census data
NOT_CENSUS = "prediction, predicted_probability"
FORMAT = "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 19)"


def main(wheel: Path, folder: Path) -> None:
    """Write every file of the folder from the wheel."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise SystemExit(f"{wheel} is not nannyml 0.13.1 (sha256 {found})")
    con = duckdb.connect(config={"threads": 1})
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(wheel) as archive:
            for part in ("reference", "analysis", "analysis_target"):
                (Path(scratch) / part).write_bytes(archive.read(INSIDE.format(part)))
        load(con, Path(scratch))
    for year, rows in ROWS.items():
        keep(con, folder, year, rows)
    broken(con, folder)


def load(con: duckdb.DuckDBPyConnection, scratch: Path) -> None:
    """Read the wheel's three files into the table ``person``."""
    con.execute(f"""
        CREATE TABLE person AS
        SELECT * EXCLUDE ({NOT_CENSUS}) FROM read_parquet('{scratch}/reference')
        UNION ALL BY NAME
        SELECT * EXCLUDE ({NOT_CENSUS})
        FROM read_parquet('{scratch}/analysis') AS rows
        JOIN read_parquet('{scratch}/analysis_target') AS labels USING (id)
    """)


def keep(con: duckdb.DuckDBPyConnection, folder: Path, year: int, rows: int) -> None:
    """Keep a simple random sample of a year, drawn and ordered by a hash of the id.

    The order is as good as random, so that reading a file from its beginning is like waiting for people to come.
    """
    con.execute(f"""
        CREATE OR REPLACE TABLE kept AS SELECT * FROM person WHERE year = {year} AND {PEOPLE}
        ORDER BY sha256('{SEED} ' || id) LIMIT {rows}
    """)
    labels = "" if year == LABELLED else "EXCLUDE (employed)"
    con.execute(f"COPY (SELECT * {labels} FROM kept) TO '{folder}/employment_{year}.parquet' {FORMAT}")
    if year != LABELLED:
        con.execute(f"COPY (SELECT id, employed FROM kept ORDER BY id) TO '{folder}/labels_{year}.parquet' {FORMAT}")


def broken(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write forty rows with four mistakes, as Parquet and as CSV: what must be refused."""
    con.execute(f"""
        CREATE OR REPLACE TABLE bad AS
        SELECT CASE n WHEN 31 THEN first_id ELSE id END AS id,
               CASE n WHEN 17 THEN 'forty-one' WHEN 23 THEN '212'
                      ELSE CAST(CAST(AGEP AS INTEGER) AS VARCHAR) END AS AGEP,
               CASE n WHEN 29 THEN '99' ELSE SCHL END AS SCHL,
               * EXCLUDE (id, AGEP, SCHL, n, first_id)
        FROM (SELECT *, row_number() OVER () AS n, first_value(id) OVER () AS first_id
              FROM read_parquet('{folder}/employment_{LABELLED}.parquet') LIMIT 40)
        ORDER BY n
    """)
    con.execute(f"COPY bad TO '{folder}/broken.parquet' {FORMAT}")
    con.execute(f"COPY bad TO '{folder}/broken.csv' (FORMAT csv, HEADER)")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)

"""What a batch says of each series, with the database as judge."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from mlops_tui.store.latest import summarised

JUDGE = """
SELECT sid, count(*), count(*) FILTER (NOT isfinite(v)), min(v) FILTER (isfinite(v)), max(v) FILTER (isfinite(v)),
  max(step), arg_max(ts, (step, ts)), arg_max(v, (step, ts, v))
FROM (SELECT sid, step, ts, CASE WHEN nan THEN 'NaN'::DOUBLE ELSE value END AS v FROM batch) GROUP BY sid ORDER BY sid
"""
VALUES = [0.0, 1.5, -2.0, 7e300, np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("sids", [[3], [1, 2, 9], [5, 70_000, 2_000_000_000]])
@pytest.mark.parametrize("values", [VALUES[:4], VALUES, VALUES[4:]])
def test_it_says_what_the_database_finds(sids, values):
    chance = np.random.default_rng(len(sids) * 10 + len(values))
    for size in (1, 2, 7, 60):
        sid = chance.choice(np.array(sids, np.int32), size)
        step = chance.choice(np.array([-(2**63), 0, 1, 2, 2**62], np.int64), size)
        ts, value = chance.integers(0, 3, size), chance.choice(values, size)
        nan = np.isnan(value)
        connection = duckdb.connect()
        connection.register("batch", {"sid": sid, "step": step, "ts": ts, "value": np.where(nan, 0, value), "nan": nan})
        found = zip(*(list(column) for column in summarised(sid, step, ts, value)), strict=True)
        assert repr([tuple(float(v) if v is not None else v for v in row) for row in found]) == repr(
            [tuple(float(v) if v is not None else v for v in row) for row in connection.execute(JUDGE).fetchall()]
        )

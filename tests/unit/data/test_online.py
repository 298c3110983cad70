"""Online features: one file, the newest row of each key, and refusals that say what to do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_tui.core.errors import BadInput
from mlops_tui.data.online import table
from mlops_tui.data.online.table import OnlineTable

RECORD = {"key": "id", "features": [{"name": "age", "digest": "a"}, {"name": "hours", "digest": "b"}]}


def written(path, keys, ts, matrix):
    with path.open("wb") as file:
        count = table.write(file, np.array(keys), np.array(ts), np.array(matrix, np.float32), RECORD, view="people")
    return count, OnlineTable(path)


def test_the_newest_row_of_a_key_counts_and_of_one_time_the_last(tmp_path):
    count, found = written(
        tmp_path / "t", ["b", "a", "b", "c", "c"], [5, 1, 3, 2, 2], [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]]
    )  # fmt: skip
    assert count == 3 and found.names == ("age", "hours") and found.header["view"] == "people"
    *rows, nobody = found.find(["a", "b", "c", "d"])
    assert nobody == -1
    assert found.values(rows).tolist() == [[2, 2], [1, 1], [5, 5]]
    assert [found.oldest([row]) for row in rows] == [1, 5, 2] and found.oldest(rows) == 1
    assert found.digests == {"age": "a", "hours": "b"}


def test_a_number_is_the_same_key_however_it_is_written(tmp_path):
    _, found = written(tmp_path / "t", [7, 8], [0, 0], [[1, 0], [2, 0]])
    one = found.find([7])
    assert found.find([7, "7", 7.0, b"7", np.int64(7)]) == one * 5 and found.find(["07", 7.5]) == [-1, -1]


@given(st.dictionaries(st.text(max_size=8), st.floats(width=32), min_size=1, max_size=50))
def test_every_key_is_found_with_its_own_values(entities):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        keys = np.array(list(entities), object)
        _, found = written(Path(folder) / "t", keys, [0] * len(keys), [[v, -v] for v in entities.values()])
        rows = found.find(list(entities))
        wanted = np.array(list(entities.values()), np.float32)
        np.testing.assert_array_equal(found.values(rows)[:, 0], wanted)
        assert found._find_many(list(entities)) == rows


def test_what_is_no_table_or_not_whole_is_refused(tmp_path):
    path = tmp_path / "t"
    with pytest.raises(BadInput, match="no row to materialise"):
        written(path, [], [], np.zeros((0, 2)))
    written(path, ["a"], [0], [[1, 2]])
    data = path.read_bytes()
    for bad in (b"", data[:20], data[:-4], b"x" * len(data), data[:12] + b"[" + data[13:]):
        path.write_bytes(bad)
        with pytest.raises(BadInput, match="cannot be read"):
            OnlineTable(path)

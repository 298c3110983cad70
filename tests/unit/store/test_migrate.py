"""A store comes up to the schema of the program: a new one at once, an old one step by step, after a copy of it."""

from __future__ import annotations

import pytest

from mlops_tui.core.errors import MlopsError
from mlops_tui.store import migrate
from mlops_tui.store.store import Store

STEPS = migrate.shipped()


@pytest.fixture
def at(tmp_path, monkeypatch):
    """A function that opens the store with a program that ships these steps."""
    opened = []

    def open_(steps):
        monkeypatch.setattr(migrate, "shipped", lambda: steps)
        opened.append(Store(tmp_path / "store", None))
        return opened[-1]

    yield open_
    for store in opened:
        if store._writer.is_alive():
            store.close()


def schema(store):
    with store.read() as session:
        return session.rows("SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal")


def test_an_old_store_has_the_schema_of_a_new_one_its_rows_and_a_copy_of_before(at, tmp_path):
    old = at(STEPS[:5])
    old.write(lambda s: s.insert("tag", object="o", key="k", value="v", ts_us=1))
    old.close()
    assert not (tmp_path / "store" / "before-migration.duckdb").exists()
    new = at(STEPS)
    assert new.schema == STEPS[-1].no
    with new.read() as session:
        assert session.value("SELECT value FROM tag") == "v"
        assert session.column("SELECT no FROM migration ORDER BY no") == [step.no for step in STEPS]
    stepwise = schema(new)
    new.close()
    (tmp_path / "store" / "mlops.duckdb").unlink()
    at_once = at(STEPS)
    assert sorted(schema(at_once)) == sorted(stepwise)
    at_once.close()
    copy = tmp_path / "store" / "before-migration.duckdb"
    copy.rename(tmp_path / "store" / "mlops.duckdb")
    assert at(STEPS[:5]).schema == STEPS[4].no


def test_of_a_new_store_whose_making_fails_nothing_remains(at):
    broken = STEPS[3]._replace(sql=STEPS[3].sql + "; CREATE TABLE tag (x INTEGER)")
    with pytest.raises(MlopsError, match=f"migration {broken.name} failed"):
        at([*STEPS[:3], broken, *STEPS[4:]])
    mended = [STEPS[0]._replace(sql=STEPS[0].sql + "\n"), *STEPS[1:]]  # what had been applied would be refused
    assert at(mended).schema == STEPS[-1].no


def test_of_an_old_store_the_steps_before_a_failure_stay(at):
    at(STEPS[:2]).close()
    broken = STEPS[3]._replace(sql="SELECT nonsense")
    with pytest.raises(MlopsError, match=f"migration {broken.name} failed"):
        at([*STEPS[:3], broken])
    assert at(STEPS[:3]).schema == STEPS[2].no


def test_a_step_that_was_edited_is_refused(at):
    at(STEPS[:2]).close()
    with pytest.raises(MlopsError, match="differs from the one that made this store"):
        at([STEPS[0], STEPS[1]._replace(sql="SELECT 1")])

"""Hot columns: whatever is written, they answer as the store itself does."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from mlops_tui.store.search import compile_order, compile_query, parse, parse_order, sheets
from mlops_tui.store.search.hot import Source
from mlops_tui.store.series import SeriesBook
from mlops_tui.store.store import Store
from mlops_tui.store.tags import change_tags
from mlops_tui.tracking.search.keys import RUN

FACTS = dict.fromkeys(("kind", "host", "boot", "actor", "command", "git_sha", "git_branch", "error", "note"), "")
FILTERS = ["metrics.m0 > 0.5", "min(metrics.m1) <= 0.3 OR params.p0 = '3'", "params.p1 > 2 AND NOT metrics.m0 > 0.5",
           "tags.t0 LIKE '1%'", "params.p0 IS NULL", "metrics.m0 != 0.25", "count(metrics.m1) > 2"]  # fmt: skip


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr("mlops_tui.store.search.hot.AGAIN_S", -1.0)
    made = Store(tmp_path / "store", None)
    made.book = SeriesBook()
    made.settled = made.book.settled
    made.hot.few = 0
    made.hot._sized = math.inf  # sizes are not looked up: whatever there is is kept
    yield made
    made.close()


def found(session, text, order=("metrics.m0 DESC", "params.p0")):
    where, values = compile_query(parse(text, "mlflow"), RUN, session)
    by = compile_order(parse_order(list(order), "mlflow"), RUN, ["r.id"], session)
    return session.column(f"SELECT r.id FROM run r {by.joins} WHERE {where} ORDER BY {by.by}", [*by.params, *values])


def both(store, text):
    with store.read(60) as session:
        first = found(session, text)  # the store answers, or a table that is there
    store.hot.settle()
    with store.read(60) as session:
        hot = found(session, text)
        assert "hot.c" in compile_query(parse(text, "mlflow"), RUN, session).sql
    with store.read(60) as session:
        session.hot = None
        cold = found(session, text)
    assert first == hot == cold, text
    return hot


def put_run(session, number):
    at = {"started_us": number, "experiment_id": "e", "tenant": "default", "status": "done"}
    session.insert("run", id=f"r{number:03d}", name=f"n{number}", **at, **FACTS)


def put_metric(store, session, run, key, step, value):
    which = np.zeros(1, dtype=np.int64)
    store.book.append_coded(session, "run", run, [key], which, [step], [step], [value])


def put_param(session, run, key, value):
    session.insert_columns("param", {"run": [run], "key": [key], "value": [value], "num": [float(value)]})


def test_they_answer_as_the_store_does_whatever_is_written(store):
    rng, runs, params = random.Random(3), [], set()

    def write(session):
        for _ in range(rng.choice([1, 3, 12])):
            if not runs or rng.random() < 0.2:
                put_run(session, len(runs))
                runs.append(f"r{len(runs):03d}")
            run, key, value = rng.choice(runs), rng.randrange(2), rng.choice([0.1, 0.25, 0.6, math.nan, 3.0])
            match rng.randrange(6):
                case 0 | 1:
                    put_metric(store, session, run, f"m{key}", rng.randrange(9), value)
                case 2:
                    if (run, key) not in params:
                        put_param(session, run, f"p{key}", str(rng.randrange(5)))
                        params.add((run, key))
                case 3 | 4:
                    change_tags(session, run, {f"t{key}": str(rng.randrange(20))}, [f"t{1 - key}"], 1)
                case _:
                    table, gone = rng.choice(
                        [
                            ("param", "DELETE FROM param WHERE run = ?"),
                            ("series", "UPDATE series SET last = 0.7 WHERE owner = ?"),
                        ]
                    )
                    session.change(table, rng.choice([[run], None]), gone, [run])
                    params.difference_update({(run, 0), (run, 1)} if table == "param" else ())

    answers = set()
    for _ in range(60):
        store.write(write)
        answers.add(tuple(both(store, rng.choice(FILTERS))))
    assert len(answers) > 15


def test_what_is_rolled_back_is_in_no_column(store):
    store.write(lambda session: (put_run(session, 1), put_metric(store, session, "r001", "m0", 1, 1.0)))
    assert both(store, "metrics.m0 > 0.5") == ["r001"]

    def fails(session):
        put_metric(store, session, "r001", "m0", 2, 0.0)
        raise KeyError

    with pytest.raises(KeyError):
        store.write(fails)
    assert both(store, "metrics.m0 > 0.5") == ["r001"]
    store.write(lambda session: put_metric(store, session, "r001", "m0", 3, 0.0))
    assert both(store, "metrics.m0 > 0.5") == []


def test_a_transaction_that_has_asked_one_sees_no_newer_one(store):
    store.write(lambda session: (put_run(session, 1), put_metric(store, session, "r001", "m0", 1, 1.0)))
    store.write(lambda session: put_metric(store, session, "r001", "m1", 1, 1.0))
    both(store, "metrics.m0 > 0.5")
    with store.read(60) as session:
        assert found(session, "metrics.m0 > 0.5", []) == ["r001"]
        compile_query(parse("metrics.m1 > 0.5", "mlflow"), RUN, session)
        store.hot.settle()
        late = compile_query(parse("metrics.m1 > 0.5", "mlflow"), RUN, session)
        assert "hot" not in late.sql
        assert session.column(f"SELECT id FROM run r WHERE {late.sql}", late.params) == ["r001"]
        again = compile_query(parse("metrics.m0 > 0.5", "mlflow"), RUN, session)
        assert "hot" in again.sql
    both(store, "metrics.m1 > 0.5")


def test_many_changes_at_once_make_a_column_anew(store, monkeypatch):
    monkeypatch.setattr("mlops_tui.store.search.hot.AT_ONCE", 2)
    monkeypatch.setattr("mlops_tui.store.search.hot.KEPT_S", -1.0)

    def write(session):
        for number in range(5):
            put_run(session, number)
            put_param(session, f"r{number:03d}", "p0", str(number))

    store.write(write)
    assert len(both(store, "params.p0 > 2")) == 2
    store.write(lambda s: [put_param(s, f"r{n:03d}", "p1", str(n)) for n in range(5)])
    store.write(lambda s: s.change("param", None, "UPDATE param SET num = 9 WHERE key = 'p0'"))
    assert len(both(store, "params.p0 > 2")) == 5
    kept = store.write(lambda s: s.value("SELECT count(*) FROM duckdb_tables() WHERE database_name = 'hot'"))
    assert kept == 2  # p0 and the metric of the order; what was replaced is gone


def test_what_is_kept_fits_into_the_memory_there_is(store):
    def write(session):
        for number in range(40):
            put_run(session, number)
            for key in range(6):
                session.insert("tag", object=f"r{number:03d}", key=f"t{key}", value="1", ts_us=1)

    store.write(write)
    store.hot.memory_mb = 100 / 10_000  # a hundred rows
    for key in range(6):
        assert len(both(store, f"tags.t{key} = '1'")) == 40
        assert sum(one.rows for one in store.hot._kept.values()) <= 100
    store.hot._sizes = {"tag": 10**6}
    with store.read(60) as session:
        assert "hot" not in compile_query(parse("tags.t0 = '1'", "mlflow"), RUN, session).sql


def test_few_rows_are_asked_themselves(tmp_path):
    store = Store(tmp_path / "few", None)
    with store.read() as session:
        assert "hot" not in compile_query(parse("params.p0 > 2", "mlflow"), RUN, session).sql
    store.close()


def prepared(store):
    """Have the sheets made, and everything else that was asked for."""
    with store.read(60) as session:
        sheets.prepare(session)
    store.hot.settle()


def shown(session, runs):
    return sheets.params_of(session, runs), sheets.tags_of(session, runs), sheets.metrics_of(session, runs)


def test_sheets_show_what_the_tables_have(store):
    odd = {"a": "", "b": "x\ny\t", "c": "\x1f in", "d": "né"}

    def write(session):
        for number in range(4):
            put_run(session, number)
            run, mine = f"r{number:03d}", {} if number == 3 else {k: v for k, v in odd.items() if k != "c" or number}
            change_tags(session, run, mine, [], 1)
            for key, value in mine.items():
                session.insert("param", run=run, key=key, value=value, num=None)
            for step, value in enumerate([0.1 + 0.2, math.nan, -math.inf, 1e-310][: number + 1]):
                put_metric(store, session, run, f"m {step}", step, value)

    store.write(write)
    runs = ["r002", "r000", "r003", "gone"]
    for _ in range(2):
        prepared(store)
        with store.read(60) as session:
            sheets.prepare(session)
            found(session, "metrics.m0 > 0.5", [])
            hot = shown(session, runs)
            assert all(session.hot.sheets(session, table, runs) is not None for table in ("param", "tag", "series"))
            session.hot = None
            assert repr(hot) == repr(shown(session, runs))
        assert dict(hot[0]["r002"]) == odd and "c" not in dict(hot[1]["r000"]) and hot[0]["gone"] == []
        assert hot[2]["r002"][0].last == 0.1 + 0.2 and math.isnan(hot[2]["r002"][1].last)
        assert hot[2]["r003"][3].last == 1e-310 and hot[2]["r003"][2].last == -math.inf
        odd["a"] = "changed"
        store.write(lambda s: s.change("param", None, "UPDATE param SET value = 'changed' WHERE key = 'a'"))


def test_what_was_written_before_a_transaction_is_in_its_sheets_or_read_from_the_table(store):
    store.write(lambda session: (put_run(session, 1), put_metric(store, session, "r001", "m0", 1, 1.0)))
    both(store, "metrics.m0 > 0.5")
    prepared(store)
    store.write(lambda session: put_metric(store, session, "r001", "m0", 2, 2.0))
    with store.read(60) as session:
        # It is not prepared: the sheet is old, and cannot be mended any more.
        assert found(session, "metrics.m0 > 1.5", []) == ["r001"]
        assert session.hot.sheets(session, "series", ["r001"]) is None
        assert [one.last for one in sheets.metrics_of(session, ["r001"])["r001"]] == [2.0]


def test_a_sheet_is_mended_for_those_whose_rows_changed(store):
    def put(key):
        store.write(lambda session: session.insert("param", run="r001", key=key, value="1", num=1))

    put("a")
    prepared(store)
    made = store.hot.stamp
    put("b")
    with store.read(60) as session:
        sheets.prepare(session)
        assert session.hot.sheets(session, "param", ["r001"]) is not None
        assert sheets.params_of(session, ["r001"])["r001"] == [("a", "1"), ("b", "1")]
    assert store.hot.stamp == made


def test_what_cannot_be_made_is_asked_of_the_store(store, caplog):
    store.write(lambda session: session.insert("param", run="r001", key="a", value="1", num=1))
    with store.read(60) as session:
        session.execute("SELECT 1")
        assert (
            store.hot.fresh(Source("param", ("x",), "run", "SELECT no_such_column AS h FROM store.param"), None) is None
        )
    store.hot.settle()
    assert "nothing hot of param x" in caplog.text
    prepared(store)
    with store.read(60) as session:
        assert sheets.params_of(session, ["r001"])["r001"] == [("a", "1")]

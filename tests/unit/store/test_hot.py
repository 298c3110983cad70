"""Hot rows and sheets: whatever is written, they answer as the store itself does."""

from __future__ import annotations

import math
import random
import threading

import numpy as np
import pytest

from mlops_tui.contracts.listing import List, OpenView
from mlops_tui.store.listing import LISTINGS, Views
from mlops_tui.store.search import compile_order, compile_query, parse, parse_order, rows, sheets
from mlops_tui.store.search.source import SHEETS, Source
from mlops_tui.store.series import SeriesBook
from mlops_tui.store.store import Store
from mlops_tui.store.tags import change_tags
from mlops_tui.tracking import operations  # noqa: F401
from mlops_tui.tracking.search.keys import RUN

FACTS = dict.fromkeys(("kind", "host", "boot", "actor", "command", "git_sha", "git_branch", "error", "note"), "")
ODD = {"started_us": 10**15, "experiment_id": "e1", "tenant": "default"}
TIES = ("epoch_us(r.started) DESC", "r.id")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr("mlops_tui.store.search.hot.AGAIN_S", -1.0)
    made = Store(tmp_path / "store", None)
    made.book = SeriesBook()
    made.settled = made.book.settled
    made.hot.few = 0
    made.write(put_experiments)
    made.hot._sized = math.inf  # sizes are not looked up: whatever there is is kept
    yield made
    made.close()


def found(session, text, order=("metrics.m0 DESC", "params.p0"), size=1000):
    """Return the pages of a search, and whether hot rows were asked."""
    query, clauses = parse(text, "mlflow"), parse_order(list(order), "mlflow")
    ids, token, said = [], "", ""
    while True:

        def question(wrap, source, token=token):
            condition, by = compile_query(query, wrap(RUN)), compile_order(clauses, wrap(RUN), TIES)
            past, places = by.after(by.keyset(token)) if token else ("true", [])
            where = f"r.deleted IS NULL AND e.number IN (1, 2) AND ({condition.sql}) AND ({past})"
            return by.first("r.id", source, where, size + 1), [*by.params, *condition.params, *places]

        said, params = rows.asked(session, rows.SOURCE, question)
        page = rows.texts(session.rows(said, params))
        ids += [row[0] for row in page[:size]]
        if len(page) <= size:
            return ids, "hot.c" in said
        token = compile_order(clauses, RUN, TIES).token(page[size - 1][2:])


def listed(session, text, order, size=1000):
    """Return the same of the list, as people type it."""
    ids, token = LISTINGS["run"].after(session, "default", text, order, size)
    while token:
        more, token = LISTINGS["run"].after(session, "default", text, order, size, token)
        ids += more
    return ids


def both(store, text, order=("metrics.m0 DESC", "params.p0"), size=1000):
    """Return what a search finds, whoever answers."""
    store.hot._begun.clear()
    with store.read(60) as session:
        first, _ = found(session, text, order, size)
    store.hot.settle()
    with store.read(60) as session:
        hot, was = found(session, text, order, size)
        assert was
    with store.read(60) as session:
        session.hot = None
        cold, was = found(session, text, order, size)
        assert not was
    assert first == hot == cold, (text, order)
    return hot


def name_of(number):
    return f"0193a000-{number % 7:04x}-7000-8000-{number:012x}"


R0, R1, R2, R3 = map(name_of, range(4))


def put_run(session, number):
    at = {"started_us": 10**15 + number // 3 * 10**6, "experiment_id": f"e{1 + number % 3}", "tenant": "default"}
    ended = 10**15 + number * 10**7 if number % 4 else None
    status = ["done", "running", "failed"][number % 3]
    session.insert("run", id=name_of(number), name=f"n{number % 11}", status=status, ended_us=ended, **at, **FACTS)


def put_experiments(session):
    for number in (1, 2, 3):
        session.insert("experiment", id=f"e{number}", tenant="default", name=f"x{number}", number=number, created_us=1)


def put_metric(store, session, run, key, step, value):
    which = np.zeros(1, dtype=np.int64)
    store.book.append_coded(session, "run", run, [key], which, [step], [step], [value])


def put_param(session, run, key, value):
    number = float(value) if value != "x" else None
    session.insert_columns("param", {"run": [run], "key": [key], "value": [value], "num": [number]})


def some_filter(rng, depth=2):
    """Return a random filter in MLflow's language."""
    if depth and rng.random() < 0.6:
        left, right = (some_filter(rng, depth - 1) for _ in range(2))
        return rng.choice([f"{left} AND {right}", f"({left} OR {right})", f"NOT ({left})"])
    metric = rng.choice(["metrics.m0", "metrics.M0", "min(metrics.m1)", "max(metrics.m0)", "count(metrics.m1)"])
    text = rng.choice(["params.p0", "params.p1", "tags.t0", "tags.`t 1`"])
    op, digit, at = rng.choice(["=", "!=", "<", "<=", ">", ">="]), rng.randrange(9), 10**12 + rng.randrange(12) * 10**3
    return rng.choice([
        f"{metric} {op} {rng.choice([0.1, 0.25, 0.6, 3, 2])}", f"{metric} BETWEEN 0.2 AND 0.7", f"{text} {op} {digit}",
        f"{text} = '{digit}'", f"{text} LIKE '1%'", f"{text} ILIKE '%{digit}'", f"{text} IN ('1', '2')",
        f"{rng.choice(['params.p0', 'tags.t0'])} IS {rng.choice(['NULL', 'NOT NULL'])}", f"run_id LIKE '%{digit}'",
        f"attributes.status {rng.choice(['=', '!='])} 'FINISHED'", f"run_name LIKE 'n{digit}%'", f"end_time > {at}",
        f"attributes.start_time {op} {at}", f"run_id IN ('{R1}', '{R2}')", "dataset.name = 'd1'",
        "tags.`mlflow.runName` = 'n3'",
    ])  # fmt: skip


def some_list(rng, depth=2):
    """Return a random filter as people type it."""
    if depth and rng.random() < 0.6:
        left, right = (some_list(rng, depth - 1) for _ in range(2))
        return rng.choice([f"{left} {right}", f"({left} or {right})", f"not ({left})"])
    return rng.choice([
        "status:done,failed", f"m0>{rng.random():.2f}", "m0.min:0.1..0.6", "M0<=0.25", "m1 is null", "not m0<0.5",
        "p0:1..3", "p1!=2", "params.p0 is not null", "tags.t0~^1", "t0~[2-5]$", "name~n[1-3]", "x2", "n1", "data:d1",
        "started>2001-09-09", "started<=2001-09-09T01:46:45", "ended:2001-09-09", "duration>10s", "git is null",
        "id~1$", "deleted:yes", "experiment:x1", "metrics.m0 is null", "m0=0.6",
    ])  # fmt: skip


ORDERS = ["metrics.m0", "min(metrics.m1)", "params.p0", "params.p1", "tags.t0", "start_time", "end_time", "run_name",
          "status", "metrics.M0", "count(metrics.m1)"]  # fmt: skip
SORTS = ["-m0", "m0", "p0", "-p1", "-started", "started", "name,-m1", "status,p0", "-duration", "experiment", "id", ""]


def writer(store, rng):
    """Return what writes something of some kind, and says whose rows it touches, or that they may be anybody's."""
    runs, params, deleted = [], set(), set()

    def sometimes(run):
        return rng.choice([[run], [run], None])

    def one(session, run, key, value):
        match rng.randrange(10):
            case 0 | 1:
                put_metric(store, session, run, f"{rng.choice('mmM')}{key}", rng.randrange(9), value)
            case 2 if (run, key) not in params:
                put_param(session, run, f"p{key}", rng.choice(["1", "2", "3.5", "x", "10", "nan"]))
                params.add((run, key))
            case 3:
                change_tags(session, run, {f"t{key}": str(rng.randrange(20)), "t 1": "1"}, [f"t{1 - key}"], 1)
            case 4:
                session.change("param", sometimes(run), "DELETE FROM param WHERE run = ?", [run])
                params.difference_update({(run, 0), (run, 1)})
            case 5:
                what = rng.choice(["last = 'nan'", "last = '-inf'", "last = 0.6, low = NULL, high = NULL"])
                session.change("series", sometimes(run), f"UPDATE series SET {what} WHERE owner = ?", [run])
            case 6:
                when = "NULL" if run in deleted else "make_timestamp(9)"
                session.change("run", [run], f"UPDATE run SET deleted = {when} WHERE id = ?", [run])
                deleted.symmetric_difference_update({run})
            case 7:
                what = ["name = 'n3'", "status = 'done'", "ended = NULL", f"started = make_timestamp({10**15})"]
                session.change("run", sometimes(run), f"UPDATE run SET {rng.choice(what)} WHERE id = ?", [run])
            case 8:
                session.insert("run_data", run=run, name=f"d{key}", digest="1", context="", ts_us=1)
            case 9:
                session.change("experiment", ["e2"], "UPDATE experiment SET name = ? WHERE id = 'e2'", [f"x{1 + key}"])

    def write(session):
        for _ in range(rng.choice([1, 3, 12])):
            if not runs or rng.random() < 0.2:
                put_run(session, len(runs))
                runs.append(name_of(len(runs)))
            one(session, rng.choice(runs), rng.randrange(2), rng.choice([0.1, 0.25, 0.6, math.nan, math.inf, 3.0]))

    return write


def test_searches_answer_as_the_store_does_whatever_is_written(store):
    rng, answers = random.Random(3), set()
    write = writer(store, rng)
    for _ in range(35):
        store.write(write)
        order = [key + rng.choice(["", " DESC"]) for key in rng.sample(ORDERS, rng.randrange(3))]
        answers.add(tuple(both(store, some_filter(rng), order, rng.choice([1000, 7, 20]))))
    assert len(answers) > 12


def test_lists_answer_as_the_store_does_whatever_is_written(store):
    def begin(session):
        put_run(session, 7001)
        for n in range(2):
            put_metric(store, session, name_of(7001), f"m{n}", 1, 0.5)
            put_param(session, name_of(7001), f"p{n}", "1")
        put_metric(store, session, name_of(7001), "M0", 1, 0.5)
        change_tags(session, name_of(7001), {"t0": "1"}, [], 1)

    rng, hot, answers, views = random.Random(4), 0, set(), Views()
    store.write(begin)  # a list knows no key that no run has
    write = writer(store, rng)
    for _ in range(30):
        store.write(write)
        text, sort, size, told = some_list(rng), rng.choice(SORTS), rng.choice([1000, 9]), []
        for cold in (False, False, True):
            store.hot._begun.clear()
            with store.read(60) as session:
                session.hot = None if cold else session.hot
                page = LISTINGS["run"].select(session, "default", List(filter=text, sort=sort, limit=5, offset=2))
                view = views.open(session, "default", OpenView(noun="run", filter=text, sort=sort))
                held = views.page(session, view.view, 1, 9)
                ids = LISTINGS["run"].ids(session, "default", text, sort).tolist()
                shown = [[*row[:8], *row[9:]] for row in (*page.rows, *held.rows)]  # not how long it has been running
                told.append((listed(session, text, sort, size), ids, shown, page.total, view.total))
                hot += bool(session.hot and session.hot._seen is not None)
            store.hot.settle()
        assert told[0] == told[1] == told[2], (text, sort)
        answers.add(str(told[0]))
    assert len(answers) > 15 and hot > 25


def test_what_is_acknowledged_is_found_while_many_ask(store):
    """Each answer is one that the store gave between its question's beginning and its end."""
    store.write(lambda session: [put_run(session, number) for number in range(21) if number % 3 < 2])
    both(store, "metrics.m0 > 0.5", ["metrics.m0 DESC"])
    acknowledged, wrong, hot, writes = [0], [], [0], 40

    def run_of(step):
        return name_of(step % 7 * 3)

    def write():
        for step in range(1, writes + 1):
            put = {"run": run_of(step), "key": "m0", "step": step, "value": 1.0 + step}
            store.write(lambda session, put=put: put_metric(store, session, **put))
            acknowledged[0] = step

    def ask():
        while acknowledged[0] < writes:
            before = acknowledged[0]
            with store.read(60) as session:
                ids, was = found(session, "metrics.m0 > 0.5", ["metrics.m0 DESC"])
            after, hot[0] = acknowledged[0] + 1, hot[0] + was
            if before and not any(run_of(step) == ids[0] for step in range(before, after + 1)):
                wrong.append((before, after, ids))

    threads = [threading.Thread(target=work) for work in (write, ask, ask)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and acknowledged[0] == writes and hot[0]


def test_what_is_rolled_back_is_in_no_column(store):
    store.write(lambda session: (put_run(session, 1), put_metric(store, session, R1, "m0", 1, 1.0)))
    assert both(store, "metrics.m0 > 0.5") == [R1]

    def fails(session):
        put_metric(store, session, R1, "m0", 2, 0.0)
        raise KeyError

    with pytest.raises(KeyError):
        store.write(fails)
    assert both(store, "metrics.m0 > 0.5") == [R1]
    store.write(lambda session: put_metric(store, session, R1, "m0", 3, 0.0))
    assert both(store, "metrics.m0 > 0.5") == []


def test_a_transaction_that_has_asked_one_sees_no_newer_one(store):
    store.write(lambda session: (put_run(session, 1), put_metric(store, session, R1, "m0", 1, 1.0)))
    store.write(lambda session: put_metric(store, session, R1, "m1", 1, 1.0))
    both(store, "metrics.m0 > 0.5", [])
    with store.read(60) as session:
        assert found(session, "metrics.m0 > 0.5", []) == ([R1], True)
        store.hot._begun.clear()
        assert found(session, "metrics.m1 > 0.5", []) == ([R1], False)
        store.hot.settle()
        assert found(session, "metrics.m1 > 0.5", []) == ([R1], False)
    both(store, "metrics.m1 > 0.5")


def test_a_transaction_that_may_have_read_the_store_is_told_of_no_newer_run(store):
    store.write(lambda session: (put_run(session, 1), put_metric(store, session, R1, "m0", 1, 1.0)))
    both(store, "metrics.m0 > 0.5", [])
    with store.read(60) as session:
        assert session.value("SELECT count(*) FROM run") == 1
        store.write(lambda later: (put_run(later, 3), put_metric(store, later, R3, "m0", 1, 1.0)))
        assert found(session, "metrics.m0 > 0.5", []) == ([R1], False)
    assert both(store, "metrics.m0 > 0.5", []) == [R3, R1]


def test_many_changes_at_once_make_them_anew(store, monkeypatch):
    monkeypatch.setattr("mlops_tui.store.search.hot.AT_ONCE", 2)
    monkeypatch.setattr("mlops_tui.store.search.hot.KEPT_S", -1.0)

    def write(session):
        for number in (0, 1, 3, 4, 6):
            put_run(session, number)
            put_param(session, name_of(number), "p0", str(number))

    store.write(write)
    assert len(both(store, "params.p0 > 2", [])) == 3
    store.write(lambda s: [put_param(s, name_of(n), "p1", str(n)) for n in (0, 1, 3, 4, 6)])
    store.write(lambda s: s.change("param", None, "UPDATE param SET num = 9 WHERE key = 'p0'"))
    assert len(both(store, "params.p0 > 2", [])) == 5
    kept = store.write(lambda s: s.value("SELECT count(*) FROM duckdb_tables() WHERE database_name = 'hot'"))
    assert kept == 1  # what was replaced is gone


def test_of_ids_that_are_no_uuids_nothing_is_made(store, caplog):
    store.write(lambda session: (put_run(session, 1), put_metric(store, session, R1, "m0", 1, 1.0)))
    text = "metrics.m0 > 0.5 OR run_name = 'odd'"
    both(store, text)
    store.write(lambda session: session.insert("run", id="odd", name="odd", status="done", **ODD, **FACTS))
    for _ in range(2):
        with store.read(60) as session:
            assert found(session, text) == ([R1, "odd"], False)
        store.hot._begun.clear()
        store.hot.settle()
    assert "could not be mended" in caplog.text and "nothing hot" in caplog.text


def test_what_is_kept_fits_into_the_memory_there_is(store):
    def write(session):
        for number in range(40):
            put_run(session, number)
            for key in range(6):
                session.insert("tag", object=name_of(number), key=f"t{key}", value="1", ts_us=1)

    store.write(write)
    store.hot.memory_mb = 120 / 5_000  # hot rows may take the room of 120 rows of a narrow table, and sheets too
    store.hot._sizes = {"run": 40, "series": 100, "param": 90, "tag": 80}
    for key in range(6):
        assert len(both(store, f"tags.t{key} = '1'", [])) == 27
    (one,) = store.hot._kept
    assert len(one.part) == 1 + 6  # those that were asked for last
    prepared(store)
    assert {one.part for one in store.hot._kept if one.part[0] == "sheet"} == {("sheet", "series"), ("sheet", "tag")}
    store.hot._sizes = {**store.hot._sizes, "series": 110}
    with store.read(60) as session:
        sheets.prepare(session)
    assert ("sheet", "tag") not in {one.part for one in store.hot._kept}
    store.hot._sizes = {"run": 10**6}
    with store.read(60) as session:
        ids, was = found(session, "tags.t0 = '1'", [])
        assert len(ids) == 27 and not was


def test_few_rows_are_asked_themselves(tmp_path):
    store = Store(tmp_path / "few", None)
    with store.read() as session:
        assert found(session, "params.p0 > 2") == ([], False)
    store.hot.settle()
    assert not store.hot._kept
    store.close()


def prepared(store):
    """Have the sheets made, and everything else that was asked for."""
    with store.read(60) as session:
        sheets.prepare(session)
    store.hot.settle()


def shown(session, runs):
    narrow = (sheets.params_of, sheets.tags_of, sheets.metrics_of)
    return *(of(session, runs) for of in narrow), sheets.facts_of(session, runs)


def test_sheets_show_what_the_tables_have(store):
    odd = {"a": "", "b": "x\ny\t", "c": "\x1f in", "d": "né"}

    def write(session):
        for number in range(4):
            put_run(session, number)
            run, mine = name_of(number), {} if number == 3 else {k: v for k, v in odd.items() if k != "c" or number}
            change_tags(session, run, mine, [], 1)
            for key, value in mine.items():
                session.insert("param", run=run, key=key, value=value, num=None)
            for step, value in enumerate([0.1 + 0.2, math.nan, -math.inf, 1e-310][: number + 1]):
                put_metric(store, session, run, f"m {step}", step, value)

    store.write(write)
    runs = [R2, R0, R3, "gone"]
    for _ in range(2):
        prepared(store)
        with store.read(60) as session:
            sheets.prepare(session)
            found(session, "metrics.m0 > 0.5", [])
            hot = shown(session, runs)
            assert all(session.hot.sheets(session, table, runs) is not None for table in SHEETS)
            session.hot = None
            assert repr(hot) == repr(shown(session, runs))
        assert dict(hot[0][R2]) == odd and "c" not in dict(hot[1][R0]) and hot[0]["gone"] == []
        assert hot[2][R2][0].last == 0.1 + 0.2 and math.isnan(hot[2][R2][1].last)
        assert hot[2][R3][3].last == 1e-310 and hot[2][R3][2].last == -math.inf
        odd["a"] = "changed"
        store.write(lambda s: s.change("param", None, "UPDATE param SET value = 'changed' WHERE key = 'a'"))


def test_what_was_written_before_a_transaction_is_in_its_sheets_or_read_from_the_table(store):
    store.write(lambda session: (put_run(session, 1), put_metric(store, session, R1, "m0", 1, 1.0)))
    both(store, "metrics.m0 > 0.5")
    prepared(store)
    store.write(lambda session: put_metric(store, session, R1, "m0", 2, 2.0))
    with store.read(60) as session:
        # It is not prepared: the sheet is old, and cannot be mended any more.
        assert found(session, "metrics.m0 > 1.5", []) == ([R1], True)
        assert session.hot.sheets(session, "series", [R1]) is None
        assert [one.last for one in sheets.metrics_of(session, [R1])[R1]] == [2.0]


def test_a_sheet_is_mended_for_those_whose_rows_changed(store):
    def put(key):
        store.write(lambda session: session.insert("param", run=R1, key=key, value="1", num=1))

    put("a")
    prepared(store)
    made = store.hot.stamp
    put("b")
    with store.read(60) as session:
        sheets.prepare(session)
        assert session.hot.sheets(session, "param", [R1]) is not None
        assert sheets.params_of(session, [R1])[R1] == [("a", "1"), ("b", "1")]
    assert store.hot.stamp == made


def test_what_cannot_be_made_is_asked_of_the_store(store, caplog):
    store.write(lambda session: session.insert("param", run=R1, key="a", value="1", num=1))
    with store.read(60) as session:
        session.execute("SELECT 1")
        source = Source(("param",), ("sheet", "x"), "SELECT no_such_column AS h FROM store.param")
        assert store.hot._fresh(source, None) is None
    store.hot.settle()
    assert "nothing hot of param sheet x" in caplog.text
    prepared(store)
    with store.read(60) as session:
        assert sheets.params_of(session, [R1])[R1] == [("a", "1")]

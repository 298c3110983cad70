"""The store: one owner, encryption, migrations, transactions, series, lists."""

from __future__ import annotations

import math
import random
import shutil
import threading

import numpy as np
import pytest

from mlops_tui.contracts.listing import Column, List, OpenView
from mlops_tui.core.errors import BadInput, MlopsError, NotAllowed, StoreLocked, StoreTooNew
from mlops_tui.store.alarms import Alarms
from mlops_tui.store.listing import LISTINGS, Listing, Views, lists
from mlops_tui.store.series import SeriesBook, _bucket, curve
from mlops_tui.store.session import Session
from mlops_tui.store.store import Store

KEY = "a-key-for-tests"


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store", KEY)
    yield made
    made.close()


def test_a_second_owner_is_refused(store, tmp_path):
    with pytest.raises(StoreLocked):
        Store(tmp_path / "store", KEY)


def test_nothing_readable_lies_on_disk_and_the_wrong_key_is_told(tmp_path):
    store = Store(tmp_path / "store", KEY)
    store.write(lambda s: s.insert("tag", object="o", key="k", value="canary-7f3a91", ts_us=1))
    raw = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert b"canary-7f3a91" not in raw
    store.close()
    raw = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert b"canary-7f3a91" not in raw
    with pytest.raises(NotAllowed):
        Store(tmp_path / "store", "another")
    with pytest.raises(NotAllowed):
        Store(tmp_path / "store", None)


def test_plain_mode_keeps_working(tmp_path):
    store = Store(tmp_path / "store", None)
    store.write(lambda s: s.insert("tag", object="o", key="k", value="v", ts_us=5))
    store.close()
    again = Store(tmp_path / "store", None)
    with again.read() as session:
        assert session.rows("SELECT value, epoch_us(ts) FROM tag") == [("v", 5)]
    again.close()


def test_a_failed_write_leaves_nothing(store):
    def fails(session):
        session.insert("tag", object="o", key="k", value="v", ts_us=1)
        raise BadInput("no")

    with pytest.raises(BadInput):
        store.write(fails)
    with pytest.raises(MlopsError):
        store.write(lambda s: (_ for _ in ()).throw(MlopsError("x")))
    with store.read() as session:
        assert session.value("SELECT count(*) FROM tag") == 0


def test_readers_cannot_write(store):
    with pytest.raises(Exception, match="read"), store.read() as session:
        session.insert("tag", object="o", key="k", value="v", ts_us=1)


def test_a_long_query_is_interrupted(store):
    with pytest.raises(MlopsError, match="longer"), store.read(limit_s=0.2) as session:
        session.value("SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3")


def test_a_newer_store_is_refused(tmp_path):
    store = Store(tmp_path / "store", KEY)
    store.write(lambda s: s.execute("INSERT INTO migration VALUES (9999, 'future', 'x', now()::TIMESTAMP)"))
    store.close()
    with pytest.raises(StoreTooNew):
        Store(tmp_path / "store", KEY)


def test_external_files_are_out_of_reach(store, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with pytest.raises(Exception, match=r"[Pp]ermission|disabled"), store.read() as session:
        session.rows(f"SELECT * FROM read_csv('{secret}')")


def test_a_backup_opens_alone(store, tmp_path):
    store.write(lambda s: s.insert("tag", object="o", key="k", value="v", ts_us=1))
    store.backup(tmp_path / "store" / "copy.duckdb")
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "store" / "copy.duckdb", tmp_path / "other" / "mlops.duckdb")
    other = Store(tmp_path / "other", KEY)
    with other.read() as session:
        assert session.value("SELECT value FROM tag") == "v"
    other.close()


def test_series_keep_ieee_values_and_extremes(store):
    book = SeriesBook()
    values = [1.0, math.nan, 3.0, math.inf, -2.0]
    store.write(lambda s: book.append(s, "run", "r", ["loss"] * 5, range(5), range(5), values))
    store.write(lambda s: book.append(s, "run", "r", ["loss", "acc"], [5, 5], [9, 9], [0.5, 0.9]))
    with store.read() as session:
        assert session.rows("SELECT n, last_step, last, low, high, nonfinite FROM series WHERE key = 'loss'") == [
            (6, 5, 0.5, -2.0, 3.0, 2)
        ]
        shown = curve(session, "run", "r", "loss", 3)
        assert shown["min"][-1] == -2.0 and shown["max"][0] == 1.0 and shown["n"] == [6] and len(shown["step"]) == 3
        assert curve(session, "run", "r", "none", 3) is None


def test_a_curve_whose_halves_are_read_at_once_is_the_same(store, monkeypatch):
    book, chance = SeriesBook(), random.Random(5)
    spans = [
        (0, 1),
        (0, 50),
        (-7, 1000),
        (10**18, 10**18 + 10**15),
        (-(2**61), 2**62),
        (2**63 - 40, 2**63 - 1),
        (-(2**63), 2**63 - 1),
    ]
    for number, (low, high) in enumerate(spans):
        steps = [low, high, *(chance.randint(low, high) for _ in range(60))]
        values = [chance.choice([chance.random(), math.nan]) if number % 2 else chance.random() for _ in steps]

        def put(session, owner=f"r{number}", steps=steps, values=values):
            book.append(session, "run", owner, ["x"] * len(steps), steps, range(len(steps)), values)

        store.write(put)

    def all_curves():
        with store.read() as session:
            return [
                curve(session, "run", f"r{number}", "x", points, part)
                for number, (low, high) in enumerate(spans)
                for points in (1, 2, 3, 7, 700)
                for part in ((None, None), (low + (high - low) // 3, None), (low, low))
            ]

    whole = all_curves()
    monkeypatch.setattr("mlops_tui.store.series.LONG", 0)
    assert repr(all_curves()) == repr(whole) and sum(one["n"][0] for one in whole[::3]) == 62 * len(spans) * 5


def test_a_step_is_in_the_same_bucket_whether_it_is_multiplied_or_divided(store):
    chance, factors = random.Random(8), 0
    with store.read() as session:
        for points in (1, 3, 7, 256, 500, 700, 4096):
            widest = math.isqrt(1 << 62 - points.bit_length())
            for width in (1, 499, 1_000_003, widest - chance.randrange(9), widest, widest + 1, 2**40):
                edges = [-(-bucket * width // points) for bucket in range(1, points + 1, 1 + points // 30)]
                steps = [one for edge in edges for one in (edge - 1, edge) if 0 <= one < width] + [0, width - 1]
                place, scale = _bucket("step", 0, points, width)
                factors += "factor" in scale
                found = session.column(
                    f"SELECT {place} FROM (SELECT unnest($s::BIGINT[]) AS step)", {"s": steps, **scale}
                )
                assert found == [step * points // width for step in steps], (points, width)
    assert factors == 7 * 5


def test_no_half_is_read_beside_while_much_is_written(store, monkeypatch):
    beside: list[str] = []
    monkeypatch.setattr(Session, "_beside", lambda self, sql, params: beside.append(sql) or [])
    with store.read() as session:
        store.readers.crowded = True
        assert session.twice("SELECT ?", [1], [2]) == [(1,), (2,)] and not beside
        store.readers.crowded = False
        assert session.twice("SELECT ?", [1], [2]) == [(1,)] and beside


def test_who_writes_waits_for_readers_but_not_for_ever(store):
    assert not store.readers.lately(0)
    reading, leave, passed = threading.Event(), threading.Event(), threading.Event()

    def look():
        with store.read():
            reading.set()
            leave.wait(10)

    looker = threading.Thread(target=look)
    looker.start()
    assert reading.wait(10) and store.readers.lately(0)
    store.readers.pass_by(0.01)
    waiting = threading.Thread(target=lambda: (store.readers.pass_by(10), passed.set()))
    waiting.start()
    assert not passed.wait(0.05)
    leave.set()
    assert passed.wait(5)
    for thread in (looker, waiting):
        thread.join(10)
    assert store.readers.lately(60) and not store.readers.lately(-1)


def test_a_series_has_its_id_to_itself_whatever_was_deleted_forgotten_or_rolled_back(store, monkeypatch):
    monkeypatch.setattr(SeriesBook, "OWNERS", 2)
    book = SeriesBook()
    store.settled = book.settled

    def put(owner, key="loss"):
        store.write(lambda s: book.append(s, "run", owner, [key], [1], [1], [1.0]))

    for owner in "abcd":
        put(owner)
    store.write(lambda s: s.change("series", ["a"], "DELETE FROM series WHERE owner = 'a'"))
    book.forget()
    for owner, key in (("e", "loss"), ("b", "loss"), ("b", "acc"), ("c", "loss"), ("d", "loss"), ("b", "acc")):
        put(owner, key)

    def fails(session):
        book.append(session, "run", "f", ["loss"], [1], [1], [1.0])
        raise KeyError

    with pytest.raises(KeyError):
        store.write(fails)
    assert book.known("run", "f", "loss") is None
    put("f")
    with store.read() as session:
        rows = session.rows("SELECT owner, key, n, sid FROM series ORDER BY owner, key")
        assert [row[:3] for row in rows] == [
            ("b", "acc", 2), ("b", "loss", 2), ("c", "loss", 2), ("d", "loss", 2), ("e", "loss", 1), ("f", "loss", 1)
        ]  # fmt: skip
        assert len({row[3] for row in rows}) == 6
        assert session.value("SELECT count(*) FROM point WHERE sid = ?", [rows[4][3]]) == 1


COLUMNS = [
    Column(name="id", label="id", kind="id"),
    Column(name="key", label="key"),
    Column(name="ts", label="when", kind="time"),
]
EXPRESSIONS = {"id": "object", "key": "key", "ts": "epoch_us(ts)"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 10),
        ("key:k1", 1),
        ("key:k1,k2", 2),
        ("ts>=5", 5),
        ("-key:k1", 9),
        ("~k", 10),
        ("o3", 1),
        ("key~K1", 1),
        ("key!=k1 ts<3", 2),
    ],
)
def test_filters_choose_rows(store, text, expected):
    store.write(lambda s: [s.insert("tag", object=f"o{i}", key=f"k{i}", value="v", ts_us=i) for i in range(10)])
    listing = Listing("thing", "tag", COLUMNS, EXPRESSIONS, "ts")
    with store.read() as session:
        table = listing.select(session, "default", List(filter=text, limit=100))
    assert table.total == expected == len(table.rows)


@pytest.mark.parametrize(("place", "shift"), [("", 0), ("rowid", 0), ("rowid", 2)])
def test_views_hold_their_order_while_rows_come_and_go(store, place, shift):
    """Also where rows have other places than when the list was opened, as after a checkpoint."""
    store.write(lambda s: [s.insert("tag", object=f"o{i}", key="k", value="v", ts_us=i) for i in range(5)])
    lists(Listing("thing", "tag", COLUMNS, EXPRESSIONS, "-ts", place=place))
    views = Views()
    try:
        with store.read() as session:
            view = views.open(session, "default", OpenView(noun="thing"))
            before = views.page(session, view.view, 1, 2).rows
        held = views._held[view.view]
        if place:
            held.rows["place"] = np.roll(held.rows["place"], shift)
        with store.read() as session:
            assert views.page(session, view.view, 1, 2).rows == before and before[0][1:] != [None, None]
        store.write(lambda s: s.insert("tag", object="new", key="k", value="v", ts_us=99))
        store.write(lambda s: s.change("tag", ["o3"], "DELETE FROM tag WHERE object = 'o3'"))
        if shift:
            held.rows["place"] = held.rows["place"] + 1000  # nothing lies there
        with store.read() as session:
            rows = views.page(session, view.view, 0, 10).rows
        assert [row[0] for row in rows] == ["o4", "o3", "o2", "o1", "o0"] and rows[1][1:] == [None, None]
        store.write(lambda s: s.change("tag", None, "DELETE FROM tag WHERE object IN ('o0', 'o4')"))
        with store.read() as session:
            rows = views.page(session, view.view, 3, 2).rows
            other = views.open(session, "default", OpenView(noun="thing"))
        assert rows == [rows[0], ["o0", None, None]]
        store.write(lambda s: s.change("tag", None, "DELETE FROM tag WHERE object = 'o1'"))
        with store.read() as session:
            rows = views.page(session, other.view, 0, 3).rows
        assert [row[0] for row in rows] == ["new", "o2", "" if place else "o1"] and rows[2][1:] == [None, None]
    finally:
        del LISTINGS["thing"]


def test_only_a_block_that_takes_too_long_is_told():
    alarms, told, late = Alarms(), [], threading.Event()
    for limit in (60.0, 0.0, 0.001):
        with alarms.within(limit, lambda limit=limit: (told.append(limit), late.set())):
            if limit < 60.0:
                assert late.wait(10)
                late.clear()
    with alarms.within(60.0, lambda: told.append("outer")), alarms.within(0.001, late.set):
        assert late.wait(10), "a shorter limit inside a longer one is kept"
    assert told == [0.0, 0.001]
    alarms.close()
    alarms._thread.join(10)
    assert not alarms._thread.is_alive()

"""The search language: what is read, what is refused and where the caret stands, what rows are chosen."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest

from mlops_tui.contracts.listing import Column, List, OpenView
from mlops_tui.core.clock import DAY, now_us
from mlops_tui.core.errors import BadInput
from mlops_tui.store.listing import LISTINGS, Listing, Views, lists
from mlops_tui.store.search import Field, parse, parse_order
from mlops_tui.store.search.tree import And, Not, Or, Word
from mlops_tui.store.search.values import number, span
from mlops_tui.store.store import Store

MIDNIGHT = now_us() // DAY * DAY
ROWS = f"""(VALUES
  ('m1', 'resnet 50', 'done', 0.9, 1000, {MIDNIGHT}, true, ''),
  ('m2', 'ResNet-18', 'failed', 0.5, 2000000, {MIDNIGHT - DAY}, false, 'b c'),
  ('m3', 'vit (tiny)', 'done', 'NaN'::DOUBLE, 3000, {MIDNIGHT - 1}, true, NULL),
  ('m4', 'c++', 'running', NULL, 4000, {MIDNIGHT - 9 * DAY}, NULL, 'x'))
  t(id, name, status, auc, size, ts, live, note)"""
MODELS = Listing(
    "model ",
    ROWS,
    [
        Column(name="id", label="id", kind="id"),
        Column(name="name", label="name"),
        Column(name="status", label="status", kind="status"),
        Column(name="auc", label="auc", kind="float"),
        Column(name="size", label="size", kind="bytes"),
        Column(name="started", label="started", kind="time"),
        Column(name="live", label="live", kind="flag"),
        Column(name="note", label="note"),
    ],
    {name: name for name in ("id", "name", "status", "auc", "size", "live", "note")} | {"started": "ts"},
    "id",
)


FAR = Field("v", table="(VALUES ('m2', 'y'), ('m2', 'x')) u(o, v)", owner="o", many=True)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("search") / "store", None)
    with store.read(600) as session:
        yield session
    store.close()


def chosen(session, text, sort="id"):
    return "".join(row[0][1] for row in MODELS.select(session, "default", List(filter=text, sort=sort, limit=10)).rows)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The short form.
        ("", "1234"),
        ("status:done", "13"),
        ("status:done,running", "134"),
        ("-status:done", "24"),
        ("resnet", "12"),
        ("c++", "4"),
        ('"resnet 50"', "1"),
        ("vit (tiny)", "3"),
        ("status:done resnet", "1"),
        ("auc>0.4", "12"),
        ("auc:0.5..0.6", "2"),
        ("auc:0.6..", "1"),
        ("auc:..0.6,0.9", "12"),
        ("auc:nan", "3"),
        ("size>=3kB size<1MB", "34"),
        ("live:yes", "13"),
        # Patterns.
        ("~^res", "12"),
        ("~^res.*0$", "1"),
        ("name~net", "12"),
        ("name ~ '^v'", "3"),
        ("name!~net", "34"),
        ("resnet ~18", "2"),
        # Both, and what only the long form has.
        ("status = 'done' AND auc > 0.5", "1"),
        ("status='failed' OR (name ILIKE 'RES%' AND auc > 0.8)", "12"),
        ("status:done or status:failed auc>0.8", "13"),
        ("not (status:done or resnet)", "4"),
        ("NOT auc > 0.8", "234"),
        ("-(status:done auc>0.1)", "234"),
        ("name LIKE 'Res%'", "2"),
        ("name NOT LIKE 'Res%'", "134"),
        ("name like 'r_snet%'", "1"),
        ("id IN ('m1', 'm3',)", "13"),
        ("id NOT IN ('m1')", "234"),
        ("auc between 0.4 and 0.6", "2"),
        ("auc is null", "4"),
        ("auc IS NOT NULL", "123"),
        ("note is null", "13"),
        ("`note` = 'b c'", "2"),
        ("attributes.status = \"done\"", "13"),
        ("auc == 0.5 or auc <> 0.5", "123"),
        ("'don''t'", ""),
        # Times.
        ("started>=today", "1"),
        ("started:yesterday", "23"),
        ("started>yesterday", "1"),
        ("started<=yesterday", "234"),
        ("started > -8d", "123"),
        (f"started<{MIDNIGHT}", "234"),
    ],
)  # fmt: skip
def test_a_filter_chooses(session, text, expected):
    assert chosen(session, text) == expected


@pytest.mark.parametrize(
    ("text", "under", "why"),
    [
        ("nope:1", "n", "there is no column 'nope'"),
        ("status:done stats:x", "stats", "status"),
        ("auc>high", "high", "is not a number"),
        ("started>soon", "soon", "is no time"),
        ("live:maybe", "maybe", "neither yes nor no"),
        ("auc>", "", "a value is missing after '>'"),
        ("(status:done", "(", "never closed"),
        ("lr = '0.1", "'", "this quote is never closed"),
        ("done loss/{x}>0", "loss", "in backticks any is: `loss/{x}`"),
        ("status:done)", ")", "closes nothing"),
        ("auc>1 or", "", "a condition is missing"),
        ("or auc>1", "or", "a condition is missing"),
        ("()", ")", "a condition is missing"),
        ("name~a[", "[", "no regular expression"),
        ("name~(?!x)", "(?!", "neither around nor back"),
        ("id in ()", "()", "non-empty list"),
        ("id in ('a' 'b')", "'b'", "expected , or )"),
        ("auc between 1 or 2", "or", "BETWEEN wants AND"),
        ("auc:0.1..x", "x", "is not a number"),
    ],
)
def test_what_cannot_be_read_is_pointed_at(session, text, under, why):
    with pytest.raises(BadInput, match="cannot read the filter") as error:
        chosen(session, text)
    line, caret = error.value.why.split("\n")
    assert line == text and why in error.value.what
    assert caret == " " * (len(text) if not under else text.index(under)) + "^"


@pytest.mark.parametrize(
    ("text", "under"),
    [
        ("foo", "foo"),
        ("metrics.a > 1 ; metrics.b > 1", ";"),
        ("m.acc >= 0.94", "m.acc"),
        ("metrics.a > 1 NAND params.b = 'x'", "NAND"),
        ("`metrics.a > 1", "`"),
        ("params.a = 'x", "'x"),
        ("params.a == 'x'", "=="),
        ("status:done", ":"),
        ("-status = 'x'", "-"),
        ("0.5 < metrics.a", "0.5"),
    ],
)
def test_mlflows_dialect_refuses_what_is_not_its_own(text, under):
    with pytest.raises(BadInput) as error:
        parse(text, "mlflow")
    assert error.value.why.split("\n")[1].index("^") == text.index(under)


def test_the_tree_binds_as_sql_does():
    root = parse("a:1 b:2 or not c:3 and ~d").root
    assert isinstance(root, Or) and isinstance(root.parts[0], And)
    assert isinstance(root.parts[1].parts[0], Not) and isinstance(root.parts[1].parts[1], Word)
    assert [one.key.name for one in parse("a:1 or (b:2 -(c:3))").comparisons()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "scope", "name", "figure"),
    [
        ("metrics.`val loss` < 1", "metric", "val loss", ""),
        ("params.\"a b\" = 'x'", "param", "a b", ""),
        ("tags.mlflow.user = 'x'", "tag", "mlflow.user", ""),
        ("`tags`.`a.b` = 'x'", "tag", "a.b", ""),
        ("min(metrics.loss) < 1", "metric", "loss", "min"),
        ("MAX( `val loss` ) < 1", "", "val loss", "max"),
        ("system/gpu-0.util > 1", "", "system/gpu-0.util", ""),
        ("recall@5>1", "", "recall@5", ""),
    ],
)
def test_keys_are_named_as_people_and_mlflow_name_them(text, scope, name, figure):
    key = next(parse(text).comparisons()).key
    assert (key.scope, key.name, key.figure) == (scope, name, figure)


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("auc", "2134"),
        ("-auc", "1234"),
        ("auc DESC", "1234"),
        ("live, -auc", "2134"),
        ("attributes.size desc", "2431"),
        ("-status,-id", "4231"),
    ],
)
def test_an_order_puts_nan_after_values_and_nulls_last(session, sort, expected):
    assert chosen(session, "", sort) == expected


@pytest.mark.parametrize(
    ("sort", "why"), [("nope", "no column"), ("auc,auc desc", "duplicate"), ("auc up", "Invalid order_by")]
)
def test_a_bad_order_is_told(session, sort, why):
    with pytest.raises(BadInput, match="cannot read the") as error:
        chosen(session, "", sort)
    assert why in error.value.what and "^" in error.value.why


def test_orders_split_at_commas_outside_of_quotes():
    assert [(by.key.name, by.down) for by in parse_order("-`a,b`, c asc")] == [("a,b", True), ("c", False)]


def test_values_have_units():
    assert number("90s", "duration") == 90_000_000 and number("1.5GiB", "bytes") == 1.5 * 2**30
    assert number("5 %", "percent") == 5 and number("5s", "float") is None and math.isnan(number("nan", "float"))


def test_dates_are_spans():
    day = span("2026-11-26")
    assert day.end - day.begin == DAY and span("2026-11-26T08").end - span("2026-11-26T08").begin == DAY // 24
    assert span("2026-02") == (span("2026-02-01").begin, span("2026-03-01").begin)
    assert span("2026-11-26T08:10:00+02:00").begin == day.begin + 6 * DAY // 24 + 10 * 60_000_000
    assert span("2026-13-01") is None


def test_a_list_shows_more_columns_when_asked(session):
    listing = dataclasses.replace(MODELS, hidden={"loud": Field("upper(name)"), "far": FAR})
    table = listing.select(session, "default", List(sort="id", limit=2, columns=["loud", "far", "name"]))
    assert [column.name for column in table.columns[-2:]] == ["loud", "far"]
    assert [row[-2:] for row in table.rows] == [["RESNET 50", None], ["RESNET-18", "x, y"]]
    with pytest.raises(BadInput, match="no column 'nope'"):
        listing.select(session, "default", List(columns=["nope"]))


def test_what_a_screen_always_wants_is_not_undone_by_an_or(session):
    lists(MODELS)
    try:
        views = Views()
        view = views.open(session, "default", OpenView(noun="model ", filter="resnet or vit", within="status:done"))
        assert [row[0] for row in views.page(session, view.view, 0, 10).rows] == ["m1", "m3"]
    finally:
        del LISTINGS["model "]


WORDS = "status auc metrics. : = != ~ !~ < >= ( ) - , .. and OR not in LIKE between 1 -7d min( [ % 2026-11 é"
PIECES = [*WORDS.split(), "`a b`", '"x"', "'y'", "is null", "\\", " ", " "]


def test_whatever_is_typed_is_read_or_refused_in_words(session):
    rng, refused = random.Random(2), 0
    for _ in range(1500):
        text = "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 9)))
        for dialect in ("mlops", "mlflow"):
            try:
                query = parse(text, dialect)
                if dialect == "mlops" and rng.random() < 0.2:
                    chosen(session, text)
                assert all(0 <= one.at <= len(text) for one in query.comparisons())
            except BadInput as error:
                refused += 1
                line, caret = error.why.split("\n")
                assert len(line) == len(text) and len(caret) <= len(text) + 1, text
    assert 1000 < refused < 2900

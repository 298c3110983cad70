"""The renderer: every format of every shape of answer."""

from __future__ import annotations

import csv
import io
import json

import pytest

from mlops_tui.cli.answers.render import document, render
from mlops_tui.cli.options import Wishes
from mlops_tui.contracts.agent import Rows
from mlops_tui.contracts.analysis import Exported
from mlops_tui.contracts.listing import Column, Table
from mlops_tui.contracts.model import GateResult, LineageGraph, LineageNode
from mlops_tui.contracts.operation import Answer, Change, Done, File, Plan
from mlops_tui.contracts.run import CompareRow, Comparison, Curve, Curves, LogLines
from mlops_tui.core.clock import MINUTE, now_us
from mlops_tui.core.errors import BadInput

ID = "01a208fb-85f2-7f4a-8067-c92f30d6e9b0"


def table():
    columns = [
        Column(name="id", label="id", kind="id"),
        Column(name="name", label="name"),
        Column(name="status", label="status", kind="status"),
        Column(name="auc", label="AUC", kind="float"),
        Column(name="size", label="size", kind="bytes"),
        Column(name="share", label="share", kind="percent"),
        Column(name="took", label="took", kind="duration"),
        Column(name="started", label="started", kind="time"),
        Column(name="curve", label="curve", kind="spark"),
        Column(name="best", label="best", kind="flag"),
    ]
    row = [
        ID,
        "träin,1",
        "failed",
        0.912345,
        2_500_000,
        12.34,
        161_000_000,
        now_us() - 4 * MINUTE,
        [1.5, 2.0, 3.0],
        True,
    ]
    return Table(noun="run", columns=columns, rows=[row, [ID, "b", "done", *[None] * 7]], total=9)


def printed(capsys, answer, form, name="run.list", **wishes):
    render(answer, name, Wishes(output=form, **wishes))
    return capsys.readouterr().out


def test_a_list_as_a_table_shows_each_kind_as_people_read_it(capsys):
    head, first, second = printed(capsys, table(), "table").splitlines()
    assert head.split() == ["id", "name", "status", "AUC", "size", "share", "took", "started", "curve", "best"]
    for shown in ("30d6e9b0", "✖ failed", "0.9123", "2.5 MB", "12.3 %", "2m41s", "4m ago", "▁▃█", "✔"):
        assert shown in first
    assert "✔ done" in second and second.count("–") == 7
    assert "\x1b" not in head + first
    assert head.index("AUC") + 3 == first.index("0.9123") + 6  # figures end under their heading


def test_a_list_as_json_has_objects_and_a_schema(capsys):
    found = json.loads(printed(capsys, table(), "json"))
    assert (found["schema"], found["total"], found["rows"][0]["id"]) == ("run.list/1", 9, ID)
    assert found["rows"][0]["auc"] == 0.912345 and found["rows"][1]["auc"] is None


def test_a_list_as_json_lines_has_a_row_a_line(capsys):
    lines = printed(capsys, table(), "jsonl").splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["träin,1", "b"]


def test_a_list_as_csv_loses_nothing(capsys):
    rows = list(csv.DictReader(io.StringIO(printed(capsys, table(), "csv"))))
    assert rows[0]["id"] == ID and rows[0]["name"] == "träin,1" and rows[0]["auc"] == "0.912345"
    assert rows[0]["started"].endswith("Z") and json.loads(rows[0]["curve"]) == [1.5, 2, 3]
    assert rows[1]["auc"] == ""


def test_a_list_as_plain_text_is_a_fact_a_line_without_symbols(capsys):
    lines = printed(capsys, table(), "plain").splitlines()
    assert "status: failed" in lines and "curve: 1.500 to 3 in 3 points" in lines and "best: yes" in lines
    assert not set("".join(lines)) & set("✔✖▁█–")


def test_a_list_as_markdown(capsys):
    lines = printed(capsys, table(), "md").splitlines()
    assert lines[1].startswith("| --- | --- | --- | ---: |") and "✖ failed" in lines[2]


def test_fields_choose_and_order_columns(capsys):
    assert printed(capsys, table(), "csv", fields=("name", "id")).splitlines()[0] == "name,id"
    assert json.loads(printed(capsys, table(), "json", fields=("auc",)))["rows"] == [{"auc": 0.912345}, {"auc": None}]
    for form in ("json", "table"):
        with pytest.raises(BadInput, match="'nope'"):
            printed(capsys, table(), form, fields=("name", "nope"))


class Thing(Answer):
    """An answer with a bit of everything."""

    id: str
    schema: int
    created: int
    note: str
    params: dict[str, str]
    gates: list[GateResult]
    detail: dict[str, dict[str, object]]
    looks: list[list[float]]
    ok: bool


def thing():
    gate = GateResult(gate="auc", passed=False, value=0.7, threshold=0.8, text="too low")
    return Thing(
        id=ID, schema=3, created=now_us(), note="", params={"lr": "0.1"}, gates=[gate],
        detail={"git": {"sha": "abc"}, "host": {"cpus": 2}}, looks=[[1.0, 2.0]], ok=False,
    )  # fmt: skip


def test_a_struct_is_facts_and_tables(capsys):
    text = printed(capsys, thing(), "table", "thing.show")
    assert "id       30d6e9b0" in text and "note" not in text and "ok       no" in text
    assert "params\nlr  0.1\n" in text and "detail\ngit sha    abc\nhost cpus  2\n" in text
    assert "gates\ngate  passed   value  threshold  text" in text and "too low" in text


def test_a_struct_s_own_schema_field_makes_way(capsys):
    found = json.loads(printed(capsys, thing(), "json", "thing.show"))
    assert found["schema"] == "thing.show/1" and found["thing_schema"] == 3 and found["looks"] == [[1.0, 2.0]]


def test_fields_of_a_struct(capsys):
    text = printed(capsys, thing(), "plain", "thing.show", fields=("schema", "params"))
    assert text == "schema: 3\nparams lr: 0.1\n"
    assert json.loads(printed(capsys, thing(), "json", "thing.show", fields=("ok",))) == {
        "schema": "thing.show/1",
        "ok": False,
    }


def test_a_struct_as_csv_is_keys_and_values(capsys):
    rows = dict(csv.reader(io.StringIO(printed(capsys, thing(), "csv", "thing.show"))))
    assert rows["params.lr"] == "0.1" and rows["gates.0.value"] == "0.7" and rows["id"] == ID


def test_answers_with_a_shape_of_their_own(capsys):
    assert printed(capsys, Done(object="x", text="done it"), "table", "x.y") == "done it\n"
    assert printed(capsys, LogLines(lines=["a", "b"], last=2), "table", "x.y") == "a\nb\n"
    nodes = [LineageNode(id="1", kind="version", name="m@1", depth=0, relation="", of="")]
    nodes.append(LineageNode(id="2", kind="run", name="r", depth=1, relation="made by", of="1"))
    assert printed(capsys, LineageGraph(nodes=nodes), "table", "x.y") == "version m@1\n  made by run r\n"
    comparison = Comparison(
        runs=["1", "2"], names=["a", "b"], rows=[CompareRow(what="param", key="lr", values=["0.1", None], same=False)]
    )
    comparison.rows.append(CompareRow(what="metric", key="auc", values=[0.5, 0.75], same=False))
    text = "what,key,1,2,2 Δ\nparam,lr,0.1,,\nmetric,auc,0.5,0.75,0.25\n"
    assert printed(capsys, comparison, "csv", "x.y") == text
    curve = Curve(key="loss", n=900, step=[0, 1], ts=[1, 2], min=[0.5, None], max=[1.0, 2.0], mean=[0.7, 0.6])
    assert "loss       900" in printed(capsys, Curves(owner="r", curves=[curve]), "table", "x.y")


def test_a_query_keeps_columns_of_the_same_name_apart(capsys):
    rows = Rows(columns=["a", "a", "b"], rows=[[1, 2, None]], truncated=False)
    assert document(rows, "sql.query")["rows"] == [{"a": 1, "a_2": 2, "b": None}]


def test_a_plan_shows_what_goes_from_what_to_what(capsys):
    change = Change(object="model:m", field="champion", before=1, after=2)
    text = printed(
        capsys,
        Plan(
            operation="model.alias",
            object="model:m",
            text="point it at 2",
            changes=[change],
            warnings=["no gate ran"],
            approvals=1,
        ),
        "table",
    )
    assert text.splitlines() == [
        "point it at 2",
        "",
        "object   field     before  after",
        "model:m  champion  1       2",
        "",
        "! no gate ran",
        "! needs 1 approval",
    ]


def test_text_from_elsewhere_cannot_move_the_cursor(capsys):
    evil = Table(noun="run", columns=[Column(name="n", label="n")], rows=[["a\x1b[2Jb\r\u202ec\nd"]], total=1)
    assert printed(capsys, evil, "table").splitlines()[1] == "a[2Jbc d"


def test_on_a_terminal_rich_draws_in_colour_and_cuts_to_the_width(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    out = printed(capsys, table(), "table", color="always")
    assert "\x1b[31m✖ failed" in out or "\x1b[31m✖" in out
    assert "no room for" in out


def test_home_says_first_what_needs_a_person(capsys):
    from mlops_tui.contracts.agent import Attention, HomeSnapshot

    empty = {name: [] for name in ("jobs", "drift", "traffic", "runs", "events", "attention")}
    counts = dict.fromkeys(("models", "deployments", "healthy", "audit_records", "approvals"), 0)
    rest = {"user": "noor", "environment": "local", "currency": "", "residency": "", "readonly": False, "host": None}
    figures = {
        "cpu_hours_today": 0.5,
        "gpu_hours_today": 0.0,
        "cost_today": None,
        "audit_ok": True,
        "audit_checked": None,
    }
    home = HomeSnapshot(ts=now_us(), **empty, **counts, **rest, **figures)
    text = printed(capsys, home, "table", "home.show")
    assert text.startswith("nothing needs you\n") and "cpu hours today  30m00s" in text and "jobs" not in text
    home.attention = [
        Attention(severity="fail", kind="alert", text="drift of age", ts=now_us(), link="drift fraud age")
    ]
    assert printed(capsys, home, "table", "home.show").startswith("attention\n")


def test_a_narrow_screen_leaves_columns_out_and_names_them(monkeypatch, capsys):
    from mlops_tui.cli.answers.screen import paint
    from mlops_tui.cli.answers.shapes import blocks_of

    columns = [Column(name=name, label=name) for name in ("name", "experiment", "parameters", "host")]
    answer = Table(noun="run", columns=columns, rows=[["a-long-name", "churn", "x" * 40, "vm"]], total=1)
    drawn = {}
    for width in (30, 60, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        paint(blocks_of(answer), Wishes())
        drawn[width] = capsys.readouterr().out
    assert "a-long-name  churn" in drawn[30] and "no room for parameters, host" in " ".join(drawn[30].split())
    assert "…" in drawn[60] and "vm" in drawn[60]  # a long cell is cut before a column is left out
    assert "x" * 40 in drawn[120] and "no room" not in drawn[60] + drawn[120]


def test_where_room_is_short_an_empty_column_goes_and_a_sentence_takes_what_is_left(monkeypatch, capsys):
    from mlops_tui.cli.answers.screen import paint
    from mlops_tui.cli.answers.shapes import blocks_of

    columns = [Column(name=name, label=name) for name in ("name", "acknowledged by", "text", "host")]
    answer = Table(noun="alert", columns=columns, rows=[["drift", None, "age has drifted " * 3, "vm"]], total=1)
    monkeypatch.setenv("COLUMNS", "24")
    paint(blocks_of(answer), Wishes())
    told = " ".join(capsys.readouterr().out.split())
    assert told == "name text drift age has drifted … no room for host; --fields chooses"


def test_a_file_is_its_own_json_where_it_is_json_and_carries_text_as_text(capfdbinary):
    def told(file):
        render(file, "run.export", Wishes(output="json"))
        return capfdbinary.readouterr().out

    assert told(File(name="runs.json", content=b'[{"auc": 1}]')) == b'[{"auc": 1}]'
    drawn = json.loads(told(File(name="loss.svg", content="<svg>é</svg>".encode())))
    assert drawn == {"schema": "run.export/1", "name": "loss.svg", "content": "<svg>é</svg>"}
    packed = json.loads(told(File(name="a.parquet", content=b"PAR1\xff")))
    assert packed["encoding"] == "base64" and packed["content"] == "UEFSMf8="


def test_what_is_nested_is_left_to_json_and_the_rest_is_a_table():
    from mlops_tui.cli.answers.shapes import Facts, Grid, blocks_of

    gates = [
        {"gate": "quality", "passed": True, "detail": {"auc": {"value": 0.8}}},
        {"gate": "endpoint", "passed": True, "detail": {"p95": 6.9}},
    ]
    answer = {
        "id": "x",
        "result": {"run": "r", "results": gates},
        "signature": {"inputs": [{"name": "a"}], "metadata": {"k": "v" * 1000}, "deep": {"one": {"two": 2}}},
    }
    blocks = {block.title: block for block in blocks_of(answer)}
    grid = blocks["result results"]
    assert isinstance(grid, Grid) and [column.name for column in grid.columns] == ["gate", "passed"]
    facts = blocks["signature"]
    assert isinstance(facts, Facts)
    assert [value for *_, value in facts.values] == ["1,000 characters, in --json", "1 values, in --json"]
    assert blocks["signature inputs"].rows == [["a"]]


def test_a_file_goes_where_it_is_wanted(tmp_path, capfdbinary):
    answer = Exported(name="runs.csv", content=b"a\n1\n", rows=1, total=1)
    render(answer, "run.export", Wishes())
    assert capfdbinary.readouterr().out == b"a\n1\n"
    render(answer, "run.export", Wishes(to=str(tmp_path / "runs.csv")))
    assert (tmp_path / "runs.csv").read_bytes() == b"a\n1\n" and not capfdbinary.readouterr().out
    with pytest.raises(BadInput, match="cannot be written"):
        render(answer, "run.export", Wishes(to=str(tmp_path / "no" / "runs.csv")))


def test_curves_of_a_deployment_are_a_line_a_revision():
    from mlops_tui.cli.answers.shapes import Facts, Grid, blocks_of
    from mlops_tui.contracts.load import CurvePoint, ServedCurves

    def point(ts, label, requests, errors, p95):
        return CurvePoint(ts=ts, revision=label, requests=requests, errors=errors, p50_ms=1.0, p95_ms=p95)

    points = [
        point(1, "v1", 90, 0, 2.0),
        point(1, "v2", 10, 1, 3.0),
        point(2, "v1", 110, 2, 4.0),
        point(2, "v2", 0, 0, 1.0),
    ]
    got = ServedCurves(deployment="census", since=1, until=2, width_s=10.0, points=points)
    facts, grid = blocks_of(got)
    assert isinstance(facts, Facts) and ("a point is", "duration", 10_000_000) in facts.values
    assert isinstance(grid, Grid)
    assert grid.rows == [
        ["v1", 200, 2, 1.0, 1.0, 4.0, [2.0, 4.0], [9.0, 11.0], 2],
        ["v2", 10, 1, 10.0, 1.0, 3.0, [3.0], [1.0], 1],
    ]

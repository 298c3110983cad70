from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from mlops_tui.contracts.listing import Column
from mlops_tui.core.errors import BadInput
from mlops_tui.tui import links
from mlops_tui.tui.drawing import cells, words
from mlops_tui.tui.drawing.text import beside, line, parts_in, plain
from mlops_tui.tui.news.door import Event, command
from mlops_tui.tui.news.views import KEPT, PAGE, Pages
from mlops_tui.tui.screens.data.mode import pressed
from mlops_tui.tui.terminal import clipboard
from mlops_tui.tui.terminal.ask import background, calm
from mlops_tui.tui.widgets.form import fields, request


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("runs", ("runs", "", "", "")),
        ("run:8f2c", ("runs", "run", "8f2c", "")),
        ("model:churn@champion", ("models", "model", "churn@champion", "")),
        ("drift fraud amount", ("drift", "drift", "fraud", "amount")),
        ("deployments", ("deploy", "", "", "")),
        ("jobs", ("hardware", "job", "", "")),
        ("audit", ("govern", "audit", "", "")),
        (" Home ", ("home", "", "", "")),
        ("models churn", ("models", "model", "churn", "")),
    ],
)
def test_links_lead_to_a_mode_and_an_object(text, wanted):
    link = links.parse(text)
    assert (link.mode, link.noun, link.name, link.rest) == wanted


def test_a_link_to_nowhere_says_what_there_is():
    with pytest.raises(BadInput, match="no place called 'nowhere'") as caught:
        links.parse("nowhere:x")
    assert "model:NAME@ALIAS" in caught.value.fix


def test_command_lines_follow_the_grammar():
    assert command("run.show", {"run": "train v1"}) == "mlops run show 'train v1'"
    assert command("run.list", {"filter": "", "sort": "-started"}) == "mlops run list --sort -started"
    assert command("run.compare", {"runs": ["a", "b"], "all": True}) == "mlops run compare a b --all"
    assert command("run.tag", {"run": "a", "tags": {"k": "v w"}}) == "mlops run tag a 'k=v w'"


def test_cells_show_by_kind_and_copy_whole():
    def shown(kind, value):
        return plain(cells.cell(Column(name="c", label="c", kind=kind), value))

    assert shown("id", "01a208fb-b36f-74a7-bfb6-ef5b8f9b0353") == "8f9b0353"
    assert shown("id", "amal") == "amal"
    assert shown("status", "rolledback").startswith("✖")
    assert shown("float", "NaN") == "NaN"
    assert shown("percent", 42.0) == "42 %"
    assert shown("text", "alert:01a208fb-b36f-74a7-bfb6-ef5b8f9b0353") == "alert:8f9b0353"
    assert shown("bytes", 1500) == "1.5 kB"
    assert shown("flag", True) == "✔"
    assert shown("text", None) == "–"
    assert cells.exact(Column(name="c", label="c", kind="id"), "a" * 36) == "a" * 36


def test_columns_that_fit_are_shown_whole_and_names_stay_long():
    columns = [
        Column(name="name", label="name"),
        Column(name="note", label="note"),
        Column(name="n", label="n", kind="int"),
    ]
    assert cells.fit([30, 40, 6], columns, 50) == [24, 24, 6]
    assert cells.fit([30, 40, 6], columns, 44) == [22, 20, 6]
    assert cells.fit([10, 10, 6], columns, 80) == [10, 10, 6]


def test_states_are_symbol_and_word():
    assert plain(words.state("running")) == "↻ running"
    assert plain(words.state("something new")) == "? something new"
    assert plain(words.state("RolledBack")) == "✖ rolled back" and plain(words.state("too_few")) == "? too few"
    assert plain(words.state("")) == "–"


def test_pages_keep_the_newest_and_forget_the_rest():
    pages = Pages()
    for number in range(KEPT + 5):
        pages.put(number, [[f"{number}-{i}"] for i in range(PAGE)])
    assert len(pages) == KEPT
    assert pages.row(0) is None
    assert pages.row(10 * PAGE + 3) == ["10-3"]
    assert pages.patch(10 * PAGE + 3, ["10-3", 1]) and not pages.patch(10 * PAGE + 3, ["10-3", 1])
    assert pages.holds("20-7") and not pages.holds("0-1")


def test_a_histogram_is_pressed_into_fewer_bins_and_loses_none():
    assert pressed([1, 2, 3, 4, 5], 10) == [1, 2, 3, 4, 5]
    assert pressed([1, 2, 3, 4, 5], 2) == [1.5, 4] and pressed([], 4) == []


def test_events_leave_out_what_they_do_not_know():
    event = Event.read({"seq": 3, "ts": 1, "topic": "run", "object": "x", "tenant": "default", "new": 1})
    assert (event.seq, event.topic, event.object, event.action) == (3, "run", "x", "")


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        (b"\x1b]11;rgb:0e0e/1111/1616\x1b\\\x1b[?62c", "dark"),
        (b"\x1b]11;rgb:fbfb/fbfb/f8f8\x07\x1b[?62c", "light"),
        (b"\x1b]11;rgb:f/f/f\x07", "light"),
        (b"\x1b[?62;22c", None),
    ],
)
def test_background_is_read_from_the_terminal(reply, wanted):
    assert background(reply) == wanted


def test_a_thin_line_gets_sixteen_colours_and_few_frames():
    environ: dict[str, str] = {}
    calm(environ, low_bandwidth=True)
    assert environ["TEXTUAL_COLOR_SYSTEM"] == "standard" and environ["TEXTUAL_FPS"] == "10"
    assert environ["TEXTUAL_ANIMATIONS"] == "none"


def test_forms_ask_first_for_what_must_be_given():
    found = fields("deploy.create")
    assert [field.name for field in found[:2]] == ["name", "model"]
    assert all(field.required for field in found[:2]) and not found[2].required
    assert (
        fields("rollout.start")[2].name
        and next(f for f in fields("rollout.start") if f.name == "steps").default == "5 25 50"
    )


def test_forms_check_what_was_typed():
    assert request("deploy.create", {"name": "a", "model": "m@1", "port": "0"})["port"] == 0
    assert request("rollout.start", {"deployment": "d", "model": "m@2", "steps": ["5", "50"]})["steps"] == [5.0, 50.0]
    with pytest.raises(BadInput, match="name"):
        request("deploy.create", {"name": "Not A Name", "model": "m@1"})


class _Copies:
    def __init__(self):
        self.got = ""

    def copy_to_clipboard(self, text):
        self.got = text


@pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")
def test_copy_fills_the_buffer_of_a_real_tmux(tmp_path, monkeypatch):
    socket = str(tmp_path / "t")
    monkeypatch.delenv("TMUX", raising=False)
    subprocess.run(["tmux", "-S", socket, "-f", os.devnull, "new-session", "-d", "sleep 30"], check=True, timeout=10)
    try:
        pid = subprocess.check_output(["tmux", "-S", socket, "display", "-p", "#{pid}"], text=True, timeout=10).strip()
        monkeypatch.setenv("TMUX", f"{socket},{pid},0")
        app = _Copies()
        assert clipboard.copy(app, "mlops run show x") == ["terminal", "tmux"]
        assert app.got == "mlops run show x"
        held = subprocess.check_output(["tmux", "-S", socket, "show-buffer"], text=True, timeout=10)
        assert held == "mlops run show x"
    finally:
        subprocess.run(["tmux", "-S", socket, "kill-server"], timeout=10, check=False)


def test_copy_without_tmux_is_the_terminal_alone(monkeypatch):
    monkeypatch.delenv("TMUX", raising=False)
    assert clipboard.copy(_Copies(), "x") == ["terminal"]


@pytest.mark.parametrize(("row", "shown"), [(["drift-oip", ""], True), (["v1-v2", "v1"], False), (["a", "b"], True)])
def test_an_id_gives_way_only_where_the_next_column_says_it_too(row, shown):
    from mlops_tui.tui.drawing.columns import Columns

    columns = Columns()
    columns.fit([Column(name="id", label="id", kind="id"), Column(name="name", label="name")], [row], 40)
    assert (0 in columns.seen()) is shown


def test_values_of_a_plan_are_said_as_people_say_them():
    from mlops_tui.tui.widgets.plan import _value

    assert _value({"on": True, "off": False, "of": ["a", 1]}) == "on yes, off no, of a, 1"
    assert [_value(one) for one in (None, "", {}, 0, "v2")] == ["–", "–", "–", "0", "v2"]


def test_of_several_things_the_last_ones_are_left_out_whole():
    legend = line(("● ", "ok"), "0.22", "  ", ("◆ ", "warn"), "0.27")
    assert plain(parts_in(legend, 14)) == "● 0.22  ◆ 0.27"
    assert plain(parts_in(legend, 13)) == "● 0.22"
    assert plain(parts_in(line("24 more ↓ · space show/hide · enter done"), 30)) == "24 more ↓ · space show/hide"
    assert plain(parts_in(line("a sentence of one piece"), 10)) == "a sentenc…"


def test_a_sentence_stands_beside_its_head_or_under_it_where_room_is_short():
    heads, texts = [line("quality"), line("p95")], [("one two three four five six", "dim"), ("", "dim")]
    assert [plain(row) for row in beside(heads, texts, 45)] == ["quality  one two three four five six", "p95      "]
    under = [plain(row) for row in beside(heads, texts, 20)]
    assert under == ["quality", "  one two three four", "  five six", "p95"]

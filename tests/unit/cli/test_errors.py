"""Errors and exit codes of the command line."""

from __future__ import annotations

import json

import click
import pytest

from mlops_tui.cli.answers.errors import report
from mlops_tui.cli.app import root, run
from mlops_tui.core import errors
from mlops_tui.core.errors import ExitCode

NUMBERS = {
    "OK": 0,
    "FAILURE": 1,
    "USAGE": 2,
    "REFUSED": 3,
    "AUTH": 4,
    "NOT_FOUND": 5,
    "CONFLICT": 6,
    "UNREACHABLE": 7,
    "INTERRUPTED": 130,
}


def test_the_exit_codes_are_those_that_were_promised():
    assert {code.name: int(code) for code in ExitCode} == NUMBERS


def test_help_lists_every_exit_code():
    text = root().get_help(click.Context(root(), info_name="mlops"))
    for code in ExitCode:
        assert f"  {int(code):<5}{code.meaning}" in text


@pytest.mark.parametrize(
    "kind", [errors.BadInput, errors.Refused, errors.NotAllowed, errors.NotFound, errors.Conflict, errors.Unreachable]
)
def test_an_error_says_what_why_fix_and_code(kind, capsys):
    report(kind("what", "why", "fix"), [])
    out, err = capsys.readouterr()
    assert out == "" and err == f"✖ what · why · fix · {kind.code}\n"


def test_programs_get_one_json_object_on_the_last_line_of_stderr(capsys):
    report(errors.NotFound("what", "why", "fix"), ["run", "show", "x", "-o", "json"])
    last = capsys.readouterr().err.splitlines()[-1]
    assert json.loads(last) == {
        "schema": "error/1",
        "error": {"code": "MLOPS-E0500", "exit_code": 5, "what": "what", "why": "why", "fix": "fix"},
    }


@pytest.mark.parametrize("arguments", [["--json"], ["-ojson"], ["--output=jsonl"], ["-o", "jsonl"]])
def test_every_way_to_ask_for_json(arguments, capsys):
    report(errors.NotFound("what"), arguments)
    assert capsys.readouterr().err.count("\n") == 2


def test_what_is_behind_two_dashes_is_not_ours(capsys):
    report(errors.NotFound("what"), ["train", "x.py", "--", "--json"])
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "did you mean mlops run"),
        (["run", "lst"], "did you mean mlops run list"),
        (["run", "show"], "missing argument 'RUN'"),
        (["run", "list", "--limit", "0"], "--limit: expected int >= 1"),
        (["run", "list", "--json", "-o", "csv"], "do not go together"),
        (["run", "list", "-o", "xml"], "xml"),
        (["config", "get", "nope"], "there is no setting 'nope'"),
    ],
)
def test_a_usage_error_is_exit_code_2_and_says_what_to_type(arguments, words, capsys):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err and "mlops" in err and "MLOPS-E0200" in err


def test_an_error_of_our_own_is_told_without_a_traceback_unless_asked(capsys, monkeypatch):
    def fail():
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("mlops_tui.cli.app.root", fail)
    assert run(["info"]) == 1
    assert "ZeroDivisionError: oh" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        run(["info", "-v"])


def test_colours_obey_no_color(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    report(errors.NotFound("what"), [])
    assert "\x1b[31m✖" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    report(errors.NotFound("what"), [])
    assert "\x1b" not in capsys.readouterr().err


def test_a_caret_stays_under_its_place(capsys):
    report(errors.BadInput("cannot read the filter: no", "auc>x\n    ^", "for example: a:1"), ["--color", "never"])
    assert capsys.readouterr().err.split("\n")[:3] == ["✖ cannot read the filter: no", "  auc>x", "      ^"]


def test_who_types_arguments_wrongly_is_shown_how_they_go_and_who_mistypes_a_flag_is_not(capsys):
    assert run(["model", "alias", "cancer", "prod", "1"]) == 2
    assert "usage: mlops model alias MODEL ALIAS; mlops model alias --help" in capsys.readouterr().err
    assert run(["model", "alias", "--expct", "1"]) == 2
    assert "usage:" not in capsys.readouterr().err

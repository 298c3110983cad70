"""The table of words, and that every operation is reachable through it."""

from __future__ import annotations

import shlex

import click
import msgspec
import pytest

import mlops_tui.contracts  # noqa: F401  (fills the table)
from mlops_tui.cli.app import load_command, root, run
from mlops_tui.cli.options import common
from mlops_tui.cli.words import table
from mlops_tui.cli.words.generate import command_for
from mlops_tui.cli.words.nouns import Noun
from mlops_tui.contracts.operation import OPERATIONS, Effect

PUBLIC = [one for one in OPERATIONS.values() if not one.internal]
NAMES = [one.name for one in PUBLIC]


@pytest.fixture
def meant(monkeypatch):
    """Run a command line up to the point where the agent would be asked; return the operation and the request."""
    asked = []
    monkeypatch.setattr(
        "mlops_tui.cli.calls.call.perform", lambda operation, request, wishes: asked.append((operation, request)) or 0
    )

    def line(text):
        words = shlex.split(text)
        assert words.pop(0) == "mlops"
        assert run(words) == 0
        return asked.pop()

    return line


def test_the_nouns_are_those_of_the_contracts():
    assert {one.noun for one in PUBLIC} == set(table.NOUNS) - {"config"}


def test_every_word_has_a_section_and_a_line_of_help():
    shown = [name for names in table.SECTIONS.values() for name in names]
    assert sorted(shown) == sorted([*table.NOUNS, *table.COMMANDS])
    assert all(table.line_of(name).endswith((".", "…")) for name in shown)


@pytest.mark.parametrize("operation", PUBLIC, ids=NAMES)
def test_an_operation_has_a_command_help_example_and_permission(operation):
    assert operation.verb in Noun(operation.noun, "").list_commands(click.Context(root()))
    assert operation.help.endswith(".") and operation.example.startswith("mlops ")
    noun, _, verb = operation.permission.partition(":")
    assert noun and verb
    text = command_for(operation).get_help(click.Context(command_for(operation), info_name=operation.verb))
    assert operation.help in text and operation.permission in text


@pytest.mark.parametrize("operation", PUBLIC, ids=NAMES)
def test_the_example_of_an_operation_is_a_request_of_it(operation, meant):
    found, request = meant(operation.example)
    assert found is operation and isinstance(request, operation.request)


@pytest.mark.parametrize("operation", PUBLIC, ids=NAMES)
def test_no_field_takes_the_flag_of_every_command(operation):
    ours = {flag for option in common(file=True) for flag in (*option.opts, *option.secondary_opts)}
    fields = [field.name for field in msgspec.structs.fields(operation.request)]
    taken = {"--" + name.replace("_", "-") for name in fields if name not in operation.request.positional}
    assert not taken & ours
    assert not set(fields) & {option.name for option in common(file=True)}


def test_every_change_takes_the_flags_of_a_change():
    for operation in PUBLIC:
        shown = {option.name for option in command_for(operation).params if not getattr(option, "hidden", False)}
        assert ({"dry_run", "yes", "confirm", "reason"} <= shown) == (operation.effect is Effect.CHANGE), operation.name


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("runs", "run"),
        ("run", "run"),
        ("deployments", "deploy"),
        ("datasets", "data"),
        ("identities", "identity"),
        ("abs", "ab"),
    ],
)
def test_plurals_and_aliases(typed, meant):
    assert table.word(typed) == meant


def test_words_that_are_none():
    assert table.word("runners") is None and table.word("") is None and table.word("s") is None


@pytest.mark.parametrize(
    ("line", "operation"),
    [
        ("runs", "run.list"),
        ("runs --limit 3", "run.list"),
        ("runs status:done --limit 3", "run.list"),
        ("run 'auc>0.9 ~resnet'", "run.list"),
        ("cost", "cost.show"),
        ("sql 'select 1'", "sql.query"),
        ("sql query 'select 1'", "sql.query"),
        ("lineage employment@1 --down", "lineage.show"),
        ("policy model:promote", "policy.check"),
        ("agent", "agent.status"),
        ("train x.py", "job.train"),
    ],
)
def test_a_verb_that_goes_without_saying(line, operation, meant):
    assert meant(f"mlops {line}")[0].name == operation


@pytest.mark.parametrize(
    "name", [*table.COMMANDS, *(f"{noun} {verb}" for noun, verbs in table.VERBS.items() for verb in verbs)]
)
def test_every_command_of_our_own_loads_and_has_help(name):
    noun, _, verb = name.rpartition(" ")
    target, line = table.VERBS[noun][verb] if noun else table.COMMANDS[verb]
    command = load_command(verb, target, line)
    if verb == "demo":  # hands everything on, --help too
        assert command.make_context("demo", ["--help", "-x", "1"]).params == {"arguments": ("--help", "-x", "1")}
        return
    shown = command.get_help(click.Context(command, info_name=verb))
    assert "Everywhere" in shown
    example = shlex.split(shown.rpartition("Example:\n")[2].removeprefix('    eval "$(').removesuffix(')"').strip())
    if example[:2] != ["mlops", "job"]:  # mlops train is an operation by another name
        assert example[: len(name.split()) + 1] == ["mlops", *name.split()]
        command.make_context(verb, example[len(name.split()) + 1 :])


@pytest.mark.parametrize("noun", ["sql", "cost", "undo"])
def test_the_help_of_a_noun_with_one_verb_is_that_of_the_verb(noun, capsys):
    assert run([noun, "--help"]) == 0
    assert "Example:" in capsys.readouterr().out


def test_a_noun_names_first_what_it_lists_and_shows():
    assert Noun("run", "").list_commands(click.Context(root()))[:2] == ["list", "show"]


def test_what_every_tool_has_short_is_short_here(meant, tmp_path):
    (tmp_path / "rollout.yaml").write_text("kind: Rollout")
    assert meant(f"mlops rollout start -f {tmp_path}/rollout.yaml")[1].file == "kind: Rollout"
    assert meant("mlops run list -n 3")[1].limit == 3


@pytest.mark.parametrize("line", ["artifact get 018f note.txt --to here.txt", "run show 018f --to run.json"])
def test_a_command_that_gives_no_file_does_not_pretend_to_write_one(line, capsys):
    """Found by a file that was not where it had been asked for: the flag was taken, and not heeded."""
    assert run(shlex.split(line)) == 2
    assert "no such option '--to'" in capsys.readouterr().err

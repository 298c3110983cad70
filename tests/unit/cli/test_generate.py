"""Commands made from declarations: arguments, flags, constraints."""

from __future__ import annotations

from typing import Annotated

import click
import msgspec
import pytest
from msgspec import Meta

from mlops_tui.cli.words.generate import command_for, request_from
from mlops_tui.contracts.operation import Done, Effect, Kind, Operation, Request


class Everything(Request):
    """One field of each kind."""

    positional = ("name", "tags")
    name: Annotated[str, Meta(pattern="^[a-z]+$", description="its name")]
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    path: str = ""
    count: Annotated[int, Meta(ge=1, le=9, description="how many")] = 3
    steps: Annotated[list[float], Meta(max_length=3)] = msgspec.field(default_factory=lambda: [5.0])
    dark: bool = False
    careful: bool = True
    share: float | None = None
    env: dict[str, str] = msgspec.field(default_factory=dict)


OPERATION = Operation(
    "thing.make", Everything, Done, "thing:write", Effect.CHANGE, Kind.UNARY, "Make it.", "mlops thing make a", False
)


def request(*words):
    command = command_for(OPERATION)
    values = command.make_context("make", list(words)).params
    own = set(Everything.__struct_fields__)
    return request_from(OPERATION, {key: value for key, value in values.items() if key in own})


def test_what_is_not_given_keeps_the_contract_s_default():
    assert request("abc") == Everything(name="abc")


def test_each_kind_of_field(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = request(
        "abc", "stage=gold", "why=a=b", "empty=", "--path", "x/y.csv", "--count", "7", "--steps", "1", "--steps", "2.5",
        "--dark", "--no-careful", "--share", "0.5", "--env", "A=1", "--env", "B=2",
    )  # fmt: skip
    assert made.tags == {"stage": "gold", "why": "a=b", "empty": ""}
    assert made.path == str(tmp_path / "x/y.csv")
    assert (made.count, made.steps, made.dark, made.careful, made.share) == (7, [1.0, 2.5], True, False, 0.5)
    assert made.env == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["abc", "--count", "10"], "--count: expected int <= 9"),
        (["abc", "--count", "many"], "many"),
        (["ABC"], "NAME: expected str matching regex '^[a-z]+$'"),
        (["abc", "tag"], "'tag' is not KEY=VALUE"),
        (["abc", "=x"], "'=x' is not KEY=VALUE"),
        (
            ["abc", "--steps", "1", "--steps", "2", "--steps", "3", "--steps", "4"],
            "--steps: takes 3 at most",
        ),
        ([], "NAME"),
        (["abc", "--nope"], "--nope"),
    ],
)
def test_what_does_not_fit_is_a_usage_error(words, said):
    with pytest.raises(click.UsageError) as error:
        request(*words)
    assert said in error.value.format_message() and error.value.exit_code == 2


def test_help_says_what_the_contract_says():
    text = command_for(OPERATION).get_help(click.Context(command_for(OPERATION), info_name="make"))
    text = " ".join(text.split())
    for words in (
        "NAME its name",
        "how many; ≥ 1, ≤ 9; default 3",
        "--careful / --no-careful",
        "--env KEY=VALUE",
        "mlops thing make a",
    ):
        assert words in text, words


def test_a_script_that_is_no_file_is_a_program_and_stays_a_word(tmp_path, monkeypatch):
    from mlops_tui.contracts.job import StartTraining, train

    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").touch()
    assert request_from(train, {"script": "torchrun", "args": ()}) == StartTraining(script="torchrun")
    assert request_from(train, {"script": "t.py", "args": ("--lr", "1")}) == StartTraining(
        script=str(tmp_path / "t.py"), args=["--lr", "1"]
    )

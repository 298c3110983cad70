"""What takes a change back."""

from __future__ import annotations

import pytest

from mlops_tui.contracts import Plan
from mlops_tui.contracts.operation import Change
from mlops_tui.tui.undo import inverse


def plan(operation, *changes):
    made = [Change(object="x", field=field, before=before, after=after) for field, before, after in changes]
    return Plan(operation=operation, object="x", text="what was done", changes=made, digest="d")


@pytest.mark.parametrize(
    ("operation", "fields", "changes", "wanted"),
    [
        ("run.note", {"run": "r", "text": "new"}, [("note", "old", "new")], ("run.note", {"run": "r", "text": "old"})),
        (
            "run.tag",
            {"run": "r", "tags": {"a": "2", "b": "1", "c": ""}},
            [("a", "1", "2"), ("b", None, "1"), ("c", "x", None)],
            ("run.tag", {"run": "r", "tags": {"a": "1", "b": "", "c": "x"}}),
        ),
        (
            "model.tag",
            {"model": "m", "tags": {"a": "2", "b": "1"}},
            [("a", "1", "2"), ("b", None, "1")],
            ("model.tag", {"model": "m", "tags": {"a": "1"}, "remove": ["b"]}),
        ),
        ("run.delete", {"run": "r"}, [("deleted", False, True)], ("run.restore", {"run": "r"})),
        ("run.restore", {"run": "r"}, [("deleted", True, False)], ("run.delete", {"run": "r"})),
        ("experiment.delete", {"experiment": "e"}, [], ("experiment.restore", {"experiment": "e"})),
    ],
)
def test_notes_tags_and_deletions_have_an_inverse(operation, fields, changes, wanted):
    assert inverse(operation, fields, plan(operation, *changes))[:2] == wanted


def test_what_touches_production_has_none():
    assert inverse("model.alias", {"model": "m@1", "alias": "champion"}, plan("model.alias")) is None
    assert inverse("artifact.delete", {"of": "r", "place": "x"}, plan("artifact.delete")) is None

"""What takes a change back, from what its plan said was there before."""

from __future__ import annotations

import pytest

from mlops_tui.contracts.inverse import inverse
from mlops_tui.contracts.operation import Change


def made(*changes):
    return [Change(object="x", field=field, before=before, after=after) for field, before, after in changes]


@pytest.mark.parametrize(
    ("operation", "subject", "changes", "wanted"),
    [
        ("run.note", "r", [("note", "old", "new")], ("run.note", {"run": "r", "text": "old"})),
        (
            "run.tag",
            "r",
            [("a", "1", "2"), ("b", None, "1"), ("c", "x", None)],
            ("run.tag", {"run": "r", "tags": {"a": "1", "b": "", "c": "x"}}),
        ),
        (
            "model.tag",
            "m",
            [("a", "1", "2"), ("b", None, "1")],
            ("model.tag", {"model": "m", "tags": {"a": "1"}, "remove": ["b"]}),
        ),
        ("run.delete", "r", [("deleted", False, True)], ("run.restore", {"run": "r"})),
        ("run.restore", "r", [("deleted", True, False)], ("run.delete", {"run": "r"})),
        ("experiment.delete", "e", [], ("experiment.restore", {"experiment": "e"})),
    ],
)
def test_notes_tags_and_deletions_have_an_inverse(operation, subject, changes, wanted):
    assert inverse(operation, subject, made(*changes)) == wanted


@pytest.mark.parametrize("operation", ["model.alias", "artifact.delete", "undo.last", "no.such"])
def test_everything_else_has_none(operation):
    assert inverse(operation, "m", made(("champion", 1, 2))) is None

"""Statistics that plugins bring: asked of every feature with counts, and of no consequence when they break."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

from mlops_tui.monitoring import brought
from mlops_tui.stats import profile


class Seen:
    """Remembers what it was asked, and answers as it is told to."""

    kinds = ("numeric", "categorical")

    def __init__(self, name, answer):
        self.name, self.answer, self.asked = name, answer, []

    def distance(self, reference, live, centres):
        self.asked.append((reference, live, centres))
        return self.answer()


@pytest.fixture
def profiles():
    age = np.array([1.0, 2, 2, 3, 9, np.nan] * 20)
    return {"age": profile.build(age), "job": profile.build(["a", "a", "b", None] * 20, "categorical")}


@pytest.fixture
def sums(profiles):
    return {"age": profile.count(profiles["age"], [2.0, np.nan]), "job": profile.count(profiles["job"], ["b", None])}


def test_missing_rows_are_kept_out_and_only_numbers_have_places(profiles, sums):
    seen = Seen("half", lambda: 0.5)
    assert brought.measure([seen], profiles, sums) == {"age": {"half": 0.5}, "job": {"half": 0.5}}
    (reference, live, centres), (old, new, nowhere) = seen.asked
    assert len(reference) == len(live) == len(centres) == profiles["age"].size - 1
    assert (reference.sum(), live.sum(), old.sum(), new.sum(), nowhere) == (100, 1, 60, 1, None)


def test_a_statistic_is_asked_of_its_kinds_and_what_is_no_distance_is_left_out(profiles, sums):
    line = Seen("line", lambda: 1)
    line.kinds = ("numeric",)
    silent, endless = Seen("silent", lambda: None), Seen("endless", lambda: float("nan"))
    assert brought.measure([line, silent, endless], profiles, sums) == {"age": {"line": 1.0}, "job": {}}


def test_one_that_breaks_is_told_once_and_stops_no_other(profiles, sums, caplog):
    broken, well = Seen("broken", lambda: 1 / 0), Seen("well", lambda: 0.1)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert brought.measure([broken, well], profiles, sums)["age"] == {"well": 0.1}
    assert [record.message for record in caplog.records] == [
        "the drift statistic broken is skipped: ZeroDivisionError: division by zero"
    ]


def test_no_plugin_draws_our_curves(monkeypatch, home):
    monkeypatch.setattr(brought, "trusted", lambda home: {"someone": {}})
    monkeypatch.setattr(brought, "brought", lambda what: {name: SimpleNamespace(name=name) for name in ("psi", "new")})
    assert [one.name for one in brought.statistics(home)] == ["new"]


def test_without_trust_nobody_is_asked(monkeypatch, home):
    monkeypatch.setattr(brought, "brought", lambda what: pytest.fail("asked"))
    assert brought.statistics(home) == []

"""Notifiers: told of each alert once, in order; one that fails is tried again and stops no other."""

import logging
import threading

import pytest

from mlops_tui.door import Context
from mlops_tui.monitoring import alerts, notify
from mlops_tui.plugins.loader import brought


class Ear:
    def __init__(self, name):
        self.name, self.heard, self.failing, self.waits = name, [], 0, None

    def notify(self, alert):
        if self.waits:
            self.waits.wait(10)
        if self.failing:
            self.failing -= 1
            raise ConnectionError("no line")
        self.heard.append((alert.state, alert.text, alert.closed is not None))


@pytest.fixture
def ears(monkeypatch, house):
    found = {name: Ear(name) for name in ("first", "second")}
    monkeypatch.setattr(notify, "brought", lambda what: found if what == "notifiers" else {})
    monkeypatch.setattr(notify, "_done", {})
    monkeypatch.setattr(notify, "_tries", {})
    notify.turn(house)
    return found


def alert(house, subject, closes=False):
    def write(session):
        ctx = Context(house, alerts.engine("default"), session)
        if closes:
            alerts.resolve(ctx, "drift", subject, "calm")
        else:
            alerts.open_alert(ctx, "drift", subject, "warn", f"{subject} drifts", {"a": 1}, "")

    house.store.write(write)


def test_opening_and_closing_are_told_once_and_in_order(house, ears):
    alert(house, "fraud")
    notify.turn(house)
    notify.turn(house)
    alert(house, "churn")
    alert(house, "fraud", closes=True)
    notify.turn(house)
    expected = [("open", "fraud drifts", False), ("open", "churn drifts", False), ("resolved", "fraud drifts", True)]
    assert ears["first"].heard == ears["second"].heard == expected


def test_one_that_fails_is_tried_again_and_stops_no_other(house, ears, monkeypatch):
    ears["first"].failing = 2
    alert(house, "fraud")
    now = 100.0
    monkeypatch.setattr(notify.time, "monotonic", lambda: now)
    notify.turn(house)
    assert (ears["first"].heard, len(ears["second"].heard)) == ([], 1)
    notify.turn(house)
    assert ears["first"].failing == 1  # too early to try again
    for now in (103.0, 110.0, 120.0):  # noqa: B007
        notify.turn(house)
    assert len(ears["first"].heard) == len(ears["second"].heard) == 1


def test_what_was_told_before_a_failure_is_not_told_again(house, ears, monkeypatch):
    now, tell = 0.0, ears["first"].notify

    def second_fails(alert):
        ears["first"].failing = int(alert.text.startswith("churn") and now < 50)
        tell(alert)

    ears["first"].notify = second_fails
    monkeypatch.setattr(notify.time, "monotonic", lambda: now)
    alert(house, "fraud")
    alert(house, "churn")
    notify.turn(house)
    now = 100.0
    notify.turn(house)
    assert [text for _, text, _ in ears["first"].heard] == ["fraud drifts", "churn drifts"]


def test_an_agent_that_was_killed_goes_on_where_it_stopped(house, ears):
    alert(house, "fraud")
    notify.turn(house)
    notify._done.clear()
    alert(house, "churn")
    notify.turn(house)
    assert [text for _, text, _ in ears["first"].heard] == ["fraud drifts", "churn drifts"]


def test_a_new_notifier_hears_what_happens_from_now_on(house, ears):
    alert(house, "fraud")
    notify.turn(house)
    ears["third"] = Ear("third")
    alert(house, "churn")
    notify.turn(house)
    assert [text for _, text, _ in ears["third"].heard] == ["churn drifts"]


def test_one_that_never_succeeds_is_given_up(house, ears, monkeypatch, caplog):
    ears["first"].failing = notify.TRIES
    alert(house, "fraud")
    now = 0.0
    monkeypatch.setattr(notify.time, "monotonic", lambda: now)
    with caplog.at_level(logging.WARNING):
        for now in range(0, 10_000, 500):  # noqa: B007
            notify.turn(house)
    assert ears["first"].failing == 0 and ears["first"].heard == []
    assert [record.message for record in caplog.records][-1].endswith("no line; given up: fraud drifts")
    alert(house, "churn")
    now = 20_000
    notify.turn(house)
    assert len(ears["first"].heard) == 1


def test_one_that_hangs_is_left_alone(house, ears, monkeypatch):
    monkeypatch.setattr(notify, "LIMIT_S", 0.05)
    ears["first"].waits = threading.Event()
    alert(house, "fraud")
    notify.turn(house)
    assert len(ears["second"].heard) == 1 and ears["first"].heard == []
    threads = threading.active_count()
    notify.turn(house)
    assert threading.active_count() == threads
    ears["first"].waits.set()


def test_the_built_in_one_writes_into_the_log(house, caplog):
    assert next(iter(brought("notifiers"))) == "log"
    notify.turn(house)
    alert(house, "fraud")
    with caplog.at_level(logging.INFO):
        notify.turn(house)
    assert "alert opened (warn): fraud drifts" in caplog.messages

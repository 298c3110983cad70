"""Answers that are kept: until a topic of theirs has news, or they are too old."""

from __future__ import annotations

import time

from mlops_tui.door.memo import Memo
from mlops_tui.store.feed import Event, Feed


def event(topic, seq=0):
    return Event(seq=seq, ts=0, actor="", topic=topic, object="o", action="a")


def test_an_answer_is_kept_until_one_of_its_topics_has_news():
    feed, asked = Feed(), []
    memo = Memo(feed)

    def answer():
        return memo.get(("t", "n"), ("run", "job"), lambda: asked.append(1) or len(asked))

    assert (answer(), answer()) == (1, 1)
    feed.publish([event("host")])
    assert answer() == 1
    feed.publish([event("job")])
    assert (answer(), answer()) == (2, 2)
    assert memo.get(("other", "n"), ("run",), lambda: 7) == 7


def test_every_kept_event_counts_for_the_star_and_a_touch_does_not():
    feed = Feed()
    memo = Memo(feed)
    made = iter(range(10))
    answer = lambda: memo.get(("n",), ("*",), lambda: next(made))  # noqa: E731
    assert answer() == 0
    feed.publish([event("run")])
    assert answer() == 0
    feed.publish([event("run", seq=1)])
    assert answer() == 1


def test_news_that_come_while_an_answer_is_made_outdate_it():
    feed = Feed()
    memo = Memo(feed)
    assert memo.get(("n",), ("run",), lambda: feed.publish([event("run")]) or "old") == "old"
    assert memo.get(("n",), ("run",), lambda: "new") == "new"


def test_what_changes_with_time_alone_is_made_anew():
    memo = Memo(Feed())
    assert memo.get(("n",), (), lambda: 1, age_s=0.05) == 1
    assert memo.get(("n",), (), lambda: 2, age_s=0.05) == 1
    time.sleep(0.06)
    assert memo.get(("n",), (), lambda: 3, age_s=0.05) == 3


def test_an_event_is_told_once_and_in_order():
    feed, heard = Feed(), []
    leave = feed.listen(heard.append)
    assert feed.readers == 1
    feed.publish([event("run", 1), event("run", 2)])
    feed.publish([event("run", 2), event("run", 1), event("run", 3), event("run"), event("run")])
    assert [one.seq for one in heard] == [1, 2, 3, 0, 0]
    leave()
    feed.publish([event("run", 4)])
    assert len(heard) == 5 and feed.readers == 0

from __future__ import annotations

import asyncio

from mlops_tui.core.errors import Unreachable
from mlops_tui.tui.news.hub import Hub, News


class Feed:
    """The change feed of an agent that can come and go."""

    def __init__(self):
        self.queue: asyncio.Queue = asyncio.Queue()
        self.up = True
        self.since: list[int | None] = []

    async def reach(self):
        if not self.up:
            raise Unreachable("no agent is running")

    async def events(self, since=None):
        self.since.append(since)
        while True:
            event = await self.queue.get()
            if event is None:
                raise Unreachable("the agent is gone")
            yield event

    def say(self, topic, object_, seq=0):
        self.queue.put_nowait({"seq": seq, "ts": 1, "topic": topic, "object": object_, "action": "x"})


class Screen:
    def __init__(self, *topics, seen=True):
        self.topics, self.seen, self.heard = frozenset(topics), seen, []

    async def hear(self, news: News):
        self.heard.append(news)


async def started(feed, *screens, period=0.05):
    contacts, kept = [], []
    hub = Hub(feed, lambda contact: contacts.append(contact.state), kept.append, period)
    for screen in screens:
        hub.join(screen)
    task = asyncio.create_task(hub.run())
    await asyncio.sleep(0.1)
    return hub, task, contacts, kept


async def test_a_new_listener_hears_everything_once():
    feed, screen = Feed(), Screen("run")
    _, task, contacts, _ = await started(feed, screen)
    task.cancel()
    assert [news.all for news in screen.heard] == [True]
    assert contacts[0] == "live"


async def test_a_burst_is_one_piece_of_news_and_other_nouns_none():
    feed, screen = Feed(), Screen("run")
    _, task, _, kept = await started(feed, screen, period=0.1)
    screen.heard.clear()
    for i in range(50):
        feed.say("run", f"r{i}", seq=i + 1)
    feed.say("job", "j")
    await asyncio.sleep(0.3)
    task.cancel()
    assert len(screen.heard) == 1
    assert screen.heard[0].of("run") == {f"r{i}" for i in range(50)}
    assert not screen.heard[0].touches("job")
    assert len(kept) == 50


async def test_a_hidden_screen_hears_nothing_until_it_is_shown_and_then_all_at_once():
    feed, screen = Feed(), Screen("run", seen=False)
    hub, task, _, _ = await started(feed, screen)
    feed.say("run", "a", 1)
    await asyncio.sleep(0.15)
    feed.say("run", "b", 2)
    await asyncio.sleep(0.15)
    assert screen.heard == []
    screen.seen = True
    hub.ring()
    await asyncio.sleep(0.15)
    task.cancel()
    assert len(screen.heard) == 1 and screen.heard[0].of("run") == {"a", "b"}


async def test_paused_it_gathers_and_says_nothing():
    feed, screen = Feed(), Screen("run")
    hub, task, _, _ = await started(feed, screen)
    screen.heard.clear()
    hub.paused = True
    feed.say("run", "a", 1)
    await asyncio.sleep(0.2)
    assert screen.heard == []
    hub.paused = False
    hub.ring()
    await asyncio.sleep(0.15)
    task.cancel()
    assert screen.heard[0].of("run") == {"a"}


async def test_it_finds_the_agent_again_and_goes_on_where_it_was():
    feed, screen = Feed(), Screen("run")
    hub, task, contacts, _ = await started(feed, screen)
    feed.say("run", "a", 7)
    await asyncio.sleep(0.1)
    feed.up = False
    feed.queue.put_nowait(None)
    await asyncio.sleep(0.3)
    assert hub.contact.state == "lost" and hub.contact.problem is not None
    screen.heard.clear()
    feed.up = True
    await asyncio.sleep(0.8)
    task.cancel()
    assert hub.contact.state == "live"
    assert feed.since == [None, 7]
    assert screen.heard and screen.heard[0].all
    assert "lost" in contacts


async def test_who_left_hears_no_more():
    feed, screen = Feed(), Screen("run")
    hub, task, _, _ = await started(feed, screen)
    screen.heard.clear()
    hub.leave(screen)
    feed.say("run", "a", 1)
    await asyncio.sleep(0.2)
    task.cancel()
    assert screen.heard == []

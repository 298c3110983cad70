"""The door of a real agent: idempotent, planned, guarded, audited, told to everyone in order."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mlops_tui.client import AsyncClient
from mlops_tui.core.errors import BadInput, Conflict, NotAllowed, Unreachable


@pytest.fixture
def client(agent):
    """A client whose user is the admin, so that there are roles."""
    made = agent.client()
    made.call("identity.create", {"name": me(made), "role": "admin"})
    return made


def me(client) -> str:
    return client.call("home.show").user


def roles(client) -> dict[str, str]:
    return {row[0]: row[1] for row in client.call("identity.list").rows}


def test_the_same_request_id_gets_the_same_answer_and_does_nothing_twice(client):
    before = client.call("audit.verify").records
    first = client.call("identity.create", {"name": "amal", "role": "viewer"}, request_id="one-and-only")
    client.call("identity.create", {"name": "amal", "role": "engineer"})
    again = client.call("identity.create", {"name": "amal", "role": "viewer"}, request_id="one-and-only")
    assert again == first
    assert roles(client)["amal"] == "engineer", "a late retry does not undo what came after"
    assert client.call("audit.verify").records == before + 2
    with pytest.raises(Conflict, match="request id was used for another call"):
        client.call("identity.revoke", {"name": "amal"}, request_id="one-and-only")
    assert roles(client)["amal"] == "engineer"


def test_the_same_answer_comes_from_the_next_agent_too(agent, client):
    first = client.call("identity.create", {"name": "amal", "role": "viewer"}, request_id="kept")
    agent.kill()
    agent.start()
    client = agent.client()
    before = client.call("audit.verify").records
    assert client.call("identity.create", {"name": "amal", "role": "viewer"}, request_id="kept") == first
    assert client.call("audit.verify").records == before


def test_a_plan_changes_nothing_and_says_everything(client):
    before = client.call("audit.verify"), roles(client), client.call("event.list").total
    plan = client.plan("identity.create", {"name": "amal", "role": "viewer"})
    assert [(one.object, one.field, one.before, one.after) for one in plan.changes] == [
        ("identity:amal", "role", None, "viewer")
    ]
    assert (client.call("audit.verify"), roles(client), client.call("event.list").total) == before
    client.call("identity.create", {"name": "amal", "role": "viewer"}, digest=plan.digest)
    assert roles(client)["amal"] == "viewer"


def test_what_was_confirmed_is_what_is_done_or_nothing(client):
    plan = client.plan("identity.create", {"name": "amal", "role": "viewer"})
    client.call("identity.create", {"name": "amal", "role": "operator"})
    with pytest.raises(Conflict, match="the plan has changed"):
        client.call("identity.create", {"name": "amal", "role": "viewer"}, digest=plan.digest)
    assert roles(client)["amal"] == "operator"


def test_who_may_not_is_refused_with_exit_4_and_it_is_written_down(client):
    client.call("identity.create", {"name": "boss", "role": "admin"})
    client.call("identity.create", {"name": me(client), "role": "viewer"})
    before = roles(client)
    with pytest.raises(NotAllowed, match="may not identity write") as refused:
        client.call("identity.create", {"name": "amal", "role": "admin"}, reason="let me in")
    assert refused.value.exit_code == 4 and "mlops identity create" in refused.value.fix
    assert roles(client) == before
    row = client.call("audit.list", {"filter": "outcome:refused"}).rows
    assert len(row) == 1 and row[0][2:4] == [me(client), "identity.create"] and "let me in" in row[0]
    assert client.call("audit.verify").ok


def test_bad_requests_are_told_as_such(client):
    with pytest.raises(BadInput, match=r"identity\.create"):
        client.call("identity.create", {"name": "amal"})
    with pytest.raises(BadInput, match="no role 'king'"):
        client.call("identity.create", {"name": "amal", "role": "king"})
    with pytest.raises(BadInput, match="no operation"):
        client.call("identity.crown", {})


def test_changes_that_come_at_once_are_told_in_their_order(client):
    feed = client.events()
    told: list[int] = []

    def listen() -> None:
        for event in feed:
            told.extend([event["seq"]] if event["seq"] else [])
            if len(told) >= 60:
                return

    listening = threading.Thread(target=listen)
    listening.start()
    while not client.call("agent.status").readers:
        continue

    def change(who: int) -> None:
        from mlops_tui.client import Client

        own = Client(client.home, start=False)
        for turn in range(10):
            own.call("identity.create", {"name": f"p{who}", "role": ("viewer", "engineer")[turn % 2]})

    changing = [threading.Thread(target=change, args=(who,)) for who in range(6)]
    for thread in changing:
        thread.start()
    for thread in [*changing, listening]:
        thread.join(timeout=60)
    assert told == sorted(told) and len(set(told)) == 60


def test_who_comes_back_misses_nothing_and_hears_nothing_twice(agent, client):
    def make(name: str) -> None:
        client.call("identity.create", {"name": name, "role": "viewer"})

    def hear(since: int | None, count: int) -> list[dict]:
        feed, heard = agent.client().events(since), []
        for event in feed:
            heard += [event] if event["topic"] == "identity" and event["seq"] else []
            if len(heard) == count:
                feed.close()
        return heard

    for name in ("a", "b", "c"):
        make(name)
    assert [event["object"] for event in hear(0, 4)] == [me(client), "a", "b", "c"]
    last = hear(0, 4)[1]["seq"]
    assert [event["object"] for event in hear(last, 2)] == ["b", "c"]
    agent.kill()
    agent.start()
    client = agent.client()
    make("d")
    assert [event["object"] for event in hear(last, 3)] == ["b", "c", "d"], "the store remembers what the agent forgot"


async def test_a_listener_is_told_when_the_agent_is_gone_and_goes_on_with_the_next(agent, home):
    client = AsyncClient(home)
    await client.reach(start=False)
    user = (await client.call("home.show")).user
    last = 0

    async def next_of(feed, topic: str) -> dict:
        async for event in feed:
            if event["topic"] == topic and event["seq"]:
                return event
        raise AssertionError("the feed ended")

    feed = client.events(0)
    waiting = asyncio.create_task(next_of(feed, "identity"))
    await asyncio.sleep(2.5)  # two signs of life without news
    await client.call("identity.create", {"name": user, "role": "admin"})
    last = (await asyncio.wait_for(waiting, 10))["seq"]
    waiting = asyncio.create_task(next_of(feed, "identity"))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(agent.kill)
    with pytest.raises(Unreachable):
        await asyncio.wait_for(waiting, 10)
    await asyncio.to_thread(agent.start)
    await client.call("identity.create", {"name": "amal", "role": "viewer"})
    assert (await asyncio.wait_for(next_of(client.events(last), "identity"), 10))["object"] == "amal"
    await client.close()


def test_a_number_is_wanted_to_come_back_with(agent):
    with pytest.raises(BadInput, match="since is not a number"):
        next(agent.client().events("yesterday"))

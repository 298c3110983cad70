"""The one path of every call: guarded, planned, done in one transaction or not at all, written down, told."""

from __future__ import annotations

import os

import pytest

from mlops_tui.agent.rooms import ROOMS
from mlops_tui.contracts import govern
from mlops_tui.contracts.operation import OPERATIONS, Done, Effect, Plan, find
from mlops_tui.core.config import load
from mlops_tui.core.errors import BadInput, Conflict, NotAllowed, NotFound, Refused
from mlops_tui.core.ids import uuid7
from mlops_tui.door import Caller, implements
from mlops_tui.door.lookup import by_name_or_id
from mlops_tui.door.perform import Wish, ask, decode, perform
from mlops_tui.door.registry import IMPLEMENTATIONS, SCHEDULES, every
from mlops_tui.store.feed import Event

AMAL = Caller("amal", os.getuid())


class Change:
    """A change that does what a test wants, in the place of ``identity.create``."""

    def __init__(self, apply=lambda ctx: None):
        self.done = apply
        self.plans = self.applies = 0

    def plan(self, ctx, request):
        self.plans += 1
        return Plan(operation="identity.create", object=f"identity:{request.name}", text="try", data={"secret": 1})

    def apply(self, ctx, request, plan):
        self.applies += 1
        ctx.session.insert("tag", object=request.name, key="k", value="v", ts_us=ctx.now)
        ctx.emit("identity", request.name, "made", "it is made")
        ctx.house.series.append(ctx.session, "run", "r", ["loss"], [1], [ctx.now], [0.5])
        self.done(ctx)
        return Done(object=plan.object, text=plan.text)


@pytest.fixture
def change(monkeypatch):
    made = Change()
    monkeypatch.setitem(IMPLEMENTATIONS, "identity.create", made)
    return made


@pytest.fixture
def told(house):
    heard: list[Event] = []
    house.feed.listen(heard.append)
    return heard


def create(house, name="x", caller=None, wish=None):
    request = govern.CreateIdentity(name=name, role="viewer")
    return perform(house, "identity.create", request, caller or Caller("amal", os.getuid()), wish)


def count(house, table):
    return house.read(lambda s: s.value(f"SELECT count(*) FROM {table}"))


def all_counts(house):
    return [count(house, table) for table in ("tag", "event", "audit", "request", "series", "point")]


def test_a_change_is_done_written_down_remembered_and_told(house, change, told):
    assert create(house) == Done(object="identity:x", text="try")
    assert all_counts(house) == [1, 1, 1, 1, 1, 1]
    assert [(event.topic, event.object, event.actor, event.seq) for event in told] == [("identity", "x", "amal", 1)]


def test_of_a_change_that_fails_nothing_remains(house, change, told):
    create(house, "first")
    before = all_counts(house)

    def fails(ctx):
        ctx.house.series.append(ctx.session, "run", "r", ["another"], [1], [ctx.now], [0.5])
        raise ValueError("half-way")

    change.done = fails
    with pytest.raises(ValueError, match="half-way"):
        create(house, "second")
    assert all_counts(house) == before and len(told) == 1
    change.done = lambda ctx: None
    create(house, "third")
    assert [event.object for event in told] == ["first", "third"]
    assert house.read(lambda s: s.column("SELECT sid FROM series")) == [1], "what was handed out is taken back"
    change.done = lambda ctx: ctx.house.series.append(ctx.session, "run", "r", ["another"], [1], [ctx.now], [0.5])
    create(house, "fourth")
    found = house.read(lambda s: s.rows("SELECT sid, key, n FROM series ORDER BY sid"))
    assert found == [(1, "loss", 3), (2, "another", 1)]


def test_a_dry_run_only_plans(house, change, told):
    plan = create(house, wish=Wish(dry_run=True))
    assert (plan.object, change.plans, change.applies) == ("identity:x", 1, 0) and len(plan.digest) == 64
    assert all_counts(house) == [0] * 6 and told == []


def test_the_digest_of_the_plan_that_was_seen(house, change):
    digest = create(house, wish=Wish(dry_run=True)).digest
    with pytest.raises(Conflict, match="the plan has changed"):
        create(house, "another", wish=Wish(digest=digest))
    assert change.applies == 0
    create(house, wish=Wish(digest=digest))
    assert change.applies == 1


def test_a_request_id_is_answered_once(house, change):
    caller = Caller("amal", os.getuid(), request_id="r1")
    first = create(house, caller=caller)
    assert create(house, caller=caller) == first and change.applies == 1
    with pytest.raises(Conflict) as refused:
        create(house, caller=Caller("badr", os.getuid(), request_id="r1"))
    assert "request id was used" in str(refused.value) and change.applies == 1, "nobody is given another's answer"


def test_what_is_refused_is_written_down_and_what_is_merely_wrong_is_not(house, change):
    create(house, "amal")
    ask(house, find("identity.list"), find("identity.list").request())
    before = count(house, "audit")
    for error, written in ((NotAllowed("no"), 1), (Refused("never"), 1), (NotFound("gone"), 0), (Conflict("late"), 0)):

        def fails(ctx, error=error):
            raise error

        change.done = fails
        with pytest.raises(type(error)):
            create(house)
        before += written
        assert count(house, "audit") == before, error
    rows = house.read(lambda s: s.rows("SELECT action, object, outcome FROM audit ORDER BY seq DESC LIMIT 2"))
    assert rows == [("identity.create", "identity:x", "refused")] * 2


def test_a_stranger_may_nothing(house, change):
    stranger = Caller("mallory", os.getuid() + 1)
    with pytest.raises(NotAllowed):
        create(house, caller=stranger)
    assert change.plans == 0, "who may not is not told what would happen"
    assert house.read(lambda s: s.rows("SELECT actor, outcome FROM audit")) == [("mallory", "refused")]
    with pytest.raises(NotAllowed):
        perform(house, "run.list", find("run.list").request(), stranger)


def test_a_read_only_agent_plans_and_does_not(house, change, monkeypatch):
    monkeypatch.setenv("MLOPS_READONLY", "1")
    house.config = load(where=house.home)
    assert create(house, wish=Wish(dry_run=True)).object == "identity:x"
    with pytest.raises(NotAllowed, match="read-only"):
        create(house)
    assert change.applies == 0


def test_a_reading_operation_cannot_write(house, monkeypatch):
    def writes(ctx, _):
        ctx.session.insert("tag", object="o", key="k", value="v", ts_us=ctx.now)

    monkeypatch.setitem(IMPLEMENTATIONS, "audit.verify", writes)
    with pytest.raises(Exception, match="read-only"):
        perform(house, "audit.verify", find("audit.verify").request(), AMAL)
    assert count(house, "tag") == 0
    monkeypatch.undo()
    assert perform(house, "audit.verify", find("audit.verify").request(), AMAL).ok, "the session is as good as new"


def test_schedules_are_woken_after_the_commit_only(house, change):
    woken: list[int] = []
    house.on_wake("jobs.queue", lambda: woken.append(count(house, "tag")))
    change.done = lambda ctx: ctx.wake("jobs.queue")
    create(house)
    assert woken == [1], "whoever is woken sees what was done"

    def fails(ctx):
        ctx.wake("jobs.queue")
        raise NotFound("no")

    change.done = fails
    with pytest.raises(NotFound):
        create(house, "y")
    assert woken == [1]


def test_requests_are_read_strictly():
    operation = find("identity.create")
    assert decode(operation, b'{"name": "amal", "role": "viewer"}') == govern.CreateIdentity(name="amal", role="viewer")
    wrong = (b'{"name": 1, "role": "viewer"}', b'{"name": "amal"}', b'{"name": "a", "role": "v", "x": 1}', b"{", b"[]")
    for body in wrong:
        with pytest.raises(BadInput, match=r"identity\.create cannot read its request") as refused:
            decode(operation, body)
        assert refused.value.fix == "mlops spec identity.create"
    assert decode(find("agent.status"), b"") == find("agent.status").request()


def test_an_unknown_word_and_a_room_that_is_not_there(house, monkeypatch):
    with pytest.raises(BadInput, match=r"no operation 'run\.fly'"):
        perform(house, "run.fly", find("run.list").request(), AMAL)
    monkeypatch.delitem(IMPLEMENTATIONS, "run.list")
    with pytest.raises(BadInput, match="its room is not loaded"):
        perform(house, "run.list", find("run.list").request(), AMAL)


def test_every_operation_is_implemented_as_its_effect_asks(house):
    assert ROOMS and IMPLEMENTATIONS.keys() == OPERATIONS.keys()
    for name, operation in OPERATIONS.items():
        made = IMPLEMENTATIONS[name]
        planned = hasattr(made, "plan") and hasattr(made, "apply")
        assert planned == (operation.effect is Effect.CHANGE), name


def test_nothing_is_implemented_twice_nor_scheduled_twice(house):
    with pytest.raises(ValueError, match="implemented twice"):
        implements(govern.identity_create)(Change)
    with pytest.raises(TypeError, match="needs plan and apply"):
        IMPLEMENTATIONS.pop("identity.create", None)
        implements(govern.identity_create)(lambda ctx, request: None)
    with pytest.raises(ValueError, match="registered twice"):
        every(1.0, next(iter(SCHEDULES)))(lambda house: None)


@pytest.fixture(autouse=True)
def _as_it_was():
    """Operations are registered once a process: whatever a test does to them is undone."""
    before = dict(IMPLEMENTATIONS)
    yield
    IMPLEMENTATIONS.update(before)


def test_objects_are_found_by_what_people_call_them(house):
    ids = ["01900000-0000-7000-8000-00000000abcd", "01900000-0000-7000-8000-11111111abce", uuid7()]

    def fill(session):
        for at, (one, name) in enumerate(zip(ids, ("a", "b", "b"), strict=True)):
            session.insert("model", id=one, tenant="default", name=name, created_us=at, actor="x")

    house.store.write(fill)

    def found(typed, tenant="default"):
        return house.read(lambda s: by_name_or_id(s, "model", "model", typed, tenant, newest="created"))["id"]

    assert found("a") == ids[0] and found(ids[1]) == ids[1]
    assert found("b") == ids[2], "of equal names the newest"
    assert found("abce") == ids[1] and found("R-0000ABCD") == ids[0]
    with pytest.raises(BadInput, match="fits several"):
        found("01900000")
    for typed, tenant in (("c", "default"), ("a", "other"), ("bcd", "default"), ("", "default")):
        with pytest.raises(NotFound) as missing:
            found(typed, tenant)
        assert missing.value.fix == "mlops model list shows them"

"""mlops undo: the last note, tag or deletion of a person is taken back, then the one before it; nobody else's."""

from __future__ import annotations

import os

import pytest

from mlops_tui.contracts.operation import find
from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import Conflict, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.door import Caller
from mlops_tui.door.perform import Wish, perform
from mlops_tui.spool.records import Start
from mlops_tui.tracking.life.spooled import started


@pytest.fixture
def more_runs(house):
    """Make finished runs of these names."""
    import msgspec

    from mlops_tui.door import act

    process = {"host": "h", "boot": "b", "pid": 1, "created": 1}

    def made(*names):
        def begin(ctx):
            for name in names:
                facts = {"experiment": "census", "name": name}
                body = {"t": now_us(), "owner": (run := uuid7()), "kind": "run", "process": process, "run": facts}
                started(ctx, run, [msgspec.convert({"e": "start", **body}, Start)])
            ctx.session.execute("UPDATE run SET status = 'done'")

        act(house, Caller.system(), begin)

    return made


@pytest.fixture
def call(house, more_runs):
    """Call an operation as somebody; there is one finished run, ``one``."""
    more_runs("one")

    def asked(name, /, *, who="amal", dry_run=False, **request):
        operation = find(name)
        return perform(house, name, operation.request(**request), Caller(who, os.getuid()), Wish(dry_run=dry_run))

    return asked


def note(call):
    return call("run.show", run="one").note


def test_the_last_change_is_taken_back_and_then_the_one_before(call):
    with pytest.raises(NotFound, match="nothing to take back"):
        call("undo.last")
    call("run.note", run="one", text="first")
    call("run.note", run="one", text="second")
    call("run.tag", run="one", tags={"stage": "candidate", "team": "a"})
    call("run.delete", run="one")
    plan = call("undo.last", dry_run=True)
    assert plan.text == "take back: delete the run one" and call("run.show", run="one").deleted
    assert call("undo.last").text == plan.text and not call("run.show", run="one").deleted
    call("undo.last")
    assert "stage" not in call("run.show", run="one").tags
    call("undo.last")
    assert note(call) == "first"
    call("run.note", run="one", text="third")
    call("undo.last")
    assert note(call) == "first"
    call("undo.last")
    assert note(call) == ""
    with pytest.raises(NotFound):
        call("undo.last")


def test_what_was_changed_since_is_left_alone_and_others_undo_their_own(call):
    call("run.note", run="one", text="mine")
    call("run.tag", run="one", tags={"stage": "b"})
    call("run.note", run="one", text="somebody else's", who="badr")
    call("undo.last")
    assert "stage" not in call("run.show", run="one").tags
    with pytest.raises(Conflict, match=r"note of run:.* was changed since"):
        call("undo.last")
    assert note(call) == "somebody else's"
    call("undo.last", who="badr")
    assert note(call) == "mine"
    call("undo.last")
    assert note(call) == ""


def test_an_experiment_comes_back_with_its_runs(call):
    call("experiment.delete", experiment="census")
    assert call("run.list").total == 0
    call("undo.last")
    assert call("run.list").total == 1
    call("experiment.tag", experiment="census", tags={"a": "1"})
    call("undo.last")
    assert call("experiment.show", experiment="census").tags == {}


def test_it_needs_the_right_to_do_the_opposite(call):
    call("run.note", run="one", text="before there were roles", who="reader")
    call("identity.create", name="amal", role="admin")
    call("identity.create", name="reader", role="viewer")
    from mlops_tui.core.errors import NotAllowed

    with pytest.raises(NotAllowed):
        call("undo.last", who="reader")
    assert note(call) == "before there were roles"


def test_many_runs_are_changed_by_one_plan_and_taken_back_by_one_undo(call, more_runs):
    more_runs("two", "three")
    call("run.tag", run="two", tags={"stage": "old"})
    plan = call("run.tag", run="one", also=["two", "three", "one"], tags={"stage": "new"}, dry_run=True)
    assert [(change.before, change.after) for change in plan.changes] == [(None, "new"), ("old", "new"), (None, "new")]
    assert plan.text == "tag 3 runs (one, two, three): stage=new" and plan.cli.count("--also") == 2
    call("run.tag", run="one", also=["two", "three"], tags={"stage": "new"})
    call("run.note", run="one", also=["three"], text="both")
    call("run.delete", run="one", also=["two", "three"])
    assert all(call("run.show", run=name).deleted for name in ("one", "two", "three"))
    call("undo.last")
    assert not any(call("run.show", run=name).deleted for name in ("one", "two", "three"))
    call("undo.last")
    assert [call("run.show", run=name).note for name in ("one", "two", "three")] == ["", "", ""]
    call("undo.last")
    assert [call("run.show", run=name).tags.get("stage") for name in ("one", "two", "three")] == [None, "old", None]


def test_hundreds_of_runs_are_taken_back_as_one(call, more_runs):
    more_runs(*(f"n{i}" for i in range(60)))
    ids = [row[0] for row in call("run.list", limit=100).rows]
    call("run.delete", run=ids[0], also=ids[1:])
    call("undo.last")
    assert call("run.list").total == len(ids)


def test_of_many_runs_all_are_deleted_or_none(call, more_runs):
    more_runs("two")
    call("run.delete", run="two")
    with pytest.raises(Conflict, match="two is deleted already"):
        call("run.delete", run="one", also=["two"])
    assert not call("run.show", run="one").deleted


def test_deleted_runs_are_listed_for_those_who_ask_for_them(call, more_runs):
    more_runs("two")
    call("run.delete", run="two")

    def names(filter):
        return sorted(row[1] for row in call("run.list", filter=filter).rows)

    assert names("") == names("deleted:no") == ["one"]
    assert names("deleted:yes") == names("deleted:yes name:two") == ["two"] and names("deleted:yes name:one") == []
    assert names("deleted:yes or name:one") == ["one", "two"]
    call("run.restore", run="two")
    assert names("deleted:yes") == [] and names("") == ["one", "two"]

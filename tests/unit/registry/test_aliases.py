"""Aliases: moved, compared and set, removed, rolled back; every move stays in the history."""

from __future__ import annotations

import pytest

from mlops_tui.core.errors import BadInput, Conflict, NotFound


@pytest.fixture
def three(desk):
    for name in ("a", "b", "c"):
        desk.register(desk.train(name))
    return desk


def point(desk, version, alias="champion", **more):
    return desk.call("model.alias", model=f"employment@{version}", alias=alias, **more)


def at(desk, alias="champion"):
    return desk.call("model.show", model="employment").aliases.get(alias)


def test_an_alias_moves_and_its_history_tells_who_and_why(three):
    point(three, 1, reason="first")
    done = point(three, 2, reason="better auc")
    assert done.text == "point champion at employment@2" and at(three) == 2
    history = three.call("model.show", model="employment").history
    assert [(one.alias, one.version, one.actor, one.reason) for one in history] == [
        ("champion", 2, "tester", "better auc"),
        ("champion", 1, "tester", "first"),
    ]
    assert three.call("version.show", model="employment@champion").aliases == ["champion"]
    assert three.call("version.show", model="employment@1").aliases == []


def test_the_plan_says_before_and_after(three):
    point(three, 1)
    plan = three.plan("model.alias", model="employment@3", alias="champion")
    assert [(one.object, one.before, one.after) for one in plan.changes] == [("model:employment@champion", 1, 3)]
    assert plan.cli == "mlops model alias employment@3 champion" and plan.warnings == [] and at(three) == 1


def test_a_version_without_or_with_failed_gates_is_warned_of(three):
    three.train("d", gates=False)
    three.register("d", require_gates=False)
    assert three.plan("model.alias", model="employment@4", alias="champion").warnings == [
        "no gate has run over this version"
    ]
    [(run,)] = three.rows("SELECT id FROM run WHERE name = 'd'")
    three.gate(run, "fairness", passed=False, text="SEX 0.3")
    assert three.plan("model.alias", model="employment@4", alias="champion").warnings == [
        "the gate fairness failed: SEX 0.3"
    ]


def test_compare_and_set(three):
    point(three, 1)
    point(three, 2, expect=1)
    with pytest.raises(Conflict, match="it points at version 2"):
        point(three, 3, expect=1)
    with pytest.raises(Conflict, match="it does not exist"):
        point(three, 3, alias="challenger", expect=1)
    assert at(three) == 2


def test_the_same_move_again_is_no_move(three):
    point(three, 1)
    assert "already" in point(three, 1).text
    assert three.rows("SELECT count(*) FROM alias_event") == [(1,)]


def test_an_alias_is_removed(three):
    point(three, 1)
    three.call("model.alias", model="employment", alias="champion", remove=True)
    assert at(three) is None
    assert three.call("model.show", model="employment").history[0].version is None
    with pytest.raises(NotFound, match="no alias champion"):
        three.call("model.alias", model="employment", alias="champion", remove=True)
    with pytest.raises(NotFound):
        three.call("version.show", model="employment@champion")


def test_a_rollback_inserts_the_older_value_and_goes_further_back_each_time(three):
    for version in (1, 2, 3):
        point(three, version)
    back = three.call("model.rollback", model="employment")
    assert back.text == "point champion back to employment@2" and at(three) == 2
    three.call("model.rollback", model="employment", alias="champion")
    assert at(three) == 1, "never forward to what was rolled back"
    with pytest.raises(Conflict, match="cannot be rolled back"):
        three.call("model.rollback", model="employment")
    versions = [one.version for one in three.call("model.show", model="employment").history]
    assert versions == [1, 2, 3, 2, 1]
    point(three, 3)
    three.call("model.rollback", model="employment")
    assert at(three) == 1


def test_a_rollback_after_a_removal_brings_back_what_was_there(three):
    point(three, 1)
    point(three, 2)
    three.call("model.alias", model="employment", alias="champion", remove=True)
    three.call("model.rollback", model="employment")
    assert at(three) == 2
    three.call("model.rollback", model="employment")
    assert at(three) == 1


def test_a_rollback_never_leads_to_where_it_is(three):
    point(three, 1)
    three.call("model.alias", model="employment", alias="champion", remove=True)
    point(three, 1)
    with pytest.raises(Conflict, match="always pointed at version 1"):
        three.call("model.rollback", model="employment")
    with pytest.raises(Conflict, match="never pointed anywhere"):
        three.call("model.rollback", model="employment", alias="challenger")


def test_aliases_of_one_model_do_not_touch_each_other(three):
    point(three, 1)
    point(three, 2, alias="challenger")
    three.call("model.alias", model="employment@challenger", alias="champion")
    assert (at(three), at(three, "challenger")) == (2, 2)
    three.call("model.rollback", model="employment")
    assert (at(three), at(three, "challenger")) == (1, 2)


def test_a_version_must_be_said_and_latest_is_taken(three):
    with pytest.raises(BadInput, match="say which version"):
        three.call("model.alias", model="employment", alias="champion")
    with pytest.raises(BadInput, match="means the newest version"):
        point(three, 1, alias="latest")
    version = three.call("version.show", model="employment@2").id
    three.call("model.alias", model=version, alias="champion")
    assert at(three) == 2
    with pytest.raises(NotFound):
        point(three, 9)


def test_aliases_outlive_the_store_being_closed(three):
    point(three, 1)
    point(three, 2)
    # A new agent counts on from the store, so that the newest row is still the newest.
    three.house._counters.clear()
    point(three, 3)
    assert at(three) == 3

"""A fork begins with the history of another run up to a step, whole and once, and lives apart from it."""

from __future__ import annotations

import math

import pytest

from mlops_tui.core.ids import uuid7
from mlops_tui.spool.writer import Writer


def parent_of(desk, steps=10):
    run = desk.run(params={"lr": "0.1", "depth": "3"})
    for step in range(steps):
        run.metrics({"loss": math.nan if step == 2 else float(steps - step)}, step, ts=1_000_000 + step)
    run.metrics({"auc": 0.5}, 8)
    run.machine({"system/cpu": 50.0}, 1)
    return run


def curve(desk, run, key="loss"):
    return desk.rows(
        """SELECT p.step, p.value, epoch_us(p.ts) FROM point p JOIN series s USING (sid)
           WHERE s.owner = ? AND s.key = ? ORDER BY p.step""",
        [run, key],
    )


def test_a_fork_has_the_curve_so_far_and_goes_on_with_it(desk):
    parent = parent_of(desk)
    child = Writer(
        desk.spool,
        uuid7(),
        run={"name": "child", "fork": parent.owner, "fork_step": 4, "params": {"lr": "0.2"}},
    )
    child.metrics({"loss": 5.5}, 5)
    desk.ingestor.reach(child.path, child.path.stat().st_size)  # before anything of the parent's was read
    desk.take()
    theirs, ours = curve(desk, parent.owner), curve(desk, child.owner)
    assert repr(ours[:5]) == repr(theirs[:5]) and [step for step, _, _ in ours] == [0, 1, 2, 3, 4, 5]
    assert ours[5][1] == 5.5 and len(theirs) == 10
    assert curve(desk, child.owner, "auc") == curve(desk, child.owner, "system/cpu") == []
    shown = desk.call("run.show", run=child.owner)
    assert shown.params == {"lr": "0.2", "depth": "3"} and shown.tags["mlops.fork"] == f"{parent.owner}@4"
    metric = next(one for one in shown.metrics if one.key == "loss")
    assert (metric.n, metric.last, metric.step) == (6, 5.5, 5)
    edges = desk.rows("SELECT src, dst FROM link WHERE rel = 'forked_from'")
    assert edges == [(f"run:{child.owner}", f"run:{parent.owner}")]


def test_a_fork_that_starts_again_has_its_history_once(desk):
    parent = parent_of(desk)
    child = uuid7()
    for _ in range(2):
        Writer(desk.spool, child, run={"fork": parent.owner})
        desk.take()
        desk.again()
    assert len(curve(desk, child)) == 10 and len(curve(desk, child, "auc")) == 1


@pytest.mark.parametrize("of", ["itself", "each other", "nobody"])
def test_what_cannot_be_forked_begins_empty(desk, of):
    one, other = uuid7(), uuid7()
    Writer(desk.spool, one, run={"fork": {"itself": one, "each other": other, "nobody": uuid7()}[of]}).metrics(
        {"m": 1.0}, 1
    )
    if of == "each other":
        Writer(desk.spool, other, run={"fork": one})
    desk.take()
    assert len(curve(desk, one, "m")) == 1 and desk.status(one) == "running"
    assert desk.rows("SELECT count(*) FROM quarantine") == [(0,)]


def test_a_fork_is_made_for_clients_of_other_protocols_too(desk):
    parent = parent_of(desk)
    parent.end("done")
    desk.take()
    plan = desk.plan("run.create", name="again", fork=parent.owner, step=2)
    assert plan.text == "make the run again as one was at step 2" and f"--fork {parent.owner} --step 2" in plan.cli
    made = desk.call("run.create", name="again", fork=parent.owner, step=2)
    assert [step for step, _, _ in curve(desk, made.id)] == [0, 1, 2]
    assert desk.call("run.show", run=made.id).experiment == "census"

"""The agent is killed at every transition of a rollout: in the middle of it, and before anything follows from it.

The suite takes three of the points, the soak all of them. Servers are asked all the time, and a person goes on saying
what she wants until she is heard.
"""

from __future__ import annotations

import contextlib
import random
import time

import psutil
import pytest
import yaml

from mlops_tui.core.errors import Conflict, Unreachable

GOOD, ALSO_GOOD, WRONG = (0.0, 4.0, -2.0), (0.0, 8.0, -4.0), (0.0, -4.0, 2.0)
STEPS = [
    {"shadow": True, "for": 0.3},
    {"weight": 30, "for": 0.3},
    {"approve": "somebody"},
    {"weight": 60, "for": 0.3},
]
PATHS = {
    "promote": ["Pending", "Gating", "Provisioning", "Shadowing", "Shifting", "Holding", "Shifting", "Promoting",
                "Baking", "Succeeded"],
    "harm": ["Pending", "Gating", "Provisioning", "Shifting", "RollingBack", "RolledBack"],
    "abort": ["Pending", "Gating", "Provisioning", "Shadowing", "Paused", "Aborting", "Aborted"],
    "supersede": ["Pending", "Gating", "Provisioning", "Shadowing", "Superseded"],
    "rollback": ["Pending", "Gating", "Provisioning", "Shadowing", "Shifting", "RollingBack", "RolledBack"],
}  # fmt: skip
"""What a rollout goes through, and each state once: no transition is made twice, whoever dies."""
LOOKED = {"promote": ("Shadowing", "Shifting", "Holding", "Baking"), "harm": ("Shifting",)}
POINTS = {
    path: [f"rollout:{state}:{when}" for state in dict.fromkeys(states) for when in ("before", "after")]
    + [f"rollout:{state}:looked" for state in LOOKED.get(path, ())]
    + [f"routes:{kind}:{when}" for kind in ("plain", "leased") if path == "promote" for when in ("before", "after")]
    for path, states in PATHS.items()
}
"""Before a transition is committed, before anything follows from it, before a look is acted upon, around the routes."""


def is_over(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Person:
    """Says things to an agent that may die of hearing them; the client starts the next one and says it again."""

    def __init__(self, yard):
        self.yard = yard

    def ask(self, operation, **request):
        for _ in range(10):
            try:
                return self.yard.call(operation, **request)
            except Unreachable:
                continue
        raise AssertionError(self.yard.agent.log()[-3000:])

    def say(self, operation, **request):
        """Say it until it was heard; what is so already need not be said again."""
        with contextlib.suppress(Conflict):
            self.ask(operation, **request)

    def leave(self):
        """Stop the agent, whoever started it."""
        pid = self.ask("agent.status").pid
        self.ask("agent.stop")
        self.yard.until(lambda: pid, is_over, what="the agent is gone")

    def until(self, *states, rollout="census", within=240.0):
        deadline = time.monotonic() + within
        while (found := self.ask("rollout.status", rollout=rollout)).state not in states:
            assert time.monotonic() < deadline, f"{found.state}: {found.why}\n{self.yard.agent.log()[-3000:]}"
            assert found.ended is None, (found.state, found.text)
            time.sleep(0.05)
        return found


class Field:
    """A deployment under load, and the versions that come in and go."""

    def __init__(self, yard, clients, plan):
        self.yard, self.person, self.plan = yard, Person(yard), plan
        self.versions = {name: yard.model(weights, evaluation=False) for name, weights in
                         (("good", GOOD), ("also", ALSO_GOOD), ("wrong", WRONG))}  # fmt: skip
        self.stable = "good"
        shown = yard.serve(self.versions["good"])
        self.id = shown.id
        self.load = clients(int(shown.url.rpartition(":")[2]), pause=0.004, labels=yard.labels(shown.id))

    def through(self, path, points=()):
        """Take a rollout along a path with agents that die at these points, and check what is promised."""
        self.plan.write_text("\n".join(points))
        comes = "wrong" if path == "harm" else "also" if self.stable == "good" else "good"
        self._begin(comes, path)
        getattr(self, f"_{path}")()
        ended = self.person.until(PATHS[path][-1], rollout=self.rollout)
        if path == "promote":
            self.stable = comes
        self._check(ended, path)

    def _begin(self, comes, path):
        before = self._newest()
        while self._newest() == before:
            self.person.say("rollout.start", file=self._file(comes, path))
        self.rollout = self._newest()

    def _file(self, comes, path):
        steps = [{"weight": 50, "for": "1h"}] if path == "harm" else STEPS
        if path in ("abort", "supersede"):
            steps = [{"shadow": True, "for": "1h"}, {"weight": 30}]
        if path == "rollback":
            steps = [STEPS[0], {"weight": 30, "for": "1h"}]
        analysis = {"every": 0.2, "minRequests": 20}
        spec = {"deployment": "census", "model": self.versions[comes], "steps": steps, "keepOld": 2.0}
        return yaml.safe_dump({"apiVersion": "mlops-tui/v1", "kind": "Rollout", "spec": {**spec, "analysis": analysis}})

    def _newest(self):
        rows = self.person.ask("rollout.list", sort="-started", limit=1).rows
        return rows[0][0] if rows else None

    def _promote(self):
        self.person.until("Holding")
        self.person.say("rollout.approve", rollout="census")

    def _harm(self):
        pass

    def _abort(self):
        self.person.until("Shadowing")
        self.person.say("rollout.pause", rollout="census")
        self.person.until("Paused")
        self.person.say("rollout.abort", rollout="census")

    def _rollback(self):
        self.person.until("Shifting")
        self.person.say("rollout.rollback", deployment="census")

    def _supersede(self):
        self.person.until("Shadowing")
        while self._newest() == self.rollout:
            self.person.say("rollout.start", file=self._file("wrong", "abort"), supersede=True)
        self.person.say("rollout.abort", rollout="census")
        self.person.until("Aborted")

    def _check(self, ended, path):
        assert [one.state for one in ended.events] == PATHS[path]
        assert not self.plan.read_text(), "points that were not met"
        assert (self.load.errors, self.load.broken) == ([], []), "every request was answered"
        serving = self.yard.serving()
        assert [one.model + "@" + str(one.version) for one in serving.revisions if one.weight] == [
            self.versions[self.stable]
        ]
        self._counted_once(ended.id)

    def _counted_once(self, rollout):
        looks = self.yard.rows(
            f"""SELECT event, look, n_canary, n_stable, bad_canary, bad_stable FROM rollout_look
                WHERE rollout_id = '{rollout}' ORDER BY event, look"""
        )
        for event in {row[0] for row in looks}:
            mine = [row for row in looks if row[0] == event]
            assert [row[1] for row in mine] == list(range(len(mine))), "a look has one number"
            sums = [row[2] + row[3] for row in mine]
            assert sums == sorted(set(sums)), "each look brought something"
            table = "outcome" if event == "wrong" else "inference"
            there = self.yard.rows(
                f"""SELECT count(*) FROM {table} i JOIN rollout r ON r.id = '{rollout}' AND i.ts >= r.started
                    AND i.deployment_id = r.deployment_id AND i.revision_no IN (r.stable_no, r.canary_no)"""
            )[0][0]
            assert sums[-1] <= there, "nothing was counted twice"


@pytest.fixture
def field(home, tmp_path, monkeypatch, request, clients):
    plan = tmp_path / "faults"
    monkeypatch.setenv("MLOPS_FAULTS", str(plan))
    made = Field(request.getfixturevalue("yard"), clients, plan)
    yield made
    made.load.finish()
    made.person.leave()


def test_an_agent_that_dies_in_a_transition_goes_on_where_it_was(field):
    field.through("promote", random.Random(5).sample(POINTS["promote"], 3))


@pytest.mark.soak
@pytest.mark.parametrize("path", PATHS)
def test_an_agent_that_dies_at_any_point_goes_on_where_it_was(field, path):
    began = time.monotonic()
    field.through(path, POINTS[path])
    print(f"{path}: {len(POINTS[path])} kills in {time.monotonic() - began:.1f} s", flush=True)


@pytest.mark.soak
def test_twenty_rollouts_end_as_they_should(field):
    draw = random.Random(2026)
    for number in range(20):
        path = draw.choice(["promote", "promote", "harm", "abort", "rollback"])
        began = time.monotonic()
        field.through(path)
        print(f"{number + 1}/20 {path}, {time.monotonic() - began:.1f} s", flush=True)

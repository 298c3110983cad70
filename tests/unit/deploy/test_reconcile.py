"""What the reconciler writes for the servers and reads of them, without servers: folders as they would be found."""

import json
import os
import subprocess
import sys
import time

import pytest

from mlops_tui.core.clock import SECOND, now_us
from mlops_tui.deploy import traffic
from mlops_tui.deploy.targets import reconcile
from mlops_tui.deploy.targets.servers import Servers
from mlops_tui.deploy.traffic import Share, Split
from mlops_tui.door.context import Caller, Context
from mlops_tui.spool.process import this_process


@pytest.fixture
def placed(stage):
    """A deployment with a folder of its own; ``stage.say`` plays a supervisor that is this very process."""
    stage.model(versions=2)
    stage.id = stage.serve()
    stage.folder = stage.house.home.deployments / stage.id
    stage.folder.mkdir(parents=True)
    reconcile._published.clear()

    def say(at, *, ready=True, reverted=False, refused=None, process=None, workers=()):
        state = {
            "pid": os.getpid(), "process": process or this_process(), "epoch": at[0], "generation": at[1], "port": 4000,
            "ready": ready, "reverted": reverted, "refused": refused, "workers": list(workers),
        }  # fmt: skip
        (stage.folder / "state.json").write_text(json.dumps(state))

    def routes():
        row = stage.house.read(lambda s: s.dict("SELECT * FROM deployment WHERE id = ?", [stage.id]))
        reconcile._write_routes(stage.house, row, Servers(stage.folder))
        return json.loads((stage.folder / "routes.json").read_bytes())

    def condition():
        row = stage.house.read(lambda s: s.dict("SELECT * FROM deployment WHERE id = ?", [stage.id]))
        reconcile._note(stage.house, row, reconcile._seen(row, Servers(stage.folder)))
        return stage.rows("SELECT status, text, acknowledged FROM deployment WHERE id = ?", [stage.id])[0]

    def shift(split):
        return stage.house.store.write(
            lambda s: traffic.shift(Context(stage.house, Caller.system(), s), stage.id, split, "canary", "")
        )

    stage.say, stage.routes, stage.condition, stage.shift = say, routes, condition, shift
    yield stage
    reconcile._published.clear()


def test_routes_name_models_weights_and_who_answers_for_the_others(placed):
    placed.call("rollout.start", deployment="census", model="census@2")
    shares = [Share(no=1, role="stable", weight=75.0), Share(no=2, role="canary", weight=25.0)]
    generation = placed.shift(Split(shares=shares, lease=True))
    before = now_us()
    routes = placed.routes()
    assert (routes["generation"], routes["sticky"]) == (generation, None)
    assert [(one["label"], one["role"], one["weight"]) for one in routes["revisions"]] == [
        ("v1", "stable", 75.0), ("v2", "canary", 25.0),
    ]  # fmt: skip
    digest = f"{2:064x}"
    assert routes["revisions"][1]["model"] == {"digest": digest, "file": str(placed.house.blobs.place(digest))}
    assert routes["fallback"] == routes["revisions"][0]["id"]
    assert before + 59 * SECOND < routes["lease_until"] < now_us() + 61 * SECOND
    assert [(one["label"], one["weight"]) for one in routes["lease_revert"]] == [("v1", 100.0)]


def test_a_lease_is_renewed_when_a_third_of_it_is_over(placed, monkeypatch):
    placed.shift(Split(shares=[Share(no=1, role="stable", weight=100.0)], lease=True))
    start = time.monotonic()
    first = placed.routes()
    for passed, renewed in ((10, False), (19, False), (21, True)):
        monkeypatch.setattr(reconcile.time, "monotonic", lambda passed=passed: start + passed)
        again = placed.routes()
        assert (again["lease_until"] > first["lease_until"]) == renewed
        assert (again["epoch"], again["generation"]) == (first["epoch"], first["generation"])


def test_a_clock_that_is_set_neither_renews_a_lease_nor_keeps_it_from_being_renewed(placed, monkeypatch):
    split = Split(shares=[Share(no=1, role="stable", weight=100.0)], lease=True, lease_s=30.0)
    placed.shift(split)
    first, start = placed.routes(), time.monotonic()
    monkeypatch.setattr(reconcile, "now_us", lambda: first["lease_until"] - 3600 * SECOND)
    assert placed.routes() == first
    monkeypatch.setattr(reconcile.time, "monotonic", lambda: start + 11)
    again = placed.routes()
    assert (again["lease_until"] - first["lease_until"], again["lease_s"]) == (-3570 * SECOND, 30.0)


def test_a_new_agent_is_above_the_one_before_whatever_the_clock_says(placed):
    first = placed.routes()
    assert abs(first["epoch"] - now_us() // SECOND) < 5
    assert placed.routes() == first, "nothing is written without news"
    future = {**first, "epoch": first["epoch"] + 10_000_000}
    (placed.folder / "routes.json").write_text(json.dumps(future))
    reconcile._published.clear()
    assert placed.routes()["epoch"] == future["epoch"] + 1
    (placed.folder / "routes.json").unlink()
    placed.say((future["epoch"] + 50, 1))
    reconcile._published.clear()
    assert placed.routes()["epoch"] == future["epoch"] + 51


def test_a_lease_that_ran_out_is_taken_up_again_under_a_higher_number(placed):
    first = placed.routes()
    at = (first["epoch"], first["generation"])
    placed.say(at, reverted=True)
    assert placed.condition() == ("serving", "the lease ran out: stable has all traffic", 0)
    again = placed.routes()
    assert (again["epoch"], again["generation"]) == (at[0] + 1, at[1])
    placed.say((at[0] + 1, at[1]))
    assert placed.condition() == ("serving", "serving", at[1])
    assert placed.routes() == again


def test_only_what_this_agent_published_is_acknowledged(placed):
    first = placed.routes()
    at = (first["epoch"], first["generation"])
    placed.say((at[0] - 1, at[1]))
    assert placed.condition()[2] == 0, "an earlier agent's routes"
    placed.say(at)
    assert placed.condition()[2] == at[1]
    since = placed.house.read(lambda s: traffic.since(s, placed.id, at[1]))
    assert since is not None
    newer = placed.shift(traffic.all_to(1))
    placed.routes()
    assert placed.condition()[2] == 0
    placed.say((at[0], newer))
    assert placed.condition()[2] == newer
    placed.say(at)
    placed.condition()
    assert placed.house.read(lambda s: traffic.since(s, placed.id, at[1])) == since, "the first time counts"


def test_a_refusal_is_told_unless_it_is_about_other_routes(placed):
    first = placed.routes()
    at = (first["epoch"], first["generation"])
    refused = {"epoch": at[0], "generation": at[1], "why": "it is no model"}
    placed.say((at[0] - 1, 1), refused=refused)
    assert reconcile.refusal(placed.house, placed.id) == "it is no model"
    assert placed.condition()[:2] == ("serving", "serving the split before: the new one was refused, it is no model")
    placed.say((-1, -1), ready=False, refused=refused)
    assert placed.condition()[:2] == ("down", "it is no model")
    for other in ({**refused, "epoch": at[0] - 1}, {"epoch": -1, "generation": -1, "why": "cannot read"}):
        placed.say(at, refused=other)
        assert reconcile.refusal(placed.house, placed.id) == ""
    reconcile._published.clear()
    assert reconcile.refusal(placed.house, placed.id) == ""


def test_servers_that_are_gone_are_quoted(placed):
    dead = {**this_process(), "created": 1}
    placed.say((1, 1), process=dead, ready=False)
    (placed.folder / "server.log").write_text(
        "2026-01-01 supervisor INFO routes are served\n2026-01-01 supervisor ERROR port 80 on 127.0.0.1 is in use\n"
    )
    assert placed.condition()[:2] == ("down", "port 80 on 127.0.0.1 is in use")
    (placed.folder / "server.log").write_text("Traceback:\n  File\nModuleNotFoundError: No module named 'uvloop'\n")
    assert placed.condition()[:2] == ("down", "ModuleNotFoundError: No module named 'uvloop'")
    (placed.folder / "server.log").write_text("2026-01-01 supervisor ERROR once\n2026-01-01 worker 0 INFO went well\n")
    assert placed.condition()[:2] == ("down", "its servers are gone; they are started again")
    events = [text for (text,) in placed.rows("SELECT text FROM event WHERE topic = 'deploy' AND action = 'down'")]
    assert events == ["census is down: port 80 on 127.0.0.1 is in use"], "told once"


def test_workers_that_outlived_their_supervisor_serve(placed):
    at = (placed.routes()["epoch"], placed.routes()["generation"])
    dead = {**this_process(), "created": 1}
    placed.say(at, process=dead, workers=[{"ready": True, "process": this_process()}])
    assert placed.condition() == ("serving", "serving; the supervisor is started again", at[1])


def test_a_removed_deployment_is_not_cleared_while_somebody_holds_its_folder(placed):
    lock = placed.folder / "supervisor.lock"
    program = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True);"
        "sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    try:
        assert not Servers(placed.folder).end()
        assert placed.folder.exists()
    finally:
        holder.communicate(b"", timeout=10)
    assert Servers(placed.folder).end()
    assert not placed.folder.exists()


def test_one_deployment_in_trouble_stops_no_other(placed, monkeypatch):
    other = placed.serve("other")
    tended = []

    def tend(house, row):
        tended.append(row["name"])
        if row["name"] == "census":
            raise reconcile.MlopsError("the disk is full")

    monkeypatch.setattr(reconcile, "_tend", tend)
    reconcile.turn(placed.house)
    assert sorted(tended) == ["census", "other"]
    texts = dict(placed.rows("SELECT id, text FROM deployment"))
    assert texts[placed.id] == "the disk is full" and texts[other] == "serving"


def test_newer_features_are_a_new_epoch_and_no_new_split(placed):
    placed.house.store.write(lambda s: s.execute('UPDATE deployment SET facts = \'{"features": "people"}\''))
    first = placed.routes()
    assert "features" not in first, "it was never materialised"
    for number in (1, 2):
        digest = f"{number:064x}"
        placed.house.blobs.exists = lambda digest: True
        placed.call(
            "feature.online", view="people", digest=digest, size=1, entities=1, newest=now_us(), data="census@1"
        )  # fmt: skip
        placed.house.touch("feature", "people", "default")  # a house that was emptied tells no event twice
        routes = placed.routes()
        assert routes["features"]["digest"] == digest and routes["missing"] == "refuse"
        assert (routes["epoch"], routes["generation"]) == (first["epoch"] + number, first["generation"])
    del placed.house.blobs.exists
    assert placed.routes() == routes

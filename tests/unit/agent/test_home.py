"""Home: what it shows is in the store, and it shows it as soon as it is there."""

from __future__ import annotations

import time
from datetime import datetime

import numpy as np
import pytest

from mlops_tui.agent import upkeep
from mlops_tui.core.clock import DAY, HOUR, SECOND, now_us
from mlops_tui.core.ids import uuid7
from mlops_tui.hardware.watch import take, watch_of
from mlops_tui.monitoring import incidents

RUN = {
    "tenant": "default", "kind": "run", "host": "h", "boot": "b", "pid": 1, "actor": "alice", "command": "",
    "git_branch": "main", "git_sha": "", "git_dirty": False, "error": "", "note": "",
}  # fmt: skip


class Shown:
    """A house with things in it, and what Home shows of them."""

    def __init__(self, stage):
        self.stage, self.house = stage, stage.house

    def add(self, table, topic="", **values):
        """Insert a row with an id of its own, as a room would: the feed tells of it afterwards."""
        values = {"id": uuid7(), **values}
        self.house.store.write(lambda s: s.insert(table, **values))
        self.house.touch(topic or table, values["id"])
        return values["id"]

    def run(self, name="run", experiment="census", **values):
        made = self.stage.value("SELECT id FROM experiment WHERE name = ?", [experiment])
        made = made or self.add("experiment", tenant="default", name=experiment, created_us=now_us())
        wanted = {**RUN, "name": name, "status": "done", "started_us": now_us(), "experiment_id": made, **values}
        return self.add("run", **wanted)

    def job(self, name="train", status="running", **values):
        wanted = {
            "tenant": "default", "name": name, "kind": "train", "status": status, "spec": "{}", "attempt": 1,
            "retries": 0, "created_us": now_us(), "host": "", "boot": "", "actor": "alice", **values,
        }  # fmt: skip
        return self.add("job", **wanted)

    def alert(self, text, **values):
        wanted = {
            "tenant": "default", "rule": "drift", "subject": "census", "severity": "warn", "opened_us": now_us(),
            "acked_by": "", "text": text, "detail": "{}", "link": "drift:census", **values,
        }  # fmt: skip
        return self.add("alert", **wanted)

    def gate(self, run, gate, passed, text="", **values):
        wanted = {"run_id": run, "gate": gate, "passed": passed, "text": text, "detail": "{}", "digest": "d", **values}
        return self.add("gate_result", "gate", **{"ts_us": now_us(), **wanted})

    def now(self):
        return self.stage.call("home.show")

    def needs(self):
        return [(one.severity, one.kind, one.text) for one in self.now().attention]


@pytest.fixture
def shown(stage):
    return Shown(stage)


def test_an_empty_house_says_so(shown):
    shot = shown.now()
    assert (shot.attention, shot.jobs, shot.drift, shot.traffic, shot.runs, shot.host) == ([], [], [], [], [], None)
    assert (shot.models, shot.deployments, shot.healthy, shot.approvals) == (0, 0, 0, 0)
    assert (shot.residency, shot.audit_ok, shot.audit_checked, shot.cost_today) == ("not declared", None, None, None)
    assert (shot.user, shot.environment, shot.readonly) == ("alice", "local", False)


def test_the_machine_is_shown_as_it_was_sampled_last(shown):
    watch = watch_of(shown.house)
    first = take(shown.house, watch)
    assert shown.now().host.ts == first.ts
    second = take(shown.house, watch)
    assert shown.now().host.ts == second.ts > first.ts


def test_open_alerts_need_somebody_until_they_are_acknowledged_silenced_or_closed(shown):
    open_one = shown.alert("census: age has drifted")
    shown.alert("closed", closed_us=now_us())
    shown.alert("silent", silenced_until_us=now_us() + HOUR)
    shown.alert("loud again", silenced_until_us=now_us() - HOUR, severity="fail")
    assert [one[2] for one in shown.needs()] == ["loud again", "census: age has drifted"], "the worst comes first"
    assert shown.now().attention[1].link == f"alert:{open_one}"
    shown.stage.call("alert.ack", alert=open_one)
    assert [one[2] for one in shown.needs()] == ["loud again"]


def test_a_failed_job_needs_somebody_until_it_is_begun_anew(shown):
    error = b'{"code": "MLOPS-E0200", "what": "age is not a number", "why": "row 3"}'.decode()
    shown.job("ingest", "failed", ended_us=now_us(), error=error, kind="data.add")
    lost = b'{"code": "MLOPS-E0001", "what": "train v1 is lost", "why": "its supervisor died"}'.decode()
    shown.job("v1", "lost", ended_us=now_us() - HOUR, error=lost)
    shown.job("old", "failed", ended_us=now_us() - 2 * DAY)
    shown.job("fine", "done", ended_us=now_us())
    assert shown.needs() == [
        ("fail", "job", "data.add ingest failed: age is not a number"),
        ("fail", "job", "train v1 lost: its supervisor died"),
    ]
    shown.job("v1", "queued")
    assert [one[2] for one in shown.needs()] == ["data.add ingest failed: age is not a number"]


def test_gates_that_fail_on_the_newest_judged_run_of_an_experiment(shown):
    old = shown.run("v1", started_us=now_us() - HOUR)
    new = shown.run("v2", started_us=now_us() - HOUR // 2)
    other = shown.run("r1", experiment="rec")
    shown.gate(old, "quality", False, "0.5 < 0.7")
    shown.gate(new, "fairness", False, "old verdict", ts_us=now_us() - HOUR)
    shown.gate(new, "fairness", False, "0.12 > 0.10")
    shown.gate(new, "explanation", False, "SEX is in the top 3")
    shown.gate(new, "quality", True)
    shown.gate(other, "quality", True)
    assert shown.needs() == [("warn", "gate", "v2: explanation SEX is in the top 3 (and 1 more)")]
    assert shown.now().attention[0].link == f"run:{new}"
    passed = shown.run("v3")
    shown.gate(passed, "quality", True)
    assert shown.needs() == []


def test_a_deployment_that_is_down_and_what_is_proposed(shown):
    shown.stage.model()
    made = shown.stage.serve()
    shot = shown.now()
    assert (shot.models, shot.deployments, shot.healthy, shot.attention) == (1, 1, 1, [])
    shown.stage.servers(made, "down")
    shown.house.touch("deploy", made)
    shown.add(
        "automation", tenant="default", kind="retrain", subject="census", state="proposed", created_us=now_us(),
        actor="engine", alert_id="", text="retrain the model of census", inputs="{}",
    )  # fmt: skip
    shot = shown.now()
    assert (shot.deployments, shot.healthy) == (1, 0)
    assert [(one.severity, one.kind, one.text) for one in shot.attention] == [
        ("fail", "deploy", "census is down"),
        ("warn", "retrain", "retrain the model of census"),
    ]
    heard = shown.stage.value("SELECT epoch_us(max(ts)) FROM event WHERE topic = 'deploy'")
    assert shot.attention[0].ts == heard, "since when is what was last heard of it"


def test_a_rollout_under_way_its_evidence_and_its_end(shown, monkeypatch):
    stage = shown.stage
    stage.model(versions=2)
    made = stage.serve()
    stage.call(
        "rollout.start",
        deployment="census",
        model="census@2",
        steps=[25.0],
        look_s=0.01,
        step_s=60,
        min_requests=50,
        events=["error", "wrong"],
    )
    [line] = shown.now().traffic
    assert (line.kind, line.name, line.state, line.text) == ("canary", "census", "Pending", "v1 → v2  no rows yet")
    for _ in range(3):
        stage.turn()
        stage.servers(made)
    stage.judged(made, 1, 300, 30)
    stage.judged(made, 2, 100, 15)
    time.sleep(0.02)
    stage.turn()
    [line] = shown.now().traffic
    assert line.state == "Shifting" and line.text.startswith("v1 → v2 @25 %  ") and "n 100" in line.text, line.text
    assert "harm " in line.text and line.link.startswith("rollout:")
    assert shown.needs() == []
    stage.call("rollout.pause", rollout="census")
    assert shown.needs() == [("warn", "canary", "census v2 waits for you at 25 %")]
    stage.judged(made, 1, 400, 40)
    stage.judged(made, 2, 400, 400)
    for _ in range(4):
        time.sleep(0.02)
        stage.turn()
        stage.servers(made)
    assert stage.state() == "RolledBack"
    [need] = shown.needs()
    assert need[:2] == ("fail", "canary") and need[2].startswith("census v2 was rolled back: ")
    assert "wrong" in need[2] and shown.now().traffic == []
    incidents.turn(stage.house)
    [need] = shown.needs()
    assert need[:2] == ("fail", "rollout") and "wrong" in need[2], "its alert says it, once"


def test_a_canary_that_starves_is_said_to_be_held(shown):
    stage = shown.stage
    stage.model(versions=2)
    made = stage.serve()
    stage.call(
        "rollout.start", deployment="census", model="census@2", steps=[25.0], look_s=0.01, step_s=0.05, min_requests=500
    )
    for _ in range(3):
        stage.turn()
        stage.servers(made)

    def wait(minutes):
        past = "UPDATE rollout_event SET ts = ts - to_minutes(?)"
        shown.house.store.write(lambda s: s.execute(past, [minutes]))
        shown.house.touch("rollout", "census")
        stage.turn()
        return shown.needs()

    assert wait(4) == [], "requests may come yet"
    assert wait(2) == [("warn", "canary", "census v2 is held at 25 %: 0 of 500 rows")]
    stage.judged(made, 2, 100, 1)
    time.sleep(0.02)
    assert wait(4) == [], "there are enough within the hour"
    assert wait(10) == [("warn", "canary", "census v2 is held at 25 %: 100 of 500 rows")]


def test_an_ab_test_with_its_interval(shown):
    stage = shown.stage
    stage.model(versions=2)
    made = stage.serve()
    stage.call("ab.start", deployment="census", a="census@1", b="census@2", name="try")
    [line] = shown.now().traffic
    assert (line.kind, line.name, line.text) == ("ab", "try", "v1 ↔ v2  n 0  needs more data")
    test = line.link.removeprefix("ab:")
    for at, difference in ((1, 0.5), (2, 0.021)):
        look = {"n_a": at * 1000, "n_b": at * 1000, "difference": difference, "low": 0.004, "high": 0.039}
        shown.house.store.write(
            lambda s, at=at, look=look: s.insert("abtest_look", abtest_id=test, ts_us=now_us() + at, **look)
        )
    shown.house.touch("ab", test)
    assert shown.now().traffic[0].text == "v1 ↔ v2  n 4,000  +2.1 % [+0.4, +3.9]  needs more data"
    assert made


def test_the_worst_feature_of_each_deployment(shown):
    for name, verdicts in (("census", {"age": ("ok", 0.3), "sex": ("warn", 0.1)}), ("rec", {"clicks": ("drift", 0.2)})):
        shown.stage.model(name)
        made = shown.stage.serve(name, f"{name}@1")
        now = now_us()
        monitor = shown.add(
            "monitor", tenant="default", deployment_id=made, spec="{}", reference="r", profiles="{}", created_us=now,
            actor="alice", judged_us=now, resulted_us=now,
        )  # fmt: skip
        for feature, (verdict, js) in verdicts.items():
            for ts, value in ((now - SECOND, 0.9), (now, js)):
                row = {"feature": feature, "psi": value * 2, "js": value, "n": 500, "verdict": verdict, "method": "m"}
                shown.house.store.write(
                    lambda s, row=row, ts=ts, monitor=monitor: s.execute(
                        "INSERT INTO drift_result BY NAME SELECT ? AS monitor_id, make_timestamp(?) AS ts,"
                        " ? AS feature, ? AS psi, ? AS js, ? AS n, ? AS verdict, ? AS method, [0.1, ?] AS history",
                        [monitor, ts, *row.values(), row["js"]],
                    )
                )
        shown.house.touch("drift", made)
    found = [(line.deployment, line.feature, line.verdict, line.score, line.spark) for line in shown.now().drift]
    assert found == [("rec", "clicks", "drift", 0.4, [0.1, 0.2]), ("census", "sex", "warn", 0.2, [0.1, 0.1])]


def test_a_monitor_that_has_not_judged_is_listed_without_a_figure(shown):
    shown.stage.model()
    made = shown.stage.serve()
    row = {"tenant": "default", "deployment_id": made, "spec": "{}", "reference": "r", "profiles": "{}", "actor": "a"}
    shown.add("monitor", created_us=now_us(), **row)
    [line] = shown.now().drift
    assert (line.feature, line.score, line.verdict, line.spark) == ("", None, "nodata", [])


def test_what_runs_with_its_curve_so_far(shown):
    run = shown.run("resnet", status="running", metric="loss", value=0.25, job_id="j")
    job = shown.job("resnet", run_id=run, started_us=now_us() - HOUR, progress=0.5)
    shown.job("next", "queued")
    free = shown.run("by hand", status="running", metric="auc", value=0.5)
    shown.run("another's", status="running", tenant="other")
    steps = np.arange(2400)
    values = np.where(steps % 2 == 0, 1.0, 3.0) + (steps // 100)
    shown.house.store.write(
        lambda s: shown.house.series.append(s, "run", run, ["loss"] * 2400, steps, np.full(2400, now_us()), values)
    )
    shown.house.touch("run", run)
    hand, resnet, queued = shown.now().jobs
    assert (hand.name, hand.kind, hand.link, hand.spark) == ("by hand", "run", f"run:{free}", [])
    assert (resnet.metric, resnet.value, resnet.progress, resnet.link) == ("loss", 0.25, 0.5, f"job:{job}")
    assert resnet.spark == [2.0 + part for part in range(24)], "the mean of each 24th part, spikes or not"
    assert (queued.name, queued.status, queued.value) == ("next", "queued", None)


def test_a_loss_that_is_not_a_number_needs_somebody(shown):
    run = shown.run("diverged", status="running", metric="loss", value=float("nan"))
    shown.run("done with it", status="done", metric="loss", value=float("nan"))
    assert shown.needs() == [("fail", "run", "diverged: loss is nan")]
    assert shown.now().attention[0].link == f"run:{run}"


def test_the_latest_runs_with_headline_and_champion(shown):
    for n in range(9):
        shown.run(f"r{n}", started_us=now_us() - 2 * DAY + n, metric="auc", value=n / 10)
    dirty = shown.run("new", git_sha="abcdef0123", git_dirty=True)
    shown.stage.model(run=dirty)
    assert [line.name for line in shown.now().runs] == ["new", *(f"r{n}" for n in range(8, 1, -1))]
    assert (shown.now().runs[0].git, shown.now().runs[0].champion) == ("abcdef0+", False)
    shown.stage.call("model.alias", model="census@1", alias="champion")
    assert [line.champion for line in shown.now().runs] == [True] + [False] * 7


def test_the_last_events_come_newest_first_and_only_ones_own(shown):
    for n in range(25):
        shown.stage.call("identity.create", name=f"p{n}", role="viewer")
    seqs = [event.seq for event in shown.now().events]
    assert len(seqs) == 20 and seqs == sorted(seqs, reverse=True)
    assert shown.now().events[0].text == "p24 becomes viewer" and shown.now().events[0].actor == "alice"
    theirs = {"actor": "x", "topic": "run", "object": "o", "action": "a", "text": "theirs", "link": "", "tenant": "b"}

    def busy(session):
        for n in range(300):
            session.insert("event", seq=1000 + n, ts_us=now_us(), **theirs)

    shown.house.store.write(busy)
    shown.house.memo.__init__(shown.house.feed)
    assert [event.seq for event in shown.now().events] == seqs, "a busy neighbour does not push them out"


def test_what_was_used_today(shown, monkeypatch):
    midnight = int(datetime.now().replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1e6)
    shown.job("yesterday", "done", ended_us=midnight - HOUR, cpu_s=7200)
    shown.job("today", "done", ended_us=now_us(), cpu_s=5400)
    shot = shown.now()
    assert (shot.cpu_hours_today, shot.cost_today, shot.currency) == (1.5, None, "AED")


def test_the_audit_chain_is_verified_in_the_background_and_a_break_is_told(shown):
    shown.stage.call("identity.create", name="amal", role="viewer")
    assert shown.now().audit_ok is None, "nobody verifies while somebody waits"
    upkeep.verify(shown.house)
    shot = shown.now()
    assert shot.audit_ok is True and shot.audit_records == 1 and abs(shot.audit_checked - now_us()) < 5 * SECOND
    shown.house.store.write(lambda s: s.execute("UPDATE audit SET actor = 'mallory' WHERE seq = 1"))
    upkeep._rested.clear()
    upkeep.verify(shown.house)
    shot = shown.now()
    assert shot.audit_ok is False
    assert (shot.attention[0].severity, shot.attention[0].kind) == ("fail", "audit")
    assert "breaks at record 1" in shot.events[0].text
    before = len(shown.now().events)
    upkeep._rested.clear()
    upkeep.verify(shown.house)
    assert len(shown.now().events) == before, "it is told once"


def test_answers_for_retries_are_forgotten_after_a_week(shown):
    for age in (8, 6):
        shown.add("request", operation="x", actor="a", answer="{}", ts_us=now_us() - age * DAY)
    upkeep.retain(shown.house)
    assert shown.stage.value("SELECT count(*) FROM request") == 1

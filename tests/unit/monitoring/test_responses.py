"""Alerts and proposals in people's hands, and rollbacks that become alerts."""

import msgspec
import pytest

from mlops_tui.contracts.monitor import AddMonitor
from mlops_tui.core.clock import HOUR, now_us
from mlops_tui.core.errors import Conflict, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.deploy.rollout import clocks
from mlops_tui.door.context import Context
from mlops_tui.jobs.spec import DataFile, Spec
from mlops_tui.monitoring import alerts, incidents
from mlops_tui.monitoring.reference import Monitor, Reference


@pytest.fixture
def alarmed(stage):
    """A deployment with an open alert and a proposal; ``stage.alarm(rule)`` tells of one (again)."""
    stage.model(versions=3, run="run-1")
    stage.id = stage.serve()

    def alarm(rule="drift", at=None):
        monitor = Monitor(
            id="m", tenant="default", deployment=stage.id, name="census", spec=AddMonitor(deployment="census"),
            reference=Reference(names=[], features={}), counted=0, alarms={},
        )  # fmt: skip

        def write(session):
            ctx = Context(stage.house, alerts.engine("default"), session, now=at or now_us())
            found = alerts.open_alert(ctx, rule, "census", "warn", f"{rule} is bad", {"js": 0.4}, "drift:census")
            if found:
                alerts._propose(ctx, monitor, found, rule, f"{rule} is bad", {"js": 0.4})

        stage.house.store.write(write)

    stage.alarm = alarm
    stage.calm = lambda rule="drift", at=None: stage.house.store.write(
        lambda s: alerts.resolve(
            Context(stage.house, alerts.engine("default"), s, now=at or now_us()), rule, "census", "calm"
        )
    )
    alarm()
    return stage


def test_an_alert_is_acknowledged_silenced_and_resolved(alarmed):
    (alert,) = [row[0] for row in alarmed.call("alert.list", filter="state:open").rows]
    alarmed.call("alert.silence", alert=alert[-8:], hours=2)
    assert alarmed.call("alert.show", alert=alert).state == "silenced"
    alarmed.call("alert.ack", alert=alert[:12])
    shown = alarmed.call("alert.show", alert=alert)
    assert (shown.state, shown.acked_by, shown.severity, shown.detail) == ("silenced", "alice", "warn", {"js": 0.4})
    alarmed.house.store.write(
        lambda s: s.execute("UPDATE alert SET silenced_until = make_timestamp(?)", [now_us() - 1])
    )
    assert alarmed.call("alert.show", alert=alert).state == "acknowledged"
    with pytest.raises(Conflict, match="acknowledged already"):
        alarmed.call("alert.ack", alert=alert)
    alarmed.alarm()
    assert alarmed.call("alert.list").total == 1, "an open alert is not opened again"
    alarmed.calm()
    shown = alarmed.call("alert.show", alert=alert)
    assert shown.state == "resolved" and shown.closed
    with pytest.raises(Conflict, match="resolved already"):
        alarmed.call("alert.silence", alert=alert)
    alarmed.alarm()
    assert alarmed.call("alert.list", filter="state:open").total == 1


def test_times_are_utc_whatever_the_zone_of_the_machine(alarmed):
    assert abs(alarmed.value("SELECT epoch_us(now()::TIMESTAMP)") - now_us()) < 10_000_000
    assert alarmed.value("SELECT current_setting('TimeZone')") == "UTC"


def proposals(stage):
    return [row[3] for row in stage.call("automation.list", sort="created").rows]


def test_a_retraining_is_proposed_once_and_not_again_soon_after_a_decision(alarmed):
    assert proposals(alarmed) == ["proposed"]
    alarmed.alarm("quality")
    assert proposals(alarmed) == ["proposed"], "one waits already"
    (row,) = alarmed.call("automation.list").rows
    shown = alarmed.call("automation.show", automation=row[0])
    assert shown.inputs["rule"] == "drift" and shown.inputs["labelled_rows"] == 0 and shown.subject == "census"
    alarmed.call("automation.dismiss", automation=row[0])
    with pytest.raises(Conflict, match="dismissed already"):
        alarmed.call("automation.run", automation=row[0])
    alarmed.calm()
    alarmed.alarm()
    assert proposals(alarmed) == ["dismissed"], "within the cooldown"
    alarmed.calm()
    alarmed.alarm(at=now_us() + HOUR + 1)
    assert proposals(alarmed) == ["dismissed", "proposed"]


def job(stage, run, kind="train", name="census"):
    spec = Spec(
        job="j", name=name, kind=kind, argv=["python", "train.py", "--epochs", "3"], lane="train", cwd="/work/here",
        env={"MLOPS_EXPERIMENT": "census"}, data=[DataFile(name="train", digest="d" * 64, suffix=".parquet")],
    )  # fmt: skip
    stage.house.store.write(
        lambda s: s.insert(
            "job",
            id=uuid7(),
            tenant="default",
            name=name,
            kind=kind,
            status="done",
            attempt=1,
            retries=0,
            host="",
            boot="",
            spec=msgspec.json.encode(spec).decode(),
            created_us=now_us(),
            actor="alice",
            run_id=run,
        )
    )


def test_an_accepted_retraining_runs_the_training_of_the_serving_model_again(alarmed):
    (row,) = alarmed.call("automation.list").rows
    with pytest.raises(NotFound, match="was not trained by a job"):
        alarmed.call("automation.run", automation=row[0])
    job(alarmed, "run-1")
    done = alarmed.call("automation.run", automation=row[0])
    made = alarmed.house.read(lambda s: s.dict("SELECT * FROM job WHERE status = 'queued'"))
    spec = msgspec.json.decode(made["spec"], type=Spec)
    assert done.object == f"job:{made['id']}" and made["name"] == "census-again" and made["run_id"] != "run-1"
    assert (spec.argv, spec.cwd, spec.lane) == (["python", "train.py", "--epochs", "3"], "/work/here", "train")
    assert [file.digest for file in spec.data] == ["d" * 64]
    assert (spec.env["MLOPS_EXPERIMENT"], spec.env["MLOPS_RUN_NAME"]) == ("census", "census-again")
    assert proposals(alarmed) == ["accepted"]
    alarmed.calm()
    alarmed.alarm(at=now_us() + 2 * HOUR)
    assert proposals(alarmed) == ["accepted"], "the training is still under way"
    alarmed.house.store.write(lambda s: s.execute("UPDATE job SET status = 'done' WHERE id = ?", [made["id"]]))
    alarmed.calm()
    alarmed.alarm(at=now_us() + 2 * HOUR)
    assert proposals(alarmed) == ["accepted", "proposed"]


def test_a_rollback_opens_one_alert_which_a_later_success_closes(stage):
    clocks.clear()
    stage.model(versions=3)
    deployment = stage.serve()

    def roll(version, wrong):
        fast = {
            "steps": [50.0],
            "step_s": 0.0,
            "look_s": 1e-9,
            "min_requests": 50,
            "events": ["wrong"],
            "keep_old_s": 0.0,
        }
        stage.call("rollout.start", deployment="census", model=f"census@{version}", **fast)
        for _ in range(9):
            if len(stage.split(deployment)) > 1 and stage.state() == "Shifting":
                stage.judged(deployment, 1, 200, 20)
                stage.judged(deployment, version, 200, wrong)
            stage.turn()
            stage.servers(deployment)
        incidents.turn(stage.house)
        incidents.turn(stage.house)
        return stage.state()

    assert roll(2, 150) == "RolledBack"
    table = stage.call("alert.list", filter="rule:rollout")
    assert table.total == 1 and "census v2 was rolled back: wrong predictions: harm" in table.rows[0][-1]
    shown = stage.call("alert.show", alert=table.rows[0][0])
    assert shown.severity == "fail" and shown.detail["canary"] == "v2"
    assert stage.call("automation.list").total == 0, "a rollback proposes no retraining"
    stage.call("alert.ack", alert=shown.id)
    incidents.turn(stage.house)
    assert stage.call("alert.list", filter="rule:rollout").total == 1
    assert roll(3, 20) == "Succeeded"
    assert stage.call("alert.show", alert=shown.id).state == "resolved"


def test_an_abort_is_no_incident_and_a_removed_deployment_has_none(stage):
    stage.model(versions=2)
    deployment = stage.serve()
    stage.call("rollout.start", deployment="census", model="census@2")
    stage.call("rollout.abort", rollout="census")
    stage.servers(deployment)
    stage.turn()
    incidents.turn(stage.house)
    assert stage.state() == "Aborted" and stage.call("alert.list").total == 0

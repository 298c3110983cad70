"""Each mode over a real store and the real rooms: a list, a detail, an action, and a cell that changes by itself."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mlops_tui.core.clock import now_us
from mlops_tui.core.ids import uuid7
from mlops_tui.tui.widgets.form import Form, Menu
from mlops_tui.tui.widgets.plan import PlanDialog
from mlops_tui.tui.widgets.table import Table

UNIT = Path(__file__).parents[2] / "unit"


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def door(house_door):
    return house_door


@pytest.fixture
def stage(house, door):
    """Models, deployments, traffic, and alice who may do everything; see tests/unit/stage.py."""
    from mlops_tui.door.context import Caller

    door.caller = Caller("alice", 1000)
    return loaded(UNIT / "stage.py").Stage(house)


@pytest.fixture
def desk(house):
    """Runs with artifacts, and the registry; see tests/unit/registry/conftest.py."""
    return loaded(UNIT / "registry" / "conftest.py").Desk(house)


@pytest.fixture
def within(house):
    """Write as the agent does, and publish what it says."""
    from mlops_tui.door import Caller, act

    return lambda work: act(house, Caller.system("test"), work)


async def confirm(app, pilot, until, answer="done"):
    """Say yes to the plan that is open."""
    await until(pilot, lambda: isinstance(app.screen, PlanDialog))
    await until(pilot, lambda: app.screen.plan or app.screen.problem)
    assert app.screen.plan is not None, app.screen.problem
    await pilot.press("right", "enter")
    await until(pilot, lambda: app.screen is app.face)


def cells(app, selector, column):
    """Return the values of a column of a table, as they were read."""
    table = app.face.query_one(selector, Table)
    return [table.value(column, table.row(i)) for i in range(table.total)]


async def test_home_shows_the_store_and_an_alert_goes_when_it_is_acknowledged(
    door, open_app, settle, screen_text, stage, within, until
):
    from mlops_tui.monitoring.alerts import open_alert

    stage.model()
    stage.serve()
    async with open_app(door) as (app, pilot):
        await settle(pilot, 0.3)
        text = "\n".join(screen_text(app))
        assert "models 1   deployments 1  ✔ 1" in text and "nothing needs you" in text
        within(lambda ctx: open_alert(ctx, "drift", "census", "fail", "census: age moved", {}, "drift:census"))
        await until(pilot, lambda: "✖ drift  census: age moved" in "\n".join(screen_text(app)))
        await pilot.press("a")
        await settle(pilot, 0.2)
        await confirm(app, pilot, until)
        await until(pilot, lambda: "nothing needs you" in "\n".join(screen_text(app)))


async def test_runs_are_read_and_a_status_changes_by_itself(door, open_app, settle, screen_text, desk, lines_of, until):
    done = desk.train("first")
    desk.train("second", status="running", gates=False)
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await until(pilot, lambda: cells(app, "#runs", "name") == ["second", "first"])
        assert cells(app, "#runs", "status") == ["running", "done"]
        await pilot.press("j", "enter")
        await until(pilot, lambda: app.face.crumb == "first" and any("auc" in row for row in lines_of(app, "#metrics")))
        assert any("model.onnx" in row for row in lines_of(app, "#files"))
        await pilot.press("e", *"best", "enter")
        await settle(pilot, 0.2)
        await confirm(app, pilot, until)
        await until(pilot, lambda: "best" in lines_of(app, "#lineage"))
        assert desk.rows("SELECT note FROM run WHERE id = ?", [done]) == [("best",)]
        await pilot.press("number_sign")
        await settle(pilot)
        await pilot.press(*"stage=x", "enter")
        await confirm(app, pilot, until)
        await until(pilot, lambda: any(row.split() == ["stage", "x"] for row in lines_of(app, "#lineage")))
        for gone in ("stage", "best"):
            await pilot.press("u")
            await confirm(app, pilot, until)
            await until(pilot, lambda gone=gone: not any(gone in row for row in lines_of(app, "#lineage")))
        assert desk.rows("SELECT note FROM run WHERE id = ?", [done]) == [("",)]
        await pilot.press("escape")
        await settle(pilot)
        await asyncio.to_thread(desk.train, "third")
        within = desk.house
        within.touch("run", done)
        await until(pilot, lambda: "✔ done" in "\n".join(screen_text(app)))


async def test_the_files_of_a_run_are_seen_as_what_they_are_and_saved(
    door, open_app, screen_text, desk, tmp_path, until
):
    from mlops_tui.sdk import media

    run = desk.train("one")
    red = np.zeros((8, 8, 3), np.uint8)
    red[:, :, 0] = 255
    files = {"a.png": media.image(red), "b.json": media.confusion([[3, 1], [0, 4]], labels=["no", "yes"])}
    for path, content in files.items():
        blob = desk.house.blobs.put_bytes(content)
        desk.call("artifact.keep", of=run, path=path, digest=blob.digest, size=blob.size)
    async with open_app(door, link=f"run:{run}") as (app, pilot):
        await until(pilot, lambda: app.face.crumb == "one")
        await pilot.press("a")
        await until(pilot, lambda: "▀" * 4 in screen_text(app)[6])
        picture = app.face.query_one("#picture")
        assert picture.render_line(2)._segments[1].style.color.triplet == (255, 0, 0)
        await pilot.press("n")
        await until(pilot, lambda: "87.5 % accuracy" in "\n".join(screen_text(app)))
        await pilot.press("d")
        await until(pilot, lambda: (tmp_path / "b.json").exists())
        assert (tmp_path / "b.json").read_bytes() == files["b.json"]
        await pilot.press("n")
        await until(pilot, lambda: "first bytes" in "\n".join(screen_text(app)))
        await pilot.press("n")
        await until(pilot, lambda: "▀" * 4 in screen_text(app)[6])


async def test_a_run_that_ends_is_seen_to_end(door, open_app, settle, desk, until):
    running = desk.train("mine", status="running", gates=False)
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await until(pilot, lambda: cells(app, "#runs", "status") == ["running"])
        await asyncio.to_thread(
            desk.house.store.write, lambda s: s.execute("UPDATE run SET status = 'failed' WHERE id = ?", [running])
        )
        desk.house.touch("run", running)
        await until(pilot, lambda: cells(app, "#runs", "status") == ["failed"])


async def test_two_runs_are_compared(door, open_app, settle, screen_text, desk, lines_of, until):
    desk.train("a", metrics={"auc": 0.7, "loss": 0.4})
    desk.train("b", metrics={"auc": 0.8, "loss": 0.3})
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot, 0.6)
        await pilot.press("space", "space", "c")
        await settle(pilot, 0.6)
        rows = lines_of(app, "#metrics")
        assert any(row.startswith("auc") and "0.8000" in row and "-0.100" in row for row in rows)
        assert any("lr" in row and "● b" in row and "◆ a" in row for row in lines_of(app, "#params"))
        await pilot.press("j", "b")
        await until(pilot, lambda: any("+0.100" in row for row in lines_of(app, "#metrics")))


def dataset(desk, name, rows, nulls=0):
    """Make a version as the worker hands it in: its content is kept before."""
    with desk.house.blobs.writer() as writer:
        writer.write(f"{name} {rows}".encode())
        blob = writer.finish()
    column = {"name": "age", "type": "BIGINT", "n": rows, "nulls": nulls, "distinct": 9, "min": 0, "max": 95}
    return desk.call(
        "data.commit",
        name=name,
        path="/tmp/census.parquet",
        digest=blob.digest,
        size=blob.size,
        rows=rows,
        format="parquet",
        schema=[{"name": "age", "type": "BIGINT"}],
        profile={"rows": rows, "columns": [column], "exact": True},
    )


async def test_data_versions_are_read_compared_and_tagged(door, open_app, settle, screen_text, desk, lines_of, until):
    dataset(desk, "census", 100)
    async with open_app(door) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: cells(app, "#data", "version") == [1])
        await asyncio.to_thread(dataset, desk, "census", 250, 50)
        await until(pilot, lambda: cells(app, "#data", "rows") == [250, 100])
        await until(pilot, lambda: any("age" in row and "20.0 %" in row for row in lines_of(app, "#columns")))
        await pilot.press("enter")
        await until(pilot, lambda: app.face.crumb == "census@2")
        await pilot.press("d")
        await until(pilot, lambda: "census@1 → census@2" in "\n".join(screen_text(app)))
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Menu))
        await pilot.press("j", "j", "enter")
        await until(pilot, lambda: isinstance(app.screen, Form) and app.screen.focused)
        await pilot.press(*"stage=gold", "enter", "right", "enter")
        await confirm(app, pilot, until)
        await until(pilot, lambda: "stage=gold" in "\n".join(screen_text(app)))


async def test_promoting_a_version_moves_the_champion_in_the_list(door, open_app, settle, desk, lines_of, until):
    desk.register(desk.train("one"))
    desk.call("model.alias", model="employment@1", alias="champion")
    desk.register(desk.train("two"))
    async with open_app(door) as (app, pilot):
        await pilot.press("4")
        await until(
            pilot, lambda: cells(app, "#models", "champion") == [1] and cells(app, "#versions", "version") == [2, 1]
        )
        await until(pilot, lambda: any("quality" in row for row in lines_of(app, "#gates")))
        await pilot.press("P")
        await settle(pilot, 0.2)
        await confirm(app, pilot, until)
        await until(pilot, lambda: cells(app, "#models", "champion") == [2])
        await until(pilot, lambda: lines_of(app, "#history")[0].startswith("★ champion → 2"))
        await pilot.press("B")
        await settle(pilot, 0.2)
        await confirm(app, pilot, until)
        await until(pilot, lambda: cells(app, "#models", "champion") == [1])
        await pilot.press("tab", "enter")
        await until(
            pilot,
            lambda: app.face.crumb == "employment@2" and any("run two" in row for row in lines_of(app, "#lineage")),
        )


async def test_a_rollout_is_watched_held_and_aborted(door, open_app, settle, screen_text, stage, lines_of, until):
    stage.model(versions=2)
    stage.serve()
    async with open_app(door) as (app, pilot):
        await pilot.press("5")
        await until(pilot, lambda: cells(app, "#deployments", "name") == ["census"])
        deployment = stage.value("SELECT id FROM deployment")
        await asyncio.to_thread(stage.call, "rollout.start", deployment="census", model="census@2", step_s=0.0)
        for _ in range(4):
            await asyncio.to_thread(stage.turn)
            await asyncio.to_thread(stage.servers, deployment)
        await settle(pilot, 0.6)
        text = "\n".join(lines_of(app, "#rollout"))
        assert "v1 → v2  canary" in text and "5 % ●" in text
        assert "5 %" in cells(app, "#deployments", "split")[0]
        await asyncio.to_thread(stage.answer, deployment, 1, [0.5] * 40)
        await asyncio.to_thread(stage.evidence)
        stage.house.touch("traffic", deployment)
        await pilot.press("enter")
        await until(pilot, lambda: any(row.startswith("● v1") and " 40 " in row for row in lines_of(app, "#revisions")))
        await until(pilot, lambda: cells(app, "#rollouts", "state") == ["Shifting"])
        await pilot.press("enter")
        await until(pilot, lambda: app.face.crumb == "canary v1 → v2" and lines_of(app, "#timeline"))
        await pilot.press("H")
        await settle(pilot, 0.2)
        await confirm(app, pilot, until)
        await until(pilot, lambda: "! paused" in "\n".join(lines_of(app, "#rollout")) and stage.state() == "Paused")
        await pilot.press("H")
        await settle(pilot, 0.2)
        await confirm(app, pilot, until)
        await until(pilot, lambda: stage.state() == "Shifting")
        await pilot.press("A")
        await settle(pilot, 0.2)
        await confirm(app, pilot, until)
        await asyncio.to_thread(stage.turn)
        await until(pilot, lambda: stage.state() in ("Aborting", "Aborted", "RollingBack"))
        await until(pilot, lambda: any("abort" in row.lower() for row in lines_of(app, "#timeline")))


def monitor(stage, verdicts):
    """Write a monitor and one judgement of it, as the schedule does."""
    from mlops_tui.contracts.monitor import AddMonitor
    from mlops_tui.monitoring.reference import Reference
    from mlops_tui.stats import profile

    shapes = {name: profile.build([float(i % 90) for i in range(500)]) for name in verdicts}
    deployment, monitor_id, now = stage.value("SELECT id FROM deployment"), uuid7(), now_us()

    def write(session):
        spec = msgspec.json.encode(AddMonitor(deployment="census")).decode()
        profiles = msgspec.json.encode(Reference(names=list(verdicts), features=shapes)).decode()
        session.insert(
            "monitor", id=monitor_id, tenant="default", deployment_id=deployment, spec=spec, reference="census@1",
            profiles=profiles, created_us=now, actor="alice", judged_us=now, resulted_us=now,
        )  # fmt: skip
        judge(session, monitor_id, verdicts, now)

    stage.house.store.write(write)
    return monitor_id


def judge(session, monitor_id, verdicts, now):
    session.execute("UPDATE monitor SET resulted = make_timestamp(?) WHERE id = ?", [now, monitor_id])
    for feature, (verdict, js) in verdicts.items():
        session.insert(
            "drift_result", monitor_id=monitor_id, ts_us=now, feature=feature, psi=js, js=js, ks=js, w1=js,
            p_value=0.01, n=4000, verdict=verdict, method="binned", history=[0.01, js],
        )  # fmt: skip


async def test_a_judgement_moves_a_feature_and_an_alert_is_silenced(door, open_app, settle, stage, within, until):
    from mlops_tui.monitoring.alerts import open_alert

    stage.model()
    stage.serve()
    watched = monitor(stage, {"age": ("ok", 0.02), "hours": ("ok", 0.01)})
    async with open_app(door) as (app, pilot):
        await pilot.press("6")
        await until(pilot, lambda: cells(app, "#features", "verdict") == ["ok", "ok"])
        await asyncio.to_thread(
            stage.house.store.write,
            lambda s: judge(s, watched, {"age": ("drift", 0.3), "hours": ("ok", 0.01)}, now_us()),
        )
        stage.house.touch("drift", stage.value("SELECT id FROM deployment"))
        await until(pilot, lambda: cells(app, "#features", "verdict") == ["drift", "ok"])
        within(lambda ctx: open_alert(ctx, "drift", "census", "fail", "census: age moved", {}, "drift:census"))
        await until(pilot, lambda: cells(app, "#alerts", "state") == ["open"])
        await pilot.press("S")
        await settle(pilot, 0.2)
        await confirm(app, pilot, until)
        await until(pilot, lambda: cells(app, "#alerts", "state") == ["silenced"])


async def test_an_ab_test_is_watched_and_stopped(door, open_app, settle, screen_text, stage, lines_of, until):
    stage.model(versions=2)
    deployment = stage.serve()
    async with open_app(door) as (app, pilot):
        await pilot.press("7")
        await until(pilot, lambda: "no test yet" in "\n".join(screen_text(app)))
        await asyncio.to_thread(stage.call, "ab.start", deployment="census", a="census@1", b="census@2")
        await asyncio.to_thread(stage.servers, deployment)
        await until(pilot, lambda: cells(app, "#tests", "state") == ["running"])
        await asyncio.to_thread(stage.judged, deployment, 1, 400, 80)
        await asyncio.to_thread(stage.judged, deployment, 2, 400, 60)
        await asyncio.to_thread(stage.evidence)
        stage.house.touch("ab", stage.value("SELECT id FROM abtest"))
        await until(pilot, lambda: any(row.startswith("labelled") and "400" in row for row in lines_of(app, "#arms")))
        await pilot.press("X")
        await settle(pilot, 0.2)
        await confirm(app, pilot, until)
        await until(pilot, lambda: cells(app, "#tests", "state") == ["stopped"])


async def test_a_job_and_this_machine_are_seen_and_the_job_is_stopped(
    door, open_app, settle, desk, within, lines_of, until
):
    from mlops_tui.hardware.watch import take, watch_of
    from mlops_tui.jobs import start_job

    house = desk.house
    async with open_app(door) as (app, pilot):
        await pilot.press("8")
        await settle(pilot, 0.4)
        await asyncio.to_thread(take, house, watch_of(house))
        within(lambda ctx: start_job(ctx, kind="job.train", name="train-v1", argv=["sleep", "9"]))
        await until(pilot, lambda: cells(app, "#jobs", "status") == ["queued"])
        assert any(row.startswith("CPU") for row in lines_of(app, "#machine"))
        assert any(row.startswith("GPU") for row in lines_of(app, "#machine"))
        await pilot.press("X")
        await settle(pilot, 0.2)
        await confirm(app, pilot, until)
        await until(pilot, lambda: cells(app, "#jobs", "status") != ["queued"])


async def test_a_change_is_in_the_trail_and_the_chain_is_whole(
    door, open_app, settle, screen_text, desk, lines_of, until
):
    async with open_app(door) as (app, pilot):
        await pilot.press("9")
        await settle(pilot, 0.6)
        before = app.face.query_one("#audit", Table).total
        for name, role in (("tester", "admin"), ("noor", "viewer")):
            app.face.change("identity.create", {"name": name, "role": role}, "give")
            await settle(pilot, 0.3)
            await confirm(app, pilot, until)
        await until(pilot, lambda: app.face.query_one("#audit", Table).total > before)
        assert cells(app, "#audit", "action")[0] == "identity.create"
        assert "noor" in cells(app, "#identities", "name")
        await pilot.press("v")
        await until(pilot, lambda: "✔ whole" in lines_of(app, "#chain")[0])
        await pilot.press("enter")
        await until(pilot, lambda: "identity.create" in "\n".join(screen_text(app)))

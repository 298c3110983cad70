"""Deployments and rollouts as lines: shares, evidence, reasons, and what is left out where there is no room."""

from __future__ import annotations

import math

import pytest

from mlops_tui.contracts.deploy import Deployment, Revision
from mlops_tui.contracts.load import CurvePoint, ServedCurves
from mlops_tui.contracts.rollout import Check, Look, Rollout, RolloutEvent, StepShown
from mlops_tui.tui.drawing.text import plain, width
from mlops_tui.tui.screens.deploy import deploy_lines, rollout_lines, served_charts


def revision(no, role="stable", weight=100.0, **more):
    facts = {"id": f"r{no}", "no": no, "label": f"v{no}", "model": "census", "version": no, "role": role}
    known = {"weight": weight, "status": "serving", "requests": 1000, "errors": 0, "p50_ms": 1.0, "p95_ms": 2.0}
    return Revision(**{**facts, **known, **more})


def deployment(*revisions, **more):
    facts = {
        "id": "d", "name": "census", "target": "local", "environment": "local", "status": "serving", "url": "",
        "pid": 1, "created": 1, "actor": "amal", "generation": 1, "acknowledged": 1, "rollout": None, "text": "serving",
    }  # fmt: skip
    return Deployment(revisions=list(revisions), **{**facts, **more})


def rollout(state="Shifting", step=1, **more):
    steps = [StepShown(kind="weight", weight=one, text=f"{one:g} %") for one in (5.0, 25.0, 50.0)]
    facts = {
        "id": "r", "deployment": "census", "strategy": "canary", "stable": "v1", "canary": "v2", "digest": "",
        "started": 1, "ended": None, "actor": "amal", "text": "", "why": "too few rows", "watched_s": 1.0,
        "deadline_s": 60.0, "looks": [], "checks": [], "events": [],
    }  # fmt: skip
    return Rollout(state=state, step=step, steps=steps, **{**facts, **more})


def check(event="error", kind="harm", e=1.0, needed=40.0, verdict="continue", bad=(4, 100), stable=(10, 1000)):
    return Check(
        kind=kind, event=event, verdict=verdict, text=f"{verdict}: so it is", log_e_harm=math.log(e), log_e_safe=0.0,
        log_needed=math.log(needed), bad_canary=bad[0], n_canary=bad[1], bad_stable=stable[0], n_stable=stable[1],
        hold=False,
    )  # fmt: skip


@pytest.mark.parametrize("cells", [40, 76, 116])
@pytest.mark.parametrize("weight", [0.0, 33.0, 99.6])
def test_the_bars_of_the_shares_never_leave_their_line(cells, weight):
    found = deployment(revision(1, weight=100 - weight), revision(2, "canary", weight))
    told = deploy_lines.traffic(found, cells)
    assert width(told) <= cells
    assert cells < 76 or (f" {weight:.0f} %" in plain(told)) == (weight > 0)


def test_a_shadow_gets_a_copy():
    told = plain(deploy_lines.traffic(deployment(revision(1), revision(2, "shadow", 0.0)), 80))
    assert "▏ a copy" in told


def test_an_environment_says_how_many_of_its_deployments_are_ill():
    rows = [{"environment": "prod", "status": "down"}, {"environment": "prod", "status": "serving"}]
    told = {row.link: plain(row.line) for row in deploy_lines.environments(rows, "prod", 30)}
    assert list(told) == ["all", "prod", "staging", "local"] and "✖ 1" in told["prod"] and "●" in told["prod"]


def test_columns_give_way_in_the_order_in_which_they_are_missed_least():
    found = deployment(revision(1), revision(2, "canary", 10.0, errors=7))
    heads = {cells: plain(deploy_lines.revisions(found, None, cells)[0]) for cells in (110, 76, 66, 50)}
    assert "model" in heads[110] and "model" not in heads[76] and "state" in heads[76]
    assert "state" not in heads[66] and "role" not in heads[50] and "p95 ms" in heads[50]


@pytest.mark.parametrize(
    ("state", "step", "track"),
    [
        ("Shifting", 1, "0 % ✔ 5 % ✔ 25 % ● ━━━━━━━━ 50 % ──────── 100 %"),
        ("RolledBack", 0, "0 % ✔ 5 % ✖ ──────── 25 % ──────── 50 % ──────── 100 %"),
        ("Baking", 2, "0 % ✔ 5 % ✔ 25 % ✔ 50 % ✔ 100 % ●"),
        ("Succeeded", 2, "0 % ✔ 5 % ✔ 25 % ✔ 50 % ✔ 100 %"),
    ],
)
def test_the_track_shows_where_it_stands_or_was_stopped(state, step, track):
    assert plain(rollout_lines.steps(rollout(state, step), 100)) == track


def test_the_evidence_stands_beside_what_is_needed():
    checks = [check(e=6.4), check("wrong", e=90.0, verdict="harm"), check("latency", kind="limit")]
    told = [plain(one) for one in rollout_lines.checks(rollout(checks=checks), 90)]
    assert told[1].split() == [
        "▲",
        "errors",
        "1.00",
        "%",
        "4.00",
        "%",
        "4",
        "6.4",
        "▇▇▇▁▁",
        "40",
        "1.0",
        "↻",
        "continue",
    ]
    assert "▇▇▇▇▇" in told[2] and "✖ harm" in told[2] and "latency limit" in told[3]
    sentences = told[told.index("") + 1 :]
    assert sentences[0] == "wrong: harm: so it is"  # what decides is read first


@pytest.mark.parametrize(("log_e", "told"), [(20.0, ">1e6"), (-9.0, "<0.01"), (0.0, "1.0"), (math.log(525), "525")])
def test_e_values_nobody_reads_the_digits_of_are_cut(log_e, told):
    assert rollout_lines.odds(log_e)[0] == told


def test_a_reason_that_is_told_twice_is_told_once():
    events = [
        RolloutEvent(ts=1, state="RollingBack", step=0, weight=0, text="harm was seen", actor="system"),
        RolloutEvent(ts=2, state="RolledBack", step=0, weight=0, text="harm was seen; stable has all", actor="system"),
    ]
    wide = [plain(one) for one in rollout_lines.timeline(rollout(events=events), 90)]
    assert wide[0].endswith("system  stable has all") and wide[1].endswith("harm was seen")
    narrow = [plain(one) for one in rollout_lines.timeline(rollout(events=events), 40)]
    assert narrow[1] == "  stable has all" and len(narrow) == 4


def test_a_long_reason_takes_two_lines_and_says_that_it_goes_on():
    told = rollout_lines.told(rollout(why="word " * 60), 60)
    assert len(told) == 2 and plain(told[1]).endswith("…") and max(map(width, told)) <= 60


def test_what_is_wrong_stands_in_place_of_what_was_arranged():
    off = {"key": "census.answers", "deployment": "census", "controls": "answers", "enabled": True, "default": "off"}
    well = deployment(revision(1), fallback="v0 on error", profile="latency")
    told = [plain(one) for one in deploy_lines.about(well, [], 90)]
    assert told[2] == "fallback v0 on error   profile latency"
    ill = deployment(revision(1, condition="runs on the CPU, a GPU was asked for"), fallback="v0 on error")
    assert plain(deploy_lines.about(ill, [], 90)[2]) == "! v1: runs on the CPU, a GPU was asked for"
    assert plain(deploy_lines.about(well, [off], 90)[2]).startswith("✖ switched off: all of it  K")
    divert = {**off, "key": "rules", "controls": "fallback", "default": "on"}
    assert plain(deploy_lines.trouble(well, [divert], 90)[0]).endswith("says the toggle rules")
    assert deploy_lines.trouble(well, [{**divert, "default": "off"}, {**divert, "enabled": False}], 90) == []
    down = deployment(revision(1), status="down", text="the port is taken")
    assert plain(deploy_lines.trouble(down, [], 90)[0]) == "✖ down  the port is taken"


def test_who_is_switched_off_is_named():
    row = {"deployment": "census", "controls": "answers", "enabled": True, "default": "off", "rule": False}
    rows = [{**row, "key": "census.answers"}, {**row, "key": "census.v2.answers"}, {**row, "key": "x", "default": "on"}]
    assert deploy_lines.switched_off(rows, "census") == ["all of it", "v2"]
    assert deploy_lines.switched_off(rows, "churn") == []


def test_curves_have_the_marks_of_their_sides_and_a_rate_of_nothing_where_nothing_was_asked():
    def point(ts, label, requests=10, errors=1):
        return CurvePoint(ts=ts * 10**6, revision=label, requests=requests, errors=errors, p50_ms=1.0, p95_ms=2.0)

    points = [point(0, "v1"), point(0, "v9"), point(10, "v2"), point(20, "v2"), point(40, "v1"), point(50, "v1", 3)]
    got = ServedCurves(deployment="census", since=0, until=52 * 10**6, width_s=10.0, points=points)
    made = served_charts.curves(got, deployment(revision(1)), rollout())
    assert {name: [(one.name, one.place) for one in some] for name, some in made.items()}["p95 ms"] == [
        ("v1", 0), ("v2", 1),
    ]  # fmt: skip
    (rate, _) = made["requests/s"]
    assert rate.mid.tolist() == [1.0, 0.0, 0.0, 0.0, 1.0]  # and none of the point that has only begun
    assert made["errors %"][0].mid.tolist() == pytest.approx([10, 10, 100 / 3])


def test_the_evidence_is_drawn_as_far_as_it_is_read():
    def look(number, log_e):
        return Look(
            step=0, look=number, event="wrong", ts=number, bad_canary=1, n_canary=1, bad_stable=1, n_stable=1,
            log_e_harm=log_e, log_e_safe=0.0, verdict="continue",
        )  # fmt: skip

    (one,) = served_charts.evidence([look(2, 99.0), look(1, 0.0)])
    assert one.mid.tolist() == pytest.approx([1.0, 1e6])
    assert [level.value for level in served_charts.needed(rollout(checks=[check(), check("wrong")]))] == [
        pytest.approx(40)
    ]

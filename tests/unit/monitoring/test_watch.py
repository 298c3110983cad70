"""Watching: counts equal a recount of the rows, verdicts hold, alerts come once and go once."""

import msgspec
import numpy as np
import pytest

from mlops_tui.contracts.monitor import AddMonitor
from mlops_tui.core.clock import SECOND, now_us
from mlops_tui.core.errors import Conflict, NotFound
from mlops_tui.monitoring import brought, counting, watch
from mlops_tui.monitoring.reference import SCORE, monitor_of
from mlops_tui.stats import calibration, profile

NAMES = ("age", "hours")


def population(rng, n, shifted=False):
    """Features [n, 2], scores and labels; the score is the chance of the label. Shifted: the young only."""
    age = rng.uniform(18, 30 if shifted else 80, n)
    hours = rng.uniform(0, 100, n)
    score = 1 / (1 + np.exp(-(hours - age) / 10))
    return np.stack([age, hours], axis=1).astype(np.float32), score, rng.random(n) < score


@pytest.fixture
def watched(stage):
    """A watched deployment; ``stage.watch(**spec)`` begins, ``stage.send(n)`` sends healthy traffic, judge() judges."""
    stage.model(versions=2, features=NAMES)
    stage.id = stage.serve()

    def begin(**spec):
        x, score, label = population(np.random.default_rng(99), 4000)
        profiles = {"names": list(NAMES), "features": {}}
        for at, name in enumerate(NAMES):
            profiles["features"][name] = msgspec.to_builtins(profile.build(x[:, at], "numeric"))
        profiles["score"] = msgspec.to_builtins(profile.build(score.astype(np.float32), "numeric"))
        profiles["calibrator"] = msgspec.to_builtins(calibration.calibrate(label, score))
        profiles["accuracy"] = float(((score >= 0.5) == label).mean())
        spec = {"deployment": "census", "window_s": 600.0, "min_rows": 300, "k": 2, "n": 3, **spec}
        body = msgspec.to_builtins(msgspec.convert(spec, AddMonitor))
        stage.call("monitor.commit", deployment="census", spec=body, reference="made up", profiles=profiles)

    def send(n, shifted=False, revision=1, labelled=False, wrong=0.0, at=None, **more):
        x, score, label = population(stage.rng, n, shifted)
        ids = stage.answer(stage.id, revision, score, features=x, at=at, **more)
        if labelled:
            flip = stage.rng.random(n) < wrong
            stage.label(stage.id, ids, np.where(flip, score < 0.5, label))
        stage.evidence()
        return x, score

    stage.watch, stage.send = begin, send
    stage.monitor = lambda: monitor_of(stage.house.read(lambda s: watch.find(s, stage.id)))
    stage.judge = lambda: watch.judge(stage.house, stage.monitor())
    return stage


def alerts(stage, filter="state:open"):
    table = stage.call("alert.list", filter=filter)
    return [dict(zip([column.name for column in table.columns], row, strict=True)) for row in table.rows]


def test_counts_are_those_of_a_recount_and_each_row_counts_once(watched):
    watched.watch()
    sent = [watched.send(n) for n in (37, 200, 1)]
    watched.judge()
    sent.append(watched.send(120))
    watched.judge()
    watched.judge()
    x, score = np.concatenate([a for a, _ in sent]), np.concatenate([b for _, b in sent])
    monitor = watched.monitor()
    sums = watched.house.read(lambda s: counting.window(s, monitor, now_us()))
    for at, name in enumerate(NAMES):
        np.testing.assert_array_equal(sums[name], profile.count(monitor.reference.features[name], x[:, at]))
    np.testing.assert_array_equal(sums[SCORE], profile.count(monitor.reference.score, score.astype(np.float32)))


def test_shadows_failures_and_other_deployments_do_not_count(watched):
    watched.watch()
    watched.send(50)
    watched.send(60, shadow=True)
    watched.send(70, status=2)
    watched.send(80, status=1)
    watched.fail(watched.id, 1, 5)
    other = watched.serve("other")
    watched.answer(other, 1, [0.5] * 90)
    watched.send(30, status=3)
    watched.judge()
    monitor = watched.monitor()
    sums = watched.house.read(lambda s: counting.window(s, monitor, now_us()))
    assert {name: int(counts.sum()) for name, counts in sums.items()} == {"age": 80, "hours": 80, SCORE: 80}


def test_features_are_found_by_name_whatever_their_order(watched):
    watched.watch()
    watched.house.store.write(
        lambda s: s.execute(
            "UPDATE model_version SET signature = ? WHERE version = 2",
            [msgspec.json.encode({"metadata": {"mlops.features": '["hours", "new", "age"]'}}).decode()],
        )
    )
    watched.call("rollout.start", deployment="census", model="census@2")
    x, score, _ = population(watched.rng, 100)
    swapped = np.stack([x[:, 1], np.full(100, 7.0), x[:, 0]], axis=1)
    watched.answer(watched.id, 2, score, features=swapped)
    watched.judge()
    monitor = watched.monitor()
    sums = watched.house.read(lambda s: counting.window(s, monitor, now_us()))
    for at, name in enumerate(NAMES):
        np.testing.assert_array_equal(sums[name], profile.count(monitor.reference.features[name], x[:, at]))


def test_a_window_forgets_and_a_new_monitor_knows_the_window_before_it(watched):
    now = now_us()
    watched.send(400, at=now - 900 * SECOND)
    watched.send(350, at=now - 300 * SECOND)
    watched.watch(window_s=600.0)
    watched.judge()
    assert watched.call("drift.show", deployment="census").rows == 350
    monitor = watched.monitor()
    later = watched.house.read(lambda s: counting.window(s, monitor, now + 400 * SECOND))
    assert later == {}


def test_a_backlog_is_counted_in_parts(watched, monkeypatch):
    from mlops_tui.deploy.rollout import evidence

    monkeypatch.setattr(evidence, "AT_ONCE", 100)
    watched.watch()
    for _ in range(6):
        watched.send(90)
    watched.judge()
    assert watched.call("drift.show", deployment="census").rows == 540


@pytest.mark.parametrize("seed", range(2))
def test_healthy_traffic_never_alerts_and_a_shifted_population_does(watched, seed):
    watched.rng = np.random.default_rng(seed)
    watched.watch()
    for _ in range(8):
        watched.send(400, labelled=True)
        watched.judge()
    assert alerts(watched) == []
    assert watched.call("drift.show", deployment="census").verdict in ("ok", "warn")
    for _ in range(3):
        watched.send(4000, shifted=True)
        watched.judge()
    shown = watched.call("drift.show", deployment="census")
    assert shown.verdict == "drift" and shown.features[0].feature == "age" and "age" in shown.text
    (alert,) = alerts(watched, "state:open rule:drift")
    assert alert["text"].startswith("census: age has drifted, PSI ")
    assert watched.call("alert.show", alert=alert["id"]).detail["drifted"][0] == "age"


def test_an_alert_opens_after_k_of_n_and_closes_when_all_is_calm(watched):
    watched.watch(window_s=10.0, k=2, n=3)
    now = now_us()
    opened = []
    for step, shifted in enumerate([True, False, True, True, False, False, False]):
        watched.send(400, shifted, at=now + step * 20 * SECOND)
        watch.now_us = lambda step=step: now + step * 20 * SECOND + SECOND
        try:
            watched.judge()
        finally:
            watch.now_us = now_us
        opened.append(len(alerts(watched)))
    assert opened == [0, 0, 1, 1, 1, 1, 0]
    assert [one["state"] for one in alerts(watched, "rule:drift")] == ["resolved"]
    table = watched.call("event.list", filter="topic:alert", sort="ts")
    said = [row[[column.name for column in table.columns].index("text")] for row in table.rows]
    assert len(said) == 2 and said[-1] == "census: drift is calm again"


def test_no_traffic_is_no_data_and_neither_opens_nor_closes(watched):
    watched.watch(window_s=10.0, k=1, n=1)
    assert watched.call("drift.show", deployment="census").text == "no traffic yet"
    now = now_us()
    watched.send(400, shifted=True, at=now - 9 * SECOND)
    watched.judge()
    assert len(alerts(watched)) == 1
    watch.now_us = lambda: now + 60 * SECOND
    try:
        watched.judge()
    finally:
        watch.now_us = now_us
    shown = watched.call("drift.show", deployment="census")
    assert (shown.verdict, shown.rows, shown.text) == ("nodata", 0, "no traffic in the last window")
    assert len(shown.features) == 2 and len(alerts(watched)) == 1


def test_too_few_rows_are_not_judged(watched):
    watched.watch(min_rows=300, k=1, n=1)
    watched.send(299, shifted=True)
    watched.judge()
    shown = watched.call("drift.show", deployment="census")
    assert (shown.verdict, shown.text, alerts(watched)) == ("too_few", "too few rows to judge", [])


def test_histories_grow_by_one_a_judgement_and_the_list_shows_the_newest(watched):
    watched.watch()
    for n in range(1, 27):
        watched.send(50)
        watched.judge()
        if n in (1, 5):
            assert all(len(one.history) == n for one in watched.call("drift.show", deployment="census").features)
    shown = watched.call("drift.show", deployment="census")
    assert all(len(one.history) == 24 and one.history[-1] == one.js for one in [*shown.features, shown.score])
    table = watched.call("drift.list")
    assert table.total == 3 and {row[2] for row in table.rows} == {*NAMES, SCORE}
    assert watched.call("drift.list", filter="feature:age").rows[0][-1] == next(
        one.history for one in shown.features if one.feature == "age"
    )


def test_bins_sum_to_one_and_show_where_the_traffic_is(watched):
    watched.watch()
    watched.send(1000, shifted=True)
    watched.judge()
    for feature in (*NAMES, SCORE):
        bins = watched.call("drift.bins", deployment="census", feature=feature, bins=8)
        assert sum(bins.reference) == pytest.approx(1) and sum(bins.live) == pytest.approx(1)
        assert (bins.n_reference, bins.n_live) == (4000, 1000)
        assert len(bins.labels) == len(bins.live) == len(bins.reference) == 8
    ages = watched.call("drift.bins", deployment="census", feature="age", bins=4)
    bounds = [float(label.split()[1]) for label in ages.labels]
    assert bounds == pytest.approx([33.5, 49, 64.5, 64.5], abs=1.5)
    assert [label[0] for label in ages.labels] == ["≤", "≤", "≤", ">"]
    assert ages.live == [1.0, 0.0, 0.0, 0.0]
    with pytest.raises(NotFound, match="no feature 'height'"):
        watched.call("drift.bins", deployment="census", feature="height")


def test_quality_is_estimated_until_labels_come_and_then_real(watched):
    watched.watch()
    watched.send(2000)
    watched.judge()
    (first,) = watched.call("drift.show", deployment="census").quality
    reference = watched.monitor().reference.accuracy
    assert first.estimated and first.coverage == 0.0 and first.accuracy == pytest.approx(reference, abs=0.03)
    watched.send(2000, labelled=True)
    watched.judge()
    second = watched.call("drift.show", deployment="census").quality[-1]
    exact = watched.value("SELECT avg(((score >= 0.5) = (truth >= 0.5))::INTEGER) FROM outcome")
    assert not second.estimated and (second.n, second.accuracy) == (2000, pytest.approx(exact))
    assert second.coverage == 0.5 and 0.8 < second.auc < 1.0
    curve = watched.house.read(
        lambda s: s.rows("SELECT key, n FROM series WHERE scope = 'monitor' AND key = 'accuracy'")
    )
    assert curve == [("accuracy", 2)]


def test_labels_that_come_after_the_window_are_judged_all_the_same(watched):
    watched.watch(window_s=60.0)
    x, score, label = population(watched.rng, 500)
    ids = watched.answer(watched.id, 1, score, features=x, at=now_us() - 3600 * SECOND)
    watched.label(watched.id, ids, label)
    watched.evidence()
    watched.judge()
    (point,) = watched.call("drift.show", deployment="census").quality
    assert (point.n, point.estimated, point.coverage) == (500, False, 0.0)


def test_bad_labels_open_a_quality_alert_and_good_ones_close_it(watched):
    watched.watch(window_s=10.0, k=1, n=1)
    now = now_us()
    for step, (wrong, state) in enumerate([(0.0, None), (0.4, "open"), (0.0, "resolved")]):
        x, score, label = population(watched.rng, 1500)
        at = now + step * 20 * SECOND
        ids = watched.answer(watched.id, 1, score, features=x, at=at)
        flip = watched.rng.random(1500) < wrong
        watched.label(watched.id, ids, np.where(flip, score < 0.5, label), at=at)
        watched.evidence()
        watch.now_us = lambda at=at: at + SECOND
        try:
            watched.judge()
        finally:
            watch.now_us = now_us
        assert [one["state"] for one in alerts(watched, "rule:quality")] == ([state] if state else [])
    (alert,) = alerts(watched, "rule:quality")
    assert alert["severity"] == "fail" and "on 1,500 late labels" in alert["text"]


def test_a_monitor_is_removed_with_its_alerts_also_when_its_deployment_goes(watched):
    watched.watch(k=1, n=1)
    with pytest.raises(Conflict, match="watched already"):
        watched.watch()
    watched.send(1000, shifted=True)
    watched.judge()
    assert len(alerts(watched)) == 1
    watched.call("monitor.remove", deployment="census")
    assert alerts(watched) == [] and watched.call("monitor.list").total == 0
    with pytest.raises(NotFound, match="nobody watches census"):
        watched.call("drift.show", deployment="census")
    watched.watch(k=1, n=1)
    watched.send(1000, shifted=True)
    watched.judge()
    assert len(alerts(watched)) == 1
    watched.call("deploy.remove", deployment="census")
    watch.turn(watched.house)
    assert alerts(watched) == [] and watched.call("monitor.list").total == 0


def test_the_schedule_judges_each_monitor_when_its_time_has_come(watched):
    watched.watch(every_s=3600.0)
    watched.send(400)
    watch.turn(watched.house)
    first = watched.call("drift.show", deployment="census").ts
    watch.turn(watched.house)
    assert first and watched.call("drift.show", deployment="census").ts == first


def test_an_empty_window_is_judged_once_and_again_when_traffic_comes(watched):
    watched.watch(every_s=1e-6)
    judged = lambda: watched.value("SELECT epoch_us(judged) FROM monitor")  # noqa: E731
    watch.turn(watched.house)
    first = judged()
    watch.turn(watched.house)
    assert first and judged() == first
    watched.send(400)
    watched.house.touch("inference", watched.id)  # as the ingestor does
    watch.turn(watched.house)
    assert judged() > first and watched.call("drift.show", deployment="census").rows == 400
    first = judged()
    watch.turn(watched.house)
    assert judged() > first, "rows leave the window as time goes by"


def test_buckets_that_no_window_needs_are_dropped(watched):
    watched.watch(window_s=600.0)
    monitor = watched.monitor()
    old = {"monitor_id": [monitor.id], "minute_us": [now_us() - 3 * 86_400 * SECOND], "feature": ["age"]}
    size = len(monitor.reference.features["age"].counts)
    old |= {"revision_no": [1], "n": [1], "counts": [[0] * size]}
    watched.house.store.write(lambda s: s.insert_columns("drift_bucket", old))
    watched.send(400)
    watched.judge()
    assert watched.value("SELECT count(*) FROM drift_bucket WHERE minute < now()::TIMESTAMP - INTERVAL 1 DAY") == 0
    assert watched.value("SELECT count(*) FROM drift_bucket") > 0


def test_what_a_plugin_measures_stands_beside_the_verdict_and_in_a_curve(watched, monkeypatch):
    class Most:
        name, kinds = "most", ("numeric",)

        def distance(self, reference, live, centres):
            return float(centres[np.argmax(live)])

    monkeypatch.setattr(brought, "statistics", lambda home: [Most()])
    watched.watch()
    watched.send(400, shifted=True)
    watched.judge()
    shown = watched.call("drift.show", deployment="census")
    ages = {one.feature: one.others for one in shown.features}
    assert 18 <= ages["age"]["most"] <= 30 and set(ages["hours"]) == set(shown.score.others) == {"most"}
    keys = watched.house.read(lambda s: s.column("SELECT key FROM series WHERE scope = 'monitor' ORDER BY key"))
    assert {"age/most", "hours/most", f"{SCORE}/most"} <= set(keys)

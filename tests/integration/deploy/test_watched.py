"""A watched deployment end to end: profiled by a worker, judged over replayed traffic; and an A/B test over it."""

from __future__ import annotations

import numpy as np

GOOD, POOR, BETTER = (0.0, 1.0, -0.7), (0.0, 1.0, -0.9), (0.0, 8.0, -4.0)


def test_a_shift_is_seen_an_alert_opens_and_retraining_is_proposed(yard, people):
    shown = yard.serve(yard.model(GOOD))
    rows = people(6000, seed=11)
    send = {"deployment": "census", "data": yard.data("people", rows), "batch": 8}
    yard.client.run_job("deploy.replay", {**send, "rows": 2000})
    yard.taken_in("outcome", 2000)

    spec = {"deployment": "census", "window_s": 30.0, "every_s": 0.2, "min_rows": 200, "k": 2, "n": 3}
    made = yard.client.run_job("monitor.add", spec)
    assert (made["features"], made["rows"], made["reference"]) == (2, 3000, "evaluation of made")
    healthy = judged(yard)
    assert (healthy.verdict, healthy.rows, healthy.text) == ("ok", 2000, "no drift")
    assert {one.feature for one in healthy.features} == {"age", "hours"} and healthy.score.verdict == "ok"
    quality = healthy.quality[-1]
    accuracy = yard.rows("SELECT avg(((score >= 0.5) = (truth >= 0.5))::INTEGER) FROM outcome")[0][0]
    assert (quality.estimated, quality.n, quality.coverage) == (False, 2000, 1.0)
    assert abs(quality.accuracy - accuracy) < 1e-9
    assert yard.call("alert.list").total == 0

    yard.client.run_job("deploy.replay", {**send, "where": "age < 30", "rows": 2000})
    alert = yard.until(lambda: yard.call("alert.list", filter="state:open rule:drift"), lambda table: table.total == 1)
    assert "census: age has drifted" in alert.rows[0][-1]
    (proposal,) = yard.call("automation.list").rows
    assert yard.call("automation.show", automation=proposal[0]).inputs["detail"]["feature"] == "age"
    bins = yard.call("drift.bins", deployment="census", feature="age")
    assert bins.live[0] > 2 * bins.reference[0] and abs(sum(bins.live) - 1) < 1e-9
    assert bins.n_live == yard.call("drift.show", deployment="census").rows == len(yard.rows("SELECT 1 FROM inference"))
    assert yard.call("deploy.show", deployment="census").revisions[0].requests == sum(-(-n // 8) for n in counts(yard))
    assert shown.status == "serving"


def judged(yard):
    """Return drift once it was judged after now."""
    before = yard.call("drift.show", deployment="census").ts or 0
    return yard.until(lambda: yard.call("drift.show", deployment="census"), lambda one: (one.ts or 0) > before)


def counts(yard):
    """Rows of each replay, by the prefix of its request ids."""
    return [n for (n,) in yard.rows("SELECT count(*) FROM inference GROUP BY split_part(request_id, '-', 1)")]


def test_a_request_stays_with_its_arm_and_late_labels_reach_a_verdict(yard, clients):
    shown = yard.serve(yard.model(POOR, evaluation=False))
    port = int(shown.url.rpartition(":")[2])
    yard.call("ab.start", deployment="census", a="census@1", b=yard.model(BETTER, evaluation=False), margin=0.02)
    yard.serving()
    first = clients(port, pause=0.0, n=900, labels=yard.labels(shown.id))
    first.join(60)
    again = clients(port, pause=0.0, n=300)
    again.join(60)
    assert first.errors == again.errors == []
    assert all(again.told[name] == first.told[name] for name in again.told), "sticky by request id"
    share = np.mean([label == "v2" for label in first.told.values()])
    assert 0.4 < share < 0.6
    test = yard.until(
        lambda: yard.call("ab.status", test="census"), lambda one: sum(arm.n for arm in one.arms) == 900, what="labels"
    )
    told = list(first.told.values())  # what was asked again is the same request
    assert [arm.exposures for arm in test.arms] == [told.count("v1"), told.count("v2")]
    assert test.srm_p > 0.01 and test.verdict == "b_better", test.text
    yard.until(lambda: yard.call("ab.list").rows[0][4], lambda verdict: verdict == "b_better")
    yard.call("ab.stop", test="census")
    assert [(one.role, one.weight) for one in yard.serving().revisions] == [("stable", 100.0), ("idle", 0.0)]

"""What a metric hangs on, asked of runs in a house."""

from __future__ import annotations

import math
import random

import pytest

from mlops_tui.core.errors import BadInput


@pytest.fixture
def sweep(desk):
    """Forty runs: the loss hangs on the rate, a little on the optimizer, and not on the seed."""
    rng = random.Random(5)
    for i in range(40):
        rate, optimizer = rng.uniform(-4, -1), rng.choice(["adam", "sgd"])
        writer = desk.run(
            name=f"r{i}", params={"lr": f"{10**rate:.6f}", "optimizer": optimizer, "seed": str(i % 5), "same": "1"}
        )
        writer.metrics({"loss": (rate + 4) + (optimizer == "sgd") * 0.8 + rng.gauss(0, 0.05)}, step=0)
        writer.end("done")
    desk.run(name="nan", params={"lr": "0.5"}).metrics({"loss": math.nan}, step=0)
    desk.run(name="none", params={"lr": "0.5"})
    desk.take()
    return desk


def test_a_metric_is_named_as_it_was_logged_whatever_its_name(desk):
    for i in range(12):
        writer = desk.run(name=f"r{i}", params={"lr": str(i)})
        writer.metrics({"val auc {x}": float(i)}, step=0)
        writer.end("done")
    desk.take()
    assert desk.call("run.importance", metric="val auc {x}").runs == 12
    assert desk.call("run.parallel", metric="val auc {x}").runs == 12
    assert desk.call("run.best", metric="val auc {x}").rows[0][1] == "r11"
    assert desk.call("run.list", columns=["val auc {x}"], filter="name:r3").rows[0][-1] == 3.0
    assert desk.call("run.list", group_by=["lr"], metrics=["val auc {x}"]).total == 12


def test_parameters_are_ranked_by_what_the_metric_hangs_on(sweep):
    found = sweep.call("run.importance", metric="loss")
    assert [one.param for one in found.params][:2] == ["lr", "optimizer"] and found.runs == 40
    assert found.params[0].importance > 0.6 and found.params[-1].importance < 0.05 and found.explained > 0.7
    assert sum(one.importance for one in found.params) == pytest.approx(1)
    assert found.params[0].correlation > 0.7 and found.params[1].correlation is None
    low, high = map(float, found.params[0].best.split(".."))
    assert low < 0.0002 and high < 0.002 and found.params[1].best == "adam"
    assert {one.param for one in found.params} == {"lr", "optimizer", "seed"}


def test_what_cannot_be_ranked_is_told(sweep):
    for ask, why in (
        ({"metric": "name"}, "no figure"),
        ({"metric": "nope"}, "no column"),
        ({"metric": "loss", "filter": "seed:0"}, "too few runs"),
    ):
        with pytest.raises(BadInput, match=why):
            sweep.call("run.importance", **ask)


def test_trials_have_what_differs_and_what_came_of_it(sweep):
    found = sweep.call("run.trials", metric="loss", filter="seed:0..1")
    assert found.values == sorted(found.values) and found.lower_is_better and len(found.runs) == found.total == 16
    assert set(found.params) == {"lr", "optimizer", "seed"} and {*found.params["seed"]} == {"0", "1"}
    best = sweep.call("run.show", run=found.runs[0])
    assert (best.name, best.params["lr"], best.metrics[0].last) == (
        found.names[0], found.params["lr"][0], found.values[0],
    )  # fmt: skip
    sample = sweep.call("run.trials", limit=5)
    assert (sample.metric, len(sample.runs), sample.total) == ("metrics.loss", 5, 40)
    few = sweep.call("run.trials", limit=1)
    assert len(few.runs) == 1 and few.total == 41  # of very many the one whose loss is NaN is counted too
    assert few == sweep.call("run.trials", limit=1)


def test_trials_of_runs_without_a_metric_are_none(desk):
    desk.run(name="bare", params={"lr": "1"})
    desk.take()
    found = desk.call("run.trials")
    assert (found.metric, found.runs, found.params) == ("", [], {})

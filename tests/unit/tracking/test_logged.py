"""Logged models: made, finished, measured, searched, hidden."""

from __future__ import annotations

import pytest

from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.door.context import Caller, act
from mlops_tui.spool.records import Measure
from mlops_tui.tracking.logged.models import measured
from mlops_tui.tracking.logged.search import By, Data, search_logged


@pytest.fixture
def made(desk):
    """Three logged models of one experiment; the second and third have figures."""
    desk.call("experiment.create", name="census")
    models = [
        desk.call("logged.create", experiment="census", name=f"m{i}", kind="T", params={"depth": i}, tags={"i": i})
        for i in "012"
    ]
    for model, value, data in ((models[1], 0.5, "a"), (models[2], 0.7, "b"), (models[2], 0.9, "a")):
        measure(desk, model, value, data)
    return models


def measure(desk, model, value, data, ts=5_000):
    said = {"m": {"auc": value}} if value == value else {"x": {"auc": "NaN"}}
    record = Measure(t=ts, model=model.id, s=1, dataset=data, digest="d", **said)
    act(desk.house, Caller.system(), lambda ctx: measured(ctx, "run-" + data, [record]))


def found(desk, filter="", datasets=(), order=(), limit=10, offset=0):
    def ask(session):
        experiment = session.column("SELECT id FROM experiment WHERE name = 'census'")
        ids = search_logged(session, "default", experiment, filter, datasets, order, limit, offset)
        return [session.value("SELECT name FROM logged_model WHERE id = ?", [one]) for one in ids]

    return desk.house.read(ask)


def test_it_is_pending_until_it_is_finished_and_keeps_its_first_parameters(desk, made):
    model = made[0]
    assert (model.status, model.id[:2], len(model.id), model.params) == ("pending", "m-", 34, {"depth": "0"})
    assert desk.call("logged.finish", model=model.id, status="ready").status == "ready"
    desk.call("logged.param", model=model.id, params={"depth": "9", "more": "1"})
    desk.call("logged.tag", model=model.id, tags={"x": ""}, remove=["i"])
    shown = desk.call("logged.show", model="m0")
    assert (shown.params, shown.tags) == ({"depth": "0", "more": "1"}, {"x": ""})
    with pytest.raises(NotFound, match="no tag 'i'"):
        desk.call("logged.tag", model="m0", remove=["i"])
    with pytest.raises(BadInput, match="no status"):
        desk.call("logged.finish", model="m0", status="done")
    for name in ("a/b", "a:b", "a.b", "a%b", "a'b"):
        with pytest.raises(BadInput, match="cannot contain"):
            desk.call("logged.create", experiment="census", name=name)


def test_the_same_figure_sent_again_counts_once(desk, made):
    measure(desk, made[2], 0.9, "a")
    measure(desk, made[2], float("nan"), "a", ts=6_000)
    assert [one.value for one in desk.call("logged.show", model="m2").metrics][:2] == [0.9, 0.7]
    assert len(desk.call("logged.show", model="m2").metrics) == 3


@pytest.mark.parametrize(
    ("filter", "datasets", "names"),
    [
        ("", [], ["m2", "m1", "m0"]),
        ("name = 'm1'", [], ["m1"]),
        ("metrics.auc > 0.6", [], ["m2"]),
        ("metrics.auc > 0.6", [Data("a")], ["m2"]),
        ("metrics.auc > 0.8", [Data("b")], []),
        ("", [Data("b", "d")], ["m2"]),
        ("", [Data("a", "other")], []),
        ("params.depth = '1' AND tags.i = '1'", [], ["m1"]),
        ("params.depth IN ('0', '2')", [], ["m2", "m0"]),
        ("status = 'READY'", [], []),
        ("status = 'PENDING' AND attributes.model_type = 'T'", [], ["m2", "m1", "m0"]),
        ("creation_timestamp > 0", [], ["m2", "m1", "m0"]),
    ],
)
def test_a_search(desk, made, filter, datasets, names):
    assert found(desk, filter, datasets) == names


def test_an_order_and_pages(desk, made):
    assert found(desk, order=[By("metrics.auc", down=True)]) == ["m2", "m1", "m0"]
    assert found(desk, order=[By("metrics.auc", data=Data("b"))])[0] == "m2"
    assert found(desk, order=[By("name")], limit=1, offset=1) == ["m1"]
    for wrong in ("nonsense", "params.depth"):
        with pytest.raises(BadInput, match="Invalid order by"):
            found(desk, order=[By(wrong)])
    with pytest.raises(BadInput):
        found(desk, "nonsense")


def test_a_deleted_one_is_hidden_and_comes_back(desk, made):
    desk.call("logged.delete", model="m1")
    assert found(desk) == ["m2", "m0"]
    with pytest.raises(NotFound):
        desk.call("logged.show", model=made[1].id)
    assert desk.call("logged.show", model=made[1].id, deleted=True).deleted
    desk.call("logged.restore", model=made[1].id)
    assert found(desk) == ["m2", "m1", "m0"]
    with pytest.raises(Conflict):
        desk.call("logged.restore", model=made[1].id)

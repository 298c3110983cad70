"""Which models need engines, who asks which of several, and what holds before they are loaded."""

from mlops_tui.serving.deployment import Deployment, Model, door_of
from mlops_tui.serving.models.sharing import in_order, lanes
from mlops_tui.serving.process.engines import Engines


def test_a_model_without_the_engines_that_it_needs_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engines = Engines(Deployment(deployment="d", name="m", spool=""), None, {})
    assert engines.loaded({"a": Model("a.onnx"), "f": Model("f", engine="features")})
    assert not engines.loaded({"a": Model("a.onnx"), "t": Model("t.pt", engine="torch")})
    assert engines.refusal({"t"}) == "" and engines.told() == {} and engines.condition("t") == {}


def test_workers_ask_engines_of_their_own_first():
    assert [in_order(worker, 4, 1) for worker in range(4)] == [[0]] * 4
    assert [in_order(worker, 3, 2) for worker in range(3)] == [[0, 1], [1, 0], [0, 1]]
    assert [in_order(worker, 2, 4) for worker in range(2)] == [[0, 2, 1, 3], [1, 3, 0, 2]]
    assert [lanes(workers, engines) for workers, engines in ((4, 1), (2, 4), (2, 5))] == [1, 2, 3]


def test_doors_are_those_of_a_model_and_of_facts():
    facts = Deployment(deployment="d", name="m", spool="")
    other = Deployment(deployment="d", name="m", spool="", timeout_s=1.0)
    doors = {door_of(facts, "a", 0), door_of(facts, "a", 1), door_of(facts, "b", 0), door_of(other, "a", 0)}
    assert len(doors) == 4 and all(len(str(door)) < 100 for door in doors)

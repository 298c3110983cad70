"""Registering: what is refused and why, what a version keeps, and that it can be read back."""

from __future__ import annotations

import json
import pickle

import pytest

from mlops_tui.blobs import Damaged
from mlops_tui.core.errors import BadInput, Conflict, NotFound, Refused


def test_a_run_becomes_version_one_with_its_figures_and_its_origin(desk):
    run = desk.train("train-v1", desk.onnx(3, {"mlops.features": '["age","sex","hours"]'}))
    plan = desk.plan("model.register", name="employment", run="train-v1")
    assert [(one.object, one.field, one.before, one.after) for one in plan.changes] == [
        ("model:employment", "version", None, 1)
    ]
    assert desk.rows("SELECT count(*) FROM model") == [(0,)]
    made = desk.register("train-v1", description="first")
    assert (made.model, made.version, made.run, made.run_name, made.format) == (
        "employment",
        1,
        run,
        "train-v1",
        "onnx",
    )
    assert made.metrics == {"auc": 0.7, "loss": 0.4} and made.datasets == ["census@1"]
    assert made.features == ["age", "sex", "hours"] and made.description == "first" and made.actor == "tester"
    assert made.signature["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["n", 3]}]
    assert [(one.gate, one.passed) for one in made.gates] == [("quality", True)]
    assert desk.rows("SELECT src, rel, dst FROM link") == [(f"model_version:{made.id}", "made_by", f"run:{run}")]
    assert desk.call("run.show", run=run).models == ["employment@1"]
    assert desk.rows("SELECT action, text FROM event WHERE topic = 'model'") == [
        ("registered", "employment@1 registered")
    ]


def test_versions_are_numbered_in_order_and_by_model(desk):
    for name in ("a", "b", "c"):
        desk.register(desk.train(name))
    assert desk.register(desk.train("d"), name="other").version == 1
    shown = desk.call("model.show", model="employment")
    assert [one.version for one in shown.versions] == [3, 2, 1]
    assert [row["name"] for row in desk.listed("model", sort="name")] == ["employment", "other"]


def test_the_signature_beside_the_model_goes_before_the_files_own_words(desk):
    said = {"features": [{"name": "age"}, {"name": "sex"}], "outputs": ["p"]}
    desk.train(
        "v1",
        files={
            "out/model.onnx": desk.onnx(5),
            "out/signature.json": json.dumps(said).encode(),
            "signature.json": b"{}",
        },
    )
    made = desk.register("v1", artifact="out/model.onnx", require_gates=False)
    assert made.features == ["age", "sex"] and made.signature["outputs"] == ["p"]
    assert made.signature["inputs"][0]["shape"] == ["n", 5]


def test_a_signature_that_is_no_json_is_told(desk):
    desk.train("v1", files={"signature.json": b"{no"})
    with pytest.raises(Exception, match=r"cannot read signature\.json"):
        desk.register("v1")


@pytest.mark.parametrize("status", ["running", "failed", "killed"])
def test_a_run_that_is_not_done_is_refused(desk, status):
    desk.train("v1", status=status)
    with pytest.raises(Conflict, match=status):
        desk.register("v1")


def test_what_is_missing_is_told_with_what_is_there(desk):
    desk.train("v1")
    with pytest.raises(NotFound, match=r"it has model\.onnx"):
        desk.register("v1", artifact="best.onnx")
    with pytest.raises(NotFound):
        desk.register("v9")


def test_a_file_in_a_folder_is_found_by_its_name_unless_there_are_several(desk):
    desk.train("v1", files={"best/net.onnx": desk.onnx(4)})
    assert desk.plan("model.register", name="m", run="v1", artifact="net.onnx", require_gates=False).text
    desk.train("v2", files={"best/net.onnx": desk.onnx(4), "last/net.onnx": desk.onnx(5), "a/model.onnx": desk.onnx(6)})
    with pytest.raises(BadInput, match=r"best/net\.onnx, last/net\.onnx"):
        desk.register("v2", artifact="net.onnx", require_gates=False)
    assert desk.register("v2").signature["inputs"][0]["shape"] == ["n", 3], "the exact path goes first"


def test_a_pickle_is_refused_written_down_and_not_opened(desk, tmp_path):
    trap = tmp_path / "opened"

    class Harmful:
        def __reduce__(self):
            return open, (str(trap), "w")

    desk.train("v1", pickle.dumps(Harmful()))
    with pytest.raises(Refused, match=r"it is a pickle.*io\.open"):
        desk.register("v1")
    assert not trap.exists() and desk.rows("SELECT count(*) FROM model_version") == [(0,)]
    [(outcome, detail)] = desk.rows("SELECT outcome, detail FROM audit")
    assert outcome == "refused" and "pickle" in detail


def test_gates_must_have_run_and_passed_over_this_very_file(desk):
    run = desk.train("v1", gates=False, files={"other.onnx": desk.onnx(9)})
    with pytest.raises(Refused, match="gates are missing"):
        desk.register("v1")
    desk.gate(run, "quality", path="other.onnx")
    with pytest.raises(Refused, match="gates are missing"):
        desk.register("v1")
    desk.gate(run, "quality")
    desk.gate(run, "fairness", passed=False, text="SEX: 0.31 > 0.10")
    with pytest.raises(Refused, match=r"1 of 2 gates failed · fairness: SEX: 0.31 > 0.10"):
        desk.register("v1")
    desk.gate(run, "fairness", text="SEX: 0.05")
    assert [(one.gate, one.passed) for one in desk.register("v1").gates] == [("fairness", True), ("quality", True)]


def test_gates_that_are_not_required_become_a_warning(desk):
    desk.train("v1", gates=False)
    assert desk.plan("model.register", name="employment", run="v1", require_gates=False).warnings == [
        "gates are not required: no gate has run over this file"
    ]
    assert desk.register("v1", require_gates=False).gates == []


def test_the_same_content_is_not_registered_twice(desk):
    desk.train("v1", desk.onnx(3))
    desk.train("v2", desk.onnx(3))
    desk.register("v1")
    with pytest.raises(Conflict, match="already as employment@1"):
        desk.register("v2")
    assert desk.register("v2", name="other").version == 1


def test_a_retry_with_the_same_request_id_registers_once(desk):
    import os

    from mlops_tui.contracts import model as contract
    from mlops_tui.door.context import Caller
    from mlops_tui.door.perform import perform

    desk.train("v1")
    caller = Caller("tester", os.getuid(), request_id="r-1")
    request = contract.RegisterModel(name="employment", run="v1")
    answers = [perform(desk.house, "model.register", request, caller) for _ in range(2)]
    assert answers[0] == answers[1] and desk.rows("SELECT count(*) FROM model_version") == [(1,)]


def test_a_metric_that_is_not_finite_is_left_out_of_the_snapshot(desk):
    desk.train("v1", metrics={"auc": float("nan"), "accuracy": 0.9})
    assert desk.register("v1").metrics == {"accuracy": 0.9}
    assert [(row["metric"], row["value"]) for row in desk.listed("version")] == [("accuracy", 0.9)]


def test_verify_reads_the_file_back_and_tells_of_damage(desk):
    desk.train("v1")
    made = desk.register("v1")
    done = desk.call("model.verify", model="employment@1")
    assert made.digest[:12] in done.text and f"{made.size:,} bytes" in done.text
    path = desk.house.blobs.root / made.digest[:2] / made.digest[2:]
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged):
        desk.call("model.verify", model="employment@1")
    path.unlink()
    with pytest.raises(NotFound):
        desk.call("model.verify", model="employment@1")


def test_two_versions_are_compared_by_what_differs(desk):
    desk.register(desk.train("a", metrics={"auc": 0.7, "loss": 0.4}))
    second = desk.train("b", desk.onnx(5), metrics={"auc": 0.8, "loss": 0.4}, data="census@2")
    desk.gate(second, "fairness", passed=False)
    desk.register("b", require_gates=False)
    diff = desk.call("model.compare", base="employment@1", other="employment@2")
    rows = {row["what"]: (row["base"], row["other"]) for row in diff.rows}
    assert (diff.base, diff.other) == ("employment@1", "employment@2")
    assert rows["metric auc"] == (0.7, 0.8) and "metric loss" not in rows and "format" not in rows
    assert rows["data"] == ("census@1", "census@2") and rows["param lr"] == ("a", "b")
    assert rows["gate fairness"] == (None, "failed") and "gate quality" not in rows
    assert rows["inputs"] == ("x float32['n', 3]", "x float32['n', 5]")


def test_versions_are_found_by_number_alias_id_and_as_the_newest(desk):
    from mlops_tui.registry.versions import resolve_version

    first, second = (desk.register(desk.train(name)) for name in "ab")
    desk.call("model.alias", model="employment@1", alias="champion")

    def found(reference):
        return desk.house.read(lambda session: resolve_version(session, "default", reference))["id"]

    for reference in ("employment@1", "employment@champion", "model:employment@1", first.id):
        assert found(reference) == first.id
    for reference in ("employment", "employment@2", "employment@latest"):
        assert found(reference) == second.id
    for wrong in ("employment@3", "employment@nobody", "nothing", "nothing@1"):
        with pytest.raises(NotFound):
            found(wrong)
    with pytest.raises(NotFound):
        desk.house.read(lambda session: resolve_version(session, "another tenant", "employment@1"))
    with pytest.raises(NotFound):
        desk.house.read(lambda session: resolve_version(session, "another tenant", first.id))


def test_lists_show_champion_gates_and_run(desk):
    desk.register(desk.train("a"))
    failing = desk.train("b", metrics={"auc": 0.9})
    desk.gate(failing, "fairness", passed=False)
    desk.register("b", require_gates=False)
    desk.call("model.alias", model="employment@1", alias="champion")
    desk.call("model.alias", model="employment@1", alias="stable")
    rows = desk.listed("version", filter="model:employment", sort="version")
    assert [(row["version"], row["aliases"], row["gates"], row["run"]) for row in rows] == [
        (1, "champion, stable", "passed", "a"),
        (2, "", "failed", "b"),
    ]
    [model] = desk.listed("model")
    assert (model["champion"], model["latest"], model["versions"], model["value"], model["gates"]) == (
        1,
        2,
        2,
        0.7,
        "passed",
    )
    assert desk.listed("version", filter="gates:failed")[0]["version"] == 2


def test_a_name_that_could_leave_its_place_is_no_name(desk):
    import msgspec

    from mlops_tui.contracts import model as contract
    from mlops_tui.door.perform import decode

    for name in ("../x", "a:b", "a@b", ""):
        with pytest.raises(BadInput):
            decode(contract.register, msgspec.json.encode({"name": name, "run": "v1"}))

"""Versions that are folders, descriptions, tags, stages, deletion: what MLflow's registry has and ours had not."""

from __future__ import annotations

import pytest

from mlops_tui.core.errors import BadInput, Conflict, NotFound, Refused

CARD = b"""
flavors:
  python_function: {loader_module: mlflow.sklearn, env: {conda: conda.yaml}}
  sklearn: {pickled_model: model.pkl}
signature: {inputs: '[{"type": "double", "name": "age"}]'}
"""


def make(desk, **request):
    """Make a version and return it whole."""
    return desk.call("version.show", model=desk.call("version.create", **request).id)


def folder(desk, name="train-v1", **files):
    return desk.train(name, files={"model/MLmodel": CARD, "model/model.pkl": b"weights", **files}, gates=False)


def test_a_folder_becomes_a_version_that_outlives_it(desk):
    run = folder(desk)
    plan = desk.plan("version.create", name="work", source=f"runs:/{run}/model")
    assert plan.changes[0].after == 1 and not plan.warnings
    made = make(desk, name="work", source=f"runs:/{run}/model", tags={"a": "b"}, description="d")
    assert (made.version, made.format, made.files, made.run, made.tags) == (1, "mlflow", 2, run, {"a": "b"})
    assert made.signature["inputs"] == [{"name": "age", "dtype": "double", "shape": None}]
    assert made.signature["flavors"] == ["python_function", "sklearn"] and made.metrics == {"auc": 0.7, "loss": 0.4}
    desk.call("artifact.delete", of=run, place="model")
    left = desk.call("artifact.list", of="work@1")
    assert [(one.path, one.size) for one in left.entries] == [("MLmodel", len(CARD)), ("model.pkl", 7)]
    assert desk.call("model.verify", model="work@1").text.startswith("work@1: 2 files")
    with pytest.raises(Refused, match="keeps its files"):
        desk.call("artifact.delete", of=made.id, place="MLmodel")
    said = desk.call("deploy.servable", model="work@1").model
    assert said["engine"] == "pyfunc" and [one["path"] for one in said["parts"]] == ["MLmodel", "model.pkl"]
    assert desk.plan("deploy.create", name="w", model="work@1").text == "serve work@1 as w"


def test_a_flavour_that_python_cannot_run_is_not_served(desk):
    run = folder(desk, **{"model/MLmodel": b"flavors: {mleap: {}}"})
    make(desk, name="work", source=f"runs:/{run}/model")
    with pytest.raises(Refused, match="cannot be served · it is an MLflow model that Python cannot run: mleap"):
        desk.call("deploy.create", name="w", model="work@1")


def test_a_folder_with_one_onnx_file_can_be_served(desk):
    run = folder(desk, **{"model/model.onnx": desk.onnx(4)})
    made = make(desk, name="work", source=f"runs:/{run}/model")
    assert made.format == "onnx" and made.signature["inputs"][0]["shape"] == ["n", 4] and made.files == 3
    assert desk.plan("deploy.create", name="w", model="work").text == "serve work@1 as w"


def test_a_source_that_leads_nowhere_is_noted_and_one_that_lies_is_refused(desk):
    made = make(desk, name="work", source="s3://bucket/model", run="elsewhere")
    assert (made.format, made.digest, made.source, made.run) == ("elsewhere", "", "s3://bucket/model", "elsewhere")
    run, other = folder(desk), folder(desk, "train-v2")
    with pytest.raises(BadInput, match="run_id must identify"):
        desk.call("version.create", name="work", source=f"runs:/{run}/model", run=other)
    for bad in ("runs:/x/../../etc", "mlflow-artifacts:/a/..%2f..%2fb", "mlflow-artifacts:/a%00"):
        with pytest.raises(BadInput, match="absolute path must be provided"):
            desk.call("version.create", name="work", source=bad)


def test_a_logged_model_stands_between_a_version_and_its_run(desk):
    run = folder(desk)
    logged = desk.call("logged.create", experiment="census", name="clf", run=run)
    blob = desk.house.blobs.put_bytes(CARD)
    desk.call("artifact.keep", of=logged.id, path="MLmodel", digest=blob.digest, size=blob.size)
    made = make(desk, name="work", source=f"models:/{logged.id}")
    assert (made.logged, made.run, made.files) == (logged.id, run, 1)
    found = desk.call("lineage.show", subject="work@1").nodes
    assert [(one.kind, one.relation, one.name) for one in found[1:3]] == [
        ("logged", "is", "clf"), ("run", "made_by", "train-v1"),
    ]  # fmt: skip
    assert desk.call("logged.show", model="clf").versions == ["work@1"]


def test_a_copy_keeps_files_and_origin(desk):
    run = folder(desk)
    desk.call("version.create", name="work", source=f"runs:/{run}/model")
    desk.call("model.alias", model="work@1", alias="champion")
    copy = make(desk, name="best", source="models:/work@champion")
    assert (copy.source, copy.run, copy.files) == ("models:/work/1", run, 2)


def test_names_tags_and_descriptions_change_and_are_told(desk):
    folder(desk)
    desk.call("model.create", name="Some Model 2", description="first", tags={"team": "a"})
    with pytest.raises(Conflict, match="already"):
        desk.call("model.create", name="Some Model 2")
    desk.call("version.create", name="Some Model 2", source="s3://b/m")
    desk.call("model.tag", model="Some Model 2", tags={"x": ""}, remove=["team", "unknown"])
    desk.call("model.tag", model="Some Model 2@1", tags={"v": "1"})
    desk.call("model.note", model="Some Model 2@1", text="a version")
    desk.call("model.rename", model="Some Model 2", name="work")
    desk.call("model.rename", model="work", name="work")
    shown = desk.call("model.show", model="work")
    assert (shown.description, shown.tags, shown.updated > shown.created) == ("first", {"x": ""}, True)
    [version] = shown.versions
    assert (version.tags, version.description) == ({"v": "1"}, "a version")
    with pytest.raises(NotFound):
        desk.call("model.show", model="Some Model 2")
    for bad in ("..", " ", "a\nb"):
        with pytest.raises(BadInput, match="no name"):
            desk.call("model.create", name=bad)


def test_what_is_deleted_is_hidden_its_number_stays_taken_and_it_can_come_back(desk):
    for _ in range(2):
        desk.call("version.create", name="work", source="s3://b/m")
    desk.call("model.alias", model="work@2", alias="champion")
    assert desk.plan("model.delete", model="work@2").warnings == ["the alias champion points at it and goes"]
    desk.call("model.delete", model="work@2")
    shown = desk.call("model.show", model="work")
    assert [one.version for one in shown.versions] == [1] and shown.aliases == {}
    assert desk.call("version.create", name="work", source="s3://b/m").version == 3
    desk.call("model.restore", model="work@2")
    assert [row["version"] for row in desk.listed("version", sort="version")] == [1, 2, 3]
    desk.call("model.delete", model="work")
    assert desk.listed("model") == [] == desk.listed("version")
    desk.call("model.create", name="work")
    with pytest.raises(Conflict, match="already"):
        desk.call("model.restore", model="work")
    desk.call("model.rename", model="work", name="other")
    desk.call("model.restore", model="work")
    assert len(desk.call("model.show", model="work").versions) == 3


def test_what_is_served_is_not_deleted(desk):
    desk.train("v1")
    desk.register("v1")
    desk.call("deploy.create", name="d", model="employment@1")
    for what in ("employment@1", "employment"):
        with pytest.raises(Conflict, match="served by d"):
            desk.call("model.delete", model=what)


def test_stages_move_and_archive(desk):
    for _ in range(3):
        desk.call("version.create", name="work", source="s3://b/m")
    desk.call("version.stage", model="work@1", stage="production")
    plan = desk.plan("version.stage", model="work@2", stage="Production", archive=True)
    assert [(one.object, one.after) for one in plan.changes] == [
        ("model:work@2", "Production"), ("model:work@1", "Archived")
    ]  # fmt: skip
    desk.call("version.stage", model="work@2", stage="Production", archive=True)
    assert [one.stage for one in desk.call("model.show", model="work").versions] == ["None", "Production", "Archived"]
    with pytest.raises(BadInput, match="Invalid Model Version stage: Gold"):
        desk.call("version.stage", model="work@1", stage="Gold")
    with pytest.raises(BadInput, match="not an Active stage"):
        desk.call("version.stage", model="work@1", stage="None", archive=True)


def test_prompts_are_kept_and_not_listed_among_the_models(desk):
    desk.call("model.create", name="greeting", tags={"mlflow.prompt.is_prompt": "true"})
    desk.call("version.create", name="greeting", source="prompt-template:/x")
    assert desk.listed("model") == [] == desk.listed("version")
    assert desk.call("model.show", model="greeting").versions[0].version == 1


@pytest.mark.parametrize("alias", ["latest", "Latest", "7", "v7", "V12"])
def test_an_alias_that_would_mean_a_version_is_refused(desk, alias):
    desk.call("version.create", name="work", source="s3://b/m")
    with pytest.raises(BadInput, match="cannot be called"):
        desk.call("model.alias", model="work@1", alias=alias)


def test_a_registered_file_lies_under_its_version(desk):
    run = desk.train("v1", files={"out/model.onnx": desk.onnx(5)})
    made = desk.register("v1", artifact="out/model.onnx", require_gates=False)
    desk.call("model.alias", model="employment@1", alias="champion")
    [file] = desk.call("artifact.list", of="employment@champion").entries
    assert (file.path, file.digest, made.files) == ("model.onnx", made.digest, 1)
    desk.call("artifact.delete", of=run, place="out")
    assert desk.call("model.verify", model="employment@1").text.endswith("as registered")

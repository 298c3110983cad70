"""The registry on the wire, where plain answers compared with MLflow's own (tests/contract) do not reach."""

from __future__ import annotations

import json
import re

import pytest

from mlops_tui.contracts import run as contract_run
from mlops_tui.door.perform import ask
from mlops_tui.store.session import Session

CARD = b"flavors: {sklearn: {pickled_model: m.pkl}, python_function: {loader_module: mlflow.sklearn}}"


def put(wire, path, content=b"x"):
    status, answer = wire.ask("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", raw=content)
    assert (status, answer) == (200, {})


@pytest.fixture
def version(wire, run):
    """A version made from a run's folder; returns (run, version)."""
    put(wire, f"0/{run}/artifacts/model/MLmodel", CARD)
    put(wire, f"0/{run}/artifacts/model/m.pkl")
    wire.post("registered-models/create", name="work")
    made = wire.post("model-versions/create", name="work", source=f"runs:/{run}/model", run_id=run)
    return run, made["model_version"]


def test_a_version_keeps_its_files_and_says_where(wire, version):
    run, made = version
    assert (made["version"], made["run_id"], made["status"], made["source"]) == (
        "1",
        run,
        "READY",
        f"runs:/{run}/model",
    )
    wire.ask("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/model")
    assert "files" not in wire.get("artifacts/list", run_id=run)
    address = wire.get("model-versions/get-download-uri", name="work", version="1")["artifact_uri"]
    assert address.startswith("mlflow-artifacts:/versions/")
    path = address.removeprefix("mlflow-artifacts:/")
    listed = wire.get("/api/2.0/mlflow-artifacts/artifacts", path=path)["files"]
    assert [(one["path"], one["file_size"]) for one in listed] == [("MLmodel", len(CARD)), ("m.pkl", 1)]
    assert wire.get("/model-versions/get-artifact", name="work", version="1", path="MLmodel") == CARD
    for method, raw in (("PUT", b"evil"), ("DELETE", b"")):
        status, answer = wire.ask(method, f"/api/2.0/mlflow-artifacts/artifacts/{path}/MLmodel", raw=raw)
        assert status == 400 and "keeps its files" in answer["message"]


def test_a_copy_and_a_copy_of_a_place_elsewhere(wire, version):
    run, _ = version
    wire.post("registered-models/create", name="copies")
    copy = wire.post("model-versions/create", name="copies", source="models:/work/1")["model_version"]
    assert (copy["source"], copy["run_id"]) == ("models:/work/1", run)
    wire.post("model-versions/create", name="copies", source="s3://b/m")
    wire.post("model-versions/create", name="copies", source="models:/copies/2")
    assert wire.get("model-versions/get-download-uri", name="copies", version="3") == {"artifact_uri": "s3://b/m"}
    assert wire.refused("POST", "model-versions/create", name="copies", source="models:/none/1")[:2] == (
        404, "RESOURCE_DOES_NOT_EXIST",
    )  # fmt: skip


@pytest.mark.parametrize(
    "source",
    ["/etc/passwd", "file:///etc", "mlflow-artifacts:/0/x/../y", "runs:/a/..%252f..%252fb", "http://h/api/2.0/mlflow-artifacts/artifacts/0"],
)  # fmt: skip
def test_a_source_that_could_reach_further_than_its_caller_is_refused(wire, run, source):
    wire.post("registered-models/create", name="work")
    for more in ({}, {"run_id": run}):
        status, code, message = wire.refused("POST", "model-versions/create", name="work", source=source, **more)
        assert (status, code) == (400, "INVALID_PARAMETER_VALUE") and "source" in message


def test_a_local_place_counts_inside_the_run_s_own_folder_only(wire):
    experiment = wire.post("experiments/create", name="local", artifact_location="file:///data/x")["experiment_id"]
    run = wire.post("runs/create", experiment_id=experiment)["run"]["info"]
    wire.post("registered-models/create", name="work")
    inside = run["artifact_uri"] + "/model"
    assert inside.startswith("file:///data/x/")
    for source in (inside, inside + "/..", run["artifact_uri"] + "/."):
        assert wire.post("model-versions/create", name="work", source=source, run_id=run["run_id"])
    wire.refused("POST", "model-versions/create", name="work", source=inside)
    wire.refused("POST", "model-versions/create", name="work", source="file:///data/x", run_id=run["run_id"])


def test_prompts_live_among_the_models_and_are_found_when_asked_for(wire):
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    wire.post("registered-models/create", name="greet", tags=prompt)
    wire.post("model-versions/create", name="greet", source="prompt-template", tags=prompt)
    wire.post("registered-models/create", name="work")

    def names(filter=""):
        found = wire.get("registered-models/search", filter=filter)
        return [one["name"] for one in found.get("registered_models", [])]

    assert names() == names("tags.`mlflow.prompt.is_prompt` != 'true'") == ["work"]
    assert names("tags.`mlflow.prompt.is_prompt` = 'true'") == ["greet"]
    assert names("name LIKE '%' AND tags.`mlflow.prompt.is_prompt` = 'false'") == ["work"]
    assert wire.get("model-versions/search") == {}
    assert "taken by a prompt" in wire.refused("POST", "registered-models/create", name="greet")[2]


def test_pages_of_logged_models_belong_to_their_search(wire, run):
    for i in range(3):
        wire.post("logged-models", experiment_id="0", name=f"m{i}", source_run_id=run)
    page = wire.post("logged-models/search", experiment_ids=["0"], max_results=2)
    rest = wire.post("logged-models/search", experiment_ids=["0"], max_results=2, page_token=page["next_page_token"])
    assert [one["info"]["name"] for one in page["models"] + rest["models"]] == ["m2", "m1", "m0"]
    assert "next_page_token" not in rest
    wrong = {"filter": "name = 'm1'", "page_token": page["next_page_token"]}
    assert wire.refused("POST", "logged-models/search", experiment_ids=["0"], **wrong)[0] == 400


def test_a_figure_of_a_logged_model_is_there_as_soon_as_it_is_answered(wire, run):
    made = wire.post("logged-models", experiment_id="0", name="m")["model"]["info"]
    metrics = [
        {"key": "auc", "value": value, "timestamp": 5, "step": 0, "model_id": made["model_id"], "dataset_name": "d"}
        for value in (0.5, "NaN")
    ]
    for metric in metrics:
        wire.post("runs/log-batch", run_id=run, metrics=[{**metric, "key": f"auc{metric['value']}"}])
    shown = wire.get(f"logged-models/{made['model_id']}")["model"]["data"]["metrics"]
    assert [(one["key"], one["value"], one["run_id"], one["dataset_name"]) for one in shown] == [
        ("auc0.5", 0.5, run, "d"), ("aucNaN", "NaN", run, "d"),
    ]  # fmt: skip
    made = wire.post("registered-models/create", name="work") and made
    version = {"name": "work", "source": f"models:/{made['model_id']}", "model_id": made["model_id"]}
    wire.post("model-versions/create", **version)
    tags = wire.get(f"logged-models/{made['model_id']}")["model"]["info"]["tags"]
    assert json.loads(tags[0]["value"]) == [{"name": "work", "version": 1}]


def test_what_clients_do_to_the_registry_is_audited(wire):
    wire.post("registered-models/create", name="work")
    wire.ask("DELETE", "registered-models/delete", {"name": "work"})

    def actions(session: Session) -> list[str]:
        return session.column("SELECT action FROM audit ORDER BY seq")

    assert wire.house.read(actions)[-2:] == ["model.create", "model.delete"]


def test_what_older_clients_say_of_a_model_is_kept_in_a_tag(wire, run):
    card = {"artifact_path": "m", "flavors": {"f": {"a": 1, "config": "big"}}, "run_id": run, "utc_time_created": "t"}
    for path in ("m", "n"):
        wire.post("runs/log-model", run_id=run, model_json=json.dumps({**card, "artifact_path": path, "other": 1}))
    tags = {one["key"]: one["value"] for one in wire.get("runs/get", run_id=run)["run"]["data"]["tags"]}
    kept = json.loads(tags["mlflow.log-model.history"])
    assert [one["artifact_path"] for one in kept] == ["m", "n"]
    assert kept[0] == {**card, "flavors": {"f": {"a": 1}}}
    assert "is not a valid JSON" in wire.refused("POST", "runs/log-model", run_id=run, model_json="{")[2]
    assert "mandatory" in wire.refused("POST", "runs/log-model", run_id=run, model_json="{}")[2]


def test_a_run_shows_what_it_made_and_how_many_are_a_part_of_it(wire, run):
    made = wire.post("logged-models", experiment_id="0", name="best", source_run_id=run)["model"]["info"]["model_id"]
    wire.post("runs/create", experiment_id="0", tags=[{"key": "mlflow.parentRunId", "value": run}])
    shown = ask(wire.house, contract_run.show, contract_run.OneRun(run=run))
    assert [(one.name, one.id, one.status) for one in shown.logged] == [("best", made, "pending")]
    assert shown.children == 1 and len(wire.post("runs/search", experiment_ids=["0"])["runs"]) == 2


@pytest.mark.parametrize(
    ("source", "more", "code", "words"),
    [
        ("C:\\x", {}, "INVALID_PARAMETER_VALUE", "To use a local path as a model version"),
        ("file://1.2.3.4/x", {}, "INVALID_PARAMETER_VALUE", "is not a valid remote uri"),
        ("http://h/a/../b", {}, "INVALID_PARAMETER_VALUE", "If supplying a source as an http, https"),
        ("mlflow-artifacts://h/a", {}, "INVALID_PARAMETER_VALUE", "'source' cannot use the 'mlflow-artifacts' scheme"),
        ("s3://b/m", {"model_id": "m-none"}, "RESOURCE_DOES_NOT_EXIST", "Logged model with ID 'm-none' not found"),
    ],
)
def test_a_source_that_leads_astray_is_refused(wire, source, more, code, words):
    wire.post("registered-models/create", name="work")
    found = wire.refused("POST", "model-versions/create", name="work", source=source, **more)
    assert found[1] == code and words in found[2]


def test_a_name_with_an_at_is_refused_as_it_would_name_a_version(wire):
    assert wire.refused("POST", "registered-models/create", name="work@home")[1] == "INVALID_PARAMETER_VALUE"


def test_a_logged_model_is_deleted_as_often_as_a_client_asks(wire):
    made = wire.post("logged-models", experiment_id="0", name="m")["model"]["info"]["model_id"]
    for _ in range(2):
        assert wire.ask("DELETE", f"logged-models/{made}")[0] == 200
    assert wire.ask("DELETE", "logged-models/m-none")[0] == 404
    assert "models" not in wire.post("logged-models/search", experiment_ids=["0"])


def test_logged_models_are_looked_for_in_experiments_that_are_named(wire):
    made = wire.post("logged-models", experiment_id="0")["model"]["info"]
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d+", made["name"])
    for number, found in (("0", 1), ("1", 0)):
        asked = {"experiment_ids": ["0"], "filter": f"experiment_id = '{number}'"}
        assert len(wire.post("logged-models/search", **asked).get("models", [])) == found
    for none in ({}, {"experiment_ids": []}):
        assert "'experiment_ids'" in wire.refused("POST", "logged-models/search", **none)[2]


def test_the_newest_of_each_stage_come_by_stage(wire):
    wire.post("registered-models/create", name="work")
    for _ in range(3):
        wire.post("model-versions/create", name="work", source="s3://b/m")
    wire.post("model-versions/transition-stage", name="work", version="1", stage="Staging")
    latest = wire.get("registered-models/get", name="work")["registered_model"]["latest_versions"]
    assert [(one["current_stage"], one["version"]) for one in latest] == [("None", "3"), ("Staging", "1")]


def test_parameters_of_a_logged_model_stay_and_an_empty_list_of_outputs_is_one(wire, run):
    made = wire.post("logged-models", experiment_id="0", name="m", params=[{"key": "a", "value": "1"}])
    path = f"logged-models/{made['model']['info']['model_id']}/params"
    wire.post(path, params=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
    assert "Changing param values is not allowed" in wire.refused("POST", path, params=[{"key": "a", "value": "2"}])[2]
    wire.post("runs/outputs", run_id=run, models=[])
    assert "'models'" in wire.refused("POST", "runs/outputs", run_id=run)[2]

"""Experiments and runs on the MLflow wire: what clients send, what they get back, and how mistakes are told."""

from __future__ import annotations

import math
import os
import pwd

import pytest

from mlops_tui.contracts import experiment as contract_experiment
from mlops_tui.contracts import govern
from mlops_tui.contracts import run as contract_run
from mlops_tui.door.context import Caller
from mlops_tui.door.perform import Wish, ask, perform


def data(wire, run, part):
    found = wire.get("runs/get", run_id=run)["run"]["data"][part]
    return {one["key"]: one["value"] for one in found}


def test_the_default_experiment_is_there_and_names_stay_taken_after_a_deletion(wire):
    assert wire.get("experiments/get", experiment_id="0")["experiment"]["name"] == "Default"
    made = wire.post("experiments/create", name="census", tags=[{"key": "a", "value": "1"}])["experiment_id"]
    assert made == "1"
    shown = wire.get("experiments/get-by-name", experiment_name="census")["experiment"]
    assert shown["tags"] == [{"key": "a", "value": "1"}] and shown["artifact_location"] == "mlflow-artifacts:/1"
    wire.post("experiments/delete", experiment_id=made)
    assert wire.get("experiments/get", experiment_id=made)["experiment"]["lifecycle_stage"] == "deleted"
    assert wire.refused("POST", "experiments/create", name="census")[:2] == (400, "RESOURCE_ALREADY_EXISTS")
    assert wire.refused("GET", "experiments/get-by-name", experiment_name="none")[:2] == (
        404,
        "RESOURCE_DOES_NOT_EXIST",
    )


def test_what_was_acknowledged_is_read_back_with_values_that_json_has_no_number_for(wire, run):
    for step, value in enumerate((0.5, "NaN", "Infinity", "-Infinity")):
        wire.post("runs/log-metric", run_id=run, key="loss", value=value, timestamp=str(10 + step), step=str(step))
    wire.ask("POST", "runs/log-metric", raw=b'{"run_id":"%s","key":"bare","value":NaN,"timestamp":1}' % run.encode())
    history = wire.get("metrics/get-history", run_id=run, metric_key="loss")["metrics"]
    assert [one["value"] for one in history] == [0.5, "NaN", "Infinity", "-Infinity"]
    assert [(one["timestamp"], one["step"]) for one in history] == [(10, 0), (11, 1), (12, 2), (13, 3)]
    assert data(wire, run, "metrics") == {"loss": "-Infinity", "bare": "NaN"}


def test_a_batch_that_is_sent_again_adds_nothing(wire, run):
    points = [{"key": "m", "value": value, "timestamp": 5, "step": 0} for value in (1.0, 2.0, "NaN", 1.0)]
    for _ in range(3):
        wire.post("runs/log-batch", run_id=run, metrics=points, params=[{"key": "p", "value": "1"}])
        wire.post("runs/log-metric", run_id=run, key="m", value=3, timestamp=4, step=-1)
    values = [one["value"] for one in wire.get("metrics/get-history", run_id=run, metric_key="m")["metrics"]]
    assert values == [3.0, 1.0, 2.0, "NaN"]
    with wire.house.store.read() as session:
        assert session.value("SELECT n FROM series WHERE owner LIKE ? AND key = 'm'", [f"{run[:8]}%"]) == 4


def test_a_parameter_keeps_its_first_value_and_a_batch_is_whole_or_nothing(wire, run):
    wire.post("runs/log-parameter", run_id=run, key="lr", value="0.1")
    wire.post("runs/log-parameter", run_id=run, key="lr", value="0.1")
    status, code, told = wire.refused(
        "POST", "runs/log-batch", run_id=run, params=[{"key": "new", "value": "1"}, {"key": "lr", "value": "0.2"}]
    )
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE") and "Changing param values is not allowed" in told
    assert data(wire, run, "params") == {"lr": "0.1"}


@pytest.mark.parametrize(
    ("path", "given", "told"),
    [
        ("runs/log-metric", {"key": "m", "timestamp": 1}, "Missing value for required parameter 'value'"),
        ("runs/log-metric", {"key": "m", "value": "x", "timestamp": 1}, "Invalid value \"x\" for parameter 'value'"),
        ("runs/log-metric", {"key": "../m", "value": 1, "timestamp": 1}, "for parameter 'name'"),
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": -1}, "Timestamp must be a nonnegative"),
        ("runs/set-tag", {"key": "k" * 251, "value": "x"}, "exceeds the maximum length of 250"),
        ("runs/log-batch", {"metrics": [{"key": "m", "value": 1}]}, "parameter 'metrics[0].timestamp'"),
        ("runs/log-batch", {"tags": [{"key": str(i)} for i in range(101)]}, "at most 100 tags"),
        ("runs/update", {"status": "DANCING"}, "for parameter 'status'"),
    ],
)
def test_mistakes_name_the_parameter(wire, run, path, given, told):
    status, code, message = wire.refused("POST", path, run_id=run, **given)
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE") and told in message


def test_a_run_lives_ends_is_deleted_and_comes_back(wire, run):
    wire.post("runs/set-tag", run_id=run, key="mlflow.note.content", value="so far")
    info = wire.post("runs/update", run_id=run, status="FINISHED", end_time=5000, run_name="one")["run_info"]
    assert (info["status"], info["start_time"], info["end_time"], info["run_name"]) == ("FINISHED", 1000, 5000, "one")
    wire.post("runs/log-metric", run_id=run, key="late", value=1, timestamp=9)
    wire.post("runs/delete", run_id=run)
    wire.post("runs/delete", run_id=run)
    told = wire.refused("POST", "runs/log-metric", run_id=run, key="m", value=1, timestamp=1)
    assert told[0] == 400 and "must be in the 'active' state" in told[2]
    assert (
        "runs" not in wire.post("runs/search", experiment_ids=["0"])
        or not wire.post("runs/search", experiment_ids=["0"])["runs"]
    )
    wire.post("runs/restore", run_id=run)
    wire.post("runs/log-metric", run_id=run, key="m", value=math.pi, timestamp=1)
    found = wire.post("runs/search", experiment_ids=["0"])["runs"]
    assert [one["info"]["run_id"] for one in found] == [run] and data(wire, run, "metrics") == {"late": 1, "m": math.pi}
    assert data(wire, run, "tags")["mlflow.note.content"] == "so far"
    wire.post("runs/delete-tag", run_id=run, key="mlflow.note.content")
    assert wire.refused("POST", "runs/delete-tag", run_id=run, key="none")[1] == "RESOURCE_DOES_NOT_EXIST"


def test_what_is_not_served_says_so_in_mlflows_shape(wire):
    assert wire.refused("GET", "/api/2.0/mlflow/nonsense")[:2] == (404, "ENDPOINT_NOT_FOUND")
    assert wire.refused("GET", "runs/get", run_id="f" * 32)[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    assert wire.get("/api/3.0/mlflow/server-info")["workspaces_enabled"] is False
    assert wire.ask("GET", "/health") == (200, b"OK")


def test_searches_speak_mlflows_grammar(wire):
    runs = []
    for step, loss in enumerate((0.3, 0.1, "NaN")):
        made = wire.post("runs/create", experiment_id="0", start_time=step, run_name=f"r{step}")["run"]["info"]
        runs.append(made["run_id"])
        wire.post("runs/log-metric", run_id=made["run_id"], key="loss", value=loss, timestamp=1)
    names = {run: f"r{number}" for number, run in enumerate(runs)}

    def found(**wish):
        answer = wire.post("runs/search", experiment_ids=["0"], **wish)
        return [names[one["info"]["run_id"]] for one in answer.get("runs", [])], answer.get("next_page_token")

    assert found() == (["r2", "r1", "r0"], None)
    assert found(filter="metrics.loss < 0.2")[0] == ["r1"]
    assert found(filter=f"attributes.run_id = '{runs[0]}'")[0] == ["r0"]
    assert found(order_by=["metrics.loss ASC"])[0] == ["r1", "r0", "r2"]
    first, token = found(order_by=["metrics.loss ASC"], max_results=2)
    assert first == ["r1", "r0"] and found(order_by=["metrics.loss ASC"], max_results=2, page_token=token)[0] == ["r2"]
    assert wire.refused("POST", "runs/search", experiment_ids=["0"], filter="nonsense")[1] == "INVALID_PARAMETER_VALUE"
    wire.post("experiments/create", name="census", tags=[{"key": "team", "value": "a"}])
    hit = wire.post("experiments/search", max_results=5, filter="tags.team = 'a' AND name LIKE 'cen%'")["experiments"]
    assert [one["name"] for one in hit] == ["census"]


def test_data_and_models_that_a_run_read_and_made_are_noted_once(wire, run):
    dataset = {"name": "census", "digest": "abc", "source_type": "local", "source": "{}", "profile": "p"}
    used = {"tags": [{"key": "mlflow.data.context", "value": "train"}], "dataset": dataset}
    for _ in range(2):
        wire.post("runs/log-inputs", run_id=run, datasets=[used], models=[{"model_id": "m-1"}])
        wire.post("runs/outputs", run_id=run, models=[{"model_id": "m-2", "step": 3}])
    shown = wire.get("runs/get", run_id=run)["run"]
    assert shown["inputs"] == {"dataset_inputs": [used], "model_inputs": [{"model_id": "m-1"}]}
    assert shown["outputs"] == {"model_outputs": [{"model_id": "m-2", "step": 3}]}
    wanted = [{"experiment_id": "0", "name": "census", "digest": "abc", "context": "train"}]
    assert wire.post("experiments/search-datasets", experiment_ids=["0"]) == {"dataset_summaries": wanted}


def test_histories_of_several_runs_are_thinned_but_keep_their_ends(wire, run):
    points = [{"key": "m", "value": i, "timestamp": i, "step": i} for i in range(1000)]
    wire.post("runs/log-batch", run_id=run, metrics=points)
    thin = wire.get("metrics/get-history-bulk-interval", run_ids=run, metric_key="m", max_results=11)["metrics"]
    assert len(thin) == 11 and (thin[0]["step"], thin[-1]["step"]) == (0, 999) and thin[0]["run_id"] == run
    some = wire.get("metrics/get-history-bulk-interval", run_ids=run, metric_key="m", start_step=10, end_step=12)[
        "metrics"
    ]
    assert [one["step"] for one in some] == [10, 11, 12]
    bulk = wire.get("/ajax-api/2.0/mlflow/metrics/get-history-bulk", run_id=run, metric_key="m", max_results=5)
    assert [one["step"] for one in bulk["metrics"]] == [0, 1, 2, 3, 4]
    page = wire.get("metrics/get-history", run_id=run, metric_key="m", max_results=999)
    rest = wire.get("metrics/get-history", run_id=run, metric_key="m", page_token=page["next_page_token"])
    assert len(page["metrics"]) == 999 and [one["step"] for one in rest["metrics"]] == [999]
    assert wire.get("metrics/get-history", run_id="f" * 32, metric_key="m") == {}


def test_parts_of_mlflow_that_are_not_here_say_why(wire):
    for path, why in (
        ("/api/3.0/mlflow/traces/search", "traces are not kept"),
        ("/v1/traces", "traces are not kept"),
        ("/ajax-api/2.0/mlflow/gateway-proxy", "no AI gateway"),
    ):
        status, code, told = wire.refused("POST", path)
        assert (status, code) == (501, "NOT_IMPLEMENTED") and why in told


def test_roles_hold_on_the_wire(wire, run):
    wire.post("runs/log-metric", run_id=run, key="m", value=1, timestamp=1)
    me = pwd.getpwuid(os.getuid()).pw_name
    for name, role in ((me, "admin"), ("boss", "admin"), (me, "viewer")):
        given = govern.CreateIdentity(name=name, role=role)
        ask(wire.house, govern.identity_create, given, Caller(me, os.getuid()))
    for path, given in (("runs/log-metric", {"key": "m", "value": 1, "timestamp": 1}), ("runs/delete", {})):
        assert wire.refused("POST", path, run_id=run, **given)[:2] == (403, "PERMISSION_DENIED")
    assert data(wire, run, "metrics") == {"m": 1}, "a viewer may look"


def test_what_people_and_clients_both_name_is_one_thing(wire, run):
    """Name and note of a run are columns here and tags there: who changes one changes the other."""
    wire.post("runs/set-tag", run_id=run, key="mlflow.runName", value="one")
    wire.post("runs/set-tag", run_id=run, key="mlflow.note.content", value="from a client")
    assert wire.get("runs/get", run_id=run)["run"]["info"]["run_name"] == "one"
    shown = ask(wire.house, contract_run.show, contract_run.OneRun(run="one"))
    assert (shown.note, shown.tags) == ("from a client", {})
    ask(wire.house, contract_run.note, contract_run.NoteRequest(run="one", text="from a person"))
    assert data(wire, run, "tags") == {"mlflow.runName": "one", "mlflow.note.content": "from a person"}
    wire.post("runs/delete-tag", run_id=run, key="mlflow.note.content")
    assert data(wire, run, "tags") == {"mlflow.runName": "one"}
    assert wire.refused("POST", "runs/delete-tag", run_id=run, key="mlflow.note.content")[0] == 404
    made = wire.post("experiments/create", name="e", tags=[{"key": "mlflow.note.content", "value": "x"}])
    found = wire.get("experiments/get", experiment_id=made["experiment_id"])["experiment"]
    assert found["tags"] == [{"key": "mlflow.note.content", "value": "x"}]
    wire.post("experiments/delete-experiment-tag", experiment_id=made["experiment_id"], key="mlflow.note.content")
    assert "tags" not in wire.get("experiments/get", experiment_id=made["experiment_id"])["experiment"]


def test_a_place_for_artifacts_is_a_place(wire):
    def refused(place):
        return wire.refused("POST", "experiments/create", name="p", artifact_location=place)[1]

    assert refused("s3://bucket/x#frag") == refused("runs:/x/y") == "INVALID_PARAMETER_VALUE"
    made = wire.post("experiments/create", name="p", artifact_location="s3://bucket/x")["experiment_id"]
    run = wire.post("runs/create", experiment_id=made)["run"]["info"]
    assert run["artifact_uri"] == f"s3://bucket/x/{run['run_id']}/artifacts"


def test_the_addresses_that_clients_print_lead_to_a_page_that_says_the_command(wire):
    status, page = wire.ask("GET", "/")
    assert status == 200 and b"mlops open " in page and b"http" not in page.lower().replace(b"<!doctype html>", b"")


def test_a_name_that_was_taken_out_of_the_tags_comes_back_with_the_next_one(wire, run):
    wire.post("runs/update", run_id=run, run_name="first")
    for name in ("second", "third"):
        wire.post("runs/delete-tag", run_id=run, key="mlflow.runName")
        shown = wire.get("runs/get", run_id=run)["run"]
        assert shown["info"]["run_name"] and not shown["data"].get("tags")
        assert "No tag with name" in wire.refused("POST", "runs/delete-tag", run_id=run, key="mlflow.runName")[2]
        if name == "second":
            wire.post("runs/update", run_id=run, run_name=name)
        else:
            wire.post("runs/set-tag", run_id=run, key="mlflow.runName", value=name)
        assert data(wire, run, "tags") == {"mlflow.runName": name}


def test_an_address_keeps_what_stands_behind_its_question_mark(wire):
    place = "s3://bucket/top/?key=a"
    number = wire.post("experiments/create", name="elsewhere", artifact_location=place)["experiment_id"]
    made = wire.post("runs/create", experiment_id=number, start_time=1)["run"]["info"]
    assert made["artifact_uri"] == f"s3://bucket/top/{made['run_id']}/artifacts?key=a"
    assert wire.get("artifacts/list", run_id=made["run_id"])["root_uri"] == made["artifact_uri"]
    for sign, n in (("=", 1), ("!=", 0)):
        wish = f"attributes.artifact_uri {sign} '{made['artifact_uri']}'"
        assert len(wire.post("runs/search", experiment_ids=[number], filter=wish).get("runs", [])) == n


def test_an_experiment_comes_back_with_runs_that_were_deleted_before_it(wire, run):
    number = wire.post("experiments/create", name="gone")["experiment_id"]
    runs = [wire.post("runs/create", experiment_id=number, start_time=i)["run"]["info"]["run_id"] for i in range(2)]
    wire.post("runs/delete", run_id=runs[0])
    wire.post("experiments/delete", experiment_id=number)
    one = contract_experiment.OneExperiment(experiment="gone")
    planned = perform(wire.house, "experiment.restore", one, Caller.system(), Wish(dry_run=True))
    assert planned.warnings == ["1 run that was deleted before it come back too"]
    wire.post("experiments/restore", experiment_id=number)
    assert len(wire.post("runs/search", experiment_ids=[number])["runs"]) == 2


def test_a_data_set_of_the_largest_size_is_kept(wire, run):
    profile = "x" * 16_777_215
    told = {"name": "big", "digest": "d", "source_type": "local", "source": "s", "profile": profile}
    wire.post("runs/log-inputs", run_id=run, datasets=[{"dataset": told}])
    assert wire.get("runs/get", run_id=run)["run"]["inputs"]["dataset_inputs"][0]["dataset"]["profile"] == profile


def test_an_experiment_is_looked_for_by_a_number(wire):
    for path in ("runs/search", "logged-models/search"):
        assert "must be a valid integer" in wire.refused("POST", path, experiment_ids=["12abc"])[2]
    assert "Experiment(name=Default) already exists" in wire.refused("POST", "experiments/create", name="Default")[2]


def test_the_default_experiment_is_there_for_whoever_names_it_first(wire):
    assert wire.post("logged-models", experiment_id="0")["model"]["info"]["experiment_id"] == "0"
    wire.post("experiments/set-experiment-tag", experiment_id="0", key="team", value="a")
    told = "IS NULL / IS NOT NULL is only supported for tags"
    assert told in wire.refused("POST", "experiments/search", filter="name IS NULL")[2]
    assert len(wire.post("experiments/search", filter="tags.team IS NOT NULL")["experiments"]) == 1


def test_number_0_stays_the_default_experiment_whatever_it_is_called_and_default_is_another_name(wire):
    wire.post("experiments/update", experiment_id="0", new_name="mine")
    made = [wire.post("experiments/create", name=name)["experiment_id"] for name in ("Default", "default")]
    assert made == ["1", "2"]
    assert wire.post("runs/create", experiment_id="0")["run"]["info"]["experiment_id"] == "0"
    assert wire.post("runs/create", start_time=1)["run"]["info"]["experiment_id"] == "0"
    names = [one["name"] for one in wire.post("experiments/search", max_results=9)["experiments"]]
    assert sorted(names) == ["Default", "default", "mine"]


def test_a_data_set_that_is_logged_again_stays_as_it_was_first_said(wire, run):
    for context, source in (("train", "a"), ("eval", "b")):
        used = {"name": "census", "digest": "d1", "source_type": "local", "source": source}
        tags = [{"key": "mlflow.data.context", "value": context}]
        wire.post("runs/log-inputs", run_id=run, datasets=[{"dataset": used, "tags": tags}])
    inputs = wire.get("runs/get", run_id=run)["run"]["inputs"]["dataset_inputs"]
    assert [(one["dataset"]["source"], one["tags"][0]["value"]) for one in inputs] == [("a", "train")]
    found = wire.post("experiments/search-datasets", experiment_ids=["0"])["dataset_summaries"]
    assert [one["context"] for one in found] == ["train"]
    assert wire.refused("POST", "experiments/search-datasets", experiment_ids=["x"])[1] == "INVALID_PARAMETER_VALUE"


def test_a_run_is_made_with_tags_of_any_name(wire):
    tags = [{"key": key, "value": key * 40} for key in ("a@b", "k" * 300)]
    made = wire.post("runs/create", experiment_id="0", run_name="r", tags=tags)["run"]["info"]["run_id"]
    kept = data(wire, made, "tags")
    assert {key: len(kept[key]) for key in ("a@b", "k" * 300)} == {"a@b": 120, "k" * 300: 12_000}


def test_histories_of_runs_that_are_not_there_are_empty(wire):
    for path, name in (("metrics/get-history-bulk", "run_id"), ("metrics/get-history-bulk-interval", "run_ids")):
        assert not wire.get(path, **{name: ["0" * 32, "none"]}, metric_key="m").get("metrics")
    assert wire.get("metrics/get-history-bulk", run_id="none", metric_key="m") == {"metrics": []}
    assert wire.refused("GET", "metrics/get-history-bulk", run_id="none", metric_key="m", max_results=-1)[0] == 400


def test_a_data_set_of_no_context_is_in_no_other_one_either(wire, run):
    used = {"name": "census", "digest": "d1", "source_type": "local", "source": "a"}
    wire.post("runs/log-inputs", run_id=run, datasets=[{"dataset": used}])
    for wish, n in (("dataset.context != 'eval'", 0), ("dataset.name != 'x'", 1)):
        assert len(wire.post("runs/search", experiment_ids=["0"], filter=wish).get("runs", [])) == n, wish


def test_what_is_wrong_with_a_batch_is_said_before_its_run_is_looked_for(wire):
    twice = [{"key": "p", "value": value} for value in "12"]
    for batch, words in (
        ({"params": twice}, "Duplicate parameter keys"),
        ({"tags": [{"key": "a!"}]}, "Names may only"),
    ):
        status, code, said = wire.refused("POST", "runs/log-batch", run_id="0" * 32, **batch)
        assert (status, code) == (400, "INVALID_PARAMETER_VALUE") and words in said

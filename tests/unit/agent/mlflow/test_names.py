"""What things are called: runs by their tags or by themselves, places by the folder of who asks, mistakes in words."""

from __future__ import annotations

import os
import re

import pytest

from mlops_tui.tracking.life.names import name_for


def test_a_run_takes_name_and_note_from_its_tags_and_an_empty_name_changes_nothing(wire, run):
    def told():
        found = wire.get("runs/get", run_id=run)["run"]
        return found["info"]["run_name"], {one["key"]: one["value"] for one in found["data"]["tags"]}

    wire.post("runs/set-tag", run_id=run, key="mlflow.runName", value="second")
    wire.post("runs/log-batch", run_id=run, tags=[{"key": "mlflow.note.content", "value": "seen"}])
    name, tags = told()
    assert (name, tags["mlflow.runName"], tags["mlflow.note.content"]) == ("second", "second", "seen")
    wire.post("runs/set-tag", run_id=run, key="mlflow.runName", value="")
    assert told()[0] == "second"
    found = wire.post("runs/search", experiment_ids=["0"], filter="tags.`mlflow.runName` = 'second'")
    assert [one["info"]["run_id"] for one in found["runs"]] == [run]


def test_a_run_without_a_name_is_called_by_two_words_and_a_number(wire):
    named = wire.post("runs/create", experiment_id="0", start_time=1)["run"]["info"]["run_name"]
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d{1,3}", named)
    assert name_for("a") == name_for("a") != name_for("b")


def test_a_relative_place_is_seen_from_the_folder_of_the_client(wire, monkeypatch):
    monkeypatch.setattr("mlops_tui.agent.mlflow.router.Call.pid", lambda call: os.getpid())
    for number, (typed, kept) in enumerate((
        ("here", f"{os.getcwd()}/here"), ("file:here", f"file://{os.getcwd()}/here"), ("/there", "/there"),
        ("s3://bucket/there", "s3://bucket/there"),
    )):  # fmt: skip
        made = wire.post("experiments/create", name=f"place-{number}", artifact_location=typed)["experiment_id"]
        assert wire.get("experiments/get", experiment_id=made)["experiment"]["artifact_location"] == kept
    assert wire.refused("POST", "experiments/create", name="no", artifact_location="s3://b/x#part")[0] == 400


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ("run_id IN ()", "non-empty list of string values, but got empty list"),
        ("run_id IN ('a',,'b')", "but got ill-formed list"),
        ("run_id IN (1, 2)", "got different type in list"),
        ("run_id IN", "Invalid clause(s) in filter string"),
        ("run_name = x", "unidentified quote types used for string value x"),
        ("nobody = true", "Invalid clause(s) in filter string"),
        ("attributes.nobody = 'x'", "Invalid attribute key 'nobody' specified"),
    ],
)
def test_mistakes_are_told_in_the_words_that_clients_look_for(wire, wish, words):
    status, code, message = wire.refused("POST", "runs/search", experiment_ids=["0"], filter=wish)
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE") and words in message


def test_head_says_what_get_would_without_the_bytes(wire, run):
    query = {"run_id": run, "path": "a.txt"}
    path = f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/a.txt"
    assert wire.ask("PUT", path, raw=b"abc")[0] == 200
    assert wire.ask("GET", "/get-artifact", query=query) == (200, b"abc")
    assert wire.ask("HEAD", "/get-artifact", query=query) == (200, b"")

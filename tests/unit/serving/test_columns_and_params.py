"""Columns of ``/invocations`` by name or by position, words that are missing, and what a request sets besides rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mlops_tui.serving.models.remote_model import RemoteModel

ABOUT = {
    "inputs": [
        {"name": "age", "datatype": "FP64", "shape": [-1], "optional": False},
        {"name": "job", "datatype": "BYTES", "shape": [-1], "optional": True},
    ],
    "outputs": [{"name": "predictions", "datatype": "FP64", "shape": [-1]}],
    "params": [
        {"name": "params.k", "datatype": "FP64", "shape": [1], "optional": True},
        {"name": "params.add", "datatype": "INT64", "shape": [-1], "optional": True},
    ],
    "provider": "cpu",
}


class Engine:
    """Answers in place of a model's process, and keeps what it was given."""

    def run(self, feed: Any) -> Any:
        self.given = {name: array.tolist() for name, array in feed.items()}
        return {"predictions": feed["age"] * self.given.get("params.k", [1.0])[0]}


@pytest.fixture
def engine(bench: Any) -> Engine:
    made = Engine()
    bench.route(bench.arm(1, RemoteModel("pyfunc", ABOUT, made)))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    ("columns", "score"), [(["a", "b", "c"], 6.0), (["X_2", "X_1", "X_0"], 6.0), (["a", "b"], None), (["a"], None)]
)
def test_every_value_of_a_row_has_a_name(bench: Any, onnx_models: Any, columns: list[str], score: float | None) -> None:
    bench.route(bench.arm(1, onnx_models.summing()))
    answer = bench.ask("/invocations", {"dataframe_split": {"columns": columns, "data": [[1, 2, 3]]}})
    assert answer.status == (400 if score is None else 200), answer.body
    if score is not None:
        assert json.loads(answer.body)["predictions"]["score"] == [[score]]


@pytest.mark.parametrize("shape", ["split", "records"])
def test_names_that_we_gave_the_columns_are_names(bench: Any, onnx_models: Any, shape: str) -> None:
    arm = bench.arm(1, onnx_models.summing())
    bench.route(arm)
    assert arm.model.features == ("X_0", "X_1", "X_2")
    table = {
        "split": {"columns": ["X_2", "X_0", "X_1"], "data": [[3, 1, 2]]},
        "records": [{"X_2": 3, "X_0": 1, "X_1": 2}],
    }
    asked = {f"dataframe_{shape}": table[shape]}
    given = arm.model.feature_bytes  # what the log would keep tells in which order they came
    seen: list[Any] = []
    arm.model.feature_bytes = lambda feed, rows: seen.append(feed["X"].tolist()) or given(feed, rows)
    assert bench.ask("/invocations", asked).status == 200
    assert seen == [[[1.0, 2.0, 3.0]]]


def test_nan_in_csv_is_a_value_that_is_missing(bench: Any, engine: Engine) -> None:
    assert bench.ask("/invocations", b"age,job\nnan,a\n1,\n", content_type="text/csv").status == 200
    assert np.isnan(engine.given["age"][0]) and engine.given["job"] == ["a", None]


def test_a_value_of_csv_means_what_its_column_holds(bench: Any) -> None:
    kinds = {"age": "FP64", "id": "INT64", "zip": "BYTES", "old": "BOOL"}
    inputs = [{"name": n, "datatype": kind, "shape": [-1], "optional": False} for n, kind in kinds.items()]
    engine = Engine()
    bench.route(bench.arm(1, RemoteModel("pyfunc", {**ABOUT, "inputs": inputs}, engine)))  # type: ignore[arg-type]
    table = b"id,zip,old,age\n9007199254740993,01234,True,1\n-2,nan,false,2.5\n"
    assert bench.ask("/invocations", table, content_type="text/csv").status == 200
    assert engine.given == {
        "age": [1.0, 2.5], "id": [9007199254740993, -2], "zip": ["01234", "nan"], "old": [True, False]
    }  # fmt: skip
    for bad in (
        b"1,a,yes,1",
        b"1.5,a,true,1",
        b",a,true,1",
        b"1,a,,1",
        b"1,a,true,x",
        b"1,a,true",
        b"99999999999999999999,a,true,1",
    ):
        answer = bench.ask("/invocations", b"id,zip,old,age\n" + bad + b"\n", content_type="text/csv")
        assert answer.status == 400, bad


def test_a_word_may_be_missing_where_the_model_takes_a_table(bench: Any, onnx_models: Any, engine: Engine) -> None:
    body = {"dataframe_records": [{"age": 1, "job": None}, {"age": None, "job": "b"}]}
    assert bench.ask("/invocations", body).status == 200 and engine.given["job"] == [None, "b"]
    bench.route(bench.arm(2, onnx_models.mixed()))
    body = {"dataframe_records": [{"age": 1, "hours": 2, "job": None}]}
    assert bench.ask("/invocations", body).status == 400


@pytest.mark.parametrize("protocol", ["/invocations", "/v2/models/m/infer"])
def test_a_request_sets_the_params_that_a_model_has(bench: Any, engine: Engine, protocol: str) -> None:
    tensor = {"name": "age", "datatype": "FP64", "shape": [2], "data": [1, 2]}
    rows, word = (
        ({"inputs": {"age": [1, 2]}}, "params") if protocol == "/invocations" else ({"inputs": [tensor]}, "parameters")
    )
    assert bench.ask(protocol, {**rows, word: {"k": 3, "add": [1, 2], "user": "u-1"}}).status == 200
    assert engine.given == {"age": [1.0, 2.0], "params.k": [3.0], "params.add": [1, 2]}
    assert bench.ask(protocol, {**rows, word: {"user": "u-1"}}).status == 200 and list(engine.given) == ["age"]
    for bad in ({"k": "x"}, {"k": [1]}, {"add": 1}, {"add": [1.5]}, {"add": [None]}, {"k": True}, {"add": [False]}):
        answer = bench.ask(protocol, {**rows, word: bad})
        assert answer.status == 400 and "error" in json.loads(answer.body), bad


def test_metadata_names_the_params(bench: Any, engine: Engine) -> None:
    said = json.loads(bench.ask("/v2/models/m", method="GET").body)["parameters"]["params"]
    assert said == [
        {"name": "k", "datatype": "FP64", "shape": [1]}, {"name": "add", "datatype": "INT64", "shape": [-1]}
    ]  # fmt: skip


def test_the_document_has_params_and_words_that_may_be_missing(bench: Any, engine: Engine) -> None:
    found = json.loads(bench.ask("/openapi.json", method="GET").body)
    body = found["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    properties = body["anyOf"][0]["properties"]
    assert properties["inputs"]["properties"]["job"]["anyOf"][0]["items"]["type"] == ["string", "null"]
    assert properties["inputs"]["required"] == ["age"]
    assert set(properties["params"]["properties"]) == {"k", "add"}
    assert "k" in json.dumps(found["paths"]["/v2/models/m/infer"]), "the protocol's parameters say it too"


def test_a_slash_at_the_end_means_nothing_and_an_encoded_one_is_part_of_a_name(
    make_bench: Any, onnx_models: Any
) -> None:
    bench = make_bench(token="t")
    bench.route(bench.arm(1, onnx_models.summing()))
    key = {"authorization": "Bearer t"}
    for path in ("/v2", "/v2/health/live", "/v2/models/m", "/v2/models/m/ready", "/version"):
        assert bench.ask(path, method="GET", **key).status == bench.ask(path + "/", method="GET", **key).status == 200
    assert bench.ask("/v2/health/ready/", method="GET").status != 401
    assert bench.ask("/v2/models/m%2Fready", method="GET", **key).status == 404
    assert bench.ask("/v2/models/%6d/ready", method="GET", **key).status == 200


def test_an_unloaded_model_answers_nobody_and_the_server_is_ready(bench: Any, onnx_models: Any) -> None:
    router = bench.route(bench.arm(1, onnx_models.summing()))
    assert bench.infer([[1, 2, 3]]).status == 200
    bench.app.route(router, [], away=True)
    for path in ("/v2/models/m", "/v2/models/m/ready", "/v2/models/m/versions/v1"):
        assert bench.ask(path, method="GET").status == 404, path
    assert bench.infer([[1, 2, 3]]).status == 404
    assert bench.ask("/invocations", {"inputs": [[1, 2, 3]]}).status == 404
    assert "/invocations" not in json.loads(bench.ask("/openapi.json", method="GET").body)["paths"]
    bench.app.repository.shelf = ("m",)
    assert json.loads(bench.ask("/v2/repository/index").body) == [
        {"name": "m", "version": "", "state": "UNAVAILABLE", "reason": "unloaded"}
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": [{"age": 1}]},
        {"dataframe_split": {"columns": ["age"], "data": [[1]]}},
        {"inputs": {"age": [1]}},
        {"inputs": {"age": 1}},
        {"inputs": [{"age": 1}]},
        {"instances": [{"age": 1}]},
        b"age\n1\n",
    ],
)
def test_a_column_that_is_optional_may_be_left_out_of_every_shape(bench: Any, engine: Engine, body: Any) -> None:
    kind = "text/csv" if isinstance(body, bytes) else "application/json"
    answer = bench.ask("/invocations", body, content_type=kind)
    assert answer.status == 200 and json.loads(answer.body) == {"predictions": [1.0]}, answer.body
    assert engine.given == {"age": [1.0]}


def test_who_gives_a_table_gives_its_rows_to_mlflow_and_its_columns_to_the_protocol(bench: Any) -> None:
    class Two:
        def run(self, feed: Any) -> Any:
            return {"score": feed["age"] / 2, "word": np.array(["a", None], np.object_)[: len(feed["age"])]}

    outputs = [
        {"name": "score", "datatype": "FP64", "shape": [-1]},
        {"name": "word", "datatype": "BYTES", "shape": [-1]},
    ]
    about = {**ABOUT, "outputs": outputs, "table": True}
    bench.route(bench.arm(1, RemoteModel("pyfunc", about, Two())))  # type: ignore[arg-type]
    said = json.loads(bench.ask("/invocations", {"inputs": {"age": [1, 3]}}).body)
    assert said == {"predictions": [{"score": 0.5, "word": "a"}, {"score": 1.5, "word": None}]}
    tensor = {"name": "age", "datatype": "FP64", "shape": [2], "data": [1, 3]}
    said = json.loads(bench.ask("/v2/models/m/infer", {"inputs": [tensor]}).body)
    assert [one["data"] for one in said["outputs"]] == [[0.5, 1.5], ["a", None]]


@pytest.mark.parametrize(
    ("when", "status"),
    [("2026-11-26T10:00:00.5", 200), ("2026-11-26", 200), (None, 200), ("foo", 400), ("2026-11-26T10:00:00Z", 400)],
)
def test_what_is_no_date_is_the_clients_mistake(bench: Any, when: str | None, status: int) -> None:
    dated = [*ABOUT["inputs"], {"name": "at", "datatype": "BYTES", "shape": [-1], "optional": True}]  # type: ignore[misc]
    model = RemoteModel("pyfunc", {**ABOUT, "inputs": dated, "dates": ["at"]}, Engine())  # type: ignore[arg-type]
    bench.route(bench.arm(1, model))
    assert bench.ask("/invocations", {"dataframe_records": [{"age": 1, "at": when}]}).status == status
    assert bench.ask("/invocations", {"dataframe_records": [{"age": 1}]}).status == 200

"""The application without a network: protocol, tables, fallback, shadows, what is logged and counted."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from mlops_tui.core.errors import BadInput
from mlops_tui.serving.models.model import Model
from mlops_tui.serving.record.counters import Count
from mlops_tui.serving.record.segments import Batch, read_segment

NAMES = ["age", "hours", "years"]


def served(bench: Any, data: bytes, **more: Any) -> Any:
    bench.route(bench.arm(1, data), **more)
    return bench


def logged(bench: Any) -> Batch:
    bench.app.predictor.flush()
    (path,) = bench.spool.glob("*.seg")
    return read_segment(path)


def error(answer: Any) -> str:
    said = json.loads(answer.body)
    assert set(said) == {"error"} and isinstance(said["error"], str)
    return str(said["error"])


def test_an_inference_answers_with_revision_id_and_every_output(bench: Any, onnx_models: Any) -> None:
    answer = served(bench, onnx_models.summing(1.0)).infer([[1, 2, 3], [4, 5, 6]], id="r-1")
    assert answer.status == 200 and dict(answer.headers)[b"x-mlops-revision"] == b"v1"
    assert json.loads(answer.body) == {
        "model_name": "m",
        "model_version": "v1",
        "parameters": {"revision": "v1", "revision_id": "rev-1"},
        "id": "r-1",
        "outputs": [
            {"name": "count", "datatype": "INT64", "shape": [2], "data": [3, 3]},
            {"name": "score", "datatype": "FP32", "shape": [2, 1], "data": [7.0, 16.0]},
        ],
    }
    batch = logged(bench)
    assert batch.request_id == ["r-1"] and batch.n_rows.tolist() == [2] and batch.revision_no.tolist() == [1]
    assert batch.features.tolist() == [[1, 2, 3], [4, 5, 6]] and batch.outputs.tolist() == [[3, 7], [3, 16]]
    assert batch.header.features == ("X_0", "X_1", "X_2") and batch.header.outputs == ("count", "score")


def test_outputs_that_are_asked_for_alone_are_answered_but_all_are_logged(bench: Any, onnx_models: Any) -> None:
    answer = served(bench, onnx_models.summing()).infer([[1, 2, 3]], outputs=[{"name": "score"}])
    assert [o["name"] for o in json.loads(answer.body)["outputs"]] == ["score"]
    assert logged(bench).outputs.tolist() == [[3, 6]]


def test_the_id_comes_from_the_body_the_header_or_is_made(bench: Any, onnx_models: Any) -> None:
    served(bench, onnx_models.summing())
    body = {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    path = "/v2/models/m/infer"
    ids = [json.loads(bench.ask(path, {**body, "id": "b"}, x_request_id="h").body)["id"]]
    ids += [json.loads(bench.ask(path, body, x_request_id="h").body)["id"]]
    ids += [json.loads(bench.ask(path, body).body)["id"] for _ in range(2)]
    assert ids[:2] == ["b", "h"] and ids[2] != ids[3] and all(ids)
    assert logged(bench).request_id == ids
    assert bench.ask(path, {**body, "id": "x" * 300}).status == 400
    answer = bench.ask("/invocations", {"inputs": [[1, 2, 3]]}, x_request_id="t-1")
    assert dict(answer.marks)[b"x-request-id"] == b"t-1"


def test_binary_tensors_both_ways_and_compressed(bench: Any, onnx_models: Any) -> None:
    served(bench, onnx_models.summing())
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = {"name": "X", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}}
    outputs = [{"name": "score", "parameters": {"binary_data": True}}, {"name": "count"}]
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    body = head + data.tobytes()
    length = {"inference_header_content_length": str(len(head))}
    for packed, encoding in ((body, "identity"), (gzip.compress(body), "gzip"), (zlib.compress(body), "deflate")):
        answer = bench.ask("/v2/models/m/infer", packed, content_encoding=encoding, **length)
        assert answer.status == 200, answer.body
        headers = dict(answer.headers)
        end = int(headers[b"inference-header-content-length"])
        said = json.loads(answer.body[:end])
        assert headers[b"content-type"] == b"application/octet-stream"
        assert said["outputs"][0]["parameters"] == {"binary_data_size": 8} and "data" not in said["outputs"][0]
        assert np.frombuffer(answer.body[end:], np.float32).tolist() == [3, 12]
        assert said["outputs"][1]["data"] == [2, 3]


def test_large_answers_are_compressed_for_who_accepts_it(bench: Any, onnx_models: Any) -> None:
    served(bench, onnx_models.summing())
    rows = np.ones((2000, 3)).tolist()
    plain = bench.ask("/invocations", {"inputs": rows})
    small = bench.ask("/invocations", {"inputs": rows}, accept_encoding="gzip, deflate")
    assert dict(small.headers)[b"content-encoding"] == b"gzip" and len(small.body) * 5 < len(plain.body)
    assert gzip.decompress(small.body) == plain.body
    assert b"content-encoding" not in dict(
        bench.ask("/invocations", {"inputs": [[1, 2, 3]]}, accept_encoding="gzip, br").headers
    )


def X(**change: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3], **change}]}


GOOD = X()["inputs"][0]
MALFORMED: list[tuple[str, Any, dict[str, str]]] = [
    ("empty", b"", {}),
    ("not JSON", b"{", {}),
    ("not UTF-8", b'{"inputs":[{"name":"\xff"}]}', {}),
    ("nested too deep", b"[" * 200_000, {}),
    ("deep where anything goes", b'{"x":' + b"[" * 200_000, {}),
    ("a list", [], {}),
    ("no inputs", {}, {}),
    ("inputs empty", {"inputs": []}, {}),
    ("inputs no list", {"inputs": 3}, {}),
    ("input no object", {"inputs": [3]}, {}),
    ("no name", {"inputs": [{"shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}, {}),
    ("wrong name", X(name="Y"), {}),
    ("one too many", {"inputs": [GOOD, {**GOOD, "name": "Z"}]}, {}),
    ("twice", {"inputs": [GOOD, GOOD]}, {}),
    ("no data", {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32"}]}, {}),
    ("data null", X(data=None), {}),
    ("data a string", X(data="abc"), {}),
    ("data too short", X(data=[1, 2]), {}),
    ("data words", X(data=["a", "b", "c"]), {}),
    ("shape negative", X(shape=[-1, 3]), {}),
    ("shape of floats", X(shape=[1.5, 2]), {}),
    ("shape huge", X(shape=[10**18, 10**18]), {}),
    ("shape another", X(shape=[3, 1]), {}),
    ("shape flat", X(shape=[3]), {}),
    ("no rows", X(shape=[0, 3], data=[]), {}),
    ("datatype unknown", X(datatype="FP33"), {}),
    ("datatype another", X(datatype="FP64"), {}),
    ("id a number", {**X(), "id": 3}, {}),
    ("output unknown", {**X(), "outputs": [{"name": "nope"}]}, {}),
    ("output twice", {**X(), "outputs": [{"name": "score"}, {"name": "score"}]}, {}),
    ("output no object", {**X(), "outputs": ["score"]}, {}),
    ("classification", {**X(), "outputs": [{"name": "score", "parameters": {"classification": 2}}]}, {}),
    ("binary size of nothing", X(data=None, parameters={"binary_data_size": 12}), {}),
    ("binary size and data", X(parameters={"binary_data_size": 12}), {}),
    ("binary size a word", X(parameters={"binary_data_size": "12"}), {}),
    ("header length beyond", X(), {"inference_header_content_length": "9999"}),
    ("header length a word", X(), {"inference_header_content_length": "abc"}),
    (
        "bytes left over",
        json.dumps(X()).encode() + b"zzz",
        {"inference_header_content_length": str(len(json.dumps(X())))},
    ),
    ("bad gzip", b"no gzip", {"content_encoding": "gzip"}),
    ("cut gzip", gzip.compress(b"x" * 1000)[:-9], {"content_encoding": "gzip"}),
    ("unknown encoding", X(), {"content_encoding": "br"}),
    ("shape of many dimensions", X(shape=[1] * 100, data=[1]), {}),
    ("shape of nothing but huge", X(shape=[0, 10**30], data=[]), {}),
    (
        "gzip of very many parts",
        gzip.compress(b"") * 1000 + gzip.compress(json.dumps(X()).encode()),
        {"content_encoding": "gzip"},
    ),
    ("bomb", gzip.compress(bytes(30_000_000)), {"content_encoding": "gzip"}),
]


@pytest.mark.parametrize(("name", "body", "headers"), MALFORMED, ids=[m[0] for m in MALFORMED])
def test_every_mistake_of_a_client_is_a_4xx_with_a_sentence(
    bench: Any, onnx_models: Any, name: str, body: Any, headers: dict[str, str]
) -> None:
    served(bench, onnx_models.summing())
    answer = bench.ask("/v2/models/m/infer", body, **headers)
    assert 400 <= answer.status < 500 and error(answer)
    batch = logged(bench)
    assert batch.status.tolist() == [1] and batch.n_rows.tolist() == [0]
    assert bench.infer([[1, 2, 3]]).status == 200


TABLES: list[tuple[str, Any]] = [
    ("split in order", {"dataframe_split": {"columns": NAMES, "data": [[1, 2, 3], [4, 5, 6]]}}),
    ("split by name", {"dataframe_split": {"columns": ["x", *NAMES[::-1]], "data": [[9, 3, 2, 1], [9, 6, 5, 4]]}}),
    ("split without names", {"dataframe_split": {"data": [[1, 2, 3], [4, 5, 6]]}}),
    ("split with index", {"dataframe_split": {"columns": NAMES, "index": [7, 8], "data": [[1, 2, 3], [4, 5, 6]]}}),
    ("records", {"dataframe_records": [dict(zip(NAMES, r, strict=True)) for r in ([1, 2, 3], [4, 5, 6])]}),
    ("records turned", {"dataframe_records": [{"years": 3, "hours": 2, "age": 1}, {"age": 4, "hours": 5, "years": 6}]}),
    ("inputs", {"inputs": [[1, 2, 3], [4, 5, 6]]}),
    ("inputs by name", {"inputs": {"X": [[1, 2, 3], [4, 5, 6]]}}),
    ("instances", {"instances": [[1, 2, 3], [4, 5, 6]]}),
    ("instances by name", {"instances": [{"X": [1, 2, 3]}, {"X": [4, 5, 6]}]}),
]


@pytest.mark.parametrize(("name", "body"), TABLES, ids=[t[0] for t in TABLES])
def test_every_shape_of_a_table_means_the_same(bench: Any, onnx_models: Any, name: str, body: Any) -> None:
    answer = served(bench, onnx_models.summing(names=NAMES)).ask("/invocations", body)
    assert answer.status == 200, answer.body
    assert json.loads(answer.body) == {"predictions": {"count": [3, 3], "score": [[6.0], [15.0]]}}
    batch = logged(bench)
    assert batch.features.tolist() == [[1, 2, 3], [4, 5, 6]] and batch.header.features == tuple(NAMES)


BAD_TABLES: list[tuple[str, Any]] = [
    ("empty", b""),
    ("not JSON", b"{"),
    ("none of the four", {"rows": []}),
    ("two of the four", {"inputs": [[1, 2, 3]], "instances": [[1, 2, 3]]}),
    ("split no object", {"dataframe_split": [[1]]}),
    ("split without data", {"dataframe_split": {"columns": NAMES}}),
    ("missing column", {"dataframe_split": {"columns": ["age", "hours", "x"], "data": [[1, 2, 3]]}}),
    ("column twice", {"dataframe_split": {"columns": ["age", "age", "hours"], "data": [[1, 2, 3]]}}),
    ("params no object", {"inputs": [[1, 2, 3]], "params": 5}),
    ("ragged", {"dataframe_split": {"columns": NAMES, "data": [[1, 2, 3], [1, 2]]}}),
    ("ragged by name", {"dataframe_split": {"columns": NAMES[::-1], "data": [[1, 2, 3], [1, 2]]}}),
    ("words", {"dataframe_split": {"columns": NAMES, "data": [["1", 2, 3]]}}),
    ("words by name", {"dataframe_split": {"columns": NAMES[::-1], "data": [["1", 2, 3]]}}),
    ("no rows", {"dataframe_split": {"columns": NAMES, "data": []}}),
    ("no rows by name", {"dataframe_split": {"columns": NAMES[::-1], "data": []}}),
    ("rows no lists", {"dataframe_split": {"columns": NAMES, "data": [1, 2, 3]}}),
    ("data a word", {"dataframe_split": {"columns": NAMES, "data": "x"}}),
    ("records of different columns", {"dataframe_records": [{"age": 1, "hours": 2, "years": 3}, {"age": 1}]}),
    ("records no objects", {"dataframe_records": [1]}),
    ("records empty", {"dataframe_records": []}),
    ("inputs a number", {"inputs": 3}),
    ("inputs null", {"inputs": None}),
    ("inputs too narrow", {"inputs": [[1, 2]]}),
    ("inputs flat", {"inputs": [1, 2, 3]}),
    ("inputs ragged", {"inputs": [[1, 2, 3], [1]]}),
    ("inputs of unknown name", {"inputs": {"Y": [[1, 2, 3]]}}),
    ("inputs empty", {"inputs": []}),
    ("inputs deep", b'{"inputs":' + b"[" * 200_000),
    ("instances mixed", {"instances": [{"X": [1, 2, 3]}, [1, 2, 3]]}),
    ("instances of different names", {"instances": [{"X": [1, 2, 3]}, {"Y": [1, 2, 3]}]}),
    ("instances of objects", {"instances": [[{"a": 1}]]}),
]


@pytest.mark.parametrize(("name", "body"), BAD_TABLES, ids=[t[0] for t in BAD_TABLES])
def test_every_mistake_in_a_table_is_a_4xx(bench: Any, onnx_models: Any, name: str, body: Any) -> None:
    answer = served(bench, onnx_models.summing(names=NAMES)).ask("/invocations", body)
    assert 400 <= answer.status < 500 and error(answer), answer


CSV: list[tuple[str, bytes, int]] = [
    ("in order", b"age,hours,years\n1,2,3\n4,5,6\n", 200),
    ("another order, an index, CRLF", b",years,hours,age\r\n0,3,2,1\r\n1,6,5,4\r\n", 200),
    ("quoted", b'"age","hours","years"\n"1","2","3"\n4,5,6', 200),
    ("no names", b"1,2,3\n", 400),
    ("empty", b"", 400),
    ("names only", b"age,hours,years\n", 400),
    ("ragged", b"age,hours,years\n1,2\n", 400),
    ("words", b"age,hours,years\n1,2,x\n", 400),
    ("infinity", b"age,hours,years\n1,2,inf\n", 400),
    ("no UTF-8", b"age,hours,years\n\xff,2,3\n", 400),
    ("open quote", b'age,hours,years\n"1,2,3\n', 400),
]


@pytest.mark.parametrize(("name", "body", "status"), CSV, ids=[c[0] for c in CSV])
def test_csv_is_a_table_too(bench: Any, onnx_models: Any, name: str, body: bytes, status: int) -> None:
    served(bench, onnx_models.summing(names=NAMES))
    answer = bench.ask("/invocations", body, content_type="text/csv; charset=utf-8")
    assert answer.status == status, answer.body
    if status == 200:
        assert json.loads(answer.body)["predictions"]["score"] == [[6.0], [15.0]]
    else:
        assert error(answer)


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/invocations"])
@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=UTF-8", 200),
        ("application/problem+json", 200),
        ("application/x-www-form-urlencoded", 200),
        ("", 200),
        ("text/plain", 415),
        ("application/xml", 415),
        ("application/octet-stream", 415),
        ("application/json; charset=latin-1", 415),
    ],
)
def test_what_a_body_says_it_is(bench: Any, onnx_models: Any, path: str, kind: str, status: int) -> None:
    served(bench, onnx_models.summing())
    body = X() if "infer" in path else {"inputs": [[1, 2, 3]]}
    assert bench.ask(path, body, content_type=kind).status == status


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", b"gzip"),
        ("deflate", b"deflate"),
        ("gzip, deflate", None),
        ("br", None),
        ("gzip;q=0", None),
        ("identity", None),
        ("", None),
    ],
)
def test_a_small_answer_is_compressed_only_for_who_takes_one_encoding(
    bench: Any, onnx_models: Any, accepted: str, encoding: bytes | None
) -> None:
    answer = served(bench, onnx_models.summing()).ask("/v2/models/m/infer", X(), accept_encoding=accepted)
    assert dict(answer.headers).get(b"content-encoding") == encoding
    unpack = {b"gzip": gzip.decompress, b"deflate": zlib.decompress, None: bytes}[encoding]
    assert json.loads(unpack(answer.body))["outputs"][1]["data"] == [6.0]


def test_the_request_id_comes_back_with_mistakes_too(bench: Any, onnx_models: Any) -> None:
    served(bench, onnx_models.summing())
    for body, status in ((X(), 200), (b"{", 400), (X(shape=[1, 2], data=[1, 2]), 400)):
        answer = bench.ask("/v2/models/m/infer", body, x_request_id="a-1\u00e9")
        assert answer.status == status and dict(answer.marks)[b"x-request-id"]


def test_a_value_that_the_type_cannot_hold_is_a_mistake(bench: Any, onnx_models: Any) -> None:
    served(bench, onnx_models.summing(names=NAMES))
    for data in ([1e300, 1, 1], [[1e39, 1, 1]], [10**400, 1, 1]):
        assert bench.ask("/v2/models/m/infer", X(data=data)).status == 400, data
    assert bench.ask("/v2/models/m/infer", X(data=[3.4e38, -3.4e38, 1e-300])).status == 200
    assert bench.ask("/v2/models/m/infer", X(shape=[100, 3], data=[1e300] * 300)).status == 400
    for table in ({"inputs": [[1e300, 1, 1]]}, {"dataframe_records": [dict.fromkeys(NAMES, 1e39)]}):
        assert bench.ask("/invocations", table).status == 400, table


def test_a_missing_value_is_nan(bench: Any, onnx_models: Any) -> None:
    body = {"dataframe_split": {"columns": NAMES, "data": [[1, None, True]]}}
    assert served(bench, onnx_models.summing(names=NAMES)).ask("/invocations", body).status == 200
    features = logged(bench).features[0]
    assert features[0] == 1 and np.isnan(features[1]) and features[2] == 1


def test_a_model_that_takes_no_missing_values_refuses_them(bench: Any, onnx_models: Any) -> None:
    assert Model(onnx_models.brittle()).refuses_nan and not Model(onnx_models.summing()).refuses_nan
    x = [("X", TensorProto.FLOAT, ["n", 3])]
    said = onnx_models.raw(
        [helper.make_node("Identity", ["X"], ["y"])],
        x,
        [("y", TensorProto.FLOAT, ["n", 3])],
        props={"mlops.missing": "refuse"},
    )
    served(bench, said)
    assert bench.ask("/invocations", {"inputs": [[1, 2, 3]]}).status == 200
    answer = bench.ask("/invocations", {"inputs": [[1, 2, 3], [4, None, 6]]})
    assert answer.status == 400 and "at [1, 1]" in error(answer)
    data = np.array([[1, np.nan, 3]], np.float32)
    tensor = {"name": "X", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}
    head = json.dumps({"inputs": [tensor]}).encode()
    body = head + data.tobytes()
    assert bench.ask("/v2/models/m/infer", body, inference_header_content_length=str(len(head))).status == 400


def test_a_model_of_several_inputs_takes_columns_and_tensors_by_name(bench: Any, onnx_models: Any) -> None:
    served(bench, onnx_models.mixed())
    wanted = {"predictions": {"pay": [[20.0], [6.0]], "job_out": [["a"], ["b"]]}}
    for body in (
        {"dataframe_split": {"columns": ["job", "hours", "age"], "data": [["a", 2, 10], ["b", 3.0, 2]]}},
        {"dataframe_records": [{"job": "a", "hours": 2, "age": 10}, {"job": "b", "hours": 3, "age": 2}]},
        {"inputs": {"age": [[10], [2]], "hours": [2, 3], "job": [["a"], ["b"]]}},
        {"instances": [{"age": [10], "hours": 2, "job": ["a"]}, {"age": [2], "hours": 3, "job": ["b"]}]},
    ):
        answer = bench.ask("/invocations", body)
        assert json.loads(answer.body) == wanted, body
    for bad in (
        {"dataframe_split": {"data": [[1, 2, "a"]]}},
        {"inputs": [[1, 2]]},
        {"inputs": {"age": [[10]], "hours": [2]}},
        {"inputs": {"age": [[10]], "hours": [2.5], "job": [["a"]]}},
        {"inputs": {"age": [[10]], "hours": [2], "job": [[1]]}},
        {"inputs": {"age": [[10]], "hours": [2, 3], "job": [["a"]]}},
    ):
        assert 400 <= bench.ask("/invocations", bad).status < 500, bad
    # Strings have no place among float32 columns: this model's features are not logged, its numbers are.
    assert logged(bench).header.features == () and logged(bench).header.outputs == ("pay",)


def test_free_inner_dimensions_are_served_but_not_logged(bench: Any, onnx_models: Any) -> None:
    served(bench, onnx_models.images())
    for width in (2, 5):
        x = {"name": "X", "shape": [1, 2, width], "datatype": "FP32", "data": [3.0] * 2 * width}
        assert json.loads(bench.ask("/v2/models/m/infer", {"inputs": [x]}).body)["outputs"][0]["data"] == [3.0]
    assert logged(bench).header.features == () and logged(bench).outputs.tolist() == [[3], [3]]


def test_when_the_canary_breaks_the_stable_answers_and_the_canary_is_blamed(bench: Any, onnx_models: Any) -> None:
    bench.route(bench.arm(1, onnx_models.summing(1.0), 0), bench.arm(2, onnx_models.brittle(), 100, "canary"))
    said = json.loads(bench.infer([[10, 2, 3]], id="r").body)
    assert said["model_version"] == "v1" and said["parameters"]["fallback"] is True
    assert said["outputs"][1]["data"] == [16.0]
    batch = logged(bench)
    assert list(zip(batch.revision_no.tolist(), batch.status.tolist(), strict=True)) == [(2, 2), (1, 3)]
    assert batch.request_id == ["r", "r"] and batch.features.tolist() == [[10, 2, 3], [10, 2, 3]]
    assert bench.counters.column(2)[Count.MODEL_ERROR] == 1 and bench.counters.column(1)[Count.FALLBACK] == 1
    table = bench.ask("/invocations", {"inputs": [[10, 2, 3]]})
    assert table.status == 200 and dict(table.marks)[b"x-mlops-fallback"] == b"true"


def test_without_anyone_to_fall_back_to_the_client_is_told(bench: Any, onnx_models: Any) -> None:
    bench.route(bench.arm(1, onnx_models.brittle(), 100, "stable"))
    answer = bench.infer([[10, 2, 3]])
    assert answer.status == 500 and "the model failed" in error(answer)
    assert logged(bench).status.tolist() == [2]
    bench.route(bench.arm(1, onnx_models.brittle(), 0, "stable"), bench.arm(2, onnx_models.brittle(), 100, "canary"))
    assert bench.infer([[10, 2, 3]]).status == 500
    assert logged(bench).revision_no.tolist() == [1, 2, 1]


def test_a_canary_that_takes_something_else_is_the_canarys_fault_not_the_clients(bench: Any, onnx_models: Any) -> None:
    bench.route(
        bench.arm(1, onnx_models.summing(width=3), 0), bench.arm(2, onnx_models.summing(width=4), 100, "canary")
    )
    assert json.loads(bench.infer([[1, 2, 3]]).body)["model_version"] == "v1"
    mistake = bench.infer([[1, 2]])
    assert mistake.status == 400 and "the model takes [-1, 3]" in error(mistake)
    assert bench.counters.column(2)[Count.MODEL_ERROR] == 1 and bench.counters.column(2)[Count.CLIENT_ERROR] == 1


def test_a_version_in_the_path_answers_alone(bench: Any, onnx_models: Any) -> None:
    bench.route(bench.arm(1, onnx_models.summing(1.0), 100), bench.arm(2, onnx_models.brittle(), 0, "canary"))
    body = X(data=[10, 2, 3])
    assert json.loads(bench.ask("/v2/models/m/versions/v1/infer", body).body)["model_version"] == "v1"
    assert bench.ask("/v2/models/m/versions/2/infer", body).status == 500
    assert bench.ask("/v2/models/m/versions/9/infer", body).status == 404


def test_a_shadow_runs_after_the_answer_and_only_in_the_log(bench: Any, onnx_models: Any) -> None:
    bench.route(bench.arm(1, onnx_models.summing(1.0)), bench.arm(2, onnx_models.summing(2.0), 50, "shadow"))
    assert json.loads(bench.infer([[1, 2, 3]], id="r").body)["model_version"] == "v1"
    assert logged(bench).flags.tolist() == [0] and bench.app.predictor.owes_shadows
    bench.app.predictor.run_shadow()
    batch = logged(bench)
    assert batch.flags.tolist() == [0, 1] and batch.revision_no.tolist() == [1, 2] and batch.request_id == ["r", "r"]
    assert batch.outputs[:, 1].tolist() == [7, 8] and not bench.app.predictor.owes_shadows
    assert bench.counters.column(2)[Count.SHADOW_OK] == 1 and bench.counters.column(2)[Count.OK] == 0


def test_shadows_are_left_out_rather_than_piled_up(bench: Any, onnx_models: Any) -> None:
    bench.route(bench.arm(1, onnx_models.summing(1.0)), bench.arm(2, onnx_models.brittle(), 0, "shadow"))
    for _ in range(100):
        assert bench.infer([[10, 2, 3]]).status == 200
    ran = 0
    while bench.app.predictor.owes_shadows:
        bench.app.predictor.run_shadow()
        ran += 1
    assert ran == 64 and bench.counters.column(2)[Count.SHADOW_ERROR] == 64
    assert logged(bench).status.tolist() == [0] * 100 + [2] * 64


def test_before_routes_it_is_alive_but_not_ready(bench: Any) -> None:
    assert bench.ask("/v2/health/live", method="GET").status == 200
    for path in ("/v2/health/ready", "/ping", "/v2/models/m/ready", "/v2/models/m"):
        assert bench.ask(path, method="GET").status == 503
    assert bench.infer([[1, 2, 3]]).status == 503


def test_paths_and_methods(bench: Any, onnx_models: Any) -> None:
    served(bench, onnx_models.summing(names=NAMES))
    bench.slot.words[1] = 1
    for path in ("/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/ping", "/health", "/version", "/metrics"):
        assert bench.ask(path, method="GET").status == 200, path
        wrong = bench.ask(path, method="POST")
        assert wrong.status == 405 and dict(wrong.headers)[b"allow"] == b"GET, HEAD"
    assert bench.ask("/v2/models/m/infer", method="GET").status == 405
    assert bench.ask("/v2/health/live?probe=1", method="HEAD").status == 200
    for path in (
        "/",
        "/v2/models",
        "/v2/models/other",
        "/v2/models/m/nope",
        "/v2/models/m/versions",
        "/v3",
        "/v2/models/m/versions/9",
    ):
        assert bench.ask(path, method="GET").status == 404, path
    about = json.loads(bench.ask("/v2/models/m/versions/v1", method="GET").body)
    assert about["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 3]}]
    assert about["versions"] == ["v1"] and about["parameters"]["features"] == NAMES


def test_foreign_hosts_and_tokens_come_before_everything(make_bench: Callable[..., Any], onnx_models: Any) -> None:
    bench = served(make_bench(token="t"), onnx_models.summing())
    assert bench.ask("/v2", method="GET").status == 401
    assert bench.ask("/v2", method="GET", authorization="Bearer t").status == 200
    assert bench.ask("/v2", method="GET", authorization="Bearer t", host="evil.example").status == 403


def test_whether_anybody_speaks_http_here_needs_no_token(make_bench: Callable[..., Any], onnx_models: Any) -> None:
    bench = served(make_bench(token="t"), onnx_models.summing())
    answer = bench.ask("*", method="OPTIONS")
    assert (answer.status, answer.body) == (200, b"") and b"POST" in dict(answer.headers)[b"allow"]
    assert bench.ask("*", method="GET").status == 405
    assert bench.ask("*", method="OPTIONS", host="evil.example").status == 403
    assert bench.ask("/v2", method="OPTIONS").status == 401


def test_what_is_no_model_is_refused_with_the_reason(onnx_models: Any) -> None:
    with pytest.raises(BadInput, match="cannot be loaded"):
        Model(b"not a model")
    with pytest.raises(BadInput, match="cannot be loaded"):
        Model(onnx_models.summing()[:-40])


def test_what_the_protocol_has_and_we_have_not_is_named(bench, onnx_models):
    bench.route(bench.arm(1, onnx_models.summing()))
    answer = bench.infer([[1, 2, 3]], outputs=[{"name": "score", "parameters": {"classification": 2}}])
    assert answer.status == 400 and b"classification extension is not supported" in answer.body

"""Features by key: what a client may leave out, what it may say instead, and what is refused."""

import json
import time

import numpy as np
import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.data.online import table
from mlops_tui.data.online.table import OnlineTable
from mlops_tui.serving.models.lookup import Lookup
from mlops_tui.serving.record.counters import Gauge

FEATURES = ["age", "hours", "pay"]


def record(**digests):
    return {"key": "person", "features": [{"name": name, "digest": digest} for name, digest in digests.items()]}


@pytest.fixture
def served(bench, onnx_models, tmp_path):
    """A model of three features with a look-up; persons 1 and 2 are known."""

    def make(missing="refuse", online=None, trained=None, age_s=100):
        online = online or record(age="a", hours="h", pay="p")
        columns = len(online["features"])
        matrix = np.array([[10, 1, 0.5], [20, 2, 0.25]], np.float32)[:, :columns]
        ts = np.full(2, time.time_ns() // 1000 - age_s * 10**6)
        with (tmp_path / "online").open("wb") as file:
            table.write(file, np.array([1, 2]), ts, matrix, online, view="people")
        arm = bench.arm(1, onnx_models.summing(names=FEATURES))
        bench.route(arm)
        said = json.dumps(trained or record(age="a", hours="h", pay="p"))
        found = OnlineTable(tmp_path / "online")
        arm.model.lookup = Lookup(found, missing, arm.model.inputs, arm.model.features, said, bench.slot)
        return bench

    return make


def score(bench, persons, datatype="INT64", **more):
    tensors = [{"name": "person", "shape": [len(persons)], "datatype": datatype, "data": persons}]
    tensors += [{"name": n, "shape": [len(v)], "datatype": "FP32", "data": v} for n, v in more.items()]
    answer = bench.ask("/v2/models/m/infer", {"inputs": tensors})
    said = json.loads(answer.body)
    return answer.status, said["outputs"][1]["data"] if answer.status == 200 else said["error"]


def test_an_id_is_enough_and_what_is_said_beside_it_goes_before_what_is_known(served):
    bench = served()
    assert score(bench, [2, 1, 2]) == (200, [22.25, 11.5, 22.25])
    assert score(bench, ["1"], "BYTES") == (200, [11.5])
    assert score(bench, [1, 2], age=[0, 1]) == (200, [1.5, 3.25])
    assert bench.slot[Gauge.LOOKUPS] == 6 and 99 <= bench.slot[Gauge.FEATURE_AGE_S] <= 200
    assert json.loads(bench.infer([[1, 1, 1]]).body)["outputs"][1]["data"] == [3.0]


def test_who_asks_is_told_how_old_the_features_are(served):
    bench = served(age_s=3600)
    person = {"inputs": [{"name": "person", "shape": [1], "datatype": "INT64", "data": [1]}]}

    def age(path, body, **asked):
        answer = bench.ask(path, body, x_request_id="r", **asked)
        assert answer.status == 200 and dict(answer.marks)[b"x-request-id"] == b"r"
        return dict(answer.marks).get(b"x-mlops-feature-age")

    records = {"dataframe_records": [{"person": 1}, {"person": 2}]}
    for path, body in (("/v2/models/m/infer", person), ("/invocations", records)):
        assert 3600 <= int(age(path, body, x_mlops_feature_age="true")) < 3700
        assert age(path, body) is age(path, body, x_mlops_feature_age="false") is None
    assert age("/invocations", {"inputs": [[1, 2, 3]]}, x_mlops_feature_age="true") is None
    blank = served("blank")
    nobody = {"dataframe_records": [{"person": 77}]}
    assert blank.ask("/invocations", nobody, x_mlops_feature_age="true").marks[1:] == ()
    document = json.loads(bench.ask("/openapi.json", method="GET").body)
    assert document["paths"]["/invocations"]["post"]["parameters"][0]["name"] == "X-Mlops-Feature-Age"


def test_rows_of_a_table_are_completed_too(served):
    bench = served()
    answer = bench.ask("/invocations", {"dataframe_records": [{"person": 1}, {"person": 2}]})
    assert json.loads(answer.body)["predictions"]["score"] == [[11.5], [22.25]]
    answer = bench.ask(
        "/invocations", {"dataframe_split": {"columns": ["person", "pay"], "data": [["1", 0], ["2", 0]]}}
    )
    assert json.loads(answer.body)["predictions"]["score"] == [[11.0], [22.0]]


def test_an_unknown_id_is_refused_or_has_no_features(served):
    status, told = score(served(), [1, 77, "x"][:2])
    assert (status, told) == (404, "there are no features of person 77")
    status, found = score(served("blank"), [1, 77])
    assert status == 200 and found == [11.5, None]
    bench = served()
    assert score(bench, [77], age=[1], hours=[1], pay=[1]) == (200, [3.0])
    assert bench.slot[Gauge.LOOKUP_MISSES] == 3


def test_columns_that_do_not_fit_are_the_client_s_mistake(served):
    bench = served()
    assert score(bench, [1], wage=[1])[1].startswith("unknown column 'wage'")
    assert score(bench, [1], age=[1, 2]) == (400, "column 'age' does not have one number a row")
    assert score(bench, []) == (400, "the request has no rows")


def test_a_feature_that_is_not_online_must_come_with_the_request(served):
    bench = served(online=record(age="a", hours="h"))
    assert score(bench, [1]) == (400, "columns are missing, and not among the online features: pay")
    assert score(bench, [1], pay=[5]) == (200, [16.0])


def test_other_definitions_than_those_of_the_training_are_refused(served):
    with pytest.raises(BadInput, match="not those of this model · other definitions: hours"):
        served(trained=record(age="a", hours="OTHER", pay="p"))
    with pytest.raises(BadInput, match="does not say by which definitions"):
        served(trained={"features": 1})
    with pytest.raises(BadInput, match="none of this model's features"):
        served(online=record(x="1"), trained=record(age="a"))

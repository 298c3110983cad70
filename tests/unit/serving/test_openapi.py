"""The OpenAPI document says everything that the server answers, for every model and revision that it serves."""

import json

import pytest

from mlops_tui.serving.traffic.routing import Router


@pytest.fixture
def told(bench, onnx_models):
    """The document of a server with two revisions of other tensors, a further model, and one that could be loaded."""
    bench.route(bench.arm(1, onnx_models.summing()), bench.arm(2, onnx_models.images(), 0.0))
    other = bench.arm(3, onnx_models.mixed())
    bench.app.predictor.others = {"pay": Router((1, 1), [other], None, None)}
    bench.app.repository.shelf = ("m", "pay", "gone")

    def ask():
        return json.loads(bench.ask("/openapi.json", method="GET").body)

    return ask


def follow(found, schema):
    return found["components"]["schemas"][schema["$ref"].rpartition("/")[2]]


def test_what_is_documented_is_answered_and_the_other_way_round(told, bench):
    paths = told()["paths"]
    given = {"{version}": "v1", "{model}": "pay"}
    for path, item in paths.items():
        for name, value in given.items():
            path = path.replace(name, value)
        for method in item.keys() - {"parameters"}:
            wrong = "PUT" if method == "get" else "GET"
            assert bench.ask(path, method=wrong).status == 405, path
    undocumented = set(bench.app._fixed) - paths.keys() - {"*"}  # which is no path
    assert not undocumented


def test_revisions_of_other_tensors_and_further_models_have_their_own_schemas(told):
    found = told()
    by_version = found["paths"]["/v2/models/m/versions/{version}/infer"]
    assert by_version["parameters"][0]["schema"]["enum"] == ["v1", "1", "rev-1"]

    def outputs(path):
        answer = found["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        return follow(found, answer)["properties"]["outputs"]["items"]["properties"]["name"]["enum"]

    assert outputs("/v2/models/m/infer") == outputs("/v2/models/m/versions/{version}/infer")
    assert outputs("/v2/models/m/versions/v2/infer") == ["mean"]
    assert outputs("/v2/models/pay/infer") == ["pay", "job_out"]


def test_the_repository_is_told_of_where_models_can_be_loaded(told, bench):
    load = told()["paths"]["/v2/repository/models/{model}/load"]
    assert load["parameters"][0]["schema"]["enum"] == ["m", "pay", "gone"]
    bench.app.repository.shelf = ()
    paths = told()["paths"]
    assert [path for path in paths if "repository" in path] == ["/v2/repository/index"]

"""What the folder of an MLflow model says: what it takes, what it needs, and what runs it."""

import json

import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.serving.models.engine.mlflow_folder import check_requirements, params_of, signature_of
from mlops_tui.serving.models.engine.shapes import Spec, param_of, spec_of
from mlops_tui.serving.models.sources import find_source


@pytest.fixture
def folder(tmp_path):
    def make(inputs=None, outputs=None, requirements="", flavors="{python_function: {}}"):
        sides = {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs)}
        card = {"signature": sides if inputs else None}
        (tmp_path / "MLmodel").write_text(f"flavors: {flavors}\n{json.dumps(card)[1:-1]}\n")
        (tmp_path / "requirements.txt").write_text(requirements)
        return tmp_path

    return make


def test_columns_and_tensors_become_inputs(folder):
    columns = [{"type": "double", "name": "age"}, {"type": "string", "name": "job", "required": False}]
    found = signature_of(folder(columns, [{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]))
    assert [spec_of(one) for one in found["inputs"]] == [
        Spec("age", "FP64", (-1,)), Spec("job", "BYTES", (-1,), True)
    ]  # fmt: skip
    assert spec_of(found["outputs"][0]) == Spec("input", "INT64", (-1,))
    tensors = [{"type": "tensor", "name": "x", "tensor-spec": {"dtype": "float32", "shape": [-1, 28, 28]}}]
    assert spec_of(signature_of(folder(tensors))["inputs"][0]) == Spec("x", "FP32", (-1, 28, 28))
    assert signature_of(folder()) is None


def test_params_are_one_value_or_a_list_and_what_no_tensor_holds_is_left_out(folder):
    said = [
        {"name": "k", "type": "double", "shape": None}, {"name": "stop", "type": "string", "shape": [-1]},
        {"name": "deep", "type": {"a": "b"}, "shape": None},
    ]  # fmt: skip
    place = folder([{"type": "double", "name": "age"}])
    assert params_of(place) == []
    (place / "MLmodel").write_text(f"signature:\n  params: {json.dumps(json.dumps(said))}\n")
    assert [param_of(one) for one in params_of(place)] == [
        Spec("params.k", "FP64", (1,), True), Spec("params.stop", "BYTES", (-1,), True), None
    ]  # fmt: skip


def test_a_column_that_no_tensor_holds_is_refused(folder):
    with pytest.raises(ValueError, match="'words' is of type array"):
        signature_of(folder([{"type": "array", "name": "words", "items": {"type": "string"}}]))


def test_every_missing_requirement_is_named_with_the_python_that_lacks_it(folder):
    wanted = "numpy==1.0\nnot-there-a>=1  # why\n--hash=x\n\nnot_there_b[extra]; python_version > '3'\ngit+https://x/y"
    with pytest.raises(ValueError, match=r"needs not-there-a>=1  # why, not_there_b\[extra\].*which /.*python") as told:
        check_requirements(folder(requirements=wanted))
    assert "numpy" not in str(told.value) and "--python" in str(told.value)


@pytest.mark.parametrize(
    ("flavors", "engine"),
    [("{python_function: {}, sklearn: {}}", "pyfunc"), ("{python_function: {}, pytorch: {}}", "torch")],
)
def test_the_flavour_chooses_the_engine(folder, tmp_path, flavors, engine):
    (revision,) = find_source(folder(flavors=flavors), tmp_path / "s").revisions
    assert revision.model.engine == engine
    assert [part.path for part in revision.model.parts] == ["MLmodel", "requirements.txt"]


def test_an_onnx_flavour_runs_in_the_worker(folder, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"x")
    (revision,) = find_source(folder(flavors="{python_function: {}, onnx: {}}"), tmp_path / "s").revisions
    assert (revision.model.engine, revision.model.file) == ("onnx", str(tmp_path / "model.onnx"))


def test_a_card_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "MLmodel").write_text("flavors: [")
    with pytest.raises(BadInput, match=r"cannot read .*MLmodel"):
        find_source(tmp_path, tmp_path / "s")

"""Export: what torch computes is what ONNX Runtime computes, or the file is refused."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from mlops_tui.core.errors import MlopsError, Refused
from mlops_tui.training.onnx_export import export, read_metadata, verify

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")  # here, as whoever only collects tests needs none of it


@pytest.fixture(scope="module")
def scaled(torch):
    class Scaled(torch.nn.Module):
        """A small network that scales its input and takes NaN for the mean."""

        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.register_buffer("mean", torch.tensor([1.0, 20.0, 300.0]))
            self.layers = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))

        def forward(self, x):
            return torch.sigmoid(self.layers((torch.where(torch.isnan(x), self.mean, x) - self.mean) / self.mean))

    return Scaled


@pytest.fixture
def rows():
    found = (np.random.default_rng(0).normal(1, 1, (257, 3)) * [1, 20, 300]).astype(np.float32)
    found[5, 1] = np.nan
    return found


def test_a_model_goes_out_with_names_any_batch_and_metadata(tmp_path, rows, scaled):
    path = tmp_path / "model.onnx"
    names = ["a", "größe", "c"]
    done = export(scaled(), 3, path, features=names, metadata={"n": 1})
    assert (done.route, done.path, done.size) == ("torchscript", path, path.stat().st_size)
    assert list(tmp_path.iterdir()) == [path]
    session = onnxruntime.InferenceSession(str(path))
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == ("features", ["batch", 3], "tensor(float)")
    assert (result.name, result.shape) == ("probability", ["batch", 1])
    assert read_metadata(path) == {"features": names, "outputs": ["probability"], "n": 1}
    agreement = verify(scaled(), path, rows)
    assert agreement.rows == 257
    assert agreement.max_abs_diff < 1e-6
    assert agreement.provider == "CPUExecutionProvider"


def test_the_same_model_gives_the_same_file(tmp_path, scaled):
    export(scaled(), 3, tmp_path / "a.onnx")
    export(scaled(), 3, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_another_model_does_not_verify(tmp_path, rows, scaled, torch):
    export(scaled(), 3, tmp_path / "a.onnx")
    other = scaled()
    with torch.no_grad():
        other.layers[2].bias += 0.01
    with pytest.raises(Refused, match=r"they differ by 0\.00\d+, more than 1e-05"):
        verify(other, tmp_path / "a.onnx", rows)
    assert verify(other, tmp_path / "a.onnx", rows, atol=0.1).max_abs_diff > 1e-3


def test_control_flow_that_tracing_would_freeze_goes_through_dynamo_or_is_refused(tmp_path, rows, scaled, torch):
    class BySize(scaled):
        def forward(self, x):
            return super().forward(x if torch.as_tensor(x.shape[1]) == 3 else x * 0)

    class ByValue(torch.nn.Module):
        def forward(self, x):
            return x * 2 if bool(x.sum() > 0) else x[:, :1]

    assert export(BySize(), 3, tmp_path / "a.onnx").route == "dynamo"
    assert verify(BySize(), tmp_path / "a.onnx", rows).max_abs_diff < 1e-6
    with pytest.raises(MlopsError, match="cannot be exported to ONNX"):
        export(ByValue(), 3, tmp_path / "b.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_a_shape_or_a_nan_in_another_place_is_refused(tmp_path, rows, scaled, torch):
    class Wide(torch.nn.Module):
        def forward(self, x):
            return torch.where(torch.isnan(x), torch.zeros(3), x)

    export(Wide(), 3, tmp_path / "a.onnx")
    with pytest.raises(Refused, match="the shape is"):
        verify(scaled(), tmp_path / "a.onnx", rows)
    with pytest.raises(Refused, match="where they are NaN"):
        verify(torch.nn.Identity(), tmp_path / "a.onnx", rows)


def test_what_is_no_model_is_refused(tmp_path, rows, scaled):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(Refused, match="not a model that ONNX Runtime can load"):
        verify(scaled(), path, rows)

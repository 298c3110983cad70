"""Where a session really runs: the provider that it got is looked at, never the one that was asked for.

The runtime here has no GPU: a double of its interface stands in for one, around the real runtime on the CPU.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from mlops_tui.core.errors import BadInput, Refused
from mlops_tui.core.runtime import onnxruntime
from mlops_tui.serving.models import gpu, session
from mlops_tui.serving.models.model import Model
from mlops_tui.serving.models.session import Session, Wish

ROWS = {"X": np.arange(6, dtype=np.float32).reshape(2, 3)}


class Runtime:
    """The runtime of a machine with GPUs: it runs on the CPU and says what it was told, or that it fell back."""

    def __init__(self, falls_back=False, breaks=""):
        self.asked, self.bound = [], []
        self._falls_back, self._breaks = falls_back, breaks
        real, double = onnxruntime(), self
        self.SessionOptions, self.__version__ = real.SessionOptions, "9.9"

        class InferenceSession(real.InferenceSession):
            def __init__(self, data, options, providers):
                double.asked.append(providers)
                if double._breaks and providers != ["CPUExecutionProvider"]:
                    raise RuntimeError(double._breaks)
                super().__init__(data, options, providers=["CPUExecutionProvider"])
                self.names = [one if isinstance(one, str) else one[0] for one in providers]

            def get_providers(self):
                return ["CPUExecutionProvider"] if double._falls_back else self.names

            def io_binding(self):
                binding = super().io_binding()
                bind = binding.bind_output

                def bind_output(name, device, number):
                    double.bound.append((name, device, number))
                    bind(name, "cpu", 0)

                binding.bind_output = bind_output
                return binding

        self.InferenceSession = InferenceSession

    def get_available_providers(self):
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs with 4 and 6 GB left."""
    left = {"a": 4 << 30, "b": 6 << 30}
    monkeypatch.setattr(gpu, "_visible", lambda: list(left))
    monkeypatch.setattr(gpu, "_left", left.get)
    monkeypatch.setattr(gpu, "describe", lambda device: f"GPU of kind {device} driver 1.2")
    gpu._promised.clear()
    return left


@pytest.fixture
def runtime(monkeypatch, gpus):
    def make(**how):
        made = Runtime(**how)
        monkeypatch.setattr(session, "onnxruntime", lambda: made)
        return made

    return make


def test_a_run_by_binding_gives_what_a_plain_run_gives(onnx_models):
    one = Session(onnx_models.summing(), Wish())
    names = [node.name for node in one.outputs]
    for plain, bound in zip(one.run(names, ROWS, None), one.run_bound(names, ROWS, None), strict=True):
        assert (plain == bound).all() and plain.dtype == bound.dtype


def test_a_gpu_that_this_runtime_cannot_have_is_told_or_refused(onnx_models):
    model = Model(onnx_models.summing(), Wish(provider="cuda"))
    assert model.condition["provider"] == "cpu" and "this runtime has only" in model.condition["why"]
    with pytest.raises(Refused, match="does not run on tensorrt · this runtime has only"):
        Model(onnx_models.summing(), Wish(provider="tensorrt", policy="require"))
    quiet = Model(onnx_models.summing(), Wish(provider="cuda", policy="cpu"))
    assert quiet.condition == {"engine": "onnx", "provider": "cpu"}


def test_a_model_on_a_gpu_is_bound_to_it_and_gives_its_memory_back(onnx_models, runtime, gpus):
    made = runtime()
    model = Model(onnx_models.summing(), Wish(provider="cuda", memory=1 << 30))
    assert model.condition == {"engine": "onnx", "provider": "cuda"}
    name, options = made.asked[0][0]
    assert (name, options["device_id"], options["gpu_mem_limit"]) == ("CUDAExecutionProvider", 1, 1 << 30)
    made.bound.clear()
    assert model.run(ROWS)[1].ravel().tolist() == [3.0, 12.0]
    assert made.bound == [("count", "cuda", 1), ("score", "cuda", 1)]
    assert gpu._promised[1] == 1 << 30
    model.close()
    assert gpu._promised[1] == 0


def test_a_gpu_that_silently_became_a_cpu_is_seen(onnx_models, runtime, gpus):
    runtime(falls_back=True)
    model = Model(onnx_models.summing(), Wish(provider="cuda"))
    assert model.condition["provider"] == "cpu" and "the session got cpu" in model.condition["why"]
    assert not any(gpu._promised.values())
    with pytest.raises(Refused, match="the session got cpu"):
        Model(onnx_models.summing(), Wish(provider="cuda", policy="require"))


def test_a_provider_that_cannot_start_is_told_and_a_file_that_is_no_model_is_none_anywhere(onnx_models, runtime, gpus):
    runtime(breaks="CUDA failure 35: driver is too old")
    assert "driver is too old" in Model(onnx_models.summing(), Wish(provider="cuda")).condition["why"]
    with pytest.raises(BadInput, match="cannot be loaded"):
        Model(b"nothing", Wish(provider="cuda"))
    assert not any(gpu._promised.values())


def test_engines_are_kept_by_model_gpu_driver_and_runtime(onnx_models, runtime, gpus, tmp_path):
    made = runtime()
    one, two = onnx_models.summing(), onnx_models.summing(1.0)
    for data in (one, two, one):
        Model(data, Wish(provider="tensorrt", memory=1 << 30, cache=tmp_path))
    places = [asked[0][1]["trt_engine_cache_path"] for asked in made.asked]
    assert [asked[0][0] for asked in made.asked] == ["TensorrtExecutionProvider"] * 3
    assert [asked[1][0] for asked in made.asked] == ["CUDAExecutionProvider"] * 3
    assert places[0] != places[1] and places[0].endswith("/GPU-of-kind-1-driver-1.2-ort-9.9")
    # Three models of 1 GB: the larger GPU has 6, 5, 4 GB left, as much as the other in the end.
    assert [asked[0][1]["device_id"] for asked in made.asked] == [1, 1, 0]
    assert places[2] == places[0].replace("kind-1", "kind-0")


def test_models_share_gpus_by_memory_until_none_has_room(gpus):
    assert [gpu.choose(3 << 30) for _ in range(3)] == [1, 0, 1]
    with pytest.raises(gpu.NoRoom, match="needs 3,072 MB of a GPU; 1,024 MB are left on 0"):
        gpu.choose(3 << 30)
    gpu.release(1, 3 << 30)
    assert gpu.choose(3 << 30) == 1


def test_the_driver_tells_which_gpus_there_are(nvml_double):
    code = (
        "from mlops_tui.serving.models import gpu\n"
        "first = gpu.choose(1 << 20)\n"
        "print(len(gpu._visible()), first, gpu.describe(first))"
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(nvml_double)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)

    def ask(**more):
        asked = subprocess.run(
            [sys.executable, "-c", code], env={**environment, **more}, capture_output=True, text=True
        )  # fmt: skip
        return asked.stdout.split() if asked.returncode == 0 else [asked.stderr]

    count, first, *words = ask()
    assert (count, first) == ("3", "0") and "driver" in words, "one of the three does not answer"
    assert ask(CUDA_VISIBLE_DEVICES="0")[:2] == ["1", "0"]
    assert "no GPU is visible" in ask(CUDA_VISIBLE_DEVICES="")[0]


def test_without_a_driver_there_is_no_gpu(monkeypatch):
    import pynvml

    def none():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", none)
    with pytest.raises(gpu.NoRoom, match="there is no GPU"):
        gpu.choose(1)

"""One ONNX Runtime session on the processor or the GPU that was wished for, or with the reason why not.

The runtime leaves a provider out when it cannot load it, and says so to nobody; so what a session really got is looked
at. What runs on a GPU is unit-tested against the runtime's interface and has not been measured on one.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from blake3 import blake3

from mlops_tui.core.errors import BadInput, Refused
from mlops_tui.core.paths import private_dir
from mlops_tui.core.runtime import onnxruntime
from mlops_tui.serving.models import gpu
from mlops_tui.serving.tensors import Array

CPU, CUDA, TENSORRT = "cpu", "cuda", "tensorrt"
PROVIDERS = {CPU: "CPUExecutionProvider", CUDA: "CUDAExecutionProvider", TENSORRT: "TensorrtExecutionProvider"}
REQUIRE, PREFER = "require", "prefer"
POLICIES = (REQUIRE, PREFER, CPU)
_NAMES = {long: short for short, long in PROVIDERS.items()}
_WORKSPACE = 1 << 30
_log = logging.getLogger("mlops.serving")


class Wish(NamedTuple):
    """Where and how a model is to run.

    Attributes:
        threads: how many one request may use.
        provider: ``cpu``, ``cuda`` or ``tensorrt``.
        policy: what happens when the GPU cannot be had: ``require`` refuses the model, ``prefer`` runs it on the CPU
            and says so; ``cpu`` does not even try.
        memory: bytes of a GPU that the model may have; 0: what it seems to need.
        cache: folder of built engines.
    """

    threads: int = 1
    provider: str = CPU
    policy: str = PREFER
    memory: int = 0
    cache: Path | None = None


class Session:
    """A model that the runtime has loaded.

    Args:
        data: the ONNX file: its content, or its path, which spares a copy.
        wish: where and how it is to run.

    Attributes:
        provider: where it really runs.
        why: why it does not run where it was wished; empty when it does.
        device: the GPU's number; None on the CPU.

    Raises:
        BadInput: it is not a model.
        Refused: the GPU is required and cannot be had.
    """

    def __init__(self, data: bytes | str, wish: Wish) -> None:
        self.provider, self.why = CPU, ""
        self.device: int | None = None
        self._reserved = 0
        wanted = CPU if wish.policy == CPU else wish.provider
        if wanted != CPU:
            self._session = self._on_gpu(data, wish)
        if self.provider == CPU:
            if self.why and wish.policy == REQUIRE:
                raise Refused(f"the model does not run on {wanted}", self.why, "policy prefer serves it on the CPU")
            if self.why:
                _log.warning("a model runs on the CPU, not on %s: %s", wanted, self.why)
            self._session = _created(data, wish.threads, [PROVIDERS[CPU]])
        self.inputs: Sequence[Any] = self._session.get_inputs()
        self.outputs: Sequence[Any] = self._session.get_outputs()
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._names = [node.name for node in self.outputs]
        # Past the checks of the Python wrapper, which ours have made already.
        self.run = self._session._sess.run if self.provider == CPU else self.run_bound

    def _on_gpu(self, data: bytes | str, wish: Wish) -> Any:
        ort = onnxruntime()
        if PROVIDERS[wish.provider] not in (have := ort.get_available_providers()):
            self.why = f"this runtime has only {', '.join(_NAMES.get(one, one) for one in have)}"
            return None
        need = wish.memory or gpu.guess(os.path.getsize(data) if isinstance(data, str) else len(data))
        try:
            device = gpu.choose(need)
        except gpu.NoRoom as error:
            self.why = str(error)
            return None
        try:
            session = _created(data, wish.threads, _providers(data, wish, device, need))
            got = session.get_providers()[0]
        except BadInput as error:
            # A file that is no model is none on the CPU either: the next try says so.
            self.why, got = error.why, ""
        if got == PROVIDERS[wish.provider]:
            self.provider, self.device, self._reserved = wish.provider, device, need
            return session
        gpu.release(device, need)
        self.why = self.why or f"the session got {_NAMES.get(got, got)}: are CUDA's libraries there?"
        return None

    def run_bound(self, names: Sequence[str], feed: Mapping[str, Array], options: Any) -> list[Array]:
        """Return outputs with one copy to the device and one back, whatever lies between."""
        binding = self._session.io_binding()
        for name, array in feed.items():
            binding.bind_cpu_input(name, array)
        for name in names:
            binding.bind_output(name, CPU if self.device is None else CUDA, self.device or 0)
        self._session.run_with_iobinding(binding, options)
        results: list[Array] = binding.copy_outputs_to_cpu()
        return results

    def close(self) -> None:
        """Give the memory of the GPU back."""
        if self.device is not None:
            gpu.release(self.device, self._reserved)
            self.device = None


def _providers(data: bytes | str, wish: Wish, device: int, need: int) -> list[Any]:
    """Return the providers to try, with their options, the wished one first."""
    cuda = {
        "device_id": device,
        "gpu_mem_limit": need,
        "arena_extend_strategy": "kSameAsRequested",  # several models share a GPU: none takes twice what it needs
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    listed: list[Any] = [(PROVIDERS[CUDA], cuda), PROVIDERS[CPU]]
    if wish.provider == TENSORRT:
        engine: dict[str, Any] = {"device_id": device, "trt_max_workspace_size": min(need, _WORKSPACE)}
        if wish.cache is not None:
            place = str(private_dir(engine_cache(wish.cache, data, device)))
            engine |= {"trt_engine_cache_enable": True, "trt_engine_cache_path": place}
            engine |= {"trt_timing_cache_enable": True, "trt_timing_cache_path": place}
        listed.insert(0, (PROVIDERS[TENSORRT], engine))
    return listed


def engine_cache(base: Path, data: bytes | str, device: int) -> Path:
    """Return where the engines of a model lie: none that was built for another GPU, driver or runtime is taken."""
    machine = re.sub(r"[^A-Za-z0-9.]+", "-", f"{gpu.describe(device)} ort {onnxruntime().__version__}")
    content = Path(data).read_bytes() if isinstance(data, str) else data
    return base / blake3(content).hexdigest()[:32] / machine


def _created(data: bytes | str, threads: int, providers: list[Any]) -> Any:
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Its errors come as exceptions; on standard error they would come once a request.
    options.log_severity_level = 4
    # A spinning thread halves the throughput of a machine whose cores have other work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(data, options, providers=providers)
    except Exception as error:
        raise BadInput("the model cannot be loaded", str(error)[:500], "is it a whole ONNX file?") from error

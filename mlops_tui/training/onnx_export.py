"""From torch to ONNX: export, describe, and prove that both compute the same."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlops_tui.core.errors import MlopsError, Refused
from mlops_tui.core.runtime import onnxruntime

if TYPE_CHECKING:
    import torch

INPUT = "features"
METADATA_PREFIX = "mlops."


class Exported(msgspec.Struct, frozen=True):
    """What was written: route is ``torchscript`` or ``dynamo``."""

    path: Path
    route: str
    seconds: float
    size: int


class Agreement(msgspec.Struct, frozen=True):
    """How far ONNX Runtime and torch lie apart over a sample; ``provider`` is the one the session really got."""

    rows: int
    max_abs_diff: float
    mean_abs_diff: float
    atol: float
    provider: str


def export(
    model: torch.nn.Module,
    n_features: int,
    path: Path,
    *,
    outputs: Sequence[str] = ("probability",),
    features: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Exported:
    """Write a model that takes ``features`` float32 ``[b, n_features]`` as one ONNX file with any ``b``.

    Tracing through TorchScript comes first because it took 0.18 s where ``dynamo=True`` took 4.2–5.4 s (torch 2.13,
    a three-layer network, the same ten nodes come out); tracing that warns or fails falls back to dynamo, which
    follows control flow. Whatever the route, :func:`verify` decides whether the file may be used.

    Args:
        model: takes one tensor, gives one tensor an output.
        n_features: columns of the input.
        path: the file, replaced as a whole.
        outputs: output names.
        features: names of the input's columns; servers name the columns of their log by them.
        metadata: JSON-able values, stored as ``mlops.<key>`` in the model's ``metadata_props`` beside
            ``mlops.features`` and ``mlops.outputs``.

    Raises:
        MlopsError: neither route can express the model.
    """
    import torch

    started = time.perf_counter()
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    model = model.eval()
    sample = torch.zeros(2, n_features)
    try:
        try:
            route = _traced(model, sample, scratch, outputs)
        except Exception:  # the tracer raises whatever the model's own code raises
            route = _dynamo(model, sample, scratch, outputs)
        names = {"features": list(features)} if features else {}
        _describe(scratch, {**names, "outputs": list(outputs), **(metadata or {})})
        scratch.replace(path)
    except Exception as error:
        raise MlopsError(
            "the model cannot be exported to ONNX",
            str(error).strip().splitlines()[0],
            "keep to operators that ONNX has",
        ) from error
    finally:
        scratch.unlink(missing_ok=True)
    return Exported(path, route, time.perf_counter() - started, path.stat().st_size)


def _traced(model: Any, sample: Any, path: Path, outputs: Sequence[str]) -> str:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("error", torch.jit.TracerWarning)  # it marks control flow frozen as the sample went
        torch.onnx.export(
            model,
            (sample,),
            str(path),
            dynamo=False,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in (INPUT, *outputs)},
        )
    return "torchscript"


def _dynamo(model: Any, sample: Any, path: Path, outputs: Sequence[str]) -> str:
    import torch

    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    noisy.setLevel(logging.ERROR)  # one warning a torchvision operator that is not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model,
                (sample,),
                str(path),
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=[INPUT],
                output_names=list(outputs),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    finally:
        noisy.setLevel(level)
    return "dynamo"


def _describe(path: Path, metadata: Mapping[str, Any]) -> None:
    """Check the file and put the metadata into it, durably."""
    import onnx

    proto = onnx.load(str(path))
    onnx.checker.check_model(proto)
    for key, value in metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = METADATA_PREFIX + key, msgspec.json.encode(value).decode()
    with path.open("wb") as file:
        file.write(proto.SerializeToString(deterministic=True))
        file.flush()
        os.fsync(file.fileno())


def read_metadata(path: Path) -> dict[str, Any]:
    """Return what :func:`export` stored, by key without ``mlops.``, through ONNX Runtime alone.

    Raises:
        Refused: ONNX Runtime cannot load the file.
    """
    found = _session(path).get_modelmeta().custom_metadata_map
    own = {key.removeprefix(METADATA_PREFIX): text for key, text in found.items() if key.startswith(METADATA_PREFIX)}
    return {key: msgspec.json.decode(text) for key, text in own.items()}


def verify(model: torch.nn.Module, path: Path, sample: NDArray[np.float32], *, atol: float = 1e-5) -> Agreement:
    """Compare the exported file with the model it came from, over a whole sample and over its first row alone.

    Args:
        model: the torch model.
        path: the ONNX file.
        sample: real feature rows ``[n, F]`` float32; NaNs belong in it if serving will see them.
        atol: largest absolute difference allowed.

    Raises:
        Refused: the two disagree, also in shape or in where they are NaN.
    """
    import torch

    session = _session(path)
    name = session.get_inputs()[0].name
    rows = np.ascontiguousarray(sample, dtype=np.float32)
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(rows)).numpy()
    gaps = []
    for batch, wanted in ((rows, expected), (rows[:1], expected[:1])):
        try:
            found = session.run(None, {name: batch})[0]
        except Exception as error:  # onnxruntime has no common error class
            raise _disagree(path, f"ONNX Runtime refused a batch of {len(batch)}: {error}") from error
        if found.shape != wanted.shape:
            raise _disagree(path, f"the shape is {found.shape}, torch gives {wanted.shape}")
        if (np.isnan(found) != np.isnan(wanted)).any():
            raise _disagree(path, "they differ in where they are NaN")
        gaps.append(np.abs(found - wanted)[~np.isnan(wanted)])
    worst = float(max((gap.max() for gap in gaps if gap.size), default=0.0))
    if worst > atol:
        raise _disagree(path, f"they differ by {worst:.3g}, more than {atol:.3g}")
    mean = float(gaps[0].mean()) if gaps[0].size else 0.0
    return Agreement(len(rows), worst, mean, atol, session.get_providers()[0])


def _session(path: Path) -> Any:
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common error class
        raise Refused(f"{path.name} is not a model that ONNX Runtime can load", str(error).splitlines()[0]) from error


def _disagree(path: Path, why: str) -> Refused:
    return Refused(f"{path.name} does not compute what torch computes", why, "do not serve it; export again")

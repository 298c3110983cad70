"""The model in other precisions, made by the ONNX runtime's own quantisation; needs ``onnx`` (the extra ``train``)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mlops_tui.core.runtime import onnxruntime, quantisation
from mlops_tui.pipelines.tuning.grid import DYNAMIC, FP32, STATIC
from mlops_tui.serving.models.model import Feed

CALIBRATED_ON = 512
"""Rows of the reference set that the ranges of activations are taken from."""


class Variants(NamedTuple):
    """The model by precision, and why others are left out."""

    files: dict[str, Path]
    left_out: dict[str, str]


def variants(model: Path, folder: Path, rows: Sequence[Feed]) -> Variants:
    """Make what can be made of a model.

    Args:
        model: the ONNX file.
        folder: where the others go.
        rows: one feed a row of the reference set; without any, nothing could judge what a precision costs.
    """
    files = {FP32: model}
    left_out = {"fp16": _fp16()}
    why = "" if rows else "there is no reference set to judge its answers by: --data REF"
    if not why:
        try:
            quantisation()
        except ImportError:
            why = "quantisation needs onnx: pip install 'mlops_tui[train]'"
    for precision, make in ((DYNAMIC, _dynamic), (STATIC, _static)):
        target = folder / f"{precision}.onnx"
        if not why:
            try:
                make(model, target, rows)
                words = _idle(model, target)
            except Exception as error:  # the quantiser's own errors have no common base
                words = f"it cannot be quantised: {type(error).__name__}: {str(error)[:200]}"
        if reason := why or words:
            left_out[precision] = reason
        else:
            files[precision] = target
    return Variants(files, left_out)


def _fp16() -> str:
    if "CUDAExecutionProvider" in onnxruntime().get_available_providers():
        return "servers run models on the processor so far"
    return "no GPU here, and fp16 never helps on a processor"


def _dynamic(model: Path, target: Path, rows: Sequence[Feed]) -> None:
    tools = quantisation()
    with _quiet():
        tools.quantize_dynamic(str(model), str(target), weight_type=tools.QuantType.QInt8)
    _keep_words(model, target)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hear no advice of the quantiser, which it gives to the root of all loggers."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def _static(model: Path, target: Path, rows: Sequence[Feed]) -> None:
    tools = quantisation()
    prepared = target.with_name("prepared.onnx")
    try:
        tools.shape_inference.quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    except Exception:
        prepared.write_bytes(model.read_bytes())  # what cannot be simplified is taken as it is
    tools.quantize_static(
        str(prepared),
        str(target),
        _Rows(rows[:CALIBRATED_ON]),
        quant_format=tools.QuantFormat.QDQ,
        activation_type=tools.QuantType.QUInt8,
        weight_type=tools.QuantType.QInt8,
        per_channel=True,
    )
    prepared.unlink()
    _keep_words(model, target)


class _Rows:
    """What the quantiser calibrates with: a feed at a time."""

    def __init__(self, rows: Sequence[Feed]) -> None:
        self._rows: Iterator[Feed] = iter(rows)

    def get_next(self) -> Mapping[str, Any] | None:
        return next(self._rows, None)


def _keep_words(model: Path, target: Path) -> None:
    """Give a quantised model the metadata of its origin: features and outputs have names there."""
    import onnx

    made, origin = onnx.load(str(target)), onnx.load(str(model), load_external_data=False)
    del made.metadata_props[:]
    made.metadata_props.extend(origin.metadata_props)
    onnx.save(made, str(target))


def _idle(model: Path, target: Path) -> str:
    """Return why a quantised model is none; empty when something in it was quantised."""
    import onnx

    kinds = {node.op_type for node in onnx.load(str(target)).graph.node}
    if any("Integer" in kind or "QLinear" in kind or "QuantizeLinear" in kind for kind in kinds):
        return ""
    return "nothing in this model can be quantised"

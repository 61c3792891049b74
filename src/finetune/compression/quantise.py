"""An ONNX graph with 8-bit integers in the place of most of its weights, by ONNX Runtime.

Dynamic: weights are rounded once, activations at each multiplication, by the range that they have there. Static: the
ranges of activations are taken from calibration batches beforehand
(onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

_WEIGHTS = ["MatMul", "Gemm", "Gather"]
"""What is quantised: products and the embeddings' tables, which hold nearly all weights."""


def quantise_dynamic(source: Path, target: Path) -> None:
    """Write a graph quantised dynamically: weights as signed 8-bit integers, a scale for each column."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as temporary, _errors_only():
        prepared = _prepared(source, Path(temporary))
        quantize_dynamic(prepared, target, op_types_to_quantize=_WEIGHTS, per_channel=True, weight_type=QuantType.QInt8)


def quantise_static(source: Path, target: Path, batches: Sequence[Mapping[str, torch.Tensor]]) -> None:
    """Write a graph quantised statically.

    Args:
        source: the graph in fp32.
        target: the file to write.
        batches: texts like those it will be asked, to take the ranges of activations from.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as temporary, _errors_only():
        prepared = _prepared(source, Path(temporary))
        quantize_static(
            prepared,
            target,
            _Batches(batches, prepared),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_WEIGHTS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


def _prepared(source: Path, folder: Path) -> Path:
    """Return the graph with the shapes of its values inferred and constants folded, as quantisation wants it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = folder / "prepared.onnx"
    # Symbolic inference knows fewer operators than graphs of today have; what it does not tell is not needed here.
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    return prepared


class _Batches:
    """What ONNX Runtime asks for calibration batches: one at a time, None after the last."""

    def __init__(self, batches: Sequence[Mapping[str, torch.Tensor]], graph: Path) -> None:
        import onnx

        wanted = {each.name for each in onnx.load(graph, load_external_data=False).graph.input}
        self._left: Iterator[dict[str, object]] = iter(
            [{name: tensor.numpy() for name, tensor in batch.items() if name in wanted} for batch in batches]
        )

    def get_next(self) -> dict[str, object] | None:
        """Return the next batch, or None."""
        return next(self._left, None)


@contextlib.contextmanager
def _errors_only() -> Iterator[None]:
    """Keep the root logger, which ONNX Runtime's quantisation writes to, to errors."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)

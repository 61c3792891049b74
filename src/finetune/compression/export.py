"""A transformers model as an ONNX graph with free numbers of rows and tokens."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from finetune.errors import InputError

OUTPUTS = ("logits", "start_logits", "end_logits")
"""What heads answer with, as transformers names it; a graph has those that its model has."""
_FURTHEST = 1e-3
"""Of the graph's answers from the model's own, relative to those above 1: both compute in fp32, in another order."""


class _Answers(nn.Module):
    """The model as a function of tensors in a fixed order: what the exporter takes."""

    def __init__(self, model: nn.Module, names: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names, self.outputs = model, tuple(names), tuple(outputs)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        answered = self.model(**dict(zip(self.names, tensors, strict=True)))
        return tuple(getattr(answered, name) for name in self.outputs)


def export_onnx(model: nn.Module, batches: Sequence[Mapping[str, torch.Tensor]], path: Path) -> None:
    """Write a model as ONNX, and see that the graph answers as the model does.

    Args:
        model: with its weights in fp32, on the CPU.
        batches: at least two, of different numbers of rows and tokens, each column of shape (rows, tokens): the first
            is what is traced, with all of them the graph is compared.
        path: the file.

    Raises:
        InputError: the model cannot be exported, or the graph answers otherwise.
    """
    model.eval()
    first = batches[0]
    with torch.inference_mode():
        answered = model(**first)
    outputs = [name for name in OUTPUTS if getattr(answered, name, None) is not None]
    rows, tokens = torch.export.Dim("rows", min=1), torch.export.Dim("tokens", min=2)
    wrapped = _Answers(model, list(first), outputs).eval()
    # The exporter writes its progress to the standard output, and warns of what it leaves as it is.
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript"):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                wrapped,
                tuple(first.values()),
                path,
                input_names=list(first),
                output_names=outputs,
                dynamic_shapes=(tuple({0: rows, 1: tokens} for _ in first),),
                dynamo=True,
                external_data=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{type(model).__name__} cannot be exported as ONNX: {first_line}") from None
    graph = OnnxGraph(path, threads=1)
    for batch in batches:
        with torch.inference_mode():
            expected = model(**batch)
        for name, found in graph.answer(batch).items():
            wanted = getattr(expected, name).numpy()
            if found.shape != wanted.shape or not np.allclose(found, wanted, rtol=_FURTHEST, atol=_FURTHEST):
                shape = tuple(batch["input_ids"].shape)
                raise InputError(
                    f"the ONNX graph of {type(model).__name__} answers {name} of a batch {shape} otherwise"
                )


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class OnnxGraph:
    """A graph in a file, ready to answer."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # As it is served: see `open_network` of the models' code.
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
        )
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]

    def answer(self, batch: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
        """Return what the graph answers to a batch: name → array."""
        fed = {name: batch[name].numpy() for name in self._inputs}
        return dict(zip(self._outputs, self._session.run(None, fed), strict=True))

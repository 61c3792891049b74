"""A trained model in, the fastest form of it that keeps its score out."""

import contextlib
import logging
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from finetune.compression.choice import PLAIN, Form, Judged, choose
from finetune.compression.export import OnnxGraph, export_onnx
from finetune.compression.quantise import quantise_dynamic, quantise_static
from finetune.data.manifest import read_manifest
from finetune.data.tokenise import load_tokenizer
from finetune.errors import InputError
from finetune.evaluation import check_trained_on
from finetune.files import write_json
from finetune.tasks import Task, task_named
from finetune.training.batches import Padding, TokenRows, collate
from finetune.training.contents import CHECKPOINT, COMPRESSION_RECORD, GRAPH, SCORE, TRAINING_RECORD
from finetune.training.last_layer import use_all_tokens, use_first_token_only, why_all_tokens
from finetune.training.model_folder import fill_folder, save_model_folder
from finetune.training.network import load_model
from finetune.training.problems import head_of, validated
from finetune.training.processes import Processes
from finetune.training.validation import Validation

LOGGER = logging.getLogger(__name__)

AUTO, NONE = "auto", "none"
FORMS = ("onnx", "dynamic", "static")
"""The graph in fp32; with weights as 8-bit integers; with activations as well, by ranges taken beforehand."""
_BATCH_ROWS = 32


@dataclass(frozen=True)
class CompressRequest:
    """What is to be compressed, and how far."""

    dataset: Path
    model: Path
    """MLflow model folder that train wrote."""
    method: str
    """auto: all of `FORMS` are made and one is chosen; one of them: it or the plain model; none: the plain model."""
    maximum_loss: float
    """Share of the plain model's score on validation that may be lost."""
    calibration_rows: int
    """Rows of train that the ranges of activations are taken from."""
    timed_rows: int
    """Rows of validation that are timed, one at a time."""


@dataclass(frozen=True)
class _Bench:
    """What forms are measured with."""

    validation: Validation
    rows: TokenRows
    padding: Padding
    timed: np.ndarray
    """Row numbers at evenly spaced lengths."""

    def score(self, model: nn.Module) -> float:
        alone = Processes(0, 1, torch.device("cpu"))
        figures = self.validation.measure(model, alone, lambda: False)
        assert figures is not None  # noqa: S101 - nothing interrupts it
        return figures[SCORE]

    def inputs(self, rows: np.ndarray, targets: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return a batch as the model takes it."""
        batch = collate(self.rows, rows, self.padding, pin=False)
        return {name: tensor for name, tensor in batch.items() if name not in targets}


class _GraphAsModel(nn.Module):
    """A graph that answers as a transformers model does."""

    def __init__(self, graph: OnnxGraph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, **batch: torch.Tensor) -> SimpleNamespace:
        answered = self.graph.answer(batch)
        return SimpleNamespace(**{name: torch.from_numpy(values) for name, values in answered.items()})


def compress(request: CompressRequest, output: Path) -> dict[str, Any]:
    """Make the forms that are asked for, measure them on validation, and write the chosen one as a model folder.

    The folder is one that train could have written: the same signature, labels and training record, and in the place of
    the weights the graph. compression.json in it says what was measured and why this form was chosen.

    Returns:
        The contents of compression.json.

    Raises:
        InputError: the model does not load, or is not one of this data set.
    """
    manifest = read_manifest(request.dataset)
    task = task_named(manifest.task)
    check_trained_on(request.model, manifest)
    checkpoint = request.model / CHECKPOINT
    if not (checkpoint / "config.json").is_file():
        raise InputError(f"{request.model}: holds no {CHECKPOINT}; expected a model that train wrote")
    if (checkpoint / GRAPH).is_file():
        raise InputError(f"{request.model}: is compressed already")
    tokenizer = load_tokenizer(checkpoint)
    model = load_model(checkpoint, str(checkpoint), task, manifest, "eager")
    rows = TokenRows(request.dataset / "validation.arrow")
    padding = Padding.of(tokenizer)
    truth = validated(task, manifest.labels, rows, request.dataset)
    order = np.argsort(rows.lengths, kind="stable")
    timed = order[np.linspace(0, len(order) - 1, min(request.timed_rows, len(order))).round().astype(int)]
    bench = _Bench(Validation(truth, padding, _BATCH_ROWS, "fp32"), rows, padding, np.unique(timed))
    with tempfile.TemporaryDirectory() as temporary:
        graphs = _make(request, model, task, bench, Path(temporary))
        judged = _measured(model, graphs, bench, task, checkpoint, request.maximum_loss)
        (kept,) = [each.form.name for each in judged if each.chosen]
        for each in judged:
            LOGGER.info("%s%s: %s", "→ " if each.chosen else "", each.form.name, each.reason)
        record = _record(request, judged, kept)
        if kept == PLAIN:
            fill_folder(output, request.model)
        else:
            save_model_folder(
                output,
                lambda folder: _write_checkpoint(folder, checkpoint, graphs[kept]),
                task,
                manifest,
                ("onnxruntime",),
                {"compression": kept},
            )
            shutil.copy(request.model / TRAINING_RECORD, output)
        write_json(output / COMPRESSION_RECORD, record)
    return record


def _make(
    request: CompressRequest, model: transformers.PreTrainedModel, task: Task, bench: _Bench, folder: Path
) -> dict[str, Path | InputError]:
    """Return form → its graph's file, or why there is none."""
    wanted = {AUTO: FORMS, NONE: ()}.get(request.method, (request.method,))
    if not wanted:
        return {}
    graphs: dict[str, Path | InputError] = {}
    targets = head_of(task).targets
    plain = folder / "onnx.onnx"
    longest, shortest = bench.timed[::-1][:2], bench.timed[:1]
    batches = [bench.inputs(rows, targets) for rows in (longest, shortest, bench.timed[:5])]
    try:
        LOGGER.info("exporting %s as ONNX", type(model).__name__)
        with _first_token_alone(model):
            export_onnx(model, batches, plain)
    except InputError as error:
        return dict.fromkeys(wanted, error)
    for form in wanted:
        path = graphs[form] = folder / f"{form}.onnx"
        if form == "dynamic":
            quantise_dynamic(plain, path)
        elif form == "static":
            quantise_static(plain, path, _calibration(request, bench.padding, targets))
    return graphs


@contextlib.contextmanager
def _first_token_alone(model: transformers.PreTrainedModel) -> Iterator[None]:
    """Let the last layer leave out what the head does not read, where that is known; then as it was.

    The plain model is served as transformers computes it, and is timed so.
    """
    shorter = why_all_tokens(model) is None
    if shorter:
        use_first_token_only(model)
    try:
        yield
    finally:
        if shorter:
            use_all_tokens(model)


def _calibration(request: CompressRequest, padding: Padding, targets: Sequence[str]) -> list[dict[str, torch.Tensor]]:
    """Return rows of train, evenly spread, as batches; never of validation, which decides, nor of test."""
    rows = TokenRows(request.dataset / "train.arrow")
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(request.calibration_rows, len(rows))).round().astype(int))
    chosen = chosen[np.argsort(rows.lengths[chosen], kind="stable")]
    batches = [
        collate(rows, chosen[at : at + _BATCH_ROWS], padding, pin=False) for at in range(0, len(chosen), _BATCH_ROWS)
    ]
    return [{name: tensor for name, tensor in batch.items() if name not in targets} for batch in batches]


def _measured(
    model: transformers.PreTrainedModel,
    graphs: Mapping[str, Path | InputError],
    bench: _Bench,
    task: Task,
    checkpoint: Path,
    maximum_loss: float,
) -> tuple[Judged, ...]:
    made = {name: path for name, path in graphs.items() if isinstance(path, Path)}
    runners: dict[str, nn.Module] = {PLAIN: model}
    runners |= {name: _GraphAsModel(OnnxGraph(path, threads=1)) for name, path in made.items()}
    times = _times(runners, bench, head_of(task).targets)
    sizes = {PLAIN: _megabytes(*checkpoint.glob("*.safetensors"))} | {n: _megabytes(path) for n, path in made.items()}
    forms = {name: Form(name, bench.score(runners[name]), times[name], sizes[name]) for name in runners}
    others = [forms[name] if name in forms else Form(name, problem=str(graphs[name])) for name in graphs]
    return choose(forms[PLAIN], others, maximum_loss)


def _times(runners: Mapping[str, nn.Module], bench: _Bench, targets: Sequence[str]) -> dict[str, float]:
    """Return each form's milliseconds for one row: the median over rows, forms taking turns, one thread.

    Processor time, which neighbours on the machine bend less than the clock's.
    """
    batches = [bench.inputs(np.array([row]), targets) for row in bench.timed]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds: dict[str, list[float]] = {name: [] for name in runners}
        with torch.inference_mode():
            for batch in (batches[-1], *batches):
                for name, runner in runners.items():
                    began = time.process_time()
                    runner(**batch)
                    seconds[name].append(time.process_time() - began)
    finally:
        torch.set_num_threads(threads)
    # The first of each is its warm-up.
    return {name: 1000 * statistics.median(values[1:]) for name, values in seconds.items()}


def _megabytes(*paths: Path) -> float:
    return sum(path.stat().st_size for path in paths) / 2**20


def _write_checkpoint(folder: Path, checkpoint: Path, graph: Path | InputError) -> None:
    """Write configuration and tokenizer as they are, and the graph in the place of the weights."""
    assert isinstance(graph, Path)  # noqa: S101 - only a form that was made is chosen
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.safetensors.index.json"))
    shutil.copy(graph, folder / GRAPH)


def _record(request: CompressRequest, judged: Sequence[Judged], kept: str) -> dict[str, Any]:
    return {
        "chosen": kept,
        "reason": next(each.reason for each in judged if each.chosen),
        "maximum_loss": request.maximum_loss,
        "forms": [{**asdict(each.form), "chosen": each.chosen, "reason": each.reason} for each in judged],
    }

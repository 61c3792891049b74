"""What training does differently for kinds of labels: the model's head, its loss, and how its logits are measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

import finetune.tasks
from finetune.data.label_texts import read_spans
from finetune.data.label_values import OUTSIDE
from finetune.data.manifest import LABEL, VALIDATION_FILE
from finetune.errors import InputError
from finetune.metrics.classification import classification_metrics, softmax
from finetune.metrics.entities import entity_counts, entity_metrics, entity_types
from finetune.metrics.extraction import extraction_metrics, extraction_scores
from finetune.metrics.multi_label import multi_label_metrics, sigmoid
from finetune.metrics.regression import regression_metrics
from finetune.tasks import Problem, Task
from finetune.training.batches import TokenRows
from finetune.training.losses import class_loss, flag_loss, number_loss, span_loss
from finetune.training.spans import best_span

_MODELS = Path(finetune.tasks.__file__).parent


@dataclass(frozen=True)
class Validated:
    """What logits are measured against."""

    task: Task
    labels: Sequence[str]
    """Label names."""
    rows: TokenRows
    texts: pd.DataFrame
    """Texts and labels of the split, where answers are pieces of the text; else empty."""


@dataclass(frozen=True)
class Head:
    """One row of the table."""

    auto_model: str
    """The `transformers` class that builds the model's head."""
    model_script: Path
    """The MLflow model's own code, which loads and predicts without this package."""
    loss: Callable[[Sequence[Tensor], Mapping[str, Tensor], float], Tensor]
    """(logits in fp32, batch, label smoothing) → sum of the loss over the batch's items."""
    measure: Callable[[Validated, Sequence[np.ndarray]], dict[str, float]]
    """(what is true, logits of each row) → metrics. Logits have the shape (labels,), or (tokens, labels) without
    padding; for spans (tokens, 2)."""
    config: Callable[[Sequence[str]], dict[str, Any]]
    """Label names → what the model's configuration is loaded with."""
    outputs: tuple[str, ...] = ("logits",)
    targets: tuple[str, ...] = ("labels",)
    """Columns that the loss takes, and not the model."""
    per_token: bool = False
    """The model answers for each token."""
    labelled_tokens: bool = False
    """A loss is a mean over labelled tokens, in the place of rows."""
    smoothing: bool = False
    """Label smoothing says something about such labels."""
    texts: bool = False
    """Measuring takes the texts."""


def _named(kind: str | None) -> Callable[[Sequence[str]], dict[str, Any]]:
    def config(labels: Sequence[str]) -> dict[str, Any]:
        named = {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
        }
        return named if kind is None else {**named, "problem_type": kind}

    return config


def _measure_single_label(truth: Validated, logits: Sequence[np.ndarray]) -> dict[str, float]:
    positive = None if truth.task.positive_label is None else truth.labels.index(truth.task.positive_label)
    true = truth.rows.values("labels")
    return classification_metrics(truth.labels, true, softmax(np.stack(logits)), positive)


def _measure_multi_label(truth: Validated, logits: Sequence[np.ndarray]) -> dict[str, float]:
    return multi_label_metrics(truth.rows.values("labels") > 0, sigmoid(np.stack(logits)))


def _measure_regression(truth: Validated, logits: Sequence[np.ndarray]) -> dict[str, float]:
    """Answers that are all the same correlate with nothing: 0, so that a trial that begins so can go on."""
    true = truth.rows.values("labels").astype(np.float64)
    metrics = regression_metrics(true, np.stack(logits)[:, 0].astype(np.float64))
    if truth.task.primary_metric not in metrics and np.ptp(true) == 0:
        raise InputError(
            f"the labels of all {len(true)} validation rows are {true[0]:g}, and {truth.task.primary_metric} is not "
            "defined on them; give another validation split"
        )
    return {"pearson": 0.0, "spearman": 0.0, **metrics}


def _measure_tags(truth: Validated, logits: Sequence[np.ndarray]) -> dict[str, float]:
    true, predicted = [], []
    for row, answer in enumerate(logits):
        back = truth.rows.read_back(row)
        tokens = back["word_tokens"]
        best = answer.argmax(axis=-1)
        true.append([truth.labels[tag] for tag in back["word_tags"]])
        predicted.append([truth.labels[best[token]] if token >= 0 else OUTSIDE for token in tokens])
    return entity_metrics(entity_counts(entity_types(truth.labels), true, predicted))


def _measure_spans(truth: Validated, logits: Sequence[np.ndarray]) -> dict[str, float]:
    windows: list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = [[] for _ in range(len(truth.texts))]
    for row, answer in enumerate(logits):
        back = truth.rows.read_back(row)
        places = np.stack([back["offset_start"], back["offset_end"]], axis=1)
        windows[int(back["example"])].append((answer[:, 0], answer[:, 1], places))
    answers = []
    for context, parts in zip(truth.texts["context"], windows, strict=True):
        start, end, _ = best_span(parts, context)
        answers.append(context[start:end])
    accepted = [[span.text for span in read_spans(label)] for label in truth.texts[LABEL]]
    return extraction_metrics(extraction_scores(answers, accepted))


HEADS: Mapping[Problem, Head] = MappingProxyType(
    {
        "single_label": Head(
            "AutoModelForSequenceClassification",
            _MODELS / "sequence_model.py",
            class_loss,
            _measure_single_label,
            _named("single_label_classification"),
            smoothing=True,
        ),
        "multi_label": Head(
            "AutoModelForSequenceClassification",
            _MODELS / "sequence_model.py",
            flag_loss,
            _measure_multi_label,
            _named("multi_label_classification"),
        ),
        "regression": Head(
            "AutoModelForSequenceClassification",
            _MODELS / "sequence_model.py",
            number_loss,
            _measure_regression,
            lambda _: _named("regression")(["value"]),
        ),
        "token_labels": Head(
            "AutoModelForTokenClassification",
            _MODELS / "token_model.py",
            class_loss,
            _measure_tags,
            _named(None),
            per_token=True,
            labelled_tokens=True,
            smoothing=True,
        ),
        "answer_spans": Head(
            "AutoModelForQuestionAnswering",
            _MODELS / "answer_model.py",
            span_loss,
            _measure_spans,
            lambda _: _named(None)(["start", "end"]),
            outputs=("start_logits", "end_logits"),
            targets=("start_positions", "end_positions"),
            per_token=True,
            texts=True,
        ),
    }
)


def head_of(task: Task) -> Head:
    """Return the head of a task's problem."""
    return HEADS[task.problem]


def validated(task: Task, labels: Sequence[str], rows: TokenRows, dataset: Path) -> Validated:
    """Return what a data set's validation split is measured against.

    Raises:
        InputError: the split's texts are needed and missing.
    """
    if not head_of(task).texts:
        return Validated(task, labels, rows, pd.DataFrame())
    path = dataset / VALIDATION_FILE
    if not path.is_file():
        raise InputError(f"{path}: missing; expected the texts and answers of validation that prep writes")
    return Validated(task, labels, rows, pd.read_parquet(path))


def answered(model: Any, batch: Mapping[str, Tensor], head: Head) -> list[Tensor]:
    """Ask a model, without the columns that only the loss takes; return its logits in fp32."""
    output = model(**{name: tensor for name, tensor in batch.items() if name not in head.targets})
    return [getattr(output, name).float() for name in head.outputs]

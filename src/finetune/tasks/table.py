"""The task table: everything that differs between tasks, in one row each.

A new task joins as a row; no stage asks which task it runs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from finetune.errors import InputError
from finetune.metrics.classification import classification_metrics, softmax


@dataclass(frozen=True)
class Task:
    """One row of the task table."""

    name: str
    text_columns: tuple[str, ...]
    """The model's input columns, in the tokenizer's order, under the names every stage uses."""
    auto_model: str
    """The `transformers` class that builds the model's head."""
    metrics: Callable[[Sequence[str], np.ndarray, np.ndarray], dict[str, float]]
    """(label names, true label ids of shape (n,), logits of shape (n, labels)) → metrics."""
    primary_metric: str
    greater_is_better: bool
    model_script: Path
    """The MLflow model's own code, which loads and predicts without this package."""
    example: Mapping[str, str]
    """One input row, for the model's input example and the smoke test."""

    def score(self, metrics: Mapping[str, float]) -> float:
        """Return the primary metric, oriented so that more is better: what a sweep maximises for any task."""
        value = metrics[self.primary_metric]
        return value if self.greater_is_better else -value


def _metrics_of_logits(labels: Sequence[str], true: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    return classification_metrics(labels, true, softmax(logits))


_SEQUENCE_MODEL = Path(__file__).with_name("sequence_classifier.py")

_ROWS = (
    Task(
        name="text-classification",
        text_columns=("text",),
        auto_model="AutoModelForSequenceClassification",
        metrics=_metrics_of_logits,
        primary_metric="f1_macro",
        greater_is_better=True,
        model_script=_SEQUENCE_MODEL,
        example=MappingProxyType({"text": "The parcel arrived two days late."}),
    ),
    Task(
        name="text-pair-classification",
        text_columns=("text", "text_pair"),
        auto_model="AutoModelForSequenceClassification",
        metrics=_metrics_of_logits,
        primary_metric="f1_macro",
        greater_is_better=True,
        model_script=_SEQUENCE_MODEL,
        example=MappingProxyType(
            {
                "text": "The parcel arrived two days late.",
                "text_pair": "The delivery came after two days' delay.",
            }
        ),
    ),
)

TASKS: Mapping[str, Task] = MappingProxyType({row.name: row for row in _ROWS})


def task_named(name: str) -> Task:
    """Return a row of the table.

    Raises:
        InputError: there is no such task.
    """
    try:
        return TASKS[name]
    except KeyError:
        raise InputError(f"--task {name}: unknown; expected one of {', '.join(TASKS)}") from None

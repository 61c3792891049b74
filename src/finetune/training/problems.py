"""What training does differently for kinds of labels: the model's head, and how its logits are measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

import finetune.tasks
from finetune.metrics.classification import classification_metrics, softmax
from finetune.tasks import Problem, Task

_MODELS = Path(finetune.tasks.__file__).parent


@dataclass(frozen=True)
class Head:
    """One row of the table."""

    auto_model: str
    """The `transformers` class that builds the model's head."""
    model_script: Path
    """The MLflow model's own code, which loads and predicts without this package."""
    measure: Callable[[Task, Sequence[str], np.ndarray, np.ndarray], dict[str, float]]
    """(task, label names, true labels as the batches hold them, logits) → metrics."""


def _measure_single_label(task: Task, labels: Sequence[str], true: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    positive = None if task.positive_label is None else labels.index(task.positive_label)
    return classification_metrics(labels, true, softmax(logits), positive)


HEADS: Mapping[Problem, Head] = MappingProxyType(
    {
        "single_label": Head(
            "AutoModelForSequenceClassification", _MODELS / "sequence_model.py", _measure_single_label
        ),
    }
)


def head_of(task: Task) -> Head:
    """Return the head of a task's problem."""
    return HEADS[task.problem]

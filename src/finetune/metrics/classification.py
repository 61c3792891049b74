"""Metrics of single-label classification, all from scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
)

CLASSIFICATION_METRICS = ("accuracy", "f1_macro", "f1_weighted", "mcc", "auc_weighted", "log_loss", "f1")
LOWER_IS_BETTER = ("log_loss",)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities of shape (n, labels) in float64 from logits of the same shape."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def classification_metrics(
    labels: Sequence[str], true: np.ndarray, probabilities: np.ndarray, positive: int | None = None
) -> dict[str, float]:
    """Measure predictions.

    Args:
        labels: the label names; a label's id is its position.
        true: label ids, shape (n,).
        probabilities: shape (n, len(labels)), rows summing to 1.
        positive: id of the label whose F1 is `f1`; None where there is no such metric.

    Returns:
        accuracy, f1_macro and f1_weighted, mcc (Matthews), log_loss (natural logarithm), and auc_weighted: the
        one-vs-rest area under the ROC curve, averaged with each label's count as its weight, as Azure's automated ML
        defines it (learn.microsoft.com/azure/machine-learning/how-to-understand-automated-ml). auc_weighted is
        absent when a label has no row: there is no curve for it, and no number is better than a wrong one. With a
        positive label also its F1, as `f1`. All are absent when there is no row.
    """
    if not len(true):
        return {}
    measured = {
        name: classification_metric(name, labels, true, probabilities, positive) for name in CLASSIFICATION_METRICS
    }
    return {name: value for name, value in measured.items() if not np.isnan(value)}


def classification_metric(
    name: str, labels: Sequence[str], true: np.ndarray, probabilities: np.ndarray, positive: int | None = None
) -> float:
    """Return one of `classification_metrics`; NaN when it is not defined on these rows."""
    ids = np.arange(len(labels))
    if name == "log_loss":
        return float(log_loss(true, probabilities, labels=ids))
    if name == "auc_weighted":
        if len(np.unique(true)) < len(labels):
            return float("nan")
        if len(labels) == 2:
            return float(roc_auc_score(true, probabilities[:, 1]))
        return float(roc_auc_score(true, probabilities, labels=ids, multi_class="ovr", average="weighted"))
    predicted = probabilities.argmax(axis=1)
    if name == "accuracy":
        return float(accuracy_score(true, predicted))
    if name == "mcc":
        return float(matthews_corrcoef(true, predicted))
    if name == "f1":
        if positive is None:
            return float("nan")
        return float(f1_score(true == positive, predicted == positive, zero_division=0))
    average = {"f1_macro": "macro", "f1_weighted": "weighted"}[name]
    return float(f1_score(true, predicted, labels=ids, average=average, zero_division=0))


def per_label_metrics(labels: Sequence[str], true: np.ndarray, predicted: np.ndarray) -> list[dict[str, Any]]:
    """Return precision, recall, F1 and support (rows) of each label, in label order.

    The figures of a label without rows are None: it was not measured, which is not the same as 0.

    Args:
        labels: the label names.
        true: label ids, shape (n,).
        predicted: label ids, shape (n,).
    """
    if not len(true):
        return [{"label": label, "precision": None, "recall": None, "f1": None, "support": 0} for label in labels]
    precision, recall, f1, support = precision_recall_fscore_support(
        true, predicted, labels=np.arange(len(labels)), zero_division=0
    )
    measured = {"precision": precision, "recall": recall, "f1": f1}
    return [
        {
            "label": label,
            **{name: float(values[i]) if support[i] else None for name, values in measured.items()},
            "support": int(support[i]),
        }
        for i, label in enumerate(labels)
    ]


def majority_class_metrics(
    labels: Sequence[str], train_counts: Sequence[int], true: np.ndarray, positive: int | None = None
) -> dict[str, float]:
    """Measure the baseline that always answers the label most frequent in training, with the training frequencies.

    Args:
        labels: the label names.
        train_counts: rows of each label in the training split, in label order.
        true: label ids of the measured rows, shape (n,).
        positive: see `classification_metrics`.
    """
    frequencies = np.asarray(train_counts, dtype=np.float64) / sum(train_counts)
    return classification_metrics(labels, true, np.tile(frequencies, (len(true), 1)), positive)

"""Metrics of multi-label classification: a row has any number of the labels, also none. All from scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.metrics import accuracy_score, f1_score, hamming_loss, precision_recall_fscore_support, roc_auc_score

MULTI_LABEL_METRICS = ("f1_micro", "f1_macro", "f1_samples", "accuracy", "auc_weighted", "hamming_loss")
LOWER_IS_BETTER = ("hamming_loss",)
THRESHOLD = 0.5
"""A row has the labels whose probability is at least this."""


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return probabilities in float64 from logits of the same shape, each label by itself."""
    return expit(logits.astype(np.float64))


def multi_label_metrics(true: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Measure predictions.

    Args:
        true: whether a row has a label; bool, shape (n, labels).
        probabilities: of each label by itself, shape (n, labels).

    Returns:
        F1 over all (row, label) pairs (f1_micro), as the labels' mean (f1_macro) and as the rows' mean (f1_samples; a
        row without labels that gets none counts 1), accuracy (share of rows with exactly the right labels),
        auc_weighted (areas under the labels' ROC curves, weighted by their rows; absent when a label has no row or all
        of them), and hamming_loss (share of wrong (row, label) pairs; less is better).
    """
    measured = {name: multi_label_metric(name, true, probabilities) for name in MULTI_LABEL_METRICS}
    return {name: value for name, value in measured.items() if not np.isnan(value)}


def multi_label_metric(name: str, true: np.ndarray, probabilities: np.ndarray) -> float:
    """Return one of `multi_label_metrics`; NaN when it is not defined on these rows."""
    if name == "auc_weighted":
        counts = true.sum(axis=0)
        if not ((counts > 0) & (counts < len(true))).all():
            return float("nan")
        return float(roc_auc_score(true, probabilities, average="weighted"))
    predicted = probabilities >= THRESHOLD
    if name == "accuracy":
        return float(accuracy_score(true, predicted))
    if name == "hamming_loss":
        return float(hamming_loss(true, predicted))
    if name == "f1_samples":
        return float(f1_score(true, predicted, average="samples", zero_division=1))
    return float(f1_score(true, predicted, average=name.removeprefix("f1_"), zero_division=0))


def per_label_metrics(labels: Sequence[str], true: np.ndarray, predicted: np.ndarray) -> list[dict[str, Any]]:
    """Return precision, recall, F1 and support (rows) of each label, in label order; None where no row has it.

    Args:
        labels: the label names.
        true: bool, shape (n, labels).
        predicted: likewise.
    """
    if not len(true):
        return [{"label": label, "precision": None, "recall": None, "f1": None, "support": 0} for label in labels]
    precision, recall, f1, support = precision_recall_fscore_support(true, predicted, average=None, zero_division=0)
    measured = {"precision": precision, "recall": recall, "f1": f1}
    return [
        {
            "label": label,
            **{name: float(values[i]) if support[i] else None for name, values in measured.items()},
            "support": int(support[i]),
        }
        for i, label in enumerate(labels)
    ]

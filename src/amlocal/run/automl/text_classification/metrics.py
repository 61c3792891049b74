"""Azure AutoML's five primary metrics of text classification.

Their definitions: learn.microsoft.com/azure/machine-learning/how-to-understand-automated-ml, "Classification metrics".
"""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import accuracy_score, average_precision_score, precision_score, recall_score, roc_auc_score

NAMES: Mapping[str, str] = {
    "auc_weighted": "AUC_weighted",
    "accuracy": "accuracy",
    "norm_macro_recall": "norm_macro_recall",
    "average_precision_score_weighted": "average_precision_score_weighted",
    "precision_score_weighted": "precision_score_weighted",
}
"""As a job file states them → as they are logged."""


def primary_metrics(labels: Sequence[object], true: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Measure answers by each metric; more is better in all of them.

    Args:
        labels: the classes, in the order of the probabilities' columns.
        true: their positions, shape (n,); at least two of them occur.
        probabilities: shape (n, labels).

    Returns:
        Name, as it is logged → value.
    """
    answers = probabilities.argmax(axis=1)
    known = np.arange(len(labels))
    recall = recall_score(true, answers, labels=np.unique(true), average="macro", zero_division=0)
    by_chance = 1 / len(labels)
    return {
        "AUC_weighted": _weighted(roc_auc_score, true, probabilities),
        "accuracy": float(accuracy_score(true, answers)),
        # 0 for answers by chance and 1 for right ones, as Azure normalises it.
        "norm_macro_recall": float((recall - by_chance) / (1 - by_chance)),
        "average_precision_score_weighted": _weighted(average_precision_score, true, probabilities),
        "precision_score_weighted": float(
            precision_score(true, answers, labels=known, average="weighted", zero_division=0)
        ),
    }


def _weighted(measure, true: np.ndarray, probabilities: np.ndarray) -> float:  # type: ignore[no-untyped-def]
    """Average a metric over the labels, each against all others, weighted by their rows."""
    present, rows = np.unique(true, return_counts=True)
    values = [measure(true == label, probabilities[:, label]) for label in present]
    return float(np.average(values, weights=rows))

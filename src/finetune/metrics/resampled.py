"""The metrics of `finetune.metrics.classification` for resampling, which measures thousands of times."""

import numpy as np
from scipy.stats import rankdata

COUNTED_METRICS = ("accuracy", "f1_macro", "f1_weighted", "mcc")
"""Those that hang on the answers alone and not on their probabilities."""


def metric_of_counts(name: str, counts: np.ndarray) -> float:
    """Return one of `COUNTED_METRICS` from a confusion matrix.

    Args:
        name: accuracy, f1_macro, f1_weighted or mcc.
        counts: shape (labels, labels): rows are true labels, columns answers.
    """
    right, true, answered = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    rows = true.sum()
    if name == "accuracy":
        return float(right.sum() / rows)
    if name == "mcc":
        # Gorodkin 2004, Comparing two K-category assignments by a K-category correlation coefficient.
        spread = float(rows**2 - (answered**2).sum()) * float(rows**2 - (true**2).sum())
        return float(right.sum() * rows - (true * answered).sum()) / spread**0.5 if spread else 0.0
    f1 = 2 * right / np.maximum(true + answered, 1)
    return float(f1.mean() if name == "f1_macro" else (f1 * true).sum() / rows)


def areas_by_ranks(hits: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each label's area under the ROC curve, and its rows, by the Mann-Whitney statistic.

    The area is the share of (row of the label, other row) pairs that are in the right order, ties counting half (Hanley
    and McNeil 1982). It is NaN where there is no such pair.

    Args:
        hits: whether a row has a label, bool, shape (n, labels).
        probabilities: shape (n, labels).
    """
    positive = hits.sum(axis=0)
    pairs = positive * (len(hits) - positive)
    ranks = (rankdata(probabilities, axis=0) * hits).sum(axis=0)
    areas = (ranks - positive * (positive + 1) / 2) / np.where(pairs, pairs, 1)
    return np.where(pairs, areas, np.nan), positive


def auc_weighted_by_ranks(hits: np.ndarray, probabilities: np.ndarray) -> float:
    """Return auc_weighted as the metrics of both kinds of classification do; NaN when a label has no area."""
    areas, positive = areas_by_ranks(hits, probabilities)
    return float((areas * positive).sum() / positive.sum())

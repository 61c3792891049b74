"""Curves and calibration of probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

RELIABILITY_BINS = 10
_DRAWN_POINTS = 60
"""Of a curve; its area is taken from all of them."""


@dataclass(frozen=True)
class Curve:
    """A curve from 0 to 1 in both directions, and the figure that sums it up."""

    name: str
    x: np.ndarray
    y: np.ndarray
    area: float


@dataclass(frozen=True)
class Reliability:
    """How often answers are right, by how sure the model was of them."""

    confidence: np.ndarray
    """Mean probability of the answers in each bin that holds any."""
    accuracy: np.ndarray
    rows: np.ndarray
    error: float
    """Expected calibration error: the mean distance of confidence and accuracy, weighted by rows (Guo et al. 2017, On
    Calibration of Modern Neural Networks)."""


def roc(name: str, hits: np.ndarray, probabilities: np.ndarray) -> Curve:
    """Return a ROC curve.

    Args:
        name: the curve's.
        hits: which are of the label, bool, shape (n,); some are and some are not.
        probabilities: of the label, shape (n,).
    """
    false_positive, true_positive, _ = roc_curve(hits, probabilities)
    drawn = _drawn(len(false_positive))
    return Curve(name, false_positive[drawn], true_positive[drawn], float(auc(false_positive, true_positive)))


def precision_recall(name: str, hits: np.ndarray, probabilities: np.ndarray) -> Curve:
    """Return a precision-recall curve likewise; its area is the average precision.

    At least one of what it is drawn from is of the label.
    """
    precision, recall, _ = precision_recall_curve(hits, probabilities)
    drawn = _drawn(len(recall))
    area = float(average_precision_score(hits, probabilities))
    return Curve(name, recall[drawn], precision[drawn], area)


def _drawn(points: int) -> np.ndarray:
    return np.unique(np.linspace(0, points - 1, _DRAWN_POINTS).round().astype(int))


def label_roc_curves(labels: Sequence[str], hits: np.ndarray, probabilities: np.ndarray) -> dict[int, Curve]:
    """Return the ROC curve of each label against the others, by label id; without labels that have no curve.

    Args:
        labels: the label names.
        hits: whether a row has a label, bool, shape (n, labels).
        probabilities: shape (n, labels).
    """
    return {
        i: roc(label, hits[:, i], probabilities[:, i])
        for i, label in enumerate(labels)
        if 0 < hits[:, i].sum() < len(hits)
    }


def label_precision_recall_curves(
    labels: Sequence[str], hits: np.ndarray, probabilities: np.ndarray
) -> dict[int, Curve]:
    """Return the precision-recall curve of each label likewise."""
    return {
        i: precision_recall(label, hits[:, i], probabilities[:, i])
        for i, label in enumerate(labels)
        if hits[:, i].any()
    }


def micro_curves(hits: np.ndarray, probabilities: np.ndarray) -> tuple[Curve, Curve]:
    """Return the ROC and the precision-recall curve over all (row, label) pairs alike: the micro average."""
    pairs = hits.ravel(), probabilities.ravel()
    return roc("micro", *pairs), precision_recall("micro", *pairs)


def reliability(confidence: np.ndarray, right: np.ndarray) -> Reliability | None:
    """Return how well probabilities fit how often what they are of is so, in ten equal bins; None without any.

    Args:
        confidence: probabilities, shape (n,).
        right: whether it is so, bool, shape (n,).
    """
    if not len(confidence):
        return None
    bins = np.minimum((confidence * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    held = [bins == number for number in range(RELIABILITY_BINS) if (bins == number).any()]
    mean = np.array([confidence[mask].mean() for mask in held])
    accuracy = np.array([right[mask].mean() for mask in held])
    rows = np.array([mask.sum() for mask in held])
    error = float((np.abs(accuracy - mean) * rows).sum() / rows.sum())
    return Reliability(mean, accuracy, rows, error)

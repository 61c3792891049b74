"""Answers that are one of some labels, with the probability of each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from finetune.answers.kind import AnswerKind, Columns, Scored, Summed, mean_of, share_f1
from finetune.data.manifest import LABEL, DatasetManifest
from finetune.errors import InputError
from finetune.metrics.classification import (
    classification_metric,
    classification_metrics,
    majority_class_metrics,
    per_label_metrics,
)
from finetune.metrics.resampled import COUNTED_METRICS, auc_weighted_by_ranks, metric_of_counts
from finetune.tasks import task_named

_TOLERANCE = 1e-6
"""Of a sum of probabilities that was 1 when it was written."""


def label_ids(frame: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """Return the rows' label ids, shape (n,)."""
    ids = {label: i for i, label in enumerate(labels)}
    return frame[LABEL].map(ids).to_numpy(dtype=np.int64)


def columns_of(probabilities: np.ndarray, labels: Sequence[str]) -> Columns:
    """Return the columns of a model's probabilities: its most probable label, and ":<label>" for each.

    Args:
        probabilities: shape (n, labels).
        labels: the label names.
    """
    answers: dict[str, Any] = {"": [labels[i] for i in probabilities.argmax(axis=1)]}
    return answers | {f":{label}": probabilities[:, i] for i, label in enumerate(labels)}


def probability_columns(frame: pd.DataFrame, model: str, labels: Sequence[str]) -> np.ndarray:
    """Return a model's columns of probabilities, shape (n, labels).

    Raises:
        InputError: one is missing, or holds no numbers.
    """
    try:
        return frame[[f"{model}:{label}" for label in labels]].to_numpy(dtype=np.float64)
    except (KeyError, ValueError) as error:
        raise InputError(f"no probabilities of the {model}: {error}") from None


def read_probabilities(answer: pd.DataFrame, rows: int, labels: Sequence[str], of_model: Sequence[str]) -> np.ndarray:
    """Return the column `probabilities` of a model's answer in the data set's order of labels.

    Args:
        answer: the model's.
        rows: that it was asked for.
        labels: the data set's.
        of_model: the same in the model's order.

    Raises:
        InputError: they are not so many finite numbers of at least 0.
    """
    probabilities = np.asarray(answer["probabilities"].tolist(), dtype=np.float64)
    if probabilities.shape != (rows, len(labels)) or not np.isfinite(probabilities).all():
        raise InputError(f"its probabilities are not {rows} × {len(labels)} finite numbers")
    return probabilities[:, [list(of_model).index(label) for label in labels]]


def _read(answer: pd.DataFrame, rows: pd.DataFrame, manifest: DatasetManifest, labels: Sequence[str]) -> Columns:
    probabilities = read_probabilities(answer, len(rows), manifest.labels, labels)
    if (probabilities < 0).any() or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-4):
        raise InputError("the probabilities of a row are negative or do not sum to 1")
    # Exactly 1, as the metrics require of what was rounded on its way.
    return columns_of(probabilities / probabilities.sum(axis=1, keepdims=True), manifest.labels)


def _empty(manifest: DatasetManifest) -> Columns:
    return columns_of(np.zeros((0, len(manifest.labels))), manifest.labels)


def _scored(frame: pd.DataFrame, model: str, manifest: DatasetManifest) -> Scored:
    labels = manifest.labels
    probabilities = probability_columns(frame, model, labels)
    sums = probabilities.sum(axis=1)
    if not np.isfinite(probabilities).all() or (probabilities < 0).any() or not np.allclose(sums, 1, atol=_TOLERANCE):
        raise InputError(f"the {model}'s probabilities of a row are negative or do not sum to 1")
    best = np.asarray(labels, dtype=object)[probabilities.argmax(axis=1)]
    if not (best == frame[model].to_numpy()).all():
        raise InputError(f"the {model}'s answers are not its most probable labels")
    positive = task_named(manifest.task).positive_label
    place = None if positive is None else labels.index(positive)
    return Scored((label_ids(frame, labels), probabilities), labels, place)


def _metrics(scored: Scored) -> dict[str, float]:
    true, probabilities = scored.arrays
    return classification_metrics(scored.names, true, probabilities, scored.positive)


def _metric(name: str, scored: Scored) -> float:
    true, probabilities = scored.arrays
    labels = len(scored.names)
    if name == "auc_weighted":
        return auc_weighted_by_ranks(true[:, None] == np.arange(labels), probabilities)
    if name not in COUNTED_METRICS:
        return classification_metric(name, scored.names, true, probabilities, scored.positive)
    pairs = true * labels + probabilities.argmax(axis=1)
    return metric_of_counts(name, np.bincount(pairs, minlength=labels**2).reshape(labels, -1))


def _by_sums(name: str, scored: Scored) -> Summed | None:
    if name == "accuracy":
        return mean_of(_hits(scored))
    if name == "f1" and scored.positive is not None:
        true, predicted = (ids == scored.positive for ids in (scored.arrays[0], scored.arrays[1].argmax(axis=1)))
        columns = np.column_stack([true & predicted, predicted, true]).astype(np.float64)
        return Summed(columns, lambda sums: share_f1(*sums))
    return None


def _hits(scored: Scored) -> np.ndarray:
    true, probabilities = scored.arrays
    return probabilities.argmax(axis=1) == true


def _right(name: str, scored: Scored) -> np.ndarray | None:
    return _hits(scored) if name == "accuracy" else None


def _per_label(scored: Scored) -> list[dict[str, Any]]:
    true, probabilities = scored.arrays
    return per_label_metrics(scored.names, true, probabilities.argmax(axis=1))


def _baseline(frame: pd.DataFrame, manifest: DatasetManifest) -> dict[str, float]:
    positive = task_named(manifest.task).positive_label
    place = None if positive is None else manifest.labels.index(positive)
    counts = list(manifest.splits["train"].labels.values())
    return majority_class_metrics(manifest.labels, counts, label_ids(frame, manifest.labels), place)


def _label_slices(frame: pd.DataFrame, manifest: DatasetManifest) -> dict[str, np.ndarray]:
    return {f"label: {label}": (frame[LABEL] == label).to_numpy() for label in sorted(frame[LABEL].unique())}


def _unmeasured(frame: pd.DataFrame, manifest: DatasetManifest) -> tuple[str, ...]:
    there = set(frame[LABEL])
    return tuple(label for label in manifest.labels if label not in there)


SINGLE_LABEL = AnswerKind(
    read=_read,
    empty=_empty,
    scored=_scored,
    metrics=_metrics,
    metric=_metric,
    by_sums=_by_sums,
    right=_right,
    per_label=_per_label,
    baseline=_baseline,
    baseline_name="most frequent label",
    label_slices=_label_slices,
    unmeasured=_unmeasured,
)

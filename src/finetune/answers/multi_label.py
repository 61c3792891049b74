"""Answers that are any number of some labels, with the probability of each by itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from finetune.answers.kind import AnswerKind, Columns, Scored, Summed, mean_of, share_f1
from finetune.answers.single_label import probability_columns, read_probabilities
from finetune.data.label_texts import names_text, read_names
from finetune.data.manifest import LABEL, DatasetManifest
from finetune.errors import InputError
from finetune.metrics.multi_label import THRESHOLD, multi_label_metric, multi_label_metrics, per_label_metrics
from finetune.metrics.resampled import auc_weighted_by_ranks


def label_hits(frame: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """Return whether a row has a label, bool, shape (n, labels).

    Raises:
        InputError: a row has a label that the data set does not have.
    """
    places = {label: i for i, label in enumerate(labels)}
    hits = np.zeros((len(frame), len(labels)), dtype=bool)
    for row, text in enumerate(frame[LABEL]):
        for name in read_names(text):
            if name not in places:
                raise InputError(f"test row {row} has the label {name!r}; the data set has {', '.join(labels)}")
            hits[row, places[name]] = True
    return hits


def columns_of(probabilities: np.ndarray, labels: Sequence[str]) -> Columns:
    """Return the columns of a model's probabilities: the labels it gives, and ":<label>" for each.

    Args:
        probabilities: of each label by itself, shape (n, labels).
        labels: the label names.
    """
    given = [[labels[int(i)] for i in np.flatnonzero(row)] for row in probabilities >= THRESHOLD]
    answers: dict[str, Any] = {"": [names_text(names) for names in given]}
    return answers | {f":{label}": probabilities[:, i] for i, label in enumerate(labels)}


def _read(answer: pd.DataFrame, rows: pd.DataFrame, manifest: DatasetManifest, labels: Sequence[str]) -> Columns:
    probabilities = read_probabilities(answer, len(rows), manifest.labels, labels)
    if (probabilities < 0).any() or (probabilities > 1).any():
        raise InputError("a probability is not between 0 and 1")
    columns = columns_of(probabilities, manifest.labels)
    for row, (said, names) in enumerate(zip(answer["labels"], columns[""], strict=True)):
        if names_text(said) != names:
            raise InputError(f"to test row {row} it answers {list(said)}; of probability {THRESHOLD:g} are {names}")
    return columns


def _empty(manifest: DatasetManifest) -> Columns:
    return columns_of(np.zeros((0, len(manifest.labels))), manifest.labels)


def _scored(frame: pd.DataFrame, model: str, manifest: DatasetManifest) -> Scored:
    labels = manifest.labels
    probabilities = probability_columns(frame, model, labels)
    if not np.isfinite(probabilities).all() or (probabilities < 0).any() or (probabilities > 1).any():
        raise InputError(f"a probability of the {model} is not between 0 and 1")
    if list(frame[model]) != list(columns_of(probabilities, labels)[""]):
        raise InputError(f"the {model}'s answers are not its labels of probability {THRESHOLD:g} and more")
    return Scored((label_hits(frame, labels), probabilities), labels)


def _metrics(scored: Scored) -> dict[str, float]:
    return multi_label_metrics(*scored.arrays)


def _metric(name: str, scored: Scored) -> float:
    true, probabilities = scored.arrays
    if name != "auc_weighted":
        return multi_label_metric(name, true, probabilities)
    return auc_weighted_by_ranks(true, probabilities)


def _by_sums(name: str, scored: Scored) -> Summed | None:
    true, predicted = scored.arrays[0], scored.arrays[1] >= THRESHOLD
    both = true & predicted
    if name == "f1_micro":
        columns = np.column_stack([array.sum(axis=1) for array in (both, predicted, true)])
        return Summed(columns.astype(np.float64), lambda sums: share_f1(*sums))
    if name == "f1_macro":
        return Summed(np.hstack([both, predicted, true]).astype(np.float64), _mean_f1)
    if name == "f1_samples":
        sizes = predicted.sum(axis=1) + true.sum(axis=1)
        return mean_of(np.where(sizes, 2 * both.sum(axis=1) / np.maximum(sizes, 1), 1.0))
    if name == "accuracy":
        return mean_of((true == predicted).all(axis=1))
    if name == "hamming_loss":
        return mean_of((true != predicted).mean(axis=1))
    return None


def _mean_f1(sums: np.ndarray) -> float:
    right, answered, there = sums.reshape(3, -1)
    return float((2 * right / np.maximum(answered + there, 1)).mean())


def _right(name: str, scored: Scored) -> np.ndarray | None:
    true, probabilities = scored.arrays
    return (true == (probabilities >= THRESHOLD)).all(axis=1) if name == "accuracy" else None


def _per_label(scored: Scored) -> list[dict[str, Any]]:
    true, probabilities = scored.arrays
    return per_label_metrics(scored.names, true, probabilities >= THRESHOLD)


def _baseline(frame: pd.DataFrame, manifest: DatasetManifest) -> dict[str, float]:
    train = manifest.splits["train"]
    shares = np.array([train.labels.get(label, 0) / train.rows for label in manifest.labels])
    true = label_hits(frame, manifest.labels)
    return multi_label_metrics(true, np.tile(shares, (len(true), 1)))


def _label_slices(frame: pd.DataFrame, manifest: DatasetManifest) -> dict[str, np.ndarray]:
    hits = label_hits(frame, manifest.labels)
    masks = {f"label: {label}": hits[:, i] for i, label in enumerate(manifest.labels)}
    masks["no label"] = hits.sum(axis=1) == 0
    return {name: mask for name, mask in masks.items() if mask.any()}


def _unmeasured(frame: pd.DataFrame, manifest: DatasetManifest) -> tuple[str, ...]:
    counts = label_hits(frame, manifest.labels).sum(axis=0)
    return tuple(label for label, count in zip(manifest.labels, counts, strict=True) if not count)


MULTI_LABEL = AnswerKind(
    read=_read,
    empty=_empty,
    scored=_scored,
    metrics=_metrics,
    metric=_metric,
    by_sums=_by_sums,
    right=_right,
    per_label=_per_label,
    baseline=_baseline,
    baseline_name="train's frequencies",
    label_slices=_label_slices,
    unmeasured=_unmeasured,
)

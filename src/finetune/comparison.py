"""Challenger against champion on the same test rows: intervals and tests for paired answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import config_context

from finetune.data.manifest import LABEL, SLICE_PREFIX
from finetune.gate import Difference
from finetune.metrics.classification import classification_metric
from finetune.metrics.resampled import COUNTED_METRICS, auc_weighted_by_ranks, metric_of_counts

RESAMPLES = 1000
MOST_SLICE_VALUES = 20
SEED = 20240501
"""Fixed, so that the same answers always give the same verdict."""
_WHOLE_RANGE = (-1.0, 1.0)
"""Stands for an interval that cannot be estimated: nothing is known of the difference."""


@dataclass(frozen=True)
class Answers:
    """Two models' answers to the same rows."""

    labels: Sequence[str]
    """Label names; a label's id is its position."""
    true: np.ndarray
    """Label ids, shape (n,)."""
    challenger: np.ndarray
    """Probabilities, shape (n, labels)."""
    champion: np.ndarray
    """Likewise."""

    def difference(self, metric: str, rows: np.ndarray) -> float:
        """Return challenger minus champion on some of the rows; NaN where the metric is not defined on them."""
        new, old = (
            measured(metric, self.labels, self.true[rows], probabilities[rows])
            for probabilities in (self.challenger, self.champion)
        )
        return new - old


def measured(metric: str, labels: Sequence[str], true: np.ndarray, probabilities: np.ndarray) -> float:
    """Return a metric; NaN where it is not defined on these rows."""
    if metric == "auc_weighted":
        return auc_weighted_by_ranks(true, probabilities)
    if metric not in COUNTED_METRICS:
        return classification_metric(metric, labels, true, probabilities)
    pairs = true * len(labels) + probabilities.argmax(axis=1)
    return metric_of_counts(metric, np.bincount(pairs, minlength=len(labels) ** 2).reshape(len(labels), -1))


def compare(metric: str, answers: Answers, confidence: float) -> Difference:
    """Return the difference in a metric with the percentile interval of the paired bootstrap.

    Rows are drawn with replacement, and both models are measured on the rows drawn (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 13). Draws on which the metric is not defined, as an AUC without a row
    of some label, are left out; where they are more than one in ten, the interval is the whole range.

    Args:
        metric: a metric of which more is better.
        answers: of both models.
        confidence: of the interval, such as 0.95.
    """
    rows = np.arange(len(answers.true))
    value = answers.difference(metric, rows)
    low, high = _WHOLE_RANGE
    if len(rows) > 1:
        drawn = _accuracies(answers) if metric == "accuracy" else _resampled(metric, answers, rows)
        defined = drawn[np.isfinite(drawn)]
        if len(defined) >= 0.9 * RESAMPLES:
            low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Difference(metric, len(rows), value, float(low), float(high), confidence)


def _resampled(metric: str, answers: Answers, rows: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(SEED)
    with config_context(assume_finite=True, skip_parameter_validation=True):
        draws = (generator.choice(rows, len(rows)) for _ in range(RESAMPLES))
        return np.array([answers.difference(metric, drawn) for drawn in draws])


def _accuracies(answers: Answers) -> np.ndarray:
    """The same for accuracy, which is a mean over rows and so needs no loop: there may be many slices."""
    new, old = (p.argmax(axis=1) == answers.true for p in (answers.challenger, answers.champion))
    gains = new.astype(float) - old
    drawn = np.random.default_rng(SEED).integers(0, len(gains), (RESAMPLES, len(gains)))
    return gains[drawn].mean(axis=1)


def paired_test(metric: str, answers: Answers) -> tuple[str, float]:
    """Test whether the models differ.

    For accuracy, McNemar's exact test: of the rows that one model alone gets right, each model should have half. For
    other metrics, the paired permutation test: exchanging the two models' answers row by row should make no difference.

    Returns:
        The test's name and its two-sided p-value.
    """
    if metric == "accuracy":
        new, old = (p.argmax(axis=1) == answers.true for p in (answers.challenger, answers.champion))
        gained, lost = int((new & ~old).sum()), int((old & ~new).sum())
        return "McNemar's exact test", float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    rows = np.arange(len(answers.true))
    if len(rows) < 2:
        return "paired permutation test", 1.0
    # Rows are numbered twice, first with the challenger's answers, then with the champion's.
    true = np.concatenate([answers.true, answers.true])
    probabilities = np.concatenate([answers.challenger, answers.champion])

    def statistic(new: np.ndarray, old: np.ndarray) -> float:
        def measure(rows: np.ndarray) -> float:
            return measured(metric, answers.labels, true[rows], probabilities[rows])

        return measure(new) - measure(old)

    with config_context(assume_finite=True, skip_parameter_validation=True):
        tested = stats.permutation_test(
            (rows, rows + len(rows)),
            statistic,
            permutation_type="samples",
            n_resamples=RESAMPLES,
            vectorized=False,
            rng=np.random.default_rng(SEED),
        )
    return "paired permutation test", float(tested.pvalue)


def slices(frame: pd.DataFrame, text_columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Name parts of the test rows in which a loss could hide behind a gain elsewhere.

    Args:
        frame: the test rows.
        text_columns: those with texts.

    Returns:
        A mask of shape (n,) per slice: each label; the shortest, middle and longest third of the texts by characters
        (of all text columns together), thirds that are equal in length not being told apart; and the values of the
        source's columns that prep kept, the 20 most frequent of each and one slice for all others. No row, no slice.
    """
    if frame.empty:
        return {}
    parts = {f"label: {label}": (frame[LABEL] == label).to_numpy() for label in sorted(frame[LABEL].unique())}
    length = frame[list(text_columns)].apply(lambda column: column.str.len()).sum(axis=1).to_numpy()
    first, second = np.quantile(length, [1 / 3, 2 / 3])
    thirds = {"short": length <= first, "medium": (length > first) & (length <= second), "long": length > second}
    parts.update({f"length: {name}": mask for name, mask in thirds.items() if mask.any() and not mask.all()})
    for column in frame.columns:
        if column.startswith(SLICE_PREFIX):
            parts.update(_by_value(column.removeprefix(SLICE_PREFIX), frame[column]))
    return parts


def _by_value(name: str, values: pd.Series) -> dict[str, np.ndarray]:
    counts = values.value_counts()
    # The most rows first, and by name where they are equal: the same rows give the same slices.
    ordered = sorted(counts.index, key=lambda value: (-counts[value], value))
    parts = {f"{name}: {value}": (values == value).to_numpy() for value in ordered[:MOST_SLICE_VALUES]}
    if len(ordered) > MOST_SLICE_VALUES:
        parts[f"{name}: all other values"] = values.isin(ordered[MOST_SLICE_VALUES:]).to_numpy()
    return parts


def count_slices(split: pd.DataFrame, measured: np.ndarray, text_columns: Sequence[str]) -> dict[str, int]:
    """Return how many rows were measured of each slice; 0 for a slice of the whole split of which none is left.

    Args:
        split: the whole test split.
        measured: mask of its rows that are measured, shape (n,).
        text_columns: those with texts.
    """
    emptied = {name: 0 for name, mask in slices(split, text_columns).items() if not (mask & measured).any()}
    return emptied | {name: int(mask.sum()) for name, mask in slices(split[measured], text_columns).items()}


def compare_slices(masks: Mapping[str, np.ndarray], answers: Answers, confidence: float) -> dict[str, Difference]:
    """Return the difference in accuracy in each slice."""
    return {
        name: compare(
            "accuracy",
            Answers(answers.labels, answers.true[mask], answers.challenger[mask], answers.champion[mask]),
            confidence,
        )
        for name, mask in masks.items()
        if mask.any()
    }

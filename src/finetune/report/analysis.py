"""What the report's figures and tables show, worked out from answers to the test rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.metrics import auc, average_precision_score, confusion_matrix, precision_recall_curve, roc_curve

from finetune.comparison import slices
from finetune.metrics.classification import per_label_metrics
from finetune.report.facts import Answered, Facts, Trial
from finetune.verdict import CHALLENGER, CHAMPION

RELIABILITY_BINS = 10
_DRAWN_POINTS = 60
"""Of a curve; its area is taken from all of them."""
LEAST_TRIALS_FOR_IMPORTANCE = 8


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


@dataclass(frozen=True)
class LabelRow:
    """One label's figures; those of a model that was not measured, or of a label without rows, are None."""

    label: str
    rows: int
    challenger: Mapping[str, float | None]
    """precision, recall, f1."""
    champion: Mapping[str, float | None] | None
    roc_area: float | None
    average_precision: float | None


@dataclass(frozen=True)
class SliceRow:
    """Accuracy in a part of the test rows."""

    name: str
    rows: int
    challenger: float
    champion: float | None
    value: float
    """The difference to the champion; the challenger's accuracy where there is none."""
    low: float
    high: float
    judged: bool
    """There is a champion, and enough rows for the gate to judge by."""


@dataclass(frozen=True)
class ConfidentError:
    """A wrong answer."""

    row: int
    """Of predictions.parquet, counted from 0."""
    texts: Mapping[str, str]
    true: str
    predicted: str
    probability: float
    champion: str | None


def label_rows(facts: Facts) -> list[LabelRow]:
    """Return a row per label, in label order."""
    challenger, champion = facts.answered(CHALLENGER), facts.answered(CHAMPION)
    assert challenger is not None  # noqa: S101 - evaluate always measures it
    old = None if champion is None else per_label_metrics(facts.labels, facts.true, champion.predicted)
    roc, precision = roc_curves(facts, challenger), precision_recall_curves(facts, challenger)
    return [
        LabelRow(
            str(figures["label"]),
            int(figures["support"]),
            {name: figures[name] for name in ("precision", "recall", "f1")},
            None if old is None else {name: old[i][name] for name in ("precision", "recall", "f1")},
            roc[i].area if i in roc else None,
            precision[i].area if i in precision else None,
        )
        for i, figures in enumerate(facts.metrics["labels"])
    ]


def confusion(facts: Facts, model: Answered) -> np.ndarray:
    """Return counts, shape (labels, labels): rows are true labels, columns answers."""
    return confusion_matrix(facts.true, model.predicted, labels=np.arange(len(facts.labels)))


def roc_curves(facts: Facts, model: Answered) -> dict[int, Curve]:
    """Return the ROC curve of each label against the others, by label id; without labels that have no curve."""
    return {
        i: _roc(facts.labels[i], facts.true == i, model.probabilities[:, i])
        for i in range(len(facts.labels))
        if 0 < (facts.true == i).sum() < len(facts.true)
    }


def precision_recall_curves(facts: Facts, model: Answered) -> dict[int, Curve]:
    """Return the precision-recall curve of each label likewise; its area is the average precision."""
    return {
        i: _precision_recall(facts.labels[i], facts.true == i, model.probabilities[:, i])
        for i in range(len(facts.labels))
        if (facts.true == i).any()
    }


def micro_curves(facts: Facts, model: Answered) -> tuple[Curve, Curve]:
    """Return the ROC and the precision-recall curve over all (row, label) pairs alike: the micro average."""
    hits = (facts.true[:, None] == np.arange(len(facts.labels))).ravel()
    probabilities = model.probabilities.ravel()
    return _roc("micro", hits, probabilities), _precision_recall("micro", hits, probabilities)


def _roc(name: str, hits: np.ndarray, probabilities: np.ndarray) -> Curve:
    false_positive, true_positive, _ = roc_curve(hits, probabilities)
    drawn = _drawn(len(false_positive))
    return Curve(name, false_positive[drawn], true_positive[drawn], float(auc(false_positive, true_positive)))


def _precision_recall(name: str, hits: np.ndarray, probabilities: np.ndarray) -> Curve:
    precision, recall, _ = precision_recall_curve(hits, probabilities)
    drawn = _drawn(len(recall))
    area = float(average_precision_score(hits, probabilities))
    return Curve(name, recall[drawn], precision[drawn], area)


def _drawn(points: int) -> np.ndarray:
    return np.unique(np.linspace(0, points - 1, _DRAWN_POINTS).round().astype(int))


def reliability(facts: Facts, model: Answered) -> Reliability | None:
    """Return how well a model's probability of its own answers fits how often they are right, in ten equal bins.

    None without a row.
    """
    if not len(facts.true):
        return None
    right = model.predicted == facts.true
    bins = np.minimum((model.confidence * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    held = [bins == number for number in range(RELIABILITY_BINS) if (bins == number).any()]
    confidence = np.array([model.confidence[mask].mean() for mask in held])
    accuracy = np.array([right[mask].mean() for mask in held])
    rows = np.array([mask.sum() for mask in held])
    error = float((np.abs(accuracy - confidence) * rows).sum() / rows.sum())
    return Reliability(confidence, accuracy, rows, error)


def slice_rows(facts: Facts) -> list[SliceRow]:
    """Return the slices, worst first.

    With a champion these are the differences that metrics.json holds. Without one it is the challenger's accuracy with
    Wilson's interval (Journal of the American Statistical Association 22, 1927).
    """
    challenger, champion = facts.answered(CHALLENGER), facts.answered(CHAMPION)
    assert challenger is not None  # noqa: S101 - evaluate always measures it
    policy, comparison = facts.verdict["policy"], facts.metrics["comparison"]
    right = challenger.predicted == facts.true
    found = []
    for name, mask in slices(facts.predictions, facts.texts).items():
        rows, share = int(mask.sum()), float(right[mask].mean())
        if comparison is None or champion is None:
            interval = stats.binomtest(int(right[mask].sum()), rows).proportion_ci(policy["confidence"], "wilson")
            found.append(SliceRow(name, rows, share, None, share, float(interval.low), float(interval.high), False))
        elif name in comparison["slices"]:
            part = comparison["slices"][name]
            old = float((champion.predicted == facts.true)[mask].mean())
            judged = rows >= policy["slice_minimum_rows"]
            found.append(SliceRow(name, rows, share, old, part["value"], part["low"], part["high"], judged))
    return sorted(found, key=lambda part: part.low)


def confident_errors(facts: Facts, most: int) -> list[ConfidentError]:
    """Return the wrong answers that the challenger was surest of."""
    challenger = facts.answered(CHALLENGER)
    assert challenger is not None  # noqa: S101 - evaluate always measures it
    wrong = np.flatnonzero(challenger.predicted != facts.true)
    surest = wrong[np.argsort(-challenger.confidence[wrong], kind="stable")][:most]
    frame = facts.predictions
    return [
        ConfidentError(
            int(row),
            {column: str(frame[column].iloc[row]) for column in facts.texts},
            str(facts.labels[facts.true[row]]),
            str(frame[CHALLENGER].iloc[row]),
            float(challenger.confidence[row]),
            str(frame[CHAMPION].iloc[row]) if CHAMPION in frame else None,
        )
        for row in surest
    ]


def frequent_confusions(facts: Facts, model: Answered, most: int) -> list[tuple[str, str, int]]:
    """Return (true label, answer, rows) of the most frequent mistakes."""
    counts = confusion(facts, model)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    places = zip(*np.unravel_index(order, counts.shape), strict=True)
    return [(facts.labels[i], facts.labels[j], int(counts[i, j])) for i, j in places if counts[i, j]]


def varied(trials: Sequence[Trial]) -> list[str]:
    """Name the parameters that differ between trials."""
    names = sorted({name for trial in trials for name in trial.parameters})
    return [name for name in names if len({trial.parameters.get(name) for trial in trials}) > 1]


def importance(trials: Sequence[Trial]) -> dict[str, float] | None:
    """Estimate how much of the score hangs on each parameter that was varied.

    A forest of regression trees learns the score from the parameters; the importance of one is how much worse the
    forest predicts when its values are shuffled (Breiman 2001, Random Forests). With few trials it is a hint.

    Returns:
        Parameter → share of the sum, largest first; None with fewer than `LEAST_TRIALS_FOR_IMPORTANCE` trials that
        ended on their own, or when nothing was varied or found to matter.
    """
    ended = [trial for trial in trials if trial.status == "FINISHED" and trial.best is not None]
    names = varied(ended)
    if len(ended) < LEAST_TRIALS_FOR_IMPORTANCE or not names:
        return None
    inputs = np.column_stack([_numbers([trial.parameters.get(name, "") for trial in ended]) for name in names])
    scores = np.array([trial.best for trial in ended])
    forest = RandomForestRegressor(n_estimators=100, random_state=0).fit(inputs, scores)
    found = permutation_importance(forest, inputs, scores, n_repeats=20, random_state=0).importances_mean.clip(min=0)
    if found.sum() <= 0:
        return None
    order = np.argsort(-found, kind="stable")
    return {names[i]: float(found[i] / found.sum()) for i in order}


def number(text: Any) -> float | None:
    """Return a parameter's value as a finite number; None when it is none."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def _numbers(values: Sequence[str]) -> np.ndarray:
    """Return values as numbers: their own, or their place in the alphabet."""
    found = [number(value) for value in values]
    return np.array(found if None not in found else pd.Categorical(values).codes, dtype=np.float64)

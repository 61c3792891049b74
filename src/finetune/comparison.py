"""Challenger against champion on the same test rows: intervals and tests for paired answers."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn import config_context

from finetune.answers import AnswerKind, Scored
from finetune.gate import Difference
from finetune.metrics.known import UNBOUNDED

RESAMPLES = 1000
SEED = 20240501
"""Fixed, so that the same answers always give the same verdict."""
_WHOLE_RANGE = (-1.0, 1.0)
"""Stands for an interval that cannot be estimated: nothing is known of the difference."""
_UNBOUNDED_RANGE = (-sys.float_info.max, sys.float_info.max)
"""The same in a metric that can have any size."""


@dataclass(frozen=True)
class Answers:
    """Two models' answers to the same rows."""

    kind: AnswerKind
    challenger: Scored
    champion: Scored

    def difference(self, metric: str) -> float:
        """Return challenger minus champion; NaN where the metric is not defined."""
        new, old = (self.kind.metric(metric, scored) for scored in (self.challenger, self.champion))
        return new - old

    def take(self, rows: np.ndarray) -> "Answers":
        """Return the answers to some of the rows, by number or by mask."""
        return Answers(self.kind, self.challenger.take(rows), self.champion.take(rows))


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
    rows = len(answers.challenger)
    new, old = (_resampled(metric, answers.kind, scored) for scored in (answers.challenger, answers.champion))
    low, high = _interval(metric, new - old, confidence)
    return Difference(metric, rows, answers.difference(metric), low, high, confidence)


def interval(metric: str, kind: AnswerKind, scored: Scored, confidence: float) -> tuple[float, float]:
    """Return the percentile interval of one model's metric, by the same bootstrap."""
    return _interval(metric, _resampled(metric, kind, scored), confidence)


def is_known(low: float, high: float) -> bool:
    """Tell whether an interval was estimated, and does not stand for any size."""
    return (low, high) != _UNBOUNDED_RANGE


def _resampled(metric: str, kind: AnswerKind, scored: Scored) -> np.ndarray:
    """Return the metric on rows drawn anew, shape (`RESAMPLES`,): for the same number of rows the same draws."""
    if len(scored) < 2:
        return np.full(RESAMPLES, np.nan)
    measure = _on_rows(metric, kind, scored)
    with config_context(assume_finite=True, skip_parameter_validation=True):
        return np.array([measure(drawn) for drawn in _draws(len(scored))])


def _draws(rows: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(SEED)
    return (generator.choice(rows, rows) for _ in range(RESAMPLES))


def _interval(metric: str, drawn: np.ndarray, confidence: float) -> tuple[float, float]:
    defined = drawn[np.isfinite(drawn)]
    if len(defined) >= 0.9 * RESAMPLES:
        low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)
    return _UNBOUNDED_RANGE if metric in UNBOUNDED else _WHOLE_RANGE


def _on_rows(metric: str, kind: AnswerKind, scored: Scored) -> Callable[[np.ndarray], float]:
    """Return what measures on rows by their numbers, of which some may be there several times."""
    summed = kind.by_sums(metric, scored)
    if summed is None:
        return lambda rows: kind.metric(metric, scored.take(rows))
    # How often each row is there times what it adds: one product instead of a copy of the rows.
    return lambda rows: summed.of(np.bincount(rows, minlength=len(scored)).astype(np.float64) @ summed.rows)


def paired_test(metric: str, answers: Answers) -> tuple[str, float]:
    """Test whether the models differ.

    Where the metric is a share of right rows, McNemar's exact test: of the rows that one model alone gets right, each
    model should have half. For other metrics, the paired permutation test: exchanging the two models' answers row by
    row should make no difference.

    Returns:
        The test's name and its two-sided p-value.
    """
    new, old = (answers.kind.right(metric, scored) for scored in (answers.challenger, answers.champion))
    if new is not None and old is not None:
        gained, lost = int((new & ~old).sum()), int((old & ~new).sum())
        return "McNemar's exact test", float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    rows = np.arange(len(answers.challenger))
    if len(rows) < 2:
        return "paired permutation test", 1.0
    # Rows are numbered twice, first with the challenger's answers, then with the champion's.
    measure = _on_rows(metric, answers.kind, answers.challenger.above(answers.champion))

    with config_context(assume_finite=True, skip_parameter_validation=True):
        tested = stats.permutation_test(
            (rows, rows + len(rows)),
            lambda new, old: measure(new) - measure(old),
            permutation_type="samples",
            n_resamples=RESAMPLES,
            vectorized=False,
            rng=np.random.default_rng(SEED),
        )
    return "paired permutation test", float(tested.pvalue)


def compare_slices(
    metric: str, masks: Mapping[str, np.ndarray], answers: Answers, confidence: float
) -> dict[str, Difference]:
    """Return the difference in a metric in each slice."""
    return {name: compare(metric, answers.take(mask), confidence) for name, mask in masks.items() if mask.any()}

"""A trial's best value, and the best trial of a sweep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from amlocal.run.records import COMPLETED, TrialRecord


def best_value(goal: str, curve: Sequence[float]) -> float | None:
    """Give the best finite value of a metric's curve; None when it has none.

    Args:
        goal: maximize or minimize.
        curve: the metric's values.
    """
    values = [value for value in curve if math.isfinite(value)]
    return max(values, key=lambda value: _merit(goal, value), default=None)


def best_trial(goal: str, trials: Iterable[TrialRecord]) -> TrialRecord | None:
    """Give the completed trial with the best value, of equal ones the first; None when none has a value."""
    scored = [(trial.best, trial) for trial in trials if trial.status == COMPLETED and trial.best is not None]
    best = max(scored, key=lambda pair: (_merit(goal, pair[0]), -pair[1].number), default=None)
    return None if best is None else best[1]


def _merit(goal: str, value: float) -> float:
    return value if goal == "maximize" else -value

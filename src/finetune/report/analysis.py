"""What the report shows of any problem: slices of the test rows, and the sweep."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from finetune.answers.slices import slices
from finetune.comparison import interval
from finetune.metrics.known import slice_metric
from finetune.report.facts import Facts
from finetune.report.markdown import figure, interval_text
from finetune.report.trials import Trial
from finetune.verdict import CHALLENGER, CHAMPION

LEAST_TRIALS_FOR_IMPORTANCE = 8


@dataclass(frozen=True)
class SliceRow:
    """The slice metric in a part of the test rows."""

    name: str
    rows: int
    challenger: float
    champion: float | None
    value: float
    """The difference to the champion; the challenger's own figure where there is none."""
    low: float
    high: float
    judged: bool
    """There is a champion, and enough rows for the gate to judge by."""


def slice_rows(facts: Facts) -> list[SliceRow]:
    """Return the slices, worst first.

    With a champion these are the differences that metrics.json holds. Without one it is the challenger's figure; with
    Wilson's interval (Journal of the American Statistical Association 22, 1927) where it is a share of right rows, else
    with the bootstrap's.
    """
    policy, comparison, kind = facts.verdict["policy"], facts.metrics["comparison"], facts.kind
    metric, new, old = slice_metric(facts.task), facts.scored[CHALLENGER], facts.scored.get(CHAMPION)
    found = []
    for name, mask in slices(facts.predictions, facts.manifest).items():
        rows, part = int(mask.sum()), new.take(mask)
        figure = kind.metric(metric, part)
        if comparison is None or old is None:
            right = kind.right(metric, part)
            if right is None:
                low, high = interval(metric, kind, part, policy["confidence"])
            else:
                low, high = stats.binomtest(int(right.sum()), rows).proportion_ci(policy["confidence"], "wilson")
            found.append(SliceRow(name, rows, figure, None, figure, float(low), float(high), False))
        elif name in comparison["slices"]:
            compared = comparison["slices"][name]
            judged = rows >= policy["slice_minimum_rows"]
            bounds = compared["value"], compared["low"], compared["high"]
            found.append(SliceRow(name, rows, figure, kind.metric(metric, old.take(mask)), *bounds, judged))
    return sorted(found, key=lambda part: part.low)


def primary_with_interval(facts: Facts) -> str:
    """Say how sure the challenger's primary metric is; empty where a champion is compared, or nothing was measured."""
    policy, scored = facts.verdict["policy"], facts.scored[CHALLENGER]
    metric, confidence = policy["primary_metric"], policy["confidence"]
    value = facts.metrics["metrics"][CHALLENGER].get(metric)
    if facts.metrics["comparison"] is not None or value is None or not len(scored):
        return ""
    bounds = interval_text(*interval(metric, facts.kind, scored, confidence), figure)
    return f"{metric}: {value:.4f}, {confidence * 100:g} % interval of the bootstrap {bounds}."


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

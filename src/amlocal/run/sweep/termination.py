"""Early termination: which trial has fallen behind, from the curves of the primary metric alone.

One report of the primary metric is one interval. The rules are those of Azure ML's documentation ("Early
termination policy" in "Hyperparameter tuning a model"); where it leaves something open, the comment says what
is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from amlocal.reader.search import EarlyTermination


def due(policy: EarlyTermination, interval: int) -> bool:
    """Tell whether a policy is applied at an interval, counted from 1.

    It is applied at every multiple of ``evaluation_interval`` that is not below ``delay_evaluation``.
    """
    return interval % policy.evaluation_interval == 0 and interval >= policy.delay_evaluation


def verdict(
    policy: EarlyTermination, goal: str, curves: Mapping[int, Sequence[float]], trial: int, interval: int
) -> str | None:
    """Decide about one trial at one interval.

    Args:
        policy: the policy; whether it is due is the caller's question.
        goal: maximize or minimize.
        curves: the metric's values so far, of every trial.
        trial: the trial in question; it has reached the interval.
        interval: how many reports to look at.

    Returns:
        Why it should end, or None when it may go on.
    """
    sign = 1.0 if goal == "maximize" else -1.0
    bests = {number: max(sign * value for value in curve[:interval]) for number, curve in curves.items() if curve}
    own = bests[trial]
    if policy.type == "bandit":
        return _bandit(policy, sign, own, max(bests.values()), interval)
    # The other two compare with the trials that have got as far.
    peers = [number for number, curve in curves.items() if len(curve) >= interval]
    if policy.type == "median_stopping":
        middle = median(fmean(sign * value for value in curves[number][:interval]) for number in peers)
        if own < middle:
            return (
                f"median stopping at interval {interval}: best {sign * own:.6g} is worse than "
                f"the median of running averages {sign * middle:.6g}"
            )
        return None
    return _truncation(policy, bests, peers, trial, interval)


def _bandit(policy: EarlyTermination, sign: float, own: float, best: float, interval: int) -> str | None:
    if policy.slack_factor is not None:
        # The documentation's best / (1 + slack), or best * (1 + slack) to minimise, written so that the
        # allowed value is below the best one for metrics of either sign.
        share = policy.slack_factor if sign < 0 else policy.slack_factor / (1 + policy.slack_factor)
        allowed = best - abs(best) * share
        slack = f"slack factor {policy.slack_factor:g}"
    else:
        allowed = best - (policy.slack_amount or 0.0)
        slack = f"slack amount {policy.slack_amount:g}"
    if own >= allowed:
        return None
    return (
        f"bandit at interval {interval}: best {sign * own:.6g} is beyond {sign * allowed:.6g}, "
        f"which {slack} allows from {sign * best:.6g}"
    )


def _truncation(
    policy: EarlyTermination, bests: Mapping[int, float], peers: Sequence[int], trial: int, interval: int
) -> str | None:
    percentage = policy.truncation_percentage or 0
    count = math.floor(len(peers) * percentage / 100)
    # Of equal trials the later one is cut.
    ranked = sorted(peers, key=lambda number: (bests[number], -number))
    if trial not in ranked[:count]:
        return None
    return f"truncation at interval {interval}: among the lowest {percentage} % of {len(peers)} trials"

"""Applies an early termination policy to the trials of one sweep as they report."""

from __future__ import annotations

import math
from collections.abc import Mapping

from amlocal.reader.search import EarlyTermination
from amlocal.run.records import TrialRecord
from amlocal.run.sweep.termination import due, verdict


class Judge:
    """Looks at each report of each trial once.

    Args:
        policy: the policy.
        goal: maximize or minimize.
    """

    def __init__(self, policy: EarlyTermination, goal: str) -> None:
        self._policy = policy
        self._goal = goal
        self._judged: dict[int, int] = {}

    def reason_to_end(self, trials: Mapping[int, TrialRecord], number: int) -> str | None:
        """Judge the reports of a trial that are new since the last time.

        Args:
            trials: all trials so far.
            number: the running trial in question.

        Returns:
            Why it should end, or None when it may go on.
        """
        curves = {other.number: self._finite(other.curve) for other in trials.values()}
        for interval in range(self._judged.get(number, 0) + 1, len(curves[number]) + 1):
            self._judged[number] = interval
            if due(self._policy, interval):
                reason = verdict(self._policy, self._goal, curves, number, interval)
                if reason is not None:
                    return reason
        return None

    def _finite(self, curve: tuple[float, ...]) -> list[float]:
        """What is no finite number is worse than any."""
        worst = -math.inf if self._goal == "maximize" else math.inf
        return [value if math.isfinite(value) else worst for value in curve]

"""Noticing that training has gone wrong for good."""

import math
from collections import deque

from finetune.errors import InputError

WINDOW = 20
"""Steps whose losses are averaged."""


class DivergenceWatch:
    """Follows the loss; stops a run whose loss is no number, or far above where it began."""

    def __init__(self, factor: float, learning_rate: float, first: list[float]) -> None:
        """Watch a run.

        Args:
            factor: how much higher than at first a loss may be.
            learning_rate: for the advice.
            first: the run's first losses, up to `WINDOW`; added to.
        """
        self._factor, self._learning_rate = factor, learning_rate
        self._first = first
        self._recent: deque[float] = deque(maxlen=WINDOW)

    def see(self, loss: float, step: int) -> None:
        """Look at a step's loss.

        Raises:
            InputError: training diverged.
        """
        advice = f"lower --learning_rate (now {self._learning_rate:g}) or use --precision fp32"
        if not math.isfinite(loss):
            raise InputError(f"training diverged: the loss is {loss} at step {step}; {advice}")
        self._recent.append(loss)
        if len(self._first) < WINDOW:
            self._first.append(loss)
            return
        began, now = sum(self._first) / WINDOW, sum(self._recent) / WINDOW
        if len(self._recent) == WINDOW and now > self._factor * max(began, 0.1):
            raise InputError(
                f"training diverged: the loss of the last {WINDOW} steps before step {step} is {now:.4g}, that of the "
                f"first {WINDOW} was {began:.4g} (--divergence_factor {self._factor:g}); {advice}"
            )

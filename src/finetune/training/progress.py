"""What is shown and logged of the steps: figures of each, a line every few seconds."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

LOGGER = logging.getLogger(__name__)

_LINE_SECONDS = 10.0


@dataclass
class Progress:
    """Counts what steps did, and says how fast and how much longer."""

    steps: int
    first_step: int
    clock: Callable[[], float] = time.perf_counter
    rows: int = 0
    _started: float = field(default=0.0, init=False)
    _shown: float = field(default=0.0, init=False)
    _last: float = field(default=0.0, init=False)
    _apart: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._started = self._shown = self._last = self.clock()

    @property
    def seconds(self) -> float:
        """Seconds in training steps, without what `leave_out` was told of."""
        return self.clock() - self._started - self._apart

    def leave_out(self, seconds: float) -> None:
        """Leave out seconds of validation or saving, which are no part of the rate."""
        self._apart += seconds
        self._last += seconds

    def figures(self, rows: int, tokens: int, computed: int) -> dict[str, float]:
        """Return a step's rates and the share of what was computed that is padding."""
        now = self.clock()
        took, self._last = max(now - self._last, 1e-9), now
        self.rows += rows
        return {
            "samples_per_second": rows / took,
            "tokens_per_second": tokens / took,
            "padding_share": 1.0 - tokens / computed if computed else 0.0,
        }

    def show(self, step: int, figures: dict[str, float]) -> None:
        """Log a line, if the last one was some seconds ago or this step is the last."""
        now = self.clock()
        if now - self._shown < _LINE_SECONDS and step != self.steps:
            return
        self._shown = now
        done = step - self.first_step
        left = self.seconds / done * (self.steps - step)
        LOGGER.info(
            "step %d/%d (%.0f %%) loss %.4f, learning rate %.3g, gradient norm %.3g, %.0f rows/s, padding %.1f %%, "
            "%s left",
            step,
            self.steps,
            100 * step / self.steps,
            figures["loss"],
            figures["learning_rate"],
            figures["grad_norm"],
            self.rows / max(self.seconds, 1e-9),
            100 * figures["padding_share"],
            _duration(left),
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

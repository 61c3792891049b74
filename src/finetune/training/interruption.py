"""SIGTERM as a request: finish the step, save, end. Azure sends it before it takes a low-priority machine away."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM
"""What a shell shows for a process that SIGTERM ended."""


class InterruptedTrainingError(Exception):
    """Training was asked to end, and did so in good order."""


class Interruption:
    """Whether the end was asked for."""

    def __init__(self) -> None:
        self.requested = False

    def request(self, number: int, frame: FrameType | None) -> None:
        """Note the signal; the loop looks at it between steps."""
        self.requested = True


@contextmanager
def terminable() -> Iterator[Interruption]:
    """Take SIGTERM as a request for as long as the block runs; only the main thread can."""
    interruption = Interruption()
    try:
        before = signal.signal(signal.SIGTERM, interruption.request)
    except ValueError:  # not the main thread: signals are somebody else's
        yield interruption
        return
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGTERM, before)

"""The sweep that a challenger comes from, as its MLflow runs tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Trial:
    """One trial of the sweep, as its MLflow run tells."""

    name: str
    status: str
    """MLflow's: FINISHED, FAILED, KILLED, RUNNING."""
    parameters: Mapping[str, str]
    scores: tuple[tuple[int, float], ...]
    """(milliseconds since 1970, score) in the order in which they were logged."""
    run_id: str = ""
    seconds: float | None = None
    """From start to end; None when it has not ended."""
    machine: str | None = None
    """What it ran on, as a table of prices names it."""
    validation_loss: float | None = None
    """The lowest; None when none was logged."""

    @property
    def ended_early(self) -> bool:
        """True when it was stopped from outside: by the sweep's early termination, or by its time limit."""
        return self.status == "KILLED"

    @property
    def best(self) -> float | None:
        """The highest score; None when none was logged."""
        return max((score for _, score in self.scores), default=None)


@dataclass(frozen=True)
class Sweep:
    """The trials that the challenger competed with."""

    trials: tuple[Trial, ...]
    chosen: str | None = None
    """Name of the trial that is the challenger; None when its run is not known."""
    losses: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    """(step, value) of "loss" and "validation/loss" of the chosen trial."""
    hardware: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    """(seconds since the start, value) of what the chosen trial's hardware did, by MLflow's name without "system/"."""

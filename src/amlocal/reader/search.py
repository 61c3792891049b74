"""What a sweep says, as data: the search space and how to go through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from amlocal.reader.source import Place

Literal: TypeAlias = str | int | float | bool
"""A plain value, as YAML states it and a command gets it."""


@dataclass(frozen=True)
class Distribution:
    """The values a hyperparameter may take.

    Attributes:
        type: choice, randint, (q)uniform, (q)loguniform, (q)normal or (q)lognormal.
        values: for choice.
        upper: for randint, exclusive.
        minimum: lower bound (of the exponent, for loguniform); the uniform ones.
        maximum: upper bound likewise.
        mu: mean (of the exponent, for lognormal); the normal ones.
        sigma: standard deviation likewise.
        q: step that samples are rounded to; the q ones.
    """

    type: str
    place: Place
    values: tuple[Literal, ...] = ()
    upper: int = 0
    minimum: float = 0.0
    maximum: float = 0.0
    mu: float = 0.0
    sigma: float = 0.0
    q: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether every value is a whole number; of a choice each value is checked by itself."""
        return self.type in {"choice", "randint"} or (self.q > 0 and float(self.q).is_integer())

    @property
    def ends(self) -> tuple[float, ...]:
        """Smallest and largest value, where the definition states them."""
        if self.type == "randint":
            return (0, self.upper - 1)
        if self.type == "quniform":
            # Without the digits that binary fractions add: 0.3, not 0.30000000000000004.
            return tuple(float(f"{round(end / self.q) * self.q:.12g}") for end in (self.minimum, self.maximum))
        return (self.minimum, self.maximum) if self.type == "uniform" else ()


@dataclass(frozen=True)
class Sampling:
    """How hyperparameters are drawn.

    Attributes:
        type: random, grid or bayesian; automl for the search of AutoML.
        rule: random or sobol, for random.
        seed: None for one derived from the sweep's definition.
        logbase: base of the log distributions' exponent; None for e.
    """

    type: str
    rule: str = "random"
    seed: int | None = None
    logbase: float | None = None


@dataclass(frozen=True)
class EarlyTermination:
    """A policy that ends trials that fall behind.

    Attributes:
        type: bandit, median_stopping or truncation_selection.
        evaluation_interval: applied every so many reports of the primary metric.
        delay_evaluation: not applied before so many reports.
    """

    type: str
    evaluation_interval: int = 1
    delay_evaluation: int = 0
    slack_factor: float | None = None
    slack_amount: float | None = None
    truncation_percentage: int | None = None


@dataclass(frozen=True)
class SweepLimits:
    """How many trials, and how long; times in seconds, None for no limit."""

    max_total_trials: int
    max_concurrent_trials: int
    timeout: int | None
    trial_timeout: int | None


@dataclass(frozen=True)
class Branch:
    """A part of a search space: what is searched with one of several learners.

    Attributes:
        start: its first trial.
    """

    search_space: Mapping[str, Distribution]
    start: Mapping[str, Literal]


@dataclass(frozen=True)
class SweepSpec:
    """Everything a sweep adds to the command it runs many times.

    Attributes:
        branches: of AutoML, by learner: which hyperparameters go together. Else there is none.
        keeps_best: when its time is up, the best trial until then counts, and not none.
    """

    place: Place
    search_space: Mapping[str, Distribution]
    sampling: Sampling
    primary_metric: str
    goal: str
    early_termination: EarlyTermination | None
    limits: SweepLimits
    branches: Mapping[str, Branch] = field(default_factory=dict)
    keeps_best: bool = False

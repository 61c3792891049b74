"""Which hyperparameters to try next: random, sobol, grid and bayesian, and AutoML's search."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from amlocal.reader.search import Distribution, Literal, SweepSpec
from amlocal.run.sweep.distributions import size, value_at

_REDRAWS = 1000
"""How often a set that was tried already is drawn again, in a space of few values."""
_SOBOL_BLOCK = 64
"""Points made at a time; a power of two, as the sequence is even over such blocks."""


class Sampler(Protocol):
    """Proposes trials one after the other.

    Attributes:
        window: how many trials may run before their results must be told; None for any number.
    """

    window: int | None

    def propose(self) -> dict[str, Literal] | None:
        """Give the next trial's hyperparameters; None when there is nothing left to try."""
        ...

    def tell(self, number: int, score: float | None) -> None:
        """Report a trial's best score, in the order of proposal; None when it has none."""
        ...


def seed_of(spec: SweepSpec) -> int:
    """Give the seed: the author's, else one that only the search space and sampling decide.

    So the same file gives the same trials, today and on another machine.
    """
    if spec.sampling.seed is not None:
        return spec.sampling.seed % 2**32
    space = {
        name: {key: value for key, value in asdict(distribution).items() if key != "place"}
        for name, distribution in spec.search_space.items()
    }
    text = json.dumps([space, asdict(spec.sampling)], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def make_sampler(spec: SweepSpec, concurrent: int) -> Sampler:
    """Make the sampler a sweep asks for.

    Args:
        spec: the sweep.
        concurrent: how many trials run at a time.
    """
    if spec.branches:
        from amlocal.run.automl.search import BlendSearch  # FLAML's imports take as long as a short trial

        return BlendSearch(spec, concurrent)
    if spec.sampling.type == "grid":
        return _Sequence(grid(spec.search_space))
    if spec.sampling.type == "bayesian":
        return _Bayesian(spec, seed_of(spec), concurrent)
    draw = sobol_points if spec.sampling.rule == "sobol" else random_points
    return _Sequence(independent(spec, draw))


class _Sequence:
    """Trials that do not depend on results."""

    window: int | None = None

    def __init__(self, trials: Iterator[dict[str, Literal]]) -> None:
        self._trials = trials

    def propose(self) -> dict[str, Literal] | None:
        return next(self._trials, None)

    def tell(self, number: int, score: float | None) -> None:
        """Nothing to learn."""


def grid(space: Mapping[str, Distribution]) -> Iterator[dict[str, Literal]]:
    """Give every combination of choices, the last hyperparameter changing fastest."""
    for values in itertools.product(*(distribution.values for distribution in space.values())):
        yield dict(zip(space, values, strict=True))


def random_points(dimensions: int, seed: int) -> Iterator[tuple[float, ...]]:
    """Give independent uniform points of the unit cube, from Optuna's random sampler."""
    optuna = _optuna()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    cube = {str(i): optuna.distributions.FloatDistribution(0.0, 1.0) for i in range(dimensions)}
    while True:
        point = study.ask(fixed_distributions=cube).params
        yield tuple(point[name] for name in cube)


def sobol_points(dimensions: int, seed: int) -> Iterator[tuple[float, ...]]:
    """Give a scrambled Sobol sequence: points that fill the unit cube evenly.

    Owen scrambling as in scipy.stats.qmc; the first points of a sequence are as even as any power of two.
    """
    from scipy.stats import qmc  # half a second of imports that most sweeps do not need

    engine = qmc.Sobol(dimensions, scramble=True, rng=seed)
    while True:
        yield from (tuple(float(u) for u in point) for point in engine.random(_SOBOL_BLOCK))


def independent(
    spec: SweepSpec, points: Callable[[int, int], Iterator[tuple[float, ...]]]
) -> Iterator[dict[str, Literal]]:
    """Turn points into hyperparameters.

    In a space of a limited number of combinations none is given twice, and the sequence ends with them: a
    sweep may run fewer trials than its maximum, as Azure ML documents for HyperDrive.
    """
    space, logbase = spec.search_space, spec.sampling.logbase
    sizes = [size(distribution) for distribution in space.values()]
    total = None if None in sizes else math.prod(count for count in sizes if count is not None)
    source = points(len(space), seed_of(spec))
    seen: set[tuple[Literal, ...]] = set()
    while total is None or len(seen) < total:
        for _ in range(_REDRAWS):
            point = next(source)
            pairs = zip(space.items(), point, strict=True)
            trial = {name: value_at(distribution, u, logbase) for (name, distribution), u in pairs}
            if total is None or tuple(trial.values()) not in seen:
                break
        else:
            return
        seen.add(tuple(trial.values()))
        yield trial


def _optuna() -> Any:
    """Import Optuna, which takes as long as a short trial's start: grid and Sobol do without."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class _Bayesian:
    """Tree-structured Parzen estimator (Bergstra et al., 2011), as Optuna implements it.

    A trial is proposed from the results of all trials but the last ``concurrent`` ones, told in order. So the
    proposals do not depend on which of several concurrent trials happens to finish first.
    """

    def __init__(self, spec: SweepSpec, seed: int, concurrent: int) -> None:
        optuna = _optuna()
        # Not by the number of trials: allowing more of them must not change the first ones.
        random_trials = max(4, 2 * len(spec.search_space))
        self.window: int | None = concurrent
        self._spec = spec
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=random_trials)
        self._study: Any = optuna.create_study(sampler=sampler, direction=spec.goal)
        self._trials: list[Any] = []
        self._failed = optuna.trial.TrialState.FAIL
        self._unit = optuna.distributions.FloatDistribution(0.0, 1.0)
        self._categorical = optuna.distributions.CategoricalDistribution

    def propose(self) -> dict[str, Literal] | None:
        space = self._spec.search_space
        fixed = {
            name: self._categorical(tuple(range(len(distribution.values))))
            if distribution.type == "choice"
            else self._unit
            for name, distribution in space.items()
        }
        trial = self._study.ask(fixed_distributions=fixed)
        self._trials.append(trial)
        return {
            name: distribution.values[trial.params[name]]
            if distribution.type == "choice"
            else value_at(distribution, trial.params[name], self._spec.sampling.logbase)
            for name, distribution in space.items()
        }

    def tell(self, number: int, score: float | None) -> None:
        if score is None:
            self._study.tell(self._trials[number], state=self._failed)
        else:
            self._study.tell(self._trials[number], score)

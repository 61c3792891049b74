"""AutoML's search: which learner to try next, with which hyperparameters."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping
from typing import Any

from amlocal.reader.automl import LEARNER
from amlocal.reader.search import Distribution, Literal, SweepSpec

SEED = 42
"""AutoML's YAML has no seed: the same node tries the same trials everywhere."""
_REDRAWS = 100
"""How often it is asked again, in a space of few values."""
_POINT = "point"
_SCORE = "score"


class BlendSearch:
    """FLAML's BlendSearch (Wang et al., Economic Hyperparameter Optimization with Blended Search Strategy, ICLR 2021).

    It goes between a global search, Optuna's tree-structured Parzen estimator over all learners, and local ones that
    set out from what was good. The first trials are each learner's start.

    As with Bayesian sampling, a trial is proposed from the results of all trials but the last ``concurrent`` ones, told
    in order, so that the proposals do not depend on which of them happens to finish first.
    """

    def __init__(self, spec: SweepSpec, concurrent: int) -> None:
        with warnings.catch_warnings():
            # It says that flaml.automl needs XGBoost, which nothing here does.
            warnings.simplefilter("ignore")
            import flaml
            import optuna
        logging.getLogger("flaml").setLevel(logging.WARNING)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.window: int | None = concurrent
        domains = [
            {LEARNER: learner, **{name: _domain(flaml.tune, found) for name, found in branch.search_space.items()}}
            for learner, branch in spec.branches.items()
        ]
        starts = [{_POINT: {LEARNER: learner, **branch.start}} for learner, branch in spec.branches.items()]
        self._search: Any = flaml.BlendSearch(
            metric=_SCORE,
            mode="max",
            space={_POINT: flaml.tune.choice(domains)},
            points_to_evaluate=starts,
            seed=SEED,
            cost_attr=None,  # by the clock, proposals would depend on how busy the machine is
        )
        self._asked = 0
        self._proposed: list[tuple[str, Mapping[str, Any]]] = []

    def propose(self) -> dict[str, Literal] | None:
        """See ``Sampler``."""
        for _ in range(_REDRAWS):
            self._asked += 1
            # FLAML gives nothing for what it has tried already, and goes on when it is asked again.
            found = self._search.suggest(str(self._asked))
            if found is not None:
                self._proposed.append((str(self._asked), found))
                point = {name: _plain(value) for name, value in found[_POINT].items()}
                return {LEARNER: point.pop(LEARNER), **point}
        return None

    def tell(self, number: int, score: float | None) -> None:
        """See ``Sampler``."""
        trial, config = self._proposed[number]
        if score is None:
            self._search.on_trial_complete(trial, error=True)
        else:
            self._search.on_trial_complete(trial, {_SCORE: score, "config": config})


def _domain(tune: Any, distribution: Distribution) -> Any:
    if distribution.type == "choice":
        return tune.choice(list(distribution.values))
    if distribution.type == "loguniform":
        return tune.loguniform(math.exp(distribution.minimum), math.exp(distribution.maximum))
    raise ValueError(f"AutoML's search space holds {distribution.type}; it takes choice and loguniform")


def _plain(value: Any) -> Literal:
    """Turn numpy's scalars into Python's; a float keeps as many digits as it needs and no more than it can mean."""
    item = value.item() if hasattr(value, "item") else value
    return float(f"{item:.6g}") if isinstance(item, float) else item

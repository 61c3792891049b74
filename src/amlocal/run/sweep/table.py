"""The trial table of a sweep: ``trials.json``, a list with a row for each trial."""

from __future__ import annotations

import json
import math
from collections.abc import Collection

from amlocal.run.records import TrialRecord
from amlocal.run.sweep.savings import saved_by

TABLE = "trials.json"
"""Its name, in the node's folder and as an artefact of the node's MLflow run."""


def trial_table(metric: str, trials: Collection[TrialRecord], best: int | None) -> str:
    """Say what each trial tried, scored and took, as JSON text.

    Args:
        metric: the primary metric's name.
        trials: the trials, in any order.
        best: number of the best trial; None when there is none (yet).

    Returns:
        A row for each trial: its number, hyperparameters, the metric's name, curve and best value (null stands for
        what is no finite number), status, the reason of a failure or early end, wall-clock and CPU-seconds (of the
        run that did the work), the CPU-seconds that ending it early saved (an estimate), whether it is the best,
        the job it was reused from and its MLflow run.
    """
    table = [
        {
            "trial": trial.number,
            "parameters": dict(trial.parameters),
            "metric": metric,
            "best_value": trial.best,
            "curve": [value if math.isfinite(value) else None for value in trial.curve],
            "status": trial.status,
            "reason": trial.reason,
            "seconds": None if trial.ended is None or trial.started is None else trial.ended - trial.started,
            "cpu_seconds": trial.cpu_seconds,
            "estimated_cpu_seconds_saved": saved_by(trial, trials),
            "is_best": trial.number == best,
            "reused_from": trial.reused_from,
            "run_id": trial.run_id,
        }
        for trial in sorted(trials, key=lambda trial: trial.number)
    ]
    return json.dumps(table, indent=2, allow_nan=False) + "\n"

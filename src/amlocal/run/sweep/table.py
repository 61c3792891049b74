"""The trial table of a sweep: ``trials.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from amlocal.run.files import write_atomically
from amlocal.run.records import TrialRecord


def write_table(folder: Path, metric: str, trials: Iterable[TrialRecord]) -> None:
    """Write what each trial tried, scored and took.

    Args:
        folder: the step's folder.
        metric: the primary metric's name.
        trials: the trials, in any order; times in the table are seconds.
    """
    table = [
        {
            "trial": trial.number,
            "parameters": dict(trial.parameters),
            "metric": metric,
            "best": trial.best,
            "curve": list(trial.curve),
            "status": trial.status,
            "reason": trial.reason,
            "seconds": None if trial.ended is None or trial.started is None else trial.ended - trial.started,
            "cpu_seconds": trial.cpu_seconds,
            "run_id": trial.run_id,
        }
        for trial in sorted(trials, key=lambda trial: trial.number)
    ]
    write_atomically(folder / "trials.json", json.dumps(table, indent=2) + "\n")

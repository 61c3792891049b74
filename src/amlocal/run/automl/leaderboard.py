"""``leaderboard.csv`` of an AutoML node: its trials, the best one first."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection

from amlocal.reader.automl import LEARNER
from amlocal.run.records import COMPLETED, TrialRecord

LEADERBOARD = "leaderboard.csv"
"""Its name, in the node's folder and as an artefact of the node's MLflow run."""


def leaderboard(metric: str, trials: Collection[TrialRecord]) -> str:
    """List trials as CSV: those that completed by score, then the others.

    Args:
        metric: the primary metric's name, which is a column's name.
        trials: in any order.

    Returns:
        A row for each trial: its rank (none for one that did not complete), number, learner, score, seconds, status,
        the reason of a failure, and each hyperparameter that any trial has.
    """
    completed = [trial for trial in trials if trial.status == COMPLETED and trial.best is not None]
    ranked = sorted(completed, key=lambda trial: (-(trial.best or 0.0), trial.number))
    others = sorted((trial for trial in trials if trial not in completed), key=lambda trial: trial.number)
    names = list(dict.fromkeys(name for trial in [*ranked, *others] for name in trial.parameters if name != LEARNER))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "trial", LEARNER, metric, "seconds", "status", "reason", *names])
    for rank, trial in enumerate([*ranked, *others], start=1):
        seconds = None if trial.ended is None or trial.started is None else round(trial.ended - trial.started, 1)
        place = rank if rank <= len(ranked) else None
        row = [place, trial.number, trial.parameters.get(LEARNER), trial.best, seconds, trial.status, trial.reason]
        writer.writerow([*row, *(trial.parameters.get(name) for name in names)])
    return text.getvalue()

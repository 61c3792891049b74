"""What MLflow knows of the sweep that a challenger came from, and the report as artefacts of its run."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from azure.core.exceptions import AzureError
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from finetune.report.analysis import number
from finetune.report.facts import Sweep, Trial
from finetune.training.contents import SCORE

LOGGER = logging.getLogger(__name__)

_MOST_TRIALS = 200
_TRACKING_FAILURES = (mlflow.MlflowException, AzureError, OSError)
"""What MLflow's client raises when the server does not do what it is asked; requests' errors are OSErrors."""


def find_sweep(run: Run, training: Mapping[str, Any] | None) -> tuple[Sweep | None, str]:
    """Find the trials of the job that a run is a step of: the children of its siblings that logged a score.

    Args:
        run: evaluate's own.
        training: the challenger's training.json, to tell which trial it came from.

    Returns:
        The sweep, or None and why there is none. A failure of the tracking server is such a reason.
    """
    parent = run.data.tags.get(MLFLOW_PARENT_RUN_ID)
    if parent is None:
        return None, "evaluate did not run as a step of a pipeline"
    client = MlflowClient()
    try:
        steps = [step for step in _children(client, run, parent) if step.info.run_id != run.info.run_id]
        runs = [trial for step in steps for trial in _children(client, run, step.info.run_id)]
        trials = tuple(_trial(client, trial) for trial in runs if SCORE in trial.data.metrics)
        if not trials:
            return None, "no trial ran in this job: the model was reused from an earlier one, or comes from elsewhere"
        chosen = _chosen(trials, training)
        losses = {} if chosen is None else _losses(client, chosen.run_id)
    except _TRACKING_FAILURES as error:
        LOGGER.warning("the sweep is left out of the report: %s", error)
        return None, "the tracking server did not answer"
    return Sweep(trials, None if chosen is None else chosen.name, losses), ""


def log_files(*paths: Path) -> None:
    """Log files as artefacts of the active run; a tracking server that does not take them costs a warning."""
    try:
        for path in paths:
            mlflow.log_artifact(str(path), "report")
    except _TRACKING_FAILURES as error:
        LOGGER.warning("the report is not among the run's artefacts: %s", error)


def _children(client: MlflowClient, run: Run, parent: str) -> list[Run]:
    found: list[Run] = client.search_runs(
        [run.info.experiment_id], f"tags.mlflow.parentRunId = '{parent}'", max_results=_MOST_TRIALS
    )
    return sorted(found, key=lambda child: child.info.start_time)


def _trial(client: MlflowClient, run: Run) -> Trial:
    scores = tuple((point.timestamp, point.value) for point in _history(client, run.info.run_id, SCORE))
    return Trial(run.info.run_name or run.info.run_id, run.info.status, run.data.params, scores, run.info.run_id)


def _chosen(trials: tuple[Trial, ...], training: Mapping[str, Any] | None) -> Trial | None:
    if training is None:
        return None
    score, arguments = training["validation"].get(SCORE), training["arguments"]
    fitting = [
        trial
        for trial in trials
        if score in [value for _, value in trial.scores]
        and number(trial.parameters.get("learning_rate")) == arguments["learning_rate"]
    ]
    return fitting[0] if len(fitting) == 1 else None


def _losses(client: MlflowClient, run_id: str) -> dict[str, tuple[tuple[int, float], ...]]:
    return {
        name: tuple((point.step, point.value) for point in _history(client, run_id, name))
        for name in ("loss", "validation/loss")
    }


def _history(client: MlflowClient, run_id: str, name: str) -> list[Any]:
    return sorted(client.get_metric_history(run_id, name), key=lambda point: (point.timestamp, point.step))

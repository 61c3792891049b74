"""What MLflow knows of the sweep that a challenger came from, and the report as artefacts of its run."""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from azure.core.exceptions import AzureError
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from finetune.report.trials import Sweep, Trial
from finetune.training.contents import HARDWARE_METRICS, MACHINE_TAG, SCORE

LOGGER = logging.getLogger(__name__)

VALIDATION_LOSS = "validation/loss"
NOT_TRACKED = "none: the tracking server did not answer"
_MOST_TRIALS = 200
_TRACKING_FAILURES = (mlflow.MlflowException, AzureError, OSError)
"""What MLflow's client raises when the server does not do what it is asked; requests' errors are OSErrors."""


@contextmanager
def tracked_run() -> Iterator[Run | None]:
    """Run a block within an MLflow run; within None when the tracking server does not take one.

    What is tracked informs, and the gate does not decide by it: an outage costs warnings, not the verdict.
    """
    try:
        run = mlflow.start_run()
    except _TRACKING_FAILURES as error:
        LOGGER.warning("nothing is tracked: %s", error)
        yield None
        return
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    finally:
        try:
            mlflow.end_run(status)
        except _TRACKING_FAILURES as error:
            LOGGER.warning("the tracking server does not know that this run has ended: %s", error)


def log_measured(run: Run | None, measured: Mapping[str, Mapping[str, float]], promoted: bool) -> None:
    """Log all models' metrics, and whether the challenger is promoted."""
    if run is None:
        return
    metrics = {f"test/{model}/{name}": value for model, found in measured.items() for name, value in found.items()}
    try:
        mlflow.log_metrics({name: value for name, value in metrics.items() if math.isfinite(value)})
        mlflow.set_tag("promoted", promoted)
    except _TRACKING_FAILURES as error:
        LOGGER.warning("the metrics are not tracked: %s", error)


def find_sweep(run: Run | None, training: Mapping[str, Any] | None) -> tuple[Sweep | None, str]:
    """Find the trials that the challenger competed with, in its own sweep and in this job's.

    These are two when the job reused the challenger's trial from an earlier one. Trials are runs that logged a score:
    those beside the challenger's, and the children of this run's siblings.

    Args:
        run: evaluate's own; None when it has none.
        training: the challenger's training.json, which names its run.

    Returns:
        The sweep, or None and why there is none. A failure of the tracking server is such a reason.
    """
    if run is None:
        return None, "the tracking server did not answer"
    client = MlflowClient()
    try:
        trained = _trained_by(client, training)
        found = [*([] if trained is None else _beside(client, trained)), *_trials_of_job(client, run)]
        runs = {trial.info.run_id: trial for trial in found if SCORE in trial.data.metrics}
        made = (_trial(client, runs[run_id]) for run_id in runs)
        trials = tuple(trial for trial in made if trial.scores)
        if not trials:
            return None, "no trial is known: neither the challenger's run nor another of this job logged a score"
        chosen = next((trial for trial in trials if trained is not None and trial.run_id == trained.info.run_id), None)
        losses, hardware = (
            ({}, {}) if chosen is None else (_losses(client, chosen.run_id), _hardware(client, chosen.run_id))
        )
    except _TRACKING_FAILURES as error:
        LOGGER.warning("the sweep is left out of the report: %s", error)
        return None, "the tracking server did not answer"
    return Sweep(trials, None if chosen is None else chosen.name, losses, hardware), ""


def log_files(run: Run | None, folder: str, *paths: Path) -> None:
    """Log files as artefacts of the active run, in a folder; a server that does not take them costs a warning."""
    if run is None:
        return
    try:
        for path in paths:
            mlflow.log_artifact(str(path), folder)
    except _TRACKING_FAILURES as error:
        LOGGER.warning("%s: not among the run's artefacts: %s", folder, error)


def _trained_by(client: MlflowClient, training: Mapping[str, Any] | None) -> Run | None:
    """Return the challenger's own run; None when it is not in this workspace."""
    run_id = (training or {}).get("mlflow_run")
    if not isinstance(run_id, str):
        return None
    try:
        return client.get_run(run_id)
    except mlflow.MlflowException as error:
        LOGGER.info("the run that trained the challenger is not known here: %s", error)
        return None


def _beside(client: MlflowClient, run: Run) -> list[Run]:
    parent = run.data.tags.get(MLFLOW_PARENT_RUN_ID)
    return [run] if parent is None else _children(client, run, parent)


def _trials_of_job(client: MlflowClient, run: Run) -> list[Run]:
    if MLFLOW_PARENT_RUN_ID not in run.data.tags:
        return []
    steps = [step for step in _beside(client, run) if step.info.run_id != run.info.run_id]
    return [trial for step in steps for trial in _children(client, step, step.info.run_id)]


def _children(client: MlflowClient, beside: Run, parent: str) -> list[Run]:
    """Return a run's children, oldest first, from the experiment that another run is in."""
    found: list[Run] = client.search_runs(
        [beside.info.experiment_id], f"tags.mlflow.parentRunId = '{parent}'", max_results=_MOST_TRIALS
    )
    return sorted(found, key=lambda child: child.info.start_time)


def _trial(client: MlflowClient, run: Run) -> Trial:
    scores = tuple((point.timestamp, point.value) for point in _history(client, run.info.run_id, SCORE))
    name = run.info.run_name or run.info.run_id
    seconds = None if run.info.end_time is None else (run.info.end_time - run.info.start_time) / 1000
    machine = run.data.tags.get(MACHINE_TAG)
    loss = min((point.value for point in _history(client, run.info.run_id, VALIDATION_LOSS)), default=None)
    return Trial(name, run.info.status, run.data.params, scores, run.info.run_id, seconds, machine, loss)


def _losses(client: MlflowClient, run_id: str) -> dict[str, tuple[tuple[int, float], ...]]:
    return {
        name: tuple((point.step, point.value) for point in _history(client, run_id, name))
        for name in ("loss", VALIDATION_LOSS)
    }


def _hardware(client: MlflowClient, run_id: str) -> dict[str, tuple[tuple[float, float], ...]]:
    names = sorted(name for name in client.get_run(run_id).data.metrics if name.startswith(HARDWARE_METRICS))
    histories = {name.removeprefix(HARDWARE_METRICS): _history(client, run_id, name) for name in names}
    # By the clock: a trial that was ended and went on counts its seconds anew.
    start = min((points[0].timestamp for points in histories.values() if points), default=0)
    return {
        name: tuple(((point.timestamp - start) / 1000, point.value) for point in points)
        for name, points in histories.items()
    }


def _history(client: MlflowClient, run_id: str, name: str) -> list[Any]:
    """Return a metric's finite values in the order in which they were logged."""
    points = (point for point in client.get_metric_history(run_id, name) if math.isfinite(point.value))
    return sorted(points, key=lambda point: (point.timestamp, point.step))

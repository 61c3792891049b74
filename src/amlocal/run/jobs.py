"""The jobs of a home: reading their records, and settling what a killed amlocal left open."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from amlocal.errors import AmlocalError
from amlocal.run.files import JobFolder, write_atomically
from amlocal.run.records import CANCELED, COMPLETED, ENDED, FAILED, RUNNING, JobRecord, from_json, to_json
from amlocal.run.tracking import FAILED as RUN_FAILED
from amlocal.run.tracking import FINISHED, KILLED, Tracking

NO_PROCESS: Mapping[str, Any] = {"pid": None, "pid_started": None}
"""What the record of an ended job says of its process."""
GONE = "the process that ran it is gone"
_CLOCK_SECONDS = 1.0
"""How far two readings of one process's start time may lie apart."""


def read_record(folder: JobFolder) -> JobRecord:
    """Read a job's record; one whose process is gone counts as canceled.

    Raises:
        AmlocalError: when there is no such job.
    """
    record = _stored(folder)
    return record if record.status in ENDED or is_running(record) or record.pid is None else _gone(record)


def job_folders(home: Path) -> Iterator[JobFolder]:
    """Find the folders of all jobs, in no particular order."""
    for path in (home / "jobs").glob("*/job.json"):
        if not path.parent.name.startswith("."):  # a job that is being made
            yield JobFolder(home, path.parent.name)


def is_running(record: JobRecord) -> bool:
    """Tell whether the process that runs a job lives; another one may have got its number since."""
    if record.pid is None:
        return False
    try:
        process = psutil.Process(record.pid)
        started = process.create_time()
        return process.status() != psutil.STATUS_ZOMBIE and abs(started - (record.pid_started or 0)) < _CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return False


def this_process() -> dict[str, Any]:
    """Give what a record says of the process that runs its job."""
    return {"pid": os.getpid(), "pid_started": psutil.Process().create_time()}


class RunningMark:
    """A file that says that a job may have something open, so that nobody has to read the records of all."""

    def __init__(self, folder: JobFolder) -> None:
        self._path = _marks(folder.home) / folder.name

    def set(self) -> None:
        """Say so, before anything is opened."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()

    def clear(self) -> None:
        """Take it back, when all is closed."""
        self._path.unlink(missing_ok=True)


def settle(home: Path, tracking: Tracking) -> None:
    """Close the MLflow runs of jobs whose process is gone, and write that into their records.

    Safe with several processes at once: closing twice changes nothing. What cannot be closed now is left for the
    next time.
    """
    for mark in sorted(_marks(home).glob("*")):
        folder = JobFolder(home, mark.name)
        if folder.record.exists():
            stored = _stored(folder)
            if is_running(stored):
                continue
            record = stored if stored.status in ENDED else _gone(stored)
            try:
                _close_runs(record, tracking)
            except AmlocalError:  # its experiment was deleted, say: no reason not to run another job
                continue
            if record != stored:
                write_atomically(folder.record, to_json(record))
        mark.unlink(missing_ok=True)


def _close_runs(record: JobRecord, tracking: Tracking) -> None:
    ends = {COMPLETED: FINISHED, FAILED: RUN_FAILED}
    statuses = {step.run_id: step.status for step in record.steps.values()}
    for step in record.steps.values():
        statuses |= {trial.run_id: trial.status for trial in step.trials.values()}
    statuses[record.run_id] = record.status
    for run_id in tracking.open_runs(tracking.experiment(record.experiment_name), record.name):
        tracking.end_run(run_id, ends.get(statuses.get(run_id, CANCELED), KILLED), {})


def _gone(record: JobRecord) -> JobRecord:
    """Say how a job ended whose process was killed."""
    steps = {
        name: replace(
            step,
            status=CANCELED,
            error=GONE,
            trials={
                number: replace(trial, status=CANCELED, reason=GONE) if trial.status == RUNNING else trial
                for number, trial in step.trials.items()
            },
        )
        if step.status == RUNNING
        else step
        for name, step in record.steps.items()
    }
    return replace(record, status=CANCELED, error=GONE, steps=steps, **NO_PROCESS)


def _stored(folder: JobFolder) -> JobRecord:
    try:
        text = folder.record.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AmlocalError(f"there is no job {folder.name!r} in {folder.home}") from None
    return from_json(text, folder.record)


def _marks(home: Path) -> Path:
    return home / "running"

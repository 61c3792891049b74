"""Jobs as Azure sees them: each job, step and trial is a run with an id, a parent, a log and outputs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from amlocal.errors import AmlocalError
from amlocal.reader.model import ARTIFACTS
from amlocal.run.files import JobFolder
from amlocal.run.jobs import job_folders, read_record
from amlocal.run.records import FAILED, JobRecord, StepRecord, TrialRecord


@dataclass(frozen=True)
class JobRun:
    """A job, a step of a pipeline, or a trial of a sweep.

    Attributes:
        id: The job's name; else that of its MLflow run, which the command knows as ``AZUREML_RUN_ID``. What was taken
            over from an earlier job has no run of its own and is called after the job and the step.
        job: The job it belongs to.
        parent: The run it belongs to; ``None`` for a job.
        kind: ``pipeline``, ``command``, ``sweep`` or ``parallel``.
        started: Seconds since 1970.
        log: What its command printed; ``None`` for a pipeline, and before it runs.
        artifacts: The folder with what its command wrote to ``./outputs``.
        outputs: Its declared outputs.
        best_child: The run of a sweep's best trial.
        reused: Its results were taken over from an earlier job.
        warnings: What went otherwise than the file says.
    """

    id: str
    job: str
    parent: str | None
    display_name: str
    kind: str
    status: str
    started: float | None
    ended: float | None
    error: str | None = None
    log: Path | None = None
    artifacts: Path | None = None
    outputs: Mapping[str, Path] = field(default_factory=dict)
    best_child: str | None = None
    reused: bool = False
    warnings: tuple[str, ...] = ()


def runs_of(record: JobRecord) -> Iterator[JobRun]:
    """Give a job's runs: itself first, then its steps as far as they have begun, each before its trials."""
    pipeline = record.kind == "pipeline"
    lone = None if pipeline else next(iter(record.steps.values()), None)
    outputs = {name: Path(path) for name, path in record.outputs.items()}
    yield JobRun(
        id=record.name,
        job=record.name,
        parent=None,
        display_name=record.display_name or record.name,
        kind=record.kind,
        status=record.status,
        started=record.started,
        ended=record.ended,
        error=_error(record),
        log=None if lone is None else _path(lone.log),
        artifacts=None if lone is None else _artifacts(lone),
        outputs=outputs,
        best_child=None if lone is None else _best(record.name, lone),
        warnings=tuple(warning for step in record.steps.values() for warning in step.warnings),
    )
    for step in record.steps.values():
        run_id = record.name if lone is not None else _id(record.name, step)
        if run_id is None:
            continue
        if pipeline:
            yield _step_run(record.name, run_id, step)
        for trial in step.trials.values():
            yield from _trial_run(record.name, run_id, step, trial)


def _step_run(job: str, run_id: str, step: StepRecord) -> JobRun:
    return JobRun(
        id=run_id,
        job=job,
        parent=job,
        display_name=step.name,
        kind=step.kind,
        status=step.status,
        started=step.started,
        ended=step.ended,
        error=step.error,
        log=_path(step.log),
        artifacts=_artifacts(step),
        outputs={name: Path(path) for name, path in step.outputs.items() if name != ARTIFACTS},
        best_child=_best(job, step),
        reused=step.reused_from is not None,
        warnings=step.warnings,
    )


def _trial_run(job: str, parent: str, step: StepRecord, trial: TrialRecord) -> Iterator[JobRun]:
    run_id = _trial_id(job, step, trial)
    if run_id is not None:
        yield JobRun(
            id=run_id,
            job=job,
            parent=parent,
            display_name=f"{step.name}_{trial.number}",
            kind="command",
            status=trial.status,
            started=trial.started,
            ended=trial.ended,
            error=trial.reason,
            log=_path(trial.log),
            outputs=_trial_outputs(trial),
            reused=trial.reused_from is not None,
        )


def _trial_outputs(trial: TrialRecord) -> dict[str, Path]:
    """Find a trial's outputs, which lie beside its log."""
    folder = None if trial.log is None else Path(trial.log).parent.parent / "outputs"
    return {} if folder is None or not folder.is_dir() else {path.name: path for path in sorted(folder.iterdir())}


def _id(job: str, step: StepRecord) -> str | None:
    return f"{job}_{step.name}" if step.reused_from is not None else step.run_id


def _trial_id(job: str, step: StepRecord, trial: TrialRecord) -> str | None:
    reused = step.reused_from is not None or trial.reused_from is not None
    return f"{job}_{step.name}_{trial.number}" if reused else trial.run_id


def _best(job: str, step: StepRecord) -> str | None:
    best = None if step.best_trial is None else step.trials.get(step.best_trial)
    return None if best is None else _trial_id(job, step, best)


def _artifacts(step: StepRecord) -> Path | None:
    return Path(step.outputs[ARTIFACTS], "outputs") if ARTIFACTS in step.outputs else None


def _error(record: JobRecord) -> str | None:
    """Say why a job failed: in one text, as clients show no steps."""
    if record.error is None:
        return None
    steps = [f"{step.name}: {step.error}" for step in record.steps.values() if step.status == FAILED and step.error]
    return "; ".join([record.error, *steps])


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


class JobRecords:
    """The records of all jobs of a home, read again only when they have changed.

    Args:
        home: The ``--home`` folder.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._known: dict[str, tuple[tuple[int, int], JobRecord]] = {}

    def find(self, name: str) -> JobRecord | None:
        """Read a job's record; one whose process is gone counts as canceled.

        Raises:
            AmlocalError: The record is damaged.
        """
        folder = JobFolder(self.home, name)
        try:
            status = folder.record.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._known.pop(name, None)
            return None
        version = (status.st_mtime_ns, status.st_ino)
        known = self._known.get(name)
        if known is None or known[0] != version or known[1].pid is not None:
            record = read_record(folder)  # also looks whether the process lives, which no file says
            self._known[name] = (version, record)
            return record
        return known[1]

    def all(self) -> list[JobRecord]:
        """Read the records of all jobs, the one started last first; one that is damaged hides no other."""
        records = []
        for folder in job_folders(self.home):
            with contextlib.suppress(AmlocalError):
                record = self.find(folder.name)
                records += [] if record is None else [record]
        return sorted(records, key=_start, reverse=True)

    def run(self, run_id: str) -> JobRun | None:
        """Find a run by its id."""
        record = self.find(run_id) if "/" not in run_id and not run_id.startswith(".") else None
        records = [record] if record is not None else self.all()
        return next((run for record in records for run in runs_of(record) if run.id == run_id), None)

    def children(self, run_id: str) -> list[JobRun]:
        """List the runs that belong to a run."""
        run = self.run(run_id)
        record = None if run is None else self.find(run.job)
        return [] if record is None else [child for child in runs_of(record) if child.parent == run_id]


def _start(record: JobRecord) -> tuple[float, str]:
    """Order jobs by their start; one that has not started is the newest."""
    return float("inf") if record.started is None else record.started, record.name

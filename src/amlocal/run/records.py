"""What is known about a job while and after it runs: ``job.json``. Times are seconds since 1970."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amlocal.errors import AmlocalError
from amlocal.reader.search import Literal

NOT_STARTED = "NotStarted"
RUNNING = "Running"
COMPLETED = "Completed"
FAILED = "Failed"
CANCELED = "Canceled"
ENDED = frozenset({COMPLETED, FAILED, CANCELED})


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a sweep.

    Attributes:
        number: counted from 0, in the order in which they were proposed.
        curve: the primary metric, in the order in which it was logged.
        best: the best value of the curve.
        reason: why it failed or was ended early.
        cpu_seconds: processor time its command took, also when it was ended early; None before.
        ended_early: the sweep's early termination policy ended it.
        reused_from: the job that ran it; its times are of that run.
    """

    number: int
    parameters: Mapping[str, Literal]
    status: str = NOT_STARTED
    reason: str | None = None
    started: float | None = None
    ended: float | None = None
    curve: tuple[float, ...] = ()
    best: float | None = None
    run_id: str | None = None
    log: str | None = None
    cpu_seconds: float | None = None
    ended_early: bool = False
    reused_from: str | None = None


@dataclass(frozen=True)
class Savings:
    """What early termination saved in a sweep, in CPU-seconds.

    Attributes:
        trials: how many trials it ended.
        used: what all trials of this job used, those that it reused not counted.
        saved: what the ended trials would have used besides, an estimate; None when there is nothing to estimate from.
        basis: how many completed trials the estimate rests on.
    """

    trials: int
    used: float
    saved: float | None
    basis: int


@dataclass(frozen=True)
class StepRecord:
    """One step.

    Attributes:
        kind: command, parallel, sweep or automl.
        reason: why it runs, or what it reuses.
        error: why it failed, was canceled or never started.
        reused_from: the job whose results it took over.
        cpu_seconds: processor time its commands took; None when reused or before it ended.
        outputs: each output's path.
        registered: the asset that an output was registered as, as ``data reviews:3``.
        best_trial: number of the sweep's best trial.
        early_termination: what a sweep's policy saved; None without a policy.
        start: how a sweep's trials start: warm or cold, and why.
        trial_table: path of a sweep's trial table.
        warnings: what went otherwise than the file says, without a failure.
    """

    name: str
    kind: str
    status: str = NOT_STARTED
    reason: str | None = None
    error: str | None = None
    started: float | None = None
    ended: float | None = None
    key: str | None = None
    reused_from: str | None = None
    exit_code: int | None = None
    cpu_seconds: float | None = None
    run_id: str | None = None
    log: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    registered: Mapping[str, str] = field(default_factory=dict)
    trials: Mapping[int, TrialRecord] = field(default_factory=dict)
    best_trial: int | None = None
    primary_metric: str | None = None
    early_termination: Savings | None = None
    start: str | None = None
    trial_table: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobRecord:
    """One job.

    Attributes:
        message: what it last did apart from its steps.
        pid: the process that runs it, to notice that it is gone; None when it has ended.
        pid_started: that process's start time, as another one may get its number.
        ignored: settings of the file that have no effect here, with their place.
        notes: what is good to know before it runs, with the place it is about.
    """

    name: str
    kind: str
    file: str
    experiment_name: str
    display_name: str | None = None
    status: str = NOT_STARTED
    error: str | None = None
    started: float | None = None
    ended: float | None = None
    pid: int | None = None
    pid_started: float | None = None
    run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    message: str | None = None
    steps: Mapping[str, StepRecord] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


def to_json(record: JobRecord, steps: Mapping[str, str] | None = None) -> str:
    """Write a record as text, a line for each field and each step.

    Args:
        record: the record.
        steps: what ``step_to_json`` made of each of its steps; made anew when not given.
    """
    texts = {name: step_to_json(step) for name, step in record.steps.items()} if steps is None else steps
    values = {
        field.name: json.dumps(getattr(record, field.name))
        for field in dataclasses.fields(record)
        if field.name != "steps"
    }
    lines = ",\n    ".join(f"{json.dumps(name)}: {text}" for name, text in texts.items())
    values["steps"] = f"{{\n    {lines}\n  }}" if texts else "{}"
    return "{\n  " + ",\n  ".join(f'"{name}": {value}' for name, value in values.items()) + "\n}\n"


def step_to_json(step: StepRecord) -> str:
    """Write a step's record as one line of text."""
    return json.dumps(dataclasses.asdict(step))


def from_json(text: str, source: Path) -> JobRecord:
    """Read a record back.

    Args:
        text: what ``to_json`` wrote.
        source: the file, for messages.

    Raises:
        AmlocalError: when the text is no such record.
    """
    try:
        data: dict[str, Any] = json.loads(text)
        steps = {name: _step(step) for name, step in data.pop("steps").items()}
        return JobRecord(**data, steps=steps)
    except (ValueError, TypeError, KeyError) as error:
        raise AmlocalError(f"{source}: not a job record of this version ({error})") from None


def _step(data: dict[str, Any]) -> StepRecord:
    trials = trials_from(data.pop("trials"))
    saved = data.pop("early_termination")
    warnings = tuple(data.pop("warnings", ()))
    return StepRecord(
        **data, warnings=warnings, trials=trials, early_termination=None if saved is None else Savings(**saved)
    )


def trials_from(data: Mapping[str, Any]) -> dict[int, TrialRecord]:
    """Read trials back from what ``dataclasses.asdict`` and JSON made of them."""
    return {int(number): trial_from(trial) for number, trial in data.items()}


def trial_from(data: Mapping[str, Any]) -> TrialRecord:
    """Read one trial back."""
    return TrialRecord(**{**data, "curve": tuple(data["curve"])})


def seconds(started: float | None, ended: float | None, now: float) -> float | None:
    """Tell how long something took, or has taken so far."""
    return None if started is None else (ended if ended is not None else now) - started

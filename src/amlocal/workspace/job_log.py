"""What a pipeline or a sweep did, in lines that only grow: for clients that stream the log of a job."""

from collections.abc import Iterator, Mapping

from amlocal.run.records import ENDED, JobRecord, StepRecord, TrialRecord
from amlocal.workspace.arm_shapes import timestamp
from amlocal.workspace.job_runs import JobRun


def execution_log(record: JobRecord, run: JobRun) -> str:
    """Write down what happened, in the order in which it happened.

    Args:
        record: The job.
        run: The job's own run, or that of one of its steps.

    Returns:
        A line for each beginning and end of a step or trial.
    """
    steps = [step for step in record.steps.values() if run.parent is None or step.name == run.display_name]
    events = [event for step in steps for event in _step(step)]
    return "".join(f"{timestamp(at)} {text}\n" for at, text in sorted(events, key=lambda event: event[0]))


def _step(step: StepRecord) -> Iterator[tuple[float, str]]:
    if step.started is not None:
        yield step.started, f"{step.name}: {step.status if step.reused_from else 'started'}{_because(step.reason)}"
    for trial in step.trials.values():
        yield from _trial(step, trial)
    if step.ended is not None and step.status in ENDED:
        yield step.ended, f"{step.name}: {step.status}{_because(step.error)}{_registered(step.registered)}"


def _trial(step: StepRecord, trial: TrialRecord) -> Iterator[tuple[float, str]]:
    name = f"{step.name} trial {trial.number}"
    if trial.started is not None:
        stated = ", ".join(f"{key}={value}" for key, value in trial.parameters.items())
        yield trial.started, f"{name}: {stated}"
    if trial.ended is not None and trial.status in ENDED:
        best = f", best {step.primary_metric} {trial.best:g}" if trial.best is not None else ""
        yield trial.ended, f"{name}: {trial.status}{best}{_because(trial.reason)}"


def _because(error: str | None) -> str:
    return f" ({error})" if error else ""


def _registered(assets: Mapping[str, str]) -> str:
    return "".join(f"; output {name} is {asset}" for name, asset in assets.items())

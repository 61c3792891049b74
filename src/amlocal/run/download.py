"""Copies what a job left to a folder of the user's: ``amlocal job download``."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from amlocal.errors import AmlocalError
from amlocal.reader.model import ARTIFACTS
from amlocal.run.automl.leaderboard import LEADERBOARD
from amlocal.run.files import JobFolder
from amlocal.run.jobs import read_record
from amlocal.run.records import ENDED, JobRecord
from amlocal.run.sweep.table import TABLE

_LOGS = Path("artifacts")
_NAMED_OUTPUTS = Path("named-outputs")


def download(folder: JobFolder, target: Path, output: str | None = None, everything: bool = False) -> tuple[Path, ...]:
    """Copy a job's outputs and logs; links become what they point to. All is copied or nothing.

    Laid out as azure-ai-ml's ``jobs.download`` does: ``artifacts/`` holds each step's logs, default output and
    trial table, ``named-outputs/<name>`` each output of the job.

    Args:
        folder: the job.
        target: the folder to copy to; made when missing.
        output: the only output to copy.
        everything: copy the named outputs as well.

    Returns:
        The folders and files that were made.

    Raises:
        AmlocalError: when there is no such job or output, the job has not ended, something is there already, or
            the copies cannot be made.
    """
    record = read_record(folder)
    if record.status not in ENDED:
        raise AmlocalError(f"job {record.name} is {record.status}; it can be downloaded when it has ended")
    if output is not None and output not in record.outputs:
        known = ", ".join(record.outputs) or "none"
        raise AmlocalError(f"job {record.name} has no output {output!r}; its outputs: {known}")
    named = {_NAMED_OUTPUTS / name: Path(path) for name, path in record.outputs.items()}
    if output is not None:
        copies = {_NAMED_OUTPUTS / output: named[_NAMED_OUTPUTS / output]}
    else:
        copies = {**dict(_artifacts(record)), **(named if everything else {})}
    made = sorted({target / (_LOGS if _LOGS in path.parents else path) for path in copies})
    for path in made:
        if path.exists():
            raise AmlocalError(f"{path} exists already; give another --download-path")
    staging = target / f".download-{uuid.uuid4().hex}"
    try:
        for path, source in copies.items():
            _copy(source, staging / path)
        for path in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            (staging / path.relative_to(target)).rename(path)
    except OSError as error:  # shutil.Error is one
        raise AmlocalError(f"job {record.name} cannot be downloaded: {error}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return tuple(made)


def _artifacts(record: JobRecord) -> Iterator[tuple[Path, Path]]:
    for name, step in record.steps.items():
        if step.log is not None:
            yield _LOGS / name / "logs", Path(step.log).parent
        if ARTIFACTS in step.outputs:
            yield _LOGS / name / "outputs", Path(step.outputs[ARTIFACTS]) / "outputs"
        if step.trial_table is not None:
            yield _LOGS / name / TABLE, Path(step.trial_table)
            board = Path(step.trial_table).with_name(LEADERBOARD)
            if board.is_file():
                yield _LOGS / name / LEADERBOARD, board
        for number, trial in step.trials.items():
            if trial.log is not None:
                yield _LOGS / name / "trials" / str(number) / "logs", Path(trial.log).parent


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copy2(source, target)

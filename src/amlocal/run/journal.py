"""The one place where a running job's record changes; keeps ``job.json`` and tells who watches."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from amlocal.run.files import write_atomically
from amlocal.run.records import JobRecord, StepRecord, TrialRecord, to_json

Listener: TypeAlias = Callable[[JobRecord, str | None, int | None], None]
"""Called with the record and, where it is about one, the step and the trial that changed."""

_WRITE_EVERY_SECONDS = 0.25


class Journal:
    """Holds a job's record.

    Changes are written at most a few times a second, and always when the job's own fields change, so that a
    job of hundreds of steps does not spend its time on its record.
    """

    def __init__(self, record: JobRecord, path: Path) -> None:
        self._record = record
        self._path = path
        self._written = 0.0
        self._lock = threading.RLock()
        self._listeners: list[Listener] = []

    @property
    def record(self) -> JobRecord:
        """The job's record as it is now."""
        return self._record

    def listen(self, listener: Listener) -> None:
        """Have a function called after each change."""
        self._listeners.append(listener)

    def job(self, **changes: Any) -> None:
        """Change the job's own fields."""
        with self._lock:
            self._record = dataclasses.replace(self._record, **changes)
            self.flush()
        self._tell(None, None)

    def step(self, name: str, **changes: Any) -> None:
        """Change fields of a step."""
        with self._lock:
            step = dataclasses.replace(self._record.steps[name], **changes)
            self._put(step)
        self._tell(name, None)

    def trial(self, name: str, trial: TrialRecord) -> None:
        """Add or replace a trial of a sweep."""
        with self._lock:
            step = self._record.steps[name]
            self._put(dataclasses.replace(step, trials={**step.trials, trial.number: trial}))
        self._tell(name, trial.number)

    def flush(self) -> None:
        """Write the record now."""
        with self._lock:
            self._written = time.monotonic()
            write_atomically(self._path, to_json(self._record))

    def _put(self, step: StepRecord) -> None:
        self._record = dataclasses.replace(self._record, steps={**self._record.steps, step.name: step})
        if time.monotonic() - self._written > _WRITE_EVERY_SECONDS:
            self.flush()

    def _tell(self, step: str | None, trial: int | None) -> None:
        for listener in self._listeners:
            listener(self._record, step, trial)

"""The one place where a running job's record changes; keeps ``job.json`` and tells who watches."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from amlocal.run.files import write_atomically
from amlocal.run.records import JobRecord, StepRecord, TrialRecord, step_to_json, to_json

Listener: TypeAlias = Callable[[JobRecord, str | None, int | None], None]
"""Called with the record and, where it is about one, the step and the trial that changed."""

_WRITE_EVERY_SECONDS = 0.25


class Journal:
    """Holds a job's record.

    It is written when the job's own fields change; changes of steps are written together, a few times a second, and
    only the changed steps are made into text again: a job of hundreds of steps does not spend its time on its record.
    """

    def __init__(self, record: JobRecord, path: Path) -> None:
        self._record = record
        self._path = path
        self._changed = False
        self._lock = threading.RLock()
        self._listeners: list[Listener] = []
        self._texts: dict[str, tuple[StepRecord, str]] = {}

    @property
    def record(self) -> JobRecord:
        """The job's record as it is now."""
        return self._record

    def listen(self, listener: Listener) -> None:
        """Have a function called after each change."""
        self._listeners.append(listener)

    def job(self, **changes: Any) -> None:
        """Change the job's own fields, and write.

        Raises:
            OSError: when the record cannot be written.
        """
        with self._lock:
            self._record = dataclasses.replace(self._record, **changes)
            self._write()
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

    async def keep_written(self) -> None:
        """Write what changes, a few times a second, until canceled."""
        while True:
            await asyncio.sleep(_WRITE_EVERY_SECONDS)
            # A full disk may have room again; when it has not, the end of the job says so.
            with contextlib.suppress(OSError), self._lock:
                if self._changed:
                    self._write()

    def _write(self) -> None:
        for name, step in self._record.steps.items():
            if name not in self._texts or self._texts[name][0] is not step:
                self._texts[name] = (step, step_to_json(step))
        write_atomically(self._path, to_json(self._record, {name: text for name, (_, text) in self._texts.items()}))
        self._changed = False

    def _put(self, step: StepRecord) -> None:
        self._record = dataclasses.replace(self._record, steps={**self._record.steps, step.name: step})
        self._changed = True

    def _tell(self, step: str | None, trial: int | None) -> None:
        for listener in self._listeners:
            listener(self._record, step, trial)

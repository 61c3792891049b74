"""Follows a job that another process runs, through its record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from amlocal.run.files import JobFolder
from amlocal.run.jobs import read_record
from amlocal.run.journal import Listener
from amlocal.run.records import ENDED, JobRecord, StepRecord

_LOOK_SECONDS = 0.25
"""About as often as a running job writes its record."""


class Follower:
    """A job seen from outside; tells its listeners what changed, as the job's own journal does.

    Raises:
        AmlocalError: when there is no such job.
    """

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._record = read_record(folder)
        self._told: Mapping[str, StepRecord] = {}
        self._listeners: list[Listener] = []

    @property
    def record(self) -> JobRecord:
        """The job's record as it was last seen."""
        return self._record

    def listen(self, listener: Listener) -> None:
        """Have a function called for each step and trial that changed."""
        self._listeners.append(listener)

    def follow(self) -> None:
        """Look again and again until the job has ended."""
        while True:
            self._record = read_record(self._folder)
            self._tell()
            if self._record.status in ENDED:
                return
            time.sleep(_LOOK_SECONDS)

    def _tell(self) -> None:
        for name, step in self._record.steps.items():
            before = self._told.get(name)
            if step == before:
                continue
            known = {} if before is None else before.trials
            for number, trial in step.trials.items():
                if trial != known.get(number):
                    self._call(name, number)
            if before is None or replace(step, trials={}) != replace(before, trials={}):
                self._call(name, None)
        self._told = self._record.steps

    def _call(self, step: str, trial: int | None) -> None:
        for listener in self._listeners:
            listener(self._record, step, trial)

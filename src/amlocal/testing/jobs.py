"""Jobs that are checked and recorded like others, and that run as a test says: without processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from amlocal.errors import AmlocalError
from amlocal.run.create import PreparedJob, Request, prepare_job
from amlocal.run.files import link
from amlocal.run.jobs import NO_PROCESS
from amlocal.run.records import CANCELED, COMPLETED, ENDED, FAILED, RUNNING, JobRecord


@dataclass
class ScriptedJobs:
    """Runs the submitted jobs of a workspace in name only.

    Attributes:
        home: The ``--home`` folder.
    """

    home: Path
    _jobs: dict[str, PreparedJob] = field(default_factory=dict)

    async def start(self, document: Path, name: str) -> None:
        """Check a job as the real runner does, and record that it runs."""
        job = await asyncio.to_thread(prepare_job, Request(document, self.home, name=name))
        job.journal.job(status=RUNNING, started=time.time())
        self._jobs[name] = job

    async def cancel(self, name: str) -> None:
        """End a job as its cancellation does."""
        self._end(name, CANCELED, "ended by SIGTERM")

    def record(self, name: str) -> JobRecord:
        """Give a job's record."""
        return self._job(name).journal.record

    def complete(self, name: str, outputs: Mapping[str, Path] | None = None) -> None:
        """Let a job and all its steps complete.

        Args:
            name: The job.
            outputs: What lies where, by the name of the job's output.
        """
        job = self._job(name)
        for output, path in (outputs or {}).items():
            link(job.folder.outputs / output, path)
        written = {output: str(job.folder.outputs / output) for output in outputs or {}}
        self._end(name, COMPLETED, None, written)

    def fail(self, name: str, error: str) -> None:
        """Let a job and all its steps fail.

        Args:
            name: The job.
            error: Why.
        """
        self._end(name, FAILED, error)

    def _end(self, name: str, status: str, error: str | None, outputs: Mapping[str, str] | None = None) -> None:
        journal = self._job(name).journal
        if journal.record.status in ENDED:
            return
        now = time.time()
        for step in journal.record.steps:
            run_id = f"{name}-{step}" if journal.record.kind == "pipeline" else None
            journal.step(step, status=status, error=error, started=now, ended=now, run_id=run_id)
        journal.job(status=status, error=error, ended=now, outputs=dict(outputs or {}), **NO_PROCESS)

    def _job(self, name: str) -> PreparedJob:
        if name not in self._jobs:
            raise AmlocalError(f"no job {name!r} was started here")
        return self._jobs[name]

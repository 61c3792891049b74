"""Who runs a submitted job: on this machine a process of its own, in a test whatever the test says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from amlocal.errors import AmlocalError
from amlocal.job_variable import without_job
from amlocal.run.files import JobFolder
from amlocal.run.jobs import is_running, read_record

LOOK_SECONDS = 0.1


class JobRunner(Protocol):
    """Runs jobs below a home folder, and keeps their records there (:mod:`amlocal.run.records`)."""

    async def start(self, document: Path, name: str) -> None:
        """Check a job, record it and start it; returns when it has a record.

        Args:
            document: The job's YAML.
            name: Its name.

        Raises:
            AmlocalError: It cannot run as written, or its name is taken. Nothing of it is left.
        """
        ...

    async def cancel(self, name: str) -> None:
        """End a running job in good order; returns when it has ended.

        Args:
            name: The job.

        Raises:
            AmlocalError: There is no such job.
        """
        ...


@dataclass(frozen=True)
class ProcessJobRunner:
    """Runs each job as ``amlocal job create --no-stream`` does: in a session of its own, which no daemon's end ends.

    Attributes:
        home: The ``--home`` folder.
        environment: Variables of the process; the steps get them too.
    """

    home: Path
    environment: Mapping[str, str]

    async def start(self, document: Path, name: str) -> None:
        """See :class:`JobRunner`."""
        command = ["-m", "amlocal", "--home", str(self.home), "job", "create", "--no-stream"]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            *("--file", str(document), "--name", name),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.home,
            env=without_job(self.environment),
            start_new_session=True,
        )
        _, complaint = await process.communicate()
        if process.returncode != 0:
            text = complaint.decode(errors="replace").strip().removeprefix("error: ")
            raise AmlocalError(text or f"its process ended with exit code {process.returncode}")

    async def cancel(self, name: str) -> None:
        """See :class:`JobRunner`."""
        folder = JobFolder(self.home, name)
        record = await asyncio.to_thread(read_record, folder)
        if record.pid is None or not is_running(record):
            return
        with contextlib.suppress(ProcessLookupError):  # it ended by itself a moment ago
            os.kill(record.pid, signal.SIGTERM)
        while is_running(record):
            await asyncio.sleep(LOOK_SECONDS)

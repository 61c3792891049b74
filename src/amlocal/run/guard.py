"""Sees to it that no step outlives the amlocal that runs it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from amlocal.run import guard_process
from amlocal.run.process import GRACE_SECONDS

JOB_VARIABLE = "AMLOCAL_JOB"
"""In the environment of every step: its job's folder, by which the guard knows it."""


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Have another process end a job's steps should this one die.

    A signal that the system sends at a parent's death (Linux) would reach a step's first process alone.

    Args:
        folder: the job's folder, the steps' ``AMLOCAL_JOB``.

    Raises:
        OSError: when the process cannot be started.
    """
    packages = Path(psutil.__file__).parents[1]
    arguments = [f"{JOB_VARIABLE}={folder}", str(GRACE_SECONDS), str(packages)]
    # Isolated and without site packages it starts in a few milliseconds.
    command = [sys.executable, "-I", "-S", str(guard_process.__file__), *arguments]
    null = subprocess.DEVNULL  # else it would hold amlocal's own output open
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=null, stderr=null, start_new_session=True)
    try:
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):
            guard.communicate(b"ended\n")

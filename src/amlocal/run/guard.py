"""Sees to it that no step outlives the amlocal that runs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from amlocal.job_variable import JOB_VARIABLE, without_job
from amlocal.run import guard_process
from amlocal.run.process import GRACE_SECONDS

_LAST_SECONDS = 5.0
"""How long to wait for what was killed: a process that hangs in the kernel is left to the system."""


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
    arguments = [_mark(folder), str(GRACE_SECONDS), str(packages)]
    # Isolated and without site packages it starts in a few milliseconds.
    command = [sys.executable, "-I", "-S", str(guard_process.__file__), *arguments]
    null = subprocess.DEVNULL  # else it would hold amlocal's own output open
    guard = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=null,
        stderr=null,
        start_new_session=True,
        env=without_job(os.environ),  # a job that is run by another job's step: the guard must outlive that, too
    )
    try:
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):
            guard.communicate(b"ended\n")


async def end_what_is_left(folder: Path, grace_seconds: float, impatient: Callable[[], bool]) -> None:
    """End whatever a job's steps left running, in sessions of their own too.

    Goes on to its end when canceled meanwhile.

    Args:
        folder: the job's folder, the steps' ``AMLOCAL_JOB``.
        grace_seconds: between SIGTERM and SIGKILL.
        impatient: whether to send SIGKILL now.
    """
    deadline = time.monotonic() + grace_seconds
    asked: set[int] = set()
    while time.monotonic() < deadline + _LAST_SECONDS:
        if impatient():
            deadline = min(deadline, time.monotonic())
        found = guard_process.signal_marked(_mark(folder), asked, time.monotonic() >= deadline)
        if not found:
            return
        asked |= found
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.02)


def _mark(folder: Path) -> str:
    return f"{JOB_VARIABLE}={folder}"

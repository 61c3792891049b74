"""One command as a process group of its own: started, timed, and ended with everything it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

GRACE_SECONDS = 30.0
"""Between SIGTERM and SIGKILL: what a step may need to put things back, as container services commonly give."""


@dataclass(frozen=True)
class ProcessResult:
    """How a command ended.

    Attributes:
        exit_code: as a shell shows it: 128 + N when ended by signal N.
        timed_out: it was ended because its time was up.
        seconds: wall-clock time it took.
    """

    exit_code: int
    timed_out: bool
    seconds: float


async def run_process(
    command: str, cwd: Path, environment: Mapping[str, str], log: Path, timeout: float | None = None
) -> ProcessResult:
    """Run a command under ``bash -c``.

    Args:
        command: the command line, as many lines as it likes.
        cwd: its working directory.
        environment: all of its environment variables.
        log: where its output and errors go.
        timeout: seconds after which its process group is ended.

    Returns:
        How it ended. Whatever it left running in its process group has been ended too.

    Raises:
        asyncio.CancelledError: when canceled, after the process group has been ended.
    """
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stream,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    timed_out = False
    try:
        try:
            async with asyncio.timeout(timeout):
                code = await process.wait()
        except TimeoutError:
            timed_out = True
            code = await _end(process)
    except asyncio.CancelledError:
        await _end(process)
        raise
    finally:
        _signal(process.pid, signal.SIGKILL)
    return ProcessResult(128 - code if code < 0 else code, timed_out, time.monotonic() - started)


async def _end(process: asyncio.subprocess.Process) -> int:
    """End a process group: SIGTERM, a moment, SIGKILL. Goes on to its end when canceled meanwhile."""
    _signal(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while (process.returncode is None or _members(process.pid)) and time.monotonic() < deadline:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            deadline = 0.0  # asked a second time: no more patience
    _signal(process.pid, signal.SIGKILL)
    while True:
        try:
            return await process.wait()
        except asyncio.CancelledError:
            continue


def _members(group: int) -> bool:
    """Tell whether a process group has members left; zombies that nobody reaps do not count."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def tail(log: Path, lines: int = 15) -> list[str]:
    """Give the last lines of a log; progress bars count as the one line they end as."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 64 * 1024))
            text = stream.read().decode(errors="replace")
    except OSError:
        return []
    shown = [line.rsplit("\r", 1)[-1].rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    return [line for line in shown if line][-lines:]

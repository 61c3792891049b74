"""One command as a process group of its own: started, timed, and ended with everything it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

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
        cpu_seconds: processor time, user and system, of the command and of the children it waited for.
        failure: what failed, where there is more to say than the exit code.
        log: where its last words are, when not in its usual log.
    """

    exit_code: int
    timed_out: bool
    seconds: float
    cpu_seconds: float
    failure: str | None = None
    log: Path | None = None


class Child(Protocol):
    """A started process that leads a process group of its own.

    Attributes:
        cpu_seconds: once it has ended: what it and the children it waited for used; at least what its group had before.
        failure: what is to say besides its exit code.
    """

    cpu_seconds: float
    failure: str | None

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the process has ended and been waited for."""
        ...

    async def wait(self) -> int:
        """Wait for its end; give 0 to 255, or -N when ended by signal N."""
        ...


Starter: TypeAlias = Callable[[], Awaitable[Child | None]]
"""Starts a process in a way of its own; gives None when it has to be started in the usual one."""


class OwnChild:
    """A started process that a thread waits for: asyncio's own would not tell what it used.

    Watching a process descriptor from the event loop instead costs as much (0.7 ms for all of a process) and
    exists on Linux alone.
    """

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.pid = popen.pid
        self.cpu_seconds = 0.0
        self.failure: str | None = None
        self._popen = popen
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._wait, name=f"wait-{popen.pid}", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether the process has ended and been waited for."""
        return self._ended.is_set()

    async def wait(self) -> int:
        """Wait for its end; give 0 to 255, or -N when ended by signal N."""
        await self._ended.wait()
        return self._popen.returncode

    def _wait(self) -> None:
        _, status, usage = os.wait4(self.pid, 0)
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._note, status, usage)

    def _note(self, status: int, usage: resource.struct_rusage) -> None:
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_seconds = max(self.cpu_seconds, usage.ru_utime + usage.ru_stime)
        self._ended.set()


async def run_process(
    command: str | Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    log: Path,
    timeout: float | None = None,
    on_end: Callable[[ProcessResult], None] | None = None,
    starter: Starter | None = None,
) -> ProcessResult:
    """Run a command.

    Args:
        command: a command line for ``bash -c``, as many lines as it likes, or a program and its arguments.
        cwd: its working directory.
        environment: all of its environment variables.
        log: where its output and errors go.
        timeout: seconds after which its process group is ended.
        on_end: told how it ended, also when canceled.
        starter: starts it, where it can.

    Returns:
        How it ended. Whatever it left running in its process group has been ended too.

    Raises:
        asyncio.CancelledError: when canceled, after the process group has been ended.
    """
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    process: Child | None = None if starter is None else await starter()
    if process is None:
        process = _started(command, cwd, environment, log)
    timed_out = False

    def ended(code: int) -> ProcessResult:
        _signal(process.pid, signal.SIGKILL)
        seconds = time.monotonic() - started
        shown = 128 - code if code < 0 else code
        result = ProcessResult(shown, timed_out, seconds, process.cpu_seconds, process.failure)
        if on_end is not None:
            on_end(result)
        return result

    try:
        try:
            async with asyncio.timeout(timeout):
                code = await process.wait()
        except TimeoutError:
            timed_out = True
            code = await _end(process)
    except asyncio.CancelledError:
        ended(await _end(process))
        raise
    return ended(code)


def _started(command: str | Sequence[str], cwd: Path, environment: Mapping[str, str], log: Path) -> Child:
    with log.open("ab") as stream:
        return OwnChild(
            subprocess.Popen(
                ["bash", "-c", command] if isinstance(command, str) else list(command),
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )


async def _end(process: Child) -> int:
    """End a process group: SIGTERM, a moment, SIGKILL. Goes on to its end when canceled meanwhile."""
    # A shell that is ended waits for no child, so what these used would not be told with what it used itself.
    process.cpu_seconds = sum(_seconds_used(member) for member in _members(process.pid))
    _signal(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while (not process.ended or _members(process.pid)) and time.monotonic() < deadline:
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


def _members(group: int) -> list[psutil.Process]:
    """Give the members left of a process group; zombies that nobody reaps do not count."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _seconds_used(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        return float(sum(process.cpu_times()[:4]))  # its own and those of children it waited for: user and system
    return 0.0


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

"""Child processes of the daemon: each leads its own group and ends with the daemon."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Child:
    """A running child process that watches its standard input (see ``parent_watch``).

    Attributes:
        process: The leader of the child's process group.
    """

    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        """Id of the process and of its group."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code; ``None`` while it runs, negative when a signal ended it."""
        return self.process.returncode

    async def wait(self) -> int:
        """Wait until the process has ended, then end what it may have left behind in its group.

        Returns:
            Its exit code.
        """
        code = await self.process.wait()
        _signal_group(self.pid, signal.SIGKILL)
        return code

    async def terminate(self, grace: float) -> None:
        """End the whole group: politely at first, by force after a while.

        Args:
            grace: Seconds between the two.
        """
        _signal_group(self.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await self.process.wait()
        except TimeoutError:
            pass
        _signal_group(self.pid, signal.SIGKILL)
        await self.process.wait()


async def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Child:
    """Start a child process.

    Args:
        command: Program and arguments; the program calls ``parent_watch.end_with_parent``.
        environment: Its whole environment.
        log: File to which its output is appended.
        cwd: Its working directory.
        pass_fds: File descriptors it inherits.
    """
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=dict(environment),
            cwd=cwd,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    return Child(process)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)

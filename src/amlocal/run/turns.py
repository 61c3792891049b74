"""Turns: of several equal steps, in one job or in several at once, one runs and the others reuse its result."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

_LOOK_SECONDS = 0.1


class Turns:
    """One process's part in taking turns.

    The turns of all processes are locks on single bytes of one file, which the system takes back when a process
    dies. A step holds one turn at most and waits for nobody while it holds it, so no two can wait for each other.

    Args:
        file: the same for all that take turns; never read or written.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        # The only descriptor of this file: closing another one would give this process's locks back.
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        self._held: set[int] = set()

    def close(self) -> None:
        """Give all turns back."""
        os.close(self._descriptor)

    @asynccontextmanager
    async def turn(self, key: str, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Wait for a key's turn and hold it.

        Args:
            key: a hexadecimal digest.
            on_wait: called once, when somebody else has the turn.
        """
        place = int(key[:15], 16)
        if not self._take(place):
            on_wait()
            while not self._take(place):
                await asyncio.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            self._held.discard(place)
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)

    def _take(self, place: int) -> bool:
        if place in self._held:
            return False
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:
            pass  # a file system without locks: running twice is slower, not wrong
        self._held.add(place)
        return True

"""Long-running operations that go on until a client has asked about them often enough."""

import asyncio
import contextvars
from dataclasses import dataclass, field

from amlocal.testing.faults import Call

CURRENT_CALL: contextvars.ContextVar[Call] = contextvars.ContextVar("CURRENT_CALL")
"""The call that the running task answers; operations that it begins inherit it."""


@dataclass
class _Held:
    call: Call
    operation: str
    polls: int
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def is_asked_about(self, call: Call) -> bool:
        """Whether a call asks for the operation, its resource, what that lies in or what lies in it."""
        mine, other = f"{self.call.address}/", f"{call.address}/"
        related = mine.startswith(other) or other.startswith(mine)
        return call.method == "GET" and (related or call.address.endswith(f"/{self.operation}"))


@dataclass
class Holds:
    """Which operations are slow; used in the workspace's event loop only, but for :meth:`slow`."""

    _wanted: list[tuple[str, int]] = field(default_factory=list)
    _held: list[_Held] = field(default_factory=list)

    def slow(self, pattern: str, polls: int = 3) -> None:
        """Make the operation that the next matching call begins slow.

        It stays in progress, and its resource in transition, until a client has asked for the operation, the resource,
        or the collection it is in this many times. So nothing waits for a clock.

        Args:
            pattern: As for faults, of the call that begins the operation.
            polls: How often.
        """
        self._wanted.append((pattern, polls))

    async def hold(self, operation: str) -> None:
        """Wait as long as an operation is to be slow."""
        call = CURRENT_CALL.get()
        wanted = next((each for each in self._wanted if call.matches(each[0])), None)
        if wanted is None:
            return
        self._wanted.remove(wanted)
        held = _Held(call, operation, wanted[1])
        self._held.append(held)
        await held.released.wait()

    def asked(self, call: Call) -> None:
        """Count a call that has been answered."""
        for held in [each for each in self._held if each.is_asked_about(call)]:
            held.polls -= 1
            if held.polls <= 0:
                self._held.remove(held)
                held.released.set()

"""Faults between Azure's clients and a workspace, and the record of the calls that they make."""

import fnmatch
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from amlocal.workspace.errors import error_body

BLOB = "blob"
"""How the address of a blob call begins."""


class ProcessKilled(SystemExit):
    """The process that made a call was killed there; raised where it would have been killed."""


class _InPoller(Exception):
    """Ends the thread of a poller quietly."""


@dataclass(frozen=True)
class Call:
    """One request of a client.

    Attributes:
        method: HTTP method.
        address: Who is asked for what, without the query: ``…/onlineEndpoints/e`` below the workspace's ARM id, else
            ``management/…``, ``identity/…``, ``blob/<container>/<name>``, ``scoring/endpoints/<name>/score``.
        status: HTTP status of the answer that the client got; ``None`` when it got none.
    """

    method: str
    address: str
    status: int | None = None

    def __str__(self) -> str:
        """Spell it as a pattern that matches it."""
        return f"{self.method} {self.address}"

    def matches(self, pattern: str) -> bool:
        """Say whether a pattern means this call.

        Args:
            pattern: As in ``PUT …/deployments/*``: method and address, where ``*`` and ``…`` stand for anything.
        """
        return fnmatch.fnmatchcase(str(self), pattern.replace("...", "*").replace("…", "*"))


@dataclass(frozen=True)
class Answer:
    """An HTTP answer.

    Attributes:
        status: HTTP status.
        headers: Headers, in order.
        body: Whole body.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


Strike = Callable[[Call], Answer]
"""What happens instead of the answer: another one, or an exception."""


@dataclass
class _Fault:
    pattern: str
    strike: Strike
    skip: int
    times: int
    lost_answer: bool

    def is_due(self, call: Call) -> bool:
        if not self.times or not call.matches(self.pattern):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class Faults:
    """Faults that were asked for, and the calls that were made.

    Every kind of fault takes a pattern (see :meth:`Call.matches`); ``times``, how many matching calls it strikes;
    ``skip``, how many it lets pass first; and ``lost_answer``: the workspace did what was asked, the client does not
    hear of it. Without that, the workspace never sees the call.
    """

    def __init__(self) -> None:
        self._faults: list[_Fault] = []
        self._calls: list[Call] = []
        self._lock = threading.Lock()
        self._dead = False
        self._owed: BaseException | None = None

    @property
    def calls(self) -> list[Call]:
        """The calls so far, in the order in which they were begun; retries are calls of their own."""
        with self._lock:
            return list(self._calls)

    def forget_calls(self) -> None:
        """Begin the record anew."""
        with self._lock:
            self._calls.clear()

    def clear(self) -> None:
        """Take all faults back; a killed process may call again."""
        with self._lock:
            self._faults.clear()
            self._dead, self._owed = False, None

    def fail(
        self,
        pattern: str,
        status: int = 503,
        *,
        times: int = 1,
        skip: int = 0,
        lost_answer: bool = False,
        retry_after: float | None = None,
    ) -> None:
        """Answer with an error, in the shape of whoever was asked.

        Args:
            pattern: Which calls.
            status: HTTP status.
            times: How many of them.
            skip: How many pass first.
            lost_answer: Whether the workspace does what was asked.
            retry_after: Seconds for the header ``Retry-After``; a 429 says 1 by default.
        """
        seconds = 1.0 if retry_after is None and status == 429 else retry_after
        self._add(pattern, lambda call: _error(call, status, seconds), times, skip, lost_answer)

    def reset(self, pattern: str, *, times: int = 1, skip: int = 0, lost_answer: bool = False) -> None:
        """Reset the connection; arguments as everywhere."""

        def strike(call: Call) -> Answer:
            raise ConnectionResetError(104, f"Connection reset by peer (asked for by the test, at {call})")

        self._add(pattern, strike, times, skip, lost_answer)

    def time_out(self, pattern: str, *, times: int = 1, skip: int = 0, lost_answer: bool = False) -> None:
        """Let the client's time limit pass, without waiting for it; arguments as everywhere."""

        def strike(call: Call) -> Answer:
            raise TimeoutError(f"Read timed out (asked for by the test, at {call})")

        self._add(pattern, strike, times, skip, lost_answer)

    def interrupt(self, pattern: str, *, skip: int = 0, lost_answer: bool = False) -> None:
        """Raise ``KeyboardInterrupt`` there once; the process goes on and may clean up."""
        self._add(pattern, lambda call: self._interrupt(KeyboardInterrupt(str(call))), 1, skip, lost_answer)

    def kill(self, pattern: str, *, skip: int = 0, lost_answer: bool = False) -> None:
        """Kill the client's process there: :class:`ProcessKilled` is raised, and by every later call too.

        Python's own handlers still run, which no kill -9 lets them; but what they do reaches the workspace no more.
        :meth:`clear` begins the next process.
        """

        def strike(call: Call) -> Answer:
            self._dead = True
            return self._interrupt(ProcessKilled(f"killed by the test at {call}"))

        self._add(pattern, strike, 1, skip, lost_answer)

    def begin(self, call: Call) -> int:
        """Record a call; returns its number.

        Raises:
            ProcessKilled: The client's process is dead.
        """
        with self._lock:
            if self._dead:
                self._interrupt(ProcessKilled(f"{call} by a process that the test has killed"))
            self._calls.append(call)
            return len(self._calls) - 1

    def before(self, number: int, call: Call) -> Answer | None:
        """Strike a call before it is sent, where one is asked for; raises what the fault raises."""
        return self._strike(number, call, lost_answer=False)

    def after(self, number: int, call: Call, status: int) -> Answer | None:
        """Strike a call that was answered, where one is asked for; raises what the fault raises."""
        answer = self._strike(number, call, lost_answer=True)
        if answer is None:
            self._note(number, status)
        return answer

    def pay_interrupt(self) -> None:
        """Raise in this thread what was raised in the thread of a poller, which swallows it."""
        owed, self._owed = self._owed, None
        if owed is not None:
            raise owed

    def _add(self, pattern: str, strike: Strike, times: int, skip: int, lost_answer: bool) -> None:
        with self._lock:
            self._faults.append(_Fault(pattern, strike, skip, times, lost_answer))

    def _strike(self, number: int, call: Call, *, lost_answer: bool) -> Answer | None:
        with self._lock:
            candidates = [fault for fault in self._faults if fault.lost_answer == lost_answer]
            due = next((fault for fault in candidates if fault.is_due(call)), None)
        if due is None:
            return None
        answer = due.strike(call)
        self._note(number, answer.status)
        return answer

    def _note(self, number: int, status: int) -> None:
        with self._lock:
            if number < len(self._calls):  # else the record was begun anew meanwhile
                self._calls[number] = replace(self._calls[number], status=status)

    def _interrupt(self, error: BaseException) -> Answer:
        if threading.current_thread().name.startswith("LROPoller("):
            # azure-core polls in a thread of its own, which keeps errors for whoever waits for it and nothing else.
            self._owed = error
            raise _InPoller from error
        raise error


def _error(call: Call, status: int, retry_after: float | None) -> Answer:
    """Build an error as the workspace itself would."""
    code = HTTPStatus(status).phrase.replace(" ", "")
    message = f"Asked for by the test, at {call}."
    headers: dict[str, str] = {"x-ms-error-code": code}
    if retry_after is not None:
        headers |= {"Retry-After": f"{retry_after:g}"}
    if call.address.startswith(BLOB):
        body = f"<?xml version='1.0' encoding='utf-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Answer(status, [*headers.items(), ("Content-Type", "application/xml")], body.encode())
    arm: Mapping[str, object] = error_body(code, message)
    return Answer(status, [*headers.items(), ("Content-Type", "application/json")], json.dumps(arm).encode())

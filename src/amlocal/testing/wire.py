"""The way of a call to a workspace, whichever HTTP library makes it."""

import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from amlocal.testing.faults import BLOB, Answer, Call, Faults
from amlocal.workspace import names

T = TypeVar("T")
HOSTS = {
    names.MANAGEMENT_HOST: "management",
    names.IDENTITY_HOST: "identity",
    names.BLOB_HOST: BLOB,
    names.ML_HOST: "discovery",
    names.API_HOST: "api",
}
"""How addresses of calls to the workspace's hosts begin."""
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Request:
    """What a client sends.

    Attributes:
        method: HTTP method.
        url: Whole address.
        headers: Headers, in order.
        body: Whole body.
    """

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class Wire:
    """The way to one workspace.

    Attributes:
        faults: Strikes calls and records them.
        parties: For hosts (with the port, where one is given) of the workspace, how addresses of calls begin.
        perform: Lets the workspace answer; ``None`` where the library sends the request itself.
        refuse_others: Whether no other host but this machine can be reached.
        longest_wait: Seconds that Azure's clients wait at most, between polls and between retries.
    """

    faults: Faults
    parties: Mapping[str, str]
    perform: Callable[[Call, Request], Answer] | None
    refuse_others: bool
    longest_wait: float

    def call(self, method: str, url: str) -> Call | None:
        """Name a request as a call of the workspace; ``None`` when it goes elsewhere.

        Raises:
            ConnectionRefusedError: It goes elsewhere and must not.
        """
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        party = self.parties.get(parts.netloc.rpartition("@")[2]) or self.parties.get(host)
        if party is None and names.is_workspace_host(host):
            party = host
        if party is None:
            if self.refuse_others and host not in LOCAL_HOSTS:
                raise ConnectionRefusedError(111, f"{host} is outside of the test's workspace")
            return None
        path = urllib.parse.unquote(parts.path)
        below = path.removeprefix(names.WORKSPACE_ARM_ID)
        return Call(method.upper(), f"…{below}" if below != path else f"{party}{path}")

    def exchange(
        self,
        call: Call,
        read: Callable[[], Request],
        build: Callable[[Answer], T],
        send: Callable[[], T],
        status: Callable[[T], int],
    ) -> T:
        """Let a call be answered: by a fault, by the workspace, or by the library itself.

        Args:
            call: The call.
            read: Reads the library's request.
            build: Builds the library's answer.
            send: The library's own way.
            status: Reads the status of the library's answer.
        """
        number = self.faults.begin(call)
        struck = self.faults.before(number, call)
        if struck is not None:
            return build(struck)
        answer = send() if self.perform is None else build(self.perform(call, read()))
        struck = self.faults.after(number, call, status(answer))
        return answer if struck is None else build(struck)

"""What goes between the router and a scoring process: a request, and its answer byte for byte."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True)
class Scoring:
    """A request for a deployment.

    Attributes:
        method: HTTP method.
        path: Path and query on the scoring server.
        headers: Headers to pass on.
        body: Body to pass on.
    """

    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class Scored:
    """A scoring process's answer.

    Attributes:
        status: HTTP status.
        reason: Its phrase.
        headers: Headers in order, one that comes twice twice.
        body: The body as it was sent: compressed where ``content-encoding`` says so.
    """

    status: int
    reason: str
    headers: Sequence[tuple[str, str]]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Say whether it is the answer that was asked for."""
        return self.status == HTTPStatus.OK

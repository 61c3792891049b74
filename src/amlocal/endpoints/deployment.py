"""A running deployment: its processes, and the limits on what they are given."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from amlocal.endpoints.instance import STOP_GRACE, Instance, ProvisioningError
from amlocal.endpoints.log_file import rotate, tail
from amlocal.endpoints.spec import DeploymentSpec

LOG_LINES = 30
# Azure documents that twice the processes' capacity may wait or run at any time.
QUEUE_FACTOR = 2
ROTATE_SECONDS = 5.0
# A process that never answered has nothing to finish.
UNREADY_GRACE = 0.2

log = logging.getLogger(__name__)


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
    headers: list[tuple[str, str]]
    body: bytes


class TooManyRequests(Exception):
    """The deployment has as many requests as it may hold."""


class QueueTimeout(Exception):
    """The request waited longer than the deployment lets one wait."""


class RequestTimeout(Exception):
    """The deployment did not answer within its request timeout."""


class ProcessDied(Exception):
    """The scoring process ended before it had answered."""


class ScoringInstance(Protocol):
    """What a deployment needs of one scoring process; :class:`Instance` is the real one."""

    busy: int

    async def start(self) -> None:
        """Start it; requests may be sent at once and wait until it is ready."""

    async def wait_until_ready(self) -> None:
        """Wait until it is healthy; raises :class:`ProvisioningError` when it will not be."""

    def keep_running(self, on_restart: Callable[[], None]) -> None:
        """From now on, start it again when it dies, and tell each time."""

    def build_request(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> httpx.Request:
        """Build a request for it."""

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Let it answer; raises ``httpx.TransportError`` when it died first."""

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """End it."""


MakeInstance = Callable[[DeploymentSpec, Path, Mapping[str, str]], ScoringInstance]
"""Makes a scoring process from the deployment, the path for its socket and the daemon's environment."""


class Deployment:
    """A deployment's processes.

    Args:
        spec: What to run.
        sockets: Folder for its processes' sockets.
        base: The daemon's environment.
        on_restart: Told of every process that is started again.
        make_instance: Makes each of its processes.
    """

    def __init__(
        self,
        spec: DeploymentSpec,
        sockets: Path,
        base: Mapping[str, str],
        on_restart: Callable[[], None],
        make_instance: MakeInstance = Instance,
    ) -> None:
        self.spec = spec
        sockets.mkdir(parents=True, exist_ok=True)
        self._sockets = sockets
        numbers = range(spec.instance_count)
        self._on_restart = on_restart
        self._instances = [make_instance(spec, sockets / str(number), base) for number in numbers]
        capacity = spec.instance_count * spec.max_concurrent_requests_per_instance
        self._slots = asyncio.Semaphore(capacity)
        self._limit = QUEUE_FACTOR * capacity
        self._held = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._log_keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start all processes and wait until each is healthy.

        Raises:
            ProvisioningError: One of them is not; all have been stopped.
        """
        try:
            await self.start_without_waiting()
            await asyncio.gather(*(instance.wait_until_ready() for instance in self._instances))
        except ProvisioningError as error:
            await self.stop(UNREADY_GRACE)
            raise ProvisioningError(f"{error}; last lines of its log:\n{tail(self.spec.log, LOG_LINES)}") from error
        except asyncio.CancelledError:
            await self.stop(UNREADY_GRACE)
            raise
        self._keep_running()

    async def restore(self) -> None:
        """Start a deployment that was healthy before; requests wait for it."""
        await self.start_without_waiting()
        self._keep_running()

    def _keep_running(self) -> None:
        for instance in self._instances:
            instance.keep_running(self._on_restart)
        self._log_keeper = asyncio.create_task(self._keep_log())

    async def _keep_log(self) -> None:
        while True:
            try:
                rotate(self.spec.log)
            except OSError as error:
                log.error("%s cannot be rotated: %s", self.spec.log, error)
            await asyncio.sleep(ROTATE_SECONDS)

    async def start_without_waiting(self) -> None:
        """Start all processes."""
        for instance in self._instances:
            await instance.start()

    async def score(self, scoring: Scoring) -> httpx.Response:
        """Let the least busy process answer.

        Args:
            scoring: The request.

        Raises:
            TooManyRequests: It would have to wait behind more requests than the deployment may hold.
            QueueTimeout: It waited too long for a free process.
            RequestTimeout: No answer in time.
            ProcessDied: The process that had it ended.
        """
        if self._held >= self._limit:
            raise TooManyRequests
        self._held += 1
        self._idle.clear()
        try:
            async with asyncio.timeout(self.spec.request_timeout), self._slot():
                instance = min(self._instances, key=lambda candidate: candidate.busy)
                request = instance.build_request(scoring.method, scoring.path, scoring.headers, scoring.body)
                return await instance.send(request)
        except TimeoutError as error:
            raise RequestTimeout from error
        except httpx.TransportError as error:
            raise ProcessDied from error
        finally:
            self._held -= 1
            if not self._held:
                self._idle.set()

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Hold one of the processes' places for a request."""
        try:
            async with asyncio.timeout(self.spec.max_queue_wait) as patience:
                await self._slots.acquire()
        except TimeoutError:
            if patience.expired():
                raise QueueTimeout from None
            raise
        try:
            yield
        finally:
            self._slots.release()

    async def drain(self) -> None:
        """Wait until no request is in flight; none of them takes longer than the request timeout."""
        await self._idle.wait()

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """End all processes.

        Args:
            grace: Seconds they are given to finish what they are doing.
        """
        if self._log_keeper is not None:
            self._log_keeper.cancel()
        await asyncio.gather(*(instance.stop(grace) for instance in self._instances))
        self._sockets.rmdir()
